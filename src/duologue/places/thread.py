"""A lane: worker threads of this process that run one engine's blocking calls, the most urgent of those that wait first.

Cancelling a task cannot stop a thread, so a lane turns it into a check at its own edge: a cancelled call's result is thrown
away, a cancelled stream stops at its next item. A lane knows nothing of turns or sessions: only when a call is needed, if whoever
makes it says so. It serves one event loop at a time.
"""

from __future__ import annotations

import asyncio
import os
import sys
import threading
from collections.abc import AsyncIterator, Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from contextvars import ContextVar
from typing import Any, Generic, ParamSpec, TypeAlias, TypeVar

from duologue import clock
from duologue.errors import EngineError

P = ParamSpec("P")
T = TypeVar("T")

Due: TypeAlias = Callable[[], float]
"""When a call's result is needed: seconds on the loop's clock. Asked each time that a lane chooses, for it may have changed."""

STREAM_DEPTH = 64
"""Items a stream may run ahead of its reader before its thread waits: tokens are tiny, sounds are paced by playout."""

FULL_POLL_S = 0.1
"""How often a thread that waits for a slow reader looks whether the reader has gone."""

YIELDING = 10
"""Niceness: a tenth of the processor, beside a thread that wants all of it."""

_due: ContextVar[Due | None] = ContextVar("due", default=None)


def needed(due: Due) -> None:
    """From now on, whatever this task and those that it starts call on a lane is needed at `due()`. A task that does not say is
    served as if it needed its result when it calls: among themselves such calls are in order."""
    _due.set(due)


def yield_processor() -> None:
    """From now on this thread, and those that it starts, run where others leave room. Linux counts niceness by thread; elsewhere
    it is the process's, and stays."""
    if sys.platform == "linux":
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), YIELDING)


