"""A client for tests: speaks tones at given times into a session with scripted engines, on the jumping clock."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

import numpy as np
import virtual

from duologue import clock
from duologue.audio import FRAME_SAMPLES, INPUT_RATE, Audio
from duologue.config import Config
from duologue.core.clauses import Cutting
from duologue.core.playout import Pacing
from duologue.core.speech import SpeechSettings
from duologue.core.turns import Patience
from duologue.engines.lineup import Lineup
from duologue.engines.scripted import (
    ScriptedRecognizer,
    ScriptedSpeaker,
    ScriptedTurnDetector,
    ScriptedVadModel,
    ScriptedWriter,
)
from duologue.protocols import Command, Fact, Failure, Heard, Microphone, ReplyAudio, StateChanged, TurnTaking
from duologue.session import Session
from duologue.trace import Row

F = TypeVar("F")

TIMINGS = Config(
    speech=SpeechSettings(
        start_probability=0.5,
        stop_probability=0.35,
        start_s=0.064,
        stop_s=0.096,
        fall_s=0.096,
        fall_db=30.0,
        above_room_db=8.0,
        doubt_s=0.3,
        lead_in_s=0.3,
    ),
    patience=Patience(
        complete_s=0.25,
        incomplete_s=1.5,
        adapts=False,
        ready_s=0.15,
        barge_in_s=0.8,
        barge_in_words=2,
        resume_s=0.45,
        backchannel_s=0.8,
        reopen_s=1.5,
        reopen_heard_s=0.8,
        longest_turn_s=60.0,
        drafts=4,
        draft_from=0.1,
        draft_after_s=0.4,
    ),
    pacing=Pacing(lead_s=0.8, block_s=0.06, draft_s=4.0, ahead_s=12.0),
    cutting=Cutting(shortest=8, hungry_s=1.0, starving_s=0.35, starving_words=4, longest=240),
)
"""Written down here, so that the defaults can be tuned without a new set of dialogues."""


def lineup(**engines: Any) -> Lineup:
    """Scripted engines, but for those given."""
    return replace(
        Lineup(
            ScriptedVadModel(),
            ScriptedTurnDetector(),
            ScriptedRecognizer(),
            ScriptedWriter(),
            (ScriptedSpeaker(),),
        ),
        **engines,
    )


def voice(seconds: float) -> Audio:
    """Something loud enough to be speech."""
    t = np.arange(round(seconds * INPUT_RATE)) / INPUT_RATE
    return (0.3 * np.sin(2 * np.pi * 220 * t)).astype(np.float32)


def microphone(spans: Iterable[tuple[float, float]], seconds: float) -> Audio:
    """Silence, with a voice from each span's start to its end (s)."""
    samples = np.zeros(round(seconds * INPUT_RATE), np.float32)
    for start, end in spans:
        piece = voice(end - start)
        at = round(start * INPUT_RATE)
        samples[at : at + len(piece)] = piece[: len(samples) - at]
    return samples


@dataclass
class Dialogue:
    """What came of it: `facts` with their times (s since the session began) and the trace's `rows`."""

    facts: list[tuple[float, Fact]] = field(default_factory=list)
    rows: list[Row] = field(default_factory=list)
    history: list[tuple[str, str]] = field(default_factory=list)

    def of(self, kind: type[F]) -> list[F]:
        return [fact for _, fact in self.facts if isinstance(fact, kind)]

    def times(self, kind: type) -> list[float]:
        return [t for t, fact in self.facts if isinstance(fact, kind)]

    def steps(self) -> list[str]:
        """The golden form: what was decided and told, one line each, with times; sound blocks left out."""
        return [_line(row) for row in self.rows if row["name"] not in ("ReplyAudio", "ReplyWord", "Ready", "Token")]


def _line(row: Row) -> str:
    values = (f"{key}={value}" for key, value in row.items() if key not in ("t", "kind", "name", "marks", "parts"))
    return f"{row['t']:.3f} {row['kind']} {row['name']} {' '.join(values)}".strip()


async def converse(
    spans: Sequence[tuple[float, float]],
    seconds: float,
    engines: Lineup | None = None,
    config: Config | None = None,
    commands: Sequence[tuple[float, Command]] = (),
    during: Callable[[Session], None] | None = None,
    unplugged_at: float = float("inf"),
    output_rate: int = 24_000,
    frames: int = 1,
    strained: bool = False,
    turn_taking: TurnTaking | None = None,
) -> Dialogue:
    """One session for `seconds`; each command is given at its time. The microphone is on until it is unplugged, and
    sends so many frames at once."""
    seen = Dialogue()
    began = clock.now()
    session = Session(
        "test",
        config or TIMINGS,
        engines or lineup(),
        lambda fact: seen.facts.append((round(clock.now() - began, 4), fact)),
        output_rate=output_rate,
        sinks=(seen.rows.append,),
        strained=lambda: strained,
        turn_taking=turn_taking,
    )
    running = asyncio.create_task(session.run())
    await asyncio.sleep(0)
    if during is not None:
        during(session)
    samples, todo = microphone(spans, seconds), sorted(commands, key=lambda command: command[0])
    size = frames * FRAME_SAMPLES
    for start in range(0, len(samples) - size + 1, size):
        while todo and todo[0][0] <= clock.now() - began:
            session.command(todo.pop(0)[1])
        await asyncio.sleep(max(0.0, began + (start + size) / INPUT_RATE - clock.now()))
        if clock.now() - began < unplugged_at and not running.done():
            session.command(Microphone(samples[start : start + size]))
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    seen.history = [(turn["role"], turn["content"]) for turn in session.conversation.export_conversation()["turns"]]
    return seen


def play(spans: Sequence[tuple[float, float]], seconds: float, **more: Any) -> Dialogue:
    """`converse` on the jumping clock."""
    return virtual.run(converse(spans, seconds, **more))


def sound_of(dialogue: Dialogue, turn: int) -> bytes:
    return b"".join(audio.pcm for audio in dialogue.of(ReplyAudio) if audio.turn == turn)


def says(*texts: str, **settings: Any) -> ScriptedRecognizer:
    return ScriptedRecognizer(texts=texts, **settings)


def decided_at(dialogue: Dialogue) -> list[float]:
    return [t for t, fact in dialogue.facts if isinstance(fact, Heard) and fact.final]


def states(dialogue: Dialogue) -> list[str]:
    return [fact.state for fact in dialogue.of(StateChanged)]


def failures(dialogue: Dialogue) -> list[tuple[str, int | None]]:
    return [(failure.code, failure.turn) for failure in dialogue.of(Failure)]
