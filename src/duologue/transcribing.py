"""What is said in a recording, and when: cut into utterances by voice activity, each of them heard by itself.

Memory is bounded by one utterance and one block of the file, however long the recording is.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace

import numpy as np

from duologue.audio import FRAME_S, INPUT_RATE, Audio, Frame, Framer
from duologue.core.events import SpeechStarted, SpeechStopped
from duologue.core.speech import SpeechDetector, SpeechSettings
from duologue.engines import UNHEARD, Pause, Recognizer, Transcript, Vad
from duologue.engines.lineup import Lineup
from duologue.errors import ClientError, EngineError
from duologue.places.step import step
from duologue.sound_files import Recording
from duologue.watch import Watch

PAUSE_S = 0.5
"""Silence that ends an utterance: between sentences, seldom within one."""

LONGEST_FRAMES = round(12.0 / FRAME_S)
"""An utterance without a pause is cut at its least voiced frame: about what the packaged recogniser hears at once, and as much
as a viewer reads of a subtitle."""

TAIL_FRAMES = round(0.1 / FRAME_S)
"""Kept after the last voiced frame: a final "s" or "t" falls under the threshold."""

AT_ONCE = 32
"""Frames that a recogniser is given in one go: taking all 375 of a long utterance held the loop up for 10 ms."""


@dataclass(frozen=True, slots=True)
class Segment:
    """One utterance: times in s since the recording's first sample, `confidence` the recogniser's, `voiced` mean P(speech)."""

    text: str
    start_s: float
    end_s: float
    language: str
    confidence: float
    voiced: float


@dataclass(frozen=True, slots=True)
class Utterance:
    """`frames` with some silence around them; the voice itself lasts from sample `start` to `end` of the recording."""

    frames: Sequence[Frame]
    start: int
    end: int
    voiced: float


class Cutter:
    """Sound at `rate` Hz in, utterances out. Blocking: voice activity costs some milliseconds a second of sound."""

    def __init__(self, rate: int, vad: Vad, settings: SpeechSettings) -> None:
        self._rate = rate
        self._vad = vad
        self._framer = Framer(rate)
        self._speech = SpeechDetector(replace(settings, stop_s=PAUSE_S), INPUT_RATE)
        self._memory = round((settings.lead_in_s + settings.start_s) / FRAME_S) + 2  # frames before speech is noticed
        self._frames: list[Frame] = []
        self._voice: list[float] = []  # P(speech) of each of them
        self._start = 0
        self._samples = 0

    def push(self, samples: Audio) -> list[Utterance]:
        self._samples += len(samples)
        return [utterance for frame in self._framer.push(samples) if (utterance := self._take(frame))]

    def finish(self) -> list[Utterance]:
        """A voice that lasts to the end of the file ends there."""
        end = self._samples * INPUT_RATE // self._rate
        last = self.push(np.zeros(round(self._rate * (PAUSE_S + 4 * FRAME_S)), np.float32))
        if self._speech.speaking:
            last.append(self._cut(len(self._frames), end))
        return [replace(utterance, end=min(utterance.end, end)) for utterance in last if utterance.start < end]

    def _take(self, frame: Frame) -> Utterance | None:
        probability = self._vad(frame)
        self._frames.append(frame)
        self._voice.append(probability)
        edge = self._speech.feed(probability, frame.at, frame.end)
        if isinstance(edge, SpeechStarted):
            self._drop(sum(kept.end <= edge.since for kept in self._frames))
            self._start = frame.end - round(edge.ago_s * INPUT_RATE)
        elif isinstance(edge, SpeechStopped):
            end = frame.end - round(edge.ago_s * INPUT_RATE)
            return self._cut(sum(kept.at < end for kept in self._frames) + TAIL_FRAMES, end)
        elif not self._speech.speaking:
            self._drop(len(self._frames) - self._memory)
        elif len(self._frames) >= LONGEST_FRAMES:
            return self._split()
        return None

    def _split(self) -> Utterance:
        half = len(self._voice) // 2
        cut = half + int(np.argmin(self._voice[half:])) + 1
        return self._cut(cut, self._frames[cut - 1].end)

    def _cut(self, count: int, end: int) -> Utterance:
        utterance = Utterance(self._frames[:count], self._start, end, float(np.mean(self._voice[:count])))
        self._drop(count)
        self._start = end
        return utterance

    def _drop(self, count: int) -> None:
        count = max(0, count)
        del self._frames[:count], self._voice[:count]


def utterances(recording: Recording, vad: Vad, settings: SpeechSettings) -> Iterator[list[Utterance]]:
    """Blocking: those that end in each block of the file, then those that end with it."""
    cutter = Cutter(recording.rate, vad, settings)
    for block in recording.blocks():
        yield cutter.push(block)
    yield cutter.finish()


class Transcriber:
    """For all requests of a server: one utterance is heard at a time, so that a conversation waits for at most one of them.
    `beside` is held meanwhile: the items of conversations take turns with them."""

    def __init__(self, speech: SpeechSettings, engine_s: float, beside: asyncio.Lock | None = None) -> None:
        self._speech = speech
        self._engine_s = engine_s
        self._beside = beside or asyncio.Lock()

    async def transcribe(
        self, lineup: Lineup, recording: Recording, language: str = "auto"
    ) -> AsyncGenerator[Segment, None]:
        """Segment by segment, as they are heard.

        Raises `ClientError` (language_not_heard, no_recognizer, and those of `Recording`) and `EngineError`: no_transcript,
        engine_timeout.
        """
        check_language(lineup.recognizer, language)
        found = utterances(recording, lineup.vad.open(), self._speech)
        while (batch := await step(lambda: next(found, None))) is not None:
            for utterance in batch:
                async with self._beside:
                    transcript = await self._hear(lineup.recognizer, utterance)
                if transcript.text == UNHEARD:
                    raise ClientError("no_recognizer", "the model that runs here hears, but does not write down")
                if transcript.text.strip():
                    yield segment(utterance, transcript)

    async def _hear(self, recognizer: Recognizer, utterance: Utterance) -> Transcript:
        stream = Watch(self._engine_s).over(recognizer.transcribe(_asked(utterance.frames)), "the recogniser")
        async with aclosing(stream) as transcripts:  # type: ignore[type-var]
            async for transcript in transcripts:
                if transcript.final:
                    return transcript
        raise EngineError("the recogniser", "ended without a transcript", code="no_transcript")


def check_language(recognizer: Recognizer, language: str) -> None:
    """Raises `ClientError` (language_not_heard)."""
    known = recognizer.about.languages
    if language != "auto" and known and language not in known:
        raise ClientError("language_not_heard", f"{language!r} is not heard here, only: {', '.join(sorted(known))}")


def segment(utterance: Utterance, transcript: Transcript) -> Segment:
    return Segment(
        text=transcript.text.strip(),
        start_s=utterance.start / INPUT_RATE,
        end_s=utterance.end / INPUT_RATE,
        language=transcript.language,
        confidence=transcript.confidence,
        voiced=utterance.voiced,
    )


async def _asked(frames: Sequence[Frame]) -> AsyncIterator[Frame | Pause]:
    for number, frame in enumerate(frames, 1):
        if number % AT_ONCE == 0:
            await asyncio.sleep(0)
        yield frame
    yield Pause()
