"""How well feelings are heard: in texts and in acted speech, beside a baseline of keywords. Tables on stderr, JSON on stdout.

    python -m benchmarks.emotion [--check]

Texts are BRIGHTER's development texts: no weight was fitted to them, but the prior was chosen after a look at them. Speech is
RAVDESS, eight actors (CC BY-NC-SA 4.0, for measuring only): nothing was fitted to it, but its results were seen. An actor's
calm and neutral clips, but for the one that is judged, stand for the turns in which a detector would have got to know the
voice; beside it stands what it makes of each clip as the first turn of a stranger. RAVDESS's calm counts as neutral; fear and
disgust, which are none of the five, are shown and not counted.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Final

import numpy as np

from benchmarks import brighter, recordings
from benchmarks.figures import Figure
from duologue.audio import INPUT_RATE, Audio, read_audio, resample
from duologue.emotion import LABELS, Emotion, EmotionDetector, Label, sound, voice, words
from duologue.emotion.lexicon import lexicon
from duologue.errors import ConfigError

CONFIDENT: Final = 0.6
"""Above it the detector must be right as often as that."""

TIMES_BASELINE: Final = 2.0
SHUFFLES: Final = 2_000

KEYWORDS: Final[Mapping[str, Mapping[Label, Sequence[str]]]] = {
    "en": {
        "happy": ["happy", "great", "wonderful"],
        "sad": ["sad", "bad", "terrible"],
        "angry": ["angry", "furious", "mad"],
    },
    "es": {
        "happy": ["feliz", "genial", "maravilloso"],
        "sad": ["triste", "mal", "terrible"],
        "angry": ["enojado", "furioso", "loco"],
    },
    "hi": {"happy": ["खुश", "बढ़िया", "शानदार"], "sad": ["दुखी", "बुरा", "भयानक"], "angry": ["गुस्सा", "क्रोधित", "पागल"]},
    "mr": {"happy": ["आनंदी", "छान", "अद्भुत"], "sad": ["दुःखी", "वाईट", "भयानक"], "angry": ["राग", "संतप्त", "वेडा"]},
}
"""The nine English words, and translated, which makes the baseline stronger than English words in other languages would be."""

ACTED: Final[Mapping[str, Label]] = {
    "neutral": "neutral",
    "calm": "neutral",
    "happy": "happy",
    "sad": "sad",
    "angry": "angry",
    "surprised": "surprised",
}
CALM: Final = frozenset({"neutral", "calm"})
ROUSED: Final = frozenset({"happy", "angry", "surprised", "fearful"})


@dataclass(frozen=True, eq=False)  # hashed by identity: samples have no hash
class Clip:
    actor: str
    acted: str
    said: str
    samples: Audio


@dataclass(frozen=True)
class Judged:
    """`gold` is a label of ours, or what RAVDESS calls it where that is none of ours."""

    gold: str
    told: Emotion

    @property
    def right(self) -> bool:
        return self.gold == self.told.label


# ── Figures ───────────────────────────────────────────────────────────────────────────────────────────────────────


def macro_f1(pairs: Sequence[tuple[str, str]]) -> float:
    """Over (gold, told): the mean F1 of the labels that occur in gold."""
    return float(np.mean([_f1(pairs, label) for label in sorted({gold for gold, _ in pairs})]))


def _f1(pairs: Sequence[tuple[str, str]], label: str) -> float:
    both = sum(gold == told == label for gold, told in pairs)
    return 2 * both / (sum(gold == label for gold, _ in pairs) + sum(told == label for _, told in pairs))


def confusion(judged: Iterable[Judged]) -> dict[str, dict[str, int]]:
    counts: dict[str, dict[str, int]] = defaultdict(lambda: dict.fromkeys(LABELS, 0))
    for one in judged:
        counts[one.gold][one.told.label] += 1
    order = [*LABELS, *sorted(set(counts) - set(LABELS))]
    return {gold: counts[gold] for gold in order if gold in counts}


def confident(judged: Sequence[Judged]) -> dict[str, Any]:
    sure = [one.right for one in judged if one.told.confidence > CONFIDENT]
    return {"n": len(sure), "of": len(judged), "accuracy": _round(np.mean(sure)) if sure else None}


def facts(judged: Sequence[Judged]) -> dict[str, Any]:
    pairs = [(one.gold, str(one.told.label)) for one in judged]
    return {
        "n": len(judged),
        "macro_f1": _round(macro_f1(pairs)),
        "accuracy": _round(np.mean([one.right for one in judged])),
        f"confident_over_{CONFIDENT}": confident(judged),
    }


def _round(value: Any) -> float:
    return round(float(value), 3)


# ── Texts ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def keywords(text: str, language: str) -> Label:
    """The baseline: the feeling with the most of its three words, neutral where there is none."""
    found = set(re.findall(r"[^\s.,;:!?…।\"'()]+", text.lower()))
    counts = {label: sum(word in found for word in group) for label, group in KEYWORDS[language].items()}
    best = max(counts, key=lambda label: counts[label])
    return best if counts[best] else "neutral"


def named(text: str, language: str) -> Label:
    """The lexicon alone, which is all that ms, ta and te have."""
    votes = lexicon(language).read(text).votes
    return max(votes, key=lambda label: votes[label]) if votes else "neutral"


def text_facts(language: str) -> dict[str, Any]:
    """Over the texts with one feeling or none; `several` over all: is what was told among a text's feelings?"""
    found = brighter.texts(language, "dev")
    told = [EmotionDetector().detect_emotion(one.text, language=language) for one in found]
    single = [(one, emotion) for one, emotion in zip(found, told, strict=True) if len(one.labels) == 1]
    judged = [Judged(min(one.labels), emotion) for one, emotion in single]

    def baseline(guess: Callable[[str, str], Label], tongue: str) -> float:
        return _round(macro_f1([(min(one.labels), guess(one.text, tongue)) for one, _ in single]))

    return facts(judged) | {
        "keywords": baseline(keywords, "en"),
        "keywords_translated": baseline(keywords, language),
        "lexicon": baseline(named, language),
        "several": {
            "n": len(found),
            "accuracy": _round(np.mean([e.label in one.labels for one, e in zip(found, told, strict=True)])),
        },
        "confusion": confusion(judged),
    }


