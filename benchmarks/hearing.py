"""Recorded turns through the ears of a session (VAD, turn detector, recogniser), once, for `benchmarks.pauses`.

The same parts as in a session, with its settings; only the clock is not the session's: sound is given `SPEED` times as fast,
and at each pause everything waits until the engines have answered, which they do side by side, as in a session. English is
expected and never doubted: the time in which another language is looked for is no part of this.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Final, cast

import numpy as np

from benchmarks.pauses import Pause
from benchmarks.recordings import Recording, voiced_s
from duologue import clock
from duologue.audio import FRAME_S, FRAME_SAMPLES, INPUT_RATE, Audio, Frame, level_db
from duologue.config import Config
from duologue.core.events import SpeechStarted, SpeechStopped, Turn
from duologue.core.patience import Patience
from duologue.core.speech import SpeechDetector
from duologue.ear import Ear
from duologue.engines import Transcript, TurnDetector, Vad, WordsDetector
from duologue.engines.lineup import Lineup
from duologue.errors import ConfigError

SPEED: Final = 3.0
"""Fast enough to be done soon, and slow enough that partial transcripts come as they would, which make the final ones quicker."""

NEW_TURN_S: Final = 2.5
"""Silence after which a recording's next words are a turn of their own: nobody waits longer in the middle of one."""

TURN: Final = Turn(1, 0)

AFTER_FRAMES: Final = round(2.0 / FRAME_S)

ASKED_S: Final = 1.5
"""Of a pause, the detector is asked again; what it says later changes nothing that anybody would wait for."""

BREATH_S: Final = 0.1
"""Energy cannot tell a last breath from voice: a pause that begins so shortly before the voice's end is the end."""


@dataclass(frozen=True)
class Gap:
    """A pause as the VAD sees it, in samples since the recording began."""

    edge: int
    noticed: int
    back: int | None = None
    back_noticed: int | None = None


async def hear(lineup: Lineup, config: Config, groups: Mapping[str, Sequence[Recording]]) -> list[Pause]:
    """Every pause of every recording. Raises `ConfigError` (no_turn_detector)."""
    if lineup.turn_detector is None:
        raise ConfigError("no_turn_detector", "the pauses cannot be judged: no turn detector is loaded")
    found: list[Pause] = []
    for group, recordings in groups.items():
        for recording in recordings:
            for part in parts(recording):
                earlier = _holds([pause for pause in found if part.speaker and pause.speaker == part.speaker])
                pauses = await _Hearing(lineup, lineup.turn_detector, config, part).pauses(earlier)
                found += [replace(pause, group=group) for pause in pauses]
                print(f"{part.name}: {len(pauses)} pauses", file=sys.stderr, flush=True)
    return found


def parts(recording: Recording) -> list[Recording]:
    """One recording a turn; a long silence separates two."""
    cuts = [0, *_long_silences(recording.samples), len(recording.samples)]
    if len(cuts) == 2:
        return [recording]
    pieces = [recording.samples[start:end] for start, end in pairwise(cuts)]
    return [
        replace(recording, name=f"{recording.name}#{number}", samples=piece, begins_s=begins_s, ends_s=ends_s)
        for number, piece in enumerate(pieces, 1)
        for begins_s, ends_s in [voiced_s(piece)]
    ]


