"""So many people come at once and talk to the real engines: who is let in, and what they notice of those who are not.

Everybody asks the recorded questions one after the other and listens to each answer. They talk to the sessions themselves, with
no wire between, so that the clients cost the machine next to nothing.
"""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from benchmarks import recordings
from benchmarks.figures import Figure
from benchmarks.recordings import Recording
from duologue import clock
from duologue.app import App
from duologue.audio import INPUT_RATE
from duologue.caller import Caller, Exchange
from duologue.errors import ClientError

APART_S = 0.25
"""Between one arrival and the next."""

PAUSE_S = 0.3
"""Between a reply and the next question."""

LOOK_S = 5.0
"""In which everybody has come, and been let in or not."""

APART_CROWDS_S = 12.0
"""The next crowd finds nothing of the one before in what is known of the load (`core.admission.WINDOW_S`)."""

SLOWEST = 4

MOST_WORSE = 1.25
"""Those inside keep their quality."""


@dataclass
class Crowd:
    """What came of `offered` people at once, of the turns of all together."""

    offered: int
    refused: int = 0
    answers_ms: list[float] = field(default_factory=list)
    """Voice to voice."""
    unanswered: int = 0
    gaps: int = 0
    gap_s: float = 0.0
    stages_ms: dict[str, int] = field(default_factory=dict)
    """Median time from the voice's end to each stage."""
    slowest_ms: list[dict[str, int]] = field(default_factory=list)
    """The same of the slowest answers, the worst first: where their time went."""
    late_p95_ms: float | None = None
    """Of the event loop's own beat."""
    busy: dict[str, float] = field(default_factory=dict)
    """Share of its time that each engine worked."""
    cpu: float = 0.0
    """Cores that this process got."""
    load_before: float = 0.0

    @property
    def let_in(self) -> int:
        return self.offered - self.refused


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
        crowd.answers_ms = [ms for each in latencies if (ms := each["voice_to_voice"]) is not None]
        crowd.stages_ms = {stage: _median(latencies, stage) for stage in latencies[0]}
        slowest = sorted(latencies, key=lambda each: each["voice_to_voice"] or 0.0)[: -SLOWEST - 1 : -1]
        crowd.slowest_ms = [{stage: round(ms) for stage, ms in each.items() if ms is not None} for each in slowest]
    return crowd


def _median(latencies: Sequence[Mapping[str, float | None]], stage: str) -> int:
    return round(float(np.median([ms for each in latencies if (ms := each[stage]) is not None])))


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
    """A crowd of each size, one after the other. Without sizes: as many as are let in of a crowd that is too large, and twice as
    many."""
    questions, crowds = recordings.questions(), list[Crowd]()
    await app.rehearse()
    for size in sizes or await _capacity(app, questions):
        crowds.append(await measure(app, size, questions, seconds))
        print(_row(crowds[-1]), file=sys.stderr, flush=True)
        await asyncio.sleep(APART_CROWDS_S)
    return crowds


async def _capacity(app: App, questions: Sequence[Recording]) -> tuple[int, int]:
    crowd = await measure(app, app.config.limits.sessions, questions, LOOK_S)
    await asyncio.sleep(APART_CROWDS_S)
    print(f"of {crowd.offered} who came at once {crowd.let_in} were let in", file=sys.stderr, flush=True)
    return crowd.let_in, 2 * crowd.let_in


def figures(crowds: Sequence[Crowd]) -> list[Figure]:
    """What those who are let in notice of those who are not, of the first two crowds."""
    told = [
        Figure(f"voice to voice, {crowd.offered} came, {crowd.let_in} let in", "ms", crowd.answers_ms)
        for crowd in crowds
    ]
    if len(crowds) > 1 and crowds[1].refused and all(crowd.answers_ms for crowd in crowds[:2]):
        at, twice = (float(np.percentile(crowd.answers_ms, 95)) for crowd in crowds[:2])
        told.append(
            Figure("p95 beyond capacity ÷ p95 at capacity", "ratio", [], twice / at, {"overall": MOST_WORSE}, needs=0)
        )
    return told


def _row(crowd: Crowd) -> str:
    busy = ", ".join(f"{name} {share:.0%}" for name, share in crowd.busy.items() if share >= 0.01)
    median, p95 = np.percentile(crowd.answers_ms, [50, 95]) if crowd.answers_ms else (float("nan"),) * 2
    return (
        f"{crowd.offered:3} came, {crowd.refused} refused: voice to voice {median:.0f} / {p95:.0f} ms (median / p95, "
        f"n {len(crowd.answers_ms)}), unanswered {crowd.unanswered}, gaps {crowd.gaps} ({crowd.gap_s} s), loop late "
        f"{crowd.late_p95_ms} ms (p95), cores {crowd.cpu}, {busy}, {crowd.stages_ms}, load before {crowd.load_before:.1f}"
    )
