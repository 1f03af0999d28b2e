"""What is left out of a conversation that has outgrown a model."""

from __future__ import annotations

import pytest

from duologue.engines import Message, ToolCall
from duologue.engines.context import without_oldest

RULES = Message("system", "r" * 10)


def said(*words: str) -> list[Message]:
    """ "ua": the user's ten characters, the assistant's ten characters; "U" are a hundred of the user's."""
    roles = {"u": "user", "a": "assistant", "s": "system", "t": "tool"}
    return [Message(roles[one.lower()], one * (100 if one.isupper() else 10)) for word in words for one in word]  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("before", "share", "after"),
    [
        (said("ua", "ua", "u"), 0.7, said("ua", "u")),
        (said("ua", "ua", "u"), 0.5, said("u")),
        (said("ua", "ua", "u"), 0.99, said("ua", "u")),
        (said("ua", "ua", "u"), 1.5, said("ua", "u")),
        (said("ua", "ua", "u"), 0.01, said("u")),
        (said("Ua", "ua", "U"), 0.55, said("ua", "U")),
        (said("ua", "U"), 0.1, said("U")),
        (said("a", "ua", "u"), 0.9, said("ua", "u")),
        (said("a", "u"), 0.1, said("u")),
        (said("ua", "uata", "u"), 0.75, said("uata", "u")),
        (said("ua", "uata"), 0.1, said("uata")),
    ],
)
def test_the_oldest_exchanges_go_first_and_the_last_one_stays(
    before: list[Message], share: float, after: list[Message]
) -> None:
    assert without_oldest(before, share) == after


@pytest.mark.parametrize("messages", [said("u"), said("U"), [RULES, *said("u")], [RULES], said("uatat"), []])
def test_of_one_exchange_nothing_is_left_out(messages: list[Message]) -> None:
    assert without_oldest(messages, 0.1) is None


def test_as_much_is_kept_as_the_prompt_says() -> None:
    before = [RULES, *said("ua", "ua", "ua", "u")]
    assert without_oldest(before, 0.9) == [RULES, *said("ua", "ua", "u")]
    assert without_oldest(before, 0.9, 0.6) == [RULES, *said("u", "a", "u")]
    assert without_oldest(before, 0.9, 0.0) == [RULES, *said("u")]
    assert without_oldest(before, 0.9, None) is None


def test_what_the_system_said_stays_wherever_it_stood() -> None:
    assert without_oldest([RULES, *said("ua", "s", "ua", "u")], 0.1) == [RULES, *said("s", "u")]


def test_the_arguments_of_a_call_count() -> None:
    call = Message("assistant", "", (ToolCall("1", "look", "x" * 100),))
    first = [*said("u"), call, *said("t")]
    assert without_oldest([*first, *said("ua", "u")], 0.3) == said("ua", "u")
