"""smart-turn: its features are Whisper's, number for number, and real turns sound more complete than cut ones."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from duologue import config
from duologue.audio import INPUT_RATE, Audio, read_audio, resample
from duologue.engines import Loading, smart_turn
from duologue.errors import ConfigError
from duologue.models import open_store
from duologue.places.thread import Lane

BANDS = [0, 5, 20, 40, 60, 79]
TIMES = [0, 499, 502, 560, 640, 720, 799]
WHISPER = [  # transformers' WhisperFeatureExtractor(chunk_length=8) with do_normalize=True, at BANDS and TIMES of `sweep()`
    [0.4026, 0.3670, 0.4187, 0.3957, 0.4040, 0.4073, 0.6172],
    [-0.2710, 0.5131, 0.0890, 0.0423, 0.0368, 0.0394, 0.6017],
    [-0.2710, 0.4167, 0.7965, 0.0810, 0.0820, 0.0815, 0.4105],
    [-0.2710, -0.0236, 1.2366, -0.2710, -0.2710, -0.2490, 1.1223],
    [-0.2710, -0.2710, -0.2710, 1.1777, -0.2710, 1.2525, -0.1015],
    [-0.2710, -0.2710, -0.2710, -0.2710, 1.5555, -0.2710, -0.2710],
]
WHISPER_MEAN, WHISPER_DEVIATION = -0.06194847, 0.48108655


def sweep() -> Audio:
    """3 s of a tone that runs through all bands, and a steady one under it."""
    n = np.arange(3 * INPUT_RATE)
    moving = 0.1 * np.sin(0.00091 * n * n) * (0.2 + np.abs(np.sin(n / 3000)))
    tones: Audio = (moving + 0.05 * np.sin(n * 0.2)).astype(np.float32)
    return tones


def trimmed(sound: Audio) -> Audio:
    """Without the silence around it, as a turn detector gets a turn."""
    voiced = np.flatnonzero(np.abs(sound) > 0.05 * np.abs(sound).max())
    return sound[voiced[0] : voiced[-1] + INPUT_RATE // 10]


@pytest.fixture(scope="module")
def detector() -> Iterator[smart_turn.SmartTurn]:
    lane = Lane("smart_turn")
    try:
        loaded = smart_turn.load(Loading(lambda name: open_store(config.load().models).folder(name), lane))
        assert isinstance(loaded, smart_turn.SmartTurn)
        yield loaded
    except ConfigError as error:
        pytest.skip(error.message)
    finally:
        lane.close()


def test_the_features_are_whispers() -> None:
    features = smart_turn.log_mel(smart_turn.last_seconds(sweep()))
    assert features.shape == (80, 800)
    assert features.dtype == np.float32
    np.testing.assert_allclose(features[np.ix_(BANDS, TIMES)], WHISPER, atol=1e-4)
    assert float(features.mean()) == pytest.approx(WHISPER_MEAN, abs=1e-6)
    assert float(features.std()) == pytest.approx(WHISPER_DEVIATION, abs=1e-6)


def test_loudness_is_no_feature() -> None:
    window = smart_turn.last_seconds(sweep())
    np.testing.assert_allclose(smart_turn.log_mel(window), smart_turn.log_mel(window * np.float32(0.25)), atol=1e-3)


def test_silence_fills_the_window_in_front() -> None:
    window = smart_turn.last_seconds(np.ones(1000, np.float32))
    assert len(window) == smart_turn.WINDOW_SAMPLES
    assert not window[:-1000].any()
    assert window[-1000:].all()


def test_of_a_long_turn_the_end_is_heard() -> None:
    ramp = np.linspace(0.0, 1.0, 10 * INPUT_RATE, dtype=np.float32)
    assert np.array_equal(smart_turn.last_seconds(ramp), ramp[-smart_turn.WINDOW_SAMPLES :])


@pytest.mark.models
@pytest.mark.speech
def test_whole_turns_sound_more_complete_than_cut_ones(detector: smart_turn.SmartTurn, recordings: Path) -> None:
    turns = sorted((recordings / "questions").glob("*_turn*.wav"))
    sounds = [trimmed(resample(*read_audio(turn), INPUT_RATE)) for turn in turns if "short" not in turn.name]
    whole = [detector.score(sound) for sound in sounds]
    cut = [detector.score(sound[: round(len(sound) * 0.7)]) for sound in sounds]
    assert np.mean([w > c for w in whole for c in cut]) > 0.75  # the area under the ROC curve
