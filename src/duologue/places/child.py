"""One living worker: its process, its line, the calls that it works on. All of it on the loop of its place (`process`)."""

from __future__ import annotations

import asyncio
import errno
import itertools
import logging
import os
import re
import signal
import socket
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import aclosing, suppress
from typing import Any, Final

from duologue import clock
from duologue.errors import ConfigError, DuologueError, EngineError
from duologue.places.wire import PROTOCOL, Codec, Message, messages

log = logging.getLogger(__name__)

STOP_S: Final = 1.0
"""For a worker to end when it is asked to: a server itself must stop within two seconds."""

PING_S: Final = 5.0
SILENT_S: Final = 30.0
"""A loaded worker that answers nothing for so long is killed. Its event loop answers; a library that holds Python's lock for
seconds, or a machine that is busy with something else, is no reason yet."""

SHORT_OF: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EAGAIN})
"""Descriptors, memory, processes: nothing is wrong with an environment that cannot be run for want of them."""

LOGGED_CHARS: Final = 2_000
"""Of one line of a worker's log."""


class Call:
    """What the caller's loop and the place's know of one call. `news` holds at most `wire.WINDOW` items, one wish for more, and
    the end. Without a loop nobody listens."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop | None, method: str, arguments: tuple[Any, ...], fed: bool
    ) -> None:
        self.news: asyncio.Queue[Message] = asyncio.Queue()
        self.start = (method, arguments, fed)
        self.number = 0
        self.worker: Worker | None = None
        self.overdue: asyncio.TimerHandle | None = None
        self._loop = loop

    def tell(self, message: Message) -> None:
        if self._loop is not None:
            with suppress(RuntimeError):  # the caller's loop is closed
                self._loop.call_soon_threadsafe(self.news.put_nowait, message)


class Worker:
    """One living worker, on the place's loop only."""

    def __init__(
        self,
        name: str,
        process: asyncio.subprocess.Process,
        line: tuple[asyncio.StreamReader, asyncio.StreamWriter],
        codec: Codec,
        answer: Callable[[str, Any], Any],
    ) -> None:
        self.pid = process.pid
        self._name = name
        self._process = process
        self._reader, self._writer = line
        self._codec = codec
        self._answer = answer
        self._calls: dict[int, Call] = {}
        self._numbers = itertools.count(1)
        self._hello: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._heard_at = clock.now()
        self._reason = ""
        self._last_line = ""
        self._logging = asyncio.create_task(self._log())
        self._reading = asyncio.create_task(self._read())
        self._tasks = {self._logging, self._reading}

    @classmethod
    async def start(
        cls,
        name: str,
        command: Sequence[str],
        environment: Mapping[str, str] | None,
        codec: Codec,
        answer: Callable[[str, Any], Any],
    ) -> Worker:
        """Raises `ConfigError` (environment_broken), `OSError` for what the system has no more of."""
        ours, theirs = socket.socketpair()
        with theirs:
            line = await asyncio.open_connection(sock=ours)
            try:
                process = await asyncio.create_subprocess_exec(  # last: nothing that may fail comes after it
                    *command,
                    str(theirs.fileno()),
                    stdin=asyncio.subprocess.DEVNULL,
                    stdout=asyncio.subprocess.PIPE,
                    stderr=asyncio.subprocess.STDOUT,  # a library's print must not get among this program's own output
                    pass_fds=[theirs.fileno()],
                    env=environment,
                    start_new_session=True,  # Ctrl-C is for the server; and what the worker starts can be killed with it
                )
            except BaseException as error:
                line[1].close()
                if isinstance(error, OSError) and error.errno not in SHORT_OF:
                    raise ConfigError("environment_broken", f"{command[0]} cannot be run: {error.strerror}") from error
                raise
        return cls(name, process, line, codec, answer)

    async def load(self, opening: Any) -> Any:
        """As long as it takes: models are large."""
        self.say(Message("load", value=opening))
        protocol, hello = await self._hello
        if protocol != PROTOCOL:
            why = f"its worker speaks version {protocol} of the protocol, not {PROTOCOL}: restart the server"
            raise EngineError(self._name, why, code="worker_mismatch", retryable=False)
        return hello

    def say(self, message: Message) -> None:
        """What it may hold back is bounded by what the worker asked for: one item a call."""
        if not self._writer.is_closing():
            self._writer.write(self._codec.encode(message))

    def begin(self, call: Call) -> None:
        call.number, call.worker = next(self._numbers), self
        self._calls[call.number] = call
        try:
            self.say(Message("start", call.number, call.start))
        except (TypeError, DuologueError) as error:
            del self._calls[call.number]
            call.tell(Message("fail", value=EngineError(self._name, str(error), code="worker_protocol")))

    def cancel(self, call: Call, kill_after_s: float) -> None:
        if call.number in self._calls and call.overdue is None:
            self.say(Message("cancel", call.number))
            why = f"a cancelled call went on for {kill_after_s:g} s"
            call.overdue = asyncio.get_running_loop().call_later(kill_after_s, self.kill, why)

    def kill(self, reason: str) -> None:
        """It and what it started."""
        self._reason = self._reason or f"its worker was killed: {reason}"
        with suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)

    @property
    def dead(self) -> bool:
        """Its calls have been told, and no more may be begun: nobody would tell them."""
        return self._reading.done()

    async def watched(self) -> None:
        """Until it dies; raises `EngineError` (worker_died)."""
        while True:
            done, _ = await asyncio.wait([self._reading], timeout=PING_S)
            if done:
                raise self._reading.result()
            if clock.now() - self._heard_at > SILENT_S:
                self.kill(f"it gave no sign of life for {SILENT_S:g} s")
            self.say(Message("ping"))

    async def stop(self) -> None:
        """Asked, then killed; when this is over nothing of it is left."""
        with suppress(TimeoutError):
            async with asyncio.timeout(STOP_S):
                self.say(Message("stop"))
                await self._process.wait()
        self.kill("it did not stop")
        await self._process.wait()
        self._writer.close()
        with suppress(OSError):
            await self._writer.wait_closed()
        await asyncio.wait(self._tasks)
        for call in self._calls.values():
            if call.overdue is not None:
                call.overdue.cancel()

    async def _read(self) -> EngineError:
        """The error that it died of, which every call has been told."""
        try:
            async with aclosing(messages(self._reader, self._codec)) as arriving:  # type: ignore[type-var]
                async for message in arriving:
                    self._heard_at = clock.now()
                    self._take(message)
        except Exception as fault:
            self.kill(our_own(fault, self._name, "worker_protocol").message)
        error = await self._died()
        for call in self._calls.values():
            call.tell(Message("fail", value=error))
        if not self._hello.done():
            self._hello.set_exception(error)
        return error

    async def _died(self) -> EngineError:
        """The line is closed: the process ends, if it has not. Its last line often says why."""
        killed = self._reason
        if not killed:
            with suppress(TimeoutError):
                async with asyncio.timeout(STOP_S):
                    await self._process.wait()
        self.kill("it closed its line")  # and what it started, which would keep its log open
        status = await self._process.wait()
        await asyncio.wait([self._logging], timeout=STOP_S)
        how = f"signal {-status}" if status < 0 else f"exit status {status}"
        last = f"; its last words: {self._last_line}" if self._last_line and status > 0 else ""
        return EngineError(self._name, killed or f"its worker died ({how}){last}", code="worker_died")

    def _take(self, message: Message) -> None:
        if message.kind == "ready":
            self._hello.set_result(message.value)
        elif message.kind == "ask":
            self._tasks.add(task := asyncio.create_task(self._asked(message)))
            task.add_done_callback(self._tasks.discard)
        elif message.kind == "fail" and not message.call:
            self._hello.set_exception(self._named(message.value))
        elif (call := self._calls.get(message.call)) is not None:
            self._pass_on(call, message)

    def _pass_on(self, call: Call, message: Message) -> None:
        if message.kind in ("end", "fail"):
            del self._calls[call.number]
            if call.overdue is not None:
                call.overdue.cancel()
        if message.kind == "fail":
            message = Message("fail", value=self._named(message.value))
        call.tell(message)

    def _named(self, error: DuologueError) -> DuologueError:
        if not isinstance(error, EngineError) or error.engine != "worker":
            return error
        message = error.message.removeprefix("worker: ")
        return EngineError(self._name, message, code=error.code, retryable=error.retryable)

    async def _asked(self, message: Message) -> None:
        """It is answered whatever happens: its thread waits for that, and would for ever."""
        try:
            self.say(Message("answer", message.call, await asyncio.to_thread(self._answer, *message.value)))
        except Exception as error:
            self.say(Message("refuse", message.call, our_own(error, self._name, "engine_load_failed")))

    async def _log(self) -> None:
        """What it prints, line by line; its own log's warnings stay warnings."""
        async for line in _lines(self._process.stdout):
            self._last_line = line
            level = logging.WARNING if line.startswith(("WARNING ", "ERROR ", "CRITICAL ")) else logging.INFO
            log.log(level, "%s: %s", self._name, line)


def our_own(error: Exception, engine: str, code: str) -> DuologueError:
    """What the system refused, or a bug, is one line for whoever waits; its traceback is in the log."""
    if isinstance(error, DuologueError):
        return error
    log.error("%s", engine, exc_info=error)
    return EngineError(engine, f"{type(error).__name__}: {error}", code=code)


async def _lines(output: asyncio.StreamReader | None) -> AsyncIterator[str]:
    """A progress bar's carriage returns end lines too; one without an end is cut."""
    assert output is not None
    rest = ""
    while data := await output.read(65_536):
        *whole, rest = re.split(r"[\r\n]+", rest + data.decode(errors="replace"))
        if len(rest) > LOGGED_CHARS:
            whole, rest = [*whole, rest], ""
        for line in filter(str.strip, whole):
            yield line[:LOGGED_CHARS]
    if rest.strip():
        yield rest[:LOGGED_CHARS]
