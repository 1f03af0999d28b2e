"""A place in another process: what crosses to a worker, what comes back, and what becomes of a worker that misbehaves."""

from __future__ import annotations

import asyncio
import errno
import json
import logging
import os
import resource
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from apart_parts import LIMIT_S, ODD, Open, given, make, opener, register

import duologue
from duologue.audio import Frame
from duologue.engines import Loading, Message, Pause, Prompt, Style, Text, Tool, ToolCall, apart, registry
from duologue.errors import ConfigError, DuologueError, EngineError
from duologue.places import child
from duologue.places.process import Backoff, Process
from duologue.places.thread import Lane
from duologue.places.wire import WINDOW


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make(tmp_path_factory.mktemp("environment") / "odd", ODD)


@pytest.fixture
def load(python: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Open]:
    register(monkeypatch, odd="odd_voices:load")
    opened: list[Any] = []
    yield opener(python, opened)
    for voice in opened:
        voice.close()
    assert not [thread.name for thread in threading.enumerate() if thread.name.endswith("-worker")]


async def say(voice: Any, *pieces: str, style: Style | None = None) -> list[Any]:
    async with asyncio.timeout(LIMIT_S):
        return [sound async for sound in voice.speak(given(*pieces), style or Style())]


async def ready(voice: Any) -> None:
    """Until its worker is there again."""
    await until(lambda: voice.process.pid is not None)


async def failure(voice: Any, *pieces: str) -> EngineError:
    with pytest.raises(EngineError) as failed:
        await say(voice, *pieces)
    return failed.value


def direct(
    python: Path, answer: Callable[[str, Any], Any] = lambda *asked: None, boot: str = apart.BOOT, **settings: Any
) -> Process:
    """A worker with the odd voice, and nothing that stands for it."""
    command = (str(python), "-I", "-c", boot, str(Path(duologue.__file__).parent))
    opening = ("duologue.speaker", "odd", "odd_voices:load", settings, False)
    return Process("odd", command, apart.CODEC, opening, answer, backoff=Backoff(first_s=0.05))


@contextmanager
def descriptors_left(count: int) -> Iterator[None]:
    """No more than these can be opened."""
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (256, limits[1]))
    held: list[int] = []
    try:
        with suppress(OSError):
            while True:
                held.append(os.open(os.devnull, os.O_RDONLY))
        for _ in range(count):
            os.close(held.pop())
        yield
    finally:
        for each in held:
            os.close(each)
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)


def gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


async def until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(LIMIT_S):
        while not true():  # noqa: ASYNC110  (another process makes it so)
            await asyncio.sleep(0.01)


# ── What crosses ──────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_voice_sounds_there_as_it_sounds_here(load: Open) -> None:
    async def main() -> None:
        lane = Lane("here")
        here = registry.load("speaker", "scripted", Loading(Path, lane, {"rate": 16_000}))
        pieces, style = ("Hello ", "half a pair \ud83d, नमस्ते. ", "🙂"), Style("hi", speed=1.2)
        there = load("scripted", rate=16_000)
        assert there.about == here.about
        mine, its = await say(here, *pieces, style=style), await say(there, *pieces, style=style)
        assert [sound.words for sound in its] == [sound.words for sound in mine]
        for one, other in zip(mine, its, strict=True):
            assert np.array_equal(one.samples, other.samples)
            assert other.samples.dtype == np.float32
            assert other.samples.flags.writeable
        lane.close()

    asyncio.run(main())


def test_a_model_and_a_recogniser_cross_too(load: Open) -> None:
    async def main() -> None:
        replies = ["Hello you.", {"call": "look", "arguments": {"at": "sea"}}]
        writer = load("scripted", "writer", replies=replies)
        tools = (Tool("look", parameters={"type": "object", "properties": {"at": {"type": "string"}}}),)
        prompt = Prompt("c", [Message("user", "hi")], tools)
        pieces = [piece async for piece in writer.write(prompt)]
        assert "".join(piece.text for piece in pieces if isinstance(piece, Text)) == "Hello you."
        await writer.prefill(prompt)
        second = replace(
            prompt, messages=[Message("user", "hi"), Message("assistant", "Hello"), Message("user", "look")]
        )
        calls = [piece async for piece in writer.write(second) if isinstance(piece, ToolCall)]
        assert [(call.name, json.loads(call.arguments)) for call in calls] == [("look", {"at": "sea"})]
        writer.forget("c")

        recognizer = load("scripted", "recognizer", texts=["so it is"])

        async def heard() -> AsyncIterator[Frame | Pause]:
            for at in range(10):
                yield Frame(np.zeros(512, np.float32), 512 * at)
            yield Pause()

        transcripts = [each async for each in recognizer.transcribe(heard())]
        assert [each.text for each in transcripts if each.final] == ["so it is"]

    asyncio.run(main())


