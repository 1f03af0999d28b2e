from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterator
from contextlib import aclosing, suppress
from pathlib import Path
from typing import Any, cast

import chat_server
import pytest
from stranger import Line, Play, Stranger

from duologue.engines import (
    Loading,
    Message,
    Piece,
    Prompt,
    Text,
    Tool,
    ToolCall,
    ToolCallPart,
    Writer,
    llama,
    openai_chat,
)
from duologue.errors import ConfigError, EngineError
from duologue.models import open_store
from duologue.places.thread import Lane

QUESTION = (Message("user", "What is the weather in Paris?"),)
TOOL = Tool("get_weather", "The weather in a city", {"type": "object", "properties": {"city": {"enum": ["Paris"]}}})


def load(base_url: str = "http://127.0.0.1:9/v1", **settings: object) -> openai_chat.ChatWriter:
    table = {"model": "m", "timeout_s": 30.0, "retries": 0, "base_url": base_url, **settings}
    return openai_chat.load(Loading(Path, Lane("unused"), table))


async def pieces(writer: Writer, prompt: Prompt) -> list[Piece]:
    return [piece async for piece in writer.write(prompt)]


async def words(writer: Writer, prompt: Prompt) -> str:
    return "".join(piece.text for piece in await pieces(writer, prompt) if isinstance(piece, Text))


def asked(*messages: Message, **more: Any) -> Prompt:
    return Prompt("c", messages or QUESTION, **more)


# ── a server that does as it likes ────────────────────────────────────────────────────────────────────────────────


def delta(**content: Any) -> dict[str, Any]:
    return {"choices": [{"index": 0, "delta": content}]}


def part(
    index: int | None = 0, id: str | None = None, name: str | None = None, arguments: Any = None
) -> dict[str, Any]:
    return delta(tool_calls=[{"index": index, "id": id, "function": {"name": name, "arguments": arguments}}])


def end(reason: str = "stop") -> dict[str, Any]:
    return {"choices": [{"index": 0, "delta": {}, "finish_reason": reason}]}


def says(*chunks: Any, done: bool = True) -> Play:
    async def play(line: Line, request: dict[str, Any]) -> None:
        await line.stream(*chunks, done=done)

    return play


def answers(status: str, body: str, *headers: str) -> Play:
    async def play(line: Line, request: dict[str, Any]) -> None:
        await line.respond(status, body, *headers)

    return play


def meet(play: Play, prompt: Prompt | None = None, **settings: object) -> tuple[list[Piece], Stranger]:
    """What the writer makes of such a server, and what the server saw."""

    async def main() -> tuple[list[Piece], Stranger]:
        async with Stranger(play).serving() as stranger:
            writer = load(stranger.url, **settings)
            try:
                return await pieces(writer, prompt or asked()), stranger
            finally:
                await writer.aclose()

    return asyncio.run(main())


def fails(play: Play, prompt: Prompt | None = None, **settings: object) -> EngineError:
    with pytest.raises(EngineError) as caught:
        meet(play, prompt, **settings)
    return caught.value


HELLO = (delta(role="assistant", content=""), delta(content="It is"), delta(content=" fine."), end())


# ── requests ──────────────────────────────────────────────────────────────────────────────────────────────────────


def test_words_come_as_they_are_written_and_empty_ones_do_not() -> None:
    given, stranger = meet(says(*HELLO, {"choices": [], "usage": {"total_tokens": 3}}))
    assert given == [Text("It is"), Text(" fine.")]
    assert stranger.requests == [
        {
            "model": "m",
            "messages": [{"role": "user", "content": "What is the weather in Paris?"}],
            "max_tokens": 1024,
            "stream": True,
        }
    ]


def test_an_emoji_that_comes_in_two_halves_is_whole_and_a_half_is_said_to_be_one() -> None:
    halves = (
        delta(content="\ud83d"),
        delta(content="\ude42 well"),
        delta(content=" \ud83d"),
        delta(content="!"),
        end(),
    )
    given, _ = meet(says(*halves))
    assert given == [Text("🙂 well"), Text(" "), Text("\ufffd!")]


