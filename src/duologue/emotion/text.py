"""Text as the emotion modules read it: folded, in tokens, and as the features of the classifier.

Training and running share this file; a change here needs new weights (training/emotion_words.py).
"""

from __future__ import annotations

import re
import unicodedata
import zlib
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import pairwise
from math import log

FEATURES = 1 << 16
"""Hashed features. Four times as many gained 0.003 of macro-F1 in cross-validation, and 2 MB."""

LONGEST_GRAM = 5
"""Characters; lengths 1 to 4, 2 to 6 and 3 to 5 were within 0.005 of 2 to 5."""

_DROPPED = re.compile("[\u0300-\u036f\u093c\u200b-\u200d\ufe0f]")
"""Latin accents and the nukta of Devanagari, which people and recognisers leave out; joiners and emoji's variation
selectors."""

_STRETCHED = re.compile(r"(.)\1{2,}")
_SILENT = frozenset(',"()[]“”‘«»…')
"""Marks that say nothing of a feeling."""


def tokens(text: str) -> list[str]:
    """Words in lower case without accents, digits as 0, every mark and emoji by itself; "soooo" becomes "sooo"."""
    found: list[str] = []
    open_word = False
    for character in _fold(text):
        kind = unicodedata.category(character)
        in_word = kind[0] in "LMN" or character in "'-"
        if in_word and open_word:
            found[-1] += character
        elif not character.isspace() and kind[0] != "C":
            found.append(character)
        open_word = in_word
    bare = (token.strip("'-") for token in found)
    return [_STRETCHED.sub(r"\1\1\1", token) for token in bare if token]


def features(words: Sequence[str]) -> dict[int, float]:
    """Of tokens: the hash of each word, pair of words and n-gram of characters within a word, and 1 + log of how often it
    occurs."""
    counts = Counter(zlib.crc32(gram.encode("utf-8", "replace")) % FEATURES for gram in _grams(words))
    return {feature: 1 + log(count) for feature, count in counts.items()}


def _fold(text: str) -> str:
    plain = unicodedata.normalize("NFKD", text.lower().replace("’", "'"))
    return re.sub(r"\d", "0", unicodedata.normalize("NFC", _DROPPED.sub("", plain).replace("ँ", "ं")))


def _grams(words: Sequence[str]) -> Iterator[str]:
    words = [word for word in words if word not in _SILENT]
    for word in words:
        yield f"w {word}"
        padded = f" {word} "
        for length in range(2, min(LONGEST_GRAM, len(padded) - 1) + 1):
            for start in range(len(padded) - length + 1):
                yield padded[start : start + length]
    for first, second in pairwise(words):
        yield f"p {first} {second}"
