"""A desk that takes calls, with scripted sessions behind it, for tests."""

from __future__ import annotations

import asyncio
import itertools
import json
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from typing import Any

import numpy as np
from phone import Phone

from duologue import clock
from duologue.audio import Audio, to_pcm16
from duologue.config import Limits, Rtc
from duologue.errors import ClientError, DuologueError
from duologue.protocols import (
    Command,
    Configure,
    Cursor,
    EndTurn,
    Fact,
    Interrupt,
    Microphone,
    Ready,
    ReplyAudio,
    Type,
)
from duologue.transports import Tell
from duologue.transports.opus import ENCODER_RATE
from duologue.transports.webrtc import Call, Calls

LOOP_S = 60.0


class Plain:
    """A dialect of one-word messages; what it cannot read it refuses."""

    def receive(self, message: str | bytes) -> Sequence[Command]:
        if isinstance(message, bytes):
            return [Microphone(np.zeros(4, np.float32))]
        word, _, rest = message.partition(" ")
        commands: dict[str, list[Command]] = {
            "type": [Type(rest)],
            "stop": [Interrupt()],
            "cursor": [Cursor(1, 9_000.0)],
            "set": [Configure({"input_rate": 48_000, "output_rate": 8_000, "voice": rest})],
            "turn": [EndTurn(), Type(rest)],
        }
        if word not in commands:
            raise ClientError("unknown_message", f"{word[:20]} is no word of mine")
        return commands[word]

    def refuse(self, error: DuologueError) -> Sequence[str | bytes]:
        return [json.dumps({"type": "Refused", "code": error.code})]

    def tell(self, fact: Fact) -> Sequence[str | bytes]:
        told: dict[str, Any] = {"type": type(fact).__name__}
        for name in ("turn", "text", "final", "code"):
            if hasattr(fact, name):
                told[name] = getattr(fact, name)
        return [] if isinstance(fact, ReplyAudio) else [json.dumps(told)]


class Scripted:
    """A session that notes what it is asked, and lives as long as the test's `script`."""

    def __init__(self, tell: Tell, script: Callable[[Scripted], Awaitable[None]]) -> None:
        self.tell = tell
        self.commands: list[Command] = []
        self.asked_at: list[float] = []
        """When each command came."""
        self.closed = False
        self.asked = asyncio.Event()
        """For anything but to hear sound."""
        self._script = script

    def command(self, command: Command) -> None:
        assert not self.closed
        self.commands.append(command)
        self.asked_at.append(clock.now())
        if not isinstance(command, Microphone):
            self.asked.set()

    async def run(self) -> None:
        self.tell(Ready("s1", {}, {}))
        await self._script(self)

    def close(self) -> None:
        self.closed = True

    def detach(self) -> None:
        raise AssertionError("calls are not resumed")

    def attach(self, tell: Tell, turn: int, played_ms: float) -> None:
        raise AssertionError("calls are not resumed")

    def of(self, kind: type[Command]) -> list[Any]:
        return [command for command in self.commands if isinstance(command, kind)]

    @property
    def heard(self) -> Audio:
        return np.concatenate([np.zeros(0, np.float32), *(sound.samples for sound in self.of(Microphone))])


async def forever(_: Scripted) -> None:
    await asyncio.Event().wait()


def say(tell: Tell, turn: int, sound: Audio, rate: int = ENCODER_RATE) -> None:
    tell(ReplyAudio(turn, 0, to_pcm16(sound), rate, 0.0, (), False))
    tell(ReplyAudio(turn, 1, b"", rate, len(sound) * 1000 / rate, (), True))


class Desk:
    """Calls, and what the test needs of them."""

    def __init__(self, calls: Calls) -> None:
        self.calls = calls
        self.sessions: list[Scripted] = []
        self.phones: list[Phone] = []

    async def answer(
        self, offer: str, script: Callable[[Scripted], Awaitable[None]] = forever, **options: Any
    ) -> tuple[Call, Scripted]:
        def open_session(tell: Tell) -> Scripted:
            self.sessions.append(Scripted(tell, script))
            return self.sessions[-1]

        call = await self.calls.answer(offer, open_session, Plain(), "duologue", **options)
        return call, self.sessions[-1]

    def phone(self, **options: Any) -> Phone:
        self.phones.append(Phone(**options))
        return self.phones[-1]

    async def ring(
        self, script: Callable[[Scripted], Awaitable[None]] = forever, **options: Any
    ) -> tuple[Phone, Call, Scripted]:
        phone = self.phone()
        call, session = await self.answer(await phone.offer(), script, **options)
        await phone.accept(call.answer)
        await phone.until(lambda: phone.open)
        return phone, call, session


def ids() -> Callable[[], str]:
    numbers = itertools.count()
    return lambda: f"rtc_{next(numbers)}"


@asynccontextmanager
async def desk(rtc: Rtc | None = None, limits: Limits | None = None) -> AsyncIterator[Desk]:
    """Checks that neither a task nor a thread nor an open session is left."""
    before, threads = asyncio.all_tasks(), set(threading.enumerate())
    desk = Desk(Calls(rtc or Rtc(), limits or Limits(), ids()))
    try:
        yield desk
    finally:
        for phone in desk.phones:
            await phone.hang_up()
        await desk.calls.close()
    assert all(session.closed for session in desk.sessions)
    assert not asyncio.all_tasks() - before
    left = [thread for thread in threading.enumerate() if thread not in threads and "asyncio" not in thread.name]
    assert not left


def run(test: Coroutine[Any, Any, None]) -> None:
    async def main() -> None:
        async with asyncio.timeout(LOOP_S):
            await test

    asyncio.run(main())


def types(phone: Phone) -> list[str]:
    return [json.loads(message)["type"] for message in phone.messages]


def loudness(sound: Audio, frame: int = 160) -> Audio:
    """RMS of each 10 ms at 16 kHz."""
    whole = len(sound) // frame * frame
    return np.sqrt(np.mean(np.square(sound[:whole].reshape(-1, frame)), axis=1))  # type: ignore[no-any-return]
