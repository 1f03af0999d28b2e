from __future__ import annotations

import asyncio
import subprocess
import sys
import textwrap
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import aclosing, suppress
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from duologue import clock
from duologue.config import Limits
from duologue.engines import Loading, Message, Piece, Prompt, Reading, Text, Tool, Writer, llama, llama_server
from duologue.errors import ConfigError, EngineError
from duologue.models import open_store
from duologue.places.thread import Lane

QUESTION = (Message("user", "What is the capital of France?"),)


def loading(folder: Path, **settings: object) -> Loading:
    return Loading(model=lambda name: folder, lane=Lane("unused"), settings=settings)


# ── slots ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def slot_of(slots: llama.Slots, conversation: str) -> int:
    with slots.of(conversation) as slot:
        return slot


def test_a_conversation_keeps_its_slot_and_the_longest_silent_one_gives_its_up() -> None:
    slots = llama.Slots(2)
    assert [slot_of(slots, name) for name in "abab"] == [0, 1, 0, 1]
    assert slot_of(slots, "a") == 0
    assert slot_of(slots, "c") == 1  # b was silent longer
    assert slot_of(slots, "b") == 0


def test_a_forgotten_conversation_frees_its_slot() -> None:
    slots = llama.Slots(2)
    slot_of(slots, "a"), slot_of(slots, "b")
    slots.forget("b")
    slots.forget("b")
    assert (slot_of(slots, "c"), slot_of(slots, "a")) == (1, 0)


def test_a_slot_at_work_is_not_taken_away() -> None:
    slots = llama.Slots(2)
    with slots.of("a"):
        assert [slot_of(slots, name) for name in "bcda"] == [1, 1, 1, 0]


# ── without a model: what the server says, and what is made of it ─────────────────────────────────────────────────


def token(text: str | None) -> dict[str, Any]:
    return {"choices": [{"delta": {"content": text}}]}


class Server:
    """Stands in for xllamacpp's: `play` calls back as the server would."""

    def __init__(self, play: Callable[[Callable[[dict[str, Any]], bool]], None]) -> None:
        self.play = play
        self.requests: list[dict[str, Any]] = []

    def handle_chat_completions(self, request: dict[str, Any], callback: Callable[[dict[str, Any]], bool]) -> None:
        self.requests.append(request)
        self.play(callback)


@pytest.fixture
def serve(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[Server], llama.LlamaWriter]]:
    writers = []

    def make(server: Server) -> llama.LlamaWriter:
        monkeypatch.setattr(llama, "serve", lambda model, **settings: server)
        writers.append(llama.LlamaWriter(Path("x.gguf"), llama.Settings(slots=2)))
        return writers[-1]

    yield make
    for writer in writers:
        writer.close()


Serve = Callable[[Server], llama.LlamaWriter]


def replies(*events: dict[str, Any]) -> Server:
    def play(callback: Callable[[dict[str, Any]], bool]) -> None:
        any(callback(event) for event in events)

    return Server(play)


async def words(writer: Writer, *messages: Message, conversation: str = "c") -> str:
    pieces = writer.write(Prompt(conversation, messages or QUESTION))
    return "".join([piece.text async for piece in pieces if isinstance(piece, Text)])


async def given(writer: Writer, prompt: Prompt) -> list[Piece]:
    return [piece async for piece in writer.write(prompt)]


def read(processed: int, total: int) -> dict[str, Any]:
    return {"prompt_progress": {"processed": processed, "total": total}, "choices": []}


def cut_short(text: str) -> dict[str, Any]:
    return {"choices": [{"delta": {"content": text}, "finish_reason": "length"}]}


def parts(*answers: Sequence[dict[str, Any]]) -> Server:
    """Each request gets the next."""
    left = iter(answers)

    def play(callback: Callable[[dict[str, Any]], bool]) -> None:
        any(callback(event) for event in next(left))

    return Server(play)


