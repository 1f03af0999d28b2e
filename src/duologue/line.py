"""One line of sound out of many pieces: whatever rates the voices speak at, one rate, one count of samples, and the words placed
on it.
"""

from __future__ import annotations

import numpy as np

from duologue.audio import Resampler, to_pcm16
from duologue.core.playout import SAMPLE_BYTES, SpokenWord
from duologue.engines import Sound

AUDIBLE = 0.01
"""Amplitude (-40 dBFS) above which a sample counts as heard: under it lies the hiss before a voice's first sound."""


class Line:
    """PCM16 at `rate` Hz. Pieces at one rate join sample-exactly; another rate begins a new stretch."""

    def __init__(self, rate: int) -> None:
        self.made = 0
        """Samples so far."""
        self.onset_s: float | None = None
        """From the first sample to the first audible one; None while there is none."""
        self._rate = rate
        self._resampler: Resampler | None = None
        self._source = (0, 0)  # rate in Hz of the sound that comes in, and how many samples of it have come
        self._source_at = 0  # where on the line they began

    def push(self, sound: Sound) -> tuple[bytes, list[SpokenWord]]:
        """What is ready, and the words of this sound, placed; some of their samples may still be in the filter."""
        tail = self.flush() if sound.rate != self._source[0] else b""
        if self._resampler is None:
            self._resampler = Resampler(sound.rate, self._rate)
            self._source, self._source_at = (sound.rate, 0), self.made
        self._note_onset(sound)
        began, ratio = self._source[1], self._rate / sound.rate
        words = [SpokenWord(word.text, self._source_at + round((began + word.end) * ratio)) for word in sound.words]
        self._source = (sound.rate, began + len(sound.samples))
        return tail + self._made(to_pcm16(self._resampler.push(sound.samples))), words

    def flush(self) -> bytes:
        """The end of the stretch."""
        resampler, self._resampler = self._resampler, None
        return b"" if resampler is None else self._made(to_pcm16(resampler.flush()))

    def _made(self, pcm: bytes) -> bytes:
        self.made += len(pcm) // SAMPLE_BYTES
        return pcm

    def _note_onset(self, sound: Sound) -> None:
        if self.onset_s is None and len(loud := np.flatnonzero(np.abs(sound.samples) >= AUDIBLE)):
            self.onset_s = self._source_at / self._rate + (self._source[1] + int(loud[0])) / sound.rate