def plain_facts() -> dict[str, Any]:
    """What was said in the recorded questions and prompts, which is nearly all plain: how often it is called a feeling."""
    rows = [row for row in recordings._manifest(recordings.FOLDER) if row["kind"] in ("question", "read")]
    said = [
        row for row in rows if row["transcript"] and row["transcript"][0] not in "([" and row["lang"] in words.TRAINED
    ]
    told = [EmotionDetector().detect_emotion(row["transcript"], language=row["lang"]) for row in said]
    false = [emotion.label != "neutral" and emotion.confidence > 0.5 for emotion in told]
    return {"n": len(told), "called_a_feeling_over_0.5": _round(np.mean(false))}


# ── Speech ────────────────────────────────────────────────────────────────────────────────────────────────────────


def clips() -> list[Clip]:
    """Raises `ConfigError` (no_recordings)."""
    rows = [row for row in recordings._manifest(recordings.FOLDER) if row["kind"] == "emotion"]
    return [_clip(row) for row in rows]


def _clip(row: Mapping[str, str]) -> Clip:
    samples, rate = read_audio(recordings.FOLDER / row["path"])
    label = dict(entry.split("=", 1) for entry in row["label"].split("; "))
    actor = re.search(r"Actor_\d+", row["path"])
    return Clip(actor.group() if actor else "", label["emotion"], label["text"], resample(samples, rate, INPUT_RATE))


def acquainted(clip: Clip, others: Sequence[Clip]) -> EmotionDetector:
    """A detector that has heard the actor's calm clips, but for this one."""
    detector = EmotionDetector()
    for other in others:
        if other is not clip and other.actor == clip.actor and other.acted in CALM:
            detector.detect_emotion("", other.samples)
    detector.forget_mood()
    return detector


def speech_facts() -> dict[str, Any]:
    found = clips()
    ways = {
        "stranger": [(clip, EmotionDetector().detect_emotion("", clip.samples)) for clip in found],
        "acquainted": [(clip, acquainted(clip, found).detect_emotion("", clip.samples)) for clip in found],
        "acquainted_with_words": [
            (clip, acquainted(clip, found).detect_emotion(clip.said, clip.samples, "en")) for clip in found
        ],
        "keywords": [(clip, Emotion(keywords(clip.said, "en"), 1.0, 0.0)) for clip in found],
    }
    judged = {
        way: [Judged(ACTED.get(clip.acted, clip.acted), told) for clip, told in entries]
        for way, entries in ways.items()
    }
    ours = {way: [one for one in entries if one.gold in LABELS] for way, entries in judged.items()}
    return {
        **{way: facts(entries) for way, entries in ours.items()},
        "chance": chance(ours["acquainted"]),
        "roused_or_not": _round(roused(found)),
        "confusion": confusion(judged["acquainted"]),
    }


def chance(judged: Sequence[Judged]) -> dict[str, float]:
    """Macro-F1 of the same answers given to the clips at random."""
    random = np.random.default_rng(0)
    gold, told = [one.gold for one in judged], [str(one.told.label) for one in judged]
    figures = [macro_f1(list(zip(random.permutation(gold).tolist(), told, strict=True))) for _ in range(SHUFFLES)]
    reached = macro_f1(list(zip(gold, told, strict=True)))
    p = (1 + sum(figure >= reached for figure in figures)) / (1 + SHUFFLES)
    return {"mean": _round(np.mean(figures)), "p99": _round(np.percentile(figures, 99)), "p_value": round(p, 4)}


def roused(found: Sequence[Clip]) -> float:
    """Share of pairs, of one actor, in which the roused clip (joy, anger, surprise, fear) gets a higher arousal than the calm
    one."""
    arousal = {clip: _arousal(clip, found) for clip in found}
    pairs = [
        (arousal[high], arousal[low])
        for high in found
        for low in found
        if high.acted in ROUSED and low.acted in CALM and high.actor == low.actor
    ]
    return float(np.mean([(high > low) + 0.5 * (high == low) for high, low in pairs]))


