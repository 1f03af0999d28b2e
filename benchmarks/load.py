"""How many sessions one server carries: latency, late frames, late sound, CPU and memory, step by step.

With scripted engines it shows the cost of the server itself, kept to one core; with the real ones (`--real`) that of the whole.
The clients are this process, on the other cores.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from itertools import cycle, islice
from typing import Any, Final

import numpy as np
from websockets.exceptions import WebSocketException

from benchmarks.crowd import Client, Notes, frames, voice
from benchmarks.figures import Figure
from benchmarks.machine import Usage
from benchmarks.recordings import Recording
from benchmarks.servers import SCRIPTED, Server, serving
from duologue import clock
from duologue.audio import FRAME_S, INPUT_RATE

SPEAK_S: Final = 6.0
LISTEN_S: Final = 2.5
STEPS: Final = (25, 50, 100, 150, 200)
REAL_STEPS: Final = (1, 2, 4, 8)
LATE_AT_MOST: Final = 0.01


@dataclass(frozen=True)
class Step:
    sessions: int
    seconds: float
    notes: Notes
    cpu: float
    """Of one core, while the step lasted."""
    rss_mb: float

    @property
    def carried(self) -> bool:
        notes = self.notes
        return max(notes.late_frames, notes.late_reply_blocks) < LATE_AT_MOST and not notes.broken and not notes.refused

    def facts(self) -> dict[str, Any]:
        notes = self.notes
        return {
            "sessions": self.sessions,
            "seconds": round(self.seconds, 1),
            "answers": len(notes.answers_s),
            "unanswered": notes.unanswered,
            "refused": notes.refused,
            "broken": notes.broken,
            "answer_median_ms": _ms(notes.answers_s, 50),
            "answer_p95_ms": _ms(notes.answers_s, 95),
            "frame_p95_ms": _ms(notes.pings_s, 95),
            "frame_p99_ms": _ms(notes.pings_s, 99),
            "late_frames": round(notes.late_frames, 4),
            "late_reply_blocks": round(notes.late_reply_blocks, 4),
            "server_cpu": round(self.cpu, 3),
            "server_rss_mb": round(self.rss_mb, 1),
            "clients_late_p95_ms": _ms(notes.own_delays_s, 95),
            "carried": self.carried,
        }


async def run(sessions_of: Sequence[int], seconds: float, sounds: Sequence[list[bytes]], real: bool) -> list[Step]:
    """Each step with that many sessions for so long, on one server that stays. Stops after two steps that were not carried."""
    found: list[Step] = []
    async with _server(max(sessions_of), real) as server:
        for sessions in sessions_of:
            found.append(await _step(server, sessions, seconds, sounds))
            print(found[-1].facts(), file=sys.stderr, flush=True)
            if len(found) > 1 and not (found[-1].carried or found[-2].carried):
                break
    return found


def steps(real: bool) -> tuple[int, ...]:
    return REAL_STEPS if real else STEPS


def made_voices() -> list[list[bytes]]:
    return [voice(SPEAK_S, seed) for seed in range(5)]


def recorded_voices(recordings: Sequence[Recording]) -> list[list[bytes]]:
    """Each to the frame in which the voice ends, from which on a client counts; silence follows."""
    return [frames(recording.samples[: round(recording.ends_s * INPUT_RATE)]) for recording in recordings]


@asynccontextmanager
async def _server(sessions: int, real: bool) -> AsyncIterator[Server]:
    """A server of scripted engines is kept to the last core, and the clients to the others; real engines have all."""
    settings = {"DUOLOGUE_LIMITS__SESSIONS": str(sessions)} | ({} if real else dict(SCRIPTED))
    with _KeptOff(None if real else _last_core()) as core:
        async with serving(settings, core) as server:
            yield server


def _last_core() -> int | None:
    cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
    return cores[-1] if len(cores) > 1 else None


class _KeptOff:
    """This process off one core, for as long as it lasts."""

    def __init__(self, core: int | None) -> None:
        self._core = core
        self._before = os.sched_getaffinity(0) if core is not None else set[int]()

    def __enter__(self) -> int | None:
        if self._core is not None:
            os.sched_setaffinity(0, self._before - {self._core})
        return self._core

    def __exit__(self, *_: object) -> None:
        if self._core is not None:
            os.sched_setaffinity(0, self._before)


async def _step(server: Server, sessions: int, seconds: float, sounds: Sequence[list[bytes]]) -> Step:
    """Sessions begin spread over one round, as callers do: never all turns end at once."""
    notes = Notes()
    round_s = max(len(sound) for sound in sounds) * FRAME_S + LISTEN_S
    callers = [
        asyncio.create_task(_call(server.address, notes, _from(number, sounds), number / sessions * round_s))
        for number in range(sessions)
    ]
    try:
        await asyncio.sleep(round_s + 1.0)  # all are there
        _forget(notes)
        before, began_at = server.usage(), clock.now()
        await asyncio.sleep(seconds)
        after, lasted_s = server.usage(), clock.now() - began_at
        kept = _copy(notes)
    finally:
        for caller in callers:
            caller.cancel()
        await asyncio.gather(*callers, return_exceptions=True)
    return Step(sessions, lasted_s, kept, _cpu(before, after, lasted_s), after.rss_mb)


def _from(number: int, sounds: Sequence[list[bytes]]) -> Iterator[list[bytes]]:
    """What a client says, each another thing at one time, and for ever."""
    return islice(cycle(sounds), number % len(sounds), None)


async def _call(address: str, notes: Notes, sounds: Iterator[list[bytes]], after_s: float) -> None:
    await asyncio.sleep(after_s)
    try:
        async with Client(address, notes) as client:
            for sound in sounds:
                await client.say(sound, LISTEN_S)
    except (WebSocketException, OSError):
        notes.broken += 1


def _forget(notes: Notes) -> None:
    """What was noted before all were there; a client that was lost then stays lost."""
    notes.answers_s, notes.pings_s, notes.own_delays_s = [], [], []
    notes.blocks = notes.late_blocks = notes.unanswered = 0


def _copy(notes: Notes) -> Notes:
    return Notes(
        notes.answers_s.copy(),
        notes.pings_s.copy(),
        notes.own_delays_s.copy(),
        notes.blocks,
        notes.late_blocks,
        notes.unanswered,
        notes.refused,
        notes.broken,
    )


def _cpu(before: Usage, after: Usage, seconds: float) -> float:
    return (after.cpu_s - before.cpu_s) / seconds


def figures(found: Sequence[Step], needs: int | None = None) -> list[Figure]:
    """`needs`: so many sessions must be carried."""
    carried = max((step.sessions for step in found if step.carried), default=0)
    limits = {} if needs is None else {"overall": -float(needs)}
    most = Figure("sessions carried, negative", "count", [], -float(carried), limits, needs=0)
    return [most, *(figure for step in found for figure in _of(step))]


def _of(step: Step) -> list[Figure]:
    name = f"{step.sessions} sessions"
    return [
        Figure(f"{name}: voice to voice", "ms", [s * 1000 for s in step.notes.answers_s]),
        Figure(f"{name}: late frames", "share", [], step.notes.late_frames),
        Figure(f"{name}: late sound of replies", "share", [], step.notes.late_reply_blocks),
        Figure(f"{name}: server's CPU", "cores", [], step.cpu),
        Figure(f"{name}: server's memory", "MB", [], step.rss_mb),
    ]


def _ms(seconds: Sequence[float], percentile: float) -> float | None:
    return round(float(np.percentile(seconds, percentile)) * 1000, 1) if seconds else None
