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
from desk import Plain, ids, loudness, run, types
from dialogue import TIMINGS, lineup, says
from phone import BadNetwork, Phone, tone, without_candidates

from duologue.app import App
from duologue.audio import Audio, read_audio, resample
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
    ReplyAudio,
    ReplyDone,
)
from duologue.transports import Tell
from duologue.transports.opus import ENCODER_RATE
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
def test_a_conversation_survives_5_percent_loss_and_60_ms_jitter() -> None:
    async def main() -> None:
        network = BadNetwork(loss=0.05, jitter_s=0.06, seed=11)
        async with conversation(scripted_app(), network) as (phone, _call, told):
            phone.say(tone(1.0))
            await phone.until(lambda: "PlaybackStopped" in types(phone), 40)
            assert of(told, Heard)[-1].text == "tell me a story"
            came = {packet.sequence for packet in phone.arrived}
            missing = set(range(min(came), max(came) - 5)) - came  # the last may still be on their way
            assert missing <= network.lost_to_phone  # every frame left
            assert len(came) == len(phone.arrived)  # and once
            assert len(network.lost_to_phone) > 5
            assert len(network.lost_to_server) > 5
            assert longest_gap_ms(phone.heard) <= 60

    run(main())


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


BAD = {"loss": 0.05, "jitter_s": 0.06, "seed": 5}


@pytest.mark.models
@pytest.mark.speech
@pytest.mark.realtime
@pytest.mark.parametrize("trouble", [None, BAD], ids=["good network", "bad network"])
def test_a_spoken_question_is_answered_aloud(
    packaged: Lineup, recordings: Path, trouble: dict[str, Any] | None
) -> None:
    samples, rate = read_audio(recordings / "questions" / "aiewf_turns__turn_001.wav")
    words = "Are there any workshops about Gemini?"
    network = BadNetwork(**trouble) if trouble else None

    async def main() -> None:
        async with conversation(App(Config(), packaged), network) as (phone, _, told):
            phone.say(resample(samples, rate, ENCODER_RATE))
            await phone.until(lambda: "PlaybackStopped" in types(phone), 50)
            messages = [json.loads(message) for message in phone.messages]
            assert [said["text"] for said in messages if said["type"] == "Heard" and said["final"]] == [words]
            spoken_s = of(told, ReplyDone)[0].audio_ms / 1000
            audible_s = (loudness(phone.heard) > 0.01).sum() * 0.01
            assert 0.3 * spoken_s < audible_s < spoken_s  # a voice has pauses
            assert not of(told, Failure)

    run(main())
