"""From speech probabilities, one a frame, to "speech started" and "speech stopped".

Knows frames only by their position in samples: how long ago something was follows from how many have come since.
"""

from __future__ import annotations

from dataclasses import dataclass

from duologue.core.events import SpeechStarted, SpeechStopped


@dataclass(frozen=True, slots=True)
class SpeechSettings:
    """How voice activity becomes speech."""

    start_probability: float = 0.5  # Silero's own recommended threshold
    stop_probability: float = 0.35  # below start: a voice that wavers is not a pause (Silero's usual gap of 0.15)
    start_s: float = 0.064  # two frames: one alone is a click as often as a voice
    stop_s: float = 0.032  # one frame: Silero smooths already (24 inner stops in 22 turns, 21 with three frames)
    lead_in_s: float = 0.3  # kept from before the first voiced frame: soft onsets ("f", "h") fall under the threshold


class SpeechDetector:
    """Hysteresis over voice activity; one per session. Feed it every frame in order."""

    def __init__(self, settings: SpeechSettings, rate: int) -> None:
        self._settings = settings
        self._rate = rate
        self.speaking = False
        self._edge: int | None = None  # where the run of frames began that may turn the state over

    def feed(self, probability: float, at: int, end: int) -> SpeechStarted | SpeechStopped | None:
        """`at` and `end` are the frame's bounds in samples since the stream began."""
        threshold = self._settings.stop_probability if self.speaking else self._settings.start_probability
        if (probability >= threshold) == self.speaking:
            self._edge = None
            return None
        edge = self._edge = at if self._edge is None else self._edge
        ago_s = (end - edge) / self._rate
        needed_s = self._settings.stop_s if self.speaking else self._settings.start_s
        if ago_s < needed_s - 1e-9:
            return None
        return self._turn_over(edge, ago_s)

    def _turn_over(self, edge: int, ago_s: float) -> SpeechStarted | SpeechStopped:
        self.speaking, self._edge = not self.speaking, None
        if not self.speaking:
            return SpeechStopped(ago_s)
        return SpeechStarted(max(0, edge - round(self._settings.lead_in_s * self._rate)), ago_s)
