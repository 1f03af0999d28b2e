"""The languages of a conversation: which there are, which one the user speaks, and which voices say them best.

The seven of `LANGUAGES` must work in the voice and on the screen; an engine may know others. What a text is written in is found
by its script, and within a script by its words (py3langid, https://github.com/adbar/py3langid, BSD-3-Clause); where that is
not installed, by the script alone. Knows no session and no engine but by name.
"""

from __future__ import annotations

import logging
import re
import threading
import unicodedata
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from types import MappingProxyType
from typing import Final, TypeVar

log = logging.getLogger(__name__)

V = TypeVar("V")

AUTO: Final = "auto"


@dataclass(frozen=True, slots=True)
class Language:
    """`voices` are the speakers by registered name, best first; those that are not installed are passed over."""

    code: str
    name: str
    native: str
    script: str
    """The first word of its letters' Unicode names."""
    voices: tuple[str, ...]


def _table(*languages: Language) -> Mapping[str, Language]:
    return MappingProxyType({language.code: language for language in languages})


LANGUAGES: Final = _table(
    Language(
        "en", "English", "English", "LATIN", ("chatterbox", "chatterbox_turbo", "kokoro", "dia", "piper", "espeak")
    ),
    Language("hi", "Hindi", "हिन्दी", "DEVANAGARI", ("chatterbox", "indic_parler", "kokoro", "mms", "espeak")),
    Language("es", "Spanish", "español", "LATIN", ("chatterbox", "kokoro", "espeak")),
    Language("ms", "Malay", "Bahasa Melayu", "LATIN", ("dia", "chatterbox", "mms", "espeak")),
    Language("ta", "Tamil", "தமிழ்", "TAMIL", ("indic_parler", "mms", "espeak")),
    Language("te", "Telugu", "తెలుగు", "TELUGU", ("indic_parler", "mms", "espeak")),
    Language("mr", "Marathi", "मराठी", "DEVANAGARI", ("indic_parler", "mms", "espeak")),
)
"""Dia declares Malay only with a checkpoint that speaks it, so its place before Chatterbox costs nothing without one."""


def best_first(language: str, voices: Sequence[V], name: Callable[[V], str]) -> list[V]:
    """The voices in the language's order. One that the table does not name keeps the place that the configuration gave it."""
    chain = LANGUAGES[language].voices if language in LANGUAGES else ()
    known = iter(
        sorted((voice for voice in voices if name(voice) in chain), key=lambda voice: chain.index(name(voice)))
    )
    return [next(known) if name(voice) in chain else voice for voice in voices]


# ── What a text is written in ─────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class Guess:
    """`confidence` 0..1; `enough` is False where there was too little to go by for the user to be taken at one word."""

    language: str
    confidence: float
    enough: bool = True


ENOUGH_LETTERS: Final = 9
"""Of a text, vowel signs counted: "¿Qué hora es?" and longer. "no", "hi" and "ok" are words of several languages."""

LOANED: Final = 0.25
"""Of a text's letters."""

ROMANISED: Final[Mapping[str, frozenset[str]]] = MappingProxyType(
    {
        "hi": frozenset({
            "hai", "hain", "hoon", "kya", "kyun", "kyon", "kaise", "kaisa", "kaisi", "kahan", "kaun", "kitna", "kitne",
            "mujhe", "mujhko", "aap", "aapka", "aapko", "tum", "tumhara", "mera", "meri", "hum", "nahi", "nahin",
            "karo", "karna", "karte", "karta", "kar", "batao", "bataiye", "sunao", "aur", "thik", "theek", "accha",
            "achha", "acha", "haan", "yaar", "bahut", "abhi", "aaj", "chahiye", "raha", "rahi", "rahe", "liye",
            "matlab", "bhai", "koi", "kuch", "kahani", "haal",
        }),
        "mr": frozenset({
            "aahe", "ahe", "aahes", "ahes", "aahet", "kasa", "kashi", "kase", "kaay", "mala", "tula", "majha", "mazha",
            "tujha", "nahi", "sanga", "saang", "kuthe", "khup", "aani", "karto", "karte", "pahije", "maza",
        }),
        "ta": frozenset({
            "enna", "epdi", "eppadi", "irukku", "iruku", "irukkinga", "irukeenga", "sollu", "sollunga", "enakku",
            "enaku", "unakku", "naan", "nee", "neenga", "romba", "illa", "illai", "venum", "vendum", "panna", "pannu",
            "pannura", "vanakkam", "nalla", "yaaru", "enga", "pathi", "theriyuma", "ungal",
        }),
        "te": frozenset({
            "ela", "unnavu", "unnaru", "enti", "emiti", "cheppu", "cheppandi", "naku", "nenu", "nuvvu", "meeru",
            "chala", "ledu", "undi", "unnayi", "ekkada", "enduku", "kavali", "bagunnara", "bagundi", "gurinchi",
            "evaru", "namaskaram",
        }),
    }
)  # fmt: skip
"""Words of India's languages as people type them in Latin letters, which no detector of languages knows: they were taken for
Malay. Chosen by hand, without those that English, Spanish or Malay have too ("main", "to", "se")."""

ROMANISED_SHARE: Final = 0.3
"""Of a text's words: who quotes two of them in English writes English."""

ROMANISED_SURE: Final = 0.95

MOST_CHARS: Final = 1_000
"""Of a text that are looked at."""

