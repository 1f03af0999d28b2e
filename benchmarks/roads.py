"""The same questions over every road into one server: what a protocol, a socket or a call adds to voice-to-voice.

A server process of its own, and clients as people have them; times are taken in the client, from the last voiced sample (by
energy) to the first audible one. The roads take turns question by question, so that whatever else the machine does falls on all
of them alike.
"""

from __future__ import annotations

import asyncio
import base64
import json
import sys
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from fractions import Fraction
from typing import Any, Protocol, TypeAlias

import numpy as np
from aiortc import RTCConfiguration, RTCPeerConnection, RTCSessionDescription
from aiortc.mediastreams import MediaStreamError, MediaStreamTrack
from aiortc.rtcrtpreceiver import RTCRtpReceiver
from aiortc.rtp import RtpPacket
from av.audio.frame import AudioFrame
from openai import AsyncOpenAI
from websockets.asyncio.client import ClientConnection, connect

from benchmarks.figures import Figure
from benchmarks.recordings import Recording
from benchmarks.servers import serving
from duologue import clock
from duologue.audio import INPUT_RATE, Audio, from_pcm16, resample, to_pcm16
from duologue.line import AUDIBLE
from duologue.transports.opus import Decoder
from duologue.transports.rtc_peer import JITTER_BUFFER

BLOCK_S = 0.02
PATIENCE_S = 8.0
"""For an answer: it is counted as none after that."""

QUIET_S = 1.0
"""Between a reply that was cut off and the next question."""


ARRIVED = "webrtc, on arrival"
"""The same answers, before the client's own jitter buffer: what is the server's."""


class Road(Protocol):
    """One open conversation. `audible_at` is when the first audible sample since `say` began arrived."""

    audible_at: float | None

    async def send(self, samples: Audio) -> None:
        """20 ms of the microphone, 16 kHz."""
        ...

    async def stop(self) -> None:
        """Cuts the reply off."""
        ...


LIMITS_MS = {"realtime": 30.0, "webrtc": 120.0}
"""What a road may add to the native one, in the medians."""

Asked: TypeAlias = Mapping[str, float]
"""One question: ms from the voice's end to the answer's begin, by the roads that answered it. Below 0 it was cut off."""


async def run(recordings: Sequence[Recording]) -> list[Figure]:
    asked: list[Asked] = []
    async with serving() as server, AsyncExitStack() as stack:
        roads = {name: await stack.enter_async_context(begin(server.address)) for name, begin in ROADS.items()}
        for recording in recordings:
            times: dict[str, float] = {}
            for name, road in roads.items():
                ms = await _ask(road, recording)
                print(f"{recording.name} by {name}: {'no answer' if ms is None else f'{ms:.0f} ms'}", file=sys.stderr)
                if ms is not None:
                    times[name] = ms
                if ms is not None and isinstance(road, WebRtc) and road.arrived.audible_at is not None:
                    times[ARRIVED] = ms - ((road.audible_at or 0.0) - road.arrived.audible_at) * 1000
            asked.append(times)
    return figures(asked)


def figures(asked: Sequence[Asked]) -> list[Figure]:
    """An answer that began before the voice had ended, at a pause, took no time that could be compared with another's."""
    found = []
    for name in (*ROADS, ARRIVED):
        times = [question[name] for question in asked if name in question]
        found.append(Figure(f"voice to voice by {name}", "ms", [ms for ms in times if ms >= 0], needs=8))
        early = [float(ms < 0) for ms in times]
        found.append(Figure(f"answers by {name} before the voice's end", "questions", early, sum(early)))
    return found + [figure for name, most_ms in LIMITS_MS.items() for figure in _less_native(asked, name, most_ms)]


def _less_native(asked: Sequence[Asked], name: str, most_ms: float) -> list[Figure]:
    """Of the questions that both roads answered after their end: the medians' difference over all, else question by question."""
    pairs = [(question.get(name, -1.0), question.get("native", -1.0)) for question in asked]
    whole = [(there, native) for there, native in pairs if min(there, native) >= 0]
    medians = np.median(whole, axis=0) if whole else None
    added = None if medians is None else float(medians[0] - medians[1])
    differences = [there - native for there, native in whole]
    left_out = [float(pair not in whole) for pair in pairs]
    return [
        Figure(f"{name} less native", "ms", differences, added, {"overall": most_ms}, 8),
        Figure(f"left out of {name} less native", "questions", left_out, sum(left_out)),
    ]


async def _ask(road: Road, recording: Recording) -> float | None:
    """Says it in real time, then silence until there is an answer; gives the ms from the voice's end to the answer's begin."""
    road.audible_at = None
    if isinstance(road, WebRtc):
        road.arrived.audible_at = None
    ends_at = clock.now() + recording.ends_s
    until = clock.now() + len(recording.samples) / INPUT_RATE + PATIENCE_S
    async for block in _blocks(recording.samples):
        await road.send(block)
        if (road.audible_at or 0.0) > ends_at or clock.now() > until:
            break
    answered_at = road.audible_at
    await road.stop()
    async for block in _blocks(np.zeros(0, np.float32)):
        await road.send(block)
        if clock.now() > (answered_at or clock.now()) + QUIET_S:
            break
    return None if answered_at is None else (answered_at - ends_at) * 1000


async def _blocks(samples: Audio) -> AsyncIterator[Audio]:
    """In real time, and silence without end after them."""
    size, began, sent = round(BLOCK_S * INPUT_RATE), clock.now(), 0
    while True:
        block = samples[sent : sent + size]
        yield np.append(block, np.zeros(size - len(block), np.float32))
        sent += size
        await asyncio.sleep(max(0.0, began + sent / INPUT_RATE - clock.now()))


