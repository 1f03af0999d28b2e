"""What every voice activity detector must do. All installed ones go through this, a stranger's too: it is enough to register
an entry point in the group `duologue.vad`."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import cast

import numpy as np
import pytest

from duologue import config
from duologue.audio import FRAME_SAMPLES, Audio, Frame
from duologue.engines import Loading, VadModel, registry
from duologue.errors import ConfigError
from duologue.models import open_store
from duologue.places.thread import Lane

SILENCE: Audio = np.zeros(FRAME_SAMPLES, np.float32)
NOISE: Audio = np.random.default_rng(0).normal(0.0, 0.05, FRAME_SAMPLES).astype(np.float32)
AWKWARD = {
    "silence": SILENCE,
    "noise": NOISE,
    "clipped": np.sign(NOISE),
    "far too loud": NOISE * 1e6,
    "denormal": SILENCE + np.float32(1e-40),
    "not a number": np.full(FRAME_SAMPLES, np.nan, np.float32),
    "infinite": np.full(FRAME_SAMPLES, np.inf, np.float32),
    "read-only": np.frombuffer(NOISE.tobytes(), np.float32),
    "a view": np.repeat(NOISE, 2)[::2],
}


def engines() -> Iterator[object]:
    for name in registry.names("vad"):
        yield pytest.param(name, marks=[] if name == "scripted" else [pytest.mark.models])


def model(name: str) -> Path:
    return open_store(config.load().models).folder(name)


@pytest.fixture(scope="module", params=engines())
def vad(request: pytest.FixtureRequest) -> Iterator[VadModel]:
    lane = Lane(request.param)
    try:
        yield cast(VadModel, registry.load("vad", request.param, Loading(model, lane)))
    except ConfigError as error:
        pytest.skip(error.message)
    finally:
        lane.close()


def stream(*blocks: Audio) -> list[Frame]:
    return [Frame(block, i * FRAME_SAMPLES) for i, block in enumerate(blocks)]


def scores(vad: VadModel, frames: list[Frame]) -> list[float]:
    detector = vad.open()
    return [detector(frame) for frame in frames]


def test_it_says_what_it_is(vad: VadModel) -> None:
    assert vad.about.name in registry.names("vad")
    assert vad.about.licence


@pytest.mark.parametrize("samples", AWKWARD.values(), ids=AWKWARD.keys())
def test_any_sound_gives_a_probability(vad: VadModel, samples: Audio) -> None:
    assert all(0.0 <= p <= 1.0 for p in scores(vad, stream(*[samples] * 5)))


def test_silence_is_not_speech(vad: VadModel) -> None:
    assert max(scores(vad, stream(*[SILENCE] * 50))) < 0.35


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_broken_frame_is_forgotten(vad: VadModel, bad: float) -> None:
    after = scores(vad, stream(np.full(FRAME_SAMPLES, bad, np.float32), *[SILENCE] * 20))[-1]
    assert after == pytest.approx(scores(vad, stream(*[SILENCE] * 21))[-1], abs=0.05)


def test_sessions_share_nothing(vad: VadModel) -> None:
    rng = np.random.default_rng(1)
    mine = stream(*rng.normal(0.0, 0.1, (30, FRAME_SAMPLES)).astype(np.float32))
    other = vad.open()
    detector = vad.open()
    mixed = [(detector(frame), other(Frame(SILENCE, frame.at)))[0] for frame in mine]
    assert mixed == scores(vad, mine)


def test_the_frame_is_left_as_it_was(vad: VadModel) -> None:
    frame = Frame(NOISE.copy(), 0)
    vad.open()(frame)
    assert np.array_equal(frame.samples, NOISE)


def test_a_frame_costs_at_most_a_millisecond(vad: VadModel) -> None:
    detector, costs = vad.open(), []
    for frame in stream(*[NOISE] * 100):
        start = time.thread_time()
        detector(frame)
        costs.append(time.thread_time() - start)
    assert np.median(costs) <= 0.001
