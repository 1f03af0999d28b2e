"""What clients of the native protocol may send, as a table: `CLIENT`. The other direction is in `server_messages.py`.

Decoding (`native.py`) and the reference in docs/protocols.md are read from it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from duologue import protocols as p
from duologue.audio import checked_rate
from duologue.errors import ClientError
from duologue.protocols.checks import Check, choice, flag, number, text, whole

LANGUAGES = ("en", "hi", "es", "ms", "ta", "te", "mr")
EMOTIONS = ("neutral", "happy", "sad", "angry", "surprised")

INSTRUCTIONS_CHARS = 4_000
"""About a thousand tokens: half the context of the packaged model."""

VOICE_CHARS = 100
"""Voices are named, not described; the longest file name of a known voice has 40."""

TEXT = replace(text(2**31), kind="string, up to `limits.text_chars` characters (8000)")
"""Its limit is the server's to set: `Native` is told it."""

RESTORED_TURNS = 1_000
"""Taken from a client that goes on with an earlier conversation: ten times what a session keeps unless it is told to."""

DAY_MS = 86_400_000

TURNS = 2**31 - 1
"""No turn has a higher number."""

RATE = Check("integer 8000–96000", lambda _, rate: checked_rate(rate))

CODES: Mapping[str, str] = {
    "bad_json": "a text message is not JSON (NaN and Infinity are not JSON either)",
    "not_an_object": "a text message is JSON, but not an object",
    "unknown_message": "`type` is missing or names no message",
    "missing_field": "a required field is not there",
    "unknown_field": "a field that the message does not have",
    "bad_type": "a field has the wrong JSON type",
    "bad_value": "a field has the right type, but is out of range or not one of the choices",
    "bad_text": "text holds half of a surrogate pair, which is no character",
    "empty_text": "text with nothing in it but spaces",
    "text_too_long": "text over the limit for its field",
    "unknown_setting": "a setting or query parameter that does not exist",
    "bad_setting": "a setting out of range or not one of the choices",
    "bad_rate": "a sample rate that is not a whole number from 8000 to 96000",
    "rate_fixed": "a sample rate was set after the first sound or text",
    "odd_audio": "a binary message with an odd number of bytes: PCM16 has two a sample",
    "unexpected_audio": "a binary message where none is taken: to `/ws/tts`, or over WebRTC",
    "queue_full": "`/ws/tts` has as many utterances waiting as it keeps",
    "server_full": "as many sessions as the server takes, or as its machine carries; closed with 1013, try again later",
    "not_ready": "the models are still loading; closed with 1013, try again in seconds",
    "cross_origin": "a page of another site tried to connect: HTTP 403, no socket",
    "missing_api_key": "the server asks for a key and got none; closed with 3000",
    "invalid_api_key": "the key is none of the server's; closed with 3000",
    "bad_sdp": "`/rtc`: what was posted is no offer of sound",
    "too_large": "`/rtc`: the request is longer than any offer",
    "unknown_call": "`/rtc`: no such call, or it is over",
    "webrtc_not_installed": "`/rtc`: HTTP 501, use `/ws`",
    "not_new": "`restore` came after something had been said",
    "session_expired": "the session lasted as long as one may (`limits.session_s`); closed with 1000",
    "client_too_slow": "the client stopped reading; closed with 1013",
    "too_many_errors": "many unusable messages in a row; closed with 1008",
    "internal_error": "a fault of the server; closed with 1011",
}
"""Codes of this protocol. Engines and sessions add their own (`engine_failed` …); a client shows what it does not know."""


@dataclass(frozen=True, slots=True)
class Field:
    """One field of a client's message: `kind` is how the reference names what `check` lets through."""

    name: str
    check: Check
    meaning: str
    required: bool = True


@dataclass(frozen=True, slots=True)
class Incoming:
    meaning: str
    fields: tuple[Field, ...]
    command: Callable[[Mapping[str, Any]], p.Command]


SETTINGS: tuple[Field, ...] = (
    Field("language", choice("auto", *LANGUAGES), "what the user speaks; `auto` follows the user", False),
    Field("language_from_speech", flag(), "`auto` follows what is heard", False),
    Field("language_from_text", flag(), "`auto` follows what is typed", False),
    Field("language_to_model", flag(), "the model is told in which language to answer, if it is not English", False),
    Field("voice", text(VOICE_CHARS, empty=True), "a voice's name; empty is the engine's default", False),
    Field(
        "emotion",
        choice("auto", *EMOTIONS),
        "the tone of the reply; `auto` answers the user's feelings, any other is kept",
        False,
    ),
    Field("intensity", number(0, 2), "how much of it, or a factor on the answer to feelings; 1 is natural", False),
    Field("feelings", flag(), "the user's feelings are looked for, told and answered", False),
    Field("feelings_from_words", flag(), "they are found in what is said", False),
    Field("feelings_from_sound", flag(), "they are found in how it is said", False),
    Field("feelings_carried", number(0, 1), "weight of earlier turns in what a turn is found to be; 0: none", False),
    Field("feelings_to_voice", flag(), "the voice answers them, where `emotion` is `auto`", False),
    Field("feelings_to_model", flag(), "the model is told of them, where `emotion` is `auto`", False),
    Field("speakable", flag(), "numbers, dates, amounts and links are said as words of the language", False),
    Field("speed", number(0.5, 2), "factor on the voice's own rate", False),
    Field(
        "instructions", text(INSTRUCTIONS_CHARS, empty=True), "what the model is told before the conversation", False
    ),
    Field("context_window", whole(1, 50), "exchanges given to the model, each a question and its answer", False),
    Field("max_history", whole(2, 10_000), "turns kept for export", False),
    Field("input_rate", RATE, "Hz of the client's sound", False),
    Field("output_rate", RATE, "Hz of the server's sound", False),
)
"""The fields of `config.Conversation`, and the two rates of the wire, which only the first settings may name."""

