"""What a client is told, whatever the wire format. Facts that belong to a turn carry its number; numbers only grow."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from duologue.engines import ToolCall
from duologue.protocols.commands import Item


@dataclass(frozen=True, slots=True)
class Voice:
    """One that can be asked for by its name; "" is its speaker's own. What the speaker can do is as it declares it
    (`engines.About`)."""

    name: str
    languages: tuple[str, ...]
    speaker: str
    emotion: str
    sample_rate: int
    """Hz: of the sound it makes; clients get theirs."""
    streaming: str
    cloning: bool
    cancel: str
    licence: str


@dataclass(frozen=True, slots=True)
class Said:
    """One side's words in a turn, as far as they were heard. `turn` is None where it was said in an earlier session."""

    role: str
    content: str
    turn: int | None


@dataclass(frozen=True, slots=True)
class Ready:
    """First of all facts: the session stands and the engines are warm; again for a client that had lost it."""

    session: str
    settings: Mapping[str, Any]
    engines: Mapping[str, str]
    voices: tuple[Voice, ...] = ()
    resume: str = ""
    """With it the client can come back to this session after it lost its connection; empty: it cannot."""
    said: tuple[Said, ...] | None = None
    """The conversation so far, for a client that came back; None at a session's beginning."""
    profile: str = ""
    """The name of the set of engines."""


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
class Understood:
    """The words of a turn whose final `Heard` had none: it was answered by ear, and is written down after its answer; or
    its client ends turns by hand, and its words were not known yet.

    `error` says why there are none.
    """

    turn: int
    text: str
    language: str
    error: str = ""


@dataclass(frozen=True, slots=True)
class Felt:
    """What the user feels in a decided turn, as far as can be told: `duologue.emotion.Emotion`. May follow the reply's first
    words; told again where more became known."""

    turn: int
    label: str
    intensity: float
    confidence: float
    evidence: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Reopened:
    """The turn was closed too early: its final transcript and reply are void, the user goes on within the same turn."""

    turn: int


@dataclass(frozen=True, slots=True)
class TurnDropped:
    """It was no turn: noise, or "mm-hm" over a reply. No `Heard` of it will be final."""

    turn: int


@dataclass(frozen=True, slots=True)
class Nudged:
    """Nobody spoke for as long as the client allows; the reply to this turn follows."""

    turn: int


@dataclass(frozen=True, slots=True)
class ReplyBegan:
    """First fact of each reply, once its turn is decided. `request` is the name of the client's request, if it asked.

    Turns below 0 are asides; `answers` is False where the user said nothing in this turn.
    """

    turn: int
    request: str
    spoken: bool
    answers: bool


@dataclass(frozen=True, slots=True)
class ReplyWithdrawn:
    """The reply that was asked for by this name will not come: it was withdrawn, or stopped with the one before it."""

    request: str


@dataclass(frozen=True, slots=True)
class ReplyVoice:
    """Who speaks from here on, in which language and tone; and which better voices do not, each with its reason.

    `unmet` says why this voice cannot sound as it should, "" if it can.
    """

    turn: int
    speaker: str
    language: str
    passed_over: tuple[tuple[str, str], ...]
    emotion: str = "neutral"
    unmet: str = ""


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
    """The reply was played to its end; `text` is all of it. Not `complete`: it reached the most tokens that it may have."""

    turn: int
    text: str
    audio_ms: float
    speaker: str
    complete: bool = True


@dataclass(frozen=True, slots=True)
class ReplyWritten:
    """All of the reply's text and calls exist and, if it is spoken, all its sound was sent; it may still be playing."""

    turn: int
    text: str
    complete: bool = True


@dataclass(frozen=True, slots=True)
class ReplyCallPart:
    """A piece of a call's arguments. `index` counts the reply's calls from 0."""

    turn: int
    index: int
    call: str
    name: str
    arguments: str


@dataclass(frozen=True, slots=True)
class ReplyCall:
    """The model wants a function run, and the client is to answer with a tool's item."""

    turn: int
    index: int
    call: ToolCall


@dataclass(frozen=True, slots=True)
class PlaybackStarted:
    """From a transport that plays the sound itself: the first of the reply's sound is on its way."""

    turn: int


@dataclass(frozen=True, slots=True)
class PlaybackStopped:
    """From a transport that plays the sound itself: all of the reply's sound has been played."""

    turn: int


@dataclass(frozen=True, slots=True)
class Pong:
    """The answer to `Ping`."""


@dataclass(frozen=True, slots=True)
class MicrophoneCleared:
    """What the user was saying is forgotten."""


@dataclass(frozen=True, slots=True)
class ItemAdded:
    """`after` is the item before it, None if it is the first. Items of spoken turns are not announced: see the turn's facts."""

    item: Item
    after: str | None


@dataclass(frozen=True, slots=True)
class ItemHeard:
    """The words of a user's item that came as sound; `error` says why there are none."""

    id: str
    text: str
    error: str = ""


@dataclass(frozen=True, slots=True)
class ItemRemoved:
    id: str


@dataclass(frozen=True, slots=True)
class ItemShown:
    item: Item


@dataclass(frozen=True, slots=True)
class ItemCut:
    """What stays of the reply: `text`, and the first `at_ms` of its sound."""

    id: str
    at_ms: float
    text: str


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


@dataclass(frozen=True, slots=True)
class Degraded:
    """Something is done less well than it should be, and nothing has ended by it. `turn` is None where it belongs to none."""

    message: str
    turn: int | None = None


Fact: TypeAlias = (
    Ready
    | Configured
    | StateChanged
    | UserSpeech
    | Heard
    | Understood
    | Felt
    | Reopened
    | TurnDropped
    | Nudged
    | ReplyBegan
    | ReplyWithdrawn
    | ReplyVoice
    | ReplyWord
    | ReplyAudio
    | ReplyCallPart
    | ReplyCall
    | ReplyWritten
    | Ducked
    | Resumed
    | Interrupted
    | ReplyDone
    | PlaybackStarted
    | PlaybackStopped
    | Pong
    | MicrophoneCleared
    | ItemAdded
    | ItemHeard
    | ItemRemoved
    | ItemShown
    | ItemCut
    | Latency
    | Exported
    | Failure
    | Degraded
)
