"""A chat endpoint that does as it likes: HTTP by hand, so that a test can send what no decent server would."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any


class Line:
    """One connection of the stranger's, after its request came."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self.headers: dict[str, str] = {}

    async def request(self) -> dict[str, Any] | None:
        """None: the client has hung up."""
        head = await self._reader.readuntil(b"\r\n\r\n")
        lines = head.decode().split("\r\n")[1:-2]
        self.headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        body: dict[str, Any] = json.loads(await self._reader.readexactly(int(self.headers["content-length"])))
        return body

    async def send(self, data: bytes | str) -> None:
        self._writer.write(data.encode() if isinstance(data, str) else data)
        await self._writer.drain()

    async def respond(self, status: str, body: str, *headers: str) -> None:
        head = [f"HTTP/1.1 {status}", f"Content-Length: {len(body.encode())}", *headers]
        await self.send("\r\n".join([*head, "", body]))

    async def stream(self, *chunks: Any, done: bool = True) -> None:
        """Chunks of a reply, each a delta, a whole chunk, or text as it is; the connection may serve once more."""
        await self.begin()
        for chunk in chunks:
            await self.event(chunk)
        if done:
            await self.event("[DONE]")
        await self.send("0\r\n\r\n")

    async def begin(self, kind: str = "text/event-stream") -> None:
        await self.send(f"HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nTransfer-Encoding: chunked\r\n\r\n")

    async def event(self, chunk: Any) -> None:
        await self.raw(f"data: {chunk if isinstance(chunk, str) else json.dumps(chunk)}\n\n")

    async def raw(self, text: str) -> None:
        await self.send(f"{len(text.encode()):x}\r\n{text}\r\n")

    async def hung_up(self) -> None:
        """Waits for it."""
        with suppress(ConnectionError):
            assert await self._reader.read() == b""


Play = Callable[[Line, dict[str, Any]], Awaitable[None]]


class Stranger:
    def __init__(self, play: Play) -> None:
        self._play = play
        self.requests: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.connections = 0
        self.all_gone = asyncio.Event()  # after the last connection, where there is one at a time
        self.url = ""

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[Stranger]:
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
        try:
            yield self
        finally:
            server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        line = Line(reader, writer)
        try:
            with suppress(asyncio.IncompleteReadError, ConnectionError):
                while (request := await line.request()) is not None:
                    self.requests.append(request)
                    self.headers.append(line.headers)
                    await self._play(line, request)
        finally:
            writer.close()
            self.all_gone.set()