class Lane:
    """`threads` workers; of the calls beyond that the one that is due first goes next. Close it when the engine goes.

    One that `yields` has the processor when others leave it: what nobody waits for must not slow down what somebody does. All
    workers of `one_server` wait for the same thread elsewhere: one at work keeps it as busy as all of them.
    """

    def __init__(self, name: str, threads: int = 1, *, yields: bool = False, one_server: bool = False) -> None:
        self.name = name
        self._one_server = one_server
        self._since = 0.0  # when it last began to work, having been idle
        self._threads = threads
        self._pool = ThreadPoolExecutor(
            threads, thread_name_prefix=f"duologue-{name}", initializer=yield_processor if yields else None
        )
        self._has_thread = self._closed = False
        self._waiting: list[Call] = []
        self._running: set[Call] = set()
        self._worked_s = 0.0

    async def run(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Runs a blocking call on the lane. If the waiting task is cancelled before the call began, it never begins.

        Raises what the call raises, and `EngineError` (engine_overloaded) where the system lets no thread be started for it.
        """
        result: T = await self._enter(lambda: function(*args, **kwargs)).result
        return result

    async def stream(self, make: Callable[[], Generator[T, None, None]]) -> AsyncIterator[T]:
        """Iterates a blocking generator on the lane, which it holds until it ends. Closing this stops it at its next item.

        The generator is always closed on its own thread, so its `finally` blocks run there. Full queue: the thread waits.
        """
        pipe: _Pipe[T] = _Pipe(asyncio.get_running_loop())
        call = self._enter(lambda: pipe.fill(make))
        call.result.add_done_callback(pipe.never_filled)
        try:
            while (item := await pipe.items.get()) is not None:
                pipe.room.release()
                if isinstance(item, BaseException):
                    raise item
                yield item[0]
        finally:
            pipe.gone.set()
            call.result.cancel()

    def busy_s(self) -> float:
        """Seconds of work so far, of which a lane with all its workers at work does one a second."""
        now = clock.now()
        if self._one_server:
            return self._worked_s + (now - self._since if self._running else 0.0)
        return self._worked_s + sum(now - call.begun_at for call in self._running) / self._threads

    def close(self) -> None:
        """Waits for the running calls, drops the waiting ones."""
        self._closed = True
        waiting, self._waiting = self._waiting, []
        for call in waiting:
            call.drop()
        self._pool.shutdown(wait=True, cancel_futures=True)

    def _enter(self, work: Callable[[], Any]) -> Call:
        if self._closed:
            raise RuntimeError(f"the lane {self.name} is closed")
        call = Call(work, _due.get() or _at(clock.now()))
        self._waiting.append(call)
        self._begin()
        return call

    def _begin(self) -> None:
        """Called whenever there is one more call, or one more idle worker."""
        loop = asyncio.get_running_loop()
        self._running = {
            call for call in self._running if call.loop is loop and not call.ended
        }  # others' ends are not told here
        self._waiting = [call for call in self._waiting if not call.result.done()]
        while self._waiting and len(self._running) < self._threads:
            call = min(self._waiting, key=lambda waiting: waiting.due())
            self._waiting.remove(call)
            call.begun_at = clock.now()
            self._since = self._since if self._running else call.begun_at
            self._running.add(call)
            self._submit(call)

    def _submit(self, call: Call) -> None:
        """The pool starts its threads one by one, as they are needed, and keeps what it was given though it could start none."""
        try:
            self._pool.submit(call.work, self._end)
            self._has_thread = True
        except RuntimeError as error:
            if not self._has_thread:  # else one of those comes to it
                self._running.discard(call)
                call.refuse(EngineError(self.name, f"no thread can be started: {error}", code="engine_overloaded"))

    def _end(self, call: Call) -> None:
        now = clock.now()
        self._running.discard(call)
        if call.begun_at and not self._one_server:  # one that was refused never began
            self._worked_s += (now - call.begun_at) / self._threads
        elif call.begun_at and not self._running:
            self._worked_s += now - self._since
        self._begin()


def _at(moment: float) -> Due:
    return lambda: moment


class Call:
    """One call: made and ended on the loop, worked on a thread."""

    def __init__(self, function: Callable[[], Any], due: Due) -> None:
        self.due = due
        self.begun_at = 0.0
        self.ended = False
        self._function = function
        self.loop = asyncio.get_running_loop()
        self.result: asyncio.Future[Any] = self.loop.create_future()

    def work(self, end: Callable[[Call], None]) -> None:
        """On the lane's thread. `end` is called on the loop, before the result is given."""
        value: Any = None
        failure: BaseException | None = None
        try:
            value = None if self.result.done() else self._function()
        except BaseException as error:
            failure = error
        self.ended = True
        self._post(self._give, end, value, failure)

    def refuse(self, error: EngineError) -> None:
        """On the loop: it has not begun after all. A thread that is started later comes upon it, and does nothing."""
        self.begun_at = 0.0
        self.result.set_exception(error)

    def drop(self) -> None:
        self._post(self.result.cancel)

    def _give(self, end: Callable[[Call], None], value: Any, failure: BaseException | None) -> None:
        end(self)
        if self.result.done():
            return
        if failure is None:
            self.result.set_result(value)
        else:
            self.result.set_exception(failure)

    def _post(self, function: Callable[..., Any], *args: Any) -> None:
        with suppress(RuntimeError):  # the loop is closed: so is whoever waited
            self.loop.call_soon_threadsafe(function, *args)


class _Pipe(Generic[T]):
    """From a thread to the loop: items one by one (each in a tuple), then an exception or None."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.items: asyncio.Queue[tuple[T] | BaseException | None] = asyncio.Queue()
        self.room = threading.Semaphore(STREAM_DEPTH)
        self.gone = threading.Event()
        self._loop = loop

    def fill(self, make: Callable[[], Generator[T, None, None]]) -> None:
        """Runs on the lane's thread until the generator ends, raises, or the reader is gone."""
        end: BaseException | None = None
        try:
            with closing(make()) as iterator:
                for item in iterator:
                    if not self._put((item,)):
                        break
        except BaseException as error:
            end = error
        self._post(end)

    def never_filled(self, result: asyncio.Future[Any]) -> None:
        """On the loop: of a call on which no thread worked, what became of it. Of any other it comes after the end."""
        self.items.put_nowait(asyncio.CancelledError() if result.cancelled() else result.exception())

    def _put(self, item: tuple[T]) -> bool:
        while not self.gone.is_set():
            if self.room.acquire(timeout=FULL_POLL_S):
                self._post(item)
                return not self.gone.is_set()
        return False

    def _post(self, item: tuple[T] | BaseException | None) -> None:
        with suppress(RuntimeError):  # the loop is closed: so is the reader
            self._loop.call_soon_threadsafe(self.items.put_nowait, item)