def test_the_first_tokens_of_a_reply_are_written_and_the_rest_when_it_is_asked_for(serve: Serve) -> None:
    server = parts([token("Paris"), token(" is"), cut_short("")], [token(" it."), cut_short("")])

    async def main(writer: llama.LlamaWriter) -> list[int]:
        return [len(server.requests) async for _ in writer.write(Prompt("c", QUESTION))]

    assert asyncio.run(main(serve(server))) == [1, 1, 2]
    first, rest = server.requests
    assert (first["max_tokens"], rest["max_tokens"]) == (8, 72)
    assert rest["messages"] == [*first["messages"], {"role": "assistant", "content": "Paris is"}]


def test_a_reply_that_ends_within_its_first_tokens_is_asked_for_once(serve: Serve) -> None:
    server = replies(token("Paris."), {"choices": [{"delta": {}, "finish_reason": "stop"}]})
    assert asyncio.run(words(serve(server))) == "Paris."
    assert len(server.requests) == 1


def test_no_more_words_are_asked_for_than_the_prompt_allows(serve: Serve) -> None:
    server = parts(*[[cut_short("on and on")]] * 3)
    asyncio.run(given(serve(server), Prompt("c", QUESTION, max_tokens=10)))
    asyncio.run(given(serve(server), Prompt("c", QUESTION, max_tokens=3)))
    assert [request["max_tokens"] for request in server.requests] == [8, 2, 3]


def test_after_a_message_of_its_own_the_model_writes_in_one_go(serve: Serve) -> None:
    """llama.cpp would go on with the last message of two, but not with the first."""
    server = parts([cut_short("And you?")])
    asyncio.run(words(serve(server), *QUESTION, Message("assistant", "Paris.")))
    assert [request["max_tokens"] for request in server.requests] == [80]


def test_a_prompt_that_is_being_read_is_told_batch_by_batch(serve: Serve) -> None:
    writer = serve(replies(read(32, 50), read(50, 50), token("Paris.")))
    assert asyncio.run(given(writer, Prompt("c", QUESTION))) == [Reading(32, 50), Reading(50, 50), Text("Paris.")]


def test_so_is_what_is_read_before_the_model_decides_whether_it_calls(serve: Serve) -> None:
    writer = serve(replies(read(32, 32), token("no")))
    told = asyncio.run(given(writer, Prompt("c", QUESTION, tools=(Tool("clock"),))))
    assert told == [Reading(32, 32), Reading(32, 32), Text("no")]


def test_tokens_are_passed_on_and_empty_ones_are_not(serve: Serve) -> None:
    server = replies(token(None), {"prompt_progress": {}, "choices": []}, token("Pa"), token(""), token("ris."))
    assert asyncio.run(words(serve(server))) == "Paris."


def test_requests_name_their_slot_and_keep_its_cache(serve: Serve) -> None:
    server = replies()
    writer = serve(server)
    for conversation in ("a", "b", "a"):
        asyncio.run(words(writer, conversation=conversation))
    asyncio.run(writer.prefill(Prompt("b", QUESTION)))
    assert [request["id_slot"] for request in server.requests] == [0, 1, 0, 1]
    assert all(request["cache_prompt"] for request in server.requests)
    assert [request["max_tokens"] for request in server.requests] == [8, 8, 8, 0]


def test_without_instructions_the_model_gets_guidance_and_with_them_only_these(serve: Serve) -> None:
    server = replies()
    writer = serve(server)
    brief = Message("system", "Be brief.")
    asyncio.run(words(writer))
    asyncio.run(writer.prefill(Prompt("c", QUESTION)))
    asyncio.run(words(writer, brief, *QUESTION))
    first = [request["messages"][0]["content"] for request in server.requests]
    assert first == [llama.GUIDANCE.content, llama.GUIDANCE.content, brief.content]


@pytest.mark.parametrize(
    ("error", "code", "retryable"),
    [
        (
            {"code": 400, "type": "exceed_context_size_error", "n_prompt_tokens": 9, "n_ctx": 4},
            "prompt_too_long",
            False,
        ),
        ({"code": 400, "message": "no"}, "engine_failed", False),
        ({"code": 503, "message": "busy"}, "engine_failed", True),
    ],
)
def test_an_error_from_the_server_ends_the_answer(
    serve: Serve, error: dict[str, Any], code: str, retryable: bool
) -> None:
    with pytest.raises(EngineError) as caught:
        asyncio.run(words(serve(replies(token("Pa"), {"error": error}))))
    assert (caught.value.code, caught.value.retryable) == (code, retryable)


