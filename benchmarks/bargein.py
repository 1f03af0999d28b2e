"""Speech over a long reply: how soon it falls silent for a user who means it, and whether "mm-hm" lets it go on."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import cycle, islice
from typing import Any

from benchmarks.figures import Figure
from benchmarks.recordings import Recording, clear_onsets
from duologue import clock
from duologue.app import App
from duologue.audio import INPUT_RATE
from duologue.caller import Caller, Reply
from duologue.config import Config

TRIALS = 12
BACKCHANNELS = 6

BID_WORDS = 3
"""Fewer ("yes") may be meant as a listener's word, which should not stop the reply."""

HEARD_S = 1.2
"""Of the reply, before it is spoken over: past the time in which speech would reopen the turn instead."""

REQUEST = "Tell me a long story about a dragon who lives by the sea."


@dataclass
class Trial:
    reply: Reply
    began_at: float
    """The first voiced sample of the speech over the reply, by energy."""
    heard_at_hold: str
    history: str

    def ms(self, at: float | None) -> float | None:
        return None if at is None else (at - self.began_at) * 1000

    def __str__(self) -> str:
        times = {"held": self.reply.held_at, "resumed": self.reply.resumed_at, "given up": self.reply.interrupted_at}
        told = [f"{what} after {ms:.0f} ms" for what, at in times.items() if (ms := self.ms(at)) is not None]
        return ", ".join(told) or "nothing happened"


async def run(app: App, interruptions: Sequence[Recording], backchannels: Sequence[Recording]) -> list[Figure]:
    """Each trial is a conversation of its own; one whose reply ended before it could be spoken over is left out."""
    found = [await _over(app, recording) for recording in islice(cycle(_bids(interruptions)), TRIALS)]
    murmured = [await _over(app, recording) for recording in islice(cycle(backchannels), BACKCHANNELS)]
    return [*_interrupted([t for t in found if t]), *_resumed([t for t in murmured if t])]


def _bids(recordings: Sequence[Recording]) -> list[Recording]:
    return [each for each in clear_onsets(recordings) if len(each.said.split()) >= BID_WORDS]


async def _over(app: App, recording: Recording) -> Trial | None:
    async with Caller(app) as caller:
        caller.start_typed(REQUEST)
        heard = lambda: _heard_s(caller) >= HEARD_S  # noqa: E731
        if not await caller.wait(heard, app.config.limits.engine_s) or (reply := caller.exchange.reply) is None:
            return None
        began_at = caller.position_at + recording.begins_s
        await caller.speak(recording.samples[: round((recording.begins_s + 2.0) * INPUT_RATE)])
        await caller.wait(
            lambda: reply.interrupted or reply.done or reply.resumed_at is not None, _settled_s(app.config)
        )
        await caller.wait(lambda: reply.interrupted, 0.5)  # a reply that resumed may still be stopped
        trial = Trial(reply, began_at, _heard_at(reply, reply.held_at), _history(caller.export()))
    print(f"{recording.name}: {trial}", file=sys.stderr, flush=True)
    return trial


def _heard_s(caller: Caller) -> float:
    reply = caller.exchange.reply
    return 0.0 if reply is None else reply.playback.played_ms(clock.now()) / 1000


def _settled_s(config: Config) -> float:
    """By then an overlap has been decided one way or the other."""
    return config.patience.barge_in_s + config.patience.backchannel_s + 0.5


def _heard_at(reply: Reply, at: float | None) -> str:
    return "" if at is None else reply.playback.heard_text(at)


def _history(conversation: Any) -> str:
    said = [turn["content"] for turn in conversation.get("turns", []) if turn["role"] == "assistant"]
    return said[-1] if said else ""


def _interrupted(trials: Sequence[Trial]) -> Iterator[Figure]:
    def spread(name: str, ats: list[float | None], **limits: Any) -> Figure:
        return Figure(
            name, "ms", [ms for t, at in zip(trials, ats, strict=True) if (ms := t.ms(at)) is not None], **limits
        )

    last = [t.reply.playback.last_arrived_at if t.reply.interrupted else None for t in trials]
    yield spread("barge-in: last frame of reply sent", last, at_most={"p95": 250.0}, needs=10)
    yield spread("barge-in: reply held", [t.reply.held_at for t in trials])
    yield spread("barge-in: reply given up", [t.reply.interrupted_at for t in trials])
    ignored = [float(not t.reply.interrupted) for t in trials]
    yield Figure("barge-ins ignored", "share", ignored, _mean(ignored), {"overall": 0.0}, needs=10)
    unheard = [
        float(max(0, len(t.history.split()) - len(t.heard_at_hold.split()))) for t in trials if t.reply.interrupted
    ]
    yield Figure("words in the history that were not heard", "count", unheard, sum(unheard), {"overall": 0.0})


def _resumed(trials: Sequence[Trial]) -> Iterator[Figure]:
    stopped = [float(t.reply.interrupted) for t in trials]
    yield Figure('"mm-hm" that stopped the reply for good', "share", stopped, _mean(stopped), {"overall": 0.0})
    held = [(r.resumed_at - r.held_at) * 1000 for t in trials if (r := t.reply).resumed_at and r.held_at]
    yield Figure('"mm-hm": reply held for', "ms", held)


def _mean(values: Sequence[float]) -> float | None:
    return sum(values) / len(values) if values else None
