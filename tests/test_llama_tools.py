from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator
from contextlib import aclosing
from typing import Any

import pytest

from duologue.engines import (
    Loading,
    Message,
    Prompt,
    Reading,
    ReplyPiece,
    Text,
    Tool,
    ToolCall,
    ToolCallPart,
    llama,
    llama_tools,
)
from duologue.errors import ConfigError, EngineError
from duologue.models import open_store
from duologue.places.thread import Lane


def parameters(**properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": list(properties)}


WEATHER = Tool("get_weather", "Get the current weather in a city", parameters(city={"type": "string"}))
TIMER = Tool("set_timer", "Start a timer for a number of minutes", parameters(minutes={"type": "integer"}))
INSTRUCTIONS = Message("system", "You are a helpful assistant. Reply in one short English sentence.")
CALL = ToolCall("id", "get_weather", '{"city": "Paris"}')


def asked(text: str, *more: Message, conversation: str = "c", **options: Any) -> Prompt:
    return Prompt(conversation, (INSTRUCTIONS, Message("user", text), *more), **options)


def told(output: str) -> tuple[Message, Message]:
    return Message("assistant", "", (CALL,)), Message("tool", output, answers=CALL.id)


# ── prompts ───────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_conversation_without_calls_is_the_messages_themselves() -> None:
    messages = [INSTRUCTIONS, Message("user", ""), Message("assistant", ""), Message("user", "Hello!")]
    sent = llama_tools.in_words(messages)
    assert sent == [{"role": message.role, "content": message.content} for message in messages]


def test_an_output_is_information_to_answer_with_and_a_call_without_words_is_nothing() -> None:
    said = Message("assistant", "Let me look.", (CALL,))
    sent = llama_tools.in_words([Message("user", "Well?"), said, *told("18 degrees and rain")])
    assert sent == [
        {"role": "user", "content": "Well?"},
        {"role": "assistant", "content": "Let me look."},
        {"role": "system", "content": "Answer with this information: 18 degrees and rain"},
    ]


@pytest.mark.parametrize(
    ("output", "words"),
    [
        ('{"temperature_c": 7.5, "sky": "clear", "windy": false}', "temperature c: 7.5, sky: clear, windy: no"),
        ('["milk", {"eggs": 6}, null, true]', "milk, eggs: 6, none, yes"),
        ("17:25 from platform 4", "17:25 from platform 4"),
        ('"rain"', "rain"),
        ("", ""),
    ],
)
def test_json_is_told_in_words(output: str, words: str) -> None:
    assert llama_tools.in_words(told(output))[0]["content"] == llama_tools.ANSWER + words


def test_a_call_is_written_beside_the_conversation_from_the_tools_and_the_last_question() -> None:
    first = llama_tools.aside(asked("One?", *told("x"), Message("user", "Two?")), [WEATHER])
    (instructions, question) = first.messages
    assert '{"name": "get_weather", "description": "Get the current weather in a city"' in instructions.content
    assert question == Message("user", "Two?")
    again = llama_tools.aside(asked("Three?", conversation="another"), [WEATHER])
    assert again.conversation == first.conversation  # one cache for all who have these tools
    assert llama_tools.aside(asked("Two?"), [TIMER]).conversation != first.conversation
    assert llama_tools.aside(Prompt("c", (INSTRUCTIONS,)), [TIMER]).messages == (
        Message("system", llama_tools.aside(asked("?"), [TIMER]).conversation),
    )


@pytest.mark.parametrize(
    ("said", "shared"),
    [
        ("What's the weather?", True),
        ("Compare two CITIES", False),  # no grammar of English here
        ("How many minutes?", True),
        ("A minute, please", True),
        ("Tell me a joke", False),
        ("Is it in? For a", False),
    ],
)
def test_a_word_of_the_tool_s_own_makes_a_call_likelier(said: str, shared: bool) -> None:
    ((_, bias),) = llama_tools.weighing(asked(said), [WEATHER, TIMER])["logit_bias"]
    assert bias == llama_tools.CALL_BIAS + (llama_tools.SHARED_WORD_BIAS if shared else 0)


def test_a_call_has_no_more_tokens_than_the_prompt_allows() -> None:
    assert llama_tools.calling([WEATHER], None)["max_tokens"] == llama_tools.CALL_TOKENS
    assert llama_tools.calling([WEATHER], 7)["max_tokens"] == 7
    assert llama_tools.calling([WEATHER], 100_000)["max_tokens"] == llama_tools.CALL_TOKENS


# ── the text of a call ────────────────────────────────────────────────────────────────────────────────────────────

WRITTEN = '<tool_call>[\n{"name": "get_weather", "arguments": {"city": "Paris"}'


@pytest.mark.parametrize("size", [1, 2, 3, 7, 100])
def test_the_arguments_are_told_as_they_are_written(size: int) -> None:
    text = llama_tools.CallText("id", unbounded=True)
    parts = [part for n in range(0, len(WRITTEN), size) for part in text.push(WRITTEN[n : n + size])]
    assert list(text.end()) == [CALL]
    assert "".join(part.arguments for part in parts) == CALL.arguments
    assert all(part.arguments and part.name == "get_weather" for part in parts)


@pytest.mark.parametrize("length", [0, 5, 40, len(WRITTEN) - 1])
def test_a_call_that_is_cut_off_is_none(length: int) -> None:
    bounded, unbounded = (llama_tools.CallText("id", unbounded=unbounded) for unbounded in (False, True))
    for text in (bounded, unbounded):
        list(text.push(WRITTEN[:length]))
    assert list(bounded.end()) == []
    with pytest.raises(EngineError) as caught:
        list(unbounded.end())
    assert caught.value.code == "call_too_long"


def test_text_without_its_grammar_is_no_call() -> None:
    with pytest.raises(EngineError) as caught:
        list(llama_tools.CallText("id", unbounded=True).push("Paris is"))
    assert (caught.value.code, caught.value.retryable) == ("bad_tools", False)


# ── with the packaged model ───────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture(scope="module")
def writer() -> Iterator[llama.LlamaWriter]:
    try:
        folder = open_store().folder(llama.MODEL)
    except ConfigError as error:
        pytest.skip(f"{error.message} [{error.code}]")
    engine = llama.load(Loading(lambda name: folder, Lane("unused"), {"slots": 3, "context": 1_024}))
    yield engine
    engine.close()


class Watched:
    """The real server, the requests that it gets, and how many tokens it reads for each."""

    def __init__(self, server: Any) -> None:
        self.server = server
        self.requests: list[dict[str, Any]] = []
        self.read: list[int] = []

    def handle_chat_completions(self, request: Any, callback: Callable[[Any], bool]) -> None:
        def note(event: Any) -> bool:
            if timings := event.get("timings"):
                self.read.append(timings["prompt_n"])
            return callback(event)

        self.requests.append(request)
        self.server.handle_chat_completions(request, note)


@pytest.fixture
def watched(writer: llama.LlamaWriter) -> Iterator[Watched]:
    real = writer._servers[0]
    writer._servers[0] = Watched(real)
    yield writer._servers[0]
    writer._servers[0] = real


def pieces(writer: llama.LlamaWriter, prompt: Prompt) -> list[ReplyPiece]:
    async def main() -> list[ReplyPiece]:
        return [piece async for piece in writer.write(prompt) if not isinstance(piece, Reading)]

    return asyncio.run(main())


def words(writer: llama.LlamaWriter, prompt: Prompt) -> str:
    return "".join(piece.text for piece in pieces(writer, prompt) if isinstance(piece, Text))


def forced(writer: llama.LlamaWriter, text: str, *tools: Tool, choice: str = "required") -> tuple[str, Any]:
    *_, call = pieces(writer, asked(text, tools=tools, tool_choice=choice))
    assert isinstance(call, ToolCall)
    return call.name, json.loads(call.arguments)


@pytest.mark.models
def test_a_forced_call_has_the_city_of_the_question(writer: llama.LlamaWriter) -> None:
    assert forced(writer, "What is the weather in Paris?", WEATHER) == ("get_weather", {"city": "Paris"})
    assert forced(writer, "Play some jazz.", WEATHER, TIMER, choice="set_timer")[0] == "set_timer"


@pytest.mark.models
def test_arguments_are_what_the_schema_says(writer: llama.LlamaWriter) -> None:
    person: dict[str, Any] = {
        "type": "object",
        "properties": {"name": {"type": "string", "maxLength": 12}, "age": {"type": "integer"}},
    }
    person |= {"required": ["name", "age"], "additionalProperties": False}
    register = Tool("register", "Register a person", parameters(who={"$ref": "#/$defs/P"}) | {"$defs": {"P": person}})
    name, arguments = forced(writer, "I am Bob and I am 41.", register)
    assert (name, arguments.keys(), arguments["who"].keys()) == ("register", {"who"}, {"name", "age"})
    assert isinstance(arguments["who"]["age"], int)
    assert forced(writer, "Take a nap.", Tool("nap", "Take a nap")) == ("nap", {})
    colour = Tool("paint", "Paint it", parameters(colour={"enum": ['rouge "vif"', "bleu-é"]}))
    assert forced(writer, "Paint it.", colour)[1]["colour"] in ('rouge "vif"', "bleu-é")


@pytest.mark.models
def test_tools_that_nobody_can_follow_end_the_turn_and_not_the_engine(
    writer: llama.LlamaWriter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(llama_tools, "CALL_TOKENS", 40)
    with pytest.raises(EngineError) as caught:
        forced(writer, "Play.", Tool("x", "", parameters(a={"type": "string", "pattern": "(?=x)y"})))
    assert caught.value.code == "bad_tools"
    with pytest.raises(EngineError) as caught:
        forced(writer, "Count.", Tool("x", "", parameters(a={"type": "string", "pattern": "[0-9]{200}"})))
    assert caught.value.code == "call_too_long"
    with pytest.raises(EngineError) as caught:
        forced(writer, "Play.", Tool("x", "a very long story " * 400))
    assert caught.value.code == "prompt_too_long"
    assert forced(writer, "What is the weather in Rome?", WEATHER)[0] == "get_weather"


@pytest.mark.models
def test_a_call_cut_off_by_the_prompt_s_limit_has_parts_and_no_whole(writer: llama.LlamaWriter) -> None:
    given = pieces(writer, asked("The weather in Paris?", tools=(WEATHER,), tool_choice="required", max_tokens=21))
    assert given
    assert all(isinstance(piece, ToolCallPart) for piece in given)


@pytest.mark.models
def test_the_answer_after_a_call_tells_its_output(writer: llama.LlamaWriter, watched: Watched) -> None:
    for output, fact in (("18 degrees and rain", "18"), ('{"temperature_c": 7, "sky": "cloudy"}', "7")):
        reply = words(writer, asked("What is the temperature in Oslo?", *told(output), tools=(WEATHER,)))
        assert fact in reply
    assert watched.requests[0]["messages"][-1]["content"].endswith("18 degrees and rain")
    assert all(request["max_tokens"] > 1 for request in watched.requests), (
        "it was not asked whether it would call again"
    )


REQUESTS = [
    (
        WEATHER,
        ["What's the weather in Paris?", "Tell me the weather in Tokyo please.", "How is the weather in Mumbai?"],
    ),
    (TIMER, ["Set a timer for ten minutes.", "I need a timer for half an hour.", "Start a five minute timer."]),
]
ORDINARY = [
    "What is the capital of France?",
    "Hello, how are you?",
    "Tell me a joke.",
    "Who wrote Romeo and Juliet?",
    "Thank you very much.",
    "How do I make pancakes?",
    "Why is the sky blue?",
    "I feel a bit sad today.",
    "How many legs does a spider have?",
    "Good morning!",
    "Do you like music?",
    "What is the tallest mountain?",
]


@pytest.mark.models
def test_where_it_may_requests_are_calls_and_ordinary_questions_are_not(writer: llama.LlamaWriter) -> None:
    """A sample of what stands in the module's text, with room for other processors' rounding."""

    def calls(text: str, *tools: Tool) -> bool:
        async def main() -> bool:
            async with aclosing(writer.write(asked(text, tools=tools))) as pieces:  # type: ignore[type-var]
                first = await anext(piece async for piece in pieces if not isinstance(piece, Reading))
            return not isinstance(first, Text)

        return asyncio.run(main())

    assert sum(calls(text, tool) for tool, texts in REQUESTS for text in texts) >= 5
    assert sum(calls(text, WEATHER, TIMER) for text in ORDINARY) <= 1


@pytest.mark.models
def test_ordinary_words_are_the_same_with_tools_and_without(writer: llama.LlamaWriter) -> None:
    prompt = asked("What is the capital of France?")
    with_tools = asked("What is the capital of France?", tools=(WEATHER, TIMER), conversation="other")
    assert words(writer, prompt) == words(writer, with_tools)


@pytest.mark.models
def test_without_tools_there_is_one_request_and_it_is_the_messages(writer: llama.LlamaWriter, watched: Watched) -> None:
    words(writer, asked("Hello!"))
    words(writer, asked("Hello!", tools=(WEATHER,), tool_choice="none"))
    assert len(watched.requests) == 2
    for request in watched.requests:
        assert request["messages"] == [
            {"role": "system", "content": INSTRUCTIONS.content},
            {"role": "user", "content": "Hello!"},
        ]
        assert not request.keys() & {"grammar", "tools", "json_schema"}


@pytest.mark.models
def test_the_description_of_the_tools_is_read_once(writer: llama.LlamaWriter, watched: Watched) -> None:
    async def main() -> None:
        tools: dict[str, Any] = {"tools": (WEATHER, Tool("dig", "Dig a hole")), "tool_choice": "required"}
        await writer.prefill(asked("What is", conversation="first", **tools))
        for conversation in ("first", "second"):
            prompt = asked("What is the weather in Paris?", conversation=conversation, **tools)
            assert [piece async for piece in writer.write(prompt)]

    asyncio.run(main())
    described, _, *calls = watched.read
    assert described > 100
    assert all(read < 30 for read in calls)
