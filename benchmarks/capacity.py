"""`python -m benchmarks.capacity 4 8 16`: so many people come at once and talk to the real engines: who is let in, how they fare.

Everybody asks the recorded questions one after the other and listens to each answer. A table on stderr, JSON on stdout.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from benchmarks import recordings
from benchmarks.recordings import Recording
from duologue import clock, config
from duologue.app import App
from duologue.audio import INPUT_RATE
from duologue.caller import Caller, Exchange
from duologue.errors import ClientError
from duologue.talk import warm

APART_S = 0.25
"""Between one arrival and the next."""

PAUSE_S = 0.3
"""Between a reply and the next question."""


@dataclass
class Crowd:
    """What came of `offered` people at once. Latencies are voice to voice, in ms, of all answered turns together."""

    offered: int
    refused: int = 0
    turns: int = 0
    unanswered: int = 0
    gaps: int = 0
    gap_s: float = 0.0
    median_ms: float | None = None
    p95_ms: float | None = None
    stages_ms: dict[str, int] = field(default_factory=dict)
    """Median time from the voice's end to each stage."""
    late_p95_ms: float | None = None
    """Of the event loop's own beat."""
    busy: dict[str, float] = field(default_factory=dict)
    """Share of its time that each engine worked."""
    cpu: float = 0.0
    """Cores that this process got."""
    load_before: float = 0.0


async def measure(app: App, offered: int, questions: Sequence[Recording], seconds: float) -> Crowd:
    assert app.lineup is not None
    crowd = Crowd(offered, load_before=os.getloadavg()[0])
    latencies: list[Mapping[str, float | None]] = []
    late: list[float] = []
    before, began_at = {lane.name: lane.busy_s() for lane in app.lineup.all_lanes}, clock.now()
    cpu = time.process_time()
    watching = [asyncio.create_task(app.watch()), asyncio.create_task(_beat(late))]
    people = (_person(app, number, questions, began_at + seconds, crowd, latencies) for number in range(offered))
    await asyncio.gather(*people)
    for task in watching:
        task.cancel()
    wall_s = clock.now() - began_at
    crowd.busy = {
        lane.name: round((lane.busy_s() - before[lane.name]) / wall_s, 3)
        for lane in app.lineup.all_lanes
        if lane.busy_s() > before[lane.name]
    }
    crowd.cpu = round((time.process_time() - cpu) / wall_s, 2)
    crowd.late_p95_ms = round(float(np.percentile(late, 95)) * 1000, 1)
    if latencies:
        crowd.median_ms, crowd.p95_ms = _at(latencies, "voice_to_voice", 50), _at(latencies, "voice_to_voice", 95)
        crowd.stages_ms = {stage: _at(latencies, stage, 50) for stage in latencies[0]}
    return crowd


def _at(latencies: Sequence[Mapping[str, float | None]], stage: str, percent: float) -> int:
    return round(float(np.percentile([ms for each in latencies if (ms := each[stage]) is not None], percent)))


async def _person(
    app: App,
    number: int,
    questions: Sequence[Recording],
    until: float,
    crowd: Crowd,
    latencies: list[Mapping[str, float | None]],
) -> None:
    await asyncio.sleep(number * APART_S)
    try:
        async with Caller(app) as caller:
            while clock.now() < until:
                await caller.speak(np.zeros(round(PAUSE_S * INPUT_RATE), np.float32))
                _count(crowd, await caller.say(questions[number % len(questions)].samples), latencies)
                number += 1
    except ClientError as error:
        if error.code != "server_full":
            raise
        crowd.refused += 1


def _count(crowd: Crowd, exchange: Exchange, latencies: list[Mapping[str, float | None]]) -> None:
    crowd.turns += 1
    reply = exchange.reply
    if reply is None or reply.playback.audible_at is None:
        crowd.unanswered += 1
        return
    latencies.append(reply.latency_ms())
    crowd.gaps += reply.playback.gaps
    crowd.gap_s = round(crowd.gap_s + reply.playback.gap_s, 3)


async def _beat(late: list[float]) -> None:
    while True:
        due_at = clock.now() + 0.032
        await asyncio.sleep(0.032)
        late.append(clock.now() - due_at)


async def run(app: App, sizes: Sequence[int], seconds: float) -> list[Crowd]:
    questions, crowds = recordings.questions(), []
    await app.rehearse()
    for size in sizes:
        crowds.append(await measure(app, size, questions, seconds))
        print(_row(crowds[-1]), file=sys.stderr, flush=True)
        await asyncio.sleep(2.0)
    return crowds


def _row(crowd: Crowd) -> str:
    busy = ", ".join(f"{name} {share:.0%}" for name, share in crowd.busy.items() if share >= 0.01)
    return (
        f"{crowd.offered:3} came, {crowd.refused} refused: voice to voice {crowd.median_ms} / {crowd.p95_ms} ms "
        f"(median / p95, n {crowd.turns - crowd.unanswered}), unanswered {crowd.unanswered}, gaps {crowd.gaps} "
        f"({crowd.gap_s} s), loop late {crowd.late_p95_ms} ms (p95), cores {crowd.cpu}, {busy}, {crowd.stages_ms}, "
        f"load before {crowd.load_before:.1f}"
    )


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.capacity", description=__doc__)
    parser.add_argument("sizes", nargs="+", type=int, help="how many people come, one measurement each")
    parser.add_argument("--seconds", type=float, default=40.0, help="how long they go on asking (default 40)")
    parser.add_argument("--busy", type=float, help="limits.busy; 0 lets everybody in")
    parser.add_argument("--places", type=int, default=200, help="limits.sessions (default 200)")
    args = parser.parse_args(arguments)
    settings: config.Config = config.override(config.load(), "limits", sessions=args.places, busy=args.busy)
    with warm(settings) as app:
        crowds = asyncio.run(run(app, args.sizes, args.seconds))
        each: dict[str, Any] = {"each": round(app.share_of_one, 3), "busy": settings.limits.busy}
    print(json.dumps(each | {"crowds": [asdict(crowd) for crowd in crowds]}, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
