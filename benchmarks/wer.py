"""Word error rate: how many words of what was said were heard wrong, left out or made up, per word said.

Both sides are brought to one spelling first, so that only what a listener would call a mistake counts: case and
punctuation go, numbers become words ("9", "June 4th", "4592" digit by digit), and so do hesitations ("uh", "mm-hmm").
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

ONES = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve"]
ONES += ["thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen"]
TENS = ["twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"]
ORDINALS = {"one": "first", "two": "second", "three": "third", "five": "fifth", "eight": "eighth", "nine": "ninth"}
ORDINALS |= {"twelve": "twelfth"}
HESITATIONS = frozenset(["uh", "um", "er", "hm", "hmm", "mm", "mhm", "mmm", "mmhmm", "ah", "eh"])


def wer(pairs: Iterable[tuple[str, str]]) -> float:
    """Over (said, heard) pairs: all errors by all words said. 0 is perfect; it can pass 1 when words are made up."""
    errors = words = 0
    for said, heard in pairs:
        reference, hypothesis = normalise(said), normalise(heard)
        errors += distance(reference, hypothesis)
        words += len(reference)
    return errors / words if words else float(errors > 0)


def normalise(text: str) -> list[str]:
    """Words in one spelling: "At 9, uh, on June 4th." is at nine on june fourth."""
    found = re.findall(r"[^\W_]+(?:'[^\W_]+)*", text.lower().replace("’", "'"))
    return [spelled for word in found for spelled in _spell(word) if spelled not in HESITATIONS]


def distance(reference: Sequence[str], hypothesis: Sequence[str]) -> int:
    """Levenshtein's, on words: the least number of words to replace, add or drop."""
    return distances(reference, hypothesis)[-1]


def distances(reference: Sequence[str], hypothesis: Sequence[str], replaced: int = 1) -> list[int]:
    """From each beginning of `reference`, the empty one first, to the whole `hypothesis`; replacing costs `replaced`."""
    row = list(range(len(hypothesis) + 1))
    found = [row[-1]]
    for i, said in enumerate(reference, 1):
        corner, row[0] = row[0], i
        for j, heard in enumerate(hypothesis, 1):
            same = corner + replaced * (said != heard)
            corner, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, same)
        found.append(row[-1])
    return found


def _spell(word: str) -> list[str]:
    if match := re.fullmatch(r"(\d{1,2})(?:st|nd|rd|th)", word):
        *tens, last = _number(int(match[1]))
        return [*tens, _ordinal(last)]
    if not word.isdecimal():
        return [word]
    return _number(int(word)) if len(word) <= 2 else [ONES[int(digit)] for digit in word]


def _number(value: int) -> list[str]:
    if value < 20:
        return [ONES[value]]
    return [TENS[value // 10 - 2], *([ONES[value % 10]] if value % 10 else [])]


def _ordinal(word: str) -> str:
    return ORDINALS.get(word) or (word[:-1] + "ieth" if word.endswith("y") else word + "th")
