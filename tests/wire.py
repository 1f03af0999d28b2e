"""A real server on a random loopback port with scripted sessions behind it, and clients for it."""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

from dialogue import lineup
from openai import AsyncOpenAI
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

import duologue.app
from duologue.config import Config, Limits, Server
from duologue.core.playout import Pacing
from duologue.engines import Style
from duologue.engines.scripted import ScriptedSpeaker, ScriptedWriter
from duologue.errors import ClientError
from duologue.protocols import Command, Ready, ReplyAudio, ReplyDone, Said, TurnTaking
from duologue.sound_files import Recording
from duologue.transcribing import Segment
from duologue.transports import App, Tell
from duologue.transports.access import Chance
from duologue.transports.server import serve

KEY = "a-key-of-this-server"
KEYED = Server(keys=(KEY, "another-key-of-this-server"))
BEARER = {"Authorization": f"Bearer {KEY}"}


class ScriptedSession:
    """Says ready, notes what it is asked, does what the test's `script` does, and notes how it ended."""

    def __init__(self, tell: Tell, script: Callable[[ScriptedSession], Awaitable[None]], **choices: Any) -> None:
        self.tell = tell
        self.choices = choices
        self.commands: list[Command] = []
        self.refuses: ClientError | None = None
        self.attached: list[tuple[int, float]] = []
        self.detached = False
        self.over = asyncio.Event()
        self.closed = asyncio.Event()
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

    def close(self) -> None:
        self.closed.set()

    def detach(self) -> None:
        self.detached = True

    def attach(self, tell: Tell, turn: int, played_ms: float) -> None:
        self.tell, self.detached = tell, False
        self.attached.append((turn, played_ms))
        tell(Ready("s1", {}, {}, said=(Said("user", "hello", 1),)))


async def forever(_: ScriptedSession) -> None:
    await asyncio.Event().wait()


class ScriptedApp:
    def __init__(self, script: Callable[[ScriptedSession], Awaitable[None]] = forever) -> None:
        self.script = script
        self.ready = True
        self.profile = "packaged"
        self.places = 100
        self.sessions: list[ScriptedSession] = []
        self.gate = asyncio.Event()
        self.spoken: list[tuple[str, Style, int]] = []
        self.silenced = asyncio.Event()
        self.fails: Exception | None = None

    def open_session(
        self, tell: Tell, *, pacing: Pacing | None = None, turn_taking: TurnTaking | None = None
    ) -> ScriptedSession:
        if len(self.sessions) == self.places:
            raise ClientError("server_full", "all places are taken")
        self.sessions.append(ScriptedSession(tell, self.script, pacing=pacing, turn_taking=turn_taking))
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

    async def transcribe(self, recording: Recording, language: str) -> AsyncGenerator[Segment, None]:
        yield Segment("Hello.", 0.0, 1.0, "en", 1.0, 1.0)

    def metrics(self) -> bytes:
        return b"duologue_sessions 0.0\n"


async def no_models() -> None:
    """Warm at once."""


def countable() -> Chance:
    """Bytes that anybody can guess."""
    numbers = itertools.count(1)
    return lambda size: next(numbers).to_bytes(size, "big")


@asynccontextmanager
async def server(
    app: App, limits: Limits | None = None, settings: Server | None = None, config: Config | None = None
) -> AsyncIterator[str]:
    """Gives the address as `HOST:PORT`; checks that the server leaves no task behind."""
    before = asyncio.all_tasks()
    address: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    config = replace(config or Config(), server=replace(settings or Server(), port=0), limits=limits or Limits())
    serving = asyncio.create_task(serve(app, config, no_models, address.set_result, countable()))
    try:
        waiting: list[asyncio.Future[Any]] = [serving, address]
        await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        if serving.done():
            serving.result()
        yield (await address).partition("://")[2]
    finally:
        serving.cancel()
        await asyncio.wait([serving])
    left = [task for task in asyncio.all_tasks() - before if not _is_a_clients(task)]
    assert not left, left


def _is_a_clients(task: asyncio.Task[Any]) -> bool:
    """A test may still hold a client, which has tasks of its own."""
    return "/websockets/asyncio/" in repr(task)


def client(address: str, path: str = "/ws", scheme: str = "ws", **options: Any) -> connect:
    return connect(f"{scheme}://{address}{path}", compression=None, proxy=None, max_size=None, **options)


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


def talking(config: Config | None = None) -> duologue.app.App:
    """On scripted engines."""
    engines = lineup(writer=ScriptedWriter(replies=("It is Paris.",)), speakers=(ScriptedSpeaker(delay_s=0.0),))
    return duologue.app.App(config or Config(), engines)


def openai(address: str, key: str = "sk-local") -> AsyncOpenAI:
    """OpenAI's own client, which tries once."""
    return AsyncOpenAI(base_url=f"http://{address}/v1", api_key=key, max_retries=0, timeout=20)
