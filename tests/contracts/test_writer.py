"""What every Writer must do, whatever runs behind it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterator
from typing import cast

import pytest

from duologue.engines import Loading, Message, Prompt, Text, ToolCall, Writer, registry
from duologue.errors import ConfigError
from duologue.models import open_store
from duologue.places.thread import Lane

INSTRUCTIONS = Message("system", "You are a helpful assistant. Reply in one short English sentence.")
QUESTION = Message("user", "What is the capital of France?")


@pytest.fixture(scope="module", params=["scripted", pytest.param("llama", marks=pytest.mark.models)])
def writer(request: pytest.FixtureRequest) -> Iterator[Writer]:
    lane = Lane("contract")
    try:
        engine = cast(Writer, registry.load("writer", request.param, Loading(open_store().folder, lane)))
    except ConfigError as error:
        pytest.skip(f"{error.message} [{error.code}]")
    yield engine
    close = getattr(engine, "close", None)
    if close is not None:
        close()
    lane.close()


def ask(*said: Message, conversation: str = "contract") -> Prompt:
    return Prompt(conversation, (INSTRUCTIONS, *said))


def answer(writer: Writer, prompt: Prompt) -> AsyncGenerator[Text | ToolCall, None]:
    return cast("AsyncGenerator[Text | ToolCall, None]", writer.write(prompt))


async def words(writer: Writer, prompt: Prompt) -> str:
    return "".join([piece.text async for piece in answer(writer, prompt) if isinstance(piece, Text)])


def test_it_says_what_it_is(writer: Writer) -> None:
    assert writer.about.name
    assert writer.about.licence
    assert writer.about.cancel == "token"


def test_an_answer_comes_in_pieces_none_of_them_empty(writer: Writer) -> None:
    async def main() -> list[Text | ToolCall]:
        return [piece async for piece in answer(writer, ask(QUESTION))]

    pieces = asyncio.run(main())
    assert len(pieces) > 2
    assert all(isinstance(piece, Text) and piece.text for piece in pieces)


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
