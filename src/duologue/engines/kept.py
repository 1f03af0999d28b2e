"""A turn's sound as a recogniser keeps it until it is words: all that may be a voice, and of silence only so much in a row.

A microphone that is muted, or closed by a gate, sends zeros for as long as it likes, and where the client ends turns by hand no
silence ends one. What is left out holds no word; and times, which would shift, no recogniser here tells.
"""

from __future__ import annotations

import numpy as np

from duologue.audio import FRAME_S, Audio

FLOOR_RMS = 3e-4
"""-70 dB of full scale: no microphone carries a voice this low."""

LEAD_FRAMES = 16
"""Of silence before the first word: 0.5 s, of which Moonshine leaves most out (`moonshine.KEEP_FRAMES`)."""

REST_FRAMES = round(3.0 / FRAME_S)
"""Of silence after a word: more than any pause is waited out that does not end its turn, so that those are heard as they were."""


def level(frame: Audio) -> float:
    """RMS; 0 of what no microphone would carry."""
    rms = float(np.sqrt(np.square(frame).mean()))
    return rms if rms > FLOOR_RMS else 0.0


class Kept:
    """`frames`, the oldest first."""

    def __init__(self) -> None:
        self.frames: list[Audio] = []
        self._silent = 0  # how many at the end are silence

    @property
    def rests(self) -> bool:
        """Something was said, and then nothing for long."""
        return self._silent >= REST_FRAMES

    def add(self, frame: Audio, *, silent: bool) -> None:
        self.frames.append(frame)
        self._silent = self._silent + 1 if silent else 0
        self._leave_out()

    def drop(self, count: int) -> None:
        """So many of the oldest have become words."""
        del self.frames[:count]
        self._silent = min(self._silent, len(self.frames))
        self._leave_out()

    def first(self, count: int) -> Audio:
        """16 kHz."""
        return np.concatenate([np.zeros(0, np.float32), *self.frames[:count]])

    def _leave_out(self) -> None:
        """What lies before the newest of a long silence."""
        most = LEAD_FRAMES if self._silent == len(self.frames) else REST_FRAMES
        if self._silent > most:
            at = len(self.frames) - self._silent
            del self.frames[at : at + self._silent - most]
            self._silent = most
