"""A place in another process: an object lives in a worker with an environment of its own, and its calls are streams here.

All that concerns workers happens on one event loop in one thread, which lasts as long as the place: starting (a worker dies
with the thread that started it), reading, watching, starting again. Callers on any other loop reach it by plain posts. A worker
that dies fails the calls that it works on; then it is started again, and until it is ready every call fails at once, so that a
chain of voices goes on with its next one. What runs in the worker is not known here; `wire` says how values cross.
"""

from __future__ import annotations

import asyncio
import contextvars
import logging
import threading
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from concurrent.futures import Future
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any

from duologue import clock
from duologue.errors import EngineError
from duologue.places.child import Call, Worker, our_own
from duologue.places.wire import Codec, Message

log = logging.getLogger(__name__)


@dataclass
class Backoff:
    """How long to wait before a worker is started again: doubled each time, from anew after one that lasted. No chance in it:
    the workers of one server share nothing that they could all rush to at once."""

    first_s: float = 0.5
    most_s: float = 60.0
    lasting_s: float = 120.0  # what has run so long has died of something new
    _next_s: float = field(default=0.0, init=False)

    def died(self, after_s: float) -> float:
        """Seconds to wait, after a worker that was there for `after_s`."""
        wait_s = self.first_s if after_s >= self.lasting_s or not self._next_s else self._next_s
        self._next_s = min(2 * wait_s, self.most_s)
        return wait_s