RATES = ("input_rate", "output_rate")


def checked(given: Mapping[str, Any], fields: Sequence[Field], where: str) -> dict[str, Any]:
    """The fields of a message, each checked. Raises `ClientError`: unknown_field, missing_field, or what a check raises."""
    known = {field.name: field for field in fields}
    for name in given:
        if name not in known:
            raise ClientError("unknown_field", f"{where} has no field {name[:50]!r}")
    for field in fields:
        if field.required and field.name not in given:
            raise ClientError("missing_field", f"{where} needs the field {field.name}")
    return {name: known[name].check(name, value) for name, value in given.items()}


def _turns(name: str, value: Any) -> tuple[tuple[str, str], ...]:
    if not isinstance(value, list):
        raise ClientError("bad_type", f"{name} must be a list")
    if len(value) > RESTORED_TURNS:
        raise ClientError("bad_value", f"{name} may hold {RESTORED_TURNS}, not {len(value)}")
    if not all(isinstance(turn, dict) for turn in value):
        raise ClientError("bad_type", f"each of {name} must be an object")
    turns = [checked(turn, RESTORED, "a turn") for turn in value]
    return tuple((turn["role"], turn["content"]) for turn in turns)


def _settings(name: str, value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ClientError("bad_type", f"{name} must be an object")
    try:
        return checked(value, SETTINGS, "settings")
    except ClientError as error:
        renamed = {"bad_value": "bad_setting", "unknown_field": "unknown_setting"}
        raise ClientError(renamed.get(error.code, error.code), error.message) from None


RESTORED: tuple[Field, ...] = (
    Field("role", choice("user", "assistant"), "who said it"),
    Field("content", replace(text(2**31, empty=True), kind=TEXT.kind), "what was said, as far as it was heard"),
)

CLIENT: Mapping[str, Incoming] = {
    "settings": Incoming(
        "Changes settings; only those named change, all of them or, after an error, none. Answered by `settings`.",
        (Field("settings", Check("object", _settings), "see below"),),
        lambda given: p.Configure(given["settings"]),
    ),
    "text": Incoming(
        "The user typed a whole turn. It interrupts a reply that is being spoken.",
        (Field("text", TEXT, "what was typed"),),
        lambda given: p.Type(given["text"]),
    ),
    "interrupt": Incoming("Stop the reply now. Answered by `interrupted`.", (), lambda _: p.Interrupt()),
    "end_turn": Incoming("The user's turn is over; do not wait for a pause.", (), lambda _: p.EndTurn()),
    "cursor": Incoming(
        "What has been played of a reply. Send it every 100 ms while playing: what the history keeps of an interrupted "
        "reply, and how far ahead the server sends, follow from it.",
        (
            Field("turn", whole(0, TURNS), "the reply's turn"),
            Field("played_ms", number(0, DAY_MS), "ms of its sound that have left the loudspeaker"),
        ),
        lambda given: p.Cursor(given["turn"], given["played_ms"]),
    ),
    "clear": Incoming("Forget the conversation so far.", (), lambda _: p.ClearHistory()),
    "export": Incoming("Asks for the conversation. Answered by `conversation`.", (), lambda _: p.Export()),
    "ping": Incoming(
        "Asks for a sign of life, answered by `pong`: of WebSocket pings a browser sees nothing, nor of a network that swallows "
        "everything and closes nothing.",
        (),
        lambda _: p.Ping(),
    ),
    "restore": Incoming(
        "Goes on with a conversation whose session is gone (the server was started again). Only before anything is said.",
        (
            Field(
                "turns",
                Check(f"list of {{role, content}}, up to {RESTORED_TURNS}", _turns),
                "what was said, oldest first; `role` is `user` or `assistant`",
            ),
            Field(
                "unheard",
                replace(text(2**31, empty=True), kind=TEXT.kind),
                "the rest of the last reply, which was not heard: it is said now, as a reply of its own",
                False,
            ),
        ),
        lambda given: p.Restore(given["turns"], given.get("unheard", "")),
    ),
}

UTTERANCE: tuple[Field, ...] = (
    Field("text", TEXT, "what to say"),
    Field("language", choice("auto", *LANGUAGES), "default `auto`: found out from the text", False),
    Field("voice", text(VOICE_CHARS, empty=True), "default empty: the engine's own", False),
    Field("emotion", choice(*EMOTIONS), "default `neutral`", False),
    Field("intensity", number(0, 2), "default 1", False),
    Field("speed", number(0.5, 2), "default 1", False),
)
"""A message to `/ws/tts`; it has no `type`, since there is no other."""
