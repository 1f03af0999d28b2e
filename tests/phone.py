"""A WebRTC client for tests, on a thread of its own so that nothing the tested loops do can disturb it; and a bad network."""

from __future__ import annotations

import asyncio
import random
import re
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

import numpy as np
from aiortc import RTCConfiguration, RTCDataChannel, RTCPeerConnection, RTCSessionDescription
from aiortc.mediastreams import MediaStreamError, MediaStreamTrack
from aiortc.rtp import RtpPacket
from av.packet import Packet

from duologue import clock
from duologue.audio import Audio
from duologue.transports.opus import CLOCK_RATE, ENCODER_RATE, FRAME_SAMPLES, Encoder
from duologue.transports.rtc_media import FRAME_S, Incoming
from duologue.transports.rtc_peer import _tap
from duologue.transports.rtc_thread import MediaThread

NO_SERVERS = RTCConfiguration(iceServers=[])


@dataclass(frozen=True)
class Arrived:
    """A packet of the server's sound; `at` in s of the loops' clock."""

    at: float
    sequence: int
    timestamp: int
    payload: bytes


class Microphone(MediaStreamTrack):
    """20 ms packets in real time, with error correction as browsers send it: what was said, else silence (or nothing)."""

    kind = "audio"

    def __init__(self) -> None:
        super().__init__()
        self.says: deque[Audio] = deque()
        self.muted = False
        self.began_at = 0.0
        self.left_at: list[float] = []
        """When each frame of what was said left."""
        self._encoder = Encoder()
        self._sent = 0

    async def recv(self) -> Packet[Any]:
        if self.readyState != "live":
            raise MediaStreamError
        self.began_at = self.began_at or clock.now()
        while True:
            await asyncio.sleep(max(0.0, self.began_at + self._sent * FRAME_S - clock.now()))
            self._sent += 1
            if not self.muted:
                return self._packet()

    def _packet(self) -> Packet[Any]:
        if self.says:
            self.left_at.append(clock.now())
        frame = self.says.popleft() if self.says else np.zeros(FRAME_SAMPLES, np.float32)
        packet: Packet[Any] = Packet(self._encoder.encode(frame))
        packet.time_base = Fraction(1, CLOCK_RATE)
        packet.pts = round((self._sent - 1) * FRAME_S * CLOCK_RATE)
        return packet


class Phone:
    """`messages` and `arrived` are what came; `heard` what a listener hears of it, at 16 kHz."""

    def __init__(self, label: str | None = "duologue", *, camera: bool = False) -> None:
        self.label = label
        self.messages: list[str] = []
        self.arrived: list[Arrived] = []
        self.open = False
        self.state = "new"
        self.channel: RTCDataChannel
        self._camera = camera
        self._thread = MediaThread(range(0))
        self._microphone: Microphone
        self._connection: RTCPeerConnection

    async def offer(self) -> str:
        return await self._thread.run(self._offer())

    async def accept(self, answer: str) -> None:
        await self._thread.run(self._accept(answer))

    async def hang_up(self) -> None:
        """Also ends its thread."""
        await self._thread.run(self._connection.close())
        await self._thread.close()

    async def vanish(self) -> None:
        """Without a word, as when a battery is empty."""
        await self._thread.run(self._vanish())

    def say(self, samples: Audio) -> None:
        """At 24 kHz; what is left of the last 20 ms is silence."""
        whole = -len(samples) % FRAME_SAMPLES
        frames = np.concatenate([samples, np.zeros(whole, np.float32)]).reshape(-1, FRAME_SAMPLES)
        self._thread.call(self._microphone.says.extend, frames)

    def send(self, message: str | bytes) -> None:
        self._thread.call(lambda: self.channel.send(message))

    def mute(self) -> None:
        """No packets at all."""
        self._microphone.muted = True

    @property
    def left_at(self) -> list[float]:
        return self._microphone.left_at

    @property
    def heard(self) -> Audio:
        buffer, at = Incoming(), 0.0
        pieces = []
        for packet in self.arrived:
            while at + FRAME_S < packet.at:
                at = packet.at if at == 0.0 else at + FRAME_S
                pieces.append(buffer.wake(at))
            pieces.append(buffer.take(1, packet.sequence, packet.timestamp, packet.payload, packet.at))
        return np.concatenate([np.zeros(0, np.float32), *pieces])

    async def until(self, done: Callable[[], object], seconds: float = 30.0) -> None:
        async with asyncio.timeout(seconds):
            while not done():  # noqa: ASYNC110 (what is waited for has no event)
                await asyncio.sleep(0.01)

    async def _offer(self) -> str:
        self._connection = connection = RTCPeerConnection(NO_SERVERS)
        self._microphone = Microphone()
        connection.addTrack(self._microphone)
        if self._camera:
            connection.addTransceiver("video")
        if self.label is not None:
            self._channel(connection.createDataChannel(self.label))
        connection.on("connectionstatechange", lambda: setattr(self, "state", connection.connectionState))
        await connection.setLocalDescription(await connection.createOffer())
        return str(connection.localDescription.sdp)

    def _channel(self, channel: RTCDataChannel) -> None:
        self.channel = channel
        channel.on("open", lambda: setattr(self, "open", True))
        channel.on("close", lambda: setattr(self, "open", False))
        channel.on("message", self.messages.append)

    async def _accept(self, answer: str) -> None:
        _tap(self._connection.getTransceivers()[0].receiver, self._take)
        await self._connection.setRemoteDescription(RTCSessionDescription(answer, "answer"))

    async def _vanish(self) -> None:
        for transceiver in self._connection.getTransceivers():
            ice = transceiver.receiver.transport.transport
            for protocol in ice._connection._protocols:
                protocol.transport.abort()

    def _take(self, packet: RtpPacket) -> None:
        self.arrived.append(Arrived(clock.now(), packet.sequence_number, packet.timestamp, packet.payload))