class Process:
    """`command` starts a worker (`worker.run`); the file descriptor of its end of the line is appended. `opening` goes to its
    loader, whose questions `answer` is asked, on a thread."""

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        codec: Codec,
        opening: Any,
        answer: Callable[[str, Any], Any],
        *,
        environment: Mapping[str, str] | None = None,
        backoff: Backoff | None = None,
    ) -> None:
        self.name = name
        self.kill_after_s = 4.0  # how long a cancelled call may go on; whoever knows what runs there sets it
        self._command, self._environment = command, environment
        self._codec, self._opening, self._answer = codec, opening, answer
        self._backoff = backoff or Backoff()
        self._worker: Worker | None = None
        self._why = "it is being started"
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._live, name=f"duologue-{name}-worker", daemon=True)
        self._keeper: asyncio.Task[None] | None = None

    def start(self) -> Any:
        """Blocking. What the loader tells. Raises its error, or `ConfigError` (environment_broken), `EngineError` (worker_died,
        worker_mismatch, worker_not_started)."""
        told: Future[Any] = Future()
        try:
            self._thread.start()
        except RuntimeError as error:
            self._loop.close()
            raise EngineError(
                self.name, f"its worker has no thread here: {error}", code="worker_not_started"
            ) from error
        self._post(lambda: self._begin(told))
        try:
            return told.result()
        except BaseException:
            self.close()
            raise

    @property
    def pid(self) -> int | None:
        """While a worker is ready."""
        worker = self._ready()
        return None if worker is None else worker.pid

    def _ready(self) -> Worker | None:
        """One that has died is not, though whoever keeps it does not know yet."""
        worker = self._worker
        return None if worker is None or worker.dead else worker

    def close(self) -> None:
        """Blocking. The worker ends, is killed if it does not at once, and is waited for. Calls fail."""
        if self._thread.is_alive():
            self._post(lambda: self._loop.create_task(self._end()))
            self._thread.join()

    # ── For callers, on their own loop ──

    async def stream(self, method: str, *arguments: Any, feed: AsyncIterator[Any] | None = None) -> AsyncIterator[Any]:
        """The items of a call. `feed` is its first argument, of which each item is fetched only when the worker wants it.

        Closing this cancels the call; one that is still worked on after `kill_after_s` has its worker killed. Raises the call's
        own error, or `EngineError` (worker_died, worker_restarting, engine_closed).
        """
        call = Call(asyncio.get_running_loop(), method, arguments, feed is not None)
        wanted = asyncio.Semaphore(0)
        pump = None if feed is None else asyncio.create_task(self._pump(call, feed, wanted))
        if not self._post(lambda: self._open(call)):
            call.news.put_nowait(
                Message("fail", value=EngineError(self.name, self._why, code="engine_closed", retryable=False))
            )
        try:
            while (message := await call.news.get()).kind != "end":
                if message.kind == "fail":
                    raise message.value
                if message.kind == "more":
                    wanted.release()
                else:
                    self._say(call, "more")
                    yield message.value
        finally:
            self._post(lambda: self._drop(call))
            await _over(pump)

    async def ask(self, method: str, *arguments: Any) -> Any:
        """The result of a call that has one."""
        async with aclosing(self.stream(method, *arguments)) as results:  # type: ignore[type-var]
            async for result in results:
                return result
        return None

    def tell(self, method: str, *arguments: Any) -> None:
        """A call whose result nobody waits for; without a worker there is nobody to be told."""
        self._post(lambda: self._open(Call(None, method, arguments, False)))

    async def _pump(self, call: Call, feed: AsyncIterator[Any], wanted: asyncio.Semaphore) -> None:
        try:
            while True:
                await wanted.acquire()
                try:
                    item = await anext(feed)
                except StopAsyncIteration:
                    self._say(call, "end")
                    return
                self._say(call, "item", item)
        except Exception as error:  # the feed's own: it passes through the call
            call.news.put_nowait(Message("fail", value=error))

    def _say(self, call: Call, kind: Any, value: Any = None) -> None:
        self._post(lambda: None if call.worker is None else call.worker.say(Message(kind, call.number, value)))

    def _post(self, todo: Callable[[], object]) -> bool:
        """False: the place is closed, and so are its calls."""
        try:
            self._loop.call_soon_threadsafe(todo, context=contextvars.Context())
        except RuntimeError:
            return False
        return True

    # ── On the place's own loop ──

    def _live(self) -> None:
        try:
            self._loop.run_forever()
            self._loop.run_until_complete(self._loop.shutdown_default_executor())
        finally:
            self._loop.close()

    def _begin(self, told: Future[Any]) -> None:
        self._keeper = self._loop.create_task(self._keep(told))

    async def _end(self) -> None:
        self._why = "it was closed"
        if self._keeper is not None:
            self._keeper.cancel()
            await asyncio.wait([self._keeper])
        self._loop.stop()

    async def _keep(self, told: Future[Any]) -> None:
        """Keeps a worker going. The first one's failure to start is whoever waits's; after that they are tried for ever."""
        while True:
            began = clock.now()
            try:
                await self._one(told)
            except Exception as fault:
                error = our_own(fault, self.name, "worker_not_started")
                if not told.done():
                    told.set_exception(error)
                    return
                self._why = error.message
            wait_s = self._backoff.died(clock.now() - began)
            log.warning("%s; it is started again in %g s", self._why, wait_s)
            await asyncio.sleep(wait_s)

    async def _one(self, told: Future[Any]) -> None:
        """One worker's life. Raises the error that it died of, of which its calls have been told."""
        worker = await Worker.start(self.name, self._command, self._environment, self._codec, self._answer)
        try:
            hello = await worker.load(self._opening)
            self._worker = worker
            if told.done():
                log.warning("%s: its worker is ready again", self.name)
            else:
                told.set_result(hello)
            await worker.watched()
        finally:
            self._worker = None
            await worker.stop()

    def _open(self, call: Call) -> None:
        if (worker := self._ready()) is None:
            why = f"no worker is ready: {self._why}"
            call.tell(Message("fail", value=EngineError(self.name, why, code="worker_restarting")))
            return
        worker.begin(call)

    def _drop(self, call: Call) -> None:
        if call.worker is not None:
            call.worker.cancel(call, self.kill_after_s)


async def _over(task: asyncio.Task[None] | None) -> None:
    """Cancelled and waited for: it must not take another item of the feed, which may be another voice's by now."""
    if task is not None:
        task.cancel()
        await asyncio.wait([task])
