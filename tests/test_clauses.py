"""Pieces of text for the voice."""

from __future__ import annotations

import re
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from duologue.core.clauses import Clauses, Cutting

ENOUGH, HUNGRY, STARVING = 5.0, 0.9, 0.1  # seconds of sound in hand
LONGEST = Cutting().longest


def cut(text: str, in_hand_s: float, *, ended: bool = True, cutting: Cutting | None = None) -> list[str]:
    clauses = Clauses(cutting)
    clauses.push(text)
    if ended:
        clauses.end()
    pieces = []
    while (piece := clauses.take(in_hand_s)) is not None:
        pieces.append(piece)
    return pieces


def test_with_enough_in_hand_a_piece_is_a_sentence() -> None:
    assert cut("One, two and three. Four, five. Six", ENOUGH) == ["One, two and three. ", "Four, five. ", "Six"]


def test_with_little_in_hand_a_clause_will_do() -> None:
    assert cut("Well now, two and three. Four five.", HUNGRY) == ["Well now, ", "two and three. ", "Four five."]


def test_with_next_to_nothing_in_hand_a_cut_between_words_will_do() -> None:
    text = "one two three four five six seven eight"
    assert cut(text, STARVING, ended=False) == ["one two three four five six seven "]
    assert cut(text, HUNGRY, ended=False) == []


def test_a_sentence_waits_for_the_text_that_shows_its_end() -> None:
    clauses = Clauses()
    clauses.push("That costs 3.")
    assert clauses.take(ENOUGH) is None  # it may yet be 3.14
    clauses.push("14 euros. ")
    assert clauses.take(ENOUGH) == "That costs 3.14 euros. "


@pytest.mark.parametrize(
    "text",
    [
        "Pi is 3.14159 or so. ",
        "That costs 1,000 euros. ",
        "Ask Dr. Smith about it. ",
        "She met J. K. Rowling there. ",
        "Use it for fruit, e.g. apples. ",
        "At 5 p.m. we close. ",
        "See duologue.example.org now. ",
        "La Sra. Gómez llega. ",
        "It costs Rs. 500 in all. ",
        "The U.S. economy grew. ",
        "Vive en EE. UU. desde hace años. ",
        "Muchas frutas, p. ej. manzanas. ",
        "Abre a las 9 a. m. cada día. ",
        "Beliau dari Kg. Baru. ",
        "Syarikat Maju Sdn. Bhd. ada di sini. ",
        "आज शाम को डॉ. शर्मा आएँगे। ",
        "त्याची किंमत रु. 500 आहे. ",
        "நாளை டாக்டர். குமார் வருவார். ",
        "பழங்கள், எ.கா. மாம்பழம். ",
        "రేపు డా. రావు వస్తారు. ",
    ],
)
def test_a_point_within_a_sentence_does_not_end_it(text: str) -> None:
    assert cut(text + "Then more.", ENOUGH) == [text, "Then more."]


@pytest.mark.parametrize(
    "sentence",
    [
        "यह पहला वाक्य है। ",
        "हा पहिला वाक्य आहे। ",
        "இது முதல் வாக்கியம். ",
        "ఇది మొదటి వాక్యం. ",
        "Ini ayat pertama. ",
        "¿Es esta la primera? ",
        "これは最初の文です。",
        "هذه هي الجملة الأولى. ",
    ],
)
def test_every_script_has_sentences(sentence: str) -> None:
    assert cut(sentence * 2, ENOUGH) == [sentence] * 2


def test_a_piece_too_short_to_have_a_melody_waits_for_the_next() -> None:
    assert cut("No. Yes. Certainly not. ", ENOUGH) == ["No. Yes. ", "Certainly not. "]


def test_quotes_stay_with_their_sentence() -> None:
    assert cut('He said "go home." Then he left.', ENOUGH) == ['He said "go home." ', "Then he left."]