def _audible(samples: Audio, rate: int) -> float | None:
    """Seconds to the first audible sample."""
    loud = np.flatnonzero(np.abs(samples) >= AUDIBLE)
    return int(loud[0]) / rate if len(loud) else None


# ── The roads ─────────────────────────────────────────────────────────────────────────────────────────────────────


class _Heard:
    """Notes when the first audible sample arrives; what is played at once, in one line, is heard when it plays."""

    audible_at: float | None = None

    def take(self, samples: Audio, rate: int) -> None:
        if self.audible_at is None and (after_s := _audible(samples, rate)) is not None:
            self.audible_at = clock.now() + after_s


class Native(_Heard):
    def __init__(self, socket: ClientConnection) -> None:
        self._socket = socket
        self._turn = 0

    async def send(self, samples: Audio) -> None:
        await self._socket.send(to_pcm16(samples))

    async def stop(self) -> None:
        await self._socket.send(json.dumps({"type": "interrupt"}))

    async def read(self) -> None:
        async for message in self._socket:
            if isinstance(message, bytes):
                self.take(from_pcm16(message), 24_000)


class Realtime(_Heard):
    """The official client, the turns found as our own protocol finds them."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection

    async def send(self, samples: Audio) -> None:
        pcm = to_pcm16(resample(samples, INPUT_RATE, 24_000))
        await self._connection.input_audio_buffer.append(audio=base64.b64encode(pcm).decode())

    async def stop(self) -> None:
        await self._connection.response.cancel()

    async def read(self) -> None:
        async for event in self._connection:
            if event.type == "response.output_audio.delta":
                self.take(from_pcm16(base64.b64decode(event.delta)), 24_000)


class _Arrivals(_Heard):
    """Stands before aiortc's jitter buffer: hears each packet as it comes, and passes it on."""

    def __init__(self) -> None:
        self._decoder = Decoder()
        self._buffer: Any

    def stand_before(self, receiver: RTCRtpReceiver) -> None:
        self._buffer = getattr(receiver, JITTER_BUFFER)
        setattr(receiver, JITTER_BUFFER, self)

    def add(self, packet: RtpPacket) -> Any:
        self.take(self._decoder.decode(packet.payload), INPUT_RATE)
        return self._buffer.add(packet)


class WebRtc(_Heard):
    """aiortc as it comes, its jitter buffer included. `arrived` is the same sound without the wait in it."""

    def __init__(self, peer: RTCPeerConnection) -> None:
        self.arrived = _Arrivals()
        self._peer = peer
        self._microphone = _Microphone()
        peer.addTrack(self._microphone)
        self.events = peer.createDataChannel("oai-events")
        self._tracks: asyncio.Queue[MediaStreamTrack] = asyncio.Queue(1)
        peer.on("track", self._tracks.put_nowait)

    async def send(self, samples: Audio) -> None:
        await self._microphone.waiting.put(resample(samples, INPUT_RATE, 48_000))

    async def stop(self) -> None:
        for kind in ("response.cancel", "output_audio_buffer.clear"):
            self.events.send(json.dumps({"type": kind}))

    async def read(self) -> None:
        track = await self._tracks.get()
        self.arrived.stand_before(self._peer.getReceivers()[0])
        while True:
            frame = await track.recv()
            assert isinstance(frame, AudioFrame)
            samples = frame.to_ndarray().reshape(-1, len(frame.layout.channels))[:, 0]
            self.take((samples / 32768).astype(np.float32), frame.sample_rate)


class _Microphone(MediaStreamTrack):
    kind = "audio"

    def __init__(self) -> None:
        super().__init__()
        self.waiting: asyncio.Queue[Audio] = asyncio.Queue(50)
        self._sent = 0

    async def recv(self) -> AudioFrame:
        if self.readyState != "live":
            raise MediaStreamError
        pcm = np.frombuffer(to_pcm16(await self.waiting.get()), np.int16)
        frame = AudioFrame.from_ndarray(pcm[np.newaxis], format="s16", layout="mono")
        frame.sample_rate, frame.pts, frame.time_base = 48_000, self._sent, Fraction(1, 48_000)
        self._sent += len(pcm)
        return frame


@asynccontextmanager
async def _reading(road: Native | Realtime | WebRtc) -> AsyncIterator[Road]:
    reading = asyncio.create_task(road.read())
    try:
        yield road
    finally:
        reading.cancel()
        await asyncio.gather(reading, return_exceptions=True)


@asynccontextmanager
async def native(address: str) -> AsyncIterator[Road]:
    async with connect(address.replace("http", "ws", 1) + "/ws", max_size=None) as socket:
        await socket.recv()
        async with _reading(Native(socket)) as road:
            yield road


@asynccontextmanager
async def realtime(address: str) -> AsyncIterator[Road]:
    client = AsyncOpenAI(api_key="local", base_url=f"{address}/v1")
    async with client.realtime.connect(model="gpt-realtime") as connection, _reading(Realtime(connection)) as road:
        yield road


@asynccontextmanager
async def webrtc(address: str) -> AsyncIterator[Road]:
    client = AsyncOpenAI(api_key="local", base_url=f"{address}/v1")
    peer = RTCPeerConnection(RTCConfiguration(iceServers=[]))
    road = WebRtc(peer)
    opened = asyncio.Event()
    road.events.on("open", lambda: opened.set())
    try:
        await peer.setLocalDescription(await peer.createOffer())
        answer = await client.realtime.calls.create(sdp=peer.localDescription.sdp)
        await peer.setRemoteDescription(RTCSessionDescription(answer.text, "answer"))
        await opened.wait()
        async with _reading(road) as reading:
            yield reading
    finally:
        await peer.close()


ROADS: dict[str, Callable[[str], Any]] = {"native": native, "realtime": realtime, "webrtc": webrtc}