def test_an_exception_of_the_server_is_an_engine_error(serve: Serve) -> None:
    def fail(callback: object) -> None:
        raise RuntimeError("out of memory")

    writer = serve(Server(fail))
    for work in (words(writer), writer.prefill(Prompt("c", QUESTION))):
        with pytest.raises(EngineError, match="out of memory"):
            asyncio.run(work)


@pytest.mark.parametrize("messages", [(), (SimpleNamespace(role="frog", content="?"),)])
def test_a_prompt_that_is_none_is_refused(serve: Serve, messages: Any) -> None:
    async def main() -> None:
        async for _ in serve(replies()).write(Prompt("c", messages)):
            pass

    with pytest.raises(EngineError) as caught:
        asyncio.run(main())
    assert caught.value.code == "bad_prompt"


def test_a_closed_engine_says_so(serve: Serve) -> None:
    writer = serve(replies(token("x")))
    writer.close()
    writer.close()
    with pytest.raises(EngineError) as caught:
        asyncio.run(words(writer))
    assert caught.value.code == "engine_closed"


def endless(callback: Callable[[dict[str, Any]], bool]) -> None:
    while not callback(token("x")):
        pass


def test_a_closed_answer_stops_the_server(serve: Serve) -> None:
    writer = serve(Server(endless))

    async def main() -> None:
        answer = writer.write(Prompt("c", QUESTION))
        assert await anext(answer) == Text("x")
        await answer.aclose()  # type: ignore[attr-defined]

    asyncio.run(main())
    writer.close()  # hangs if the server still runs


def test_a_cancelled_prefill_stops_the_server(serve: Serve) -> None:
    begun, ended = threading.Event(), threading.Event()

    def play(callback: Callable[[dict[str, Any]], bool]) -> None:
        begun.set()
        endless(callback)
        ended.set()

    async def main() -> None:
        prefill = asyncio.create_task(serve(Server(play)).prefill(Prompt("c", QUESTION)))
        await asyncio.to_thread(begun.wait, 10)
        prefill.cancel()
        with suppress(asyncio.CancelledError):
            await prefill
        assert await asyncio.to_thread(ended.wait, 10)

    asyncio.run(main())


# ── a conversation that has outgrown the model ────────────────────────────────────────────────────────────────────


class Counted(Server):
    """Counts a word as a token, as the server would: it refuses `context` tokens and tells of fewer before it reads."""

    def __init__(self, context: int) -> None:
        super().__init__(endless)
        self.context = context

    def handle_chat_completions(self, request: dict[str, Any], callback: Callable[[dict[str, Any]], bool]) -> None:
        self.requests.append(request)
        size = sum(len(message["content"].split()) for message in request["messages"])
        if size >= self.context:
            callback({"error": {"code": 400, "n_prompt_tokens": size, "n_ctx": self.context}})
        elif not callback(token(None) | {"prompt_progress": {"processed": size, "total": size}}):
            callback(token(f"{size} read"))


def talk(exchanges: int, words_each: int, last: str) -> list[Message]:
    text = "word " * words_each
    past = [message for _ in range(exchanges) for message in (Message("user", text), Message("assistant", text))]
    return [Message("system", "Be brief."), *past, Message("user", last)]


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[int], llama.LlamaWriter]]:
    """A writer whose prompts may have 100 - 20 tokens, on a server whose model may have been made for less."""
    writers = []

    def make(made_for: int = 100) -> llama.LlamaWriter:
        server = Counted(made_for)
        monkeypatch.setattr(llama, "serve", lambda model, **settings: server)
        writers.append(llama.LlamaWriter(Path("x.gguf"), llama.Settings(context=100, max_tokens=20)))
        return writers[-1]

    yield make
    for writer in writers:
        writer.close()