def _arousal(clip: Clip, others: Sequence[Clip]) -> float:
    speaker = sound.SpeakerManner()
    for other in others:
        if other is not clip and other.actor == clip.actor and other.acted in CALM:
            speaker.learn(_voice(other), 1.0)
    return speaker.judge(_voice(clip)).arousal


@cache
def _voice(clip: Clip) -> voice.Voice:
    measured = voice.measure(clip.samples)
    assert measured is not None, clip
    return measured


# ── Out ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def run() -> dict[str, Any]:
    texts = {language: text_facts(language) for language in words.TRAINED}
    told: dict[str, Any] = {"texts": texts, "plain_turns": plain_facts(), "speech": speech_facts()}
    return told | {"misses": misses(told)}


def figures(told: Mapping[str, Any]) -> list[Figure]:
    """Macro-F1 has no upper limit to keep: what is missed is counted, and the table says what it is."""
    missed = float(len(told["misses"]))
    return [Figure("limits on feelings that were missed", "", [missed], missed, {"overall": 0})]


def misses(told: Mapping[str, Any]) -> list[str]:
    """What falls short of what is asked for."""
    short = []
    for language, one in told["texts"].items():
        if one["macro_f1"] < TIMES_BASELINE * max(one["keywords"], one["keywords_translated"]):
            short.append(f"texts {language}: macro-F1 {one['macro_f1']} is not twice the keywords'")
        short += _overconfident(f"texts {language}", one)
    heard = told["speech"]
    if heard["acquainted"]["macro_f1"] <= heard["chance"]["p99"]:
        short.append(f"speech: macro-F1 {heard['acquainted']['macro_f1']} may be chance")
    for way in ("stranger", "acquainted", "acquainted_with_words"):
        short += _overconfident(f"speech, {way}", heard[way])
    return short


def _overconfident(where: str, one: Mapping[str, Any]) -> list[str]:
    sure = one[f"confident_over_{CONFIDENT}"]
    low = sure["accuracy"] is not None and sure["accuracy"] < CONFIDENT
    return [f"{where}: right {sure['accuracy']:.0%} of the {sure['n']} times it is sure"] if low else []


def table(told: Mapping[str, Any]) -> str:
    heard = told["speech"]
    rows: list[Sequence[str]] = [
        ("", "n", "keywords", "translated", "lexicon", "macro-F1", "accuracy", f"> {CONFIDENT}: n", "right")
    ]
    rows += [_row(f"texts {language}", one) for language, one in told["texts"].items()]
    rows += [
        _row(f"speech, {way}", heard[way]) for way in ("stranger", "acquainted", "acquainted_with_words", "keywords")
    ]
    chance = heard["chance"]
    plain = told["plain_turns"]
    return "\n\n".join(
        [
            _columns(rows),
            f"speech by chance: macro-F1 {chance['mean']}, 99th percentile {chance['p99']}; "
            f"p of the acquainted {chance['p_value']}\nroused above calm, same actor: {heard['roused_or_not']:.0%} of pairs\n"
            f"plain turns called a feeling: {plain['called_a_feeling_over_0.5']:.1%} of {plain['n']}",
            *(f"texts {language}\n{_matrix(one['confusion'])}" for language, one in told["texts"].items()),
            f"speech, acquainted\n{_matrix(heard['confusion'])}",
            "\n".join(["MISSED", *told["misses"]]) if told["misses"] else "all limits kept",
        ]
    )


def _row(name: str, one: Mapping[str, Any]) -> tuple[str, ...]:
    sure = one[f"confident_over_{CONFIDENT}"]
    baselines = [str(one.get(key, "")) for key in ("keywords", "keywords_translated", "lexicon")]
    right = "" if sure["accuracy"] is None else f"{sure['accuracy']:.0%}"
    return (name, str(one["n"]), *baselines, str(one["macro_f1"]), str(one["accuracy"]), str(sure["n"]), right)


def _matrix(counts: Mapping[str, Mapping[str, int]]) -> str:
    """Rows are what it was, columns what was told."""
    return _columns([("", *LABELS), *((gold, *map(str, told.values())) for gold, told in counts.items())])


def _columns(rows: Sequence[Sequence[str]]) -> str:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [
        [row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))]
        for row in rows
    ]
    return "\n".join("  ".join(line).rstrip() for line in lines)


def main(arguments: Sequence[str] | None = None) -> int:
    """0; with --check 1 if something is missed; 2 if it cannot run."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.emotion", description=__doc__.partition("\n")[0] if __doc__ else ""
    )
    parser.add_argument("--check", action="store_true", help="exit status 1 if a limit is missed")
    checking = parser.parse_args(arguments).check
    try:
        told = run()
    except ConfigError as error:
        print(f"benchmarks.emotion: {error.message} [{error.code}]", file=sys.stderr)
        return 2
    print(table(told), file=sys.stderr)
    print(json.dumps(told, ensure_ascii=False, indent=1))
    return int(checking and bool(told["misses"]))


if __name__ == "__main__":
    sys.exit(main())
