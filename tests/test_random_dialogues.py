"""Four hundred random half minutes: whatever is said, typed, pressed and broken, the laws hold and nothing is left over."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, replace
from typing import Any

import laws
import numpy as np
import pytest
import virtual
from dialogue import TIMINGS, Dialogue, converse, lineup

from duologue.audio import Audio, Frame
from duologue.core.playout import Pacing
from duologue.engines import About, Pause, Prompt, Sound, Style, Text, Transcript, Word
from duologue.engines.scripted import ABOUT, WORDLESS, WORDS
from duologue.errors import EngineError
from duologue.protocols import (
    Command,
    Configure,
    Cursor,
    Ducked,
    EndTurn,
    Export,
    Fact,
    Failure,
    Interrupt,
    Interrupted,
    Reopened,
    ReplyDone,
    Resumed,
    Type,
)

SECONDS = 30.0
CONFIG = replace(TIMINGS, pacing=Pacing(block_s=0.24))  # a quarter of the messages, for the sake of speed
TEXTS = (
    "",
    "mm-hm",
    "yeah",
    "uh-huh",
    "What is the weather like?",
    "Wait.",
    "No, I meant the other one.",
    "And what about Berlin?",
)


class Chance(random.Random):
    def perhaps(self, share: float) -> None:
        """Fails now and then, as an engine may."""
        if self.random() < share:
            raise EngineError("random", "as chance had it")


@dataclass
class LoudFrames:
    """The scripted detector reads a whole frame; one sample of these tones does, and takes a hundredth of the time."""

    about: About = WORDLESS

    def open(self) -> Callable[[Frame], float]:
        return lambda frame: float(frame.samples[100] != 0.0)


@dataclass
class Ears:
    chance: Chance
    about: About = ABOUT

    async def transcribe(self, audio: AsyncIterator[Frame | Pause]) -> AsyncIterator[Transcript]:
        text = self.chance.choice(TEXTS)
        async for item in audio:
            if isinstance(item, Pause):
                await asyncio.sleep(self.chance.uniform(0.0, 0.4))
                self.chance.perhaps(0.01)
                yield Transcript(text, final=True)
                text = self.chance.choice(TEXTS)
            elif self.chance.random() < 0.05:
                yield Transcript(text[: self.chance.randrange(len(text) + 1)], final=False)


@dataclass
class Judge:
    chance: Chance
    about: About = WORDLESS

    async def complete(self, audio: Audio, text: str) -> float:
        await asyncio.sleep(self.chance.uniform(0.0, 0.3))
        self.chance.perhaps(0.05)
        return float(self.chance.random())


@dataclass
class Pen:
    chance: Chance
    about: About = ABOUT

    async def write(self, prompt: Prompt) -> AsyncIterator[Text]:
        for _ in range(self.chance.randrange(18)):
            await asyncio.sleep(self.chance.uniform(0.0, 0.15))
            self.chance.perhaps(0.005)
            yield Text(self.chance.choice(["word ", "and ", "so, ", "Berlin. ", "Yes! ", "extraordinarily "]))

    async def prefill(self, prompt: Prompt) -> None:
        await asyncio.sleep(0.2)

    def forget(self, conversation: str) -> None:
        pass


@dataclass
class Voice:
    chance: Chance
    about: About = ABOUT

    async def speak(self, text: AsyncIterator[str], style: Style) -> AsyncIterator[Sound]:
        async for piece in text:
            for word in WORDS.findall(piece):
                await asyncio.sleep(self.chance.uniform(0.0, 0.15))
                self.chance.perhaps(0.005)
                size = len(word) * round(480 / style.speed)
                yield Sound(np.full(size, 0.1, np.float32), 8_000, (Word(word, size),))


def spans(chance: Chance) -> list[tuple[float, float]]:
    found, t = [], 0.5
    while (end := t + chance.uniform(0.1, 2.0)) < SECONDS - 2.0:
        found.append((t, end))
        t = end + chance.choice([chance.uniform(0.1, 0.6), chance.uniform(0.6, 4.0)])
    return found


def commands(chance: Chance) -> list[tuple[float, Command]]:
    return [(chance.uniform(0.0, SECONDS), _command(chance)) for _ in range(chance.randrange(8))]


def _command(chance: Chance) -> Command:
    made: list[Command] = [
        Type("Tell me more."),
        Interrupt(),
        EndTurn(),
        Cursor(chance.randrange(1, 6), chance.uniform(0.0, 3000.0)),
        Configure({"speed": chance.uniform(0.5, 2.0)}),
        Export(),
    ]
    return chance.choice(made)


def dialogue(seed: int) -> Dialogue:
    chance = Chance(seed)
    engines = lineup(
        vad=LoudFrames(),
        turn_detector=Judge(chance),
        recognizer=Ears(chance),
        writer=Pen(chance),
        speakers=(Voice(chance), Voice(chance)),
    )

    dialogues: list[Dialogue] = []

    async def main() -> None:  # whatever it returns is made into a text by asyncio.Runner, which takes a while
        said, asked = spans(chance), commands(chance)
        given: dict[str, Any] = {"engines": engines, "commands": asked, "config": CONFIG}
        dialogues.append(await converse(said, SECONDS, output_rate=8_000, frames=5, **given))
        left = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        assert not left, f"tasks outlive their session: {left}"

    virtual.run(main())
    return dialogues[0]


@pytest.mark.parametrize("part", range(4))
def test_the_laws_hold_in_every_dialogue(part: int) -> None:
    happened: Counter[type[Fact]] = Counter()
    for seed in range(part * 100, part * 100 + 100):
        seen = dialogue(seed)
        happened.update(type(fact) for _, fact in seen.facts)
        try:
            laws.check(seen)
        except AssertionError as broken:
            raise AssertionError(f"dialogue {seed}: {broken}") from broken
    for kind in (Ducked, Resumed, Interrupted, Reopened, ReplyDone, Failure):
        assert happened[kind] >= 10, f"{kind.__name__} hardly ever happens: these dialogues prove little"


def test_a_dialogue_is_the_same_at_every_run() -> None:
    for seed in range(0, 400, 10):
        one, other = (
            [row for row in dialogue(seed).rows if row["name"] != "Exported"]  # it has the time of day in it
            for _ in range(2)
        )
        assert one == other
