"""What a client may ask, whatever the wire format; and what its requests speak of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

from duologue.audio import Audio
from duologue.core.patience import Manners, Patience
from duologue.core.speech import SpeechSettings
from duologue.engines import Tool, ToolCall

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
    """How replies are written. `max_tokens` None: as long as the model likes; `spoken` False: text only. `retention`: see
    `engines.Prompt`; None: the model is given all of the history."""

    tools: tuple[Tool, ...] = ()
    tool_choice: str = "auto"
    max_tokens: int | None = None
    spoken: bool = True
    retention: float | None = 1.0


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
class Ping:
    """The client asks for a sign of life. Answered by `Pong`."""


@dataclass(frozen=True, slots=True)
class ClearMicrophone:
    """Forget what the user is saying and has not finished. Answered by `MicrophoneCleared`."""


@dataclass(frozen=True, slots=True)
class Respond:
    """Reply to the conversation as it stands. Where someone has the floor, the reply comes when it is free."""

    request: ReplyRequest = ReplyRequest()


@dataclass(frozen=True, slots=True)
class Withdraw:
    """The reply that was asked for by this name, and has not begun, is not wanted any more. Answered by `ReplyWithdrawn`."""

    name: str


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
    | Ping
    | ClearMicrophone
    | Respond
    | Withdraw
    | AddItem
    | RemoveItem
    | ShowItem
    | CutItem
)
