"""The engines of one server and the conversations on them: who may come in, and what all of them measure."""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from dataclasses import replace
from pathlib import Path

from duologue import clock
from duologue.aloud import Aloud
from duologue.config import Config
from duologue.core.playout import Pacing
from duologue.engines import Style
from duologue.engines.lineup import Lineup
from duologue.errors import ClientError
from duologue.languages import AUTO, Following
from duologue.load import Gauge
from duologue.metrics import Metrics
from duologue.protocols import (
    Fact,
    Failure,
    Ready,
    ReplyAudio,
    ReplyDone,
    TurnTaking,
    Voice,
)
from duologue.rehearsal import rehearse
from duologue.session import Session
from duologue.sound_files import Recording
from duologue.tone import policy
from duologue.trace import Sink, TraceFile
from duologue.transcribing import Segment, Transcriber

log = logging.getLogger(__name__)


class App:
    """Without a `lineup` it is not ready, and says so; `names` makes session names (injected for tests).

    Raises `ConfigError` for a policy of tones that cannot be.
    """

    def __init__(self, config: Config, lineup: Lineup | None = None, names: Callable[[], str] | None = None) -> None:
        self.config = config
        self.lineup = lineup
        self._names = names or _counting_names()
        self._open: set[Occupied] = set()
        self._metrics = Metrics()
        self._gauge = Gauge(config.limits.busy, self._metrics)
        self._beside = asyncio.Lock()
        self._transcriber = Transcriber(config.speech, config.limits.engine_s, self._beside)
        policy(config.feelings.policy)  # what is wrong with it is said now, and not to the first client

    @property
    def ready(self) -> bool:
        return self.lineup is not None

    @property
    def profile(self) -> str:
        """The name of the set of engines that run."""
        return self.config.profile

    def open_session(
        self, tell: Callable[[Fact], None], *, pacing: Pacing | None = None, turn_taking: TurnTaking | None = None
    ) -> Occupied:
        """A new conversation; its place is given back when its `run` ends, or by its `close`.

        `pacing` and `turn_taking` where the connection's protocol has its own. Raises `ClientError`: not_ready, server_full.
        """
        if self.lineup is None:
            raise ClientError("not_ready", "the models are still loading")
        if len(self._open) >= self.config.limits.sessions:
            self._metrics.refused("places")
            raise ClientError("server_full", f"all {self.config.limits.sessions} places are taken; try again later")
        if why := self._gauge.no_room():
            self._metrics.refused("load")
            raise ClientError("server_full", f"the machine is at its capacity: {why}; try again later")
        return Occupied(self, self.lineup, tell, pacing, turn_taking)

    async def rehearse(self) -> None:
        """Finds out what one conversation costs here. Call it before the first one."""
        assert self.lineup is not None
        self._gauge.each = await rehearse(self.lineup)

    @property
    def share_of_one(self) -> float:
        """Of the busiest engine's time, by the rehearsal."""
        return self._gauge.each

    async def watch(self) -> None:
        """Measures the machine's load until it is cancelled; without it only places are counted."""
        assert self.lineup is not None
        await self._gauge.watch(self.lineup.all_lanes)

    def metrics(self) -> bytes:
        """In Prometheus' text format."""
        return self._metrics.text()

    def transcribe(self, recording: Recording, language: str) -> AsyncGenerator[Segment, None]:
        """What is said in it, segment by segment as it is heard; closing it stops the recogniser.

        Raises `ClientError` (not_ready, language_not_heard, and those of the recording) and `EngineError`.
        """
        if self.lineup is None:
            raise ClientError("not_ready", "the models are still loading")
        return self._transcriber.transcribe(self.lineup, recording, language)

    async def speak(self, text: str, style: Style, rate: int) -> AsyncGenerator[ReplyAudio | ReplyDone, None]:
        """`text` aloud at `rate` Hz, unpaced; where a voice fails, the next of the chain says the rest. Of a style's language
        "auto" the text decides; what is too short or too doubtful to tell is taken for English.

        Raises `ClientError` (not_ready, unknown_voice, language_not_spoken) and `EngineError` of the last voice.
        """
        if self.lineup is None:
            raise ClientError("not_ready", "the models are still loading")
        if style.language == AUTO:
            style = replace(style, language=Following().hear(self.lineup.texts.detect(text)))
        self.lineup.check_voice(style.voice)
        voices = self.lineup.voices(style.language, style.voice, written=not self.config.conversation.speakable)
        if not voices:
            raise ClientError("language_not_spoken", f"no voice here speaks {style.language!r}")
        aloud = Aloud(text, rate, self.config.limits.engine_s)
        async with aclosing(aloud.by(voices, style)) as facts:
            async for fact in facts:
                yield fact

    def _occupy(self, session: Occupied) -> None:
        self._open.add(session)
        self._gauge.came(session)
        self._metrics.sessions(len(self._open))

    def _vacate(self, session: Occupied) -> None:
        self._open.discard(session)
        self._gauge.left(session)
        self._metrics.sessions(len(self._open))

    def _sinks(self, name: str) -> tuple[Sink, ...]:
        folder = self.config.server.traces
        if not folder:
            return (self._metrics,)
        try:
            return self._metrics, TraceFile(Path(folder) / f"{name}.trace.jsonl")
        except OSError as error:
            log.warning("session %s leaves no trace: %s", name, error)
            return (self._metrics,)


