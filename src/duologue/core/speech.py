"""From speech probabilities and levels, one a frame, to "speech started" and "speech stopped".

A voice that falls quiet has stopped, though the model may still take it for a voice; if the model has not come round after
`doubt_s`, it goes on, only softer. Knows frames only by their position in samples: how long ago something was follows from how
many have come since.
"""

from __future__ import annotations

from dataclasses import dataclass

from duologue.core.events import SpeechStarted, SpeechStopped
from duologue.core.loudness import Loudness

FAR_DB = 6.0
"""Below the level that is quiet: one such frame is enough, as it is where the model agrees."""


@dataclass(frozen=True, slots=True)
class SpeechSettings:
    """How voice activity becomes speech."""

    start_probability: float = 0.5  # Silero's own recommended threshold
    stop_probability: float = 0.35  # below start: a voice that wavers is not a pause (Silero's usual gap of 0.15)
    start_s: float = 0.064  # two frames: one alone is a click as often as a voice
    stop_s: float = 0.032  # one frame: Silero smooths already (24 inner stops in 22 turns, 21 with three frames)
    fall_s: float = (
        0.096  # three frames just quiet, where one far below is enough: the closure of a "t" lasts as long as two
    )
    fall_db: float = 30.0  # below the voice's own level is quiet: the end of a word rings on for less in most rooms
    above_room_db: float = 8.0  # above the room's level is still quiet: noise wavers by so much
    doubt_s: float = 0.3  # the model follows within 0.2; one that does not hears a voice that only grew softer
    lead_in_s: float = 0.3  # kept from before the first voiced frame: soft onsets ("f", "h") fall under the threshold


class SpeechDetector:
    """Hysteresis over voice activity; one per session. Feed it every frame in order."""

    def __init__(self, settings: SpeechSettings, rate: int, frame_s: float = 0.032) -> None:
        self._settings = settings
        self._rate = rate
        self._loudness = Loudness(settings.fall_db, settings.above_room_db, frame_s)
        self.speaking = False
        self._edge: int | None = None  # where the run of frames began that may turn the state over
        self._doubted: int | None = None  # since the voice fell quiet, while the model still hears it

    @property
    def stirring(self) -> bool:
        """The last frame may be the first of a voice, and is not enough for one."""
        return not self.speaking and self._edge is not None

    def feed(
        self, probability: float, at: int, end: int, level_db: float | None = None
    ) -> SpeechStarted | SpeechStopped | None:
        """`at` and `end` are the frame's bounds in samples since the stream began. Without its level (dBFS) the probability alone
        decides."""
        active, sure = self._judge(probability, level_db)
        if active == self.speaking:
            self._edge = None
            return self._still_there(probability, at, end)
        edge = self._edge = at if self._edge is None else self._edge
        ago_s = (end - edge) / self._rate
        if ago_s < self._needed_s(sure) - 1e-9:
            return None
        self._doubted = edge if self.speaking and probability >= self._settings.stop_probability else None
        return self._turn_over(edge, ago_s)

    def _judge(self, probability: float, level_db: float | None) -> tuple[bool, bool]:
        """Whether the frame is voice, and whether there is no doubt about it."""
        chosen = self._settings
        heard = probability >= (chosen.stop_probability if self.speaking else chosen.start_probability)
        if not heard and probability < chosen.stop_probability:
            self._doubted = None
        if level_db is None:
            return heard, True
        above = self._loudness.hear(level_db, voiced=probability >= chosen.start_probability)
        if not self.speaking and self._doubted is None:
            return heard, True  # how loud a voice begins is up to the speaker
        return heard and above >= 0.0, not heard or above < -FAR_DB

    def _needed_s(self, sure: bool) -> float:
        if not self.speaking:
            return self._settings.start_s
        return self._settings.stop_s if sure else max(self._settings.stop_s, self._settings.fall_s)

    def _still_there(self, probability: float, at: int, end: int) -> SpeechStarted | None:
        """The voice that fell quiet, if the model has gone on hearing it for too long."""
        if self._doubted is None or self.speaking or (end - self._doubted) / self._rate < self._settings.doubt_s:
            return None
        self._loudness.forget_voice()
        self._doubted = None
        return self._started(at, (end - at) / self._rate) if probability >= self._settings.start_probability else None

    def _turn_over(self, edge: int, ago_s: float) -> SpeechStarted | SpeechStopped:
        if not self.speaking:
            return self._started(edge, ago_s)
        self.speaking, self._edge = False, None
        return SpeechStopped(ago_s)

    def _started(self, edge: int, ago_s: float) -> SpeechStarted:
        self.speaking, self._edge = True, None
        return SpeechStarted(max(0, edge - round(self._settings.lead_in_s * self._rate)), ago_s)
