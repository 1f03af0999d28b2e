"""The sessions behind a server's sockets. A session runs apart from its connection, so that it can outlive it for a while.

A client that lost its connection takes its session up again with a token; until then the reply waits where it was. A second
connection with the same token takes the session over from the first.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import replace
from hmac import compare_digest
from typing import Protocol

from duologue.protocols import Command, Fact, Failure, Ready
from duologue.transports import Place, Tell
from duologue.transports.access import Chance, token
from duologue.transports.outbox import Ending

TAKEN_OVER = Ending(1008, "taken_over")

log = logging.getLogger(__name__)


class Line(Protocol):
    """A connection, as the session sees it."""

    def tell(self, fact: Fact) -> None: ...

    def end(self, ending: Ending) -> None:
        """Nothing more will be told; what was is still brought to the client."""
        ...

    def cut(self, ending: Ending) -> None:
        """The connection ends now."""
        ...


class Conversation:
    """A session, and the line to its client at the moment, if any. `token` empty: it ends with its first line."""

    def __init__(self, open_session: Callable[[Tell], Place], line: Line, token: str, resume_s: float) -> None:
        self.begun = asyncio.Event()
        """The session takes commands, or never will."""
        self.token = token
        self.resumed = False
        self._resume_s = resume_s if token else 0.0
        self._line: Line | None = line
        self._timer: asyncio.TimerHandle | None = None
        self._task: asyncio.Task[None] | None = None
        self._over = False
        self._session = open_session(self._tell)

    def start(self, ended: Callable[[Conversation], None]) -> None:
        """`ended` is called when nothing of it is left."""
        self._task = asyncio.create_task(self._live())
        self._task.add_done_callback(lambda _: self._end(ended))

    def command(self, command: Command, line: Line) -> None:
        """Raises `ClientError`. What still comes from a connection that is no longer the session's is not heard."""
        if line is self._line and not self._over:
            self._session.command(command)

    def take_up(self, line: Line, turn: int, played_ms: float) -> None:
        """The client is back with another connection, and had played so much of the reply to `turn`."""
        if self._line is not None:
            self._line.cut(TAKEN_OVER)
            self._session.detach()
        self._stop_timer()
        self._line, self.resumed = line, True
        self._session.attach(self._tell, turn, played_ms)

    def leave(self, line: Line, ending: Ending) -> None:
        """The connection is over. One that was lost may be followed by another."""
        if line is not self._line:
            return
        self._line = None
        alive = self.begun.is_set() and not self._over
        if alive:
            self._session.detach()
        if alive and ending.lost and self._resume_s:
            self._timer = asyncio.get_running_loop().call_later(self._resume_s, self.end)
        else:
            self.end()

    def end(self) -> None:
        if self._task is not None:
            self._task.cancel()

    async def ended(self) -> None:
        if self._task is not None:
            await asyncio.wait([self._task])

    async def _live(self) -> None:
        try:
            await self._session.run()
            self._close(Ending(1000, "session_over"))
        except Exception:
            log.exception("a session failed")
            self._tell(Failure("internal_error", "the server failed; its log says how"))
            self._close(Ending(1011, "internal_error"))

    def _close(self, ending: Ending) -> None:
        self._over = True  # its last words may still be on their way
        if self._line is not None:
            self._line.end(ending)

    def _end(self, ended: Callable[[Conversation], None]) -> None:
        """Also of a session that was cancelled before its first step, and never ran."""
        self._over = True
        self.begun.set()
        self._stop_timer()
        self._session.close()
        ended(self)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _tell(self, fact: Fact) -> None:
        if isinstance(fact, Ready):
            self.begun.set()
            fact = replace(fact, resume=self.token if self._resume_s else "")
        if self._line is not None:
            self._line.tell(fact)

    @property
    def over(self) -> bool:
        """It takes no commands any more."""
        return self._over


class Conversations:
    """All of one server, which `close`s them."""

    def __init__(self, resume_s: float, chance: Chance) -> None:
        self._resume_s = resume_s
        self._chance = chance
        self._open: set[Conversation] = set()

    def open(self, open_session: Callable[[Tell], Place], line: Line, *, resumable: bool = False) -> Conversation:
        """Raises `ClientError`: server_full, not_ready."""
        conversation = Conversation(open_session, line, token(self._chance) if resumable else "", self._resume_s)
        self._open.add(conversation)
        conversation.start(self._open.discard)
        return conversation

    def find(self, resume: str) -> Conversation | None:
        """The one with this token; None: it is over, or was never here."""
        given = resume.encode()
        open_ones = (each for each in self._open if each.token and not each.over)
        return next((each for each in open_ones if compare_digest(each.token.encode(), given)), None)

    async def close(self) -> None:
        """Ends all that are still open."""
        for conversation in self._open:
            conversation.end()
        await asyncio.gather(*(conversation.ended() for conversation in self._open))
