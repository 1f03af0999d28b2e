"""The worker's side: one object, its calls, and a line to the server that started it (`process`).

The object's methods run on this process's event loop as they would run on the server's; what blocks goes to lanes. When the line
closes, or the thread that started the worker ends, the worker ends at once, whatever it is doing.
"""

from __future__ import annotations

import asyncio
import ctypes
import io
import logging
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from contextvars import ContextVar
from typing import Any, Final, TypeAlias

from duologue.errors import DuologueError, EngineError
from duologue.places.thread import Call as LaneCall
from duologue.places.thread import Lane
from duologue.places.wire import PROTOCOL, WINDOW, Codec, Message, messages

Ask: TypeAlias = Callable[[str, Any], Any]
"""Asks the server something (what, argument) and waits for its answer: blocking, never on the loop's own thread."""

Load: TypeAlias = Callable[[Any, Ask], tuple[Any, Any]]
"""Blocking, on a thread: what the server sent → the object, and what the server is told about it."""

log = logging.getLogger(__name__)

_PR_SET_PDEATHSIG: Final = 1  # linux/prctl.h


def run(handle: int, codec: Codec, load: Load) -> None:
    """Serves on the socket with this file descriptor; never returns."""
    _die_with_the_server()
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(line_buffering=True)  # or what is printed before a crash is lost
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s", stream=sys.stderr)
    asyncio.run(_serve(handle, codec, load))
    os._exit(0)  # no thread is waited for: it may be deep in a library


def _die_with_the_server() -> None:
    """The kernel kills this process when its parent dies, though it be stuck where it does not see the line close."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


async def _serve(handle: int, codec: Codec, load: Load) -> None:
    reader, writer = await asyncio.open_connection(sock=socket.socket(fileno=handle))
    await _Server(reader, writer, codec, load).run()


class _Server:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, codec: Codec, load: Load) -> None:
        self._reader, self._writer = reader, writer
        self._codec = codec
        self._load = load
        self._loop = asyncio.get_running_loop()
        self._target: Any = None
        self._calls: dict[int, _Call] = {}
        self._endings: set[asyncio.Task[None]] = set()  # kept: asyncio holds no task
        self._questions: list[asyncio.Future[Any]] = []

    async def run(self) -> None:
        async with aclosing(messages(self._reader, self._codec)) as arriving:  # type: ignore[type-var]
            async for message in arriving:
                if message.kind == "stop":
                    await asyncio.to_thread(getattr(self._target, "close", lambda: None))
                    return
                self._take(message)
        os._exit(0)

    def _take(self, message: Message) -> None:
        if message.kind == "load":
            self._making = asyncio.create_task(self._make(message.value))  # kept: asyncio holds no task
        elif message.kind == "ping":
            self._writer.write(self._codec.encode(Message("pong")))
        elif message.kind == "start":
            self._begin(message.call, *message.value)
        elif message.kind in ("answer", "refuse"):
            self._answered(message)
        elif (running := self._calls.get(message.call)) is not None:
            running.take(message)

    async def _send(self, message: Message) -> None:
        self._writer.write(self._codec.encode(message))
        await self._writer.drain()

    # ── Loading ──

    async def _make(self, opening: Any) -> None:
        try:
            self._target, hello = await asyncio.to_thread(self._load, opening, self._ask)
            await self._send(Message("ready", value=(PROTOCOL, hello)))
        except DuologueError as error:
            await self._send(Message("fail", value=error))
        except Exception as error:
            log.exception("could not be loaded")
            await self._send(Message("fail", value=_unforeseen(error, "engine_load_failed")))

    def _ask(self, what: str, argument: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(self._question(what, argument), self._loop).result()

    async def _question(self, what: str, argument: Any) -> Any:
        answer = self._loop.create_future()
        self._questions.append(answer)
        await self._send(Message("ask", len(self._questions) - 1, (what, argument)))
        return await answer

    def _answered(self, message: Message) -> None:
        if message.kind == "answer":
            self._questions[message.call].set_result(message.value)
        else:
            self._questions[message.call].set_exception(message.value)

    # ── Calls ──

    def _begin(self, number: int, method: str, arguments: tuple[Any, ...], fed: bool) -> None:
        call = self._calls[number] = _Call(number, self._send)
        call.task = asyncio.create_task(self._run(call, method, arguments, fed), name=method)
        self._endings.add(ending := asyncio.create_task(self._end(call, call.task)))
        ending.add_done_callback(self._endings.discard)

    async def _run(self, call: _Call, method: str, arguments: tuple[Any, ...], fed: bool) -> None:
        _current.set(call)  # in this task alone, and in those that it starts
        await call.give(getattr(self._target, method)(*([call.fed()] if fed else []), *arguments))

    async def _end(self, call: _Call, task: asyncio.Task[None]) -> None:
        """A task of its own: the call's may be cancelled before its first step, and after its last item."""
        await asyncio.wait([task])
        await call.idle()
        del self._calls[call.number]
        await self._send(_ending(call.number, task))


