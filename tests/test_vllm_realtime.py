"""The recogniser over vLLM's own `/v1/realtime`: its order of messages, words while sound goes in, and bad days."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from typing import Any, cast

import numpy as np
import pytest
from vllm_wire import MODEL, Realtime, realtime_server

from duologue.audio import FRAME_SAMPLES, Frame
from duologue.engines import Pause, Transcript
from duologue.engines.vllm_realtime import Settings, VllmRealtime
from duologue.errors import EngineError

UPDATE, START, APPEND, END = (
    "session.update",
    "input_audio_buffer.commit",
    "input_audio_buffer.append",
    "input_audio_buffer.commit.final",
)


async def spoken(*parts: int, gap_s: float = 0.0) -> AsyncIterator[Frame | Pause]:
    """So many frames before each pause."""
    at = 0
    for frames in parts:
        for _ in range(frames):
            await asyncio.sleep(gap_s)
            yield Frame(np.full(FRAME_SAMPLES, 0.1, np.float32), at)
            at += FRAME_SAMPLES
        yield Pause()


async def hear(realtime: Realtime, audio: AsyncIterator[Frame | Pause], **settings: Any) -> list[Transcript]:
    async with realtime_server(realtime) as url:
        model = VllmRealtime(Settings(base_url=url, **settings), "secret")
        return [transcript async for transcript in model.transcribe(audio)]


def failing(realtime: Realtime, **settings: Any) -> EngineError:
    with pytest.raises(EngineError) as error:
        asyncio.run(hear(realtime, spoken(6, gap_s=0.02), **settings))
    return error.value


def test_the_order_of_messages_is_vllm_s() -> None:
    realtime = Realtime()
    heard = asyncio.run(hear(realtime, spoken(5)))
    assert realtime.received == [UPDATE, START, APPEND, APPEND, APPEND, END]
    assert realtime.bytes == 5 * FRAME_SAMPLES * 2
    assert realtime.headers["authorization"] == "Bearer secret"
    assert heard[-1] == Transcript("w1 w2 w3", final=True)


def test_words_come_while_sound_goes_in() -> None:
    async def main() -> None:
        given = 0

        async def counted() -> AsyncIterator[Frame | Pause]:
            nonlocal given
            async for item in spoken(40, gap_s=0.01):
                given += 1
                yield item

        async with realtime_server(Realtime()) as url:
            async for transcript in VllmRealtime(Settings(base_url=url)).transcribe(counted()):
                assert transcript.text.startswith("w1")
                assert not transcript.final
                assert given < 40
                return

    asyncio.run(main())


def test_a_turn_with_pauses_in_it_is_one_text() -> None:
    realtime = Realtime()
    heard = asyncio.run(hear(realtime, spoken(4, 0, 2)))
    finals = [transcript.text for transcript in heard if transcript.final]
    assert finals == ["w1 w2", "w1 w2", "w1 w2 w1"]
    assert realtime.received == [UPDATE, START, APPEND, APPEND, END, START, APPEND, END]


def test_silence_alone_asks_nothing() -> None:
    realtime = Realtime()
    assert asyncio.run(hear(realtime, spoken(0))) == [Transcript("", final=True)]
    assert realtime.received == [UPDATE]


def test_closing_the_stream_closes_the_socket() -> None:
    async def main() -> None:
        realtime = Realtime()
        async with realtime_server(realtime) as url:
            async with aclosing(
                cast(Any, VllmRealtime(Settings(base_url=url)).transcribe(spoken(400, gap_s=0.01)))
            ) as words:
                await anext(words)
            await asyncio.wait_for(realtime.closed.wait(), 5.0)
            assert len(asyncio.all_tasks()) <= 4, "the server's own"
        assert END not in realtime.received

    asyncio.run(main())


def test_two_streams_never_mix() -> None:
    async def main() -> None:
        one, two = Realtime(word="a"), Realtime(word="b")
        first, second = await asyncio.gather(hear(one, spoken(20, gap_s=0.002)), hear(two, spoken(20, gap_s=0.002)))
        assert "b" not in "".join(each.text for each in first)
        assert "a" not in "".join(each.text for each in second)

    asyncio.run(main())


async def _closes(socket: Any, message: dict[str, Any]) -> bool:
    if message["type"] == APPEND:
        await socket.close()
    return True


async def _no_json(socket: Any, message: dict[str, Any]) -> bool:
    await socket.send("{no json")
    return True


async def _no_event(socket: Any, message: dict[str, Any]) -> bool:
    await socket.send("[1]")
    return True


async def _breaks(socket: Any, message: dict[str, Any]) -> bool:
    if message["type"] == APPEND:
        await socket.send(json.dumps({"type": "error", "error": "engine died", "code": "processing_error"}))
    return True


@pytest.mark.parametrize(
    ("on", "code", "retryable"),
    [
        (_closes, "engine_broken", True),
        (_no_json, "engine_failed", True),
        (_no_event, "engine_failed", True),
        (_breaks, "engine_failed", True),
        (lambda socket, message: True, "engine_timeout", True),
    ],
)
def test_every_failure_is_an_error_of_the_engine(on: Callable[..., Any], code: str, retryable: bool) -> None:
    error = failing(Realtime(on=on), final_s=0.3)
    assert (error.code, error.retryable) == (code, retryable), error


def test_a_model_that_is_not_served_is_refused_for_good() -> None:
    error = failing(Realtime(), model="mistralai/Other")
    assert (error.code, error.retryable) == ("engine_refused", False)
    assert "model_not_found" in error.message


def test_a_server_that_is_not_there_is_said_to_be_away() -> None:
    async def main() -> None:
        async for _ in VllmRealtime(Settings(base_url="http://127.0.0.1:1/v1")).transcribe(spoken(2)):
            pass

    with pytest.raises(EngineError) as error:
        asyncio.run(main())
    assert error.value.code == "engine_unreachable"


def test_a_turn_that_breaks_by_itself_takes_the_socket_with_it() -> None:
    async def broken() -> AsyncIterator[Frame | Pause]:
        async for item in spoken(4):
            yield item
            if isinstance(item, Pause):
                raise EngineError("the ear", "is full", code="recognizer_behind")

    realtime = Realtime()
    with pytest.raises(EngineError, match="is full"):
        asyncio.run(hear(realtime, broken()))
    assert realtime.closed.is_set()


def test_the_model_s_name_is_vllm_s() -> None:
    assert Settings().model == MODEL
