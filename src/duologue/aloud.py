"""A text read aloud without a session: unpaced, by a chain of voices. Knows nothing of who listens."""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing

from duologue import clock
from duologue.engines import Sound, Speaker, Style
from duologue.errors import EngineError
from duologue.line import Line
from duologue.places.thread import needed
from duologue.protocols import ReplyAudio, ReplyDone
from duologue.watch import Watch

log = logging.getLogger(__name__)


class Aloud:
    """One text at `rate` Hz. A voice that gives nothing for `limit_s` has failed; one that fails hands what is still unsaid to
    the next, whose sound goes on where the last one's ended."""

    def __init__(self, text: str, rate: int, limit_s: float) -> None:
        self._text = text
        self._unsaid = text
        self._rate = rate
        self._limit_s = limit_s
        self._line = Line(rate)
        self._blocks = 0

    async def by(self, voices: Sequence[Speaker], style: Style) -> AsyncGenerator[ReplyAudio | ReplyDone, None]:
        """Once; `voices`, best first, are one at least. Raises the `EngineError` of the last."""
        began_at = clock.now()
        needed(  # a listener at the other end plays it as it comes: conversations may go first
            lambda: began_at + self._line.made / self._rate
        )
        for voice in voices:
            try:
                async with aclosing(self._said(voice, style)) as blocks:
                    async for block in blocks:
                        yield block
            except EngineError as error:
                if voice is voices[-1]:
                    raise
                log.warning("%s cannot say it, the next voice does: %s", voice.about.name, error)
            else:
                break
        at_ms = self._made_ms()
        yield self._block(self._line.flush(), at_ms, final=True)
        yield ReplyDone(0, self._text, self._made_ms(), voice.about.name)

    async def _said(self, voice: Speaker, style: Style) -> AsyncGenerator[ReplyAudio, None]:
        said = voice.speak(_once(self._unsaid), style.of(voice.about))
        async with aclosing(Watch(self._limit_s).over(said, voice.about.name)) as sounds:  # type: ignore[type-var]
            async for sound in sounds:
                yield self._placed(sound)

    def _placed(self, sound: Sound) -> ReplyAudio:
        self._unsaid = self._unsaid[sum(len(word.text) for word in sound.words) :]
        at_ms = self._made_ms()
        pcm, placed = self._line.push(sound)
        return self._block(pcm, at_ms, tuple((word.text, self._ms(word.end)) for word in placed))

    def _block(
        self, pcm: bytes, at_ms: float, words: tuple[tuple[str, float], ...] = (), final: bool = False
    ) -> ReplyAudio:
        self._blocks += 1
        return ReplyAudio(0, self._blocks - 1, pcm, self._rate, at_ms, words, final)

    def _made_ms(self) -> float:
        return self._ms(self._line.made)

    def _ms(self, samples: int) -> float:
        return round(samples * 1000 / self._rate, 1)


async def _once(text: str) -> AsyncIterator[str]:
    yield text
