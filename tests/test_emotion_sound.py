"""The feeling in the sound: what is measured, and what is made of it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from duologue.audio import INPUT_RATE, Audio
from duologue.emotion import LABELS
from duologue.emotion.labels import PRIOR, Scores
from duologue.emotion.sound import MOVES, USUAL, Manner, SpeakerManner, evidence
from duologue.emotion.voice import Voice, measure

CALM = Voice(87.0, 9.0, -24.0, -12.0, 4.4, 0.13, -2.0, 2.0)


def vowel(hertz: float | Scores, seconds: float = 1.0, loud: float = 0.1, tilt: float = 1.0) -> Audio:
    """A buzz of up to twenty harmonics, each weaker than the one before by `tilt`'s power; `hertz` may move."""
    pitch = np.broadcast_to(np.asarray(hertz, np.float64), round(seconds * INPUT_RATE))
    phase = 2 * np.pi * np.cumsum(pitch) / INPUT_RATE
    harmonics = [np.sin(k * phase) / k**tilt for k in range(1, 21) if k * pitch.max() < INPUT_RATE / 2]
    samples: Audio = (loud * np.sum(harmonics, axis=0)).astype(np.float32)
    return samples


def syllables(count: int, each: float = 0.15, gap: float = 0.05, hertz: float = 150.0) -> Audio:
    quiet = np.zeros(round(gap * INPUT_RATE), np.float32)
    return np.concatenate([piece for _ in range(count) for piece in (vowel(hertz, each), quiet)])


def measured(audio: Audio) -> Voice:
    voice = measure(audio)
    assert voice is not None
    return voice


def semitones(hertz: float) -> float:
    return float(12 * np.log2(hertz))


def moved(label: str, times: float = 1.0, of: int = 0) -> Voice:
    """A calm voice, moved as far as a clear feeling of that label moves it."""
    moves = [moves for name, moves in MOVES if name == label][of]
    return Voice(*map(float, [*(USUAL + times * np.array(moves)), 2.0]))


def acquainted(turns: int = 5) -> SpeakerManner:
    speaker = SpeakerManner()
    for _ in range(turns):
        speaker.learn(CALM, 1.0)
    return speaker


def label(manner: Manner) -> str:
    return LABELS[int(manner.scores.argmax())]


# ── What is measured ──────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("hertz", [70, 80, 120, 220, 400, 480])
def test_pitch_is_found_within_a_tenth_of_a_semitone(hertz: float) -> None:
    voice = measured(vowel(hertz))
    assert voice.pitch == pytest.approx(semitones(hertz), abs=0.1)
    assert voice.pitch_range < 0.2


def test_pitch_is_found_in_noise() -> None:
    noise = np.random.default_rng(0).standard_normal(INPUT_RATE).astype(np.float32)
    assert measured(vowel(140) + 0.02 * noise).pitch == pytest.approx(semitones(140), abs=0.3)


def test_a_voice_whose_fourth_harmonic_is_strong_is_not_taken_for_a_high_one() -> None:
    formant = vowel(120) + 0.1 * vowel(480, tilt=9)
    assert measured(formant).pitch == pytest.approx(semitones(120), abs=0.3)


def test_range_and_ending_follow_a_glide() -> None:
    rising, falling = vowel(np.geomspace(120, 180, INPUT_RATE)), vowel(np.geomspace(180, 120, INPUT_RATE))
    assert measured(rising).pitch_range == pytest.approx(0.8 * 12 * np.log2(1.5), abs=0.5)
    assert measured(rising).ending == pytest.approx(3 / 8 * 12 * np.log2(1.5), abs=0.4)
    assert measured(falling).ending == pytest.approx(-measured(rising).ending, abs=0.4)


def test_loudness_is_in_decibels_and_brightness_does_not_follow_it() -> None:
    soft, loud, sharp = (measured(vowel(150, loud=level, tilt=tilt)) for level, tilt in ((0.01, 2), (0.1, 2), (0.1, 1)))
    assert loud.loudness - soft.loudness == pytest.approx(20, abs=0.5)
    assert loud.brightness == pytest.approx(soft.brightness, abs=0.2)
    assert sharp.brightness > loud.brightness + 3


