"""The detector as an engine: off the event loop, on a lane that all sessions share.

`words_and_sound` needs nothing but this package; `sense_voice` and `emotion2vec` hear with a larger model, whose folder they must
be told. Such a model may be in a worker (`engines.apart`), which is asked for its scores and nothing else: the words, the
speaker's manner and the mood stay with the session. One that fails or is late costs a turn nothing but its opinion.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, TypeAlias

import numpy as np

from duologue.audio import INPUT_RATE, Audio
from duologue.emotion import (
    LABELS,
    Considered,
    EmotionDetector,
    EmotionSettings,
    Heard,
    Memory,
    Scores,
    SoundModel,
    preload,
    recent,
)
from duologue.emotion.lexicon import LANGUAGES
from duologue.engines import About, Feeling, Loading
from duologue.engines.settings import read
from duologue.errors import EngineError
from duologue.places.thread import Lane

log = logging.getLogger(__name__)

LATE_S: Final = 2.0
"""For a larger model's scores, from a pause or the middle of a turn on. The reply does not wait so long (`feelings.wait_s`):
it has its words' tone, and scores that come after it are worth the next one's. Later than this they are not worth keeping
the turn's feeling back."""

Larger: TypeAlias = Callable[[Audio], Awaitable[Scores]]
"""A `SoundModel`, wherever it is."""


class Detectors:
    """An `EmotionModel`. `lane` is for the sound, which is listened to early, and may yield to work that somebody waits for; a
    reply's first word waits for what its words say, a third of a millisecond, which took seven where it yielded too.

    Making the first takes 0.1 s: weights and lexicons are read.
    """

    def __init__(self, about: About, lane: Lane, larger: Larger | None = None) -> None:
        preload()
        self.about = about
        self._lane = lane
        self._words = Lane("felt_words")
        self.lanes = (self._words,)
        self._larger = larger

    def close(self) -> None:
        self._words.close()

    def open(self, settings: EmotionSettings) -> Feeling:
        return Detector(EmotionDetector(settings), self._lane, self._words, self.about.name, self._larger)


class WithModel(Detectors):
    """With a larger model on the lane for the sound."""

    def __init__(self, about: About, lane: Lane, model: SoundModel) -> None:
        super().__init__(about, lane, self.scores)
        self._model = model

    async def scores(self, audio: Audio) -> Scores:
        return await self._lane.run(self._model, audio)


class Detector:
    """One session's `Feeling`. `name` is the larger model's."""

    def __init__(
        self, detector: EmotionDetector, lane: Lane, words: Lane, name: str = "", larger: Larger | None = None
    ) -> None:
        self._detector = detector
        self._lane = lane
        self._words = words
        self._name = name
        self._larger = larger

    @property
    def memory(self) -> Memory:
        return self._detector.memory

    @memory.setter
    def memory(self, memory: Memory) -> None:
        self._detector.memory = memory

    async def hear(self, audio: Audio) -> Heard:
        heard = await self._lane.run(self._detector.hear, audio)
        if heard.voice is None or self._larger is None:
            return heard
        return await self._heard_larger(heard, self._larger(recent(audio)))

    async def _heard_larger(self, heard: Heard, asked: Awaitable[Scores]) -> Heard:
        try:
            async with asyncio.timeout(LATE_S):
                scores = await asked
        except TimeoutError:
            return replace(heard, told=f"{self._name}: not in time")
        except Exception as error:  # whatever it is, there are the words, and the rules for the sound
            log.warning("%s does not say what is heard: %s", self._name, error)
            code = error.code if isinstance(error, EngineError) else type(error).__name__
            return replace(heard, told=f"{self._name}: no answer ({code})")
        return replace(heard, scores=scores, told=f"{self._name}: {_named(scores)}")

    async def consider(self, text: str, heard: Heard, language: str) -> Considered:
        return await self._words.run(self._detector.consider, text, heard, language)

    def forget_mood(self) -> None:
        self._detector.forget_mood()


def _named(scores: Scores) -> str:
    return "nothing" if np.ptp(scores) < 0.01 else LABELS[int(scores.argmax())]


@dataclass(frozen=True, slots=True)
class NoSettings:
    """The table `engines.settings.words_and_sound`."""


@dataclass(frozen=True, slots=True)
class SenseVoiceSettings:
    """The table `engines.settings.sense_voice`."""

    folder: str = ""  # of the exported model; its licence is its publishers' and it is not packaged
    threads: int = 1  # a turn of 4 s waits for nobody: its feeling may come after its words


@dataclass(frozen=True, slots=True)
class Emotion2vecSettings:
    """The table `engines.settings.emotion2vec`."""

    folder: str = ""  # of emotion2vec_plus_base or _large; its licence is its publishers' and it is not packaged
    device: str = "auto"  # a GPU where torch finds one: on a CPU's core a long turn's feeling comes late


def load(loading: Loading) -> Detectors:
    """No settings. Raises `ConfigError` (unknown_setting)."""
    read(NoSettings(), loading.settings, "words_and_sound")
    return Detectors(About("words_and_sound", "Apache-2.0", frozenset(LANGUAGES)), loading.lane)


def load_sense_voice(loading: Loading) -> Detectors:
    """Raises `ConfigError`: unknown_setting, bad_setting, model_missing, engine_missing."""
    from duologue.emotion.sense_voice import SenseVoice

    chosen = read(SenseVoiceSettings(), loading.settings, "sense_voice")
    model = SenseVoice(Path(chosen.folder), chosen.threads)
    return WithModel(About("sense_voice", "LicenseRef-FunASR", frozenset(LANGUAGES)), loading.lane, model)


def load_emotion2vec(loading: Loading) -> Detectors:
    """Raises `ConfigError`: unknown_setting, bad_setting, engine_not_installed, model_missing, model_unsupported."""
    from duologue.emotion.emotion2vec import Emotion2vec

    chosen = read(Emotion2vecSettings(), loading.settings, "emotion2vec")
    model = Emotion2vec(Path(chosen.folder), chosen.device)
    model(np.zeros(INPUT_RATE, np.float32))  # warm
    return WithModel(About("emotion2vec", "LicenseRef-FunASR", frozenset(LANGUAGES)), loading.lane, model)