@pytest.mark.parametrize(
    ("exchanges", "words_each", "made_for", "read"),
    [
        (3, 10, 100, 2 + 3 * 20 + 4),
        (4, 10, 100, 2 + 3 * 20 + 4),  # 86 would fit, but not with the longest reply after them
        (40, 10, 100, 2 + 3 * 20 + 4),
        (1, 500, 100, 2 + 4),
        (4, 10, 60, 2 + 2 * 20 + 4),
    ],
)
def test_the_oldest_exchanges_are_left_out_until_the_prompt_fits(
    counted: Callable[[int], llama.LlamaWriter], exchanges: int, words_each: int, made_for: int, read: int
) -> None:
    writer = counted(made_for)
    messages = talk(exchanges, words_each, "What did I say?")
    assert asyncio.run(words(writer, *messages)) == f"{read} read"
    asyncio.run(writer.prefill(Prompt("c", messages)))
    told = writer._servers[0].requests[-1]["messages"]
    assert (told[0]["content"], told[-1]["content"]) == ("Be brief.", "What did I say?")


def test_a_conversation_of_which_nothing_may_be_left_out_is_refused_once_it_does_not_fit(
    counted: Callable[[int], llama.LlamaWriter],
) -> None:
    writer = counted(100)
    assert asyncio.run(given(writer, Prompt("c", talk(3, 10, "And?"), retention=None)))[-1] == Text("63 read")
    with pytest.raises(EngineError) as caught:
        asyncio.run(given(writer, Prompt("c", talk(4, 10, "And?"), retention=None)))
    assert caught.value.code == "prompt_too_long"
    assert "the conversation has 83 tokens, and there is room for 80" in caught.value.message
    assert asyncio.run(given(writer, Prompt("c", talk(4, 10, "And?"), retention=0.5)))[-1] == Text("23 read")


@pytest.mark.parametrize("exchanges", [0, 3])
@pytest.mark.parametrize("length", [79, 200])
def test_a_message_that_does_not_fit_by_itself_is_refused(
    counted: Callable[[int], llama.LlamaWriter], exchanges: int, length: int
) -> None:
    writer = counted(100)
    for work in (
        words(writer, *talk(exchanges, 10, "new " * length)),
        writer.prefill(Prompt("c", talk(exchanges, 10, "new " * length))),
    ):
        with pytest.raises(EngineError) as caught:
            asyncio.run(work)
        assert (caught.value.code, caught.value.retryable) == ("prompt_too_long", False)
        assert f"{length + 2} tokens, and there is room for 80" in caught.value.message
    assert asyncio.run(words(writer, *talk(0, 0, "new " * 78))) == "80 read"


# ── more conversations than slots ─────────────────────────────────────────────────────────────────────────────────


class Gated(Server):
    """Each request says its message once it has been let through, and then ends; a stopped one ends at once."""

    def __init__(self) -> None:
        super().__init__(endless)
        self.begun: list[str] = []
        self._gates: dict[str, threading.Event] = {}

    def let_through(self, *messages: str) -> None:
        for message in messages:
            self._gate(message).set()

    def handle_chat_completions(self, request: dict[str, Any], callback: Callable[[dict[str, Any]], bool]) -> None:
        message = request["messages"][-1]["content"]
        self.begun.append(message)
        while not self._gate(message).wait(0.001):
            if callback(token(None)):
                return
        callback(token(message))

    def _gate(self, message: str) -> threading.Event:
        return self._gates.setdefault(message, threading.Event())