@pytest.mark.parametrize(("each", "gap"), [(0.15, 0.05), (0.1, 0.05), (0.3, 0.1)])
def test_syllables_are_counted(each: float, gap: float) -> None:
    voice = measured(syllables(8, each, gap))
    total = 8 * (each + gap)
    assert voice.rate * total * (1 - voice.pauses) == pytest.approx(8, rel=0.25)


def test_pauses_are_a_share_of_the_time_between_first_and_last_sound() -> None:
    quiet = np.zeros(INPUT_RATE, np.float32)
    assert measured(np.concatenate([quiet, vowel(150), quiet, vowel(150), quiet])).pauses == pytest.approx(
        1 / 3, abs=0.03
    )
    assert measured(vowel(150)).pauses < 0.02


@pytest.mark.parametrize(
    "audio",
    [
        np.zeros(0, np.float32),
        np.zeros(100, np.float32),
        np.zeros(INPUT_RATE, np.float32),
        np.full(INPUT_RATE, 0.5, np.float32),
        np.random.default_rng(0).standard_normal(INPUT_RATE).astype(np.float32),
        vowel(150, 0.2),
    ],
    ids=["nothing", "less than a window", "silence", "an offset", "noise", "half a syllable"],
)
def test_what_is_no_voice_is_not_measured(audio: Audio) -> None:
    assert measure(audio) is None


# ── What is made of it ────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("expected", ["happy", "sad", "angry", "surprised"])
def test_a_voice_that_moves_as_a_feeling_moves_it_is_given_that_label(expected: str) -> None:
    manner = acquainted().judge(moved(expected, 1.5))
    assert label(manner) == expected


def test_the_usual_voice_is_neutral_and_far_from_aroused() -> None:
    manner = acquainted().judge(CALM)
    assert label(manner) == "neutral"
    assert abs(manner.arousal) < 0.1


def test_arousal_grows_with_the_feeling_and_sinks_below_calm_when_sad() -> None:
    speaker = acquainted()
    rising = [speaker.judge(moved("angry", times)).arousal for times in (0, 0.5, 1, 2)]
    assert rising == sorted(rising)
    assert rising[-1] > 0.8
    assert speaker.judge(moved("sad", 1.5)).arousal < -0.4


def test_no_voice_makes_it_sure_of_a_feeling() -> None:
    speaker = acquainted(50)
    for times in np.linspace(0, 4, 9):
        for name in LABELS[1:]:
            scores = speaker.judge(moved(name, float(times))).scores
            assert scores.sum() == pytest.approx(1.0)
            assert scores[1:].max() <= 0.71
            assert scores[0] <= 0.79


def test_a_stranger_is_judged_with_less_confidence_than_an_acquaintance() -> None:
    raised = moved("angry", 1.5)
    stranger, friend = SpeakerManner().judge(raised), acquainted().judge(raised)
    assert friend.scores.max() > stranger.scores.max()
    assert (
        label(SpeakerManner().judge(replace(CALM, pitch=80.0, loudness=-35.0))) == "neutral"
    )  # a deep voice, far away


def test_what_is_usual_is_learned_for_each_speaker() -> None:
    lively, speaker = moved("happy", 1.5), SpeakerManner()
    for _ in range(10):
        speaker.learn(lively, 1.0)
    assert label(speaker.judge(lively)) == "neutral"
    assert speaker.judge(CALM).arousal < -0.3


def test_an_outburst_does_not_become_the_usual() -> None:
    speaker, rage = acquainted(3), moved("angry", 1.5)
    before = speaker.judge(CALM).arousal
    speaker.learn(rage, neutral=0.1)
    assert abs(speaker.judge(CALM).arousal - before) < 0.1
    assert label(speaker.judge(rage)) == "angry"


def test_another_model_may_give_the_scores() -> None:
    told = np.array([0.05, 0.05, 0.05, 0.8, 0.05])
    manner = acquainted().judge(CALM).with_scores(told)
    np.testing.assert_allclose(manner.scores, told * PRIOR / (told @ PRIOR))


def test_evidence_names_what_stands_out_and_against_what() -> None:
    (line,) = evidence(acquainted().judge(replace(CALM, pitch=95.0)))
    assert line.startswith("sound: pitch +")
    assert "against 5 of this voice's turns" in line
    assert evidence(SpeakerManner().judge(CALM)) == ["sound: as usual (against speakers in general)"]
