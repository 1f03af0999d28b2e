"""Text for a voice: nothing is lost of what was written, nothing is said that only the eye should see."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from duologue.engines.spoken import RUN_CHARS, WORD_CHARS, Spoken, read, runs, spoken


@given(st.text(alphabet=st.characters(exclude_categories=()), max_size=200))
def test_joining_the_words_gives_the_text_back(text: str) -> None:
    assert "".join(word.text for word in read(text)) == text


@given(st.text(alphabet=st.characters(exclude_categories=()), max_size=200))
def test_what_is_said_can_be_encoded_and_holds_no_control_character(text: str) -> None:
    said = spoken(read(text))
    said.encode()
    assert not [c for c in said if unicodedata.category(c) in ("Cc", "Cs", "Co", "Cn")]


@given(st.lists(st.tuples(st.text(max_size=3), st.text(max_size=WORD_CHARS)), max_size=60), st.integers(60, 200))
def test_runs_lose_no_word_and_stay_short(pairs: list[tuple[str, str]], limit: int) -> None:
    words = [Spoken(text, say) for text, say in pairs]
    cut = list(runs(words, limit))
    assert [word for run in cut for word in run] == words
    assert all(len(spoken(run)) <= limit for run in cut)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("**Bold** and *soft*, `code`, ~~gone~~.", "Bold and soft, code, gone."),
        ("## Heading\nText", "Heading, Text"),
        ("a line\ngoes on", "a line goes on"),
        ("दो कप आटा लें।\n", "दो कप आटा लें।"),
        ("for ten minutes.\n", "for ten minutes."),
        ("one. First\ntwo. Second\nthree) Third", "one. First, two. Second, three) Third"),
        ("See [the docs](https://docs.example.org/a).", "See the docs."),
        ("https://www.example.org/a?b=c works", "example.org works"),
        ("| a | b |\n|---|---|\n| 1 | 2 |", "a b 1 2"),
        ("[[h@l@U]] there", "h@l@U there"),
        ("<speak><break/>hi</speak>", "hi"),
        ("3 < 5 and C++ or C#", "3 < 5 and C++ or C#"),
        ("yes 🙂👨‍👩‍👧 no", "yes no"),
        ("a\x00b \x1b[31mred\u202e", "ab 31mred"),
        ("wait... what—no", "wait, what, no"),
        ("Nooooooo!!!!!!", "Nooo!"),
        ("𝓗𝓮𝓵𝓵𝓸 Ｗｏｒｌｄ", "Hello World"),
        ("क्‍ष", "क्‍ष"),
        ("£-एक ₹-క (-एक है-ना (-5) well-known", "£ एक ₹ క ( एक है-ना (-5) well-known"),
        ("ऽvऺḱउ Pythonలో app-ல் 5वीं https://a.in/क", "ऽ v ऺ ḱ उ Python లో app-ல் 5वीं a.in"),
        ("100°C costs $5 & 50%", "100°C costs $5 & 50%"),
        ("... — !!! 🙂", ""),
        ("broken \ud800 half", "broken half"),
    ],
)
def test_what_is_said(text: str, said: str) -> None:
    assert " ".join(spoken(read(text)).split()) == said


def test_a_long_string_without_a_space_is_not_spelled_out() -> None:
    words = read("0x" + "deadbeef" * 1_250)
    assert len(spoken(words)) == WORD_CHARS
    assert len(spoken(read("ก" + "กข" * 100))) > 200  # a script without spaces is


def test_a_run_is_cut_after_punctuation_where_it_can_be() -> None:
    text = "one two three four five six, " * 20
    for run in list(runs(read(text)))[:-1]:
        assert spoken(run).endswith(",")
        assert len(spoken(run)) > RUN_CHARS // 2
