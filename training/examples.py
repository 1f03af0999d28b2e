"""What the classifier of words is fitted to, and the mark by which it is known whether it still fits."""

from __future__ import annotations

import hashlib
from pathlib import Path

from benchmarks.brighter import Labelled, texts
from duologue.emotion.lexicon import lexicon
from duologue.emotion.text import features, tokens
from duologue.emotion.words import TRAINED

SHIPPED = Path(__file__).parents[1] / "src" / "duologue" / "emotion" / "words.npz"
PLAIN_TURNS = Path(__file__).parent / "plain_turns.tsv"


def examples() -> list[Labelled]:
    """BRIGHTER's training texts, then the plain turns. Raises `ConfigError` (no_texts)."""
    return [example for language in TRAINED for example in texts(language, "train")] + plain_turns()


def plain_turns() -> list[Labelled]:
    """Requests and remarks without a feeling, written for this project."""
    rows = [line.split("\t") for line in PLAIN_TURNS.read_text(encoding="utf-8").splitlines()]
    return [Labelled(language, text, frozenset({"neutral"})) for language, text in rows]


def fitted_with() -> bytes:
    """Digest of what the weights depend on beside BRIGHTER: change a lexicon of `TRAINED` or the features, and they must be
    fitted anew."""
    digest = hashlib.sha256()
    for name in sorted((*TRAINED, "any")):
        digest.update((SHIPPED.parent / "lexicons" / f"{name}.toml").read_bytes())
    for example in plain_turns():
        found, votes = features(tokens(example.text)), lexicon(example.language).read(example.text).votes
        rounded = [sorted((key, round(value, 6)) for key, value in table.items()) for table in (found, votes)]
        digest.update(repr((example.text, rounded)).encode())
    return digest.digest()
