"""A recogniser that leaves the words to the model which answers: for a writer that hears (`SpeechModel`).

What remains of recognition is to say that there was something to hear.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Final

from duologue.audio import FRAME_S, Frame
from duologue.engines import UNHEARD, About, Loading, Pause, Transcript

SHORT_S: Final = 1.1
"""Of sound, lead-in and pause included: over a reply this is "mm-hm" or a cough rather than a bid for the floor."""

DOUBT: Final = 0.3
"""Confidence in something so short. It is a turn all the same where no reply is talked over."""


class ByEar:
    about = About("by_ear", "Apache-2.0")

    async def transcribe(self, audio: AsyncIterator[Frame | Pause]) -> AsyncIterator[Transcript]:
        heard_s = 0.0
        async for item in audio:
            if isinstance(item, Pause):
                yield Transcript(UNHEARD, final=True, confidence=DOUBT if heard_s < SHORT_S else 1.0)
            else:
                heard_s += FRAME_S


def load(loading: Loading) -> ByEar:
    return ByEar()
