"""Whole conversations by WebRTC, on a good network and on a bad one."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from desk import Plain, Scripted, desk, ids, loudness, run, say, types
from dialogue import TIMINGS, lineup, says
from phone import BadNetwork, Phone, tone, without_candidates

from duologue import clock
from duologue.app import App
from duologue.audio import INPUT_RATE, Audio, from_pcm16, read_audio, resample
from duologue.config import Config, Limits, Rtc
from duologue.engines.lineup import Lineup, load
from duologue.engines.scripted import ScriptedWriter
from duologue.errors import DuologueError
from duologue.models import open_store
from duologue.protocols import (
    Fact,
    Failure,
    Heard,
    Interrupted,
    Microphone,
    ReplyAudio,
    ReplyDone,
)
from duologue.transports import Tell
from duologue.transports.opus import ENCODER_RATE, Decoder
from duologue.transports.webrtc import Call, Calls

STORY = "The dragon lived by the sea and it was very old, older than the ships. " * 2


@asynccontextmanager
async def conversation(app: App, network: BadNetwork | None = None) -> AsyncIterator[tuple[Phone, Call, list[Fact]]]:
    told: list[Fact] = []
    calls, phone = Calls(Rtc(), Limits(), ids()), Phone()

    def open_session(tell: Tell) -> Any:
        def both(fact: Fact) -> None:
            told.append(fact)
            tell(fact)

        return app.open_session(both)

    offer = await phone.offer()
    call = await calls.answer(without_candidates(offer) if network else offer, open_session, Plain(), "duologue")
    await phone.accept(await network.between(call.answer) if network else call.answer)
    await phone.until(lambda: phone.open, 20)
    try:
        yield phone, call, told
    finally:
        await phone.hang_up()
        await calls.close()
        if network is not None:
            await network.close()


def scripted_app() -> App:
    engines = lineup(recognizer=says("tell me a story", "and then"), writer=ScriptedWriter((STORY, STORY)))
    return App(replace(Config(), speech=TIMINGS.speech, patience=TIMINGS.patience, cutting=TIMINGS.cutting), engines)


def of(told: list[Fact], kind: type) -> list[Any]:
    return [fact for fact in told if isinstance(fact, kind)]


@pytest.mark.realtime
def test_a_whole_conversation() -> None:
    async def main() -> None:
        async with conversation(scripted_app()) as (phone, _call, told):
            phone.say(tone(1.0))
            await phone.until(lambda: of(told, ReplyDone), 20)
            sent_s = sum(len(fact.pcm) for fact in of(told, ReplyAudio)) / 2 / ENCODER_RATE
            await phone.until(lambda: of(told, ReplyDone) and "PlaybackStopped" in types(phone))
            assert of(told, Heard)[-1].text == "tell me a story"
            assert of(told, ReplyDone)[0].audio_ms == pytest.approx(sent_s * 1000, abs=1)
            started, stopped = types(phone).index("PlaybackStarted"), types(phone).index("PlaybackStopped")
            assert types(phone).index("ReplyBegan") < started < stopped
            assert not of(told, Failure)

    run(main())


@pytest.mark.realtime
def test_talking_over_the_reply_stops_it() -> None:
    async def main() -> None:
        async with conversation(scripted_app()) as (phone, _call, told):
            phone.say(tone(1.0))
            await phone.until(lambda: "PlaybackStarted" in types(phone), 20)
            await asyncio.sleep(0.5)
            phone.say(tone(2.0))
            await phone.until(lambda: of(told, Interrupted), 20)
            interrupted = of(told, Interrupted)[0]
            heard_s = (loudness(phone.heard) > 0.005).sum() * 0.01
            assert interrupted.heard_ms / 1000 == pytest.approx(heard_s, abs=0.3)
            assert 0 < interrupted.heard_ms < 5_000

    run(main())


@pytest.mark.realtime
def test_conversations_survive_5_percent_loss_and_60_ms_jitter() -> None:
    """At once, each on a network with troubles of its own."""
    networks = [BadNetwork(loss=0.05, jitter_s=0.06, seed=seed) for seed in (11, 12, 13)]
    gaps: list[int] = []

    async def main() -> None:
        gaps.extend(await asyncio.gather(*map(survived, networks)))

    run(main())
    if (still_s := max(network.stood_still_s for network in networks)) > MACHINES_OWN_S:
        pytest.skip(f"gaps of {gaps} ms, but the machine itself sent no sound for {still_s * 1000:.0f} ms")
    assert max(gaps) <= 60


MACHINES_OWN_S = 0.1
"""A machine that is late by more than this makes gaps that are no network's."""


async def survived(network: BadNetwork) -> int:
    """The longest gap in what was heard, in ms."""
    async with conversation(scripted_app(), network) as (phone, _call, told):
        phone.say(tone(1.0))
        await phone.until(lambda: "PlaybackStopped" in types(phone), 40)
        assert of(told, Heard)[-1].text == "tell me a story"
        assert of(told, ReplyDone)[0].text == STORY.strip()
        came = {packet.sequence for packet in phone.arrived}
        missing = set(range(min(came), max(came) - 5)) - came  # the last may still be on their way
        assert missing <= network.lost_to_phone  # every frame left
        assert len(came) == len(phone.arrived)  # and once
        assert len(network.lost_to_phone) > 5
        assert len(network.lost_to_server) > 5
        return longest_gap_ms(phone.heard)


