"""Many clients of the native WebSocket, cheap enough that a hundred and more of them fit one core beside the server's.

Each speaks in real time: a made voice for some seconds, then silence in which the reply is heard. What a client notes: how long
after its last voiced sample the first audible one of the reply plays; blocks of the reply that came after they should have
played; and, for the microphone, how long a ping that follows a frame takes to come back. The server answers pings from the loop
that does everything else, so that this is how late a frame is looked at.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from random import Random
from typing import Final

import numpy as np
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from duologue import clock
from duologue.audio import FRAME_S, FRAME_SAMPLES, INPUT_RATE, OUTPUT_RATE, Audio, from_pcm16, to_pcm16
from duologue.line import AUDIBLE

PING_EVERY: Final = 8
"""Frames: four pings a second and session."""

LATE_S: Final = FRAME_S
"""A frame that is looked at only when the next one is there is late."""

DRY_S: Final = 0.005
LINE_ENDS: Final = ('"reply_done"', '"interrupted"', '"reopened"', '"ducked"')
SILENCE: Final = to_pcm16(np.zeros(FRAME_SAMPLES, np.float32))


@dataclass
class Notes:
    """Of all clients of one step."""

    answers_s: list[float] = field(default_factory=list)
    pings_s: list[float] = field(default_factory=list)
    own_delays_s: list[float] = field(default_factory=list)
    """How late this process itself sent frames: if that is much, the clients are what is measured."""
    blocks: int = 0
    late_blocks: int = 0
    unanswered: int = 0
    refused: int = 0
    broken: int = 0

    @property
    def late_frames(self) -> float:
        return float(np.mean([ping > LATE_S for ping in self.pings_s])) if self.pings_s else 0.0

    @property
    def late_reply_blocks(self) -> float:
        return self.late_blocks / self.blocks if self.blocks else 0.0


def voice(seconds: float, seed: int = 0) -> list[bytes]:
    """PCM16 frames of a made voice: a buzz that rises and falls, loud enough for any detector that goes by energy."""
    at = np.arange(round(seconds / FRAME_S) * FRAME_SAMPLES) / INPUT_RATE
    pitch = 110 + Random(seed).random() * 90
    wave: Audio = (0.25 * np.sign(np.sin(2 * np.pi * pitch * at)) * (0.75 + 0.25 * np.sin(9 * at))).astype(np.float32)
    return frames(wave)


def frames(samples: Audio) -> list[bytes]:
    """PCM16 of 32 ms each, the last one filled up."""
    padded = np.append(samples, np.zeros(-len(samples) % FRAME_SAMPLES, np.float32))
    return [to_pcm16(block) for block in padded.reshape(-1, FRAME_SAMPLES)]


class Client:
    """One session, for as long as the `async with` lasts."""

    def __init__(self, address: str, notes: Notes) -> None:
        self._address = address.replace("http", "ws", 1) + "/ws"
        self._notes = notes
        self._socket: ClientConnection
        self._reading: asyncio.Task[None]
        self._pings: set[asyncio.Task[None]] = set()
        self._line_ends_at = 0.0
        self._next_at = 0.0
        self.audible_at: float | None = None

    async def __aenter__(self) -> Client:
        self._socket = await connect(self._address, max_size=None, compression=None, ping_interval=None)
        self._reading = asyncio.create_task(self._read())
        self._next_at = clock.now()
        return self

    async def __aexit__(self, *_: object) -> None:
        tasks = [self._reading, *self._pings]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._socket.close()

    async def say(self, sound: Iterable[bytes], listen_s: float) -> None:
        """In real time, and then silence. The answer is noted, or that there was none."""
        await self.send(sound)
        ended_at, self.audible_at = self._next_at, None
        await self.send([SILENCE] * round(listen_s / FRAME_S))
        self._note(ended_at)

    def _note(self, ended_at: float) -> None:
        if self.audible_at is None:
            self._notes.unanswered += 1
        else:
            self._notes.answers_s.append(self.audible_at - ended_at)

    async def send(self, sound: Iterable[bytes]) -> None:
        for number, frame in enumerate(sound):
            self._next_at += FRAME_S
            await asyncio.sleep(self._next_at - clock.now())
            self._notes.own_delays_s.append(clock.now() - self._next_at)
            await self._socket.send(frame)
            if number % PING_EVERY == 0:
                self._ping()

    async def tell(self, **message: object) -> None:
        await self._socket.send(json.dumps(message))

    def _ping(self) -> None:
        task = asyncio.create_task(self._pinged())
        self._pings.add(task)
        task.add_done_callback(self._pings.discard)

    async def _pinged(self) -> None:
        with suppress(ConnectionClosed):
            answer = await self._socket.ping()
            self._notes.pings_s.append(await answer)

    async def _read(self) -> None:
        try:
            async for message in self._socket:
                if isinstance(message, bytes):
                    self._hear(message)
                elif '"error"' in message[:40]:
                    self._notes.refused += '"server_full"' in message
                elif any(end in message[:40] for end in LINE_ENDS):
                    self._line_ends_at = 0.0
        except ConnectionClosed:
            self._notes.broken += 1

    def _hear(self, pcm: bytes) -> None:
        now = clock.now()
        self._notes.blocks += 1
        self._notes.late_blocks += 0.0 < self._line_ends_at < now - DRY_S
        begins_at = max(now, self._line_ends_at)
        self._line_ends_at = begins_at + len(pcm) / 2 / OUTPUT_RATE
        if self.audible_at is None:
            loud = np.flatnonzero(np.abs(from_pcm16(pcm)) >= AUDIBLE)
            self.audible_at = begins_at + int(loud[0]) / OUTPUT_RATE if len(loud) else None
