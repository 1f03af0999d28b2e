"""A server that is met over its native WebSocket, for whoever else would meet an App: a `Caller` cannot tell them apart.

So what is measured over the wire is measured by the code that measures without it, and every time is the client's.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping
from typing import Any, Final

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from duologue import protocols as p
from duologue.audio import to_pcm16
from duologue.config import Config
from duologue.errors import ClientError

WAITING: Final = 1000
"""Messages to a server that does not read them: at 31 a second that is half a minute, and the server has failed."""

Decoder = Callable[[Mapping[str, Any]], p.Fact]

FACTS: Final[Mapping[str, Decoder]] = {
    "state": lambda m: p.StateChanged(m["turn"], m["state"]),
    "user_speech": lambda m: p.UserSpeech(m["turn"], m["event"] == "speech_started", m["at_ms"]),
    "transcript": lambda m: p.Heard(m["turn"], m["text"], m["is_final"], m["language"]),
    "reopened": lambda m: p.Reopened(m["turn"]),
    "text_chunk": lambda m: p.ReplyWord(
        m["turn"],
        m["chunk_index"],
        m["text"],
        m["is_final"],
        m["has_audio"],
        m["first_token_latency_ms"],
        m["processing_time_ms"],
    ),
    "ducked": lambda m: p.Ducked(m["turn"]),
    "resumed": lambda m: p.Resumed(m["turn"]),
    "interrupted": lambda m: p.Interrupted(m["turn"], m["heard_text"], m["heard_ms"]),
    "reply_done": lambda m: p.ReplyDone(m["turn"], m["text"], m["audio_ms"], m["speaker"], m["complete"]),
    "latency": lambda m: p.Latency(m["turn"], m["marks"], m["parts"]),
    "error": lambda m: (
        p.Degraded(m["message"]) if m["code"] == "degraded" else p.Failure(m["code"], m["message"], m["turn"])
    ),
}
"""What a caller listens to, by the message's type; sound is announced by one message and brought by the next."""


def sound(announced: Mapping[str, Any], pcm: bytes) -> p.ReplyAudio:
    words = tuple((word["text"], word["end_ms"]) for word in announced["words"])
    return p.ReplyAudio(
        announced["turn"],
        announced["chunk_index"],
        pcm,
        announced["sample_rate"],
        announced["at_ms"],
        words,
        announced["is_final"],
    )


def message(command: p.Command) -> str | bytes:
    """What a caller says, as it goes over the wire."""
    match command:
        case p.Microphone(samples):
            return to_pcm16(samples)
        case p.Cursor(turn, played_ms):
            return json.dumps({"type": "cursor", "turn": turn, "played_ms": played_ms})
        case p.Interrupt():
            return json.dumps({"type": "interrupt"})
        case p.Type(text):
            return json.dumps({"type": "text", "text": text})
        case _:
            raise NotImplementedError(type(command).__name__)


class Remote:
    """In an App's place, where a `Caller` wants one. `address` is the server's, "http://…"; `config` what it was told."""

    def __init__(self, address: str, config: Config) -> None:
        self.config = config
        self._address = address.replace("http", "ws", 1) + "/ws"

    def open_session(self, tell: Callable[[p.Fact], None]) -> RemoteSession:
        return RemoteSession(self._address, tell)


class RemoteSession:
    def __init__(self, address: str, tell: Callable[[p.Fact], None]) -> None:
        self._address = address
        self._tell = tell
        self._waiting: asyncio.Queue[str | bytes] = asyncio.Queue(WAITING)

    def command(self, command: p.Command) -> None:
        """Raises `ClientError`: server_stuck."""
        try:
            self._waiting.put_nowait(message(command))
        except asyncio.QueueFull:
            raise ClientError("server_stuck", "the server does not read what it is sent") from None

    async def run(self) -> None:
        """Until the server closes the connection."""
        async with connect(self._address, max_size=None, compression=None) as socket:
            sending = asyncio.create_task(self._send(socket))
            try:
                await self._read(socket)
            finally:
                sending.cancel()
                await asyncio.gather(sending, return_exceptions=True)

    async def _send(self, socket: ClientConnection) -> None:
        while True:
            await socket.send(await self._waiting.get())

    async def _read(self, socket: ClientConnection) -> None:
        announced: Mapping[str, Any] = {}
        try:
            async for received in socket:
                if isinstance(received, bytes):
                    self._tell(sound(announced, received))
                    continue
                told = json.loads(received)
                if told["type"] == "audio_chunk":
                    announced = told
                elif decode := FACTS.get(told["type"]):
                    self._tell(decode(told))
        except ConnectionClosed as closed:
            self._tell(p.Failure("connection_lost", str(closed)))
