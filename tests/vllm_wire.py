"""A server of the tests' own that speaks as vLLM 0.33 does: chat completions with sound, transcripts, and its `/v1/realtime`.

The shapes are those of its own classes; it can also do what servers do on bad days.
"""

from __future__ import annotations

import asyncio
import base64
import json
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from typing import Any

from websockets.asyncio.server import ServerConnection
from websockets.asyncio.server import serve as serve_sockets
from websockets.exceptions import ConnectionClosed

MODEL = "mistralai/Voxtral-Mini-4B-Realtime-2602"


def delta(text: str, **more: Any) -> str:
    return _chunk({"content": text}, None, **more)


def last(reason: str = "stop") -> str:
    return _chunk({}, reason)


def _chunk(told: Mapping[str, Any], reason: str | None, **more: Any) -> str:
    choice = {"index": 0, "delta": dict(told), "logprobs": None, "finish_reason": reason}
    chunk = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [choice]}
    return json.dumps(chunk | more)


@dataclass
class Chat:
    """`events` are the data of the stream; `split` bytes leave at a time, `gap_s` apart. `status` is given before them."""

    events: tuple[str, ...] = (delta("Paris"), delta(" it"), delta(" is."), last(), "[DONE]")
    status: int = 200
    split: int = 10_000
    gap_s: float = 0.0
    breaks_off: bool = False
    fails_first: int = 0
    requests: list[dict[str, Any]] = field(default_factory=list)
    uploads: list[bytes] = field(default_factory=list)
    gone: asyncio.Event = field(default_factory=asyncio.Event)
    """The client left before the end."""

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                length = next(
                    (int(line[15:]) for line in head.lower().split(b"\r\n") if line[:15] == b"content-length:"), 0
                )
                await self._respond(head, await reader.readexactly(length), reader, writer)
                if self.breaks_off:
                    break
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    async def _respond(
        self, head: bytes, body: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        if b"/audio/transcriptions" in head:
            self.uploads.append(body)
            return _whole(writer, 200, {"text": " What is the capital? ", "usage": {"type": "duration", "seconds": 2}})
        if b"/models" in head:
            return _whole(writer, 200, {"object": "list", "data": []})
        self.requests.append(json.loads(body))
        status = 503 if len(self.requests) <= self.fails_first else self.status
        if status != 200:
            error = {"message": "so it is", "type": "BadRequestError", "param": None, "code": status}
            return _whole(writer, status, {"error": error})
        return await self._stream(reader, writer)

    async def _stream(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n")
        data = "".join(f"data: {event}\n\n" for event in self.events).encode()
        left = asyncio.ensure_future(reader.read(1))
        for start in range(0, len(data), self.split):
            piece = data[start : start + self.split]
            writer.write(f"{len(piece):x}\r\n".encode() + piece + b"\r\n")
            await asyncio.wait([left], timeout=self.gap_s)
            if left.done():
                self.gone.set()
                raise ConnectionError
        left.cancel()
        if not self.breaks_off:
            writer.write(b"0\r\n\r\n")
        await writer.drain()


def _whole(writer: asyncio.StreamWriter, status: int, told: Mapping[str, Any]) -> None:
    body = json.dumps(told).encode()
    head = f"HTTP/1.1 {status} X\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
    writer.write(head.encode() + body)


@asynccontextmanager
async def chat_server(chat: Chat) -> AsyncIterator[str]:
    server = await asyncio.start_server(chat.answer, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
        server.close()


@dataclass
class Realtime:
    """Hears a word in each append; `on` sees each message first, and may answer in its own way (True: that was all)."""

    on: Callable[[ServerConnection, dict[str, Any]], Any] = lambda socket, message: None
    received: list[str] = field(default_factory=list)
    bytes: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    closed: asyncio.Event = field(default_factory=asyncio.Event)
    word: str = "w"

    async def serve(self, socket: ServerConnection) -> None:
        self.headers = dict(socket.request.headers) if socket.request else {}
        await _send(socket, "session.created", id="sess-1", created=1)
        model, running, words = False, False, 0
        try:
            async for text in socket:
                message = json.loads(text)
                kind = message["type"]
                self.received.append(kind + (".final" if message.get("final") else ""))
                if await _maybe(self.on(socket, message)):
                    continue
                if kind == "session.update":
                    model = message.get("model") == MODEL
                    if not model:
                        await _error(socket, "The model does not exist.", "model_not_found")
                elif kind == "input_audio_buffer.commit" and not model:
                    await _error(socket, "Model not validated.", "model_not_validated")
                elif kind == "input_audio_buffer.commit" and message.get("final"):
                    said = " ".join(f"{self.word}{number}" for number in range(1, words + 1))
                    usage = {"prompt_tokens": 1, "total_tokens": 2, "completion_tokens": 1}
                    await _send(socket, "transcription.done", text=said, usage=usage)
                    running, words = False, 0
                elif kind == "input_audio_buffer.commit":
                    running = True
                elif kind == "input_audio_buffer.append" and running:
                    self.bytes += len(base64.b64decode(message["audio"]))
                    words += 1
                    await _send(socket, "transcription.delta", delta="")
                    await _send(socket, "transcription.delta", delta=f"{self.word}{words} ")
        except ConnectionClosed:
            pass
        finally:
            self.closed.set()


async def _maybe(told: Any) -> Any:
    return await told if asyncio.iscoroutine(told) else told


async def _send(socket: ServerConnection, kind: str, **more: Any) -> None:
    await socket.send(json.dumps({"type": kind, **more}))


async def _error(socket: ServerConnection, message: str, code: str) -> None:
    await _send(socket, "error", error=message, code=code)


@asynccontextmanager
async def realtime_server(realtime: Realtime) -> AsyncIterator[str]:
    async with serve_sockets(realtime.serve, "127.0.0.1", 0) as server:
        yield f"http://127.0.0.1:{next(iter(server.sockets)).getsockname()[1]}/v1"


@contextmanager
def elsewhere(server: AbstractAsyncContextManager[str]) -> Iterator[str]:
    """The server on a loop and thread of its own, for tests of which each has another loop."""
    loop, ready, ended = asyncio.new_event_loop(), threading.Event(), asyncio.Event()
    urls: list[str] = []

    async def serve() -> None:
        async with server as url:
            urls.append(url)
            ready.set()
            await ended.wait()

    thread = threading.Thread(target=loop.run_until_complete, args=(serve(),))
    thread.start()
    ready.wait()
    try:
        yield urls[0]
    finally:
        loop.call_soon_threadsafe(ended.set)
        thread.join()
        loop.close()