def test_half_of_a_surrogate_pair_in_the_conversation_is_no_end_of_it() -> None:
    history = (
        Message("user", "Hello."),
        Message("assistant", "half \ud83d, whole \ud83d\ude42"),
        Message("user", "And?"),
    )
    _, stranger = meet(says(*HELLO), asked(*history))
    assert [message["content"] for message in stranger.requests[0]["messages"]] == [
        "Hello.",
        "half \ufffd, whole 🙂",
        "And?",
    ]


def test_settings_and_the_prompt_s_limit_are_in_the_request() -> None:
    body = {"seed": 7, "chat_template_kwargs": {"enable_thinking": False}}
    settings = {"temperature": 0.5, "max_tokens_name": "max_completion_tokens", "body": body}
    _, stranger = meet(says(*HELLO), asked(max_tokens=9), **settings)
    (request,) = stranger.requests
    assert (request["temperature"], request["seed"], request["max_completion_tokens"]) == (0.5, 7, 9)
    assert request["chat_template_kwargs"] == {"enable_thinking": False}
    assert "max_tokens" not in request


def test_tools_and_the_choice_among_them_are_in_the_request() -> None:
    bare = Tool("nap")
    for choice, sent in {
        "auto": "auto",
        "none": "none",
        "required": "required",
        "nap": {"type": "function", "function": {"name": "nap"}},
    }.items():
        _, stranger = meet(says(*HELLO), asked(tools=(TOOL, bare), tool_choice=choice))
        (request,) = stranger.requests
        assert request["tool_choice"] == sent
        first, second = (tool["function"] for tool in request["tools"])
        assert first == {"name": TOOL.name, "description": TOOL.description, "parameters": TOOL.parameters}
        assert second["parameters"] == {"type": "object", "properties": {}}


def test_calls_and_their_outputs_are_in_the_request_and_those_without_the_other_are_not() -> None:
    call, late, lost = (ToolCall(f"id{n}", "get_weather", "{}") for n in range(3))
    history = (
        Message("tool", "of a call that is forgotten", answers="gone"),
        Message("assistant", "", (call,)),
        Message("assistant", "I look.", (late,)),
        Message("assistant", "", (lost,)),
        Message("tool", "rain", answers=call.id),
        Message("user", "And now?"),
        Message("tool", "snow", answers=late.id),
    )
    _, stranger = meet(says(*HELLO), asked(*history))
    sent = [
        (message["role"], message["content"], [c["id"] for c in message.get("tool_calls", ())])
        for message in stranger.requests[0]["messages"]
    ]
    assert sent == [
        ("assistant", None, ["id0"]),
        ("tool", "rain", []),
        ("assistant", "I look.", ["id1"]),
        ("tool", "snow", []),
        ("user", "And now?", []),
    ]
    assert stranger.requests[0]["messages"][0]["tool_calls"][0] == {
        "id": "id0",
        "type": "function",
        "function": {"name": "get_weather", "arguments": "{}"},
    }


