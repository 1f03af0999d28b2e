"""An engine's own table of settings, `engines.settings.NAME`, as a dataclass with a reason beside each field."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, TypeVar, get_type_hints

from duologue import config
from duologue.errors import ConfigError

S = TypeVar("S")


def read(defaults: S, table: Mapping[str, Any], name: str, *, from_zero: frozenset[str] = frozenset()) -> S:
    """The defaults with what the table changes; whole numbers start at 1, those in `from_zero` at 0.

    Raises `ConfigError`: unknown_setting, bad_setting.
    """
    kinds = get_type_hints(type(defaults))
    if unknown := table.keys() - kinds.keys():
        raise ConfigError("unknown_setting", f"engines.settings.{name} has no {', '.join(sorted(unknown))}")
    named = {key: config.convert(table[key], kinds[key], f"engines.settings.{name}: {key}") for key in table}
    settings: S = replace(defaults, **named)  # type: ignore[type-var]
    low = [key for key, kind in kinds.items() if kind is int and getattr(settings, key) < (key not in from_zero)]
    if low:
        raise ConfigError("bad_setting", f"engines.settings.{name}: {', '.join(low)} is too low")
    return settings