# ── A bad network ─────────────────────────────────────────────────────────────────────────────────────────────────

CANDIDATE = re.compile(r"a=candidate:\S+ \S+ udp \S+ (?P<host>[0-9.]+) (?P<port>\d+) typ host")


def without_candidates(sdp: str) -> str:
    """So that the other side learns only of addresses from which it is called."""
    return "".join(line for line in sdp.splitlines(keepends=True) if not line.startswith("a=candidate"))


@dataclass
class BadNetwork:
    """Between a phone and a server: loses some packets, and holds each back for up to `jitter_s`.

    Which packets of sound are lost is the same each time, but not what is said in them: handshakes take turns of chance too.
    """

    loss: float
    jitter_s: float
    seed: int
    lost_to_phone: set[int] = field(default_factory=set)
    """Sequence numbers of sound."""
    lost_to_server: set[int] = field(default_factory=set)
    stood_still_s: float = 0.0
    """The longest time in which either side sent no sound: both send every 20 ms, if the machine lets them."""

    def __post_init__(self) -> None:
        self._thread = MediaThread(range(0))
        self._near: _Side
        self._far: _Side

    async def between(self, answer: str) -> str:
        """The server's answer, with the address of this network in place of its own."""
        found = CANDIDATE.search(answer)
        assert found is not None
        near = await self._thread.run(self._open(found["host"], int(found["port"])))
        line = f"a=candidate:1 1 udp 2130706431 {near[0]} {near[1]} typ host\r\n"
        return re.sub(r"(?m)^(a=end-of-candidates)", line + r"\1", without_candidates(answer))

    async def close(self) -> None:
        await self._thread.run(self._close())
        await self._thread.close()

    async def _open(self, host: str, port: int) -> tuple[str, int]:
        loop = asyncio.get_running_loop()
        self._near, self._far = _Side(self, self.lost_to_server, 1), _Side(self, self.lost_to_phone, 2)
        self._near.other, self._far.other = self._far, self._near
        await loop.create_datagram_endpoint(lambda: self._near, (host, 0))
        await loop.create_datagram_endpoint(lambda: self._far, (host, 0))
        self._far.peer = (host, port)
        name: tuple[str, int] = self._near.transport.get_extra_info("sockname")
        return name

    async def _close(self) -> None:
        self._near.transport.close()
        self._far.transport.close()


class _Side(asyncio.DatagramProtocol):
    def __init__(self, network: BadNetwork, lost: set[int], number: int) -> None:
        self.transport: asyncio.DatagramTransport
        self.other: _Side
        self.peer: tuple[str, int] | None = None
        self._network = network
        self._lost = lost
        self._sound = random.Random(network.seed + number)
        self._rest = random.Random(network.seed - number)
        self._sound_at: float | None = None

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def datagram_received(self, data: bytes, address: tuple[Any, ...]) -> None:
        self.peer = self.peer or (address[0], address[1])
        sequences = list(_sequence(data))
        chance = self._sound if sequences else self._rest
        delay_s = chance.random() * self._network.jitter_s
        if sequences:
            self._note_standstill(clock.now())
        if chance.random() < self._network.loss:
            self._lost.update(sequences)
        else:
            asyncio.get_running_loop().call_later(delay_s, self.other.send, data)

    def _note_standstill(self, now: float) -> None:
        still_s = now - (self._sound_at or now)
        self._network.stood_still_s = max(self._network.stood_still_s, still_s)
        self._sound_at = now

    def send(self, data: bytes) -> None:
        if self.peer is not None and not self.transport.is_closing():
            self.transport.sendto(data, self.peer)


def _sequence(data: bytes) -> Iterator[int]:
    """Of an RTP packet; RTCP has packet types from 192 on (RFC 5761)."""
    if 128 <= data[0] < 192 and not 192 <= data[1] < 224:
        yield int.from_bytes(data[2:4], "big")


def tone(seconds: float, hertz: float = 300.0, rate: int = ENCODER_RATE) -> Audio:
    t = np.arange(round(seconds * rate)) / rate
    return (0.3 * np.sin(2 * np.pi * hertz * t)).astype(np.float32)
