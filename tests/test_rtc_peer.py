"""Sound over real peer connections: when it leaves, what arrives, and who knows where the listener is."""

from __future__ import annotations

import asyncio
import json
import time

import numpy as np
import pytest
from aiortc import RTCPeerConnection, RTCSessionDescription
from aiortc.mediastreams import AudioStreamTrack
from av import AudioFrame
from desk import desk, loudness, run, say, types
from phone import NO_SERVERS, tone

from duologue.audio import INPUT_RATE, Audio
from duologue.config import Limits
from duologue.protocols import (
    Cursor,
    Ducked,
    Heard,
    Interrupted,
    PlaybackStarted,
    PlaybackStopped,
    Resumed,
)


def test_what_the_client_says_reaches_the_session_at_16_khz_and_in_true_time() -> None:
    async def main() -> None:
        async with desk() as here:
            phone, _call, session = await here.ring()
            phone.say(tone(1.0))
            await phone.until(lambda: (loudness(session.heard) > 0.05).sum() > 95)
            await asyncio.sleep(0.2)
            loud = loudness(session.heard) > 0.05
            assert loud.sum() * 0.01 == pytest.approx(1.0, abs=0.03)
            assert np.flatnonzero(loud)[-1] - np.flatnonzero(loud)[0] < 103  # in one piece
            spectrum = np.abs(np.fft.rfft(session.heard))
            assert np.argmax(spectrum) * INPUT_RATE / len(session.heard) == pytest.approx(300, abs=5)

    run(main())


def test_a_reply_is_heard_and_the_session_knows_how_far() -> None:
    async def main() -> None:
        async with desk() as here:
            phone, _call, session = await here.ring()
            say(session.tell, 3, tone(0.73))
            await phone.until(lambda: "PlaybackStopped" in types(phone))
            await asyncio.sleep(0.1)
            assert types(phone) == ["Ready", "PlaybackStarted", "PlaybackStopped"]
            assert [cursor.played_ms for cursor in session.of(Cursor)] == [*range(100, 701, 100), 730.0]
            assert {cursor.turn for cursor in session.of(Cursor)} == {3}
            assert (loudness(phone.heard) > 0.05).sum() * 0.01 == pytest.approx(0.73, abs=0.03)

    run(main())


def test_a_held_reply_falls_silent_with_the_next_frame_and_goes_on_where_it_was() -> None:
    async def main() -> None:
        async with desk() as here:
            phone, _call, session = await here.ring()
            say(session.tell, 1, tone(1.0))
            await phone.until(lambda: session.of(Cursor))
            session.tell(Ducked(1))
            held_by = len(session.of(Cursor))
            await phone.until(lambda: len(session.of(Cursor)) > held_by)
            held = session.of(Cursor)[-1].played_ms
            await asyncio.sleep(0.3)
            assert session.of(Cursor)[-1].played_ms == held
            loud = loudness(phone.heard) > 0.02
            assert loud.sum() * 10 <= held + 20  # and the fade
            session.tell(Resumed(1))
            await phone.until(lambda: "PlaybackStopped" in types(phone))
            await asyncio.sleep(0.1)
            assert (loudness(phone.heard) > 0.02).sum() * 0.01 == pytest.approx(1.0, abs=0.05)
            assert session.of(Cursor)[-1].played_ms == 1_000.0

    run(main())


def test_an_interrupted_reply_is_not_heard_on_and_never_stops_by_itself() -> None:
    async def main() -> None:
        async with desk() as here:
            phone, _call, session = await here.ring()
            say(session.tell, 1, tone(2.0))
            await phone.until(lambda: session.of(Cursor))
            session.tell(Interrupted(1, "", 100.0))
            cursors = len(session.of(Cursor))
            say(session.tell, 2, tone(0.1))
            await phone.until(lambda: "PlaybackStopped" in types(phone))
            told = [(json.loads(message)["type"], json.loads(message).get("turn")) for message in phone.messages[1:]]
            assert told == [
                ("PlaybackStarted", 1),
                ("Interrupted", 1),
                ("PlaybackStarted", 2),
                ("PlaybackStopped", 2),
            ]
            assert {cursor.turn for cursor in session.of(Cursor)[cursors:]} == {2}

    run(main())


def test_frames_leave_on_time_though_the_sessions_loop_stands_still() -> None:
    """The loop is blocked five times for 300 ms, by sleeping and by computing, while a reply plays."""

    def compute(seconds: float) -> None:
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            sum(range(1_000))

    async def main() -> None:
        async with desk() as here:
            phone, _call, session = await here.ring()
            say(session.tell, 1, tone(4.0))
            await phone.until(lambda: session.of(Cursor))
            windows = []
            for block in (time.sleep, compute, time.sleep, compute, time.sleep):
                began_at = time.monotonic()
                block(0.3)
                windows.append((began_at, time.monotonic()))
                await asyncio.sleep(0.02)
            times = [packet.at for packet in phone.arrived]
            came = [sum(begin <= at < end for at in times) for begin, end in windows]
            assert sorted(came)[2] >= 12  # of 15; a busy machine may spoil a window or two
            assert set(np.diff([packet.sequence for packet in phone.arrived])) == {1}
            assert (loudness(phone.heard) > 0.05).sum() * 0.01 >= session.of(Cursor)[0].played_ms / 1000 + 0.7

    run(main())


