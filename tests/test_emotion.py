"""The detector: words and sound fused, smoothed over turns, each of them to be switched off."""

from __future__ import annotations

import numpy as np
import pytest

from duologue.audio import INPUT_RATE, Audio
from duologue.emotion import LABELS, Emotion, EmotionDetector, EmotionSettings, Scores, fuse, intensity, words
from duologue.emotion.labels import PRIOR
from duologue.emotion.sound import Manner
from duologue.engines import UNHEARD

PLAIN, GLAD, FURIOUS = (
    "What time does the train leave?",
    "That's wonderful, thank you!",
    "I'm sick of this, I'm furious!",
)


def voice(hertz: float, loud: float, seconds: float = 2.0) -> Audio:
    """A buzz with syllables; the louder, the sharper."""
    at = np.arange(round(seconds * INPUT_RATE)) / INPUT_RATE
    pitch = hertz * (1 + 0.1 * np.sin(2 * np.pi * 0.7 * at))
    phase = 2 * np.pi * np.cumsum(pitch) / INPUT_RATE
    buzz = np.sum([np.sin(k * phase) / k ** (1.5 - loud) for k in range(1, 15)], axis=0)
    beat = 0.55 + 0.45 * np.sin(2 * np.pi * 4.5 * at)
    samples: Audio = (loud * 0.2 * buzz * beat).astype(np.float32)
    return samples


CALM_VOICE, RAISED_VOICE = voice(130, 0.1), voice(190, 0.6)


def manner(scores: Scores, arousal: float = 0.0) -> Manner:
    return Manner(scores, arousal, np.zeros(7), 5.0)


def towards(label: str, share: float) -> Scores:
    scores = np.full(len(LABELS), (1 - share) / (len(LABELS) - 1))
    scores[[name == label for name in LABELS]] = share
    return scores


def talked(*turns: tuple[str, Audio | None], settings: EmotionSettings | None = None) -> list[Emotion]:
    detector = EmotionDetector(settings or EmotionSettings())
    return [detector.detect_emotion(text, audio) for text, audio in turns]


# ── Words, sound, both ────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(("text", "label"), [(PLAIN, "neutral"), (GLAD, "happy"), (FURIOUS, "angry")])
def test_words_alone_are_enough(text: str, label: str) -> None:
    (told,) = talked((text, None))
    assert told.label == label
    assert told.confidence > 0.6
    assert told.evidence


def test_sound_alone_is_heard_against_the_speaker_s_own_voice() -> None:
    *_, calm, raised = talked(*[("", CALM_VOICE)] * 4, ("", RAISED_VOICE))
    assert calm.label == "neutral"
    assert raised.label in ("happy", "angry", "surprised")
    assert raised.intensity > 1
    assert any("loudness +" in line for line in raised.evidence)


def test_a_raised_voice_takes_plain_words_from_neutral() -> None:
    settings = EmotionSettings(carried=0.0)
    calm = talked(*[(PLAIN, CALM_VOICE)] * 4, (PLAIN, CALM_VOICE), settings=settings)[-1]
    raised = talked(*[(PLAIN, CALM_VOICE)] * 4, (PLAIN, RAISED_VOICE), settings=settings)[-1]
    assert calm.label == "neutral"
    assert raised.label != "neutral" or raised.confidence < calm.confidence - 0.2


def test_clear_words_outweigh_an_even_voice() -> None:
    *_, told = talked(*[(PLAIN, CALM_VOICE)] * 4, (FURIOUS, CALM_VOICE))
    assert told.label == "angry"


def test_witnesses_that_agree_make_surer_than_either() -> None:
    wording, heard = words.read(FURIOUS, "en"), manner(towards("angry", 0.5))
    both = fuse(wording, heard)[LABELS.index("angry")]
    assert both > max(wording.scores[LABELS.index("angry")], 0.5)
    assert fuse(wording, heard).sum() == pytest.approx(1.0)


def test_a_voice_that_tells_nothing_leaves_clear_words_as_they_are() -> None:
    wording = words.read(FURIOUS, "en")
    np.testing.assert_allclose(fuse(wording, manner(PRIOR)), wording.scores, atol=0.05)


def test_plain_words_in_a_roused_voice_leave_the_feeling_open() -> None:
    wording = words.read(PLAIN, "en")
    assert LABELS[int(fuse(wording, manner(towards("angry", 0.6))).argmax())] == "angry"
    assert LABELS[int(fuse(wording, manner(PRIOR)).argmax())] == "neutral"


def test_intensity_is_that_of_the_strongest_sign_and_none_when_neutral() -> None:
    mild, strong = words.read("I'm a bit sad", "en"), words.read("I'm so very sad!!!", "en")
    assert intensity("sad", mild, None) < 1 < intensity("sad", strong, None) <= 2
    assert intensity("sad", mild, manner(PRIOR, arousal=0.8)) == pytest.approx(1.6)
    assert intensity("angry", words.read("Move it", "en"), manner(PRIOR, arousal=0.3)) == pytest.approx(0.6)  # no hit
    assert intensity("neutral", strong, manner(PRIOR, arousal=1.0)) == 0


