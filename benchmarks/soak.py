"""Sessions that open, talk, interrupt and leave at random, for as long as is asked: does anything grow, is anything left over?

The server is a process of its own, and what it holds is looked at from outside. Which client does what is decided by a seeded
generator, so that a run can be had again.

A process's resident memory says little in ten minutes: it moves by more than 1 % with who happens to be there and with what the
allocator keeps. So from time to time everybody leaves at once, whatever they are doing, and what an empty server holds is
counted exactly: Python's blocks of memory, and the bytes that malloc has given out (relative to the memory that is resident).
The slope is the median of those between any two looks (Theil and Sen's), which one odd look does not turn. This sees whatever is
kept of sessions that are over, in Python or out of it: a few dozen blocks of each, or some kilobytes, make 1 % an hour. It does
not see memory that is held only while somebody is there, nor memory that is free but in pieces too small to give back: what is
resident is told, and has a limit only where a run is long enough (`RESIDENT_MINUTES`).
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from itertools import combinations
from random import Random
from typing import Any, Final

import numpy as np
from websockets.exceptions import WebSocketException

from benchmarks.crowd import SILENCE, Client, Notes, voice
from benchmarks.figures import Figure
from benchmarks.machine import Usage
from benchmarks.servers import SCRIPTED, Holds, Server, serving
from duologue import clock
from duologue.audio import FRAME_S

Sound = list[bytes]
"""PCM16 frames of 32 ms."""

LOOK_EVERY_S: Final = 30.0
LEAST_LOOKS: Final = 3
LEAST_ROUND_S: Final = 2.0

WARM_UP: Final = 0.5
"""Of the run: caches fill, ever more slowly. What grows after it as fast as `MOST_AN_HOUR` is a leak."""

MOST_AN_HOUR: Final = 0.01
RESIDENT_MINUTES: Final = 60.0

QUIET_S: Final = 5.0
"""After the last client left. Nobody may resume for so long; and a cancelled timer holds what it was for until it is due."""

SETTLE_S: Final = 10.0
"""On a busy machine it may take longer; what is there after that is left over."""

SETTINGS: Final = {"DUOLOGUE_LIMITS__RESUME_S": "1.0", "DUOLOGUE_LIMITS__SESSIONS": "64"}


@dataclass(frozen=True)
class Look:
    """At a server without clients."""

    at_s: float
    usage: Usage
    holds: Holds


async def run(
    minutes: float,
    sessions: int,
    seed: int,
    recorded: Sequence[Sound] = (),
    first: str = "",
    quiet_s: float = QUIET_S,
    settle_s: float = SETTLE_S,
) -> tuple[list[Figure], dict[str, Any]]:
    """About `sessions` at a time: who say what was `recorded`, to the real engines, or buzz at scripted ones if nothing was.
    The figures, and what was seen. `first`: as of `serving`."""
    notes, began_at = Notes(), clock.now()
    async with serving(SETTINGS | ({} if recorded else dict(SCRIPTED)), first=first) as server:
        untouched = await _look(server, 0.0)
        visitors = Visitors(server.address, recorded, notes)
        rounds = max(LEAST_LOOKS, round(minutes * 60 / LOOK_EVERY_S))
        visited_s = max(LEAST_ROUND_S, minutes * 60 / rounds - quiet_s)
        await visitors.crowd(visited_s, sessions, str(seed))  # what the first sessions make stays, threads among it
        before = await _empty(server, began_at, quiet_s, settle_s, untouched)
        began_at, looks = clock.now(), []
        for number in range(rounds):
            await visitors.crowd(visited_s, sessions, f"{seed}/{number}")
            looks.append(await _empty(server, began_at, quiet_s, settle_s, before))
            _tell(looks[-1])
    return figures(before, looks, notes), {
        "seed": seed,
        "before": asdict(before),
        "looks": [asdict(look) for look in looks],
        "answers": len(notes.answers_s),
        "broken": notes.broken,
    }


def figures(before: Look, looks: Sequence[Look], notes: Notes) -> list[Figure]:
    warm = [look for look in looks if look.at_s >= WARM_UP * looks[-1].at_s]
    after = looks[-1]
    left = {
        "tasks": after.holds.tasks - before.holds.tasks,
        "threads": after.usage.threads - before.usage.threads,
        "descriptors": after.usage.descriptors - before.usage.descriptors,
    }
    long = looks[-1].at_s >= RESIDENT_MINUTES * 60
    resident_mb = float(np.median([look.usage.rss_mb for look in warm]))
    objects = float(np.median([look.holds.objects for look in warm]))
    return [
        _growth("Python's blocks", slope_an_hour(warm, lambda look: look.holds.objects) / objects),
        _growth("malloc's bytes", slope_an_hour(warm, lambda look: look.holds.in_use_bytes / 1e6) / resident_mb),
        _growth("resident memory", slope_an_hour(warm, lambda look: look.usage.rss_mb) / resident_mb, limited=long),
        *(Figure(f"{what} left over", "count", [], float(n), {"overall": 0.0}, needs=0) for what, n in left.items()),
        Figure("connections broken", "count", [], float(notes.broken), {"overall": 0.0}, needs=0),
        Figure("voice to voice", "ms", [s * 1000 for s in notes.answers_s]),
    ]


def _growth(what: str, share: float, *, limited: bool = True) -> Figure:
    limit = {"overall": MOST_AN_HOUR} if limited else {}
    return Figure(f"{what}: growth an hour, after warm-up", "share", [], share, limit, needs=0)


def slope_an_hour(looks: Sequence[Look], of: Callable[[Look], float]) -> float:
    """The median of the slopes between any two looks."""
    slopes = [(of(b) - of(a)) / (b.at_s - a.at_s) for a, b in combinations(looks, 2)]
    return float(np.median(slopes)) * 3600 if slopes else 0.0


async def _empty(server: Server, began_at: float, quiet_s: float, settle_s: float, before: Look) -> Look:
    """As soon as no more is there than before, or what there is `settle_s` after the quiet."""
    await asyncio.sleep(quiet_s)
    until = clock.now() + settle_s
    while True:
        look = await _look(server, clock.now() - began_at)
        few = look.usage.descriptors <= before.usage.descriptors and look.usage.threads <= before.usage.threads
        if (few and look.holds.tasks <= before.holds.tasks) or clock.now() > until:
            return look
        await asyncio.sleep(0.5)


def _tell(look: Look) -> None:
    holds = f"{look.holds.objects} blocks, {look.holds.in_use_bytes / 1e6:.3f} MB in use, {look.holds.tasks} tasks"
    print(f"{look.at_s:6.0f} s: {holds}, {look.usage.rss_mb:.1f} MB resident", file=sys.stderr, flush=True)


class Visitors:
    """Who come, talk and go."""

    def __init__(self, address: str, recorded: Sequence[Sound], notes: Notes) -> None:
        self._address, self._recorded, self._notes = address, recorded, notes

    async def crowd(self, seconds: float, sessions: int, seed: str) -> None:
        """Every client has gone when it returns."""
        clients = [asyncio.create_task(self._come_and_go(Random(f"{seed}/{n}"))) for n in range(sessions)]
        await asyncio.sleep(seconds)
        for client in clients:
            client.cancel()
        await asyncio.gather(*clients, return_exceptions=True)

    async def _come_and_go(self, random: Random) -> None:
        while True:
            try:
                await self._visit(random)
            except (WebSocketException, OSError):
                self._notes.broken += 1
            await asyncio.sleep(random.uniform(0.0, 3.0))

    async def _visit(self, random: Random) -> None:
        """A session of a few turns; it may end in the middle of anything."""
        async with Client(self._address, self._notes) as client:
            for _ in range(random.randint(1, 5)):
                await self._do(client, random)
                if random.random() < 0.1:
                    return

    async def _do(self, client: Client, random: Random) -> None:
        match random.choice(("talk", "talk", "interrupt", "stop", "type", "murmur", "leave")):
            case "talk":
                await client.say(self._said(random), random.uniform(2.0, 4.0))
            case "interrupt":
                await client.say(self._said(random), 1.5)
                await client.say(self._said(random), 3.0)
            case "stop":
                await client.send([*self._said(random), *[SILENCE] * round(1.2 / FRAME_S)])
                await client.tell(type="interrupt")
            case "type":
                await client.tell(type="text", text="Tell me about the sea, please.")
                await client.send([SILENCE] * round(2.0 / FRAME_S))
            case "murmur":
                await client.send([*self._said(random)[:6], *[SILENCE] * round(1.0 / FRAME_S)])
            case "leave":
                said = self._said(random)
                await client.send(said[: random.randint(1, len(said))])

    def _said(self, random: Random) -> Sound:
        return random.choice(self._recorded) if self._recorded else voice(random.uniform(0.5, 3.0), random.randrange(8))


async def _look(server: Server, at_s: float) -> Look:
    with suppress(OSError):
        holds = await server.holds()  # first: what it does not use is given back
        return Look(at_s, server.usage(), holds)
    raise SystemExit("the server is gone")
