"""Feelings named outright, with negation: "not happy" is not happy, "mad about you" is not angry, "no worries" is no worry.

One TOML file a language, `lexicons/xx.toml`:

    common     words by which the language is told from others of its script
    negators   turn a feeling over; `reach` is how many other words may stand between, before and after it
    within     endings that negate the word they end (Tamil and Telugu write "did not" into the verb), where a stem goes on
               with one: an entry that has it itself ("cannot believe it") is a feeling
    breaks     where negation ends, beside punctuation: conjunctions, and the finite verb where the negator would stand before it
    strong, weak    move the intensity of the feeling beside them
    fillers    do not count for `reach`
    words      entries by label (any.toml adds those of every language): a word, several words, or a stem with "*"; the leftmost
               wins, then the longest; those of "neutral" hide what is no feeling ("happy birthday", "not only")

The entries were written by hand for this project and have not been checked by native speakers.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib import resources
from typing import Any, Final

from duologue.emotion.labels import Label
from duologue.emotion.text import tokens

LANGUAGES: Final = ("en", "es", "ms", "hi", "mr", "ta", "te")
"""Those with a lexicon. Where a text has as many common words of two, the earlier is taken."""

TURNED: Final[Mapping[Label, Mapping[Label, float]]] = {"happy": {"sad": 0.5, "angry": 0.3}}
"""What a negated feeling says: who is "not happy" is sad or angry, no one can tell which; of the others it only takes the
feeling away."""

STEP: Final = 0.5
"""Of intensity, for a strengthening or weakening word; half of it for each of: an exclamation mark, capitals, a stretched
word."""

_VIRAMAS = "\u094d\u0bcd\u0c4d"
"""A stem that ends in a bare consonant goes on with a vowel: "கோப*" would else find "கோப்பை" (cup)."""

_STRETCHED = re.compile(r"(.)\1{2,}")
_MARKS = frozenset('.,;:!?…।॥¡¿()"')


@dataclass(frozen=True, slots=True)
class Hit:
    """A feeling that is named: `words` as they were read, `tokens` where they stand among `text.tokens`."""

    label: Label
    words: str
    tokens: range
    negated: bool
    intensity: float


@dataclass(frozen=True, slots=True)
class Reading:
    """`votes` add up what speaks for each label. `denied` are labels that are only named to be denied."""

    language: str
    hits: tuple[Hit, ...] = ()
    votes: Mapping[Label, float] = field(default_factory=dict)
    denied: frozenset[Label] = frozenset()
    intensity: float = 1.0


@dataclass(frozen=True, slots=True)
class _Span:
    """A lexicon's entry in a text: `kind` is a label or one of the lists' names, in tokens start..stop."""

    kind: str
    start: int
    stop: int
    stem: bool = False
    """The entry may go on, and with it into a negation."""


@dataclass(frozen=True, slots=True)
class _Entry:
    words: tuple[str, ...]
    stem: bool
    """Its last word may go on."""
    kind: str

    def fits(self, words: Sequence[str]) -> bool:
        if len(words) < len(self.words) or tuple(words[:-1]) != self.words[:-1]:
            return False
        rest = words[-1].removeprefix(self.words[-1])
        return not rest or (self.stem and words[-1].startswith(self.words[-1]) and rest[0] not in _VIRAMAS)


class Lexicon:
    """One language's. Stateless."""

    def __init__(self, language: str, table: Mapping[str, Any]) -> None:
        self.language = language
        self.common = frozenset(_normal(word) for word in table["common"])
        self._within = tuple(_normal(ending) for ending in table.get("within", ()))
        self._reach: Mapping[str, int] = table["reach"]
        self._fillers = frozenset(_normal(word) for word in table["fillers"])
        self._phrases: dict[str, list[_Entry]] = {}
        lists = [*((kind, table[kind]) for kind in _LISTS), *table["words"].items(), *_table("any")["words"].items()]
        for entry in sorted((_entry(text, kind) for kind, group in lists for text in group), key=_rank):
            self._phrases.setdefault(entry.words[0], []).append(entry)

    def read(self, text: str) -> Reading:
        stretched = tokens(text)
        words = [_STRETCHED.sub(r"\1", word) for word in stretched]
        spans = list(self._spans(words))
        kinds = self._kinds_by_token(words, spans)
        extra = _emphasis(text, stretched)
        hits = tuple(self._hit(words, kinds, span, extra) for span in spans if span.kind in _FEELINGS)
        said = {hit.label for hit in hits if not hit.negated}
        votes: dict[Label, float] = {}
        for label, vote in (pair for hit in hits for pair in _votes(hit)):
            votes[label] = votes.get(label, 0.0) + vote
        denied = frozenset(hit.label for hit in hits) - said
        intensity = max((hit.intensity for hit in hits), default=min(1.0 + extra, 2.0))
        return Reading(self.language, hits, votes, denied, intensity)

    def _spans(self, words: Sequence[str]) -> Iterator[_Span]:
        """Entries found, left to right, none over another."""
        at = 0
        while at < len(words):
            found = self._at(words, at)
            if found:
                yield _Span(found.kind, at, at + len(found.words), found.stem)
            at += len(found.words) if found else 1

    def _at(self, words: Sequence[str], at: int) -> _Entry | None:
        """The longest entry that begins here."""
        first = words[at]
        candidates = [entry for end in range(len(first), 0, -1) for entry in self._phrases.get(first[:end], ())]
        return next(
            (entry for entry in sorted(candidates, key=_rank) if entry.fits(words[at : at + len(entry.words)])), None
        )

    def _kinds_by_token(self, words: Sequence[str], spans: Sequence[_Span]) -> list[str]:
        kinds = ["breaks" if word in _MARKS else "fillers" if word in self._fillers else "" for word in words]
        for span in spans:
            kinds[span.start : span.stop] = [span.kind] * (span.stop - span.start)
        return kinds

    def _hit(self, words: Sequence[str], kinds: Sequence[str], span: _Span, extra: float) -> Hit:
        before, after = reversed(kinds[: span.start]), iter(kinds[span.stop :])
        beside = [*self._beside(before, "before"), *self._beside(after, "after")]
        said = " ".join(words[span.start : span.stop])
        negated = "negators" in beside or (span.stem and said.endswith(self._within))
        intensity = 1.0 + extra + STEP * (("strong" in beside) - ("weak" in beside))
        return Hit(
            _FEELINGS[span.kind], said, range(span.start, span.stop), negated, min(max(intensity, STEP / 2), 2.0)
        )

    def _beside(self, kinds: Iterator[str], side: str) -> Iterator[str]:
        """What stands near a feeling on one side: a negator only within `reach`, a strengthening word only next to it."""
        passed, reach = 0, self._reach.get(side, -1)
        for kind in kinds:
            if kind == "breaks" or passed > max(reach, 0):
                return
            if kind != "negators" or passed <= reach:
                yield kind
            passed += kind not in _LIGHT


