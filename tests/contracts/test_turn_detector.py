"""What every turn detector must do. All installed ones go through this, a stranger's too: it is enough to register an entry
point in the group `duologue.turn_detector`."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import cast

import numpy as np
import pytest

from duologue import config
from duologue.audio import INPUT_RATE, Audio
from duologue.engines import Loading, TurnDetector, registry
from duologue.errors import ConfigError
from duologue.models import open_store
from duologue.places.thread import Lane


def noise(seconds: float, seed: int = 0) -> Audio:
    return np.random.default_rng(seed).normal(0.0, 0.1, round(seconds * INPUT_RATE)).astype(np.float32)


SOUNDS = {
    "nothing": noise(0.0),
    "one sample": noise(0.0001),
    "silence": np.zeros(2 * INPUT_RATE, np.float32),
    "2 s": noise(2.0),
    "8 s": noise(8.0),
    "60 s": noise(60.0),
    "far too loud": noise(1.0) * 1e30,
    "constant": np.ones(INPUT_RATE, np.float32),
    "not a number": np.full(INPUT_RATE, np.nan, np.float32),
    "infinite": np.full(INPUT_RATE, np.inf, np.float32),
    "read-only": np.frombuffer(noise(1.0).tobytes(), np.float32),
}


def engines() -> Iterator[object]:
    for name in registry.names("turn_detector"):
        yield pytest.param(name, marks=[] if name == "scripted" else [pytest.mark.models])


def model(name: str) -> Path:
    return open_store(config.load().models).folder(name)


@pytest.fixture(scope="module", params=engines())
def detector(request: pytest.FixtureRequest) -> Iterator[TurnDetector]:
    lane = Lane(request.param)
    try:
        yield cast(TurnDetector, registry.load("turn_detector", request.param, Loading(model, lane)))
    except ConfigError as error:
        pytest.skip(error.message)
    finally:
        lane.close()


def test_it_says_what_it_is(detector: TurnDetector) -> None:
    assert detector.about.name in registry.names("turn_detector")
    assert detector.about.licence


@pytest.mark.parametrize("audio", SOUNDS.values(), ids=SOUNDS.keys())
@pytest.mark.parametrize("text", ["", "And then I"])
def test_any_turn_gives_a_probability(detector: TurnDetector, audio: Audio, text: str) -> None:
    assert 0.0 <= asyncio.run(detector.complete(audio, text)) <= 1.0


def test_turns_asked_about_at_once_are_not_mixed_up(detector: TurnDetector) -> None:
    turns = [noise(1.0 + seed / 2, seed) for seed in range(4)]

    async def together() -> list[float]:
        return await asyncio.gather(*(detector.complete(turn, "") for turn in turns))

    async def alone() -> list[float]:
        return [await detector.complete(turn, "") for turn in turns]

    assert asyncio.run(together()) == asyncio.run(alone())


def test_the_loop_runs_on_meanwhile(detector: TurnDetector) -> None:
    async def main() -> int:
        rounds, scoring = 0, asyncio.create_task(detector.complete(noise(8.0), ""))
        while not scoring.done():
            await asyncio.sleep(0)
            rounds += 1
        return rounds

    assert asyncio.run(main()) >= 3


def test_a_question_that_is_withdrawn_leaves_it_able_to_answer(detector: TurnDetector) -> None:
    async def main() -> float:
        scoring = asyncio.create_task(detector.complete(noise(8.0), ""))
        await asyncio.sleep(0.002)
        scoring.cancel()
        with pytest.raises(asyncio.CancelledError):
            await scoring
        return await asyncio.wait_for(detector.complete(noise(1.0), ""), 10.0)

    assert 0.0 <= asyncio.run(main()) <= 1.0


def test_the_sound_is_left_as_it_was(detector: TurnDetector) -> None:
    audio = noise(2.0)
    asyncio.run(detector.complete(audio, ""))
    assert np.array_equal(audio, noise(2.0))
