"""A listener's loudspeaker: plays a reply from its first block on and keeps no sound back to be safe.

What it counts (gaps, the first audible sample, the position) is what a person at that moment would hear, so it is measured
from when blocks arrive and from nothing that the server says about them.
"""

from __future__ import annotations

import numpy as np

from duologue.audio import OUTPUT_RATE, Audio, from_pcm16
from duologue.core.playout import SAMPLE_BYTES
from duologue.line import AUDIBLE
from duologue.protocols import ReplyAudio

DRY_S = 0.001
"""Running dry for less is the loop's own jitter: a loudspeaker's smallest buffer holds some 3 ms."""


class Playback:
    """One reply as it is played. Every `now` is in seconds on one clock; positions are samples of the reply."""

    def __init__(self) -> None:
        self.rate = OUTPUT_RATE
        self.arrived_at: float | None = None
        """When the first block came, and playback began."""
        self.audible_at: float | None = None
        """When its first sample of at least `AUDIBLE` plays."""
        self.last_arrived_at = 0.0
        self.gaps = 0
        self.gap_s = 0.0
        self.held = False
        self.words: list[tuple[str, float]] = []
        """Each word, with the ms of the reply at which it is fully said."""
        self._pcm = bytearray()
        self._position = 0.0
        self._at = 0.0
        self._dry_at: float | None = None

    def take(self, block: ReplyAudio, now: float) -> None:
        self._follow(now)
        if not block.pcm:
            return
        if self.arrived_at is None:
            self.arrived_at, self.rate = now, block.rate
        elif self._dry_at is not None:
            self._note_gap(now - self._dry_at)
        self._dry_at, self.last_arrived_at = None, now
        self._look_for_sound(block, now)
        self._pcm += block.pcm
        self.words += block.words

    def hold(self, now: float) -> None:
        self._follow(now)
        self.held = True

    def resume(self, now: float) -> None:
        self._at, self.held = now, False
        self._dry_at = None if self._dry_at is None else now

    def cut(self, now: float) -> None:
        """What is not yet played is thrown away."""
        self._follow(now)
        del self._pcm[round(self._position) * SAMPLE_BYTES :]

    def played_ms(self, now: float) -> float:
        self._follow(now)
        return self._position * 1000 / self.rate

    def over(self, now: float) -> bool:
        """Everything that came has been played."""
        self._follow(now)
        return self._samples - self._position < 1.0

    def heard_text(self, now: float) -> str:
        """The words that have been played to their end."""
        played_ms = self.played_ms(now)
        return "".join(word for word, end_ms in self.words if end_ms <= played_ms).strip()

    @property
    def samples(self) -> Audio:
        """All sound that came and was not thrown away, mono at `rate`."""
        return from_pcm16(bytes(self._pcm))

    @property
    def seconds(self) -> float:
        return self._samples / self.rate

    @property
    def _samples(self) -> int:
        return len(self._pcm) // SAMPLE_BYTES

    def _look_for_sound(self, block: ReplyAudio, now: float) -> None:
        if self.audible_at is None and len(loud := np.flatnonzero(np.abs(from_pcm16(block.pcm)) >= AUDIBLE)):
            self.audible_at = now + (self._samples + int(loud[0]) - self._position) / self.rate

    def _follow(self, now: float) -> None:
        elapsed, self._at = max(0.0, now - self._at), max(now, self._at)
        if self.held or self.arrived_at is None:
            return
        ahead = elapsed - (self._samples - self._position) / self.rate
        if ahead >= 0 and self._dry_at is None:
            self._dry_at = now - ahead
        self._position = min(self._position + elapsed * self.rate, float(self._samples))

    def _note_gap(self, seconds: float) -> None:
        self.gaps += seconds > DRY_S
        self.gap_s += seconds
