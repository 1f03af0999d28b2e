"""A call between a conversation and its client: to the conversation it is a line, to the call a session."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from duologue.errors import ClientError
from duologue.protocols import Command, Dialect, Fact
from duologue.transports import Tell
from duologue.transports.conversations import Conversation, Line
from duologue.transports.outbox import Ending
from duologue.transports.webrtc import Call, Calls

LOST = ("client_gone", "client_too_slow")
"""Endings of a call after which its client may come back."""


async def answer(
    calls: Calls,
    offer: str,
    converse: Callable[[Line], Conversation],
    dialect: Dialect,
    label: str,
    *,
    first: Callable[[Conversation], Sequence[Command]],
    patience: int | None = None,
) -> Call:
    """A call, whose `answer` is for the client; `first` is what it asks for by the way in which it came.

    Raises `ClientError`: those of `Calls.answer`, and of `converse`.
    """
    lines: list[_CallLine] = []

    def open_session(tell: Tell) -> _CallLine:
        lines.append(_CallLine(tell, converse, first))
        return lines[0]

    call = await calls.answer(offer, open_session, dialect, label, patience=patience)
    lines[0].begin(call)
    return call


class _CallLine:
    def __init__(
        self, tell: Tell, converse: Callable[[Line], Conversation], first: Callable[[Conversation], Sequence[Command]]
    ) -> None:
        self._call: Call | None = None  # once it is answered
        self._answered = asyncio.Event()
        self._tell = tell
        self._first = first
        self._early: list[Fact] = []  # told before the call was ready for it
        self._running = False
        self._ended = asyncio.Event()
        self._conversation = converse(self)

    # ── To the conversation ───────────────────────────────────────────────────────────────────────────────────────

    def tell(self, fact: Fact) -> None:
        if self._running:
            self._tell(fact)
        else:
            self._early.append(fact)

    def end(self, ending: Ending) -> None:
        self._ended.set()

    def cut(self, ending: Ending) -> None:
        self._ended.set()

    def begin(self, call: Call) -> None:
        self._call = call
        self._answered.set()

    # ── To the call ───────────────────────────────────────────────────────────────────────────────────────────────

    async def run(self) -> None:
        self._running = True
        for fact in self._early:
            self._tell(fact)
        await self._answered.wait()
        await self._conversation.begun.wait()
        try:
            for command in self._first(self._conversation):
                self.command(command)
        except ClientError as error:
            assert self._call is not None
            self._call.refuse(error)
        await self._ended.wait()

    def command(self, command: Command) -> None:
        self._conversation.command(command, self)

    def close(self) -> None:
        """Whoever came back in vain may come back by another road; who never came in has no way back."""
        lost = self._conversation.resumed if self._call is None else self._call.reason in LOST
        self._conversation.leave(self, Ending(None, lost=lost))
