"""Silero: speech is told from noise, which it is not without the 64 samples before each frame."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from duologue import config
from duologue.audio import FRAME_SAMPLES, INPUT_RATE, Audio, Frame, read_audio, resample
from duologue.engines import Loading, VadModel, silero
from duologue.errors import ConfigError, EngineError
from duologue.models import open_store
from duologue.places.thread import Lane

SPEECH = ["latency_stimuli__stimulus_hours.wav", "latency_stimuli__response.wav", "latency_stimuli__turn_weekdays.wav"]
NOISE = [
    "rir__events_slow-clap.mp3",
    "rir__noise_dtmf-5.wav",
    "rir__noise_musan_noise-free-sound-0217.flac",
    "rir__noise_office-ambience-24000-mono.mp3",
    "rir__noise_speechbrain_noise2.wav",
]


def loading(lane: Lane, **settings: object) -> Loading:
    return Loading(lambda name: open_store(config.load().models).folder(name), lane, settings)


@pytest.fixture(scope="module")
def lane() -> Iterator[Lane]:
    lane = Lane("silero")
    yield lane
    lane.close()


@pytest.fixture(scope="module")
def model(lane: Lane) -> VadModel:
    try:
        return silero.load(loading(lane))
    except ConfigError as error:
        pytest.skip(error.message)


def clip(path: Path) -> Audio:
    return resample(*read_audio(path), INPUT_RATE)


def scores(model: VadModel, sound: Audio) -> Audio:
    detector = model.open()
    whole = sound[: len(sound) // FRAME_SAMPLES * FRAME_SAMPLES].reshape(-1, FRAME_SAMPLES)
    return np.array([detector(Frame(block, i * FRAME_SAMPLES)) for i, block in enumerate(whole)], np.float32)


@pytest.mark.models
@pytest.mark.speech
@pytest.mark.parametrize("name", SPEECH)
def test_speech_is_heard_almost_without_a_break(model: VadModel, recordings: Path, name: str) -> None:
    assert np.mean(scores(model, clip(recordings / "questions" / name)) > 0.5) > 0.9


@pytest.mark.models
@pytest.mark.speech
@pytest.mark.parametrize("name", NOISE)
def test_noise_is_not_speech(model: VadModel, recordings: Path, name: str) -> None:
    assert np.mean(scores(model, clip(recordings / "noise" / name)[: 20 * INPUT_RATE]) > 0.5) < 0.05


@pytest.mark.models
@pytest.mark.speech
def test_minutes_of_noise_do_not_deafen_it(model: VadModel, recordings: Path) -> None:
    noise = np.resize(clip(recordings / "noise" / "rir__noise_office-ambience-24000-mono.mp3"), 120 * INPUT_RATE)
    speech = clip(recordings / "questions" / SPEECH[0])
    heard = scores(model, np.concatenate([noise, speech]))
    before = len(noise) // FRAME_SAMPLES
    assert np.mean(heard[:before] > 0.5) < 0.01
    assert np.mean(heard[before:] > 0.5) > 0.8


@pytest.mark.models
@pytest.mark.parametrize("samples", [0, 160, 511, 513, 1024])
def test_only_whole_frames_are_taken(model: VadModel, samples: int) -> None:
    with pytest.raises(EngineError, match="512 samples"):
        model.open()(Frame(np.zeros(samples, np.float32), 0))


@pytest.mark.models
@pytest.mark.parametrize(
    ("settings", "code"),
    [({"thread": 2}, "unknown_setting"), ({"threads": 0}, "bad_setting"), ({"threads": "two"}, "bad_setting")],
)
def test_a_wrong_setting_is_refused(lane: Lane, model: VadModel, settings: dict[str, object], code: str) -> None:
    with pytest.raises(ConfigError) as refusal:
        silero.load(loading(lane, **settings))
    assert refusal.value.code == code