def _ending(number: int, task: asyncio.Task[None]) -> Message:
    if task.cancelled() or (error := task.exception()) is None:
        return Message("end", number)
    if isinstance(error, DuologueError):
        return Message("fail", number, error)
    log.error("%s failed", task.get_name(), exc_info=error)
    return Message("fail", number, _unforeseen(error, "engine_failed"))


class _Call:
    """One call: what it is fed, what it gives, and the blocking work that is done for it."""

    def __init__(self, number: int, send: Callable[[Message], Any]) -> None:
        self.number = number
        self.task: asyncio.Task[None] | None = None
        self._send = send
        self._room = asyncio.Semaphore(WINDOW)
        self._fed: asyncio.Queue[Message] = asyncio.Queue(1)
        self.work: list[LaneCall] = []
        self.ended = asyncio.Event()  # one of them has

    def take(self, message: Message) -> None:
        if message.kind == "more":
            self._room.release()
        elif message.kind == "cancel" and self.task is not None:
            self.task.cancel()
        elif message.kind in ("item", "end"):
            self._fed.put_nowait(message)

    async def give(self, result: Any) -> None:
        """The items of a stream, or the one result of anything else."""
        if not hasattr(result, "__aiter__"):
            await self._give(await result if hasattr(result, "__await__") else result)
            return
        async with aclosing(result):
            async for item in result:
                await self._give(item)

    async def _give(self, item: Any) -> None:
        await self._room.acquire()
        await self._send(Message("item", self.number, item))

    async def fed(self) -> AsyncIterator[Any]:
        """Each item is asked for when it is wanted and not before: the server decides late what it is."""
        while True:
            await self._send(Message("more", self.number))
            message = await self._fed.get()
            if message.kind == "end":
                return
            yield message.value

    async def idle(self) -> None:
        """Until no thread works on it: a cancelled call is only then over, whatever its iterator says."""
        while any(each.begun_at and not each.ended for each in self.work):
            self.ended.clear()
            await self.ended.wait()


_current: ContextVar[_Call | None] = ContextVar("_current", default=None)


class WatchedLane(Lane):
    """A worker's lane: whose work it does is known, so that a call that cannot be stopped is found out."""

    def __init__(self, name: str, *, yields: bool = False) -> None:
        super().__init__(name, yields=yields)
        self._owners: dict[LaneCall, _Call] = {}

    def _enter(self, work: Callable[[], Any]) -> LaneCall:
        entered = super()._enter(work)
        if (owner := _current.get()) is not None:
            owner.work.append(entered)
            self._owners[entered] = owner
            entered.result.add_done_callback(lambda result: self._forget(entered))
        return entered

    def _end(self, call: LaneCall) -> None:
        super()._end(call)
        if (owner := self._owners.pop(call, None)) is not None:
            owner.work.remove(call)
            owner.ended.set()

    def _forget(self, call: LaneCall) -> None:
        """Cancelled before it began: no thread will end it."""
        if not call.begun_at and (owner := self._owners.pop(call, None)) is not None:
            owner.work.remove(call)


def _unforeseen(error: BaseException, code: str) -> EngineError:
    """A bug in the engine: its traceback is in the log, the server is told one line."""
    return EngineError("worker", f"{type(error).__name__}: {error}", code=code, retryable=False)