def guess(text: str, known: Sequence[str] = LANGUAGES) -> str:
    """The language of a text by its script and its commonest words; "en" where nothing tells."""
    words = frozenset(_STRETCHED.sub(r"\1", word) for word in tokens(text))
    counts = {language: len(words & lexicon(language).common) for language in known}
    counts |= {
        language: counts[language] + 1 for language, letters in _SCRIPTS if language in counts and letters.search(text)
    }
    return max(counts, key=lambda language: counts[language])


@cache
def lexicon(language: str) -> Lexicon:
    """Raises `KeyError` for a language that has none."""
    if language not in LANGUAGES:
        raise KeyError(language)
    return Lexicon(language, _table(language))


def _table(name: str) -> dict[str, Any]:
    file = resources.files("duologue.emotion") / "lexicons" / f"{name}.toml"
    return tomllib.loads(file.read_text(encoding="utf-8"))


def _votes(hit: Hit) -> Iterator[tuple[Label, float]]:
    if hit.negated:
        yield from TURNED.get(hit.label, {}).items()
    else:
        yield hit.label, 1.0


def _emphasis(text: str, words: Sequence[str]) -> float:
    """What the whole text adds to the intensity: marks, capitals (of two words or more), stretched letters."""
    shouted = [word for word in text.split() if len(word) > 2 and word.isupper()]
    return STEP / 2 * (("!" in text) + (len(shouted) > 1) + any(map(_STRETCHED.search, words)))


def _normal(word: str) -> str:
    return " ".join(tokens(word))


def _entry(text: str, kind: str) -> _Entry:
    return _Entry(tuple(tokens(text.rstrip("*"))), text.endswith("*"), kind)


def _rank(entry: _Entry) -> tuple[int, int, bool]:
    """The longest first, and a feeling before another kind of word."""
    return (-len(entry.words), -len(entry.words[-1]), entry.kind not in _FEELINGS)


_FEELINGS: Final[Mapping[str, Label]] = {"happy": "happy", "sad": "sad", "angry": "angry", "surprised": "surprised"}
_LISTS = ("negators", "breaks", "strong", "weak")
_LIGHT = frozenset({"negators", "strong", "weak", "fillers"})
_SCRIPTS = [
    ("ta", re.compile("[\u0b80-\u0bff]")),
    ("te", re.compile("[\u0c00-\u0c7f]")),
    ("hi", re.compile("[\u0900-\u097f]")),
    ("mr", re.compile("[\u0900-\u097f]")),
    ("en", re.compile("[A-Za-z]")),
    ("es", re.compile("[A-Za-z]")),
    ("ms", re.compile("[A-Za-z]")),
]
