"""What waits to be sent to one client: in order, bounded in bytes, and with a way for an interruption to overtake sound.

Full, it empties itself and says so (`overflowed`): a client that does not read is disconnected, for a conversation that arrives
late is of no use to anyone and its sound would only pile up.
"""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass

from duologue.protocols import Fact, Interrupted, Reopened, ReplyAudio, ReplyWord
from duologue.protocols.native import encode

ENTRY_BYTES = 300
"""Added to the length of each entry: about what Python's objects around a short message take."""


@dataclass(frozen=True, slots=True)
class Ending:
    """How a connection ends. `code` is the WebSocket close code; None: the client is gone, there is nobody to tell."""

    code: int | None
    reason: str = ""


@dataclass(frozen=True, slots=True)
class _Entry:
    fact: Fact
    messages: list[str | bytes]
    size: int


class Outbox:
    def __init__(self, limit_bytes: int) -> None:
        self.overflowed = asyncio.Event()
        self._limit = limit_bytes
        self._entries: deque[_Entry] = deque()
        self._size = 0
        self._changed = asyncio.Event()
        self._ending: Ending | None = None

    def tell(self, fact: Fact) -> None:
        """Queues a fact. After `end` or an overflow there is nothing to be told any more, and it is dropped."""
        if self._ending is not None or self.overflowed.is_set():
            return
        if isinstance(fact, Interrupted | Reopened):
            self._keep(deque(entry for entry in self._entries if not _void(entry.fact, fact)))
        messages = encode(fact)
        entry = _Entry(fact, messages, ENTRY_BYTES + sum(len(message) for message in messages))
        if self._size + entry.size > self._limit:
            self._keep(deque())
            self.overflowed.set()
            return
        self._entries.append(entry)
        self._size += entry.size
        self._changed.set()

    def end(self, ending: Ending) -> None:
        """What is queued is still sent, then the connection ends so. The first ending counts."""
        self._ending = self._ending or ending
        self._changed.set()

    async def get(self) -> list[str | bytes] | Ending:
        """The messages of the oldest fact, to be sent together, or the ending once all are sent."""
        while not self._entries:
            if self._ending is not None:
                return self._ending
            self._changed.clear()
            await self._changed.wait()
        entry = self._entries.popleft()
        self._size -= entry.size
        return entry.messages

    def _keep(self, entries: deque[_Entry]) -> None:
        self._entries = entries
        self._size = sum(entry.size for entry in entries)


def _void(unsent: Fact, by: Interrupted | Reopened) -> bool:
    """The unsent sound of an interrupted reply, and the words too of a reopened turn, must not be in the way of saying so."""
    if not isinstance(unsent, ReplyAudio | ReplyWord) or unsent.turn != by.turn:
        return False
    return isinstance(unsent, ReplyAudio) or isinstance(by, Reopened)