def test_the_next_piece_is_fetched_only_when_the_voice_wants_it(load: Open) -> None:
    async def main() -> None:
        voice = load(behaves="slow")
        fetched: list[int] = []

        async def pieces() -> AsyncIterator[str]:
            for number in range(3):
                fetched.append(number)
                yield str(number)

        seen = [(sound.words[0].text, len(fetched)) async for sound in voice.speak(pieces(), Style())]
        assert seen == [("0", 1), ("1", 2), ("2", 3)]

    asyncio.run(main())


def test_models_are_the_servers(load: Open, tmp_path: Path) -> None:
    file = tmp_path / "asked"
    voice = load(behaves="asking", file=str(file))
    asyncio.run(say(voice, "a"))
    assert file.read_text() == "/models/m"


def test_a_worker_sees_neither_this_programs_packages_nor_its_settings(
    load: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DUOLOGUE_SERVER__KEYS", "a-key-that-nobody-must-see")
    monkeypatch.setenv("PYTHONPATH", "/somewhere")
    voice = load()
    variables = Path(f"/proc/{voice.process.pid}/environ").read_bytes()
    assert b"a-key" not in variables
    assert b"/somewhere" not in variables
    assert b"PATH=" in variables


# ── Errors ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_errors_come_with_their_codes(load: Open) -> None:
    async def main() -> None:
        error = await failure(load(behaves="failing"), "a")
        assert (error.code, error.message, error.retryable) == ("out_of_breath", "odd: no breath", False)
        voice = load(behaves="buggy")
        error = await failure(voice, "a")
        assert (error.code, error.engine, error.message) == ("engine_failed", "odd", "odd: ValueError: a bug")
        assert voice.process.pid is not None  # and it lives

    asyncio.run(main())


@pytest.mark.parametrize(
    ("behaves", "code", "says"),
    [
        ("not loaded", "model_missing", "there is no such model"),
        ("badly loaded", "engine_load_failed", "odd: could not be loaded: a bug"),
        ("dies loading", "worker_died", "exit status 3); its last words: the disk is full"),
    ],
)
def test_what_keeps_an_engine_from_loading_is_told(load: Open, behaves: str, code: str, says: str) -> None:
    with pytest.raises(DuologueError) as refused:
        load(behaves=behaves)
    assert refused.value.code == code
    assert says in refused.value.message


def test_an_interpreter_that_is_not_there_is_a_broken_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    register(monkeypatch, odd="odd_voices:load")
    with pytest.raises(ConfigError) as refused:
        opener(Path("/nowhere/python"), [])()
    assert refused.value.code == "environment_broken"


def test_a_setting_that_may_not_cross_is_a_bad_one(load: Open) -> None:
    with pytest.raises(ConfigError) as refused:
        load(since=date(2026, 1, 1))  # TOML has dates
    assert (refused.value.code, refused.value.message) == (
        "bad_setting",
        "a setting of odd: date cannot cross to a worker",
    )


def broken_disk(*asked: Any) -> str:
    raise OSError(errno.EIO, "Input/output error")


@pytest.mark.parametrize(
    ("answer", "says"),
    [(broken_disk, "odd: OSError: [Errno 5] Input/output error"), (Path, "odd: TypeError: PosixPath cannot cross")],
)
def test_a_question_that_cannot_be_answered_keeps_an_engine_from_loading(
    python: Path, answer: Callable[..., Any], says: str
) -> None:
    place = direct(python, answer, behaves="asks loading")
    with pytest.raises(EngineError) as refused:
        place.start()
    assert refused.value.code == "engine_load_failed"
    assert refused.value.message.startswith(says)


def test_an_engine_that_is_asked_for_each_frame_cannot_run_apart(load: Open) -> None:
    with pytest.raises(ConfigError) as refused:
        load("scripted", "vad")
    assert refused.value.code == "place_not_possible"


def test_a_worker_of_another_version_is_refused(python: Path) -> None:
    other = "from duologue.places import worker; worker.PROTOCOL = 99\n"
    place = direct(python, boot=apart.BOOT.replace("apart.serve", other + "apart.serve"))
    with pytest.raises(EngineError) as refused:
        place.start()
    assert refused.value.code == "worker_mismatch"
    assert "99" in refused.value.message


def test_what_may_not_cross_fails_its_call_alone(load: Open) -> None:
    async def main() -> None:
        voice = load()
        with pytest.raises(EngineError) as refused:
            await anext(voice.process.stream("speak", object(), feed=given("a")))
        assert refused.value.code == "worker_protocol"
        assert len(await say(voice, "a")) == 1

    asyncio.run(main())


# ── Cancelling ────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_closed_stream_is_cancelled_there(load: Open, tmp_path: Path) -> None:
    async def main() -> None:
        file = tmp_path / "done"
        voice = load(behaves="waiting", file=str(file))
        stream = voice.speak(given("a"), Style())
        await anext(stream)
        pid = voice.process.pid
        await stream.aclose()
        await until(file.exists)
        await asyncio.sleep(0.1)
        assert voice.process.pid == pid

    asyncio.run(main())


def test_a_worker_runs_no_further_ahead_than_its_window(load: Open, tmp_path: Path) -> None:
    async def main() -> None:
        file = tmp_path / "made"
        voice = load(behaves="endless", file=str(file))
        stream = voice.speak(given("a"), Style())
        await anext(stream)
        await asyncio.sleep(0.5)
        assert len(file.read_text().splitlines()) <= WINDOW + 1
        for _ in range(100):
            await anext(stream)
        await stream.aclose()
        assert voice.process.pid is not None

    asyncio.run(main())


@pytest.mark.realtime
def test_a_call_that_will_not_stop_has_its_worker_killed_and_started_again(load: Open) -> None:
    async def main() -> None:
        voice = load(behaves="stuck", cancel="kill")
        pid = voice.process.pid
        stream = voice.speak(given("a"), Style())
        await anext(stream)
        began = time.monotonic()
        await stream.aclose()
        await until(lambda: gone(pid))
        assert apart.KILL_AFTER_S["kill"] <= time.monotonic() - began < 2.0
        await until(lambda: voice.process.pid not in (None, pid))
        again = voice.speak(given("a"), Style())
        assert (await anext(again)).words[0].text == "a"
        await again.aclose()

    asyncio.run(main())


# ── Dying ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.realtime
def test_a_killed_worker_fails_its_calls_at_once_and_comes_back(load: Open) -> None:
    async def main() -> None:
        voice = load(behaves="waiting", file="/dev/null", first_s=1.5)
        streams = [voice.speak(given("a"), Style()) for _ in range(2)]
        for stream in streams:
            await anext(stream)
        began = time.monotonic()
        os.kill(voice.process.pid, signal.SIGKILL)
        for stream in streams:
            with pytest.raises(EngineError) as failed:
                await anext(stream)
            assert (failed.value.code, failed.value.retryable) == ("worker_died", True)
            assert "signal 9" in failed.value.message
        assert (await failure(voice, "a")).code == "worker_restarting"
        assert time.monotonic() - began < 1.5
        await ready(voice)
        assert time.monotonic() - began >= 1.5
        stream = voice.speak(given("b"), Style())
        assert (await anext(stream)).words[0].text == "b"
        await stream.aclose()

    asyncio.run(main())


def test_a_call_that_comes_just_after_the_worker_died_fails_too(load: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a busy machine it is a while until whoever keeps the worker knows."""
    usual = child.Worker.watched

    async def late(worker: child.Worker) -> None:
        try:
            await usual(worker)
        finally:
            await asyncio.sleep(0.5)

    monkeypatch.setattr(child.Worker, "watched", late)

    async def main() -> None:
        voice = load(behaves="waiting", file="/dev/null")
        stream = voice.speak(given("a"), Style())
        await anext(stream)
        os.kill(voice.process.pid, signal.SIGKILL)
        with pytest.raises(EngineError):
            await anext(stream)
        assert (await failure(voice, "a")).code == "worker_restarting"

    asyncio.run(main())


def test_a_worker_comes_back_when_there_are_descriptors_again(load: Open, caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        voice = load(first_s=0.3)
        os.kill(voice.process.pid, signal.SIGKILL)
        await until(lambda: "it is started again" in caplog.text)
        with descriptors_left(0):
            await until(lambda: "Too many open files" in caplog.text)
            assert (await failure(voice, "a")).code == "worker_restarting"
        await ready(voice)
        assert len(await say(voice, "a")) == 1

    asyncio.run(main())


@pytest.mark.parametrize("left", [0, 3], ids=["for its line", "for its process"])
def test_one_that_cannot_be_started_for_want_of_descriptors_is_an_error(python: Path, left: int) -> None:
    place = direct(python)
    with descriptors_left(left), pytest.raises(EngineError) as refused:
        place.start()
    assert refused.value.code == "worker_not_started"
    assert "Too many open files" in refused.value.message


def test_one_for_which_no_thread_can_be_started_is_an_error(python: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    place = direct(python)
    monkeypatch.setattr(threading.Thread, "start", refused)
    with pytest.raises(EngineError) as failed:
        place.start()
    assert failed.value.code == "worker_not_started"


def test_one_that_says_what_it_may_not_dies_like_any_other(python: Path) -> None:
    twice = (
        "from duologue.places import worker\n"
        "worker._Server._begin = lambda server, *call: server._writer.write(\n"
        "    server._codec.encode(worker.Message('ready', value=(1, ''))))\n"
    )
    place = direct(python, boot=apart.BOOT.replace("apart.serve", twice + "apart.serve"))

    async def main() -> None:
        async with asyncio.timeout(LIMIT_S):
            with pytest.raises(EngineError) as failed:
                await place.ask("speak")
        assert failed.value.code == "worker_died"
        await until(lambda: place.pid is not None)

    place.start()
    asyncio.run(main())
    place.close()


def test_an_exit_says_what_was_said_last(load: Open) -> None:
    error = asyncio.run(failure(load(behaves="dying"), "a"))
    assert (error.code, error.message) == ("worker_died", "odd: its worker died (exit status 3)")


@pytest.mark.realtime
def test_a_worker_that_gives_no_sign_of_life_is_killed(load: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(child, "PING_S", 0.1)
    monkeypatch.setattr(child, "SILENT_S", 0.5)
    error = asyncio.run(failure(load(behaves="blocked"), "a"))
    assert error.code == "worker_died"
    assert "no sign of life" in error.message


@pytest.mark.realtime
def test_one_that_is_blocked_is_closed_within_two_seconds_and_nothing_is_left(load: Open) -> None:
    files = len(os.listdir("/proc/self/fd"))

    async def main() -> tuple[Any, int]:
        voice = load(behaves="blocked")
        stream = voice.speak(given("a"), Style())
        await anext(stream)
        return voice, voice.process.pid

    voice, pid = asyncio.run(main())
    began = time.monotonic()
    voice.close()
    assert time.monotonic() - began < 2.0
    assert gone(pid)  # reaped, too: a zombie still has its number
    assert len(os.listdir("/proc/self/fd")) <= files
    voice.close()  # twice is fine
    assert asyncio.run(failure(voice, "a")).code == "engine_closed"


@pytest.mark.realtime
def test_a_worker_dies_with_its_server(python: Path) -> None:
    program = textwrap.dedent(f"""
        import time
        from pathlib import Path
        from duologue.engines import Loading, apart
        from duologue.places.thread import Lane
        voice = apart.load("speaker", "scripted", Loading(Path, Lane("x")), Path({str(python)!r}))
        print(voice.process.pid, flush=True)
        time.sleep(60)
    """)
    with subprocess.Popen((sys.executable, "-c", program), stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        pid = int(server.stdout.readline())
        assert not gone(pid)
        server.kill()
    asyncio.run(until(lambda: gone(pid)))


def test_what_it_prints_is_in_the_log(load: Open, caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        voice = load(behaves="talkative")
        await say(voice, "a")

    with caplog.at_level(logging.INFO, "duologue"):
        asyncio.run(main())
        deadline = time.monotonic() + LIMIT_S
        while "warned" not in caplog.text and time.monotonic() < deadline:
            time.sleep(0.01)
    lines = {(record.levelname, record.message) for record in caplog.records}
    assert {("INFO", "odd: printed a"), ("INFO", "odd: bar"), ("WARNING", "odd: WARNING odd: warned")} <= lines


@pytest.mark.realtime
def test_fifty_calls_leave_nothing_behind(load: Open) -> None:
    async def main() -> None:
        voice = load()
        await say(voice, "a")
        files, tasks = len(os.listdir("/proc/self/fd")), len(asyncio.all_tasks())
        theirs = len(os.listdir(f"/proc/{voice.process.pid}/fd"))
        for _ in range(25):
            await say(voice, "a", "b")
            stream = voice.speak(given("a", "b"), Style())
            await anext(stream)
            await stream.aclose()
        await asyncio.sleep(0.1)
        assert (len(os.listdir("/proc/self/fd")), len(asyncio.all_tasks())) == (files, tasks)
        assert len(os.listdir(f"/proc/{voice.process.pid}/fd")) == theirs
        assert voice.process._worker._calls == {}

    asyncio.run(main())


def test_the_wait_doubles_and_begins_anew_after_one_that_lasted() -> None:
    backoff = Backoff(first_s=1.0, most_s=5.0, lasting_s=100.0)
    assert [backoff.died(0.0) for _ in range(5)] == [1.0, 2.0, 4.0, 5.0, 5.0]
    assert [backoff.died(100.0), backoff.died(3.0)] == [1.0, 2.0]
