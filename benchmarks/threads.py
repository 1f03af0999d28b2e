"""All engines at work at once, under other settings of their threads, each in its own process.

Two voices and two replies without a pause, a turn judged and an utterance heard every half second, and eight microphones on the
loop. It also tells what a batch saves voice activity, and llama.cpp.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import replace
from typing import Any, Final

import numpy as np
import onnxruntime

from benchmarks import recordings
from duologue import clock, config
from duologue.audio import FRAME_S, FRAME_SAMPLES, Audio, Frame
from duologue.engines import Message, Prompt, Style, lineup, one_clip, onnx
from duologue.engines.lineup import Lineup
from duologue.models import open_store

ONNX: Final = ("piper", "polyglot", "sound_and_words")
TWO: Final = {engine: {"threads": 2} for engine in ONNX}

SETTINGS: Final[dict[str, dict[str, dict[str, int]]]] = {
    "as it is: 1 thread each": {},
    "llama reads with 2": {"llama": {"reading_threads": 2}},
    "llama writes with 2": {"llama": {"threads": 2}},
    "onnxruntime 2": TWO,
    "onnxruntime 2, spinning": TWO,
    "onnxruntime 2, spinning, llama writes with 2": TWO | {"llama": {"threads": 2}},
}

LINE: Final = "The capital of France is Paris, which lies on the river Seine and has two million people. "
MICROPHONES: Final = 8
SPEAKERS: Final = 2
HANGS_S: Final = 90.0
"""What a process takes beyond its measurement before it counts as one that hangs."""


async def measure(engines: Lineup, seconds: float) -> dict[str, Any]:  # noqa: C901 (seven kinds of work, side by side)
    until = clock.now() + seconds
    made_s, tokens = [0.0], [0]
    turns = [recording.samples for recording in recordings.questions()[:8]]
    first, ttft, judged, heard, late = (list[float]() for _ in range(5))

    async def speak() -> None:
        began_at, said = clock.now(), False
        async for sound in engines.speakers[0].speak(_once(LINE), Style()):
            if not said and len(sound.samples):
                first.append(clock.now() - began_at)
                said = True
            made_s[0] += sound.seconds

    async def write(number: int = 0) -> None:
        began_at, begun = clock.now(), False
        question = Message("user", f"Tell me fact number {tokens[0]} about the city of Paris.")
        async for _ in engines.writer.write(Prompt(f"writer {number}", [question])):
            if not begun:
                ttft.append(clock.now() - began_at)
                begun = True
            tokens[0] += 1

    async def judge() -> None:
        assert engines.turn_detector is not None
        await _timed(engines.turn_detector.complete(turns[len(judged) % len(turns)], ""), judged)
        await asyncio.sleep(0.5)

    async def hear() -> None:
        await _timed(_transcript(engines, turns[len(heard) % len(turns)]), heard)
        await asyncio.sleep(0.5)

    async def listen() -> None:
        due_at = clock.now() + FRAME_S
        await asyncio.sleep(FRAME_S)
        late.append(clock.now() - due_at)
        for vad in vads:
            vad(Frame(np.zeros(FRAME_SAMPLES, np.float32), 0))

    vads = [engines.vad.open() for _ in range(MICROPHONES)]
    cpu, began_at = time.process_time(), clock.now()
    await asyncio.gather(
        *(_again(work, until) for work in (judge, hear, listen, *[speak] * SPEAKERS)),
        *(_again(lambda number=number: write(number), until) for number in range(SPEAKERS)),  # type: ignore[misc]
    )
    wall_s = clock.now() - began_at
    return {
        "sound made, s a s": round(made_s[0] / wall_s, 2),
        "tokens a s": round(tokens[0] / wall_s, 1),
        "first sound": _ms(first),
        "first token": _ms(ttft),
        "turn judged": _ms(judged),
        "utterance heard": _ms(heard),
        "loop late": _ms(late),
        "cores": round((time.process_time() - cpu) / wall_s, 2),
    }


async def _again(work: Callable[[], Awaitable[None]], until: float) -> None:
    while clock.now() < until:
        await work()


async def _timed(work: Awaitable[Any], times: list[float]) -> None:
    began_at = clock.now()
    await work
    times.append(clock.now() - began_at)


async def _transcript(engines: Lineup, sound: Audio) -> None:
    async for _ in engines.recognizer.transcribe(one_clip(sound)):
        pass


async def _once(text: str) -> AsyncIterator[str]:
    yield text


def _ms(values: Sequence[float]) -> dict[str, float]:
    if not values:
        return {"n": 0}
    median, p95 = np.percentile(values, [50, 95]) * 1000
    return {
        "n": len(values),
        "median_ms": round(median, 1),
        "p95_ms": round(p95, 1),
        "worst_ms": round(max(values) * 1000, 1),
    }


# ── Batches ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def frames_in_a_batch() -> dict[str, Any]:
    """Milliseconds of one call of Silero for so many sessions' frames, and of that for each frame."""
    session = onnx.session(open_store(config.load().models).folder("silero-vad") / "silero_vad.onnx")
    told = {}
    for size in (1, 4, 16, 64):
        inputs = {"input": np.zeros((size, 576), np.float32), "state": np.zeros((2, size, 128), np.float32)}
        times = []
        for _ in range(200):
            began_at = time.perf_counter()
            session.run(None, inputs | {"sr": np.array(16_000, np.int64)})
            times.append((time.perf_counter() - began_at) * 1000)
        median = float(np.median(times))
        told[str(size)] = {"call_ms": round(median, 3), "frame_ms": round(median / size, 4), "n": len(times)}
    return told


