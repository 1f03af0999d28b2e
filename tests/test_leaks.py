"""What sessions leave behind when they are over: nothing."""

from __future__ import annotations

import asyncio
import ctypes
import gc
import os
import threading
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import dialogue
import pytest

from duologue.app import App, Occupied
from duologue.audio import INPUT_RATE, Audio, read_audio, resample
from duologue.config import Config, Limits, Server
from duologue.engines import lineup
from duologue.engines.scripted import ScriptedRecognizer, ScriptedSpeaker, ScriptedTurnDetector, ScriptedWriter
from duologue.errors import DuologueError
from duologue.models import open_store
from duologue.protocols import EndTurn, Export, Fact, Interrupt, Microphone, ReplyAudio, Type

SESSIONS = 10
MEMORY_SHARE = 0.02  # of what it was after the warm-up: what the allocator keeps of ten sessions' coming and going

needs_proc = pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="reads /proc, which only Linux has")


def descriptors() -> int:
    gc.collect()  # what tests before left behind is not given back in the middle of this one
    return len(os.listdir("/proc/self/fd"))


def resident_bytes() -> int:
    """After giving back what can be given back."""
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


class Client:
    """Opens a session, and waits for what it is told."""

    def __init__(self, app: App) -> None:
        self.facts: list[Fact] = []
        self._news = asyncio.Event()
        self.session: Occupied = app.open_session(self._tell)

    def _tell(self, fact: Fact) -> None:
        self.facts.append(fact)
        self._news.set()

    async def until(self, kind: type[Fact]) -> None:
        async with asyncio.timeout(60.0):
            while not any(isinstance(fact, kind) for fact in self.facts):
                self._news.clear()
                await self._news.wait()


async def session(app: App, use: Callable[[Client], Awaitable[None]]) -> None:
    client = Client(app)
    running = asyncio.create_task(client.session.run())
    await asyncio.sleep(0)
    try:
        await use(client)
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def settled() -> list[asyncio.Task[object]]:
    """Every other task, once those that are ending have ended."""
    await asyncio.sleep(0.05)
    return [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]


def quick() -> lineup.Lineup:
    return dialogue.lineup(
        turn_detector=ScriptedTurnDetector(delay_s=0.0),
        recognizer=ScriptedRecognizer(delay_s=0.0),
        writer=ScriptedWriter(replies=("Hi. " * 20,), delay_s=0.0, token_s=0.0),
        speakers=(ScriptedSpeaker(delay_s=0.0),),
    )


async def everything(client: Client) -> None:
    """A spoken turn, an interruption, a typed turn, a question about the history, and gone in mid-reply."""
    client.session.command(Microphone(dialogue.voice(0.5)))
    client.session.command(EndTurn())
    await client.until(ReplyAudio)
    client.session.command(Interrupt())
    client.session.command(Type("hello"))
    client.session.command(Export())
    await asyncio.sleep(0.1)
    client.session.command(Microphone(dialogue.voice(0.3)))
    await asyncio.sleep(0.05)


@needs_proc
def test_ten_sessions_leave_no_task_no_thread_and_no_file(tmp_path: Path) -> None:
    async def main() -> None:
        app = App(Config(server=Server(traces=str(tmp_path))), quick())
        await session(app, everything)
        threads, files = threading.active_count(), descriptors()
        await asyncio.gather(*(session(app, everything) for _ in range(SESSIONS)))
        assert await settled() == []
        assert threading.active_count() <= threads  # fewer: what an earlier test had begun has ended
        assert descriptors() <= files

    asyncio.run(main())


@needs_proc
def test_a_session_that_ends_in_an_error_leaves_nothing_either() -> None:
    async def main() -> None:
        app = App(Config(limits=Limits(idle_s=0.01)), quick())
        files = descriptors()
        for _ in range(SESSIONS):
            await session(app, lambda client: asyncio.sleep(0.05))
        assert await settled() == []
        assert descriptors() == files

    asyncio.run(main())


# ── The real engines ──────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def packaged() -> Iterator[lineup.Lineup]:
    try:
        made = lineup.load(Config().engines, open_store().folder)
    except DuologueError as error:
        pytest.skip(f"the packaged engines cannot be loaded: {error.message}")
    yield made
    made.close()


@pytest.mark.models
@pytest.mark.speech
@needs_proc
def test_ten_real_sessions_leave_no_memory_behind(packaged: lineup.Lineup, recordings: Path) -> None:
    samples, rate = read_audio(recordings / "questions" / "aiewf_turns__turn_001.wav")
    question = resample(samples, rate, INPUT_RATE)

    async def ask(client: Client) -> None:
        await speak(client, question)
        client.session.command(EndTurn())
        await client.until(ReplyAudio)  # and gone, in mid-reply

    async def main() -> None:
        app = App(Config(), packaged)
        for _ in range(4):  # arenas, caches and pools grow to their size
            await session(app, ask)
        others = getattr(packaged.recognizer, "others", None)
        if others is not None and others.engine is not None:
            await others.engine.glance(question)  # the first doubtful turn begins its thread, whenever that is
        threads, files, memory = threading.active_count(), descriptors(), resident_bytes()
        for _ in range(SESSIONS):
            await session(app, ask)
        assert await settled() == []
        assert (threading.active_count(), descriptors()) == (threads, files)
        left = resident_bytes() - memory
        assert left <= MEMORY_SHARE * memory, f"{left} bytes of {memory} were not given back"

    asyncio.run(main())


async def speak(client: Client, samples: Audio) -> None:
    """Four times as fast as a person: what is measured is what stays."""
    for start in range(0, len(samples), 1600):
        client.session.command(Microphone(samples[start : start + 1600]))
        await asyncio.sleep(0.025)
