"""Pictures of figures as SVG, without a library: lines over two axes, and stacked bars."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape
from typing import Final

WIDTH, HEIGHT = 720, 400
LEFT, RIGHT, TOP, BOTTOM = 64, 24, 44, 52
COLOURS: Final = ("#2563eb", "#d97706", "#059669", "#dc2626", "#7c3aed", "#0891b2", "#9ca3af")
INK, FAINT = "#374151", "#e5e7eb"
FONT: Final = 'font-family="system-ui, sans-serif" font-size="12"'
TICKS: Final = 5


@dataclass(frozen=True)
class Series:
    """`points` are joined in their order; a single one is a dot."""

    name: str
    points: Sequence[tuple[float, float]]


@dataclass(frozen=True)
class Bar:
    """One row of a waterfall: parts laid end to end."""

    name: str
    parts: Sequence[tuple[str, float]]


def lines(title: str, x: str, y: str, series: Sequence[Series]) -> str:
    """Both axes begin at 0."""
    points = [point for each in series for point in each.points]
    right, top = (_round_up(max((point[axis] for point in points), default=1.0)) for axis in (0, 1))
    body = [*_axes(title, x, y, right, top)]
    for number, each in enumerate(series):
        body += _line(each, COLOURS[number % len(COLOURS)], right, top)
    return _page(HEIGHT, [*body, *_legend([each.name for each in series], TOP + 6)])


def bars(title: str, x: str, rows: Sequence[Bar]) -> str:
    """Rows from the top; a part has the same colour in each."""
    names = list(dict.fromkeys(name for row in rows for name, _ in row.parts))
    right = _round_up(max((sum(value for _, value in row.parts) for row in rows), default=1.0))
    left, row_height = 190, 34
    height = TOP + 24 + row_height * len(rows) + BOTTOM
    body = [_text(left, 22, title, "start", bold=True), *_legend_row(names, left, TOP)]
    for number, row in enumerate(rows):
        body += _bar(row, names, left, TOP + 20 + number * row_height, right)
    bottom = TOP + 20 + row_height * len(rows)
    for value in _ticks(right):
        at = left + value / right * (WIDTH - left - RIGHT - 40)
        body.append(_text(at, bottom + 18, f"{value:g}", "middle"))
    return _page(height, [*body, _text((left + WIDTH) / 2, bottom + 38, x, "middle")])


def _axes(title: str, x: str, y: str, right: float, top: float) -> Iterator[str]:
    yield _text(LEFT, 22, title, "start", bold=True)
    for value in _ticks(right):
        at = _x(value, right)
        yield f'<line x1="{at:.1f}" y1="{TOP}" x2="{at:.1f}" y2="{HEIGHT - BOTTOM}" stroke="{FAINT}"/>'
        yield _text(at, HEIGHT - BOTTOM + 18, f"{value:g}", "middle")
    for value in _ticks(top):
        at = _y(value, top)
        yield f'<line x1="{LEFT}" y1="{at:.1f}" x2="{WIDTH - RIGHT}" y2="{at:.1f}" stroke="{FAINT}"/>'
        yield _text(LEFT - 8, at + 4, f"{value:g}", "end")
    yield _text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 12, x, "middle")
    yield f'<g transform="rotate(-90 16 {HEIGHT / 2})">{_text(16, HEIGHT / 2, y, "middle")}</g>'


def _line(series: Series, colour: str, right: float, top: float) -> Iterator[str]:
    places = [(_x(x, right), _y(y, top)) for x, y in series.points]
    if len(places) > 1:
        joined = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
        yield f'<polyline points="{joined}" fill="none" stroke="{colour}" stroke-width="2"/>'
    radius = 6 if len(places) == 1 else 3
    yield from (f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{radius}" fill="{colour}"/>' for x, y in places)


def _bar(row: Bar, names: Sequence[str], left: float, top: float, right: float) -> Iterator[str]:
    at, scale = left, (WIDTH - left - RIGHT - 40) / right
    yield _text(left - 8, top + 17, row.name, "end")
    for name, value in row.parts:
        colour = COLOURS[names.index(name) % len(COLOURS)]
        yield f'<rect x="{at:.1f}" y="{top}" width="{value * scale:.1f}" height="24" fill="{colour}"/>'
        at += value * scale
        if value * scale > 26:
            yield _text(at - value * scale / 2, top + 16, f"{value:.0f}", "middle", fill="white")
    yield _text(at + 6, top + 17, f"{sum(value for _, value in row.parts):.0f}", "start", bold=True)


def _legend(names: Sequence[str], top: float) -> Iterator[str]:
    widest = max((len(name) for name in names), default=0) * 7 + 20
    for number, name in enumerate(names):
        at, x = top + number * 18, WIDTH - RIGHT - widest
        yield f'<rect x="{x}" y="{at}" width="12" height="12" fill="{COLOURS[number % len(COLOURS)]}"/>'
        yield _text(x + 18, at + 10, name, "start")


def _legend_row(names: Sequence[str], left: float, top: float) -> Iterator[str]:
    at = left
    for number, name in enumerate(names):
        yield f'<rect x="{at}" y="{top - 10}" width="12" height="12" fill="{COLOURS[number % len(COLOURS)]}"/>'
        yield _text(at + 16, top, name, "start")
        at += 30 + len(name) * 7


def _text(x: float, y: float, text: str, anchor: str, *, bold: bool = False, fill: str = INK) -> str:
    weight = ' font-weight="600"' if bold else ""
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="{fill}"{weight}>{escape(text)}</text>'


def _page(height: float, body: Sequence[str]) -> str:
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height:g}" {FONT}>'
    ground = f'<rect width="{WIDTH}" height="{height:g}" fill="white"/>'
    return "\n".join([head, ground, *body, "</svg>"]) + "\n"


def _x(value: float, right: float) -> float:
    return LEFT + value / right * (WIDTH - LEFT - RIGHT)


def _y(value: float, top: float) -> float:
    return HEIGHT - BOTTOM - value / top * (HEIGHT - TOP - BOTTOM)


def _round_up(value: float) -> float:
    """To a number that five equal steps lead to nicely."""
    if value <= 0:
        return 1.0
    unit = 10.0 ** math.floor(math.log10(value))
    return next(unit * factor for factor in (1, 1.5, 2, 2.5, 3, 4, 5, 7.5, 10) if value <= unit * factor * (1 + 1e-9))


def _ticks(end: float) -> list[float]:
    return [round(end * step / TICKS, 10) for step in range(TICKS + 1)]
