"""What a client may ask (commands) and what it is told (facts), whatever the wire format.

`native.py` and `realtime/` translate both ways without I/O; `session.py` takes commands and gives facts and knows
neither JSON nor sockets. Facts that belong to a turn carry its number; numbers only grow.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from duologue.errors import DuologueError
from duologue.protocols.commands import (
    AddItem,
    ClearHistory,
    ClearMicrophone,
    Command,
    Configure,
    Cursor,
    CutItem,
    EndTurn,
    Export,
    Interrupt,
    Item,
    Microphone,
    Ping,
    RemoveItem,
    ReplyRequest,
    Respond,
    Restore,
    ShowItem,
    TurnTaking,
    Type,
    Withdraw,
    Writing,
    call_item,
    reply_item,
    user_item,
)
from duologue.protocols.facts import (
    Configured,
    Degraded,
    Ducked,
    Exported,
    Fact,
    Failure,
    Felt,
    Heard,
    Interrupted,
    ItemAdded,
    ItemCut,
    ItemHeard,
    ItemRemoved,
    ItemShown,
    Latency,
    MicrophoneCleared,
    Nudged,
    PlaybackStarted,
    PlaybackStopped,
    Pong,
    Ready,
    Reopened,
    ReplyAudio,
    ReplyBegan,
    ReplyCall,
    ReplyCallPart,
    ReplyDone,
    ReplyVoice,
    ReplyWithdrawn,
    ReplyWord,
    ReplyWritten,
    Resumed,
    Said,
    StateChanged,
    TurnDropped,
    Understood,
    UserSpeech,
    Voice,
)

__all__ = [
    "AddItem",
    "ClearHistory",
    "ClearMicrophone",
    "Command",
    "Configure",
    "Configured",
    "Cursor",
    "CutItem",
    "Degraded",
    "Dialect",
    "Ducked",
    "EndTurn",
    "Export",
    "Exported",
    "Fact",
    "Failure",
    "Felt",
    "Heard",
    "Interrupt",
    "Interrupted",
    "Item",
    "ItemAdded",
    "ItemCut",
    "ItemHeard",
    "ItemRemoved",
    "ItemShown",
    "Latency",
    "Microphone",
    "MicrophoneCleared",
    "Nudged",
    "Ping",
    "PlaybackStarted",
    "PlaybackStopped",
    "Pong",
    "Ready",
    "RemoveItem",
    "Reopened",
    "ReplyAudio",
    "ReplyBegan",
    "ReplyCall",
    "ReplyCallPart",
    "ReplyDone",
    "ReplyRequest",
    "ReplyVoice",
    "ReplyWithdrawn",
    "ReplyWord",
    "ReplyWritten",
    "Respond",
    "Restore",
    "Resumed",
    "Said",
    "ShowItem",
    "StateChanged",
    "TurnDropped",
    "TurnTaking",
    "Type",
    "Understood",
    "UserSpeech",
    "Voice",
    "Withdraw",
    "Writing",
    "call_item",
    "reply_item",
    "user_item",
]


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
