"""The reply's tone: the policy as it is, and as a configuration may make it."""

from __future__ import annotations

from typing import Any

import pytest

from duologue.emotion import LABELS, Emotion, Label
from duologue.engines import Style
from duologue.errors import ConfigError
from duologue.prosody import PROSODY, prosody
from duologue.tone import ANSWERS, SURE, USUAL, Answer, Tone, TonePolicy, policy


def heard(label: Label, confidence: float = 0.9, intensity: float = 1.0) -> Emotion:
    return Emotion(label, intensity, confidence)


def test_the_feeling_is_answered_and_not_mirrored() -> None:
    tones = {label: TonePolicy().tone(heard(label)).emotion for label in LABELS}
    assert tones == {"neutral": "neutral", "happy": "happy", "sad": "gentle", "angry": "calm", "surprised": "warm"}


def test_gentle_is_not_sad_and_calm_is_not_angry() -> None:
    gentle, sad = (prosody(Style(emotion=name)) for name in ("gentle", "sad"))
    calm, angry = (prosody(Style(emotion=name)) for name in ("calm", "angry"))
    assert sad.rate < gentle.rate < 1
    assert sad.range < gentle.range < 1
    assert calm.rate < 1 < angry.rate
    assert calm.range < 1 < angry.range


@pytest.mark.parametrize("label", LABELS[1:])
def test_the_model_is_told_in_a_sentence_how_the_user_sounds(label: Label) -> None:
    instruction = TonePolicy().tone(heard(label)).instruction
    assert label in instruction
    assert instruction.endswith(".")
    assert len(instruction) < 120  # a small model follows one short sentence


def test_a_neutral_turn_asks_nothing_of_the_model() -> None:
    assert TonePolicy().tone(heard("neutral")) == Tone()
    assert Tone().instruction == ""


def test_a_feeling_that_is_not_sure_is_not_answered() -> None:
    assert TonePolicy().tone(heard("angry", SURE - 0.01)) == USUAL
    assert TonePolicy().tone(heard("angry", SURE)).emotion == "calm"


@pytest.mark.parametrize("label", LABELS[1:])
def test_the_stronger_the_feeling_the_stronger_the_tone(label: Label) -> None:
    rising = [TonePolicy().tone(heard(label, intensity=intensity)).intensity for intensity in (0.0, 0.5, 1.0, 2.0)]
    assert rising == sorted(rising)
    assert rising[0] == 0.0
    assert 1.0 < rising[-1] <= 2.0


def test_every_answer_is_a_tone_that_voices_know() -> None:
    assert set(ANSWERS) == set(LABELS)
    assert {answer.emotion for answer in ANSWERS.values()} <= set(PROSODY)


def test_a_configuration_changes_what_it_names_and_leaves_the_rest() -> None:
    made = policy(
        {"sure": 0.7, "sad": {"emotion": "warm", "instruction": "Be kind.", "share": 0.5}, "angry": {"share": 2}}
    )
    assert made.tone(heard("sad", intensity=2.0)) == Tone("warm", 1.0, "Be kind.")
    assert made.tone(heard("angry")) == Tone("calm", 2.0, ANSWERS["angry"].instruction)
    assert made.answers["happy"] == ANSWERS["happy"]
    assert made.tone(heard("sad", 0.6)) == Tone()
    assert ANSWERS["sad"] == Answer(ANSWERS["sad"].emotion, ANSWERS["sad"].instruction, 1.0)


def test_no_configuration_is_the_usual_policy() -> None:
    assert policy({}) == TonePolicy()


@pytest.mark.parametrize(
    ("settings", "code", "named"),
    [
        ({"glad": {}}, "unknown_setting", "glad"),
        ({"sad": {"volume": 3}}, "unknown_setting", "policy.sad"),
        ({"sad": "gentle"}, "bad_setting", "policy.sad"),
        ({"sad": {"emotion": "tender"}}, "bad_setting", "tender"),
        ({"sad": {"emotion": 3}}, "bad_setting", "policy.sad.emotion"),
        ({"sad": {"share": "much"}}, "bad_setting", "policy.sad.share"),
        ({"sad": {"share": 2.5}}, "bad_setting", "policy.sad.share"),
        ({"sad": {"share": True}}, "bad_setting", "policy.sad.share"),
        ({"sure": 1.5}, "bad_setting", "policy.sure"),
        ({"sure": "very"}, "bad_setting", "policy.sure"),
        ({"sure": True}, "bad_setting", "policy.sure"),
    ],
)
def test_a_mistake_in_the_configuration_is_told(settings: dict[str, Any], code: str, named: str) -> None:
    with pytest.raises(ConfigError) as caught:
        policy(settings)
    assert caught.value.code == code
    assert named in caught.value.message
