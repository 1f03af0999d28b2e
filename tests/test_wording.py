"""Words that want more, and whole questions."""

from __future__ import annotations

import pytest

from duologue.core.wording import asks, unfinished


@pytest.mark.parametrize(
    "text",
    ["I would like a", "I would like a.", "and then, um,", "Quiero un", "con el", "saya mahu dan", "मुझे चाय और", "the"],
)
def test_more_is_to_come(text: str) -> None:
    assert unfinished(text)


@pytest.mark.parametrize(
    "text",
    ["", "...", "Yes.", "I like that", "What is it for?", "I think so", "Quiero un café", "saya mahu kopi", "मुझे चाय"],
)
def test_nothing_more_is_to_come(text: str) -> None:
    assert not unfinished(text)


@pytest.mark.parametrize("text", ["My account number is.", "Why not? My suggestion is", "The opening hours are..."])
def test_what_links_two_things_wants_the_second(text: str) -> None:
    assert unfinished(text)


@pytest.mark.parametrize(
    "text", ["Yes, it is.", "They are.", "Tell me where the station is.", "Is.", "How old the boys were"]
)
def test_but_it_may_stand_behind_a_pronoun_and_at_the_end_of_what_is_asked_for(text: str) -> None:
    assert not unfinished(text)


@pytest.mark.parametrize(
    "text", ["And what about Sunday?", "Hello. Are you open today?", "¿Qué hora es?", '"Is it far?"']
)
def test_a_whole_question(text: str) -> None:
    assert asks(text)


@pytest.mark.parametrize("text", ["", "?", "What?", "Are you sure? Well.", "I am open on Sundays.", "Is that so? Yes?"])
def test_no_whole_question(text: str) -> None:
    assert not asks(text)