def test_no_key_is_sent_that_was_not_given(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OPENAI_API_KEY", "OPENAI_ADMIN_KEY", "OPENAI_ORG_ID", "OPENAI_PROJECT_ID", "MY_KEY"):
        monkeypatch.setenv(name, "secret")
    _, stranger = meet(says(*HELLO))
    assert "secret" not in str(stranger.headers)
    assert "authorization" not in stranger.headers[0]
    _, stranger = meet(says(*HELLO), api_key_env="MY_KEY")
    assert stranger.headers[0]["authorization"] == "Bearer secret"
    _, stranger = meet(says(*HELLO), api_key="mine", headers={"X-Title": "duologue"})
    assert (stranger.headers[0]["authorization"], stranger.headers[0]["x-title"]) == ("Bearer mine", "duologue")
    _, stranger = meet(says(*HELLO), headers={"authorization": "Basic abc"})
    assert stranger.headers[0]["authorization"] == "Basic abc"


def test_a_connection_serves_again_until_it_is_closed() -> None:
    async def main() -> None:
        stranger = Stranger(says(*HELLO))
        async with stranger.serving():
            writer = load(stranger.url)
            for _ in range(3):
                assert await words(writer, asked()) == "It is fine."
            assert stranger.connections == 1
            assert not stranger.all_gone.is_set()
            await writer.aclose()
            await asyncio.wait_for(stranger.all_gone.wait(), 30)

    asyncio.run(main())


def test_one_engine_serves_one_loop_after_the_other() -> None:
    """Whoever forgets `aclose` gets no warning of a socket left open: the loop closes it (pytest makes warnings errors)."""
    writers: list[openai_chat.ChatWriter] = []

    async def main() -> str:
        async with Stranger(says(*HELLO)).serving() as stranger:
            writer = load(stranger.url)
            writers.append(writer)
            return await words(writer, asked())

    assert asyncio.run(main()) == asyncio.run(main()) == "It is fine."

    async def again() -> None:
        with pytest.raises(EngineError) as caught:
            await words(writers[0], asked())
        assert caught.value.code == "engine_unreachable"  # and not "the event loop is closed"

    asyncio.run(again())


def test_a_closed_engine_says_so() -> None:
    writer = load()
    writer.close()
    with pytest.raises(EngineError) as caught:
        asyncio.run(words(writer, asked()))
    assert caught.value.code == "engine_closed"


def test_a_prefill_asks_nothing_unless_it_is_told_to() -> None:
    async def main(**settings: object) -> list[dict[str, Any]]:
        async with Stranger(says(delta(content="It"), end("length"))).serving() as stranger:
            writer = load(stranger.url, **settings)
            await writer.prefill(asked(tools=(TOOL,)))
            await writer.aclose()
            return stranger.requests

    assert asyncio.run(main()) == []
    (request,) = asyncio.run(main(prefill_tokens=1))
    assert (request["max_tokens"], request["messages"][0]["content"]) == (1, QUESTION[0].content)
    assert request["tools"]  # else it is another prompt that is read


# ── calls in pieces ───────────────────────────────────────────────────────────────────────────────────────────────

PARIS = '{"city": "Paris"}'


def test_a_call_comes_in_its_parts_and_then_whole() -> None:
    chunks = (
        delta(content="I look."),
        part(0, "a", "w", ""),
        part(0, None, None, '{"city"'),
        part(0, None, None, ': "Paris"}'),
    )
    given, _ = meet(says(*chunks, end("tool_calls")), asked(tools=(TOOL,)))
    assert given == [
        Text("I look."),
        ToolCallPart("a", "w", '{"city"'),
        ToolCallPart("a", "w", ': "Paris"}'),
        ToolCall("a", "w", PARIS),
    ]


def test_a_call_with_an_id_that_stands_in_the_conversation_gets_another() -> None:
    before = ToolCall("a", "w", "{}")
    history = (*QUESTION, Message("assistant", "", (before,)), Message("tool", "rain", answers="a"), *QUESTION)
    given, _ = meet(says(part(0, "a", "w", PARIS), end("tool_calls")), asked(*history, tools=(TOOL,)))
    assert [piece.id == "a" for piece in given if isinstance(piece, ToolCall)] == [False]


def test_arguments_that_come_as_an_object_are_text_again() -> None:
    given, _ = meet(says(part(0, "a", "w", {"city": "Paris"}), end()), asked(tools=(TOOL,)))
    assert given[-1] == ToolCall("a", "w", PARIS)


def test_a_call_that_the_prompt_s_limit_cuts_off_never_comes_whole() -> None:
    play = says(part(0, "a", "w", PARIS), part(1, "b", "w", '{"ci'), end("length"))
    given, _ = meet(play, asked(tools=(TOOL,), max_tokens=12))
    assert [piece.id for piece in given if isinstance(piece, ToolCall)] == ["a"]
    given, _ = meet(says(part(0, "a", "w", '{"ci'), end("length")), asked(tools=(TOOL,), max_tokens=4))
    assert given == [ToolCallPart("a", "w", '{"ci')]


@pytest.mark.parametrize(
    ("reason", "code"), [("length", "call_too_long"), ("tool_calls", "engine_broken"), ("stop", "engine_broken")]
)
def test_a_call_whose_arguments_are_no_json_is_none(reason: str, code: str) -> None:
    assert fails(says(part(0, "a", "w", '{"city": '), end(reason)), asked(tools=(TOOL,))).code == code


# ── failures ──────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("status", "code", "retryable"),
    [
        ("401 Unauthorized", "engine_refused", False),
        ("404 Not Found", "engine_refused", False),
        ("400 Bad Request", "engine_refused", False),
        ("429 Too Many Requests", "engine_overloaded", True),
        ("503 Service Unavailable", "engine_overloaded", True),
        ("500 Internal Server Error", "engine_failed", True),
        ("502 Bad Gateway", "engine_failed", True),
    ],
)
@pytest.mark.parametrize(
    "body",
    ['{"error": {"message": "the model\\n is out", "type": "x"}}', '{"error": "the model is out"}', "the model is out"],
)
def test_a_server_that_refuses_is_quoted(status: str, code: str, retryable: bool, body: str) -> None:
    error = fails(answers(status, body, "Content-Type: application/json"))
    assert (error.code, error.retryable) == (code, retryable)
    assert "the model is out" in error.message
    assert status[:3] in error.message


