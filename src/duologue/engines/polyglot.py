"""Recognition of every language of the table: Moonshine for English, Whisper where Moonshine doubts or the language is another.

English costs nothing more than Moonshine alone: Whisper hears a turn only after Moonshine hardly believed its own words. Its
model is no part of the packaged set; it is fetched in the background when another language is first wanted, and until it is
there Moonshine's words are the best there are.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from dataclasses import replace
from importlib.util import find_spec
from typing import Any, Final, Literal

from duologue import clock
from duologue.audio import Frame
from duologue.engines import About, Loading, Pause, Recognizer, Transcript, moonshine, onnx, whisper
from duologue.errors import ConfigError, DuologueError
from duologue.languages import ENOUGH_S, LANGUAGES
from duologue.places.thread import Lane

log = logging.getLogger(__name__)

DOUBT: Final = 0.83
"""Moonshine's confidence below which the turn may be in another language. Of ../shared/speech's clips of 2 s or more, 8% of the
English ones fall below it, and 54 of the 55 in other languages (the last is spelled letters)."""

DOUBT_SETTLED: Final = 0.7
"""The same, once two turns have left no doubt of English: 3% of the English ones, and 51 of the 55."""

FOREIGN: Final = 0.6
"""Below it, twice in a row, another language is so likely that Whisper is worth fetching: 2% of the English ones, 44 of the
55."""

FOREIGN_TURNS: Final = 2

GLANCE_S: Final = 2.8
"""Of sound that is worth a look: a turn is taken for English by it, whatever follows. The first 1.5 s of five of the 55 clips in
other languages were more than 0.65 English to Whisper; their first 2.8 s are not (but of the one that spells letters)."""

GLANCE_SURE: Final = 0.85
"""Share of English that such a look must find: 116 of ../shared/speech's 119 English clips have it at 2.8 s. Of the others that
one has, and no other at 2.8, 3.1, 3.5 or 4 s, where a Hindi one comes up to 0.84."""

AGAIN_S: Final = 600.0
"""After a fetch that failed, the next one."""

State = Literal["absent", "fetching", "failed", "ready"]


class Ear:
    """Whisper, once it is wanted and here. `fetch` None: it is never fetched."""

    def __init__(
        self, make: Callable[[], whisper.Whisper], fetch: Callable[[], object] | None, why_not: str = ""
    ) -> None:
        self.engine: whisper.Whisper | None = None
        self.state: State = "absent"
        self._make = make
        self._fetch = fetch
        self._why_not = why_not
        self._failed_at = 0.0

    def look(self) -> None:
        """Blocking: takes what is here already; nothing is fetched."""
        try:
            self.engine, self.state = self._make(), "ready"
        except DuologueError as error:
            self._why_not = self._why_not or error.message

    def want(self) -> None:
        """Begins to fetch it, in a thread of its own that nobody waits for."""
        due = self.state == "absent" or (self.state == "failed" and clock.now() - self._failed_at > AGAIN_S)
        if self._fetch is not None and due:
            self.state, now = "fetching", clock.now()
            thread = threading.Thread(target=self._bring, args=(self._fetch, now), name="duologue-fetch", daemon=True)
            try:
                thread.start()
            except RuntimeError as error:  # the system has no more of them
                self._failed(error, now)

    def notice(self, language: str) -> str:
        """Why a language is not heard just now, for people; "" when it is."""
        if self.engine is not None:
            return ""
        name = LANGUAGES[language].name if language in LANGUAGES else "another language"
        if self.state == "fetching":
            return f"This may be {name}, and only English is heard well until its recogniser (148 MB) has been fetched."
        why = f" ({self._why_not})" if self._why_not else ""
        how = f"`duologue models pull {whisper.MODEL}` fetches the recogniser"
        return f"This may be {name}, and only English is heard well{why}. {how}."

    def _bring(self, fetch: Callable[[], object], at: float) -> None:
        try:
            fetch()
            self.engine, self.state = self._make(), "ready"
            log.info("%s is here: other languages than English are heard", whisper.MODEL)
        except Exception as error:  # the thread's edge: nobody else would hear of it
            self._failed(error, at)

    def _failed(self, error: Exception, at: float) -> None:
        self._why_not, self._failed_at, self.state = str(error), at, "failed"
        log.warning("%s could not be fetched: %s", whisper.MODEL, error)


class Polyglot:
    """A `Recognizer`, and for sessions a `Polyglot`: `open` gives each its own `Hearing`."""

    def __init__(self, english: Recognizer, others: Ear, lane: Lane | None = None) -> None:
        self.about = About("polyglot", "MIT", languages=frozenset(LANGUAGES), cancel="token")
        self.english = english
        self.others = others
        self._lane = lane
        self.lanes = (lane,) if lane is not None else ()

    def transcribe(self, audio: AsyncIterator[Frame | Pause]) -> AsyncIterator[Transcript]:
        return self.open().transcribe(audio)

    def open(self) -> Hearing:
        return Hearing(self)

    def close(self) -> None:
        if self._lane is not None:
            self._lane.close()


class Glance:
    """A first look at the language of a turn that Moonshine doubts, taken while the user still speaks: at a pause the answer is
    there, and doubtful English, which is one turn in twelve, waits for nobody. One a turn."""

    def __init__(self) -> None:
        self._look: asyncio.Task[tuple[str, float]] | None = None

    async def __aenter__(self) -> Glance:
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._look is not None:
            self._look.cancel()
            await asyncio.wait([self._look])

    def begin(self, engine: whisper.Whisper | None, sound: whisper.Turn) -> None:
        if engine is not None and self._look is None and sound.seconds >= GLANCE_S:
            self._look = asyncio.create_task(engine.glance(sound.so_far), name="polyglot-glance")

    async def english(self) -> float:
        """How sure it is of English; 0 where it is not, or had too little to go by. Raises `EngineError`."""
        if self._look is None:
            return 0.0
        language, certain = await self._look
        return certain if language == "en" and certain >= GLANCE_SURE else 0.0


class Hearing:
    """One session's. Expects English until it is told otherwise."""

    def __init__(self, engine: Polyglot) -> None:
        self.about = engine.about
        self._english = engine.english
        self._others = engine.others
        self._language, self._fixed, self._settled = "en", False, False
        self._foreign = 0

    def expect(self, language: str, *, fixed: bool, settled: bool) -> None:
        self._language, self._fixed, self._settled = language, fixed, settled
        if language != "en" and language in LANGUAGES:
            self._others.want()

    async def transcribe(self, audio: AsyncIterator[Frame | Pause]) -> AsyncIterator[Transcript]:
        """Raises `EngineError`. While another language than English is expected, and can be heard, there are no partials."""
        if self._language != "en" and self._others.engine is not None:
            async for transcript in self._by_whisper(audio, self._others.engine):
                yield transcript
            return
        sound, glance = whisper.Turn(), Glance()
        english: Any = self._english.transcribe(_kept(audio, sound))
        async with aclosing(english), glance:
            async for transcript in english:
                if self._doubted(transcript):
                    glance.begin(self._others.engine, sound)
                yield await self._checked(transcript, sound, glance) if transcript.final else transcript

    async def _by_whisper(
        self, audio: AsyncIterator[Frame | Pause], engine: whisper.Whisper
    ) -> AsyncIterator[Transcript]:
        sound = whisper.Turn()
        async for item in audio:
            if isinstance(item, Pause):
                yield await sound.pause(engine, self._language, fixed=self._fixed)
            else:
                sound.hear(item)
                await sound.settle(engine, self._language, fixed=self._fixed)

    def _doubted(self, english: Transcript) -> bool:
        if self._fixed:
            return self._language != "en"
        return bool(english.text) and english.confidence < (DOUBT_SETTLED if self._settled else DOUBT)

    async def _checked(self, english: Transcript, sound: whisper.Turn, glance: Glance) -> Transcript:
        """Moonshine's words, or Whisper's where they are in another language."""
        if not self._doubted(english):
            self._foreign = 0
            return english
        engine = self._others.engine
        if engine is None:
            return self._unheard(english, sound)
        if not self._fixed and (certain := await glance.english()):
            return replace(english, language_confidence=certain)
        expected = (
            self._language if self._fixed or self._settled else ""
        )  # after a doubt English is no likelier than others
        heard = await sound.pause(engine, expected, fixed=self._fixed, others_than="" if self._fixed else "en")
        same = heard.language == "en" or not heard.text
        return replace(english, language_confidence=heard.language_confidence) if same else heard

    def _unheard(self, english: Transcript, sound: whisper.Turn) -> Transcript:
        """Without Whisper. A turn that is doubtful once was mumbled; one that follows another is in a language of its own."""
        if self._language == "en":
            self._foreign = self._foreign + 1 if english.confidence < FOREIGN and sound.seconds >= ENOUGH_S else 0
            if self._foreign < FOREIGN_TURNS:
                return replace(english, language_confidence=english.confidence)
            self._others.want()
        language = self._language if self._language != "en" else ""
        return replace(english, language_confidence=0.0, notice=self._others.notice(language))


async def _kept(audio: AsyncIterator[Frame | Pause], sound: whisper.Turn) -> AsyncIterator[Frame | Pause]:
    async for item in audio:
        if isinstance(item, Frame):
            sound.hear(item)
        yield item


def load(loading: Loading) -> Recognizer:
    """Needs the packaged model `moonshine-tiny-en`. Setting: `threads` (1).

    Raises `ConfigError`: model_missing, model_corrupt, unknown_setting, bad_setting.
    """
    threads = onnx.threads(loading, "polyglot")
    english = moonshine.load(loading)
    installed = all(find_spec(name) for name in ("ctranslate2", "faster_whisper", "tokenizers"))
    if not installed:
        return Polyglot(english, Ear(_missing, None, "the extra `languages` is not installed"))
    lane = Lane("whisper")

    def make() -> whisper.Whisper:
        return whisper.Whisper(whisper.warm(loading.model(whisper.MODEL), threads), lane)

    fetch = loading.fetch
    others = Ear(make, None if fetch is None else lambda: fetch(whisper.MODEL))
    others.look()
    return Polyglot(english, others, lane)


def _missing() -> whisper.Whisper:
    raise ConfigError("engine_not_installed", "Whisper needs the extra `languages`")
