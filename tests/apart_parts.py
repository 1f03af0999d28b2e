"""What tests of workers share: an interpreter with the odd voices, and voices loaded under it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from duologue.engines import Loading, Task, apart, registry
from duologue.places.process import Backoff
from duologue.places.thread import Lane

ODD = Path(__file__).parent / "odd"
LIMIT_S = 20.0


def lead(environment: Path, *folders: Path) -> Path:
    """Lets an environment import from these folders, and what this program's own packages are; its interpreter."""
    [site] = environment.glob("lib/python*/site-packages")
    own = Path(np.__file__).parents[1]
    (site / "odd.pth").write_text("\n".join(str(folder) for folder in (*folders, own)))
    return environment / "bin" / "python"


def make(environment: Path, *folders: Path) -> Path:
    subprocess.run((sys.executable, "-m", "venv", "--without-pip", str(environment)), check=True)
    return lead(environment, *folders)


def register(monkeypatch: pytest.MonkeyPatch, **values: str) -> None:
    """Voices by name beside those that are installed."""
    known = registry.entry

    def entry(task: Task, name: str) -> EntryPoint:
        if name in values:
            return EntryPoint(name, values[name], f"duologue.{task}")
        return known(task, name)

    monkeypatch.setattr(registry, "entry", entry)


Open = Callable[..., Any]


def opener(python: Path, opened: list[Any]) -> Open:
    """Loads voices under an interpreter; a worker that dies is back at once."""

    def load(name: str = "odd", task: Task = "speaker", first_s: float = 0.05, **settings: Any) -> Any:
        loading = Loading(lambda model: Path("/models") / model, Lane(name), settings)
        voice = apart.load(task, name, loading, python, backoff=Backoff(first_s=first_s))
        opened.append(voice)
        return voice

    return load


async def given(*pieces: str) -> AsyncIterator[str]:
    for piece in pieces:
        yield piece
