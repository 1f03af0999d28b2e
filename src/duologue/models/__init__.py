"""Weights are data: the catalogue of models, where their files come from, and the folder that keeps them."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path

from duologue.errors import ConfigError
from duologue.models import catalogue
from duologue.models.store import Store

__all__ = ["Store", "default_root", "open_store"]


def open_store(models: str = "") -> Store:
    """The store in the folder that the setting `models` names; empty: the user's cache folder. Touches no disk yet."""
    root = Path(models).expanduser() if models else default_root(os.environ, sys.platform)
    return Store(root, catalogue.read())


def default_root(environment: Mapping[str, str], platform: str) -> Path:
    """Where the platform wants what can be fetched again. A relative XDG_CACHE_HOME is ignored, as its specification says.

    Raises `ConfigError` (no_home) where nothing says who the user is.
    """
    cache = Path(environment.get("XDG_CACHE_HOME", ""))
    if platform == "darwin":
        cache = _home() / "Library" / "Caches"
    elif not cache.is_absolute():
        cache = _home() / ".cache"
    return cache / "duologue" / "models"


def _home() -> Path:
    try:
        return Path.home()
    except RuntimeError as error:
        raise ConfigError("no_home", "this user has no home folder: set `models` to a folder for the models") from error
