"""Runs that are kept, and how a new one compares with them: `--store FILE`, `--compare FILE`.

A run is the JSON that the command prints: the machine, each figure, and what each benchmark tells beside figures.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from duologue.errors import ConfigError

FOLDER: Final = Path(__file__).parent / "runs"
COMPARED: Final = ("overall", "median", "p95")

NOISE: Final = 0.05
"""A smaller change, relative, is none: two runs of the same code differ by as much."""


def store(run: Mapping[str, Any], path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(run, ensure_ascii=False, indent=1, sort_keys=True) + "\n", encoding="utf-8")


def read(path: Path) -> dict[str, Any]:
    """Raises `ConfigError`: no_run."""
    try:
        run = json.loads(path.read_text(encoding="utf-8"))
        return {"machine": run["machine"], "figures": run["figures"], **run}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConfigError("no_run", f"{path} is no stored run: {error!r}") from error


def compared(before: Mapping[str, Any], after: Mapping[str, Any]) -> str:
    """One line for each number that both runs have. Every figure is better when it is less."""
    rows = [("figure", "", "before", "after", "change", ""), *_rows(before["figures"], after["figures"])]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    return "\n".join([_machines(before, after), *lines])


def _rows(before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[tuple[str, ...]]:
    for name, now in after.items():
        for key in COMPARED:
            old, new = before.get(name, {}).get(key), now.get(key)
            if old is not None and new is not None:
                yield name, key, f"{old:g}", f"{new:g}", *_change(old, new)


def _change(old: float, new: float) -> tuple[str, str]:
    change = new - old
    relative = change / abs(old) if old else (0.0 if not change else float("inf") if change > 0 else float("-inf"))
    if abs(relative) < NOISE:
        return f"{relative:+.0%}", "same"
    told = f"{relative:+.0%}" if old else f"{change:+g}"
    return told, "▲ WORSE" if change > 0 else "▼ better"


def _machines(before: Mapping[str, Any], after: Mapping[str, Any]) -> str:
    told = [
        ", ".join(
            f"{key} {run['machine'].get(key)}" for key in ("cpu", "cpu_count", "load_before", "load_after", "steal")
        )
        for run in (before, after)
    ]
    return f"before: {told[0]}\nafter:  {told[1]}"
