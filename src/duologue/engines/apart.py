"""Engines apart: one that runs in a worker (`places.process`), and what stands for it here.

The engine's own `load` is unchanged and runs in the worker, under the interpreter of its environment, on this very source:
nothing of this package is installed there, so the two sides never differ. The models are the server's: the worker asks for their
folders. What stands for the engine here has the same Protocol, so that nobody else knows.
"""

from __future__ import annotations

import os
import sys
from collections.abc import AsyncIterator, Callable, Mapping
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any, Final

import numpy as np

import duologue
from duologue.audio import Audio, Frame
from duologue.emotion import Scores
from duologue.emotion.engine import Detectors
from duologue.engines import (
    About,
    Engine,
    Loading,
    Message,
    Pause,
    Piece,
    Prompt,
    Reading,
    Sound,
    Style,
    Task,
    Text,
    Tool,
    ToolCall,
    ToolCallPart,
    Transcript,
    Word,
    registry,
)
from duologue.errors import ConfigError
from duologue.places import worker
from duologue.places.process import Backoff, Process
from duologue.places.thread import Lane
from duologue.places.wire import Codec
from duologue.places.wire import Message as WireMessage

CODEC: Final = Codec(
    *(About, Word, Sound, Style),
    *(Frame, Pause, Transcript),
    *(Prompt, Message, Tool, Text, ToolCall, ToolCallPart, Reading),
)

KILL_AFTER_S: Final[Mapping[str, float]] = {"token": 4.0, "chunk": 6.0, "sentence": 20.0, "kill": 0.5}
"""After a cancel, by what the engine declares (`About.cancel`): several times what it should need on a busy machine, because a
killed worker loads its model again. `kill` says that nothing else stops it."""

YIELDING_S: Final = 120.0
"""The same for what runs on a lane that yields: a busy machine leaves it a tenth of a core."""

BOOT: Final = """
import importlib.util, sys
folder, handle = sys.argv[1:]
spec = importlib.util.spec_from_file_location("duologue", folder + "/__init__.py", submodule_search_locations=[folder])
sys.modules["duologue"] = package = importlib.util.module_from_spec(spec)
spec.loader.exec_module(package)
from duologue.engines import apart
apart.serve(int(handle))
"""
"""Finds this package where it is, and nothing else that is installed beside it."""


def load(
    task: Task,
    name: str,
    loading: Loading,
    python: Path,
    *,
    variables: Mapping[str, str] | None = None,
    backoff: Backoff | None = None,
) -> Engine:
    """Blocking. The engine, warm, in a worker of its own under the interpreter `python`; `loading.lane` stays unused, but for
    what an emotion engine does here.

    Raises the loader's own errors, `ConfigError` (place_not_possible, environment_broken, bad_setting) and `EngineError`
    (worker_died, worker_mismatch, worker_not_started).
    """
    if task not in (*STANDING, "emotion"):
        raise ConfigError("place_not_possible", f"a {task} cannot run in a worker: it is asked too often")
    entry = registry.entry(task, name)
    process = Process(
        name,
        (str(python), "-I", "-c", BOOT, str(Path(duologue.__file__).parent)),
        CODEC,
        (entry.group, entry.name, entry.value, _crossing(name, loading.settings), loading.fetch is not None),
        _answers(loading),
        environment=_environment(variables or {}),
        backoff=backoff,
    )
    about, methods = process.start()
    process.kill_after_s = YIELDING_S if task == "emotion" else KILL_AFTER_S[about.cancel]
    if task == "emotion":
        return _emotion(process, about, methods, loading.lane)
    return (HearingWriterApart if "answer" in methods else STANDING[task])(process, about)


def _emotion(process: Process, about: About, methods: tuple[str, ...], lane: Lane) -> Engine:
    if "scores" in methods:
        return EmotionApart(process, about, lane)
    process.close()
    raise ConfigError("place_not_possible", f"{about.name} has no larger model that could run in a worker")


