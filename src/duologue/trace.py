"""What happened and when, as rows; the latency waterfall and the metrics are computed from the rows and from nothing else.

A row is a flat JSON object: `t` (seconds since the session began), `kind` (event, todo, fact, mark), `name`, and the fields
of what it tells. Sound itself is never in a row, only its length.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, TextIO, TypeAlias

from duologue.core.events import Turn

log = logging.getLogger(__name__)

Row: TypeAlias = Mapping[str, Any]
Sink: TypeAlias = Callable[[Row], None]

STAGES = ("silence", "transcript", "endpoint", "first_token", "first_audio", "voice_to_voice")
"""The waterfall's marks in the order in which a turn passes them; each part is the time since the mark before.

silence: the pause was noticed · transcript: its words were known · endpoint: the turn was decided · first_token: the first
word left · first_audio: the first sound left · voice_to_voice: its first audible sample.
"""


class Trace:
    """Hands each row to every sink. A sink must not block: files are written through the system's own buffers."""

    def __init__(self, began_at: float, *sinks: Sink) -> None:
        self._began_at = began_at
        self._sinks = sinks

    def note(self, now: float, kind: str, what: Any) -> None:
        """`what` is an event, todo, fact or mark: a dataclass; bytes and arrays in it become their length."""
        row = {"t": round(now - self._began_at, 4), "kind": kind, "name": type(what).__name__, **_fields(what)}
        for sink in self._sinks:
            sink(row)


@dataclass(frozen=True, slots=True)
class VoiceEnded:
    """Mark: the last voiced sample of the user's turn was `ago_s` before this row."""

    turn: int
    ago_s: float


@dataclass(frozen=True, slots=True)
class Audible:
    """Mark: the first audible sample of the reply follows `after_s` after this row, if the client plays at once."""

    turn: int
    after_s: float


class TraceFile:
    """A sink: one JSON line a row, flushed as written, so that a crash loses nothing that was told.

    Raises `OSError` where it cannot begin; where it cannot go on (a full disk) it ends, and the session does not.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file: TextIO = path.open("a", encoding="utf-8", buffering=1)

    def __call__(self, row: Row) -> None:
        if self._file.closed:
            return
        try:
            self._file.write(json.dumps(row, ensure_ascii=False) + "\n")
        except OSError as error:
            log.warning("the trace %s ends here: %s", self._path, error)
            self.close()

    def close(self) -> None:
        with suppress(OSError):  # of what could not be written before
            self._file.close()


@dataclass(slots=True)
class Waterfall:
    """One turn's marks, in ms since the user's last voiced sample."""

    voice_ended_at: float
    marks: dict[str, float] = field(default_factory=dict)

    def mark(self, stage: str, t: float) -> None:
        self.marks[stage] = max(0.0, round((t - self.voice_ended_at) * 1000, 1))

    def parts(self) -> dict[str, float]:
        """The time each stage added; they sum to voice_to_voice. A stage that was overtaken by a later one added nothing."""
        parts, reached = {}, 0.0
        for stage in STAGES:
            if stage in self.marks:
                parts[stage] = round(max(0.0, self.marks[stage] - reached), 1)
                reached = max(reached, self.marks[stage])
        return parts


class LatencyMeter:
    """A sink that assembles each turn's waterfall; `done` gets it with the turn's number when it is whole."""

    def __init__(self, done: Callable[[int, Waterfall], None]) -> None:
        self._done = done
        self._open: dict[int, Waterfall] = {}

    def __call__(self, row: Row) -> None:
        read = _READERS.get(row["name"])
        if read is not None:
            read(self, row, _number(row))

    def _voice_ended(self, row: Row, turn: int) -> None:
        self._open = {turn: Waterfall(row["t"] - row["ago_s"])}
        self._open[turn].mark("silence", row["t"])

    def _mark(self, stage: str, row: Row, turn: int) -> None:
        if turn in self._open and stage not in self._open[turn].marks:
            self._open[turn].mark(stage, row["t"])

    def _reopened(self, row: Row, turn: int) -> None:
        """What was heard as a turn of its own continues `turn`; the words of the whole are still to come."""
        heard_as = self._open.pop(_first(row["heard_as"]), None)
        if heard_as is not None:
            heard_as.marks.pop("transcript", None)
            self._open[turn] = heard_as

    def _transcribed(self, row: Row, turn: int) -> None:
        self._mark("transcript", row, turn)

    def _committed(self, row: Row, turn: int) -> None:
        self._mark("endpoint", row, turn)

    def _word(self, row: Row, turn: int) -> None:
        self._mark("first_token", row, turn)

    def _audible(self, row: Row, turn: int) -> None:
        waterfall = self._open.pop(turn, None)
        if waterfall is not None:
            waterfall.mark("first_audio", row["t"])
            waterfall.mark("voice_to_voice", row["t"] + row["after_s"])
            self._done(turn, waterfall)


_READERS: dict[str, Callable[[LatencyMeter, Row, int], None]] = {
    "VoiceEnded": LatencyMeter._voice_ended,
    "Reopen": LatencyMeter._reopened,
    "Transcribed": LatencyMeter._transcribed,
    "Commit": LatencyMeter._committed,
    "ReplyWord": LatencyMeter._word,
    "Audible": LatencyMeter._audible,
}


def _number(row: Row) -> int:
    return _first(row.get("turn") or 0)


def _first(turn: Any) -> int:
    return int(turn[0] if isinstance(turn, list | tuple) else turn)


_PLAIN = (str, int, bool, type(None))


def _fields(what: Any) -> dict[str, Any]:
    return {entry.name: _plain(getattr(what, entry.name)) for entry in fields(what)}


def _plain(value: Any) -> Any:
    if isinstance(value, _PLAIN):
        return value
    if isinstance(value, Turn):
        return list(value)
    if isinstance(value, bytes | bytearray):
        return len(value)
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, tuple | list):
        return [_plain(item) for item in value]
    if isinstance(value, float):
        return round(value, 4)
    return repr(type(value).__name__)
