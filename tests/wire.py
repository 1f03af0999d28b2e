"""A real server on a random loopback port with scripted sessions behind it, and clients for it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from duologue.config import Config, Limits, Server
from duologue.engines import Style
from duologue.errors import ClientError
from duologue.protocols import Command, Ready, ReplyAudio, ReplyDone
from duologue.transports import Tell
from duologue.transports.server import serve


class ScriptedSession:
    """Says ready, notes what it is asked, does what the test's `script` does, and notes how it ended."""

    def __init__(self, tell: Tell, script: Callable[[ScriptedSession], Awaitable[None]]) -> None:
        self.tell = tell
        self.commands: list[Command] = []
        self.refuses: ClientError | None = None
        self.over = asyncio.Event()
        self._script = script

    def command(self, command: Command) -> None:
        if self.over.is_set():
            raise RuntimeError("the session is over")
        if self.refuses is not None:
            raise self.refuses
        self.commands.append(command)

    async def run(self) -> None:
        self.tell(Ready("s1", {}, {}))
        try:
            await self._script(self)
        finally:
            self.over.set()


async def forever(_: ScriptedSession) -> None:
    await asyncio.Event().wait()


class ScriptedApp:
    def __init__(self, script: Callable[[ScriptedSession], Awaitable[None]] = forever) -> None:
        self.script = script
        self.ready = True
        self.places = 100
        self.sessions: list[ScriptedSession] = []
        self.gate = asyncio.Event()
        self.spoken: list[tuple[str, Style, int]] = []
        self.silenced = asyncio.Event()
        self.fails: Exception | None = None

    def open_session(self, tell: Tell) -> ScriptedSession:
        if len(self.sessions) == self.places:
            raise ClientError("server_full", "all places are taken")
        self.sessions.append(ScriptedSession(tell, self.script))
        return self.sessions[-1]

    async def speak(self, text: str, style: Style, rate: int) -> AsyncGenerator[ReplyAudio | ReplyDone, None]:
        """A first block at once, the rest when the test opens the gate."""
        self.spoken.append((text, style, rate))
        try:
            if self.fails is not None:
                raise self.fails
            yield ReplyAudio(0, 0, b"\x01\x00" * 4, rate, 0.0, (), False)
            await self.gate.wait()
            yield ReplyAudio(0, 1, b"", rate, 1.0, (), True)
            yield ReplyDone(0, text, 1.0, "scripted")
        finally:
            self.silenced.set()

    def metrics(self) -> bytes:
        return b"duologue_sessions 0.0\n"


async def no_models() -> None:
    """Warm at once."""


@asynccontextmanager
async def server(app: ScriptedApp, limits: Limits | None = None) -> AsyncIterator[str]:
    """Gives the address as `HOST:PORT`; checks that the server leaves no task behind."""
    before = asyncio.all_tasks()
    address: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    config = replace(Config(), server=Server(port=0), limits=limits or Limits())
    serving = asyncio.create_task(serve(app, config, no_models, address.set_result))
    try:
        yield (await address).removeprefix("http://")
    finally:
        serving.cancel()
        await asyncio.wait([serving])
    left = [task for task in asyncio.all_tasks() - before if not _is_a_clients(task)]
    assert not left, left


def _is_a_clients(task: asyncio.Task[Any]) -> bool:
    """A test may still hold a client, which has tasks of its own."""
    return "/websockets/asyncio/" in repr(task)


def client(address: str, path: str = "/ws", **options: Any) -> connect:
    return connect(f"ws://{address}{path}", compression=None, proxy=None, max_size=None, **options)


async def mute_client(address: str) -> asyncio.StreamWriter:
    """A client that reads nothing, not even pings."""
    host, port = address.split(":")
    _, writer = await asyncio.open_connection(host, int(port), limit=1)
    key = (
        "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: "
        + "A" * 22
        + "=="
    )
    writer.write(f"GET /ws HTTP/1.1\r\nHost: {address}\r\n{key}\r\n\r\n".encode())
    return writer


async def receive(socket: ClientConnection) -> dict[str, Any]:
    """The next JSON message."""
    async with asyncio.timeout(5):
        message: dict[str, Any] = json.loads(await socket.recv(decode=True))
    return message


async def ending(socket: ClientConnection) -> tuple[int | None, str]:
    """Reads to the end: the close code and reason."""
    try:
        async with asyncio.timeout(5):
            while True:
                await socket.recv()
    except ConnectionClosed:
        return socket.close_code, socket.close_reason or ""
