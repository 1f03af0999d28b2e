"""What Voxtral's template is given: every history that a session can have, in a form that the template takes."""

from __future__ import annotations

from duologue.engines import Message, Prompt, Tool, ToolCall
from duologue.engines.voxtral_prompt import ID_LETTERS, SILENT, call_id, chat, tools

SYSTEM = Message("system", "Be kind.")


def told(*messages: Message, heard: bool = False) -> list[tuple[str, str]]:
    return [(each["role"], each["content"]) for each in chat(Prompt("p", messages), heard=heard)]


def test_the_instructions_are_the_head_of_the_first_turn() -> None:
    assert told(SYSTEM, Message("user", "Hi")) == [("user", "Be kind.\n\nHi")]
    assert told(SYSTEM, heard=True) == [("user", "Be kind.")]
    assert told(Message("user", "Hi")) == [("user", "Hi")]


def test_a_turn_that_is_heard_comes_after_what_was_said() -> None:
    history = (SYSTEM, Message("user", "Hi"), Message("assistant", "Hello."))
    assert told(*history, heard=True) == [("user", "Be kind.\n\nHi"), ("assistant", "Hello."), ("user", "")]


def test_unanswered_turns_are_one_and_empty_ones_none() -> None:
    said = (Message("user", "One."), Message("assistant", " "), Message("user", ""), Message("user", "Two."))
    assert told(*said) == [("user", "One.\n\nTwo.")]
    assert told(*said, heard=True) == [("user", "One.\n\nTwo.")]


def test_a_history_that_begins_with_an_answer_gets_a_turn_before_it() -> None:
    assert told(SYSTEM, Message("assistant", "Hello."), Message("user", "Hi"))[0] == ("user", "Be kind.")
    assert told(Message("assistant", "Hello."), Message("user", "Hi"))[0] == ("user", SILENT)


def test_a_model_that_is_to_go_on_unasked_is_told_of_the_silence() -> None:
    assert told(SYSTEM, Message("user", "Hi"), Message("assistant", "Hello."))[-1] == ("user", SILENT)
    assert told() == [("user", SILENT)]
    assert told(SYSTEM) == [("user", f"Be kind.\n\n{SILENT}")]


def test_calls_and_their_results_carry_ids_of_nine_letters() -> None:
    call = ToolCall("call_1", "weather", '{"city": "Paris"}')
    said = (Message("user", "Rain?"), Message("assistant", "", calls=(call,)), Message("tool", "No.", answers="call_1"))
    _, asked, result = chat(Prompt("p", said))
    assert asked["tool_calls"][0]["function"] == {"name": "weather", "arguments": '{"city": "Paris"}'}
    assert result == {"role": "tool", "tool_call_id": asked["tool_calls"][0]["id"], "content": "No."}
    assert len(call_id("call_1")) == ID_LETTERS
    assert call_id("call_1") != call_id("call_2")


def test_a_result_whose_call_was_left_out_is_left_out_too() -> None:
    assert told(Message("user", "Hi"), Message("tool", "No.", answers="call_1"), Message("user", "So?")) == [
        ("user", "Hi\n\nSo?")
    ]


def test_tools_are_told_unless_none_may_be_called() -> None:
    tool = Tool("weather", "Tells the weather.")
    assert [each["function"]["name"] for each in tools(Prompt("p", (), (tool,)))] == ["weather"]
    assert tools(Prompt("p", (), (tool,), "none")) == []
