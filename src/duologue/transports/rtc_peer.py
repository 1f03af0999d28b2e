"""One peer connection, on the media thread: aiortc, and where we stand in its place.

Of aiortc we use ICE, DTLS, SRTP, RTCP and the data channel. Not its jitter buffer (it holds sound back for 80 ms, after the first
loss for 320 ms, and leaves holes), nor its Opus (a thread's hop for each frame, stereo, no concealment, no error correction).
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from fractions import Fraction
from typing import Any, Protocol

from aiortc import RTCConfiguration, RTCDataChannel, RTCIceServer, RTCPeerConnection, RTCSessionDescription
from aiortc.mediastreams import MediaStreamError, MediaStreamTrack
from aiortc.rtcconfiguration import RTCBundlePolicy
from aiortc.rtcrtpreceiver import RTCRtpReceiver
from aiortc.rtcrtpsender import RTCRtpSender
from aiortc.rtp import RtpPacket
from aiortc.sdp import SessionDescription
from av.packet import Packet

from duologue import clock
from duologue.audio import Audio
from duologue.config import Rtc
from duologue.errors import ClientError
from duologue.protocols import Fact
from duologue.transports.opus import CLOCK_RATE, Encoder
from duologue.transports.rtc_media import FRAME_S, Happening, Incoming, Outgoing
from duologue.transports.rtc_sdp import finished_answer

CATCH_UP_S = 0.1
"""Late frames leave at once, as long as a client's buffer takes them in; after a longer standstill the clock goes on from now."""

UNTAKEN = 5
"""Frames that may wait for the sender; there is none where the client wants no sound. Full: the oldest goes."""

FAREWELL_S = 3.5
"""For the last messages to be acknowledged: SCTP sends what was lost again after a second, then two (RTO.Min of RFC 9260)."""

CLOSE_S = 2.0

JITTER_BUFFER = "_RTCRtpReceiver__jitter_buffer"

log = logging.getLogger(__name__)


class Events(Protocol):
    """What a peer says, on the media thread."""

    def heard(self, sound: Audio) -> None: ...

    def message(self, message: str | bytes) -> None: ...

    def happened(self, happening: Happening) -> None: ...

    def unsendable(self, error: ClientError) -> None: ...

    def gone(self, reason: str) -> None: ...


