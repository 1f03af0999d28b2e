from __future__ import annotations

from typing import TypeAlias

import pytest

from duologue.engines import Message, Prompt, Tool, ToolCall, ToolCallPart
from duologue.engines.tool_calls import Calls, new_id, offered, paired
from duologue.errors import EngineError

PARIS = '{"city": "Paris"}'
ROME = '{"city": "Rome"}'
Delta: TypeAlias = tuple[int, str, str, str]
"""Index, id, name, arguments."""


def put_together(deltas: list[Delta], taken: set[str] | None = None) -> tuple[Calls, list[ToolCallPart]]:
    calls = Calls(taken or set())
    return calls, [part for delta in deltas for part in calls.push(*delta)]


@pytest.mark.parametrize(
    ("deltas", "calls"),
    [
        pytest.param(
            [(0, "a", "w", ""), (0, "", "", '{"city"'), (0, "", "", ': "Paris"}')], [("a", PARIS)], id="as OpenAI"
        ),
        pytest.param([(0, "a", "w", ""), *((0, "", "", c) for c in PARIS)], [("a", PARIS)], id="letter by letter"),
        pytest.param([(0, "a", "w", PARIS)], [("a", PARIS)], id="all at once"),
        pytest.param(
            [(0, "a", "w", '{"city"'), (0, "a", "w", ': "Paris"}'), (0, "a", "w", "")],
            [("a", PARIS)],
            id="id and name each time",
        ),
        pytest.param([(0, "a", "", '{"city"'), (0, "", "w", ': "Paris"}')], [("a", PARIS)], id="the name late"),
        pytest.param(
            [(0, "a", "w", '{"city"'), (1, "b", "w", '{"city":'), (0, "", "", ': "Paris"}'), (1, "", "", ' "Rome"}')],
            [("a", PARIS), ("b", ROME)],
            id="parallel, mixed",
        ),
        pytest.param(
            [(0, "a", "w", PARIS), (0, "b", "w", ROME)], [("a", PARIS), ("b", ROME)], id="parallel, one index"
        ),
        pytest.param([(3, "b", "w", ROME), (1, "a", "w", PARIS)], [("b", ROME), ("a", PARIS)], id="odd indexes"),
        pytest.param([(0, "a", "w", "")], [("a", "{}")], id="no arguments"),
        pytest.param([(0, "a", "w", "{"), (0, "", "", "}")], [("a", "{}")], id="empty arguments"),
    ],
)
def test_calls_are_put_together(deltas: list[Delta], calls: list[tuple[str, str]]) -> None:
    made, parts = put_together(deltas)
    assert made.whole() == [ToolCall(id, "w", arguments) for id, arguments in calls]
    assert made.cut_off() == ""
    assert all(part.arguments and part.name == "w" for part in parts)
    for call in made.whole():
        assert "".join(part.arguments for part in parts if part.id == call.id) in (call.arguments, "")


def test_whole_calls_without_ids_at_one_index_are_two() -> None:
    made, _ = put_together([(0, "", "w", PARIS), (0, "", "w", ROME)])
    assert [call.arguments for call in made.whole()] == [PARIS, ROME]


def test_a_call_without_an_id_or_with_one_that_is_taken_is_given_one() -> None:
    deltas = [(0, "", "w", PARIS), (1, "taken", "w", PARIS), (2, "b", "w", PARIS), (3, "b", "w", PARIS)]
    made, _ = put_together(deltas, {"taken"})
    ids = [call.id for call in made.whole()]
    assert len({*ids, "taken"}) == 5
    assert ids[2] == "b"


def test_a_made_id_is_one_that_every_server_takes() -> None:
    ids = {new_id() for _ in range(100)}
    assert len(ids) == 100
    assert all(len(id) == 9 and id.isalnum() for id in ids)


@pytest.mark.parametrize("delta", [(0, "a", "w", '{"city": '), (0, "a", "", "{}")])
def test_a_call_that_cannot_be_run_is_not_given(delta: Delta) -> None:
    made, _ = put_together([(1, "b", "v", PARIS), delta])
    assert [call.id for call in made.whole()] == ["b"]
    assert made.cut_off() in ("w", "a call without a name")


# ── what a prompt offers ──────────────────────────────────────────────────────────────────────────────────────────

TOOLS = (Tool("w"), Tool("v"))


@pytest.mark.parametrize(
    ("choice", "names"), [("auto", ["w", "v"]), ("required", ["w", "v"]), ("none", []), ("v", ["v"])]
)
def test_a_choice_says_which_tools_there_are(choice: str, names: list[str]) -> None:
    assert [tool.name for tool in offered(Prompt("c", (), TOOLS, choice), "x")] == names


def test_a_choice_of_no_tool_is_a_bad_prompt() -> None:
    with pytest.raises(EngineError, match="frog") as caught:
        offered(Prompt("c", (), TOOLS, "frog"), "x")
    assert (caught.value.code, caught.value.engine, caught.value.retryable) == ("bad_prompt", "x", False)


# ── histories ─────────────────────────────────────────────────────────────────────────────────────────────────────


def called(*ids: str, content: str = "") -> Message:
    return Message("assistant", content, tuple(ToolCall(id, "w", "{}") for id in ids))


def gave(id: str, output: str = "rain") -> Message:
    return Message("tool", output, answers=id)


SAID = Message("user", "And now?")


@pytest.mark.parametrize(
    ("messages", "expected"),
    [
        pytest.param([SAID], [SAID], id="no calls"),
        pytest.param([SAID, called("a"), gave("a")], [SAID, called("a"), gave("a")], id="in order"),
        pytest.param([called("a"), SAID, gave("a")], [called("a"), gave("a"), SAID], id="the user spoke between"),
        pytest.param(
            [called("a"), called("b"), gave("a"), gave("b")],
            [called("a"), gave("a"), called("b"), gave("b")],
            id="two messages",
        ),
        pytest.param(
            [called("a", "b"), gave("b"), gave("a")], [called("a", "b"), gave("a"), gave("b")], id="one message"
        ),
        pytest.param([called("a"), SAID], [SAID], id="never answered"),
        pytest.param(
            [called("a", content="I look."), SAID], [called(content="I look."), SAID], id="said, never answered"
        ),
        pytest.param([called("a", "b"), gave("b")], [called("b"), gave("b")], id="half answered"),
        pytest.param([gave("a"), SAID], [SAID], id="the call forgotten"),
    ],
)
def test_each_call_has_its_output_after_it(messages: list[Message], expected: list[Message]) -> None:
    assert paired(messages) == expected
