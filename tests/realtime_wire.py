"""A client of the Realtime protocol for tests: sends events, is told facts, checks all it gets, and keeps what it saw."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import strict

from duologue import protocols as p
from duologue.core.patience import Patience
from duologue.core.speech import SpeechSettings
from duologue.errors import ClientError
from duologue.protocols.realtime import Realtime

SPEECH = SpeechSettings(start_probability=0.5, stop_probability=0.35, start_s=0.064, stop_s=0.032, lead_in_s=0.3)
PATIENCE = Patience(complete_s=0.3, incomplete_s=1.2)
SETTINGS = {"instructions": "Be kind.", "voice": "", "speed": 1.0, "input_rate": 16_000, "output_rate": 24_000}
DIALOGUES = Path(__file__).parent / "dialogues"

PCM = b"\x01\x00" * 2_400
"""100 ms at 24 kHz."""

seen_types: set[str] = set()
"""Of all events that any test of this run was sent."""


class Client:
    """One connection. `trace` holds what went over the wire: C from the client, S from the server."""

    def __init__(self, *, begin: bool = True, **settings: Any) -> None:
        defaults: dict[str, Any] = {"speech": SPEECH, "patience": PATIENCE, "expires_at": 1_800_000_000}
        self.realtime = Realtime("gpt-realtime", **defaults | settings)
        self.trace: list[str] = []
        self.seen: list[dict[str, Any]] = []
        if begin:
            self.realtime.opening()
            self.tell(READY)
            self.tell(p.Configured(SETTINGS))

    def send(self, type: str, **fields: Any) -> tuple[p.Command, ...]:
        """Raises `ClientError`."""
        self.trace.append(f"C {type} {_short(fields)}".rstrip())
        return tuple(self.realtime.receive(json.dumps({"type": type, **fields})))

    def ask(self, type: str, **fields: Any) -> p.Command:
        (command,) = self.send(type, **fields)
        return command

    def tell(self, *facts: p.Fact) -> list[dict[str, Any]]:
        """The events of the facts."""
        return self._take([message for fact in facts for message in self.realtime.tell(fact)])

    def refuse(self, error: Any) -> dict[str, Any]:
        """The `error` object of the answer."""
        (event,) = self._take(self.realtime.refuse(error))
        assert event["type"] == "error"
        found: dict[str, Any] = event["error"]
        return found

    def refused(self, type: str, **fields: Any) -> dict[str, Any]:
        """Of an event that cannot be meant."""
        try:
            self.send(type, **fields)
        except ClientError as error:
            return self.refuse(error)
        raise AssertionError(f"{type} was taken")

    def update(self, **session: Any) -> p.Configure:
        """A session.update that the session carries out."""
        command = self.ask("session.update", session={"type": "realtime", **session})
        assert isinstance(command, p.Configure)
        self.tell(p.Configured(SETTINGS))
        return command

    def _take(self, messages: Sequence[str | bytes]) -> list[dict[str, Any]]:
        events = [checked(message) for message in messages]
        self.seen += events
        self.trace += [_line(event) for event in events]
        return events


READY = p.Ready(
    "s1",
    SETTINGS,
    {"vad": "scripted"},
    (p.Voice("joe", ("en",), "scripted", "none", 24_000, "chunk", False, "chunk", "MIT"),),
)


def checked(message: str | bytes) -> dict[str, Any]:
    """An event that passes the strictest of clients, as JSON."""
    assert isinstance(message, str)
    event = strict.check(message)
    seen_types.add(event["type"])
    return event


def types(events: Sequence[dict[str, Any]]) -> list[str]:
    return [event["type"] for event in events]


def _line(event: dict[str, Any]) -> str:
    fields = {name: value for name, value in event.items() if name not in ("type", "event_id")}
    return f"S {event['type']} {_short(fields)}".rstrip()


def _short(fields: dict[str, Any]) -> str:
    return json.dumps(_without_sound(fields), ensure_ascii=False) if fields else ""


def _without_sound(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _without_sound(part) for name, part in value.items()}
    if isinstance(value, list):
        return [_without_sound(part) for part in value]
    return f"({len(value)} characters)" if isinstance(value, str) and len(value) > 200 else value


def golden(name: str, client: Client) -> None:
    """Compares with the trace that was kept, to the letter. WRITE_DIALOGUES=1 keeps this one instead."""
    path, text = DIALOGUES / f"realtime_{name}.txt", "\n".join(client.trace) + "\n"
    if os.environ.get("WRITE_DIALOGUES"):
        path.write_text(text, encoding="utf-8")
    assert text == path.read_text(encoding="utf-8")


# ── Facts as a session tells them ─────────────────────────────────────────────────────────────────────────────────


def spoken_turn(turn: int, text: str, start_ms: float = 1_000.0, stop_ms: float = 2_000.0) -> list[p.Fact]:
    """The user speaks, with a short pause within."""
    half = (start_ms + stop_ms) / 2
    return [
        p.UserSpeech(turn, True, start_ms),
        p.Heard(turn, text[: len(text) // 2], False, "en"),
        p.UserSpeech(turn, False, half),
        p.UserSpeech(turn, True, half + 200),
        p.UserSpeech(turn, False, stop_ms),
        p.Heard(turn, text, True, "en"),
    ]


def began(turn: int, request: str = "", *, spoken: bool = True, answers: bool = True) -> p.ReplyBegan:
    return p.ReplyBegan(turn, request, spoken, answers)


def words(turn: int, text: str, *, has_audio: bool = True) -> list[p.Fact]:
    parts = [part if at == 0 else f" {part}" for at, part in enumerate(text.split())]
    told: list[p.Fact] = [p.ReplyWord(turn, at, part, False, has_audio, 20.0, 21.0) for at, part in enumerate(parts)]
    return [*told, p.ReplyWord(turn, len(parts), "", True, has_audio, 20.0, 22.0)]


def sound(turn: int, index: int = 0, pcm: bytes = PCM, rate: int = 24_000) -> p.ReplyAudio:
    return p.ReplyAudio(turn, index, pcm, rate, index * 100.0, (), False)


def reply(turn: int, text: str, request: str = "", *, answers: bool = True) -> list[p.Fact]:
    """A spoken reply, up to the point where all of it was sent."""
    return [
        began(turn, request, answers=answers),
        *words(turn, text),
        sound(turn, 0),
        sound(turn, 1),
        p.ReplyAudio(turn, 2, b"", 24_000, 200.0, (), True),
        p.ReplyWritten(turn, text),
    ]


def heard_out(turn: int, text: str) -> p.ReplyDone:
    return p.ReplyDone(turn, text, 200.0, "scripted")
