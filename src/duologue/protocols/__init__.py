"""What a client may ask (commands) and what it is told (facts), whatever the wire format.

`native.py` and `realtime.py` translate both ways without I/O; `session.py` takes commands and gives facts and knows
neither JSON nor sockets. Facts that belong to a turn carry its number; numbers only grow.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, TypeAlias

from duologue.audio import Audio
from duologue.core.patience import Manners, Patience
from duologue.core.speech import SpeechSettings
from duologue.engines import Tool, ToolCall
from duologue.errors import DuologueError

# ── What both sides speak of ──────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class Item:
    """One entry of the conversation, as clients edit it. `id` is the client's own, or made by the functions below.

    An assistant's item with a `call` asked for a function; a tool's item `answers` a call, by the call's id. `audio` (16 kHz,
    mono) is a user's item that came as sound and not as words: they follow as `ItemHeard`.
    """

    id: str
    role: Literal["system", "user", "assistant", "tool"]
    text: str
    call: ToolCall | None = None
    answers: str = ""
    audio: Audio | None = None


def user_item(session: str, turn: int) -> str:
    """The id of the item that the user's turn becomes. Ids hold the session's name, for clients carry them to the next one."""
    return f"item_{session}_{turn}u"


def reply_item(session: str, turn: int) -> str:
    """The id of the item that the reply to a turn becomes."""
    return f"item_{session}_{turn}a"


def call_item(session: str, turn: int, index: int) -> str:
    """The id of the item of the reply's call number `index`, from 0."""
    return f"item_{session}_{turn}c{index}"


@dataclass(frozen=True, slots=True)
class TurnTaking:
    """How this session finds turns, where the client has its own wishes."""

    speech: SpeechSettings
    patience: Patience
    manners: Manners
    judged: bool = True
    """Ask the turn detector; else silence alone decides, after `patience.incomplete_s`."""


@dataclass(frozen=True, slots=True)
class Writing:
    """How replies are written. `max_tokens` None: as long as the model likes; `spoken` False: text only."""

    tools: tuple[Tool, ...] = ()
    tool_choice: str = "auto"
    max_tokens: int | None = None
    spoken: bool = True


@dataclass(frozen=True, slots=True)
class ReplyRequest:
    """One reply that the client asks for; what is None or empty is as for every reply of the session.

    `name` is echoed in `ReplyBegan`. An `aside` neither waits for the floor nor is remembered. `items` (an id stands for an
    item of the conversation) replace the history.
    """

    name: str = ""
    aside: bool = False
    items: tuple[Item | str, ...] | None = None
    instructions: str | None = None
    voice: str | None = None
    writing: Writing | None = None

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
    """Stop the reply now (a button, a key); what was heard stays in the history.

    With a `turn`: only that turn's reply, or the aside of that number. Nothing to stop is no error.
    """

    turn: int | None = None


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
    """New settings, already checked by the protocol, all or none of them; only those given change.

    `settings` are fields of `config.Conversation`, and `input_rate` and `output_rate` in Hz.
    """

    settings: Mapping[str, Any] = field(default_factory=dict)
    turn_taking: TurnTaking | None = None
    writing: Writing | None = None


@dataclass(frozen=True, slots=True)
class ClearHistory:
    """Forget the conversation so far."""


@dataclass(frozen=True, slots=True)
class Export:
    """Asks for the conversation as JSON; answered by `Exported`."""


@dataclass(frozen=True, slots=True)
class Restore:
    """The conversation was begun with a server that is gone: take `turns` (role and words) as history, say `unheard` aloud.

    Only at the start of a session. Raises `ClientError` (not_new).
    """

    turns: Sequence[tuple[Literal["user", "assistant"], str]]
    unheard: str = ""


@dataclass(frozen=True, slots=True)
class ClearMicrophone:
    """Forget what the user is saying and has not finished. Answered by `MicrophoneCleared`."""


@dataclass(frozen=True, slots=True)
class Respond:
    """Reply to the conversation as it stands. Where someone has the floor, the reply comes when it is free."""

    request: ReplyRequest = ReplyRequest()


@dataclass(frozen=True, slots=True)
class AddItem:
    """`after` is an item's id; None appends, "" puts it first. Answered by `ItemAdded`.

    Raises `ClientError`: unknown_item, duplicate_item.
    """

    item: Item
    after: str | None = None


@dataclass(frozen=True, slots=True)
class RemoveItem:
    """Answered by `ItemRemoved`. Raises `ClientError` (unknown_item)."""

    id: str


@dataclass(frozen=True, slots=True)
class ShowItem:
    """Answered by `ItemShown`. Raises `ClientError` (unknown_item)."""

    id: str


@dataclass(frozen=True, slots=True)
class CutItem:
    """The user heard a reply only up to `at_ms` of its sound; clamped. A reply that still plays ends.

    Answered by `ItemCut`. Raises `ClientError`: unknown_item, not_spoken.
    """

    id: str
    at_ms: float


Command: TypeAlias = (
    Microphone
    | Type
    | Interrupt
    | EndTurn
    | Cursor
    | Configure
    | ClearHistory
    | Export
    | Restore
    | ClearMicrophone
    | Respond
    | AddItem
    | RemoveItem
    | ShowItem
    | CutItem
)

# ── What a client is told ─────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class Voice:
    """One that can be asked for by its name; "" is its speaker's own. `emotion` is how it can be told one (`engines.About`)."""

    name: str
    languages: tuple[str, ...]
    speaker: str
    emotion: str


@dataclass(frozen=True, slots=True)
class Said:
    """One side's words in a turn, as far as they were heard. `turn` is None where it was said in an earlier session."""

    role: str
    content: str
    turn: int | None


@dataclass(frozen=True, slots=True)
class Ready:
    """First of all facts: the session stands and the engines are warm; again when a client takes the session up after it lost its connection."""

    session: str
    settings: Mapping[str, Any]
    engines: Mapping[str, str]
    voices: tuple[Voice, ...] = ()
    resume: str = ""
    """With it the client can come back to this session after it lost its connection; empty: it cannot."""
    said: tuple[Said, ...] | None = None
    """The conversation so far, for a client that came back; None at a session's beginning."""


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
    """The words of a turn whose final `Heard` had none: it was answered by ear, and is written down after its answer."""

    turn: int
    text: str
    language: str


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
class ReplyVoice:
    """Who speaks from here on, in which language; and which better voices of the chain do not, each with its reason."""

    turn: int
    speaker: str
    language: str
    passed_over: tuple[tuple[str, str], ...]


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


Fact: TypeAlias = (
    Ready
    | Configured
    | StateChanged
    | UserSpeech
    | Heard
    | Understood
    | Reopened
    | TurnDropped
    | Nudged
    | ReplyBegan
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
    | MicrophoneCleared
    | ItemAdded
    | ItemHeard
    | ItemRemoved
    | ItemShown
    | ItemCut
    | Latency
    | Exported
    | Failure
)


class Dialect(Protocol):
    """One connection's protocol, without I/O: the same for every transport."""

    def receive(self, message: str | bytes) -> Sequence[Command]:
        """What a message asks for. Raises `ClientError`, to be answered by `refuse`."""
        ...

    def refuse(self, error: DuologueError) -> Sequence[str | bytes]:
        """How the client is told that its last message, or a command made of it, could not be carried out."""
        ...

    def tell(self, fact: Fact) -> Sequence[str | bytes]:
        """The messages of a fact, to be sent in this order with nothing between them; none where this protocol is silent."""
        ...
