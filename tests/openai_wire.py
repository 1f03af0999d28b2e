"""A real server on loopback with the routes of OpenAI's audio API, and OpenAI's own client for it."""

from __future__ import annotations

import asyncio
import io
import socket
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager, nullcontext
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import soundfile
import uvicorn
from dialogue import lineup, microphone
from openai import AsyncOpenAI
from starlette.applications import Starlette

from duologue.app import App
from duologue.audio import INPUT_RATE, Audio, Frame, to_pcm16
from duologue.config import Config, Limits
from duologue.engines import Pause, Style, Transcript
from duologue.engines.lineup import Lineup
from duologue.engines.scripted import ABOUT
from duologue.protocols import ReplyAudio, ReplyDone
from duologue.transports.openai_http import routes

THREE = microphone([(1.0, 2.0), (3.0, 4.0), (5.0, 6.0)], 7.0)
"""Three utterances in 7 s."""


@dataclass
class Gated:
    """A recogniser that hears when it is let, and notes how many of its streams are open."""

    gate: asyncio.Event = field(default_factory=asyncio.Event)
    opened: asyncio.Event = field(default_factory=asyncio.Event)
    closed: asyncio.Event = field(default_factory=asyncio.Event)
    open: int = 0
    most: int = 0
    heard: int = 0
    about = ABOUT

    async def transcribe(self, audio: AsyncIterator[Frame | Pause]) -> AsyncIterator[Transcript]:
        self.open += 1
        self.opened.set()
        self.most = max(self.most, self.open)
        try:
            async for item in audio:
                if isinstance(item, Pause):
                    await self.gate.wait()
                    self.heard += 1
                    yield Transcript(f"Number {self.heard}.", final=True, confidence=0.5)
        finally:
            self.open -= 1
            self.closed.set()


class SpeakingApp(App):
    """The real one, with scripted engines unless others are given."""

    def __init__(self, engines: Lineup | None = None) -> None:
        super().__init__(Config(), engines or lineup())


class GatedApp(SpeakingApp):
    """Says half a second, and the rest when the test opens the gate; or fails there, if it is told to."""

    def __init__(self, engines: Lineup | None = None) -> None:
        super().__init__(engines)
        self.gate = asyncio.Event()
        self.silent = asyncio.Event()
        self.begun = asyncio.Semaphore(0)
        self.asked: list[Style] = []
        self.fails_at_once: Exception | None = None
        self.fails_later: Exception | None = None

    async def speak(self, text: str, style: Style, rate: int) -> AsyncGenerator[ReplyAudio | ReplyDone, None]:
        self.asked.append(style)
        self.begun.release()
        half = to_pcm16((np.sin(np.arange(rate // 2) / 10) / 3).astype(np.float32))
        try:
            if self.fails_at_once is not None:
                raise self.fails_at_once
            yield ReplyAudio(0, 0, half, rate, 0.0, (), False)
            await self.gate.wait()
            if self.fails_later is not None:
                raise self.fails_later
            yield ReplyAudio(0, 1, half, rate, 500.0, (), True)
            yield ReplyDone(0, text, 1000.0, "gated")
        finally:
            self.silent.set()


@asynccontextmanager
async def serving(app: App, limits: Limits | None = None) -> AsyncIterator[AsyncOpenAI]:
    """Gives a client that does not try again; checks that no task is left when the server has stopped."""
    before = asyncio.all_tasks()
    asgi = Starlette(routes=routes(app, limits or Limits()))
    server = uvicorn.Server(
        uvicorn.Config(asgi, http="h11", lifespan="off", log_config=None, timeout_graceful_shutdown=1)
    )
    server.capture_signals = nullcontext  # type: ignore[method-assign, assignment]
    with socket.create_server(("127.0.0.1", 0)) as listener:
        running = asyncio.create_task(server.serve(sockets=[listener]))
        address = f"http://127.0.0.1:{listener.getsockname()[1]}/v1"
        try:
            async with AsyncOpenAI(base_url=address, api_key="none", max_retries=0, timeout=120) as client:
                yield client
        finally:
            server.should_exit = True
            await running
    left = asyncio.all_tasks() - before
    assert not left, left


def wav(samples: Audio = THREE) -> tuple[str, bytes]:
    file = io.BytesIO()
    soundfile.write(file, samples, INPUT_RATE, format="WAV", subtype="PCM_16")
    return "speech.wav", file.getvalue()


async def soon(event: asyncio.Event) -> None:
    async with asyncio.timeout(30):
        await event.wait()


async def transcribe(client: AsyncOpenAI, **fields: Any) -> Any:
    return await client.audio.transcriptions.create(**{"file": wav(), "model": "whisper-1"} | fields)