def test_news_that_crossed_the_interruption_is_old() -> None:
    async def main() -> None:
        async with desk() as here:
            phone, call, session = await here.ring()
            session.tell(Interrupted(1, "", 100.0))
            call.happened(PlaybackStarted(1))
            call.happened(Cursor(1, 20.0))
            call.happened(PlaybackStopped(2))
            await phone.until(lambda: len(phone.messages) == 3)
            say(session.tell, 1, tone(0.1))  # the turn was reopened, and has another reply
            await phone.until(lambda: len(phone.messages) == 5)
            assert types(phone)[1:] == ["Interrupted", "PlaybackStopped", "PlaybackStarted", "PlaybackStopped"]
            assert session.of(Cursor) == [Cursor(1, 100.0)]

    run(main())


def test_after_a_standstill_of_the_media_thread_the_clock_goes_on_from_now() -> None:
    async def main() -> None:
        async with desk() as here:
            phone, _call, _session = await here.ring()
            await asyncio.sleep(0.2)
            here.calls._thread.call(time.sleep, 0.5)
            await asyncio.sleep(1.0)
            first, last = phone.arrived[0], phone.arrived[-1]
            assert (last.timestamp - first.timestamp) / 48_000 == pytest.approx(last.at - first.at, abs=0.15)
            assert len(phone.arrived) * 0.02 == pytest.approx(last.at - first.at - 0.5, abs=0.25)
            assert set(np.diff([packet.sequence for packet in phone.arrived])) == {1}

    run(main())


def test_sound_alone_is_a_call_too() -> None:
    async def main() -> None:
        async with desk(limits=Limits(outbox_bytes=10_000)) as here:
            phone = here.phone(label=None)
            call, session = await here.answer(await phone.offer())
            await phone.accept(call.answer)
            for number in range(20):
                session.tell(Heard(number, "x" * 1_000, False, "en"))
            say(session.tell, 1, tone(0.3))
            await phone.until(lambda: session.of(Cursor) and session.of(Cursor)[-1].played_ms == 300.0)
            assert not call.over.is_set()

    run(main())


def test_a_microphone_that_falls_silent_is_silence_to_the_session() -> None:
    async def main() -> None:
        async with desk() as here:
            phone, _call, session = await here.ring()
            phone.say(tone(0.5))
            await phone.until(lambda: (loudness(session.heard) > 0.05).sum() > 45)
            phone.mute()
            await asyncio.sleep(0.3)
            before = len(session.heard)
            await asyncio.sleep(0.5)
            assert (len(session.heard) - before) / INPUT_RATE == pytest.approx(0.5, abs=0.15)
            assert np.abs(session.heard[before:]).max() < 0.01

    run(main())


def test_a_client_with_aiortcs_own_opus_is_heard_and_hears() -> None:
    """Stereo at 48 kHz, without error correction; its own jitter buffer and decoder for what it hears."""

    class Voice(AudioStreamTrack):
        async def recv(self) -> AudioFrame:
            frame = await super().recv()
            assert isinstance(frame, AudioFrame)
            t = ((frame.pts or 0) + np.arange(frame.samples)) / frame.sample_rate
            frame.planes[0].update((8_000 * np.sin(2 * np.pi * 300 * t)).astype("<i2").tobytes())
            return frame

    async def main() -> None:
        async with desk() as here:
            connection = RTCPeerConnection(NO_SERVERS)
            connection.addTrack(Voice())
            connection.createDataChannel("duologue")
            heard: list[Audio] = []

            async def listen() -> None:
                track = connection.getTransceivers()[0].receiver.track
                while True:
                    frame = await track.recv()
                    assert isinstance(frame, AudioFrame)
                    heard.append((frame.to_ndarray()[0, ::2] / 32_768).astype(np.float32))

            await connection.setLocalDescription(await connection.createOffer())
            call, session = await here.answer(connection.localDescription.sdp)
            await connection.setRemoteDescription(RTCSessionDescription(call.answer, "answer"))
            listening = asyncio.create_task(listen())
            say(session.tell, 1, tone(0.5))
            await asyncio.sleep(2.0)
            listening.cancel()
            await asyncio.gather(listening, return_exceptions=True)
            await connection.close()
            assert (loudness(session.heard) > 0.1).sum() > 100
            loud = loudness(np.concatenate(heard), 480) > 0.05
            assert loud.sum() * 0.01 == pytest.approx(0.5, abs=0.05)
            await call.over.wait()
            assert call.reason == "client_gone"

    run(main())