class Occupied:
    """A session in its place, and as long as one may last. Adds to `Ready` what only the server as a whole knows."""

    def __init__(
        self,
        app: App,
        lineup: Lineup,
        tell: Callable[[Fact], None],
        pacing: Pacing | None,
        turn_taking: TurnTaking | None,
    ) -> None:
        self._app = app
        self._tell = tell
        self._voices = voices(lineup)
        self._closed = False
        name = app._names()
        self._sinks = app._sinks(name)
        self.session = Session(
            name,
            app.config,
            lineup,
            self._told,
            pacing=pacing,
            turn_taking=turn_taking,
            sinks=self._sinks,
            strained=lambda: app._gauge.strained,
            beside=app._beside,
        )
        self.command = self.session.command
        app._occupy(self)

    async def run(self) -> None:
        limit_s = self._app.config.limits.session_s
        try:
            async with asyncio.timeout(limit_s) as limit:
                await self.session.run()
        except TimeoutError:
            if not limit.expired():
                raise
            minutes = f"{limit_s / 60:g} minutes"
            self._tell(Failure("session_expired", f"Your session hit the maximum duration of {minutes}."))
        finally:
            self.close()

    def close(self) -> None:
        if not self._closed:
            self._closed = True
            self._app._vacate(self)
            for sink in self._sinks:
                if isinstance(sink, TraceFile):
                    sink.close()

    def detach(self) -> None:
        """The client is gone: it keeps its place while the session lasts, and needs nothing of the machine."""
        self._app._gauge.left(self)
        self.session.detach()

    def attach(self, tell: Callable[[Fact], None], turn: int, played_ms: float) -> None:
        """The client is back with another connection."""
        self._app._gauge.came(self)
        self._tell = tell
        self.session.attach(self._told, turn, played_ms)

    def _told(self, fact: Fact) -> None:
        self._tell(replace(fact, voices=self._voices, profile=self._app.profile) if isinstance(fact, Ready) else fact)


def voices(lineup: Lineup) -> tuple[Voice, ...]:
    """In the order in which they are tried. A speaker without names has its one voice, which cannot be asked for."""
    return tuple(
        Voice(
            name,
            tuple(sorted(about.languages)),
            about.name,
            about.emotion,
            about.sample_rate,
            about.streaming,
            about.cloning,
            about.cancel,
            about.licence,
        )
        for about in (speaker.about for speaker in lineup.speakers)
        for name in sorted(about.voices) or [""]
    )


def _counting_names() -> Callable[[], str]:
    """Names that say when the server saw the session, and never repeat within it."""
    numbers = itertools.count(1)
    return lambda: f"{clock.wall_clock():%Y%m%d-%H%M%S}-{next(numbers)}"
