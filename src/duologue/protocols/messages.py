"""The messages of the native protocol as two tables: `CLIENT` (what may be sent to the server) and `SERVER` (what it sends).

Decoding, encoding (`native.py`) and the reference in docs/protocols.md are all read from these.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from duologue import protocols as p
from duologue.audio import checked_rate
from duologue.errors import ClientError
from duologue.protocols.checks import Check, choice, number, text, whole

LANGUAGES = ("en", "hi", "es", "ms", "ta", "te", "mr")
EMOTIONS = ("neutral", "happy", "sad", "angry", "surprised")

INSTRUCTIONS_CHARS = 4_000
"""About a thousand tokens: half the context of the packaged model."""

VOICE_CHARS = 100
"""Voices are named, not described; the longest file name of a known voice has 40."""

TEXT = replace(text(2**31), kind="string, up to `limits.text_chars` characters (8000)")
"""Its limit is the server's to set: `decode` is told it."""

DAY_MS = 86_400_000

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
    "unexpected_audio": "a binary message to `/ws/tts`, which takes none",
    "queue_full": "`/ws/tts` has as many utterances waiting as it keeps",
    "server_full": "as many sessions as the server takes; closed with 1013, try again later",
    "not_ready": "the models are still loading; closed with 1013, try again in seconds",
    "cross_origin": "a page of another site tried to connect: HTTP 403, no socket",
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
    Field("voice", text(VOICE_CHARS, empty=True), "a voice's name; empty is the engine's default", False),
    Field("emotion", choice(*EMOTIONS), "the tone of the reply", False),
    Field("intensity", number(0, 2), "how much of it; 1 is natural", False),
    Field("speed", number(0.5, 2), "factor on the voice's own rate", False),
    Field(
        "instructions", text(INSTRUCTIONS_CHARS, empty=True), "what the model is told before the conversation", False
    ),
    Field("context_window", whole(1, 50), "turns given to the model", False),
    Field("max_history", whole(2, 10_000), "turns kept for export", False),
    Field(
        "input_rate", Check("integer 8000–96000", lambda _, rate: checked_rate(rate)), "Hz of the client's sound", False
    ),
    Field(
        "output_rate",
        Check("integer 8000–96000", lambda _, rate: checked_rate(rate)),
        "Hz of the server's sound",
        False,
    ),
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


def _settings(name: str, value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ClientError("bad_type", f"{name} must be an object")
    try:
        return checked(value, SETTINGS, "settings")
    except ClientError as error:
        renamed = {"bad_value": "bad_setting", "unknown_field": "unknown_setting"}
        raise ClientError(renamed.get(error.code, error.code), error.message) from None


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
            Field("turn", whole(0, 2**31 - 1), "the reply's turn"),
            Field("played_ms", number(0, DAY_MS), "ms of its sound that have left the loudspeaker"),
        ),
        lambda given: p.Cursor(given["turn"], given["played_ms"]),
    ),
    "clear": Incoming("Forget the conversation so far.", (), lambda _: p.ClearHistory()),
    "export": Incoming("Asks for the conversation. Answered by `conversation`.", (), lambda _: p.Export()),
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


# ── What the server sends ─────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class Part:
    """One field of a server's message and how it is read off the fact; without `value` it is the attribute of that name."""

    name: str
    kind: str
    meaning: str
    value: Callable[[Any], Any] | None = None

    def of(self, fact: p.Fact) -> Any:
        value = getattr(fact, self.name) if self.value is None else self.value(fact)
        if isinstance(value, float):
            return round(value, 1)
        return dict(value) if isinstance(value, Mapping) else value


@dataclass(frozen=True, slots=True)
class Outgoing:
    name: str
    meaning: str
    parts: tuple[Part, ...]


TURN = Part("turn", "integer", "the turn it belongs to")

