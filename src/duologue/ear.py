"""The sound of one user turn, and its way into a recogniser.

An ear is fed by plain calls and knows which take of the turn each pause belonged to, so that a transcript that comes after
the user spoke on is known to be stale. It keeps the turn's sound: the turn detector wants it, and so does a reopened turn.
"""

from __future__ import annotations

import asyncio
import math
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import aclosing
from itertools import islice

import numpy as np

from duologue.audio import FRAME_S, Audio, Frame
from duologue.core.events import Turn
from duologue.engines import Pause, Recognizer, Transcript
from duologue.errors import EngineError
from duologue.watch import Watch

WAITING_S = 30.0
"""Sound that may wait for a recogniser; one that is further behind has failed, and the turn with it."""

BY_HAND_S = 300.0
"""The same of all turns that a client ends by hand, which may send files as fast as the line carries them: 19 MB. Whoever has so
much waiting is told to wait, and nothing fails."""


class Ear:
    """Listens to `turn`, beginning with the `frames` that are already there; keeps the last `longest_s` of sound."""

    def __init__(
        self,
        turn: Turn,
        frames: Sequence[Frame],
        longest_s: float,
        engine_timeout_s: float,
        waiting_s: float = WAITING_S,
    ) -> None:
        self.turn = turn
        self.lost = ""
        """Why there will be no words, for people; the sound that still comes is nobody's."""
        self.over = asyncio.Event()
        """Of a turn that was closed by hand: its words are known, or known to be lost."""
        self._watch = Watch(engine_timeout_s)
        self.frames: deque[Frame] = deque(frames, maxlen=max(1, round(longest_s / FRAME_S)))
        self.text = ""
        self._waiting: asyncio.Queue[Frame | Pause] = asyncio.Queue(round(waiting_s / FRAME_S) + len(self.frames))
        self._waiting_s = waiting_s
        self._pauses: deque[Turn] = deque()  # that wait with the sound, each with its take
        self._asked: deque[Turn] = deque()  # that the recogniser is answering
        for frame in frames:
            self._waiting.put_nowait(frame)

    @property
    def waiting_s(self) -> float:
        """Of sound that the recogniser has not taken yet."""
        return self._waiting.qsize() * FRAME_S

    @property
    def audio(self) -> Audio:
        """The turn so far, 16 kHz."""
        return self.last(math.inf)

    def last(self, seconds: float) -> Audio:
        """The end of the turn so far: as many whole frames as cover `seconds`, or all there are."""
        count = math.ceil(min(len(self.frames), seconds / FRAME_S))
        frames = list(islice(reversed(self.frames), count))
        return np.concatenate([frame.samples for frame in reversed(frames)]) if frames else np.zeros(0, np.float32)

    def feed(self, frame: Frame) -> None:
        self.frames.append(frame)
        self._put(frame)

    def pause(self, turn: Turn) -> None:
        """The user paused: the next final transcript is for this take. If they go on before the recogniser comes to it, it never
        hears of it: on a busy machine nothing else keeps it up with a voice that pauses often."""
        self._pauses.append(turn)
        self._put(Pause())

    async def run(self, recognizer: Recognizer, say: Callable[[Turn, Transcript], None]) -> None:
        """Until cancelled; `say` gets each transcript with the take it belongs to. Raises `EngineError`: engine_timeout."""
        stream = self._watch.over(recognizer.transcribe(self._audio()), "the recogniser")
        async with aclosing(stream) as transcripts:  # type: ignore[type-var]
            async for transcript in transcripts:
                self.text = transcript.text
                say(self._asked.popleft() if transcript.final and self._asked else self.turn, transcript)

    async def _audio(self) -> AsyncIterator[Frame | Pause]:
        """While nothing was asked of the recogniser, it may take its time; once it was, more sound gives it no more."""
        while True:
            if not self._asked:
                self._watch.rest()
            item = await self._waiting.get()
            if isinstance(item, Pause):
                turn = self._pauses.popleft()
                if turn != self.turn:
                    continue
                self._asked.append(turn)
                self._watch.work()
            yield item

    def _put(self, item: Frame | Pause) -> None:
        if self.lost:
            return
        try:
            self._waiting.put_nowait(item)
        except asyncio.QueueFull:
            raise EngineError(
                "recognizer", f"is more than {self._waiting_s:g} s behind", code="recognizer_behind"
            ) from None