OTHERS: Final = ("de", "fr", "it", "nl", "pt")
"""In Latin letters: what Voxtral hears beside the table, and what would else be taken for one that it does not."""

ENOUGH_S: Final = 2.0
"""Of speech."""

Ranker = Callable[[str, Sequence[str]], tuple[str, float]]
"""The most likely of some languages that share a script, and its probability among them."""


class TextDetector:
    """`rank` tells languages of one script apart; without it, a script that is one language's is still found."""

    def __init__(self, rank: Ranker | None = None) -> None:
        self._rank = rank

    def load(self) -> None:
        """Blocking, about a second, for the first of a process: py3langid unpacks its model."""
        self._rank = self._rank or _ranker()

    def load_soon(self) -> None:
        """The same, beside what else there is to load; until then scripts alone tell."""
        threading.Thread(target=self.load, name="languages", daemon=True).start()

    def detect(self, text: str, also: Collection[str] = ()) -> Guess | None:
        """None where the text has no letters in the script of any language of the table. Under a millisecond a page.

        `also`: languages beside those of the table that it may well be; of them `OTHERS` are told apart.
        """
        words = _LINK.sub(" ", text[:MOST_CHARS])
        if said_in := _romanised(words):
            return Guess(said_in, ROMANISED_SURE)
        letters = [character for character in words if unicodedata.category(character)[0] in "LM"]
        script, count, of = _script(letters)
        able = [language.code for language in LANGUAGES.values() if language.script == script]
        able += [code for code in OTHERS if code in also and script == "LATIN"]
        if len(able) == 1:
            return Guess(able[0], count / of)
        if not able or self._rank is None:
            return None
        language, probability = self._rank(words, able)
        return Guess(language, probability * count / of, count >= ENOUGH_LETTERS)


@lru_cache
def _ranker() -> Ranker | None:
    try:
        from py3langid.langid import MODEL_FILE, LanguageIdentifier
    except ImportError:
        log.info("py3langid is not installed: typed languages are told apart by their script alone")
        return None
    identifier = LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
    identifier.set_languages([*LANGUAGES, *OTHERS])

    def rank(text: str, able: Sequence[str]) -> tuple[str, float]:
        likely = {language: float(share) for language, share in identifier.rank(text.lower()) if language in able}
        best = max(likely, key=lambda language: likely[language])
        return best, likely[best] / (sum(likely.values()) or 1.0)

    return rank


def _script(letters: Sequence[str]) -> tuple[str, int, int]:
    """The script of a text, how many letters are in it, and of how many. Who writes another script than Latin puts English
    words into it, and nobody the other way round: such a script needs `LOANED` of the letters, and with half of them the Latin
    ones do not count."""
    scripts = Counter(unicodedata.name(letter, "").split(" ")[0] for letter in letters)
    latin = scripts["LATIN"]
    counts = {
        language.script: scripts[language.script] for language in LANGUAGES.values() if language.script != "LATIN"
    }
    script, count = max(counts.items(), key=lambda each: each[1])
    if count < LOANED * len(letters) or not count:
        return ("LATIN" if latin else ""), latin, len(letters)
    return script, count, len(letters) - (latin if count >= latin else 0)


def _romanised(text: str) -> str:
    """The language of India that a text in Latin letters is in, by two of its words that no other language here has."""
    words = _LATIN_WORD.findall(text.lower())
    found = {language: len(marks.intersection(words)) for language, marks in ROMANISED.items()}
    language = max(found, key=lambda language: found[language])
    share = sum(word in ROMANISED[language] for word in words) / max(1, len(words))
    return language if found[language] >= 2 and share >= ROMANISED_SHARE else ""


_LATIN_WORD = re.compile(r"[a-z]+")
_LINK = re.compile(r"https?://\S+|www\.\S+|`[^`]*`")


# ── The user's language, turn by turn ─────────────────────────────────────────────────────────────────────────────────

SURE: Final = 0.9
"""A guess this confident, with enough to go by, is believed at once."""

LIKELY: Final = 0.5
"""A guess that is likelier than not is believed when the next one says the same."""


class Following:
    """The language of one conversation. A short or doubtful turn does not switch it; a sure one, or two in a row, does."""

    def __init__(self, language: str = "en") -> None:
        self.language = language
        self._candidate = ""
        self._sure = 0

    @property
    def settled(self) -> bool:
        """Two sure turns in a row, so that a doubtful one is more likely mumbled than in another language."""
        return self._sure >= 2

    def hear(self, guess: Guess | None) -> str:
        """The language in force after a turn of which this was guessed."""
        if guess is None or guess.confidence < LIKELY:
            return self.language
        sure = guess.enough and guess.confidence >= SURE
        if guess.language == self.language:
            self._candidate = ""
            self._sure += sure
        elif sure or (guess.enough and guess.language == self._candidate):
            self.fix(guess.language)
            self._sure = int(sure)
        elif guess.enough:
            self._candidate = guess.language
        return self.language

    def fix(self, language: str) -> None:
        self.language = language
        self._candidate = ""
        self._sure = 0


def name_of(language: str) -> str:
    """In English; of one that is not in the table its code."""
    return LANGUAGES[language].name if language in LANGUAGES else language


def instruction(language: str) -> str:
    """What the model is told where its instructions are in English and the user's language is not; "" for English."""
    if language == "en" or language not in LANGUAGES:
        return ""
    known = LANGUAGES[language]
    return f"The user speaks {known.name}: reply in {known.name} ({known.native}), not in English."
