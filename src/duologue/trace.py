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


@dataclass(frozen=True, slots=True)
class Token:
    """Mark: the model made this piece of the reply, as text, just now; that of a draft too, which nobody may ever see."""

    turn: Turn
    text: str


class TraceFile:
    """A sink: one JSON line a row, flushed as written, so that a crash loses nothing that was told.

    Raises `OSError` where it cannot begin; where it cannot go on (a full disk) it ends, and the session does not.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        # Half of a surrogate pair, which a model may write, becomes the escape that JSON has for it.
        self._file: TextIO = path.open("a", encoding="utf-8", errors="backslashreplace", buffering=1)

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
        """The first time counts."""
        self.marks.setdefault(stage, max(0.0, round((t - self.voice_ended_at) * 1000, 1)))

    def parts(self) -> dict[str, float]:
        """The time each stage added; they sum to voice_to_voice. A stage that was overtaken by a later one added nothing."""
        parts, reached = {}, 0.0
        for stage in STAGES:
            if stage in self.marks:
                parts[stage] = round(max(0.0, self.marks[stage] - reached), 1)
                reached = max(reached, self.marks[stage])
        return parts


class LatencyMeter:
    """A sink that assembles each turn's waterfall; `done` gets it with the turn's number when it is whole.

    As in the turn machine, two turns can be alive at once: a cough before the reply's first sound is a turn being heard, and
    takes nothing from the one being replied to. A turn that was decided in mid-voice, or typed, has no waterfall.
    """

    def __init__(self, done: Callable[[int, Waterfall], None]) -> None:
        self._done = done
        self._hearing = self._replying = Turn(0, 0)
        self._heard: Waterfall | None = None  # since the last pause of `_hearing`; None while the voice goes on
        self._answered: Waterfall | None = None  # of `_replying`, until its first sound

    def __call__(self, row: Row) -> None:
        read = _READERS.get(row["name"])
        if read is not None:
            read(self, row)

    def _voice(self, row: Row) -> None:
        self._hearing, self._heard = Turn(*row["turn"]), None

    def _voice_ended(self, row: Row) -> None:
        self._heard = Waterfall(row["t"] - row["ago_s"])
        self._heard.mark("silence", row["t"])

    def _transcribed(self, row: Row) -> None:
        """Words of an earlier take are not those of this pause."""
        if Turn(*row["turn"]) == self._hearing and self._heard is not None:
            self._heard.mark("transcript", row["t"])

    def _reopened(self, row: Row) -> None:
        """What was heard as a turn of its own continues this one; the words of the whole are still to come."""
        self._hearing, self._answered = Turn(*row["turn"]), None
        if self._heard is not None:
            self._heard.marks.pop("transcript", None)

    def _committed(self, row: Row) -> None:
        turn, heard = Turn(*row["turn"]), self._heard
        self._heard = None
        if row.get("answer", True):
            self._replying, self._answered = turn, heard if turn == self._hearing else None
            self._mark(turn.number, "endpoint", row["t"])

    def _word(self, row: Row) -> None:
        self._mark(row["turn"], "first_token", row["t"])

    def _audible(self, row: Row) -> None:
        self._mark(row["turn"], "first_audio", row["t"])
        waterfall = self._mark(row["turn"], "voice_to_voice", row["t"] + row["after_s"])
        if waterfall is not None:
            self._answered = None
            self._done(row["turn"], waterfall)

    def _mark(self, number: int, stage: str, t: float) -> Waterfall | None:
        if number != self._replying.number or self._answered is None:
            return None
        self._answered.mark(stage, t)
        return self._answered


_READERS: dict[str, Callable[[LatencyMeter, Row], None]] = {
    "Listen": LatencyMeter._voice,
    "GoOn": LatencyMeter._voice,
    "VoiceEnded": LatencyMeter._voice_ended,
    "Transcribed": LatencyMeter._transcribed,
    "Reopen": LatencyMeter._reopened,
    "Commit": LatencyMeter._committed,
    "ReplyWord": LatencyMeter._word,
    "Audible": LatencyMeter._audible,
}


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
