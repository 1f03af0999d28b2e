"""Each voice by itself: how soon its first sound comes, and how much faster than speech it makes the rest.

The text comes whole, as the last piece of a reply does. A voice is asked through the same chain as a session's, each text once
to warm up and then `TRIALS` times. The real-time factor is the time in which a second of sound is made: below 1 it keeps up.
"""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, Final

from benchmarks.figures import Figure
from duologue import clock
from duologue.app import App
from duologue.engines import Speaker, Style

TRIALS: Final = 3

ENGLISH: Final[Mapping[str, str]] = {
    "short": "Yes, of course.",
    "medium": "The museum opens at nine in the morning, and on Sundays it stays open until six.",
    "long": (
        "The museum opens at nine in the morning, and on Sundays it stays open until six. You can buy a ticket at the door, "
        "but there is often a queue, so most people book the day before. If you bring children, ask for the family ticket, "
        "which lets four of you in for the price of two and a half."
    ),
}

OTHERS: Final[Mapping[str, str]] = {
    "es": "El museo abre a las nueve de la mañana y los domingos cierra a las seis.",
    "hi": "संग्रहालय सुबह नौ बजे खुलता है और रविवार को छह बजे तक खुला रहता है।",
    "ms": "Muzium dibuka pada pukul sembilan pagi dan pada hari Ahad ditutup pukul enam.",
    "ta": "அருங்காட்சியகம் காலை ஒன்பது மணிக்குத் திறக்கும், ஞாயிறு அன்று ஆறு மணி வரை இருக்கும்.",
    "te": "మ్యూజియం ఉదయం తొమ్మిది గంటలకు తెరుచుకుంటుంది, ఆదివారం ఆరు గంటల వరకు ఉంటుంది.",
    "mr": "संग्रहालय सकाळी नऊ वाजता उघडते आणि रविवारी सहा वाजेपर्यंत उघडे असते.",
}
"""Of about the English medium one's length."""


@dataclass(frozen=True)
class Spoken:
    first_s: float
    whole_s: float
    sound_s: float

    @property
    def factor(self) -> float:
        return self.whole_s / self.sound_s if self.sound_s else float("inf")


async def run(app: App, trials: int = TRIALS) -> list[Figure]:
    """Every voice that is loaded, in every language that it speaks."""
    assert app.lineup is not None
    figures: list[Figure] = []
    for speaker in app.lineup.speakers:
        for language, length, text in texts(speaker):
            spoken = [await speak(speaker, text, language) for _ in range(trials + 1)][1:]
            figures += _figures(f"{speaker.about.name}, {language}, {length}", spoken)
            print(f"{figures[-2].name}: {figures[-2].facts()['median']:.0f} ms", file=sys.stderr, flush=True)
    return figures


def texts(speaker: Speaker) -> Iterator[tuple[str, str, str]]:
    able = speaker.about.languages
    if not able or "en" in able:
        yield from (("en", length, text) for length, text in ENGLISH.items())
    yield from ((language, "medium", text) for language, text in OTHERS.items() if not able or language in able)


async def speak(speaker: Speaker, text: str, language: str) -> Spoken:
    began_at, first_s, sound_s = clock.now(), None, 0.0
    stream: Any = speaker.speak(_whole(text), Style(language))
    async with aclosing(stream) as sounds:
        async for sound in sounds:
            if first_s is None and len(sound.samples):
                first_s = clock.now() - began_at
            sound_s += len(sound.samples) / sound.rate
    whole_s = clock.now() - began_at
    return Spoken(whole_s if first_s is None else first_s, whole_s, sound_s)


def _figures(name: str, spoken: Sequence[Spoken]) -> list[Figure]:
    return [
        Figure(f"{name}: first sound", "ms", [each.first_s * 1000 for each in spoken]),
        Figure(f"{name}: real-time factor", "ratio", [each.factor for each in spoken]),
    ]


async def _whole(text: str) -> AsyncIterator[str]:
    yield text
