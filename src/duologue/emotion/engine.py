"""The detector as an engine: off the event loop, on a lane that all sessions share.

`words_and_sound` needs nothing but this package; `sense_voice` hears with a larger model, whose folder it must be told.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from duologue.audio import Audio
from duologue.emotion import Considered, EmotionDetector, EmotionSettings, Heard, Memory, SoundModel, preload
from duologue.emotion.lexicon import LANGUAGES
from duologue.engines import About, Feeling, Loading
from duologue.engines.settings import read
from duologue.places.thread import Lane


class Detectors:
    """An `EmotionModel`. `lane` is for the sound, which is listened to early, and may yield to work that somebody waits for; a
    reply's first word waits for what its words say, a third of a millisecond, which took seven where it yielded too."""

    def __init__(self, about: About, lane: Lane, model: SoundModel | None = None) -> None:
        self.about = about
        self._lane = lane
        self._words = Lane("felt_words")
        self.lanes = (self._words,)
        self._model = model

    def close(self) -> None:
        self._words.close()

    def open(self, settings: EmotionSettings) -> Feeling:
        return Detector(EmotionDetector(settings, self._model), self._lane, self._words)


class Detector:
    """One session's `Feeling`."""

    def __init__(self, detector: EmotionDetector, lane: Lane, words: Lane) -> None:
        self._detector = detector
        self._lane = lane
        self._words = words

    @property
    def memory(self) -> Memory:
        return self._detector.memory

    @memory.setter
    def memory(self, memory: Memory) -> None:
        self._detector.memory = memory

    async def hear(self, audio: Audio) -> Heard:
        return await self._lane.run(self._detector.hear, audio)

    async def consider(self, text: str, heard: Heard, language: str) -> Considered:
        return await self._words.run(self._detector.consider, text, heard, language)

    def forget_mood(self) -> None:
        self._detector.forget_mood()


@dataclass(frozen=True, slots=True)
class NoSettings:
    """The table `engines.settings.words_and_sound`."""


@dataclass(frozen=True, slots=True)
class SenseVoiceSettings:
    """The table `engines.settings.sense_voice`."""

    folder: str = ""  # of the exported model; its licence is its publishers' and it is not packaged
    threads: int = 1  # a turn of 4 s waits for nobody: its feeling may come after its words


def load(loading: Loading) -> Detectors:
    """No settings. Raises `ConfigError` (unknown_setting)."""
    read(NoSettings(), loading.settings, "words_and_sound")
    preload()
    return Detectors(About("words_and_sound", "Apache-2.0", frozenset(LANGUAGES)), loading.lane)


def load_sense_voice(loading: Loading) -> Detectors:
    """Raises `ConfigError`: unknown_setting, bad_setting, model_missing, engine_missing."""
    from duologue.emotion.sense_voice import SenseVoice

    chosen = read(SenseVoiceSettings(), loading.settings, "sense_voice")
    model = SenseVoice(Path(chosen.folder), chosen.threads)
    preload()
    return Detectors(About("sense_voice", "LicenseRef-FunASR", frozenset(LANGUAGES)), loading.lane, model)
