"""A call to oneself: a WebRTC client in this process rings a server in this process, as proof that calls work here.

What may still stand between a server and its clients (firewalls, addresses behind NAT) it cannot know.
"""

from __future__ import annotations

import asyncio
import json
from typing import Any, Final

from duologue.app import App
from duologue.errors import ClientError
from duologue.protocols.native import Native
from duologue.transports.webrtc import Calls

LABEL: Final = "duologue"

PATIENCE_S: Final = 10.0
"""For a call on loopback, which takes a fifth of a second: a machine that loads models meanwhile is slow."""


async def ring(app: App) -> str:
    """What came of it, for people. Raises `ClientError` (webrtc_not_installed …) and `TimeoutError`."""
    calls = Calls(app.config.webrtc, app.config.limits, lambda: "rtc_loopback")
    try:
        async with asyncio.timeout(PATIENCE_S):
            return await _ring(app, calls)
    finally:
        await calls.close()


async def _ring(app: App, calls: Calls) -> str:
    try:
        from aiortc import RTCConfiguration, RTCPeerConnection, RTCSessionDescription
    except ImportError as error:
        raise ClientError("webrtc_not_installed", f"needs the extra `webrtc`: {error}") from error
    client = RTCPeerConnection(RTCConfiguration(iceServers=[]))
    told: asyncio.Queue[str] = asyncio.Queue()
    tracks: asyncio.Queue[Any] = asyncio.Queue()
    try:
        client.addTransceiver("audio", direction="recvonly")
        client.createDataChannel(LABEL).on("message", told.put_nowait)
        client.on("track", tracks.put_nowait)
        await client.setLocalDescription(await client.createOffer())
        call = await calls.answer(client.localDescription.sdp, app.open_session, Native(media=True), LABEL)
        await client.setRemoteDescription(RTCSessionDescription(call.answer, "answer"))
        kind = json.loads(await told.get())["type"]
        frame = await (await tracks.get()).recv()
        return f"a call to oneself: {kind!r} on its channel, sound at {frame.sample_rate} Hz on its track"
    finally:
        await client.close()
