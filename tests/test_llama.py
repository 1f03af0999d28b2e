from __future__ import annotations

import asyncio
import subprocess
import sys
import textwrap
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from duologue.engines import Loading, Message, Prompt, Text, Writer, llama
from duologue.errors import ConfigError, EngineError
from duologue.models import open_store
from duologue.places.thread import Lane

QUESTION = (Message("user", "What is the capital of France?"),)


def loading(folder: Path, **settings: object) -> Loading:
    return Loading(model=lambda name: folder, lane=Lane("unused"), settings=settings)


# ── slots ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_conversation_keeps_its_slot_and_the_longest_silent_one_gives_its_up() -> None:
    slots = llama.Slots(2)
    assert [slots.of(name) for name in "abab"] == [0, 1, 0, 1]
    assert slots.of("a") == 0
    assert slots.of("c") == 1  # b was silent longer
    assert slots.of("b") == 0


def test_a_forgotten_conversation_frees_its_slot() -> None:
    slots = llama.Slots(2)
    slots.of("a"), slots.of("b")
    slots.forget("b")
    slots.forget("b")
    assert (slots.of("c"), slots.of("a")) == (1, 0)


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
        monkeypatch.setattr(llama, "_serve", lambda model, settings: server)
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
    assert [request["max_tokens"] for request in server.requests] == [80, 80, 80, 0]


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


# ── settings and loading ──────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("settings", "code"),
    [({"thread": 2}, "unknown_setting"), ({"threads": "two"}, "bad_setting"), ({"slots": 0}, "bad_setting")],
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
def test_too_long_a_conversation_is_told_and_the_next_one_answered(writer: llama.LlamaWriter) -> None:
    with pytest.raises(EngineError) as caught:
        asyncio.run(words(writer, Message("user", "word " * 600)))
    assert caught.value.code == "prompt_too_long"
    assert asyncio.run(words(writer))


@pytest.mark.models
def test_an_empty_message_is_answered(writer: llama.LlamaWriter) -> None:
    assert asyncio.run(words(writer, Message("user", "")))


@pytest.mark.models
def test_more_conversations_than_slots_are_all_answered(writer: llama.LlamaWriter) -> None:
    async def main() -> list[str]:
        return await asyncio.gather(*(words(writer, conversation=f"many {n}") for n in range(5)))

    assert all(asyncio.run(main()))


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