def test_curly_quotes_and_emphasis_stay_with_their_sentence() -> None:
    assert cut("She said “go home.” Then he left.", ENOUGH) == ["She said “go home.” ", "Then he left."]
    assert cut("**Heat the oven.** Then bake it.", ENOUGH) == ["**Heat the oven.** ", "Then bake it."]
    assert cut("**Flour, sugar:** mix them.", HUNGRY) == ["**Flour, ", "sugar:** ", "mix them."]


@pytest.mark.parametrize(
    "text",
    ["We close at 2:30 p.m.", "Hay en total 50 %", "Ini semuanya RM 50", "Walk there for 5 km", "He is the Dr. Smith"],
)
def test_a_number_is_not_cut_from_its_unit_nor_a_title_from_its_name(text: str) -> None:
    begun = cut(text, STARVING, ended=False)
    assert [piece for piece in begun if re.search(r"[\d.] $|RM $", piece)] == []


def test_a_sum_is_no_dash() -> None:
    assert cut("Then we have 10 - 3 = 7 of them.", HUNGRY) == ["Then we have 10 - 3 = 7 of them."]


def test_spent_when_all_was_said() -> None:
    clauses = Clauses()
    clauses.push("Hello.")
    assert not clauses.spent
    clauses.end()
    assert (clauses.take(0.0), clauses.spent, clauses.take(0.0)) == ("Hello.", True, None)


@pytest.mark.parametrize("in_hand_s", [ENOUGH, HUNGRY, STARVING])
@pytest.mark.parametrize("text", ["x" * 10_000, "x" * 10_000 + ". ", "A. " * 3_000, "no, " * 2_500, "word " * 2_000])
def test_a_long_text_is_cut_into_bounded_pieces_in_good_time(text: str, in_hand_s: float) -> None:
    began = time.process_time()
    pieces = cut(text, in_hand_s)
    assert "".join(pieces) == text
    assert max(map(len, pieces)) <= LONGEST + 1
    assert time.process_time() - began < 2.0  # looking at the whole text for every piece took minutes


def test_the_first_piece_leaves_while_the_text_is_still_being_written() -> None:
    clauses, given_after = Clauses(), 0
    for token in re.findall(r"\S+\s*", "Berlin is the capital of Germany, and it has many lakes around it."):
        given_after += 1
        clauses.push(token)
        if clauses.take(0.0) is not None:
            break
    assert given_after <= 7


def test_between_two_words_too_a_piece_has_a_melody_of_its_own() -> None:
    assert cut("I am a", STARVING, ended=False) == []
    assert cut("Certainly not so", STARVING, ended=False)[0] == "Certainly not "


def test_each_setting_moves_its_cut() -> None:
    text = "Yes, of course we can, now. "
    assert cut(text, HUNGRY, cutting=Cutting(shortest=2))[0] == "Yes, "
    assert cut(text, HUNGRY)[0] == "Yes, of course we can, "
    assert cut(text, HUNGRY, cutting=Cutting(hungry_s=0.5))[0] == text
    words = "one two three four five six seven eight"
    assert cut(words, 0.5, ended=False, cutting=Cutting(starving_s=0.6)) != []
    assert cut(words, STARVING, ended=False, cutting=Cutting(starving_words=8)) == []
    assert cut(words, ENOUGH, cutting=Cutting(longest=10))[0] == "one two "


@settings(deadline=None, derandomize=True, max_examples=200)
@given(
    st.lists(st.text(st.sampled_from("abc A1.,!?;:।。…\n \"')-–"), max_size=12), max_size=20),
    st.sampled_from([ENOUGH, HUNGRY, STARVING]),
)
def test_pieces_join_to_the_text_and_are_never_empty(tokens: list[str], in_hand_s: float) -> None:
    clauses, pieces = Clauses(), []
    for token in tokens:
        clauses.push(token)
        pieces.append(clauses.take(in_hand_s))
    clauses.end()
    while not clauses.spent:
        pieces.append(clauses.take(in_hand_s))
        assert pieces[-1]
    said = [piece for piece in pieces if piece is not None]
    assert "" not in said
    assert "".join(said) == "".join(tokens)
