"""Words out of a stream of text."""

from __future__ import annotations

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from duologue.core.words import WordStream, is_echo

PIECES = st.lists(st.text(st.sampled_from("ab, .\n  नमஆ。"), max_size=6), max_size=30)


def words_of(pieces: list[str]) -> list[str]:
    stream = WordStream()
    return [word for piece in pieces for word in stream.push(piece)] + stream.flush()


def test_a_word_is_given_when_the_next_one_begins() -> None:
    stream = WordStream()
    assert stream.push(" Hel") == []
    assert stream.push("lo ") == []
    assert stream.push("there") == [" Hello "]
    assert stream.flush() == ["there"]
    assert stream.flush() == []


@settings(deadline=None, derandomize=True)
@given(PIECES)
def test_words_join_to_the_text(pieces: list[str]) -> None:
    text = "".join(pieces)
    words = words_of(pieces)
    assert "".join(words) == (text if text.strip() else "")
    assert all(len(word.split()) == 1 for word in words)


@settings(deadline=None, derandomize=True)
@given(PIECES)
def test_words_do_not_depend_on_how_the_text_came(pieces: list[str]) -> None:
    assert words_of(pieces) == words_of(["".join(pieces)])


def test_a_text_without_spaces_costs_no_more_than_its_length() -> None:
    stream, began = WordStream(), time.process_time()
    for _ in range(500):
        stream.push("字" * 20)
    assert time.process_time() - began < 1.0  # quadratic matching took 2.5 s for the last push alone
    assert len(stream.flush()[0]) == 10_000


SPOKEN = "The capital of France is Paris, and it lies on the Seine."


def test_a_partial_transcript_is_an_echo_from_its_first_word() -> None:
    assert is_echo("capital of", SPOKEN, final=False)
    assert not is_echo("capital", SPOKEN)
    assert not is_echo("wait", SPOKEN, final=False)
    assert not is_echo("", SPOKEN, final=False)


@pytest.mark.parametrize(
    ("heard", "echo"),
    [
        ("capital of France", True),
        ("The Capital of France is harris", True),
        ("Paris", False),  # asking back
        ("What is the capital of Spain and Portugal", False),
        ("", False),
    ],
)
def test_an_echo_is_made_of_the_replys_own_words(heard: str, echo: bool) -> None:
    assert is_echo(heard, SPOKEN) == echo