def _long_silences(samples: Audio) -> list[int]:
    """The middles of the silences of `NEW_TURN_S` within the voice: no window of 0.1 s is within 20 dB of the loudest."""
    size = INPUT_RATE // 10
    power = np.square(samples[: len(samples) // size * size].reshape(-1, size)).mean(axis=1)
    voiced = np.flatnonzero(power >= power.max() / 100)
    wide = np.flatnonzero(np.diff(voiced) * size >= NEW_TURN_S * INPUT_RATE)
    return [int((voiced[at] + voiced[at + 1]) // 2 * size) for at in wide]


class _Hearing:
    """One turn, from the first sound of it."""

    def __init__(self, lineup: Lineup, detector: TurnDetector, config: Config, recording: Recording) -> None:
        self._recording = recording
        self._detector = detector
        self._recognizer = lineup.hearing()
        if hasattr(self._recognizer, "expect"):
            self._recognizer.expect("en", fixed=True, settled=True)
        self._frames = frames(recording.samples)
        self._sound = np.concatenate([frame.samples for frame in self._frames])
        self._longest = ASKED_S * INPUT_RATE
        self._begins, self._gaps = gaps(lineup.vad.open(), config, self._frames)
        self._ear = Ear(TURN, [], config.patience.longest_turn_s, config.limits.engine_s)
        self._words: asyncio.Future[tuple[float, Transcript]]

    async def pauses(self, earlier: tuple[float, ...]) -> list[Pause]:
        """Up to the end of the turn, and with it where the recording has one."""
        listening = asyncio.create_task(self._ear.run(self._recognizer, self._take))
        try:
            return await self._walk(earlier)
        finally:
            listening.cancel()
            await asyncio.gather(listening, return_exceptions=True)

    async def _walk(self, earlier: tuple[float, ...]) -> list[Pause]:
        found: list[Pause] = []
        heard, voice_from, spoken = self._begins, self._begins, 0
        for gap in self._gaps:
            if (ended := self._is_end(gap)) and not self._recording.finished:
                break
            await self._feed(heard, gap.noticed)
            spoken += gap.edge - voice_from
            found.append(await self._judge(gap, ended, spoken / INPUT_RATE, (*earlier, *_holds(found))))
            if ended:
                break
            heard, voice_from = gap.noticed, gap.back or gap.edge
        return found

    def _is_end(self, gap: Gap) -> bool:
        """The first pause that the voice, by energy, does not outlast."""
        return gap.back is None or gap.back / INPUT_RATE > self._recording.ends_s - BREATH_S

    async def _feed(self, start: int, end: int) -> None:
        for frame in self._frames:
            if start < frame.end <= end:
                self._ear.feed(frame)
                await asyncio.sleep(FRAME_S / SPEED)

    async def _judge(self, gap: Gap, ended: bool, spoken_s: float, earlier: tuple[float, ...]) -> Pause:
        began_at, self._words = clock.now(), asyncio.get_running_loop().create_future()
        self._ear.pause(TURN)
        complete = await self._detector.complete(self._ear.audio, self._ear.text)
        scored_at = clock.now()
        words_at, transcript = await self._words
        noticed_s = (gap.noticed - gap.edge) / INPUT_RATE
        by_words = await self._weigh(transcript)
        weighed_at = clock.now()
        opinions = await self._ask_again(gap, scored_at - began_at)
        return Pause(
            group="",
            turn=self._recording.name,
            speaker=self._recording.speaker,
            at_s=gap.edge / INPUT_RATE,
            noticed_s=noticed_s,
            silence_s=None if ended or gap.back is None else (gap.back - gap.edge) / INPUT_RATE,
            resumed_s=None if ended or gap.back_noticed is None else (gap.back_noticed - gap.edge) / INPUT_RATE,
            voice_after_s=self._recording.ends_s - gap.edge / INPUT_RATE if ended else 0.0,
            spoken_s=spoken_s,
            complete=complete,
            scored_s=noticed_s + scored_at - began_at,
            text=transcript.text,
            confidence=transcript.confidence,
            words_s=noticed_s + words_at - began_at,
            earlier_s=earlier,
            opinions=tuple((known_at / INPUT_RATE, complete) for known_at, complete in opinions),
            by_words=by_words,
            weighed_s=noticed_s + weighed_at - began_at,
        )

    async def _weigh(self, transcript: Transcript) -> float | None:
        detector, known = self._detector, getattr(self._detector, "words_languages", ())
        if not transcript.text or transcript.language not in known:
            return None
        return await cast(WordsDetector, detector).end_of_words(transcript.text)

    async def _ask_again(self, gap: Gap, takes_s: float) -> list[tuple[float, float]]:
        """As a session does while the pause lasts: samples of silence when it was known, and P. How long the detector takes was
        measured with the first question."""
        found: list[tuple[float, float]] = []
        rest_s = Patience().ask_again_s
        asked = gap.noticed + (takes_s + rest_s) * INPUT_RATE
        while asked - gap.edge < self._longest and asked < (gap.back_noticed or asked + 1):
            sound = self._sound[self._begins : round(asked)]
            found.append((asked + takes_s * INPUT_RATE - gap.edge, await self._detector.complete(sound, "")))
            rest_s *= 2
            asked += (takes_s + rest_s) * INPUT_RATE
        return found

    def _take(self, turn: Turn, transcript: Transcript) -> None:
        if transcript.final:
            self._words.set_result((clock.now(), transcript))


def frames(samples: Audio) -> list[Frame]:
    """With so much silence after them that their last pause is noticed."""
    padded = np.concatenate(
        [samples, np.zeros(AFTER_FRAMES * FRAME_SAMPLES - len(samples) % FRAME_SAMPLES, np.float32)]
    )
    return [Frame(block, at * FRAME_SAMPLES) for at, block in enumerate(padded.reshape(-1, FRAME_SAMPLES))]


def gaps(vad: Vad, config: Config, sound: Sequence[Frame]) -> tuple[int, list[Gap]]:
    """Where the turn begins, its lead-in included, and each silence that was noticed after it."""
    detector = SpeechDetector(config.speech, INPUT_RATE)
    begins, found = 0, list[Gap]()
    for frame in sound:
        match detector.feed(vad(frame), frame.at, frame.end, level_db(frame.samples)):
            case SpeechStopped(ago_s):
                found.append(Gap(frame.end - round(ago_s * INPUT_RATE), frame.end))
            case SpeechStarted(since) if not found:
                begins = since
            case SpeechStarted(_, ago_s):
                found[-1] = replace(found[-1], back=frame.end - round(ago_s * INPUT_RATE), back_noticed=frame.end)
    return begins, found


def _holds(pauses: Sequence[Pause]) -> tuple[float, ...]:
    return tuple(pause.silence_s for pause in pauses if pause.is_hold and pause.silence_s is not None)
