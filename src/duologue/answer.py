"""The road from a prompt to a reply: text from a model and sound from a voice, folded into one stream of plain calls.

The source may be a Writer (text only), or a SpeechModel (text, or text and sound of its own). This module knows nothing of
turns, drafts or clients; whoever calls `answer` may cancel it at any await.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Protocol

from duologue.core.clauses import Clauses, Cutting
from duologue.engines import Sound, Speaker, Style, Text, ToolCall
from duologue.errors import EngineError
from duologue.watch import Watch

LOOK_AGAIN_S = 0.05
"""How often a voice that waits for more text looks at the sound in hand: as it shrinks, a smaller piece becomes right."""


class Taker(Protocol):
    """Whoever takes an answer, by plain calls (in this program: `reply.Reply`)."""

    def give(self, item: Text | Sound | ToolCall) -> None:
        """The next piece of text, or of its sound."""
        ...

    def end_text(self) -> None:
        """The text is complete, which may be long before its sound is."""
        ...

    def spoken_by(self, speaker: str) -> None:
        """The voice from here on."""
        ...

    def in_hand_s(self) -> float:
        """Seconds of sound made and not yet heard."""
        ...

    def may_speak(self) -> bool:
        """Whether there should be more sound now."""
        ...


class Answer:
    """One reply in the making. `voices` is the chain, best first."""

    def __init__(
        self, voices: Sequence[Speaker], style: Style, taker: Taker, *, cutting: Cutting, engine_timeout_s: float
    ) -> None:
        self._voices = voices
        self._style = style
        self._taker = taker
        self._reading = Watch(engine_timeout_s)
        self._saying = Watch(engine_timeout_s)
        self._clauses = Clauses(cutting)
        self._unsaid = ""  # given to the voice and not yet back as words
        self._more = asyncio.Event()
        self.passed_over: list[tuple[str, str]] = []
        """Voices of the chain that failed in this reply, each with its reason."""

    async def run(self, source: AsyncIterator[Text | Sound | ToolCall]) -> None:
        """To the end of the reply. Raises the `EngineError` of the source, or of the last voice."""
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._write(source))
                tasks.create_task(self._speak())
        except* EngineError as failures:
            raise failures.exceptions[0] from failures

    async def _write(self, source: AsyncIterator[Text | Sound | ToolCall]) -> None:
        async for item in self._reading.over(source, "the model"):
            self._taker.give(item)
            if isinstance(item, Text):
                self._clauses.push(item.text)
                self._more.set()
        self._clauses.end()
        self._taker.end_text()
        self._more.set()

    async def _speak(self) -> None:
        """Tries each voice of the chain; one that fails hands what is still unsaid to the next."""
        for place, voice in enumerate(self._voices):
            self._taker.spoken_by(voice.about.name)
            try:
                await self._say_with(voice)
            except EngineError as error:
                self.passed_over.append((voice.about.name, error.message))
                if place == len(self._voices) - 1:
                    raise
            else:
                return

    async def _say_with(self, voice: Speaker) -> None:
        style = self._style.of(voice.about)
        async for sound in self._saying.over(voice.speak(self._pieces(), style), voice.about.name):
            self._taker.give(sound)
            self._unsaid = self._unsaid[sum(len(word.text) for word in sound.words) :]

    async def _pieces(self) -> AsyncIterator[str]:
        piece: str | None = self._unsaid
        self._unsaid = ""
        while True:
            if piece:
                self._unsaid += piece
                self._saying.work()
                yield piece
            piece = self._clauses.take(self._taker.in_hand_s()) if self._taker.may_speak() else None
            if piece is None:
                if self._clauses.spent:
                    return
                await self._wait()

    async def _wait(self) -> None:
        self._saying.rest()
        self._more.clear()
        try:
            async with asyncio.timeout(LOOK_AGAIN_S):
                await self._more.wait()
        except TimeoutError:
            return
