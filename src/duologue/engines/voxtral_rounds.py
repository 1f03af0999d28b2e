"""Who of many replies goes on: places, of which there are so many, and rounds, in which all that ask advance together.

Knows nothing of models: only that one call advances any number of replies by one step each, on a lane.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from contextvars import Context
from typing import Final, Generic, TypeVar

from duologue.errors import EngineError
from duologue.places.thread import Lane

R = TypeVar("R")
T = TypeVar("T")

LOOK_AGAIN_S: Final = 0.005
"""How often a step that gives way looks whether the answers have ended: this serves whatever loop calls it."""

TURNS_OF_THE_LOOP: Final = 8
"""Given to the readers of a round's results to ask for more. Who is later than these misses one round, no more."""


class Rounds(Generic[R, T]):
    """`advance` gives a result for each of the replies it is called with; it runs on the lane, a call a round."""

    def __init__(self, lane: Lane, advance: Callable[[Sequence[R]], Sequence[T]]) -> None:
        self._lane = lane
        self._advance = advance
        self._asked: list[tuple[R, asyncio.Future[T]]] = []
        self._running: asyncio.Task[None] | None = None

    async def next(self, reply: R) -> T:
        """Its result of the round that begins next. Raises what `advance` raised: in that round nobody has a result."""
        result: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._asked.append((reply, result))
        if self._running is None or self._running.done():
            self._running = asyncio.create_task(self._run(), name="rounds", context=Context())  # nobody's own urgency
        return await result

    async def _run(self) -> None:
        """Until nobody asks. Ends by itself, so it belongs to no caller."""
        last = 0
        while await self._gather(last):
            replies, self._asked = self._asked, []
            last = len(replies)
            try:
                results = await self._lane.run(self._advance, [reply for reply, _ in replies])
            except BaseException as error:
                _fail(replies, error)
                if isinstance(error, asyncio.CancelledError):
                    raise
            else:
                for (_, waiting), result in zip(replies, results, strict=True):
                    if not waiting.done():
                        waiting.set_result(result)

    async def _gather(self, last: int) -> bool:
        """Whether anybody asks, once those of the last round had time to ask again."""
        for _ in range(TURNS_OF_THE_LOOP):
            await asyncio.sleep(0)
            if len(self._asked) > last:
                break
        self._asked = [(reply, result) for reply, result in self._asked if not result.done()]
        return bool(self._asked)


def _fail(replies: Sequence[tuple[R, asyncio.Future[T]]], error: BaseException) -> None:
    for _, waiting in replies:
        if isinstance(error, asyncio.CancelledError):
            waiting.cancel()
        elif not waiting.done():
            waiting.set_exception(error)


class Places:
    """So many answers at once; the others wait in order, and those beyond `waiting` are refused."""

    def __init__(self, count: int, waiting: int) -> None:
        self._free = count
        self._count = count
        self._most = waiting
        self._waiting: deque[asyncio.Future[None]] = deque()

    @asynccontextmanager
    async def one(self) -> AsyncIterator[None]:
        """Raises `EngineError` (engine_overloaded)."""
        await self._take()
        try:
            yield
        finally:
            self._give()

    async def quiet(self, at_most_s: float) -> None:
        """Until no answer is at work."""
        for _ in range(round(at_most_s / LOOK_AGAIN_S)):
            if self._free == self._count:
                return
            await asyncio.sleep(LOOK_AGAIN_S)

    async def _take(self) -> None:
        if self._free:
            self._free -= 1
            return
        if len(self._waiting) >= self._most:
            raise EngineError("voxtral", f"{len(self._waiting)} answers are waiting already", code="engine_overloaded")
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self._give()
            else:
                self._waiting.remove(turn)
            raise

    def _give(self) -> None:
        """To who waits longest."""
        while self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                return
        self._free += 1
