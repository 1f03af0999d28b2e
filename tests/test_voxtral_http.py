"""Voxtral behind an address: what is asked of it, and every way in which a server may fail."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from pathlib import Path
from typing import Any, TypeVar, cast

import pytest
from dialogue import voice
from vllm_wire import Chat, chat_server, delta, last

from duologue.audio import read_audio
from duologue.engines import Loading, Message, Piece, Prompt, Text, Tool, ToolCall, ToolCallPart
from duologue.engines.voxtral_http import Settings, VoxtralHttp, load
from duologue.errors import ConfigError, EngineError
from duologue.places.thread import Lane

T = TypeVar("T")

PROMPT = Prompt("c", (Message("system", "Be kind."), Message("user", "Hello"), Message("assistant", "Hi!")))


def with_server(server: Chat, act: Callable[[VoxtralHttp], Awaitable[T]], **settings: Any) -> T:
    async def main() -> T:
        async with (
            chat_server(server) as url,
            aclosing(VoxtralHttp(Settings(base_url=url, **settings), "secret")) as model,
        ):
            return await act(model)

    return asyncio.run(main())


async def answer(model: VoxtralHttp, prompt: Prompt = PROMPT) -> list[Piece]:
    return [piece async for piece in model.answer(voice(1.0), prompt)]


def failing(server: Chat, **settings: Any) -> EngineError:
    with pytest.raises(EngineError) as error:
        with_server(server, answer, **settings)
    return error.value


def test_sound_goes_out_behind_the_history_and_tokens_come_back() -> None:
    server = Chat()
    assert with_server(server, answer) == [Text("Paris"), Text(" it"), Text(" is.")]
    (asked,) = server.requests
    assert asked["stream"] is True
    *before, turn = asked["messages"]
    assert before == [{"role": "user", "content": "Be kind.\n\nHello"}, {"role": "assistant", "content": "Hi!"}]
    (sound,) = turn["content"]
    samples, rate = read_audio(base64.b64decode(sound["input_audio"]["data"]))
    assert (sound["type"], rate, len(samples)) == ("input_audio", 16_000, 16_000)


def test_the_first_turn_has_the_instructions_before_its_sound() -> None:
    server = Chat()
    with_server(server, lambda model: answer(model, Prompt("c", (Message("system", "Be kind."),))))
    (turn,) = server.requests[0]["messages"]
    assert [part["type"] for part in turn["content"]] == ["text", "input_audio"]
    assert turn["content"][0]["text"] == "Be kind."


@pytest.mark.parametrize("split", [1, 7, 64])
def test_however_the_bytes_are_cut_the_words_are_whole(split: int) -> None:
    server = Chat(events=(delta("ह"), delta("é…"), delta(""), last(), "[DONE]"), split=split)
    assert with_server(server, answer) == [Text("ह"), Text("é…")]


def test_each_token_comes_when_it_is_sent() -> None:
    server = Chat(events=(delta("one"), *[delta(f" {number}") for number in range(200)], last()), split=200, gap_s=0.02)

    async def act(model: VoxtralHttp) -> None:
        async with aclosing(cast(Any, model.answer(voice(1.0), PROMPT))) as pieces:
            assert await anext(pieces) == Text("one")
        await asyncio.wait_for(server.gone.wait(), 30.0)  # closing the answer closed the response

    with_server(server, act)


def test_a_cancelled_answer_closes_its_response() -> None:
    server = Chat(events=(delta("one"), delta("two"), last()), split=40, gap_s=5.0)

    async def act(model: VoxtralHttp) -> None:
        asking = asyncio.create_task(answer(model))
        while not server.requests:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        asking.cancel()
        await asyncio.wait_for(server.gone.wait(), 30.0)

    with_server(server, act)


def test_a_transcript_is_asked_for_as_a_file() -> None:
    server = Chat()
    transcript = with_server(server, lambda model: model.transcribe(voice(1.0)), language="en")
    assert transcript.text == "What is the capital?"
    assert b'name="language"' in server.uploads[0]
    assert b"RIFF" in server.uploads[0]


def test_a_server_without_transcripts_is_asked_in_the_chat() -> None:
    server = Chat(events=(delta("What is"), delta(" it?"), last(), "[DONE]"))
    transcript = with_server(server, lambda model: model.transcribe(voice(1.0)), transcripts=False)
    assert transcript.text == "What is it?"
    assert server.requests[0]["temperature"] == 0.0
    assert not server.uploads


def test_functions_are_offered_and_calls_come_in_pieces() -> None:
    def call(**function: str) -> str:
        import json

        part = {"index": 0, "id": "chatcmpl-tool-1", "type": "function", "function": function}
        chunk = json.loads(delta(""))
        chunk["choices"][0]["delta"] = {"tool_calls": [part]}
        return json.dumps(chunk)

    server = Chat(
        events=(call(name="weather", arguments=""), call(arguments='{"a":'), call(arguments="1}"), last("tool_calls"))
    )
    prompt = Prompt("c", (), (Tool("weather", "Tells it."),), "required")
    pieces = with_server(server, lambda model: answer(model, prompt))
    assert server.requests[0]["tool_choice"] == "required"
    assert server.requests[0]["tools"][0]["function"]["name"] == "weather"
    assert isinstance(pieces[0], ToolCallPart)
    assert pieces[-1] == ToolCall("chatcmpl-tool-1", "weather", '{"a":1}')


@pytest.mark.parametrize(
    ("server", "code", "retryable"),
    [
        (Chat(status=404), "engine_refused", False),
        (Chat(status=400), "engine_refused", False),
        (Chat(status=429), "engine_overloaded", True),
        (Chat(status=500), "engine_failed", True),
        (Chat(events=(delta("Par"), '{"error": {"message": "engine died", "code": 500}}')), "engine_failed", True),
        (Chat(events=(delta("Par"),)), "engine_broken", True),
        (Chat(events=(delta("Par"),), breaks_off=True), "engine_broken", True),
        (Chat(events=(delta("Par"), "{not json")), "engine_broken", True),
        (Chat(events=(delta("Par"), last()), split=60, gap_s=2.0), "engine_timeout", True),
    ],
)
def test_every_failure_is_an_error_of_the_engine_that_says_whether_to_try_again(
    server: Chat, code: str, retryable: bool
) -> None:
    error = failing(server, retries=0, silence_s=0.5)
    assert (error.code, error.retryable) == (code, retryable), error


def test_a_server_that_is_not_there_is_said_to_be_away() -> None:
    async def main() -> None:
        async with chat_server(Chat()) as url:
            pass
        async with aclosing(VoxtralHttp(Settings(base_url=url, retries=0))) as model:
            await answer(model)

    with pytest.raises(EngineError) as error:
        asyncio.run(main())
    assert error.value.code == "engine_unreachable"
    assert "127.0.0.1" in error.value.message


def test_a_server_that_starts_up_is_asked_again() -> None:
    server = Chat(fails_first=1)
    assert len(with_server(server, answer)) == 3
    assert len(server.requests) == 2


def test_an_engine_is_loaded_though_its_server_is_away(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    key = tmp_path / "key"
    key.write_text("secret\n")
    table = {"base_url": "http://127.0.0.1:1/v1", "key_file": str(key)}
    model = load(Loading(lambda name: Path(name), cast(Lane, None), table))
    assert "cannot be reached now" in caplog.text
    assert model._key == "secret"


@pytest.mark.parametrize(
    ("table", "code"),
    [
        ({"base_url": "vllm:8000"}, "bad_setting"),
        ({"key_file": "/no/such/file"}, "key_unreadable"),
        ({"colour": "red"}, "unknown_setting"),
    ],
)
def test_bad_settings_are_refused(table: dict[str, str], code: str) -> None:
    with pytest.raises(ConfigError) as error:
        load(Loading(lambda name: Path(name), cast(Lane, None), table))
    assert error.value.code == code
