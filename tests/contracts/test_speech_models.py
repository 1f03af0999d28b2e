"""What every SpeechModel must do, whatever runs behind it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import tiny_voxtral
from dialogue import voice
from vllm_wire import Chat, chat_server, delta, elsewhere, last

from duologue.engines import Loading, Message, Piece, Prompt, SpeechModel, Text, Transcript, registry
from duologue.engines.voxtral_http import load as load_http
from duologue.places.thread import Lane

HISTORY = (Message("system", "Be kind."), Message("user", "Hello"), Message("assistant", "Hi!"))
PROMPT = Prompt("contract", HISTORY)

ANSWER = (*[delta(f"{number} ") for number in range(20)], last(), "[DONE]")


@pytest.fixture(scope="module", params=["voxtral", "voxtral_http"])
def model(request: pytest.FixtureRequest) -> Iterator[SpeechModel]:
    yield from {"voxtral": voxtral, "voxtral_http": over_http}[request.param](request)


def voxtral(request: pytest.FixtureRequest) -> Iterator[SpeechModel]:
    if missing := tiny_voxtral.missing():
        pytest.skip(missing)
    lane = Lane("contract")
    table = {"model": str(request.getfixturevalue("tiny_chat")), "max_tokens": 20, "temperature": 0.0}
    yield cast(SpeechModel, registry.load("writer", "voxtral", Loading(lambda name: Path(name), lane, table)))
    lane.close()


def over_http(request: pytest.FixtureRequest) -> Iterator[SpeechModel]:
    with elsewhere(chat_server(Chat(ANSWER, split=200, gap_s=0.001))) as url:
        yield load_http(Loading(lambda name: Path(name), cast(Lane, None), {"base_url": url}))


def run(model: SpeechModel, act: Any) -> Any:
    async def main() -> Any:
        try:
            return await act()
        finally:
            if hasattr(model, "aclose"):
                await model.aclose()

    return asyncio.run(main())


def answer(model: SpeechModel, seconds: float = 1.0, prompt: Prompt = PROMPT) -> AsyncGenerator[Piece, None]:
    return cast("AsyncGenerator[Piece, None]", model.answer(voice(seconds), prompt))


def test_it_says_what_it_is(model: SpeechModel) -> None:
    assert model.about.name
    assert model.about.licence
    assert model.about.languages
    assert model.about.cancel == "token"


def test_an_answer_to_sound_comes_in_pieces_none_of_them_empty(model: SpeechModel) -> None:
    async def act() -> list[Piece]:
        return [piece async for piece in answer(model)]

    pieces = run(model, act)
    assert len(pieces) > 2
    assert all(isinstance(piece, Text) and piece.text for piece in pieces)


@pytest.mark.parametrize("prompt", [Prompt("c", ()), Prompt("c", HISTORY[:1]), Prompt("c", HISTORY[1:2]), PROMPT])
def test_any_history_is_answered(model: SpeechModel, prompt: Prompt) -> None:
    async def act() -> bool:
        async with aclosing(answer(model, 0.3, prompt)) as pieces:
            return bool(await anext(pieces))

    assert run(model, act)


def test_typed_words_are_answered_too(model: SpeechModel) -> None:
    async def act() -> list[Any]:
        return [piece async for piece in model.write(Prompt("typed", (*HISTORY, Message("user", "And you?"))))]

    assert run(model, act)


def test_a_closed_answer_leaves_nothing_running_and_the_next_one_comes(model: SpeechModel) -> None:
    async def act() -> int:
        before = asyncio.all_tasks()
        async with aclosing(answer(model)) as pieces:
            await anext(pieces)
        await asyncio.sleep(0.05)  # what a library leaves to the loop's own clearing up
        assert asyncio.all_tasks() == before
        return len([piece async for piece in answer(model)])

    assert run(model, act)


def test_two_conversations_are_answered_at_the_same_time(model: SpeechModel) -> None:
    async def act() -> None:
        first, second = (answer(model, prompt=Prompt(name, ())) for name in "ab")
        async with aclosing(first), aclosing(second):
            await anext(first)
            await anext(second)  # comes although the first is not over
            assert [piece async for piece in first]
            assert [piece async for piece in second]

    run(model, act)


def test_a_transcript_comes_while_an_answer_is_given(model: SpeechModel) -> None:
    async def act() -> Transcript:
        async with aclosing(answer(model)) as pieces:
            await anext(pieces)
            return await asyncio.wait_for(model.transcribe(voice(1.0)), 30.0)

    transcript = run(model, act)
    assert transcript.final
    assert transcript.text


@pytest.mark.parametrize("samples", [0, 1, 480_000 + 1])
def test_any_length_of_sound_will_do(model: SpeechModel, samples: int) -> None:
    async def act() -> bool:
        pieces = cast("AsyncGenerator[Piece, None]", model.answer(np.zeros(samples, np.float32), PROMPT))
        async with aclosing(pieces):
            return bool(await anext(pieces))

    assert run(model, act)


def test_a_prefill_changes_no_word_of_the_answer(model: SpeechModel) -> None:
    async def act() -> tuple[list[Piece], list[Piece]]:
        plain = [piece async for piece in answer(model, prompt=Prompt("plain", HISTORY))]
        await model.prefill(Prompt("ahead", HISTORY))
        return plain, [piece async for piece in answer(model, prompt=Prompt("ahead", HISTORY))]

    plain, ahead = run(model, act)
    assert plain == ahead


def test_conversations_may_be_forgotten_twice_or_unknown(model: SpeechModel) -> None:
    for _ in range(2):
        model.forget("contract")
    model.forget("never heard of")