SERVER: Mapping[type[p.Fact], Outgoing] = {
    p.Ready: Outgoing(
        "ready",
        "The first message: the models are warm, you may speak.",
        (
            Part("session", "string", "the session's id, as in traces and logs"),
            Part("settings", "object", "all settings in force"),
            Part("engines", "object", "which engine does what: task to name"),
        ),
    ),
    p.Configured: Outgoing(
        "settings", "The settings after a change.", (Part("settings", "object", "all settings in force"),)
    ),
    p.StateChanged: Outgoing(
        "state",
        "Who has the floor.",
        (
            TURN,
            Part("state", "string", "`listening` nobody speaks, `hearing` the user does, `thinking`, `speaking`"),
        ),
    ),
    p.UserSpeech: Outgoing(
        "user_speech",
        "The user's voice began or ended.",
        (
            TURN,
            Part(
                "event",
                "string",
                "`speech_started` or `speech_stopped`",
                lambda fact: "speech_started" if fact.speaking else "speech_stopped",
            ),
            Part("at_ms", "number", "where, in ms of the sound sent by the client"),
        ),
    ),
    p.Heard: Outgoing(
        "transcript",
        "The user's words so far, all of them each time.",
        (
            TURN,
            Part("text", "string", "what was said or typed"),
            Part(
                "is_final",
                "boolean",
                "the turn is decided; it changes no more, except by `reopened`",
                lambda f: f.final,
            ),
            Part("language", "string", "ISO 639-1"),
        ),
    ),
    p.Reopened: Outgoing(
        "reopened",
        "The turn was closed too early and goes on: its final transcript is partial again; drop the words and the sound of "
        "its reply. Chunks of that turn count from 0 again.",
        (TURN,),
    ),
    p.ReplyWord: Outgoing(
        "text_chunk",
        "One word of the reply, as soon as it exists.",
        (
            TURN,
            Part("chunk_id", "string", "`turn-index`", lambda fact: f"{fact.turn}-{fact.index}"),
            Part("chunk_index", "integer", "counts from 0 in each reply", lambda fact: fact.index),
            Part("text", "string", "the word with its spaces: joined, they are the reply; the last chunk is empty"),
            Part("has_audio", "boolean", "the word will also be spoken"),
            Part("is_final", "boolean", "the reply has no more words", lambda fact: fact.final),
            Part("first_token_latency_ms", "number", "from the end of the turn to the reply's first token"),
            Part("processing_time_ms", "number", "from the end of the turn to this word"),
        ),
    ),
    p.ReplyAudio: Outgoing(
        "audio_chunk",
        "The reply's sound, announced: unless `bytes` is 0, the next message is binary and holds that many of PCM16.",
        (
            TURN,
            Part("chunk_index", "integer", "counts from 0 in each reply", lambda fact: fact.index),
            Part("at_ms", "number", "where the block begins in the reply's sound; blocks join sample-exactly"),
            Part("sample_rate", "integer", "Hz; always the session's `output_rate`", lambda fact: fact.rate),
            Part(
                "bytes", "integer", "length of the binary message that follows; 0: none follows", lambda f: len(f.pcm)
            ),
            Part(
                "words",
                "list of {text, end_ms}",
                "words that end in this block, at ms of the reply's sound",
                lambda fact: [{"text": word, "end_ms": round(end, 1)} for word, end in fact.words],
            ),
            Part(
                "is_final", "boolean", "the reply has no more sound; such a chunk has 0 bytes", lambda fact: fact.final
            ),
        ),
    ),
    p.Ducked: Outgoing(
        "ducked", "The user may be taking the floor: hold playback where it is, keep what is buffered.", (TURN,)
    ),
    p.Resumed: Outgoing("resumed", "They were not: play on from where you held.", (TURN,)),
    p.Interrupted: Outgoing(
        "interrupted",
        "The reply is over: throw away what is buffered of it. No chunk of this turn's reply follows.",
        (
            TURN,
            Part("heard_text", "string", "the words that the user heard; the history keeps these"),
            Part("heard_ms", "number", "how much sound that was"),
        ),
    ),
    p.ReplyDone: Outgoing(
        "reply_done",
        "The reply was played to its end.",
        (
            TURN,
            Part("text", "string", "all of it"),
            Part("audio_ms", "number", "length of its sound"),
            Part("speaker", "string", "the engine that spoke"),
        ),
    ),
    p.Latency: Outgoing(
        "latency",
        "The turn's waterfall in ms, counted from the user's last voiced sample.",
        (
            TURN,
            Part("marks", "object", "when each thing happened"),
            Part("parts", "object", "how long each step took; they sum to the mark `voice_to_voice`"),
        ),
    ),
    p.Exported: Outgoing(
        "conversation",
        "Answers `export`.",
        (Part("conversation", "object", "`turns` (role, content, timestamp, latency_ms …) and `total_turns`"),),
    ),
    p.Failure: Outgoing(
        "error",
        "Something could not be done; the session lives on unless the socket closes next.",
        (
            Part("code", "string", "stable, for programs"),
            Part("message", "string", "one sentence, for people"),
            Part("turn", "integer or null", "the turn that ended by it, if one did"),
        ),
    ),
}

DONE: tuple[Part, ...] = (
    Part("turn", "integer", "which utterance, counted from 1"),
    Part("audio_ms", "number", "length of its sound"),
    Part("first_audio_ms", "number or null", "from the utterance's turn to be made to its first sound; null: no sound"),
    Part("speaker", "string", "the engine that spoke"),
)
"""`done`, the last message of an utterance on `/ws/tts`."""