def test_a_long_page_of_error_is_cut() -> None:
    assert len(fails(answers("404 Not Found", "<p>no</p>\n" * 5_000, "Content-Type: text/html")).message) < 400


@pytest.mark.parametrize("status", ["429 Too Many Requests", "500 Internal Server Error", "503 Service Unavailable"])
def test_it_asks_again_before_the_first_token(status: str) -> None:
    async def play(line: Line, request: dict[str, Any]) -> None:
        turn.append(status)
        if len(turn) == 1:
            await line.respond(status, "later", "Retry-After-Ms: 1")
        else:
            await line.stream(*HELLO)

    turn: list[str] = []
    given, _ = meet(play, retries=1)
    assert given == [Text("It is"), Text(" fine.")]
    turn.clear()
    assert fails(play, retries=0).code.startswith("engine_")


def test_it_does_not_wait_as_long_as_a_server_would_like() -> None:
    error = fails(answers("429 Too Many Requests", "later", "Retry-After: 60"), retries=2, timeout_s=0.3)
    assert error.code == "engine_timeout"


def test_nobody_there() -> None:
    writer = load("http://127.0.0.1:1/v1")
    with pytest.raises(EngineError) as caught:
        asyncio.run(words(writer, asked()))
    assert (caught.value.code, caught.value.retryable) == ("engine_unreachable", True)
    assert "connect" in caught.value.message


async def hangs_up(line: Line, request: dict[str, Any]) -> None:
    raise ConnectionError


def test_a_server_that_hangs_up_without_a_word() -> None:
    assert fails(hangs_up).code == "engine_unreachable"


async def html(line: Line, request: dict[str, Any]) -> None:
    await line.respond("200 OK", "<html>\n<p>data: Welcome</p>\n</html>", "Content-Type: text/html")


async def whole_json(line: Line, request: dict[str, Any]) -> None:
    reply = {"choices": [{"message": {"role": "assistant", "content": "Fine."}, "finish_reason": "stop"}]}
    await line.respond("200 OK", json.dumps(reply), "Content-Type: application/json")


async def cut(line: Line, request: dict[str, Any]) -> None:
    await line.begin()
    await line.event(delta(content="It"))
    raise ConnectionError  # in the middle of a chunked body


async def half_an_event(line: Line, request: dict[str, Any]) -> None:
    await line.begin()
    await line.raw('data: {"choices": [{"del')
    await line.send("0\r\n\r\n")


