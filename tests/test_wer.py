"""Word error rate: one spelling for both sides, and every mistake counted once."""

from __future__ import annotations

import pytest

from benchmarks import wer


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Yes.", "yes"),
        ("nine in the morning", "9 in the morning"),
        ("four five nine two", "4592"),
        ("June 4th", "june fourth"),
        ("the 21st", "the twenty-first"),
        ("the 30th", "the thirtieth"),
        ("42", "forty two"),
        ("My number is, uh, 7.", "My number is seven."),
        ("Mm hmm.", ""),
        ("I’ll be there", "I'll be there"),
        ("San Francisco", "san-francisco"),
    ],
)
def test_what_sounds_alike_is_alike(one: str, other: str) -> None:
    assert wer.normalise(one) == wer.normalise(other)


@pytest.mark.parametrize(
    ("said", "heard", "errors"),
    [
        ("a b c", "a b c", 0),
        ("a b c", "a x c", 1),
        ("a b c", "a c", 1),
        ("a b c", "a b b c", 1),
        ("a b c", "", 3),
        ("", "a b", 2),
        ("a b c d", "b c d e", 2),
    ],
)
def test_errors_are_replaced_dropped_or_added_words(said: str, heard: str, errors: int) -> None:
    assert wer.distance(said.split(), heard.split()) == errors


def test_the_rate_is_over_all_words() -> None:
    assert wer.wer([("one two three", "one two three"), ("four", "for")]) == 0.25
    assert wer.wer([("", "made up")]) == 1.0
    assert wer.wer([]) == 0.0
