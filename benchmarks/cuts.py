"""Where in what was said a user was cut off: a pause between two sentences invites an answer, one within a sentence does not."""

from __future__ import annotations

import re
from enum import Enum

from benchmarks.wer import distances, normalise


class Cut(Enum):
    MID_SENTENCE = "cut off in mid-sentence"
    BETWEEN = "answered between two sentences"
    LAST_WORD = "answered within the last word"  # every word was understood; what followed was its end, or breath


def cut(said: str, heard: str) -> Cut:
    """`said` is all that the user had to say, `heard` the words that were taken for the whole; misheard ones do no harm."""
    whole, ends = len(normalise(said)), sentence_ends(said)
    words = words_said(said, heard)
    if words == whole:
        return Cut.LAST_WORD
    return Cut.BETWEEN if words in ends else Cut.MID_SENTENCE


def sentence_ends(said: str) -> set[int]:
    """After how many words (as `normalise` counts them) each sentence ends."""
    marks = re.finditer(r"[.!?…]+(?=\s|$)", said)
    return {len(normalise(said[: mark.end()])) for mark in marks}


def words_said(said: str, heard: str) -> int:
    """How many words of `said` had been spoken when `heard` was heard: those whose letters are the most like it.

    Letters, and not words: "I am" is nearly "I'm", and a word that was made up is like none.
    """
    words = normalise(said)
    by_letter = distances(" ".join(words), " ".join(normalise(heard)), replaced=2)
    ends = [len(" ".join(words[:count])) for count in range(len(words) + 1)]
    return min(range(len(ends)), key=lambda count: (by_letter[ends[count]], -count))