@pytest.mark.parametrize(
    "play",
    [
        pytest.param(html, id="HTML"),
        pytest.param(whole_json, id="no stream"),
        pytest.param(cut, id="cut off"),
        pytest.param(half_an_event, id="half an event"),
        pytest.param(says(delta(content="It is"), done=False), id="no end"),
        pytest.param(says(delta(content="It is")), id="done, but no reason"),
        pytest.param(says(), id="nothing"),
        pytest.param(says("{"), id="no JSON"),
        pytest.param(says("17"), id="a number"),
        pytest.param(says({"choices": "x"}), id="choices that are none"),
        pytest.param(says({"choices": [{"delta": "x"}]}), id="a delta that is none"),
        pytest.param(says(delta(content=7), end()), id="text that is none"),
        pytest.param(says(delta(tool_calls=[7]), end()), id="a call that is none"),
        pytest.param(says(part(0, "a", "w", 7), end()), id="arguments that are none"),
        pytest.param(says(part(0, "a", None, "{}"), end()), id="a call of nothing"),
    ],
)
def test_what_is_no_reply_is_broken(play: Play) -> None:
    error = fails(play)
    assert (error.code, error.retryable) == ("engine_broken", True)


def test_an_error_in_the_middle_of_the_stream_is_quoted() -> None:
    error = fails(says(delta(content="It"), {"error": {"message": "out of memory"}}))
    assert error.code == "engine_failed"
    assert "out of memory" in error.message


async def silent(line: Line, request: dict[str, Any]) -> None:
    await line.hung_up()


async def says_one_thing(line: Line, request: dict[str, Any]) -> None:
    await line.begin()
    await line.event(delta(content="It"))
    await line.hung_up()


async def only_pings(line: Line, request: dict[str, Any]) -> None:
    await line.begin()
    while True:
        await line.raw(": still here\n\n")
        await asyncio.sleep(0.02)


@pytest.mark.parametrize("play", [silent, says_one_thing, only_pings])
def test_a_server_that_hangs_is_not_waited_for(play: Play) -> None:
    assert fails(play, timeout_s=0.3).code == "engine_timeout"


def test_a_prompt_that_is_too_long_loses_its_oldest_exchanges() -> None:
    async def play(line: Line, request: dict[str, Any]) -> None:
        if len(request["messages"]) > 3:
            error = {"error": {"message": "This model's maximum context length is 3 messages."}}
            await line.respond("400 Bad Request", json.dumps(error))
        else:
            await line.stream(*HELLO)

    turns = [Message("user" if n % 2 == 0 else "assistant", f"{n}") for n in range(9)]
    given, stranger = meet(play, asked(Message("system", "Be brief."), *turns))
    assert given == [Text("It is"), Text(" fine.")]
    kept = [message["content"] for message in stranger.requests[-1]["messages"]]
    assert (kept[0], kept[-1]) == ("Be brief.", "8")
    refusal = '{"error": {"code": "context_length_exceeded", "message": "too long"}}'
    assert fails(answers("400 Bad Request", refusal)).code == "prompt_too_long"


# ── cancelling ────────────────────────────────────────────────────────────────────────────────────────────────────


def hears_the_client_go(prepare: Callable[[Line], Awaitable[None]]) -> tuple[Play, asyncio.Event]:
    gone = asyncio.Event()

    async def play(line: Line, request: dict[str, Any]) -> None:
        await prepare(line)
        await line.hung_up()
        gone.set()

    return play, gone


def test_a_closed_answer_closes_its_request() -> None:
    async def prepare(line: Line) -> None:
        await line.begin()
        await line.event(delta(content="It"))

    async def main() -> None:
        play, gone = hears_the_client_go(prepare)
        async with Stranger(play).serving() as stranger:
            async with aclosing(cast(Any, load(stranger.url).write(asked()))) as answer:
                assert await anext(answer) == Text("It")
            await asyncio.wait_for(gone.wait(), 30)

    asyncio.run(main())


