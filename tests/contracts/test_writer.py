"""What every Writer must do, whatever runs behind it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Iterator, Mapping
from contextlib import aclosing, closing, contextmanager
from dataclasses import dataclass
from typing import Any, cast

import chat_server
import pytest

from duologue.engines import (
    Loading,
    Message,
    Piece,
    Prompt,
    Reading,
    ReplyPiece,
    Text,
    Tool,
    ToolCall,
    ToolCallPart,
    Writer,
    llama,
    registry,
)
from duologue.errors import ConfigError, EngineError
from duologue.models import open_store
from duologue.places.thread import Lane

INSTRUCTIONS = Message("system", "You are a helpful assistant. Reply in one short English sentence.")
QUESTION = Message("user", "What is the capital of France?")
WEATHER = Message("user", "What is the weather in Paris?")

TOOL = Tool(
    "get_weather",
    "Get the current weather in a city",
    {"type": "object", "properties": {"city": {"enum": ["Paris", "Rome"]}}, "required": ["city"]},
)
OTHER_TOOL = Tool(
    "set_timer", "Start a timer", {"type": "object", "properties": {"minutes": {"enum": [5]}}, "required": ["minutes"]}
)
SCRIPT = [{"call": "get_weather", "arguments": {"city": "Paris"}}, "It is {output}."]


@dataclass(frozen=True)
class Kind:
    """A writer under test; `caller` calls a function when it must, and `teller` tells what that gave."""

    writer: Writer
    caller: Writer
    teller: Writer


@contextmanager
def loaded(name: str, **settings: object) -> Iterator[Writer]:
    with closing(Lane("contract")) as lane:
        try:
            engine = cast(Writer, registry.load("writer", name, Loading(open_store().folder, lane, settings)))
        except ConfigError as error:
            pytest.skip(f"{error.message} [{error.code}]")
        yield engine
        if hasattr(engine, "close"):
            engine.close()


@contextmanager
def scripted() -> Iterator[Kind]:
    with loaded("scripted") as writer, loaded("scripted", replies=SCRIPT) as caller:
        yield Kind(writer, caller, caller)


@contextmanager
def packaged() -> Iterator[Kind]:
    with loaded("llama") as writer:
        yield Kind(writer, writer, writer)


@contextmanager
def endpoint() -> Iterator[Kind]:
    try:
        folder = open_store().folder(llama.MODEL)
    except ConfigError as error:
        pytest.skip(f"{error.message} [{error.code}]")
    with chat_server.serving(folder) as url:
        greedy: Mapping[str, Any] = {"base_url": url, "model": "packaged", "temperature": 0.0, "max_tokens": 60}
        with (
            loaded("openai_chat", **greedy) as writer,
            loaded("openai_chat", **greedy, body=chat_server.PUSHED) as caller,
        ):
            yield Kind(writer, caller, writer)


KINDS = {"scripted": scripted, "llama": packaged, "openai_chat": endpoint}
REAL = pytest.mark.models


@pytest.fixture(
    scope="module", params=["scripted", pytest.param("llama", marks=REAL), pytest.param("openai_chat", marks=REAL)]
)
def kind(request: pytest.FixtureRequest) -> Iterator[Kind]:
    with KINDS[request.param]() as kind:
        yield kind


@pytest.fixture
def writer(kind: Kind) -> Writer:
    return kind.writer


def ask(*said: Message, conversation: str = "contract", **more: Any) -> Prompt:
    return Prompt(conversation, (INSTRUCTIONS, *said), **more)


async def answer(writer: Writer, prompt: Prompt) -> AsyncGenerator[ReplyPiece, None]:
    """Without the signs that it reads."""
    async with aclosing(cast("AsyncGenerator[Piece, None]", writer.write(prompt))) as given:
        async for piece in given:
            if isinstance(piece, Reading):
                assert 0 <= piece.read <= piece.total
                continue
            yield piece


async def pieces(writer: Writer, prompt: Prompt) -> list[ReplyPiece]:
    return [piece async for piece in answer(writer, prompt)]


async def words(writer: Writer, prompt: Prompt) -> str:
    return "".join([piece.text for piece in await pieces(writer, prompt) if isinstance(piece, Text)])


def test_it_says_what_it_is(writer: Writer) -> None:
    assert writer.about.name
    assert writer.about.licence
    assert writer.about.cancel == "token"


def test_an_answer_comes_in_pieces_none_of_them_empty(writer: Writer) -> None:
    given = asyncio.run(pieces(writer, ask(QUESTION)))
    assert len(given) > 2
    assert all(isinstance(piece, Text) and piece.text for piece in given)


def test_a_closed_answer_leaves_nothing_running_and_the_next_one_comes(writer: Writer) -> None:
    async def main() -> str:
        reply = answer(writer, ask(QUESTION))
        await anext(reply)
        await reply.aclose()
        assert asyncio.all_tasks() == {asyncio.current_task()}
        return await asyncio.wait_for(words(writer, ask(QUESTION)), 30)

    assert asyncio.run(main())


def test_an_answer_that_was_never_asked_for_costs_nothing(writer: Writer) -> None:
    async def main() -> set[asyncio.Task[object]]:
        await answer(writer, ask(QUESTION)).aclose()
        return asyncio.all_tasks() - {cast("asyncio.Task[object]", asyncio.current_task())}

    assert asyncio.run(main()) == set()


def test_a_prefill_changes_no_word_of_the_answer(writer: Writer) -> None:
    async def main() -> tuple[str, str]:
        plain = await words(writer, ask(QUESTION, conversation="plain"))
        await writer.prefill(ask(Message("user", "What is the"), conversation="ahead"))
        return plain, await words(writer, ask(QUESTION, conversation="ahead"))

    plain, ahead = asyncio.run(main())
    assert plain == ahead


def test_a_cancelled_prefill_gives_way_to_the_answer(writer: Writer) -> None:
    async def main() -> str:
        prefill = asyncio.create_task(writer.prefill(ask(Message("user", "again and " * 400))))
        await asyncio.sleep(0.05)
        prefill.cancel()
        return await asyncio.wait_for(words(writer, ask(QUESTION)), 30)

    assert asyncio.run(main())


def test_two_conversations_are_answered_at_the_same_time(writer: Writer) -> None:
    async def main() -> None:
        first = answer(writer, ask(QUESTION, conversation="one"))
        second = answer(writer, ask(QUESTION, conversation="two"))
        await anext(first)
        await anext(second)  # comes although the first is not over
        assert [piece async for piece in first]
        assert [piece async for piece in second]

    asyncio.run(main())


def test_conversations_may_be_forgotten_twice_or_unknown(writer: Writer) -> None:
    for _ in range(2):
        writer.forget("contract")
    writer.forget("never heard of")
    assert asyncio.run(words(writer, ask(QUESTION)))


def test_an_answer_has_no_more_tokens_than_it_may(writer: Writer) -> None:
    assert len(asyncio.run(pieces(writer, ask(QUESTION, max_tokens=2)))) == 2


# ── functions ─────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_call_that_must_be_made_comes_in_parts_and_then_whole(kind: Kind) -> None:
    given = asyncio.run(pieces(kind.caller, ask(WEATHER, tools=(TOOL,), tool_choice="required", conversation="must")))
    call = next(piece for piece in given if isinstance(piece, ToolCall))
    parts = [piece for piece in given if isinstance(piece, ToolCallPart) and piece.id == call.id]
    assert not any(isinstance(piece, Text) for piece in given)
    assert call.name == "get_weather"
    assert set(json.loads(call.arguments)) == {"city"}
    assert len(parts) > 1
    assert "".join(part.arguments for part in parts) == call.arguments
    assert given.index(call) > given.index(parts[-1])


def test_a_call_is_made_its_output_told(kind: Kind) -> None:
    async def main() -> tuple[ToolCall, str]:
        prompt = ask(WEATHER, tools=(TOOL,), tool_choice="required", conversation="round trip")
        call = next(piece for piece in await pieces(kind.caller, prompt) if isinstance(piece, ToolCall))
        history = (WEATHER, Message("assistant", "", (call,)), Message("tool", "18 degrees and rain", answers=call.id))
        return call, await words(kind.teller, ask(*history, tools=(TOOL,), conversation="round trip"))

    call, told = asyncio.run(main())
    assert call.id
    assert "18" in told


def test_each_call_of_a_conversation_has_an_id_of_its_own(kind: Kind) -> None:
    async def main() -> list[str]:
        ids = []
        for conversation in ("first", "second"):
            prompt = ask(WEATHER, tools=(TOOL,), tool_choice="required", conversation=conversation)
            ids += [piece.id for piece in await pieces(kind.caller, prompt) if isinstance(piece, ToolCall)]
        return ids

    ids = asyncio.run(main())
    assert len(ids) == len(set(ids)) >= 2


def test_tools_that_may_not_be_called_are_not(writer: Writer) -> None:
    given = asyncio.run(pieces(writer, ask(WEATHER, tools=(TOOL,), tool_choice="none")))
    assert given
    assert all(isinstance(piece, Text) for piece in given)


def test_the_tool_that_is_named_is_the_one_that_is_called(kind: Kind) -> None:
    if kind.writer.about.name == "scripted":
        pytest.skip("a script calls what it says")
    prompt = ask(WEATHER, tools=(TOOL, OTHER_TOOL), tool_choice="set_timer")
    calls = [piece for piece in asyncio.run(pieces(kind.caller, prompt)) if isinstance(piece, ToolCall)]
    assert {(call.name, *json.loads(call.arguments).items()) for call in calls} == {("set_timer", ("minutes", 5))}


def test_a_tool_that_is_named_and_not_there_is_a_bad_prompt(kind: Kind) -> None:
    if kind.writer.about.name == "scripted":
        pytest.skip("a script looks at no tools")
    with pytest.raises(EngineError) as caught:
        asyncio.run(pieces(kind.writer, ask(WEATHER, tools=(TOOL,), tool_choice="set_timer")))
    assert (caught.value.code, caught.value.retryable) == ("bad_prompt", False)


def test_an_answer_closed_in_the_middle_of_a_call_leaves_nothing_running(kind: Kind) -> None:
    async def main() -> list[ReplyPiece]:
        prompt = ask(WEATHER, tools=(TOOL,), tool_choice="required", conversation="closed")
        reply = answer(kind.caller, prompt)
        assert isinstance(await anext(reply), ToolCallPart)
        await reply.aclose()
        assert asyncio.all_tasks() == {asyncio.current_task()}
        return await asyncio.wait_for(pieces(kind.caller, prompt), 30)

    assert any(isinstance(piece, ToolCall) for piece in asyncio.run(main()))
