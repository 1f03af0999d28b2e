"""What waits to be sent to one client: in order, bounded in bytes, and with a way for an interruption to overtake sound.

Full, it empties itself and cuts the connection off: a client that does not read is disconnected, for a conversation that arrives
late is of no use to anyone and its sound would only pile up.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from duologue.errors import DuologueError
from duologue.protocols import Dialect, Fact, Interrupted, Reopened, ReplyAudio, ReplyWord

ENTRY_BYTES = 300
"""Added to the length of each entry: about what Python's objects around a short message take."""

Messages: TypeAlias = Sequence[str | bytes]


@dataclass(frozen=True, slots=True)
class Ending:
    """How a connection ends. `code` is the WebSocket close code; None: the client is gone, there is nobody to tell."""

    code: int | None
    reason: str = ""
    lost: bool = False
    """The client did not mean to go: it may come back."""


TOO_SLOW = Ending(1013, "client_too_slow", lost=True)


@dataclass(frozen=True, slots=True)
class _Entry:
    fact: Fact | None
    messages: Messages

    @property
    def size(self) -> int:
        return ENTRY_BYTES + sum(len(message) for message in self.messages)


class Outbox:
    """Facts become messages the moment they are told, since a dialect has a memory; so what is void is dropped as messages.

    `needed` says which messages of a void fact its client must get nevertheless, because later ones refer to them.
    """

    def __init__(
        self, dialect: Dialect, limit_bytes: int, needed: Callable[[str | bytes], bool] = lambda message: False
    ) -> None:
        self.cut_off: asyncio.Future[Ending] = asyncio.get_running_loop().create_future()
        """Done when the connection must end at once, whatever is queued."""
        self._dialect = dialect
        self._limit = limit_bytes
        self._needed = needed
        self._entries: deque[_Entry] = deque()
        self._size = 0
        self._changed = asyncio.Event()
        self._ending: Ending | None = None

    def tell(self, fact: Fact) -> None:
        """After `end` or `cut` there is nothing to be told any more."""
        if self._closed:
            return
        messages = self._dialect.tell(fact)
        if isinstance(fact, Interrupted | Reopened):
            self._keep(deque(entry for old in self._entries if (entry := self._without_void(old, fact)) is not None))
        self._put(_Entry(fact, messages))

    def post(self, messages: Messages) -> None:
        """Messages that are made already: what another connection of the same dialect gets, too."""
        if not self._closed:
            self._put(_Entry(None, messages))

    def refuse(self, error: DuologueError) -> None:
        """Tells the client that what it asked last cannot be."""
        self.post(self._dialect.refuse(error))

    def end(self, ending: Ending) -> None:
        """What is queued is still sent, then the connection ends so. The first ending counts."""
        self._ending = self._ending or ending
        self._changed.set()

    def cut(self, ending: Ending) -> None:
        """The connection ends so now."""
        self._keep(deque())
        if not self.cut_off.done():
            self.cut_off.set_result(ending)

    async def get(self) -> Messages | Ending:
        """The messages of the oldest fact, to be sent together, or the ending once all are sent."""
        while not self._entries:
            if self._ending is not None:
                return self._ending
            self._changed.clear()
            await self._changed.wait()
        entry = self._entries.popleft()
        self._size -= entry.size
        return entry.messages

    @property
    def _closed(self) -> bool:
        return self._ending is not None or self.cut_off.done()

    def _put(self, entry: _Entry) -> None:
        if not entry.messages:
            return
        if self._size + entry.size > self._limit:
            self.cut(TOO_SLOW)
            return
        self._entries.append(entry)
        self._size += entry.size
        self._changed.set()

    def _without_void(self, entry: _Entry, by: Interrupted | Reopened) -> _Entry | None:
        if not _void(entry.fact, by):
            return entry
        needed = [message for message in entry.messages if self._needed(message)]
        return _Entry(entry.fact, needed) if needed else None

    def _keep(self, entries: deque[_Entry]) -> None:
        self._entries = entries
        self._size = sum(entry.size for entry in entries)


def _void(unsent: Fact | None, by: Interrupted | Reopened) -> bool:
    """The unsent sound of an interrupted reply, and the words too of a reopened turn, must not be in the way of saying so."""
    if not isinstance(unsent, ReplyAudio | ReplyWord) or unsent.turn != by.turn:
        return False
    return isinstance(unsent, ReplyAudio) or isinstance(by, Reopened)