def test_evidence_begins_with_the_stronger_witness() -> None:
    *_, told = talked(*[(PLAIN, CALM_VOICE)] * 4, (FURIOUS, RAISED_VOICE))
    assert told.label == "angry"
    assert told.evidence[0].startswith("words: 'sick of'")
    assert told.evidence[-1].startswith("sound: ")


# ── Turns ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_mood_outlasts_a_turn_that_says_little_and_then_fades() -> None:
    told = talked((FURIOUS, None), (FURIOUS, None), ("", None), ("", None), ("", None))
    assert [emotion.label for emotion in told[:2]] == ["angry", "angry"]
    assert told[2].confidence < told[1].confidence
    assert told[-1].label == "neutral"
    assert told[-1].evidence == ("earlier turns",)


def test_smoothing_weighs_the_turns_before() -> None:
    forgetful = talked((FURIOUS, None), (PLAIN, None), settings=EmotionSettings(carried=0.0))[1]
    usual = talked((FURIOUS, None), (PLAIN, None))[1]
    stubborn = talked((FURIOUS, None), (PLAIN, None), settings=EmotionSettings(carried=0.8))[1]
    assert (forgetful.label, usual.label, stubborn.label) == ("neutral", "neutral", "angry")
    assert forgetful.confidence > usual.confidence
    assert stubborn.evidence[0] == "earlier turns"


def test_a_clear_turn_is_told_at_once_whatever_came_before() -> None:
    *_, told = talked(*[(PLAIN, None)] * 10, (FURIOUS, None))
    assert told.label == "angry"


def test_the_mood_can_be_forgotten_and_the_voice_stays_known() -> None:
    detector = EmotionDetector()
    for _ in range(4):
        detector.detect_emotion(PLAIN, CALM_VOICE)
    detector.detect_emotion(FURIOUS, CALM_VOICE)
    detector.forget_mood()
    told = detector.detect_emotion("", CALM_VOICE)
    assert told.label == "neutral"
    assert "of this voice's turns" in told.evidence[0]


def test_two_sessions_share_nothing_but_weights() -> None:
    one, other = EmotionDetector(), EmotionDetector()
    for _ in range(5):
        one.detect_emotion(FURIOUS, RAISED_VOICE)
    assert other.detect_emotion(PLAIN, CALM_VOICE) == EmotionDetector().detect_emotion(PLAIN, CALM_VOICE)


# ── Switches and edges ────────────────────────────────────────────────────────────────────────────────────────────


def test_words_and_sound_can_each_be_switched_off() -> None:
    (deaf,) = talked((FURIOUS, RAISED_VOICE), settings=EmotionSettings(sound=False))
    (blind,) = talked((FURIOUS, RAISED_VOICE), settings=EmotionSettings(words=False))
    (neither,) = talked((FURIOUS, RAISED_VOICE), settings=EmotionSettings(words=False, sound=False))
    assert all(line.startswith("words: ") for line in deaf.evidence)
    assert all(line.startswith("sound: ") for line in blind.evidence)
    assert neither == Emotion("neutral", 0.0, 0.0)


@pytest.mark.parametrize("text", ["", "  ", "...", UNHEARD])
@pytest.mark.parametrize("audio", [None, np.zeros(0, np.float32), np.zeros(INPUT_RATE, np.float32)])
def test_a_turn_without_words_or_voice_is_neutral_without_confidence(text: str, audio: Audio | None) -> None:
    assert talked((text, audio)) == [Emotion("neutral", 0.0, 0.0)]


def test_an_emoji_is_a_word() -> None:
    assert talked(("😡", None))[0].label == "angry"


def test_only_the_end_of_a_long_turn_is_measured() -> None:
    long = np.concatenate([RAISED_VOICE] + [CALM_VOICE] * 6)
    detector, other = EmotionDetector(), EmotionDetector()
    assert detector.detect_emotion("", long) == other.detect_emotion("", np.concatenate([CALM_VOICE] * 6))


def test_a_larger_model_takes_the_place_of_the_rules() -> None:
    heard: list[int] = []

    def model(audio: Audio) -> Scores:
        heard.append(len(audio))
        return towards("sad", 0.9)

    told = EmotionDetector(model=model).detect_emotion("", CALM_VOICE)
    assert told.label == "sad"
    assert told.confidence > 0.7
    assert heard == [len(CALM_VOICE)]


def test_the_language_may_be_given() -> None:
    assert EmotionDetector().detect_emotion("saya sedih", language="ms").label == "sad"
    assert EmotionDetector().detect_emotion("saya sedih").label == "sad"
    assert EmotionDetector().detect_emotion("I am sad", language="xx").label == "sad"