@pytest.mark.parametrize("begun", [False, True])
def test_a_cancelled_answer_closes_its_request(begun: bool) -> None:
    async def main() -> None:
        came = asyncio.Event()

        async def prepare(line: Line) -> None:
            if begun:
                await line.begin()
            came.set()

        play, gone = hears_the_client_go(prepare)
        async with Stranger(play).serving() as stranger:
            answer = asyncio.create_task(words(load(stranger.url), asked()))
            await came.wait()
            await asyncio.sleep(0.05)
            answer.cancel()
            with suppress(asyncio.CancelledError):
                await answer
            await asyncio.wait_for(gone.wait(), 30)

    asyncio.run(main())


# ── settings ──────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("settings", "code", "names"),
    [
        ({"modle": "m"}, "unknown_setting", "modle"),
        ({"model": ""}, "bad_setting", "model"),
        ({"base_url": "127.0.0.1:8080"}, "bad_setting", "base_url"),
        ({"api_key_env": "NOT_SET_ANYWHERE"}, "bad_setting", "NOT_SET_ANYWHERE"),
        ({"api_key": "a\nb"}, "bad_setting", "key"),
        ({"timeout_s": 0}, "bad_setting", "timeout_s"),
        ({"max_tokens": 0}, "bad_setting", "max_tokens"),
        ({"headers": "X: y"}, "bad_setting", "headers"),
    ],
)
def test_a_wrong_setting_is_named(settings: dict[str, Any], code: str, names: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load(**settings)
    assert caught.value.code == code
    assert names in caught.value.message


def test_a_key_is_not_told() -> None:
    writer = load(api_key="very secret")
    assert "very secret" not in repr(writer)
    assert "very secret" not in repr(writer._settings)


# ── llama.cpp's server, with the packaged model ───────────────────────────────────────────────────────────────────


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    try:
        folder = open_store().folder(llama.MODEL)
    except ConfigError as error:
        pytest.skip(f"{error.message} [{error.code}]")
    with chat_server.serving(folder) as url:
        yield url


async def until_idle(url: str) -> list[dict[str, Any]]:
    while True:
        slots = await asyncio.to_thread(chat_server.slots, url)
        if not any(slot["is_processing"] for slot in slots):
            return slots
        await asyncio.sleep(0.02)


@pytest.mark.models
def test_a_closed_answer_frees_the_slot_of_a_real_server(url: str) -> None:
    async def main() -> None:
        endless = {"ignore_eos": True}
        writer = load(url, temperature=0.0, max_tokens=900, body=endless)
        async with aclosing(cast(Any, writer.write(asked()))) as answer:
            assert isinstance(await anext(answer), Text)
            assert any(slot["is_processing"] for slot in await asyncio.to_thread(chat_server.slots, url))
        slots = await asyncio.wait_for(until_idle(url), 30)
        assert max(slot.get("next_token", [{}])[0].get("n_decoded", 0) for slot in slots) < 800

    asyncio.run(main())


@pytest.mark.models
def test_two_conversations_are_answered_by_a_real_server_at_once(url: str) -> None:
    async def main() -> None:
        writer = load(url, temperature=0.0, max_tokens=40, timeout_s=20.0)
        questions = ("What is the capital of France?", "How many legs has a spider?")
        paris, spider = await asyncio.gather(*(words(writer, asked(Message("user", text))) for text in questions))
        assert "Paris" in paris
        assert "8" in spider or "eight" in spider

    asyncio.run(main())


@pytest.mark.models
def test_a_real_server_refuses_what_it_cannot_do(url: str) -> None:
    with pytest.raises(EngineError) as caught:
        asyncio.run(words(load(url, body={"grammar": "nonsense ::="}), asked()))
    assert caught.value.code == "engine_refused"
    with pytest.raises(EngineError) as caught:
        asyncio.run(words(load(url), asked(Message("user", "word " * 2_000))))
    assert caught.value.code == "prompt_too_long"
