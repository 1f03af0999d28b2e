"""The road from a prompt to a reply: text from a model and sound from a voice, folded into one stream of plain calls.

The source may be a Writer (text only), or a SpeechModel (text, or text and sound of its own). This module knows nothing of
turns, drafts or clients; whoever calls `answer` may cancel it at any await.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import aclosing
from typing import Protocol

from duologue.core.clauses import Clauses, Cutting
from duologue.engines import Piece, Reading, ReplyPiece, Sound, Speaker, Style, Text
from duologue.errors import EngineError
from duologue.places.thread import needed
from duologue.prosody import unmet
from duologue.watch import Watch

log = logging.getLogger(__name__)

LOOK_AGAIN_S = 0.05
"""How often a voice that waits for more text looks at the sound in hand: as it shrinks, a smaller piece becomes right."""


class Taker(Protocol):
    """Whoever takes an answer, by plain calls (in this program: `reply.Reply`)."""

    def give(self, item: ReplyPiece | Sound) -> None:
        """The next piece of text, or of its sound."""
        ...

    def end_text(self) -> None:
        """The text is complete, which may be long before its sound is."""
        ...

    def spoken_by(self, speaker: str, style: Style, passed_over: Sequence[tuple[str, str]], unmet: str) -> None:
        """The voice from here on; the better ones that do not speak, each with its reason; and what of the style this one
        cannot do."""
        ...

    def in_hand_s(self) -> float:
        """Seconds of sound made and not yet heard."""
        ...

    async def wanted(self) -> None:
        """Until there should be more text, where a voice says it."""
        ...

    def may_speak(self) -> bool:
        """Whether there should be more sound now."""
        ...

    def due_at(self) -> float:
        """When more of the answer is needed, on the loop's clock: what its engines do until then may wait for others."""
        ...


class Answer:
    """One reply in the making. `voices` is the chain, best first; without any the reply is text alone.

    Beyond `max_tokens` pieces of text the source is closed. `absent` gives the voices that are better than the named one and not
    in the chain, each with the reason.
    """

    def __init__(
        self,
        voices: Sequence[Speaker],
        style: Style,
        taker: Taker,
        *,
        cutting: Cutting,
        engine_timeout_s: float,
        max_tokens: int | None = None,
        absent: Callable[[str], Sequence[tuple[str, str]]] = lambda speaker: (),
    ) -> None:
        self._voices = voices
        self._style = style
        self._taker = taker
        self._reading = Watch(engine_timeout_s)
        self._saying = Watch(engine_timeout_s)
        self._clauses = Clauses(cutting)
        self._unsaid = ""  # given to the voice and not yet back as words
        self._more = asyncio.Event()
        self._tokens_left = max_tokens
        self._absent = absent
        self._failed: dict[str, str] = {}

    async def run(self, source: AsyncIterator[Piece | Sound]) -> None:
        """To the end of the reply. Raises the `EngineError` of the source, or of the last voice."""
        needed(self._taker.due_at)
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._write(source))
                tasks.create_task(self._speak())
        except* EngineError as failures:
            raise failures.exceptions[0] from failures

    async def _write(self, source: AsyncIterator[Piece | Sound]) -> None:
        async with aclosing(self._reading.over(source, "the model")) as items:  # type: ignore[type-var]
            async for item in items:
                if isinstance(item, Reading):
                    continue  # it has reset the watch, which is all that it is for
                self._taker.give(item)
                if isinstance(item, Text):
                    self._clauses.push(item.text)
                    self._more.set()
                    if self._spend():
                        break
                    if self._voices:
                        await self._taker.wanted()
        self._clauses.end()
        self._taker.end_text()
        self._more.set()

    @property
    def whole(self) -> bool:
        """The source said all it wanted to."""
        return self._tokens_left != 0

    def _spend(self) -> bool:
        if self._tokens_left is not None:
            self._tokens_left -= 1
        return not self.whole

    async def _speak(self) -> None:
        """Tries each voice of the chain; one that fails hands what is still unsaid to the next."""
        for place, voice in enumerate(self._voices):
            passed_over = dict(self._absent(voice.about.name)) | self._failed
            self._taker.spoken_by(
                voice.about.name, self._style, tuple(passed_over.items()), unmet(self._style, voice.about)
            )
            try:
                await self._say_with(voice)
            except EngineError as error:
                self._failed[voice.about.name] = error.message
                if place == len(self._voices) - 1:
                    raise
                log.warning("the voice %s failed, the next one goes on: %s", voice.about.name, error.message)
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