async def replies_in_a_batch(engines: Lineup) -> dict[str, Any]:
    """Tokens a second of so many replies at once, all together; and how long one waits for its next token at the most while
    another conversation's long prompt is read."""

    async def reply(name: str, gaps: list[float]) -> int:
        count, at = 0, clock.now()
        prompt = Prompt(name, [Message("user", "Tell me a long story about the sea and a small boat.")])
        async for _ in engines.writer.write(prompt):
            if count:
                gaps.append(clock.now() - at)
            count, at = count + 1, clock.now()
        return count

    told: dict[str, Any] = {}
    for size in (1, 2, 4):
        began_at, gaps = clock.now(), list[float]()
        counts = await asyncio.gather(*(reply(f"batch {number}", gaps) for number in range(size)))
        told[str(size)] = {"tokens_a_s": round(sum(counts) / (clock.now() - began_at), 1), "between": _ms(gaps)}
    gaps = []
    long = Prompt("long", [Message("user", f"{time.time()} " + "The boat went out to sea again. " * 100)])
    await asyncio.gather(reply("beside a prefill", gaps), engines.writer.prefill(long))
    return told | {"beside a prefill of 700 tokens": {"between": _ms(gaps)}}


# ── Processes ─────────────────────────────────────────────────────────────────────────────────────────────────────────


class _Spinning(onnxruntime.SessionOptions):  # type: ignore[misc]
    def add_session_config_entry(self, key: str, value: str) -> None:
        super().add_session_config_entry(key, "1" if key == "session.intra_op.allow_spinning" else value)


def one(name: str, seconds: float) -> dict[str, Any]:
    if "spinning" in name:
        onnxruntime.SessionOptions = _Spinning
    settings, store = config.load(), open_store(config.load().models)
    engines = lineup.load(replace(settings.engines, settings=SETTINGS[name]), store.folder)
    try:
        told = asyncio.run(measure(engines, seconds))
        if not SETTINGS[name]:
            told["replies in a batch"] = asyncio.run(replies_in_a_batch(engines))
    finally:
        engines.close()
    return told


def _apart(name: str, seconds: float) -> dict[str, Any]:
    command = [sys.executable, "-m", "benchmarks.threads", name, str(seconds)]
    load = os.getloadavg()[0]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=seconds + HANGS_S)
    except subprocess.TimeoutExpired:
        return {"hangs": f"not done {HANGS_S:g} s after its time", "load_before": load}
    return {**json.loads(done.stdout), "load_before": load}


def run(seconds: float, rounds: int) -> dict[str, Any]:
    """All settings, one after the other, so many times."""
    told: dict[str, Any] = {"frames in a batch": frames_in_a_batch(), "settings": []}
    for name in [*SETTINGS] * rounds:
        told["settings"].append({"name": name, **_apart(name, seconds)})
        print(json.dumps(told["settings"][-1]), file=sys.stderr, flush=True)
    return told


def main() -> None:
    """The process of one setting."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.threads")
    parser.add_argument("one", choices=SETTINGS)
    parser.add_argument("seconds", type=float)
    args = parser.parse_args()
    print(json.dumps(one(args.one, args.seconds)))


if __name__ == "__main__":
    main()
