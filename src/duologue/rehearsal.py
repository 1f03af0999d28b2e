"""One exchange between the engines themselves, before anybody comes in: what a conversation costs on this machine.

The voice says a line, the ears hear it, the model answers. It is also the first time that all of them work together, so that
the first client does not pay for what is only done once.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Mapping
from contextlib import aclosing

import numpy as np

from duologue.audio import INPUT_RATE, Audio, resample
from duologue.engines import Message, Prompt, Sound, Speaker, Style, one_clip
from duologue.engines.lineup import Lineup

LINE = "Good morning, it is nice to hear your voice."

log = logging.getLogger(__name__)


async def rehearse(lineup: Lineup) -> float:
    """The share of its time that the busiest engine works for one conversation, in which one listens as long as one speaks.

    0 where no engine works here (it is scripted, or elsewhere), or where one fails, which clients will be told.
    """
    before = _busy_s(lineup)
    try:
        sound = await _say(lineup.speakers[0])
        await _hear(lineup, sound)
        await _answer(lineup)
    except Exception as error:  # of a stranger's engine it may be any; in a conversation it is contained, too
        log.warning("the rehearsal failed, and what a conversation costs is not known: %r", error)
        return 0.0
    worked_s = max((worked - before[name] for name, worked in _busy_s(lineup).items()), default=0.0)
    return worked_s / max(2 * len(sound) / INPUT_RATE, 1.0)


async def _say(speaker: Speaker) -> Audio:
    """Its sound at 16 kHz."""
    languages = speaker.about.languages
    style = Style("en" if not languages or "en" in languages else min(languages))
    sounds: list[Sound] = [sound async for sound in speaker.speak(_once(LINE), style)]
    joined = np.concatenate([np.zeros(0, np.float32), *(sound.samples for sound in sounds)])
    return resample(joined, sounds[0].rate if sounds else INPUT_RATE, INPUT_RATE)


async def _hear(lineup: Lineup, sound: Audio) -> None:
    if lineup.turn_detector is not None:
        await lineup.turn_detector.complete(sound, "")
    async with aclosing(lineup.recognizer.transcribe(one_clip(sound))) as transcripts:  # type: ignore[type-var]
        async for _ in transcripts:
            pass


async def _answer(lineup: Lineup) -> None:
    async for _ in lineup.writer.write(Prompt("rehearsal", [Message("user", LINE)])):
        pass
    lineup.writer.forget("rehearsal")


def _busy_s(lineup: Lineup) -> Mapping[str, float]:
    return {lane.name: lane.busy_s() for lane in lineup.all_lanes}


async def _once(text: str) -> AsyncIterator[str]:
    yield text