async def until(what: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not what():  # noqa: ASYNC110 (threads make it true)
            await asyncio.sleep(0.001)


def ask(writer: llama.LlamaWriter, name: str) -> asyncio.Task[str]:
    return asyncio.create_task(words(writer, Message("user", name), conversation=name))


def test_the_third_request_for_two_slots_waits_its_turn(serve: Serve) -> None:
    server = Gated()
    writer = serve(server)

    async def main() -> None:
        asked = {name: ask(writer, name) for name in "abcde"}
        await until(lambda: len(server.begun) == 2)
        server.let_through("b")
        await until(lambda: len(server.begun) == 3)
        assert not any(asked[name].done() for name in "acde")
        server.let_through(*"acde")
        assert [await each for each in asked.values()] == list("abcde")

    asyncio.run(main())
    assert sorted(server.begun[:2]) == ["a", "b"]
    assert server.begun[2:] == ["c", "d", "e"]


def test_a_request_that_waits_can_be_cancelled_and_never_begins(serve: Serve) -> None:
    server = Gated()
    writer = serve(server)

    async def main() -> None:
        asked = {name: ask(writer, name) for name in "abcd"}
        await until(lambda: len(server.begun) == 2)
        asked["c"].cancel()
        with pytest.raises(asyncio.CancelledError):
            await asked["c"]
        server.let_through(*"abd")
        assert [await asked[name] for name in "abd"] == list("abd")

    asyncio.run(main())
    assert server.begun[2:] == ["d"]


def test_a_reply_waits_for_no_prefill(serve: Serve) -> None:
    server = Gated()
    writer = serve(server)

    async def main() -> None:
        reading = [asyncio.create_task(writer.prefill(Prompt(name, [Message("user", name)]))) for name in "ab"]
        await until(lambda: len(server.begun) == 2)
        server.let_through("c")
        assert await ask(writer, "c") == "c"
        assert await asyncio.gather(*reading) == [None, None]

    asyncio.run(main())


def test_a_prefill_waits_for_nobody(serve: Serve) -> None:
    server = Gated()
    writer = serve(server)

    async def main() -> None:
        asked = [ask(writer, name) for name in "ab"]
        await until(lambda: len(server.begun) == 2)
        await writer.prefill(Prompt("c", [Message("user", "c")]))
        server.let_through(*"ab")
        await asyncio.gather(*asked)

    asyncio.run(main())
    assert sorted(server.begun) == ["a", "b"]


# ── settings and loading ──────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("settings", "code"),
    [
        ({"thread": 2}, "unknown_setting"),
        ({"threads": "two"}, "bad_setting"),
        ({"slots": 0}, "bad_setting"),
        ({"context": 80}, "bad_setting"),
    ],
)
def test_a_wrong_setting_is_named(settings: dict[str, object], code: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        llama.load(loading(tmp_path, **settings))
    assert caught.value.code == code
    assert next(iter(settings)) in caught.value.message


def test_a_folder_without_a_model_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        llama.load(loading(tmp_path))
    assert caught.value.code == "model_missing"


def test_a_broken_model_file_is_an_engine_error_and_prints_nothing(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "x.gguf").write_bytes(b"GGUF" + bytes(100))
    with pytest.raises(EngineError) as caught:
        llama.load(loading(tmp_path))
    assert (caught.value.code, caught.value.retryable) == ("engine_load_failed", False)
    assert capfd.readouterr() == ("", "")


# ── with the packaged model ───────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture(scope="module")
def folder() -> Path:
    try:
        return open_store().folder(llama.MODEL)
    except ConfigError as error:
        pytest.skip(f"{error.message} [{error.code}]")


@pytest.fixture(scope="module")
def writer(folder: Path) -> Iterator[llama.LlamaWriter]:
    engine = llama.load(loading(folder, slots=2, context=512))
    yield engine
    engine.close()


class Watched:
    """The real server, and what it says of each request: tokens found in the cache, and tokens read."""

    def __init__(self, server: Any) -> None:
        self.server = server
        self.read: list[tuple[int, int]] = []

    def handle_chat_completions(self, request: Any, callback: Callable[[Any], bool]) -> None:
        def note(event: Any) -> bool:
            if timings := event.get("timings"):
                self.read.append((timings["cache_n"], timings["prompt_n"]))
            return callback(event)

        self.server.handle_chat_completions(request, note)


@pytest.fixture
def watched(writer: llama.LlamaWriter) -> Iterator[Watched]:
    real = writer._servers[0]
    writer._servers[0] = Watched(real)
    yield writer._servers[0]
    writer._servers[0] = real


@pytest.mark.models
def test_it_knows_the_capital_of_france(writer: llama.LlamaWriter) -> None:
    instructions = Message("system", "You are a helpful assistant. Reply in one short English sentence.")
    assert "Paris" in asyncio.run(words(writer, instructions, *QUESTION))


@pytest.mark.models
def test_in_parts_it_writes_what_it_would_write_in_one_go(folder: Path, writer: llama.LlamaWriter) -> None:
    def told(writer: llama.LlamaWriter, count: int) -> str:
        return asyncio.run(words(writer, Message("user", "How do I cook rice?"), conversation=f"parts {count}"))

    whole = llama.LlamaWriter(llama_server.weights(folder), llama.Settings(first_tokens=80))
    try:
        assert told(writer, 1) == told(whole, 1)
    finally:
        whole.close()
    assert len(told(writer, 2)) > 40


def test_without_instructions_a_reply_is_short(writer: llama.LlamaWriter) -> None:
    reply = asyncio.run(words(writer, Message("user", "Hello, who are you?"), conversation="bare"))
    assert 1 <= len(reply.split()) <= 30


@pytest.mark.models
def test_a_second_turn_reads_only_its_new_words(writer: llama.LlamaWriter, watched: Watched) -> None:
    async def main() -> None:
        reply = await words(writer, *QUESTION, conversation="turns")
        turns = (*QUESTION, Message("assistant", reply), Message("user", "And of Spain?"))
        await words(writer, *turns, conversation="turns")

    asyncio.run(main())
    (_, first), (cached, new) = watched.read
    assert cached >= first
    assert new <= 16  # end of the reply, the user's four words and marks, the start of the answer


@pytest.mark.models
def test_after_a_prefill_only_the_last_words_are_read(writer: llama.LlamaWriter, watched: Watched) -> None:
    early = "Please tell me in a few words what the weather will be like in"

    async def main() -> None:
        await writer.prefill(Prompt("prefill", (Message("user", early),)))
        await words(writer, Message("user", f"{early} San Francisco tomorrow?"), conversation="prefill")

    asyncio.run(main())
    assert watched.read[-1][1] <= 12


@pytest.mark.models
@pytest.mark.parametrize("text", ["word " * 1_600, "xq7 " * 2_000, "न" * 8_000])
def test_8000_characters_are_too_long_for_a_small_context_and_the_next_message_is_answered(
    writer: llama.LlamaWriter, text: str
) -> None:
    history = (*QUESTION, Message("assistant", "Paris."))
    with pytest.raises(EngineError) as caught:
        asyncio.run(words(writer, *history, Message("user", text)))
    assert (caught.value.code, caught.value.retryable) == ("prompt_too_long", False)
    assert asyncio.run(words(writer))


@pytest.mark.models
def test_a_long_history_makes_room_for_the_newest_words(writer: llama.LlamaWriter, watched: Watched) -> None:
    sea = "Tell me more about the sea, the ships that sail on it and the people who work on them."
    past = [Message("user", sea), Message("assistant", "The sea is wide and old, and the ships are many.")] * 40
    instructions = Message("system", "You are a helpful assistant. Reply in one short English sentence.")
    reply = asyncio.run(words(writer, instructions, *past, *QUESTION, conversation="long"))
    assert "Paris" in reply
    cached, new = watched.read[-1]
    assert 200 < cached + new <= 512 - 80


@pytest.mark.models
@pytest.mark.realtime
def test_the_longest_text_that_may_be_typed_is_answered_and_its_reading_is_told_of_all_the_while(folder: Path) -> None:
    """It takes some seconds, on a slow machine half a minute."""
    text = (Path(__file__).parents[1] / "LICENSE").read_text(encoding="utf-8")[: Limits().text_chars]
    engine = llama.load(loading(folder, slots=1))

    async def main() -> list[tuple[float, Piece]]:
        began = clock.now()
        prompt = Prompt("c", [Message("user", text)])
        return [(clock.now() - began, piece) async for piece in engine.write(prompt)]

    try:
        told = asyncio.run(main())
    finally:
        engine.close()
    readings = [(at, piece) for at, piece in told if isinstance(piece, Reading)]
    times, (read_at, last) = [0.0, *(at for at, _ in readings)], readings[-1]
    assert last.total - 1 <= last.read <= last.total
    assert last.total > 1_000
    assert max(after - before for before, after in pairwise(times)) < read_at / 4
    assert any(isinstance(piece, Text) for _, piece in told)


@pytest.mark.models
def test_an_empty_message_is_answered(writer: llama.LlamaWriter) -> None:
    assert asyncio.run(words(writer, Message("user", "")))


@pytest.mark.models
def test_sixteen_conversations_on_two_slots_are_answered_in_order(writer: llama.LlamaWriter) -> None:
    """Each hears the first of its words and has enough; the last one gives up before."""
    spoke: list[int] = []

    async def one(number: int) -> None:
        async with aclosing(cast(Any, writer.write(Prompt(f"many {number}", QUESTION)))) as pieces:
            assert await anext(piece async for piece in pieces if isinstance(piece, Text))
        spoke.append(number)

    async def main() -> None:
        asked = [asyncio.create_task(one(number)) for number in range(17)]
        await until(lambda: bool(spoke))
        asked.pop().cancel()
        await asyncio.gather(*asked)

    asyncio.run(main())
    assert sorted(spoke) == list(range(16))
    assert all(abs(place - number) <= 2 for place, number in enumerate(spoke)), spoke


@pytest.mark.models
def test_conversations_at_once_are_not_mixed_up(writer: llama.LlamaWriter) -> None:
    instructions = Message("system", "You are a helpful assistant. Reply in one short English sentence.")
    capitals = {"France": "Paris", "Italy": "Rome", "Japan": "Tokyo"}

    async def main() -> list[str]:
        asked = [Message("user", f"What is the capital of {country}?") for country in capitals]
        return await asyncio.gather(*(words(writer, instructions, each, conversation=each.content) for each in asked))

    assert [capital in reply for capital, reply in zip(capitals.values(), asyncio.run(main()), strict=True)] == [
        True
    ] * 3


def run_python(code: str, folder: Path) -> subprocess.CompletedProcess[str]:
    prelude = """
        import asyncio, os, signal, sys
        from pathlib import Path
        from duologue.engines import Loading, Message, Prompt, llama
        from duologue.places.thread import Lane
        def load():
            return llama.load(Loading(lambda name: Path(sys.argv[1]), Lane("unused")))
        def threads():
            return len(os.listdir("/proc/self/task")) if sys.platform == "linux" else 0
        writer = load()
        prompt = Prompt("c", [Message("user", "Tell me a long story.")])
    """
    script = textwrap.dedent(prelude) + textwrap.dedent(code)
    return subprocess.run([sys.executable, "-c", script, str(folder)], capture_output=True, text=True, timeout=60)


@pytest.mark.models
def test_signals_still_reach_python_and_nothing_listens(folder: Path) -> None:
    done = run_python(
        """
        signal.signal(signal.SIGTERM, lambda *_: print("terminated"))
        os.kill(os.getpid(), signal.SIGTERM)
        try:
            os.kill(os.getpid(), signal.SIGINT)
            signal.pause()
        except KeyboardInterrupt:
            print("interrupted")
        print(os.path.exists(writer._servers[0].listening_address.removeprefix("unix://")))
        """,
        folder,
    )
    assert (done.stdout.split(), done.stderr, done.returncode) == (["terminated", "interrupted", "False"], "", 0)


@pytest.mark.models
def test_a_process_may_end_in_the_middle_of_an_answer(folder: Path) -> None:
    done = run_python(
        """
        async def main():
            answer = writer.write(prompt)
            await anext(answer)
            raise SystemExit(7)
        asyncio.run(main())
        """,
        folder,
    )
    assert (done.stdout, done.stderr, done.returncode) == ("", "", 7)


@pytest.mark.models
def test_closing_in_the_middle_of_an_answer_ends_it_and_its_threads(folder: Path) -> None:
    done = run_python(
        """
        async def main():
            answer = writer.write(prompt)
            await anext(answer)
            writer.close()
            return len([piece async for piece in answer]) < 70
        print(asyncio.run(main()), threads())
        writer = load()
        print(asyncio.run(main()), threads())
        """,
        folder,
    )
    assert (done.stderr, done.returncode) == ("", 0)
    (ended, first), (ended_again, second) = (line.split() for line in done.stdout.splitlines())
    assert (ended, ended_again) == ("True", "True")
    assert first == second  # llama.cpp keeps one thread for its log; a second engine adds none
