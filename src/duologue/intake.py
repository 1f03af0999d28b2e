"""The straight road of sound: from what the client sends to frames, voice activity and the edges of speech.

Plain calls from end to end, no queue: one microphone block is done with when `push` returns.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TypeAlias

import numpy as np

from duologue.audio import FRAME_S, INPUT_RATE, Audio, Frame, Framer, Tape, level_db
from duologue.core.events import SpeechStarted, SpeechStopped
from duologue.core.speech import SpeechDetector, SpeechSettings
from duologue.engines import Vad

TAPE_S = 2.0
"""Of microphone kept: the lead-in, the frames it takes to notice speech, and room for a busy moment."""

MICROPHONE_GONE_S = 0.6
"""A microphone that stops in mid-speech (muted, unplugged, a file without silence at its end) counts as silent from then on."""

Edge: TypeAlias = SpeechStarted | SpeechStopped


class Intake:
    """One session's microphone at `rate` Hz. `on_frame` gets every frame, then `on_edge` the edge that it made, if any,
    with the sample at which the voice began or ended; `on_stir` is called for a frame that may be the first of a voice."""

    def __init__(
        self,
        rate: int,
        vad: Vad,
        settings: SpeechSettings,
        on_frame: Callable[[Frame], None],
        on_edge: Callable[[Edge, int], None],
        on_stir: Callable[[], None],
    ) -> None:
        self.tape = Tape(TAPE_S)
        self.rate = rate
        self.at = 0
        """The sample at which the last frame ended."""
        self.edges = True
        """Whether voice activity is looked for; where the client itself says what is a turn, it is not."""
        self._vad = vad
        self._silence_s = settings.stop_s + FRAME_S
        self._speech = SpeechDetector(settings, INPUT_RATE)
        self._framer = Framer(rate)
        self._on_frame = on_frame
        self._on_edge = on_edge
        self._on_stir = on_stir
        self._watchdog: asyncio.TimerHandle | None = None

    def push(self, samples: Audio) -> None:
        """A block of any length, mono float32."""
        for frame in self._framer.push(samples):
            self._take(frame)
        self.close()
        if self._speech.speaking:
            self._watchdog = asyncio.get_running_loop().call_later(MICROPHONE_GONE_S, self._gone)

    def settle(self, settings: SpeechSettings) -> None:
        """Other thresholds, from the next frame on; a voice that is speaking is forgotten."""
        self._silence_s = settings.stop_s + FRAME_S
        self._speech = SpeechDetector(settings, INPUT_RATE)

    def close(self) -> None:
        """Nothing more will come, or something just did: the watchdog is not needed."""
        if self._watchdog is not None:
            self._watchdog.cancel()
            self._watchdog = None

    def _take(self, frame: Frame) -> None:
        self.tape.push(frame)
        self.at = frame.end
        self._on_frame(frame)
        if not self.edges:
            return
        edge = self._speech.feed(self._vad(frame), frame.at, frame.end, level_db(frame.samples))
        if edge is not None:
            self._on_edge(edge, frame.end - round(edge.ago_s * INPUT_RATE))
        elif self._speech.stirring:
            self._on_stir()

    def _gone(self) -> None:
        self.push(np.zeros(round(self.rate * self._silence_s), np.float32))
