"""A lane: worker threads of this process that run one engine's blocking calls.

Cancelling a task cannot stop a thread, so a lane turns it into a check at its own edge: a cancelled call's result is thrown
away, a cancelled stream stops at its next item. A lane knows nothing of turns or sessions.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from typing import Generic, ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")

STREAM_DEPTH = 64
"""Items a stream may run ahead of its reader before its thread waits: tokens are tiny, sounds are paced by playout."""

FULL_POLL_S = 0.1
"""How often a thread that waits for a slow reader looks whether the reader has gone."""


class Lane:
    """`threads` workers; calls beyond that wait in order. Close it when the engine goes."""

    def __init__(self, name: str, threads: int = 1) -> None:
        self.name = name
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix=f"duologue-{name}")

    async def run(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Runs a blocking call on the lane. If the waiting task is cancelled before the call began, it never begins."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._pool, lambda: function(*args, **kwargs))

    async def stream(self, make: Callable[[], Generator[T, None, None]]) -> AsyncIterator[T]:
        """Iterates a blocking generator on the lane. Closing this stops the generator at its next item.

        The generator is always closed on its own thread, so its `finally` blocks run there. Full queue: the thread waits.
        """
        pipe: _Pipe[T] = _Pipe(asyncio.get_running_loop())
        worker = self._pool.submit(pipe.fill, make)
        try:
            while (item := await pipe.items.get()) is not None:
                pipe.room.release()
                if isinstance(item, BaseException):
                    raise item
                yield item[0]
        finally:
            pipe.gone.set()
            worker.cancel()

    def close(self) -> None:
        """Waits for the running call, drops the waiting ones."""
        self._pool.shutdown(wait=True, cancel_futures=True)


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

    def _put(self, item: tuple[T]) -> bool:
        while not self.gone.is_set():
            if self.room.acquire(timeout=FULL_POLL_S):
                self._post(item)
                return not self.gone.is_set()
        return False

    def _post(self, item: tuple[T] | BaseException | None) -> None:
        with suppress(RuntimeError):  # the loop is closed: so is the reader
            self._loop.call_soon_threadsafe(self.items.put_nowait, item)
