"""Sessions that open, talk, interrupt and leave at random, for as long as is asked: does anything grow, is anything left over?

The server is a process of its own, and what it holds is looked at from outside: memory, threads, descriptors, and the tasks of
its loop. Which client does what is decided by a seeded generator, so that a run can be had again.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from random import Random
from typing import Any, Final

import numpy as np
from websockets.exceptions import WebSocketException

from benchmarks.crowd import SILENCE, Client, Notes, voice
from benchmarks.figures import Figure
from benchmarks.machine import Usage
from benchmarks.servers import SCRIPTED, Server, serving
from duologue import clock
from duologue.audio import FRAME_S

SAMPLES: Final = 120
"""Looks at the server, spread over the run."""

WARM_UP: Final = 0.2
"""Of the run: caches fill, the allocator finds its size. What grows after it is a leak."""

SETTLE_S: Final = 3.0
"""After the last client left, until what is left over is counted; sessions that wait to be resumed are told not to."""

SETTINGS: Final = {"DUOLOGUE_LIMITS__RESUME_S": "1.0", "DUOLOGUE_LIMITS__SESSIONS": "64"}


@dataclass(frozen=True)
class Look:
    at_s: float
    usage: Usage
    tasks: int


async def run(minutes: float, sessions: int, seed: int, real: bool = False) -> tuple[list[Figure], dict[str, Any]]:
    """About `sessions` at a time. The figures, and what was seen."""
    notes = Notes()
    async with serving(SETTINGS | ({} if real else dict(SCRIPTED))) as server:
        await _visit(server.address, Random(seed), notes)  # what the first session makes stays
        await asyncio.sleep(SETTLE_S)
        before = await _look(server, 0.0)
        looks = await _crowded(server, minutes * 60, sessions, seed, notes)
        await asyncio.sleep(SETTLE_S)
        after = await _look(server, minutes * 60 + SETTLE_S)
    return figures(before, looks, after, notes), {
        "seed": seed,
        "before": asdict(before),
        "after": asdict(after),
        "looks": [asdict(look) for look in looks],
        "answers": len(notes.answers_s),
        "broken": notes.broken,
    }


def figures(before: Look, looks: Sequence[Look], after: Look, notes: Notes) -> list[Figure]:
    warm = [look for look in looks if look.at_s >= WARM_UP * looks[-1].at_s]
    share = slope_an_hour(warm)
    left = {
        "tasks": after.tasks - before.tasks,
        "threads": after.usage.threads - before.usage.threads,
        "descriptors": after.usage.descriptors - before.usage.descriptors,
    }
    return [
        Figure("memory's growth an hour, after warm-up", "share", [], share, {"overall": 0.01}, needs=0),
        *(Figure(f"{what} left over", "count", [], float(n), {"overall": 0.0}, needs=0) for what, n in left.items()),
        Figure("connections broken", "count", [], float(notes.broken), {"overall": 0.0}, needs=0),
        Figure("voice to voice", "ms", [s * 1000 for s in notes.answers_s]),
    ]


def slope_an_hour(looks: Sequence[Look]) -> float:
    """Of the straight line through the memory, relative to its mean."""
    if len(looks) < 2:
        return 0.0
    hours, memory = [look.at_s / 3600 for look in looks], [look.usage.rss_mb for look in looks]
    return float(np.polyfit(hours, memory, 1)[0] / np.mean(memory))


async def _crowded(server: Server, seconds: float, sessions: int, seed: int, notes: Notes) -> list[Look]:
    """The looks meanwhile; every client has gone when it returns."""
    began_at, looks = clock.now(), list[Look]()
    clients = [asyncio.create_task(_come_and_go(server.address, Random(f"{seed}/{n}"), notes)) for n in range(sessions)]
    try:
        while (at_s := clock.now() - began_at) < seconds:
            looks.append(await _look(server, at_s))
            print(
                f"{at_s:6.0f} s: {looks[-1].usage.rss_mb:.1f} MB, {looks[-1].tasks} tasks", file=sys.stderr, flush=True
            )
            await asyncio.sleep(max(1.0, seconds / SAMPLES))
    finally:
        for client in clients:
            client.cancel()
        await asyncio.gather(*clients, return_exceptions=True)
    return looks


async def _come_and_go(address: str, random: Random, notes: Notes) -> None:
    while True:
        try:
            await _visit(address, random, notes)
        except (WebSocketException, OSError):
            notes.broken += 1
        await asyncio.sleep(random.uniform(0.0, 3.0))


async def _visit(address: str, random: Random, notes: Notes) -> None:
    """A session of a few turns; it may end in the middle of anything."""
    async with Client(address, notes) as client:
        for _ in range(random.randint(1, 5)):
            await _do(client, random)
            if random.random() < 0.1:
                return


async def _do(client: Client, random: Random) -> None:
    said = voice(random.uniform(0.5, 3.0), random.randrange(8))
    match random.choice(("talk", "talk", "interrupt", "stop", "type", "murmur", "leave")):
        case "talk":
            await client.say(said, random.uniform(2.0, 4.0))
        case "interrupt":
            await client.say(said, 1.5)
            await client.say(voice(2.0), 3.0)
        case "stop":
            await client.send([*said, *[SILENCE] * round(1.2 / FRAME_S)])
            await client.tell(type="interrupt")
        case "type":
            await client.tell(type="text", text="Tell me about the sea, please.")
            await client.send([SILENCE] * round(2.0 / FRAME_S))
        case "murmur":
            await client.send([*voice(0.2), *[SILENCE] * round(1.0 / FRAME_S)])
        case "leave":
            await client.send(said)


async def _look(server: Server, at_s: float) -> Look:
    with suppress(OSError):
        return Look(at_s, server.usage(), await server.tasks())
    raise SystemExit("the server is gone")
