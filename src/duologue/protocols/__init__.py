"""What a client may ask (commands) and what it is told (facts), whatever the wire format.

`native.py` and `realtime.py` translate both ways without I/O; `session.py` takes commands and gives facts and knows
neither JSON nor sockets. Facts that belong to a turn carry its number; numbers only grow.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from duologue.audio import Audio

# ── What a client asks ────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class Microphone:
    """Sound from the user, mono float32 at the session's `input_rate`."""

    samples: Audio


@dataclass(frozen=True, slots=True)
class Type:
    """The user typed instead of speaking: a whole turn."""

    text: str


@dataclass(frozen=True, slots=True)
class Interrupt:
    """Stop the reply now (a button, a key); what was heard stays in the history."""


@dataclass(frozen=True, slots=True)
class EndTurn:
    """The user's turn is over (push-to-talk was let go); do not wait for a pause."""


@dataclass(frozen=True, slots=True)
class Cursor:
    """How much of the reply to `turn` the client has played, in ms of that reply's sound. Best sent every 100 ms."""

    turn: int
    played_ms: float


@dataclass(frozen=True, slots=True)
class Configure:
    """New settings, already checked by the protocol; only the named ones change (see `config.Conversation`)."""

    settings: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class ClearHistory:
    """Forget the conversation so far."""


@dataclass(frozen=True, slots=True)
class Export:
    """Asks for the conversation as JSON; answered by `Exported`."""


Command: TypeAlias = Microphone | Type | Interrupt | EndTurn | Cursor | Configure | ClearHistory | Export

# ── What a client is told ─────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class Ready:
    """First of all facts: the session stands and the engines are warm."""

    session: str
    settings: Mapping[str, Any]
    engines: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Configured:
    """The settings in force after a `Configure`."""

    settings: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class StateChanged:
    """listening: nobody speaks · hearing: the user speaks · thinking: the turn is over, no sound yet · speaking."""

    turn: int
    state: Literal["listening", "hearing", "thinking", "speaking"]


@dataclass(frozen=True, slots=True)
class UserSpeech:
    """The user's voice began or ended; `at_ms` counts from the first sample of the stream."""

    turn: int
    speaking: bool
    at_ms: float


@dataclass(frozen=True, slots=True)
class Heard:
    """The user's words so far; `final` once the turn is decided. Then it never changes, except by `Reopened`."""

    turn: int
    text: str
    final: bool
    language: str


@dataclass(frozen=True, slots=True)
class Reopened:
    """The turn was closed too early: its final transcript and reply are void, the user goes on within the same turn."""

    turn: int


@dataclass(frozen=True, slots=True)
class ReplyWord:
    """One word of the reply, as soon as it exists, spaces with it. `index` counts from 0; the last one is empty and final.

    Times in ms: first token since the turn was decided (negative cannot be: a draft's word leaves at 0 or later), and this
    word since then.
    """

    turn: int
    index: int
    text: str
    final: bool
    has_audio: bool
    first_token_latency_ms: float
    processing_time_ms: float


@dataclass(frozen=True, slots=True)
class ReplyAudio:
    """A block of the reply's sound: PCM16 mono at `rate` Hz. `words` end within it, at ms of the reply's sound.

    `index` counts from 0; blocks join sample-exactly; the last one is empty and final.
    """

    turn: int
    index: int
    pcm: bytes
    rate: int
    at_ms: float
    words: tuple[tuple[str, float], ...]
    final: bool


@dataclass(frozen=True, slots=True)
class Ducked:
    """The user may be taking the floor: hold playback where it is, keep what is buffered."""

    turn: int


@dataclass(frozen=True, slots=True)
class Resumed:
    """It was only "mm-hm": play on from where you held."""

    turn: int


@dataclass(frozen=True, slots=True)
class Interrupted:
    """The reply is over: throw away what is buffered. What follows is what the user heard of it."""

    turn: int
    heard_text: str
    heard_ms: float


@dataclass(frozen=True, slots=True)
class ReplyDone:
    """The reply was played to its end; `text` is all of it."""

    turn: int
    text: str
    audio_ms: float
    speaker: str


@dataclass(frozen=True, slots=True)
class Latency:
    """The turn's waterfall in ms, each counted from the user's last voiced sample; the parts sum to `voice_to_voice`."""

    turn: int
    marks: Mapping[str, float]
    parts: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Exported:
    conversation: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Failure:
    """Something went wrong and was contained. `turn` is None where it belongs to none."""

    code: str
    message: str
    turn: int | None = None


Fact: TypeAlias = (
    Ready
    | Configured
    | StateChanged
    | UserSpeech
    | Heard
    | Reopened
    | ReplyWord
    | ReplyAudio
    | Ducked
    | Resumed
    | Interrupted
    | ReplyDone
    | Latency
    | Exported
    | Failure
)
