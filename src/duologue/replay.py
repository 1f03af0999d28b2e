"""`duologue replay TRACE`: a recorded session as people read it, what was said and where the milliseconds went.

The waterfall is computed anew from the rows, by the same meter that the running session used; a trace is all it needs.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from duologue.errors import ClientError
from duologue.trace import STAGES, LatencyMeter, Row, Waterfall

LABELS: Mapping[str, str] = {
    "silence": "pause noticed",
    "transcript": "words known",
    "endpoint": "turn decided",
    "first_token": "first word",
    "first_audio": "first sound",
    "voice_to_voice": "audible",
}


def run(path: Path) -> int:
    """Prints the conversation, also of a trace that breaks off. Raises `ClientError`: trace_unreadable, bad_trace."""
    replay = Replay()
    try:
        for where, row in rows(path):
            replay.take(row, where)
    finally:
        print("\n".join([*replay.lines, *summary(list(replay.waterfalls.values()))]))
    return 0


def rows(path: Path) -> Iterator[tuple[str, Row]]:
    """Each line of a trace, and where it stands. Raises `ClientError`: trace_unreadable, bad_trace."""
    try:
        with path.open(encoding="utf-8") as file:
            for number, line in enumerate(file, 1):
                where = f"{path}, line {number}"
                yield where, _row(line, where)
    except (OSError, UnicodeDecodeError) as error:
        raise ClientError("trace_unreadable", f"{path}: {getattr(error, 'strerror', None) or error}") from error


@dataclass
class Replay:
    """Takes rows in order; `lines` is the conversation so far, `waterfalls` are by turn."""

    lines: list[str] = field(default_factory=list)
    waterfalls: dict[int, Waterfall] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._meter = LatencyMeter(self.waterfalls.__setitem__)

    def take(self, row: Row, where: str) -> None:
        """Raises `ClientError` (bad_trace), naming `where`."""
        try:
            self._meter(row)
            self.lines += self._told(row)
        except (KeyError, TypeError, ValueError, IndexError) as error:
            raise ClientError("bad_trace", f"{where}: {row['name']} lacks what it should tell: {error}") from error

    def _told(self, row: Row) -> Iterator[str]:
        if line := _line(row):
            yield f"{row['t']:8.2f}  {line}"
        if row["name"] in ("ReplyDone", "Interrupted") and row["turn"] in self.waterfalls:
            yield f"{'':17}{waterfall(self.waterfalls[row['turn']].parts())}"


def waterfall(parts: Mapping[str, float]) -> str:
    """Each stage with the ms that it added, and their sum: voice to voice."""
    stages = " + ".join(f"{LABELS[stage]} {ms:.0f}" for stage, ms in parts.items())
    return f"{sum(parts.values()):.0f} ms = {stages}"


def summary(waterfalls: list[Waterfall]) -> list[str]:
    """Over all turns, each stage from the last voiced sample on: median and 95th percentile (linear between turns), ms."""
    if not waterfalls:
        return ["no turn was answered aloud"]
    lines = [f"{len(waterfalls)} turns, ms from the user's last voiced sample:", f"{'':16}{'p50':>8}{'p95':>8}"]
    for stage in STAGES:
        values = [each.marks[stage] for each in waterfalls if stage in each.marks]
        if values:
            p50, p95 = np.percentile(values, [50, 95])
            lines.append(f"  {LABELS[stage]:14}{p50:8.0f}{p95:8.0f}")
    return lines


def _line(row: Row) -> str:
    match row["name"]:
        case "Heard" if row["final"]:
            return f"You:   {row['text']}"
        case "ReplyDone":
            return f"Reply: {row['text']}  [{row['audio_ms'] / 1000:.1f} s, {row['speaker']}]"
        case "Interrupted":
            return f"Reply: {row['heard_text']} — [interrupted after {row['heard_ms'] / 1000:.1f} s]"
        case "Reopened":
            return "       [the user went on: the turn was reopened]"
        case "Failure":
            return f"Error: {row['message']} [{row['code']}]"
        case "Degraded":
            return f"Note:  {row['message']}"
    return ""


def _row(line: str, where: str) -> dict[str, Any]:
    try:
        row = json.loads(line, parse_constant=_finite, parse_float=_finite)
    except (ValueError, RecursionError) as error:
        raise ClientError("bad_trace", f"{where} is not JSON: {error}") from error
    if not isinstance(row, dict):
        raise ClientError("bad_trace", f"{where} is not a JSON object")
    kinds: dict[str, Any] = {"t": int | float, "kind": str, "name": str}
    for key, kind in kinds.items():
        if not isinstance(row.get(key), kind) or isinstance(row.get(key), bool):
            raise ClientError("bad_trace", f"{where} is no row of a trace: its {key!r} is {row.get(key)!r}")
    return row


def _finite(number: str) -> float:
    """JSON has no NaN and no Infinity, but Python reads them, and 1e999 too."""
    if not math.isfinite(value := float(number)):
        raise ValueError(f"{number} is no number")
    return value
