"""The conversation that every Python client here holds, and what of it is reported.

A program tells its `Ear` what its client tells it. Sound is PCM16 mono at 24 kHz both ways.
"""

from __future__ import annotations

import asyncio
import json
import math
import sys
import time
import wave
from array import array
from collections.abc import Coroutine
from dataclasses import dataclass, field
from typing import Any, Protocol

RATE = 24_000
BLOCK_S = 0.02
LIMIT_S = 100.0

INSTRUCTIONS = "You answer questions by voice. Keep it short."
QUESTION = "What is the capital of France?"
STORY = "Tell me a long story about a king, a castle and a dragon."
ARRIVED_S = 1.5
"""How much of the story has arrived when the user begins to speak into it."""

PLAYED_S = 1.0
"""How much of it was played by then, where a program says so itself."""

WEATHER_QUESTION = "What is the weather in Paris?"
WEATHER = "It is sunny in Paris, 21 degrees."
TOOL = "get_weather"
PURPOSE = "The weather in a city."

BEGAN = time.monotonic()


class Client(Protocol):
    async def write(self, text: str) -> None:
        """A typed turn, to be answered."""

    async def send(self, pcm: bytes) -> None:
        """20 ms from the microphone."""

    async def write_for_a_tool(self, text: str) -> None:
        """A typed turn that is to be answered with what a tool says."""


@dataclass
class Sound:
    samples: int = 0
    energy: int = 0

    def add(self, pcm: bytes) -> None:
        samples = array("h", pcm)
        self.samples += len(samples)
        self.energy += sum(sample * sample for sample in samples)

    def report(self) -> dict[str, float]:
        """Seconds, and the RMS in dB of full scale."""
        dbfs = 10 * math.log10(max(self.energy, 1) / max(self.samples, 1) / 2**30)
        return {"sound_s": round(self.samples / RATE, 2), "dbfs": round(dbfs, 1)}


@dataclass
class Reply:
    text: str = ""
    sound: Sound = field(default_factory=Sound)
    status: str = ""
    """As the client gives it: completed, cancelled, …"""

    def report(self) -> dict[str, Any]:
        return {"text": self.text, "status": self.status, **self.sound.report()}


class Ear:
    """What came from the server, one reply after another."""

    def __init__(self) -> None:
        self.reply = Reply()
        self.replies: asyncio.Queue[Reply] = asyncio.Queue()
        self.arrived = asyncio.Event()
        """`ARRIVED_S` of a reply."""
        self.told = asyncio.Event()
        self.truncated = asyncio.Event()
        self.heard: list[str] = []
        self.calls: list[dict[str, Any]] = []
        self.errors: list[str] = []
        self.interruption: dict[str, Any] = {"told": "", "late_s": 0.0, "truncated_ms": None, "kept": None}
        self._over: set[str] = set()

    def take_sound(self, pcm: bytes, name: str = "") -> None:
        """`name` is that of the reply, where the client gives it; of one that is over, sound is late."""
        if name in self._over:
            self.interruption["late_s"] += len(pcm) / 2 / RATE
            return
        self.reply.sound.add(pcm)
        if self.reply.sound.samples >= ARRIVED_S * RATE:
            self.arrived.set()

    def take_text(self, text: str) -> None:
        self.reply.text += text

    def take_end(self, status: str, name: str = "") -> None:
        note("reply over:", status, self.reply.text)
        self._over |= {name} - {""}
        self.reply.status = status
        self.replies.put_nowait(self.reply)
        self.reply = Reply()

    def take_interruption(self, how: str) -> None:
        note("told of the interruption:", how)
        self.interruption["told"] = how
        self.told.set()

    def take_truncation(self, milliseconds: int) -> None:
        note("truncated at", milliseconds, "ms")
        self.interruption["truncated_ms"] = milliseconds
        self.truncated.set()

    def take_heard(self, text: str) -> None:
        note("heard:", text)
        self.heard.append(text)

    def take_call(self, name: str, arguments: dict[str, Any]) -> None:
        note("called:", name, arguments)
        self.calls.append({"name": name, "arguments": arguments})

    def take_error(self, text: str) -> None:
        note("error:", text)
        self.errors.append(text)


class Microphone:
    """Silence in real time, and what is said into it, while the `async with` lasts."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._waiting = b""
        self._said = asyncio.Event()
        self._task: asyncio.Task[None]

    async def say(self, pcm: bytes) -> None:
        """Returns when all of it has been sent."""
        self._said.clear()
        self._waiting = pcm
        await self._said.wait()

    async def __aenter__(self) -> Microphone:
        self._task = asyncio.create_task(self._run())
        return self

    async def __aexit__(self, *_: object) -> None:
        self._task.cancel()
        await asyncio.wait([self._task])

    async def _run(self) -> None:
        size, began, blocks = round(RATE * BLOCK_S) * 2, time.monotonic(), 0
        while True:
            block, self._waiting = self._waiting[:size], self._waiting[size:]
            if not self._waiting:
                self._said.set()
            await self._client.send(block.ljust(size, b"\0"))
            blocks += 1
            await asyncio.sleep(max(0.0, began + blocks * BLOCK_S - time.monotonic()))


async def hold(client: Client, ear: Ear) -> None:
    """The whole conversation."""
    found: dict[str, Any] = {}
    await client.write(QUESTION)
    found["typed"] = (await ear.replies.get()).report()
    async with Microphone(client) as microphone:
        found["spoken"] = await _speak(microphone, ear)
        found["interruption"] = await _interrupt(client, microphone, ear)
        found["tool"] = await _use_a_tool(client, ear)
    print(json.dumps({**found, "errors": ear.errors}), flush=True)


async def _speak(microphone: Microphone, ear: Ear) -> dict[str, Any]:
    ear.heard.clear()
    await microphone.say(recording())
    reply = await ear.replies.get()
    return {**reply.report(), "heard": " ".join(ear.heard)}


async def _interrupt(client: Client, microphone: Microphone, ear: Ear) -> dict[str, Any]:
    ear.arrived.clear()
    await client.write(STORY)
    await ear.arrived.wait()
    ear.told.clear()
    spoken = asyncio.create_task(_speak(microphone, ear))  # whose reply is the first to come: the one that is cut
    await ear.told.wait()
    cut = await spoken
    after = (await ear.replies.get()).report()
    await ear.truncated.wait()
    return {**ear.interruption, "cut": cut, "after": {**after, "heard": " ".join(ear.heard)}}


async def _use_a_tool(client: Client, ear: Ear) -> dict[str, Any]:
    await client.write_for_a_tool(WEATHER_QUESTION)
    answer = await ear.replies.get()
    while not answer.text:  # the response that is only a call
        answer = await ear.replies.get()
    return {"calls": ear.calls, "answer": answer.report()}


def recording() -> bytes:
    """The spoken question that the command line names."""
    with wave.open(sys.argv[2]) as file:
        assert (file.getframerate(), file.getnchannels(), file.getsampwidth()) == (RATE, 1, 2)
        return file.readframes(file.getnframes())


def base_url() -> str:
    """Such as http://127.0.0.1:8080/v1"""
    return sys.argv[1]


def websocket_url() -> str:
    return base_url().replace("http", "ws", 1) + "/realtime"


def note(*what: object) -> None:
    """For whoever has to find out why it failed."""
    print(f"{time.monotonic() - BEGAN:7.3f}", *what, file=sys.stderr, flush=True)


def run(main: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(main, LIMIT_S))
