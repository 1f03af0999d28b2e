"""The native WebSocket protocol, without I/O: messages in become commands, facts become messages out.

The messages themselves stand in `messages.py` and `server_messages.py`; so does the reference in docs/protocols.md, which
`python -m duologue.protocols.native docs/protocols.md` refreshes.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeAlias, TypeVar

from duologue import protocols as p
from duologue.audio import checked_rate, from_pcm16
from duologue.config import Limits
from duologue.engines import Style
from duologue.errors import ClientError, DuologueError
from duologue.protocols.messages import (
    CLIENT,
    CODES,
    DAY_MS,
    RATES,
    SETTINGS,
    TURNS,
    UTTERANCE,
    Field,
    Incoming,
    checked,
)
from duologue.protocols.server_messages import DONE, SERVER, UNTOLD

N = TypeVar("N", int, float)

TEXT_CHARS = Limits().text_chars

MESSAGE_CHARS = 300
"""Of an error's message; it may quote what the client sent, which may be long."""


class Native:
    """The protocol of one connection (`protocols.Dialect`).

    `media`: the sound has a road of its own (WebRTC). Then no binary message goes either way, and the rates are not the client's
    to set.
    """

    def __init__(self, *, text_chars: int = TEXT_CHARS, media: bool = False) -> None:
        self._text_chars = text_chars
        self._media = media
        self._rates_fixed = media

    def receive(self, message: str | bytes) -> tuple[p.Command, ...]:
        """Raises `ClientError` with one of `CODES`; nothing else ever comes out."""
        command = self._microphone(message) if isinstance(message, bytes) else self._command(message)
        self._rates_fixed = self._rates_fixed or isinstance(command, p.Microphone | p.Type)
        return (command,)

    def refuse(self, error: DuologueError) -> list[str | bytes]:
        return encode(failure(error))

    def tell(self, fact: p.Fact) -> list[str | bytes]:
        if isinstance(fact, p.ReplyAudio) and self._media:
            fact = replace(fact, pcm=b"")
        return [] if type(fact) in UNTOLD else encode(fact)

    def _microphone(self, message: bytes) -> p.Command:
        if self._media:
            raise ClientError("unexpected_audio", "the microphone has a track of its own; this channel takes JSON only")
        return p.Microphone(from_pcm16(message))

    def _command(self, message: str) -> p.Command:
        given = _object(message)
        incoming = _incoming(given.pop("type", None))
        command = incoming.command(checked(given, incoming.fields, "this message"))
        if isinstance(command, p.Configure) and self._rates_fixed and any(rate in command.settings for rate in RATES):
            raise ClientError("rate_fixed", "sample rates can be set only before the first sound or text")
        for words in _words(command):
            _limit(words, self._text_chars)
        return command


def _words(command: p.Command) -> tuple[str, ...]:
    """What may be as long as the server's limit of text allows."""
    if isinstance(command, p.Type):
        return (command.text,)
    if isinstance(command, p.Restore):
        return (command.unheard, *(content for _, content in command.turns))
    return ()


def decode_utterance(message: str | bytes, *, text_chars: int = TEXT_CHARS) -> tuple[str, Style]:
    """A message to `/ws/tts` as what to say and how (language may be "auto"), or a `ClientError` with one of `CODES`."""
    if isinstance(message, bytes):
        raise ClientError("unexpected_audio", "this socket takes JSON only")
    given = checked(_object(message), UTTERANCE, "an utterance")
    words = given.pop("text")
    _limit(words, text_chars)
    return words, Style(**{"language": "auto"} | given)


@dataclass(frozen=True, slots=True)
class Address:
    """What the address of a connection asks for: the rates, and a session to take up, of whose reply to `turn` so much was
    played."""

    rates: Mapping[str, int]
    resume: str = ""
    turn: int = 0
    played_ms: float = 0.0


def decode_address(query: Sequence[tuple[str, str]]) -> Address:
    """Raises `ClientError`: unknown_setting, bad_rate, bad_value."""
    given = dict(query)
    resume = given.pop("resume", "")
    turn = _number("turn", int, given.pop("turn", "0"), TURNS)
    played_ms = _number("played_ms", float, given.pop("played_ms", "0"), DAY_MS)
    return Address(decode_rates(list(given.items())), resume, turn, played_ms)


def decode_rates(query: Sequence[tuple[str, str]], names: Sequence[str] = RATES) -> dict[str, int]:
    """Raises `ClientError`: unknown_setting, bad_rate."""
    rates = {}
    for name, value in query:
        if name not in names:
            raise ClientError("unknown_setting", f"the address may set {' and '.join(names)}, not {name[:50]!r}")
        rates[name] = checked_rate(int(value) if value.isascii() and value.isdigit() and len(value) < 10 else value)
    return rates


