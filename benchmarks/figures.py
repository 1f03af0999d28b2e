"""Figures with their spread: nothing is printed without the number of values that it stands on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Figure:
    """`values` are one a turn (or trial); `overall` is over all of them at once, where that is what is asked for.

    `at_most` limits "overall", "median" or "p95"; a figure that should stand on at least `needs` values fails with fewer.
    Percentiles are linear between values.
    """

    name: str
    unit: str
    values: Sequence[float]
    overall: float | None = None
    at_most: Mapping[str, float] = field(default_factory=dict)
    needs: int = 1

    def facts(self) -> dict[str, Any]:
        told: dict[str, Any] = {"n": len(self.values), "unit": self.unit}
        if self.overall is not None:
            told["overall"] = round(self.overall, 4)
        if self.values:
            median, p95 = np.percentile(self.values, [50, 95])
            told |= {
                "median": round(float(median), 4),
                "p95": round(float(p95), 4),
                "worst": round(max(self.values), 4),
            }
        return told | ({"at_most": dict(self.at_most), "ok": self.ok} if self.at_most else {})

    @property
    def ok(self) -> bool:
        measured = {"overall": self.overall}
        if self.values:
            measured["median"], measured["p95"] = np.percentile(self.values, [50, 95])
        enough = len(self.values) >= self.needs
        return enough and all(
            (value := measured.get(key)) is not None and value <= m for key, m in self.at_most.items()
        )


def table(figures: Sequence[Figure]) -> str:
    """One line a figure, aligned."""
    rows = [("figure", "unit", "n", "overall", "median", "p95", "worst", "limit", ""), *map(_row, figures)]
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    return "\n".join(_line(row, widths) for row in rows)


def _line(row: Sequence[str], widths: Sequence[int]) -> str:
    left = [cell.ljust(width) for cell, width in zip(row[:2], widths[:2], strict=True)]
    right = [cell.rjust(width) for cell, width in zip(row[2:], widths[2:], strict=True)]
    return "  ".join([*left, *right]).rstrip()


def _row(figure: Figure) -> tuple[str, ...]:
    facts = figure.facts()
    numbers = [_number(facts.get(key)) for key in ("overall", "median", "p95", "worst")]
    limit = ", ".join(f"{key} ≤ {_number(value)}" for key, value in figure.at_most.items())
    verdict = ("ok" if figure.ok else "MISSED") if figure.at_most else ""
    return (figure.name, figure.unit, str(facts["n"]), *numbers, limit, verdict)


def _number(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:.0f}" if abs(value) >= 10 or value == int(value) else f"{value:.3f}"
