"""The measurements of emotion: figures that are right, and limits that the shipped detector keeps."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks import brighter, emotion, recordings
from benchmarks.emotion import Judged, confident, confusion, keywords, macro_f1, misses
from duologue.emotion import Emotion, Label
from duologue.errors import ConfigError

HERE = brighter.FOLDER.is_dir() and recordings.FOLDER.is_dir()


def judged(gold: str, told: Label, confidence: float = 0.9) -> Judged:
    return Judged(gold, Emotion(told, 1.0, confidence))


def test_macro_f1_is_the_mean_over_the_labels_that_there_are() -> None:
    assert macro_f1([("sad", "sad"), ("happy", "happy")]) == 1.0
    # sad: 2 of 2 found, 1 of 3 wrongly told: F1 0.8; happy: 1 of 2 found: F1 2/3
    assert macro_f1([("sad", "sad"), ("sad", "sad"), ("happy", "happy"), ("happy", "sad")]) == pytest.approx(
        (0.8 + 2 / 3) / 2
    )
    assert macro_f1([("sad", "neutral"), ("sad", "neutral")]) == 0.0  # "neutral" is not in the mean, and costs sad all


def test_confusion_has_a_row_for_what_is_none_of_ours() -> None:
    counts = confusion([judged("fearful", "angry"), judged("sad", "sad"), judged("sad", "neutral")])
    assert list(counts) == ["sad", "fearful"]
    assert counts["sad"] == {"neutral": 1, "happy": 0, "sad": 1, "angry": 0, "surprised": 0}
    assert counts["fearful"]["angry"] == 1


def test_only_confident_answers_count_where_confidence_is_asked_for() -> None:
    found = [judged("sad", "sad", 0.7), judged("sad", "angry", 0.61), judged("sad", "angry", 0.6)]
    assert confident(found) == {"n": 2, "of": 3, "accuracy": 0.5}
    assert confident([judged("sad", "sad", 0.2)])["accuracy"] is None


@pytest.mark.parametrize(
    ("language", "text", "label"),
    [
        ("en", "What a great day.", "happy"),
        ("en", "I'm mad about you", "angry"),  # that is what makes it a baseline
        ("en", "Greatness", "neutral"),
        ("hi", "मैं दुखी हूँ।", "sad"),
    ],
)
def test_the_baseline_counts_its_words_and_nothing_else(language: str, text: str, label: str) -> None:
    assert keywords(text, language) == label


def test_fear_is_met_like_sadness_and_disgust_like_anger(tmp_path: Path) -> None:
    rows = ["id,text,anger,disgust,fear,joy,sadness,surprise", 'a,"one, two",0,1,1,0,0,0', "b,three,0,0,0,0,0,0"]
    (tmp_path / "esp_dev.csv").write_text("\n".join(rows), encoding="utf-8")
    one, two = brighter.texts("es", "dev", tmp_path)
    assert one.text == "one, two"
    assert sorted(one.labels) == ["angry", "sad"]
    assert sorted(two.labels) == ["neutral"]


def test_missing_texts_are_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        brighter.texts("en", "dev", tmp_path)
    assert caught.value.code == "no_texts"


@pytest.mark.speech
@pytest.mark.skipif(
    not HERE, reason="needs BRIGHTER and the recordings in ../shared (EMOTION_TEXTS, SPEECH_RECORDINGS)"
)
def test_the_shipped_detector_keeps_its_limits() -> None:
    told = emotion.run()
    assert told["misses"] == []
    assert told["speech"]["roused_or_not"] > 0.9
    assert told["plain_turns"]["called_a_feeling_over_0.5"] < 0.15
    assert "speech, acquainted" in emotion.table(told)


def test_a_limit_that_is_missed_is_told() -> None:
    good = {
        "macro_f1": 0.5,
        "keywords": 0.1,
        "keywords_translated": 0.2,
        "confident_over_0.6": {"n": 9, "accuracy": 0.7},
    }
    speech = dict.fromkeys(("stranger", "acquainted", "acquainted_with_words"), good) | {"chance": {"p99": 0.3}}
    told = {"texts": {"en": good}, "speech": speech}
    assert misses(told) == []
    assert misses({**told, "texts": {"en": {**good, "keywords": 0.3}}}) == [
        "texts en: macro-F1 0.5 is not twice the keywords'"
    ]
    unsure = {**good, "confident_over_0.6": {"n": 9, "accuracy": 0.5}}
    assert "right 50%" in misses({**told, "texts": {"en": unsure}})[0]
    assert "chance" in misses({**told, "speech": {**speech, "chance": {"p99": 0.6}}})[0]