def _number(name: str, kind: Callable[[str], N], value: str, most: int) -> N:
    try:
        number = kind(value)
    except ValueError:
        number = kind("-1")
    if not 0 <= number <= most:
        raise ClientError("bad_value", f"{name} must be a number from 0 to {most}")
    return number


def _limit(words: str, most: int) -> None:
    if len(words) > most:
        raise ClientError("text_too_long", f"text may have {most} characters, not {len(words)}")


def _object(message: str) -> dict[str, Any]:
    try:
        given = json.loads(message, parse_constant=_no_constant)
    except (ValueError, RecursionError):
        raise ClientError("bad_json", "the message is not JSON") from None
    if not isinstance(given, dict):
        raise ClientError("not_an_object", "a message must be a JSON object")
    return given


def _no_constant(name: str) -> None:
    raise ValueError(name)


def _incoming(name: object) -> Incoming:
    incoming = CLIENT.get(name) if isinstance(name, str) else None
    if incoming is None:
        raise ClientError("unknown_message", f"type must be one of {', '.join(CLIENT)}")
    return incoming


def encode(fact: p.Fact) -> list[str | bytes]:
    """The messages of a fact, in the order in which they must be sent, with nothing between them."""
    outgoing = SERVER[type(fact)]
    header = dump({"type": outgoing.name} | {part.name: part.of(fact) for part in outgoing.parts})
    return [header, fact.pcm] if isinstance(fact, p.ReplyAudio) and fact.pcm else [header]


def failure(error: DuologueError, turn: int | None = None) -> p.Failure:
    return p.Failure(error.code, error.message[:MESSAGE_CHARS], turn)


def encode_done(turn: int, audio_ms: float, first_audio_ms: float | None, speaker: str) -> str:
    values = (turn, round(audio_ms, 1), None if first_audio_ms is None else round(first_audio_ms, 1), speaker)
    return dump({"type": "done"} | {part.name: value for part, value in zip(DONE, values, strict=True)})


def dump(message: Mapping[str, Any]) -> str:
    """ASCII JSON: whatever a model writes, half a surrogate pair included, leaves as valid text."""
    return json.dumps(message, separators=(",", ":"), allow_nan=False)


# ── The reference page ────────────────────────────────────────────────────────────────────────────────────────────

Row: TypeAlias = tuple[str, ...]


def reference() -> dict[str, str]:
    """The generated parts of docs/protocols.md by the name of their marker, as Markdown tables."""
    return {
        "client": _table(("message", "field", "holds", "meaning"), _client_rows()),
        "settings": _table(("setting", "holds", "meaning"), _field_rows(SETTINGS)),
        "server": _table(("message", "field", "holds", "meaning"), _server_rows()),
        "utterance": _table(("field", "holds", "meaning"), _field_rows(UTTERANCE)),
        "done": _table(("field", "holds", "meaning"), [(f"`{x.name}`", x.kind, x.meaning) for x in DONE]),
        "codes": _table(("code", "why"), [(f"`{code}`", why) for code, why in CODES.items()]),
    }


def refreshed(page: str) -> str:
    """The page with the text between each `<!-- NAME -->` and `<!-- /NAME -->` made anew."""
    for name, table in reference().items():
        before, rest = page.split(f"<!-- {name} -->\n", 1)
        _, after = rest.split(f"<!-- /{name} -->", 1)
        page = f"{before}<!-- {name} -->\n{table}<!-- /{name} -->{after}"
    return page


def _client_rows() -> list[Row]:
    rows: list[Row] = []
    for name, incoming in CLIENT.items():
        rows.append((f"**`{name}`**", "", "", incoming.meaning))
        rows += [("", *row) for row in _field_rows(incoming.fields)]
    return rows


def _server_rows() -> list[Row]:
    rows: list[Row] = []
    for outgoing in dict.fromkeys(SERVER.values()):
        rows.append((f"**`{outgoing.name}`**", "", "", outgoing.meaning))
        rows += [("", f"`{part.name}`", part.kind, part.meaning) for part in outgoing.parts]
    return rows


def _field_rows(fields: Sequence[Field]) -> list[Row]:
    return [(f"`{field.name}`", field.check.kind, field.meaning) for field in fields]


def _table(head: Row, rows: Sequence[Row]) -> str:
    lines = [head, ("---",) * len(head), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


if __name__ == "__main__":
    page = Path(sys.argv[1])
    page.write_text(refreshed(page.read_text(encoding="utf-8")), encoding="utf-8")