def _crossing(name: str, settings: Mapping[str, Any]) -> dict[str, Any]:
    try:
        CODEC.encode(WireMessage("load", value=settings))
    except TypeError as error:
        raise ConfigError("bad_setting", f"a setting of {name}: {error}") from error
    return dict(settings)


def _environment(variables: Mapping[str, str]) -> dict[str, str]:
    """This process's, without what would lead to this process's packages, and without its settings, which may hold keys."""
    mine = {key: value for key, value in os.environ.items() if not key.startswith(("PYTHON", "DUOLOGUE_"))}
    return mine | dict(variables)


def _answers(loading: Loading) -> Callable[[str, Any], Any]:
    def answer(what: str, name: str) -> str | None:
        if what == "model":
            return str(loading.model(name))
        if loading.fetch is not None:
            loading.fetch(name)
        return None

    return answer


# ── What stands for them ──────────────────────────────────────────────────────────────────────────────────────────────


class _Apart:
    def __init__(self, process: Process, about: About) -> None:
        self.about = about
        self.process = process

    def close(self) -> None:
        self.process.close()


class SpeakerApart(_Apart):
    def speak(self, text: AsyncIterator[str], style: Style) -> AsyncIterator[Sound]:
        return self.process.stream("speak", style, feed=text)


class RecognizerApart(_Apart):
    """One that knows several languages is heard as if each turn were its first: a session's `Hearing` does not cross."""

    def transcribe(self, audio: AsyncIterator[Frame | Pause]) -> AsyncIterator[Transcript]:
        return self.process.stream("transcribe", feed=audio)


class WriterApart(_Apart):
    def write(self, prompt: Prompt) -> AsyncIterator[Piece]:
        return self.process.stream("write", prompt)

    async def prefill(self, prompt: Prompt) -> None:
        await self.process.ask("prefill", prompt)

    def forget(self, conversation: str) -> None:
        self.process.tell("forget", conversation)


class HearingWriterApart(WriterApart):
    def answer(self, audio: Audio, prompt: Prompt) -> AsyncIterator[Piece | Sound]:
        return self.process.stream("answer", audio, prompt)

    async def transcribe(self, audio: Audio) -> Transcript:
        transcript: Transcript = await self.process.ask("transcribe", audio)
        return transcript


class EmotionApart(Detectors):
    """Its larger model is apart; the rest is here, as everybody's."""

    def __init__(self, process: Process, about: About, lane: Lane) -> None:
        super().__init__(about, lane, self._scores)
        self.process = process

    async def _scores(self, audio: Audio) -> Scores:
        scores: Scores = (await self.process.ask("scores", audio)).astype(np.float64)
        return scores

    def close(self) -> None:
        super().close()
        self.process.close()


STANDING: Final[Mapping[str, type[Any]]] = {
    "speaker": SpeakerApart,
    "recognizer": RecognizerApart,
    "writer": WriterApart,
}

METHODS: Final = ("speak", "transcribe", "write", "prefill", "forget", "answer", "scores")


# ── In the worker ─────────────────────────────────────────────────────────────────────────────────────────────────────


def serve(handle: int) -> None:
    """The worker's whole life, on the socket with this file descriptor."""
    worker.run(handle, CODEC, _load)


def _load(opening: Any, ask: worker.Ask) -> tuple[Engine, tuple[About, tuple[str, ...]]]:
    group, name, value, settings, may_fetch = opening
    loading = Loading(
        model=lambda wanted: Path(ask("model", wanted)),
        lane=worker.WatchedLane(name, yields=group == "duologue.emotion"),
        settings=settings,
        fetch=(lambda wanted: ask("fetch", wanted)) if may_fetch else None,
    )
    engine = registry.load_entry(EntryPoint(name, value, group), loading)
    return engine, (engine.about, tuple(method for method in METHODS if hasattr(engine, method)))


def own() -> Path:
    """The interpreter of this program: a worker with the same packages."""
    return Path(sys.executable)