class Peer:
    """May be made anywhere, and is used on the media thread only. `label` is that of the data channel that counts."""

    def __init__(self, rtc: Rtc, label: str, unsent_bytes: int, events: Events) -> None:
        self._rtc = rtc
        self._label = label
        self._unsent_bytes = unsent_bytes
        self._events = events
        self._outgoing = Outgoing()
        self._incoming = Incoming()
        self._encoder = Encoder()
        self._unsent: deque[str | bytes] = deque()  # until the channel opens
        self._mute = False  # there will be none: the client wants sound alone
        self._channel: RTCDataChannel | None = None
        self._connection: RTCPeerConnection | None = None
        self._track: _Track
        self._deadline: asyncio.TimerHandle | None = None
        self._clock: asyncio.Task[None] | None = None

    # ── Life ──────────────────────────────────────────────────────────────────────────────────────────────────────

    async def answer(self, offer: str) -> str:
        """To a `checked_offer`. Raises `ClientError`: bad_sdp, server_full."""
        self._mute = "\nm=application " not in offer
        self._track = _Track()
        self._connection = connection = RTCPeerConnection(_configuration(self._rtc))
        connection.on("connectionstatechange", self._state_changed)
        connection.on("datachannel", self._offered_channel)
        try:
            await self._negotiate(connection, offer)
        except Exception as error:  # of many types: aiortc takes a well-formed offer for granted
            log.info("an offer was refused: %r", error)
            raise ClientError("bad_sdp", "the offer cannot be answered: it must have Opus, ICE and DTLS") from error
        if "\r\na=candidate:" not in connection.localDescription.sdp:
            raise ClientError("server_full", "no UDP port is free for the sound; try again later")
        loop = asyncio.get_running_loop()
        self._deadline = loop.call_later(self._rtc.connect_s, self._events.gone, "never_connected")
        return finished_answer(connection.localDescription.sdp, self._rtc.advertise)

    async def _negotiate(self, connection: RTCPeerConnection, offer: str) -> None:
        _check_media(SessionDescription.parse(offer))
        connection.addTrack(self._track)
        (ours,) = connection.getTransceivers()
        codecs = RTCRtpSender.getCapabilities("audio").codecs
        ours.setCodecPreferences([codec for codec in codecs if codec.mimeType == "audio/opus"])
        await connection.setRemoteDescription(RTCSessionDescription(offer, "offer"))
        for transceiver in connection.getTransceivers():
            if transceiver is not ours:
                transceiver.direction = "inactive"  # cameras: decoding them would be all that we did
        _tap(ours.receiver, self._received)
        await connection.setLocalDescription(await connection.createAnswer())

    async def farewell(self) -> None:
        """Closes the channel, which it only is once all messages have arrived."""
        if self._channel is None or self._channel.readyState != "open":
            return
        closed = asyncio.Event()
        self._channel.on("close", closed.set)
        self._channel.close()
        with suppress(TimeoutError):
            async with asyncio.timeout(FAREWELL_S):
                await closed.wait()

    async def close(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
        if self._clock is not None:
            self._clock.cancel()
        if self._connection is not None:
            try:
                async with asyncio.timeout(CLOSE_S):
                    await self._connection.close()
            except Exception:
                log.exception("a peer connection did not close within %g s", CLOSE_S)

    def _state_changed(self) -> None:
        state = self._connection.connectionState if self._connection else "closed"
        if state == "connected" and self._clock is None:
            if self._deadline is not None:
                self._deadline.cancel()
            self._clock = asyncio.create_task(self._tick())
        elif state in ("failed", "closed"):
            self._events.gone("client_gone")

    # ── Messages ──────────────────────────────────────────────────────────────────────────────────────────────────

    def deliver(self, messages: Sequence[str | bytes]) -> None:
        """What does not fit ends the call: a client that does not read is of no use to itself."""
        for message in messages if not self._mute else ():
            if self._channel is None:
                self._unsent.append(message)
            else:
                self._send(self._channel, message)
        waiting = self._channel.bufferedAmount if self._channel else sum(len(message) for message in self._unsent)
        if waiting > self._unsent_bytes:
            self._unsent.clear()
            self._events.gone("client_too_slow")

    def _send(self, channel: RTCDataChannel, message: str | bytes) -> None:
        if channel.readyState != "open":
            return
        try:
            channel.send(message)
        except ValueError:
            text = f"a message of {len(message)} characters is longer than this data channel can carry"
            self._events.unsendable(ClientError("message_too_long", text))

    def _offered_channel(self, channel: RTCDataChannel) -> None:
        if channel.label != self._label or self._channel is not None:
            return
        self._channel = channel
        channel.on("message", self._events.message)
        channel.on("close", lambda: self._events.gone("client_gone"))
        unsent, self._unsent = self._unsent, deque()
        self.deliver(unsent)

    # ── Sound ─────────────────────────────────────────────────────────────────────────────────────────────────────

    def take(self, fact: Fact) -> None:
        self._tell(self._outgoing.take(fact))

    async def _tick(self) -> None:
        """The clock of the call, in both directions."""
        due, number = clock.now(), 0
        while True:
            try:
                self._frame(number)
            except Exception:
                log.exception("a call's sound failed")
                self._events.gone("internal_error")
                return
            late = clock.now() - due - FRAME_S
            skipped = int(late / FRAME_S) if late > CATCH_UP_S else 0
            number += 1 + skipped
            due += (1 + skipped) * FRAME_S
            await asyncio.sleep(max(0.0, due - clock.now()))

    def _frame(self, number: int) -> None:
        sound, happenings = self._outgoing.frame()
        self._track.put(self._encoder.encode(sound), number)
        self._tell(happenings)
        self._hear(self._incoming.wake(clock.now()))

    def _received(self, packet: RtpPacket) -> None:
        where = packet.ssrc, packet.sequence_number, packet.timestamp
        self._hear(self._incoming.take(*where, packet.payload, clock.now()))

    def _hear(self, sound: Audio) -> None:
        if len(sound):
            self._events.heard(sound)

    def _tell(self, happenings: Sequence[Happening]) -> None:
        for happening in happenings:
            self._events.happened(happening)


class _Track(MediaStreamTrack):
    """Hands ready-made packets to aiortc's sender. RTP's timestamps are those of the frames, also where some were skipped."""

    kind = "audio"

    def __init__(self) -> None:
        super().__init__()
        self._packets: asyncio.Queue[Packet[Any]] = asyncio.Queue(UNTAKEN)

    def put(self, payload: bytes, number: int) -> None:
        if self._packets.full():
            self._packets.get_nowait()
        packet: Packet[Any] = Packet(payload)
        packet.time_base = Fraction(1, CLOCK_RATE)
        packet.pts = round(number * FRAME_S * CLOCK_RATE)
        self._packets.put_nowait(packet)

    async def recv(self) -> Packet[Any]:
        if self.readyState != "live":
            raise MediaStreamError
        return await self._packets.get()


class _Tap:
    """Stands where aiortc keeps its jitter buffer, and passes every packet on at once; no frame is ever complete for aiortc."""

    def __init__(self, take: _Take) -> None:
        self._take = take

    def add(self, packet: RtpPacket) -> tuple[bool, None]:
        self._take(packet)
        return False, None


class _Take(Protocol):
    def __call__(self, packet: RtpPacket) -> None: ...


def _check_media(offer: SessionDescription) -> None:
    """aiortc believes what an offer says of its media, and breaks later."""
    names = [media.rtp.muxId for media in offer.media]
    bundled = {name for group in offer.group if group.semantic == "BUNDLE" for name in group.items}
    if len(set(names)) < len(names) or not bundled <= set(names):
        raise ValueError(f"media {names} do not fit the group {bundled}")
    if strangers := {media.kind for media in offer.media} - {"audio", "video", "application"}:
        raise ValueError(f"media of kind {strangers}")


def _tap(receiver: RTCRtpReceiver, take: _Take) -> None:
    """A private name of aiortc; its statistics, and so its reports to the sender, still work."""
    if not hasattr(receiver, JITTER_BUFFER):
        raise RuntimeError("this version of aiortc keeps its jitter buffer elsewhere")
    setattr(receiver, JITTER_BUFFER, _Tap(take))


def _configuration(rtc: Rtc) -> RTCConfiguration:
    """No server is asked for anything that is not in the settings: aiortc's own default is one of Google's."""
    servers = [RTCIceServer(rtc.stun_url)] if rtc.stun_url else []
    if rtc.turn_url:
        servers.append(RTCIceServer(rtc.turn_url, rtc.turn_username or None, rtc.turn_password or None))
    return RTCConfiguration(iceServers=servers, bundlePolicy=RTCBundlePolicy.MAX_BUNDLE)