def longest_gap_ms(heard: Audio) -> int:
    """Within what sounds all the time but for its own pauses: the scripted voice hums without one."""
    loud = loudness(heard) > 0.004
    first, last = np.flatnonzero(loud)[[0, -1]]
    gaps = np.diff(np.flatnonzero(loud[first : last + 1])) - 1
    return int(gaps.max(initial=0)) * 10


# ── With the real engines ─────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture(scope="module")
def packaged() -> Iterator[Lineup]:
    try:
        made = load(Config().engines, open_store().folder)
    except DuologueError as error:
        pytest.skip(f"the packaged engines cannot be loaded: {error.message}")
    yield made
    made.close()


@pytest.mark.models
@pytest.mark.speech
@pytest.mark.realtime
def test_a_spoken_question_is_answered_aloud_on_a_bad_network_as_on_a_good_one(
    packaged: Lineup, recordings: Path
) -> None:
    samples, rate = read_audio(recordings / "questions" / "aiewf_turns__turn_001.wav")
    question = resample(samples, rate, ENCODER_RATE)

    async def asked(network: BadNetwork | None) -> tuple[list[str], list[str]]:
        """The words that the client is told of both sides."""
        async with conversation(App(Config(), packaged), network) as (phone, _, told):
            phone.say(question)
            await phone.until(lambda: "PlaybackStopped" in types(phone), 50)
            messages = [json.loads(message) for message in phone.messages]
            spoken_s = of(told, ReplyDone)[0].audio_ms / 1000
            audible_s = (loudness(phone.heard) > 0.01).sum() * 0.01
            assert 0.3 * spoken_s < audible_s < spoken_s  # a voice has pauses
            assert not of(told, Failure)
        if network is not None and network.stood_still_s <= MACHINES_OWN_S:
            assert longest_hole_ms(sent(told), phone.heard) <= 60
        heard = [said["text"] for said in messages if said["type"] == "Heard" and said["final"]]
        return heard, [said["text"] for said in messages if said["type"] == "ReplyDone"]

    async def main() -> None:
        well = await asked(None)
        assert well[0] == ["Are there any workshops about Gemini?"]
        for seed in (5, 6):
            network = BadNetwork(loss=0.05, jitter_s=0.06, seed=seed)
            assert await asked(network) == well
            assert len(network.lost_to_server) > 3
            assert len(network.lost_to_phone) > 3

    run(main())


def sent(told: list[Fact]) -> Audio:
    """The reply as it was made, at 16 kHz."""
    pcm = b"".join(fact.pcm for fact in of(told, ReplyAudio))
    return resample(from_pcm16(pcm), of(told, ReplyAudio)[0].rate, INPUT_RATE)


def longest_hole_ms(made: Audio, heard: Audio) -> int:
    """Of silence where there should be a voice."""
    voice, came = loudness(made), np.append(loudness(heard), np.zeros(len(made) // 160, np.float32))
    lags = len(came) - len(voice)
    at = int(np.argmax([voice @ came[lag : lag + len(voice)] for lag in range(lags)]))
    holes = (voice > 0.02) & (came[at : at + len(voice)] < 0.1 * voice)
    edges = np.flatnonzero(np.diff(np.concatenate([[0], holes, [0]])))
    return int((edges[1::2] - edges[::2]).max(initial=0)) * 10


# ── How long sound is on its way ──────────────────────────────────────────────────────────────────────────────────────

ON_ITS_WAY_S = 0.04
"""At most, between a packet's arrival and the session, and from the session to the phone, where 20 ms are a frame's own."""


@pytest.mark.realtime
def test_sound_is_held_back_neither_way() -> None:
    """A stock jitter buffer would add 80 ms to what the user says; the reply's first sound leaves with the next frame."""

    async def main() -> None:
        async with desk() as here:
            phone, _call, session = await here.ring()
            inward, outward = [], []
            for turn in range(1, 11):
                inward.append(await spoken_s(phone, session))
                outward.append(await answered_s(phone, session, turn))
            assert float(np.median(inward)) <= ON_ITS_WAY_S, inward
            assert float(np.median(outward)) <= ON_ITS_WAY_S, outward

    run(main())


async def spoken_s(phone: Phone, session: Scripted) -> float:
    """From a packet's leaving the phone to its sound in the session."""
    before, at = len(session.commands), len(phone.left_at)
    phone.say(tone(0.02))
    await asyncio.sleep(0.3)
    for command, came_at in zip(session.commands[before:], session.asked_at[before:], strict=True):
        if isinstance(command, Microphone) and np.abs(command.samples).max() > 0.02:
            return came_at - phone.left_at[at]
    raise AssertionError("no sound came")


async def answered_s(phone: Phone, session: Scripted, turn: int) -> float:
    """From the session's first sound to the packet with it."""
    began_at, before = clock.now(), len(phone.arrived)
    say(session.tell, turn, tone(0.1))
    await asyncio.sleep(0.3)
    decoder = Decoder()
    for packet in phone.arrived[before:]:
        if np.abs(decoder.decode(packet.payload)).max() > 0.02:
            return packet.at - began_at
    raise AssertionError("no sound came")
