"""A thousand texts that no script writer would write, through every packaged voice: it never fails, is never silent where
there is something to say, and never goes on for longer than the text is fairly worth.

Piper's decoder would take five minutes for all of them. What can go wrong with a text goes wrong before it (it becomes no sounds,
or too many): so all of them are planned, sound by sound, and every hundredth is made. `AWKWARD_TEXTS=all` has all made.
"""

from __future__ import annotations

import asyncio
import os
import random
from collections.abc import AsyncIterator, Iterator
from typing import cast

import numpy as np
import pytest

from duologue import config
from duologue.audio import Audio
from duologue.engines import Loading, Sound, Speaker, Style, registry
from duologue.engines.piper import PiperSpeaker
from duologue.engines.piper_graph import HOP, Graph, Latents
from duologue.engines.speakable import rewrite, speakable
from duologue.engines.spoken import read, spoken
from duologue.errors import ConfigError
from duologue.languages import LANGUAGES
from duologue.models import open_store
from duologue.places.thread import Lane

COUNT = 1_000
SEED = 7

PIECES = {
    "numbers": ["0", "-40", "1,234,567.89", "3.14", "१२३", "௧௨", "9" * 40, "1/2", "½", "IV", "0x1F", "1e9", "007", "10^6"],
    "dates": ["2026-03-05", "2026-13-45", "10:30", "25:99", "5-10", "1984", "21st", "3.11.2", "12/31/2026", "10:30 p.m."],
    "amounts": ["$5.99", "₹1,00,000", "5€", "RM5.50", "£-1", "50%", "-40°C", "100 km/h", "$", "%%", "$1e999"],
    "scripts": ["Hello", "नमस्ते", "வணக்கம்", "తెలుగు", "मराठी", "¿Qué?", "你好", "Привет", "ไทย", "日本語", "ᚠᛇᚻ", "selamat"],
    "right to left": ["שלום", "مرحبا", "\u202eabc\u202c", "\u2067fine\u2069", "עברית 123"],
    "emoji": ["🙂", "👨‍👩‍👧‍👦", "🇮🇳", "❤️", "✅", "🤷🏽‍♀️", "©", "™"],
    "markdown": ["**bold**", "# Title", "| a | b |\n|---|---|\n| 1 | 2 |", "```py\nx = 1\n```", "[x](http://y.z)", "- [ ] do"],
    "punctuation": ["...", "?!?!", "—", "¡¿", "()", "[[", "<>", "'\"", "।", ";;;;", "~", "_", "\\", "@", "#"],
    "control": ["\x00", "\x1b[31m", "\x07", "\r\n", "\t", "\u200b", "\ufeff", "\ud800", "\u2028", "\x7f", "\U000e0041"],
    "addresses": ["https://example.org/a?b=1&c=2#d", "a.b@example.org", "www.x.y", "C:\\dir", "/usr/bin", "10.0.0.1"],
    "letters": ["WHY", "e\u0301\u0302\u0303\u0304\u0305", "𝓗𝓮𝓵𝓵𝓸", "Ｗｉｄｅ", "co\u00adop", "e.g.", "nooooo", "x" * 60],
    "speech markup": ["<speak>", "<break time='9s'/>", "[[h@l@U]]", "&amp;", "<script>", "[laugh]", "{x}"],
}  # fmt: skip

LONG = [
    "a" * 10_000,
    "1" * 10_000,
    "।" * 10_000,
    "क" * 10_000,
    "🙂" * 10_000,
    "$" * 10_000,
    "1 " * 2_000,
    "\u0301" * 10_000,
]
LONG += ["-" * 10_000, "1,1" * 3_000, "a.b@" * 2_500, "1:1" * 3_000, "1-" * 5_000, " " * 10_000]

SECONDS_A_CHARACTER = 0.6
"""Of what is said: a digit or a symbol may be a word of four syllables; speech has about 14 characters a second."""

SECONDS_A_STRANGER = 1.6
"""A character of a script that is not the voice's: espeak-ng says what it is called, "Chinese letter" and worse."""

SPARE_S = 4.0

AUDIBLE = 0.01
"""-40 dBFS."""


def texts() -> list[str]:
    """Each piece alone, and as many of up to eight pieces of several kinds as are missing."""
    rng = random.Random(SEED)
    pieces = [piece for kind in PIECES.values() for piece in kind]
    made = [*pieces, *LONG]
    while len(made) < COUNT:
        kinds = rng.sample(list(PIECES), rng.randint(1, 3))
        made.append(
            rng.choice(["", " ", " ", "\n"]).join(
                rng.choice(PIECES[rng.choice(kinds)]) for _ in range(rng.randint(1, 8))
            )
        )
    return made


TEXTS = texts()


def languages(text: str) -> str:
    """One of the seven for each text, always the same."""
    return sorted(LANGUAGES)[len(text) % len(LANGUAGES)]


@pytest.fixture(scope="module", params=["espeak", "piper"])
def voice(request: pytest.FixtureRequest) -> Iterator[Speaker]:
    lane = Lane(request.param)
    try:
        loading = Loading(open_store(config.load().models).folder, lane)
        yield cast(Speaker, registry.load("speaker", request.param, loading))
    except ConfigError as error:
        pytest.skip(error.message)
    finally:
        lane.close()


class Humming:
    """In place of Piper's decoder: a hum for as long as was planned, unless it is told to make the sound."""

    def __init__(self, graph: Graph) -> None:
        self.makes = False
        self._make = graph.samples
        graph.samples = self._samples  # type: ignore[method-assign]

    def _samples(self, prior: Latents) -> Iterator[Audio]:
        if self.makes:
            return self._make(prior)
        return iter([np.full(prior.shape[1] * HOP, 10 * AUDIBLE, np.float32)])


async def once(text: str) -> AsyncIterator[str]:
    yield text


async def say(voice: Speaker, text: str, style: Style) -> list[Sound]:
    return [sound async for sound in voice.speak(once(text), style)]


def given(text: str, language: str) -> str:
    """What the voice itself is asked to say for a text."""
    return spoken(read("".join(said for _, said in rewrite(text, language))))


def check(text: str, language: str, sounds: list[Sound]) -> None:
    what = f"{text[:60]!r} in {language}"
    assert "".join(word.text for sound in sounds for word in sound.words) == text, what
    samples = np.concatenate([np.zeros(0, np.float32), *(sound.samples for sound in sounds)])
    assert np.isfinite(samples).all(), what
    asked = given(text, language)
    seconds = sum(sound.seconds for sound in sounds)
    known = sum(is_known(character, language) for character in asked)
    fair = SPARE_S + SECONDS_A_CHARACTER * known + SECONDS_A_STRANGER * (len(asked) - known)
    assert seconds <= fair, f"{what}: {seconds:.1f} s"
    if any(character.isalnum() and is_known(character, language) for character in asked):
        assert float(np.abs(samples).max(initial=0.0)) > AUDIBLE, f"{what}: silent"


def is_known(character: str, language: str) -> bool:
    """In ASCII, or in the language's own script: others a voice may not know."""
    script = {"hi": 0x900, "mr": 0x900, "ta": 0xB80, "te": 0xC00}.get(language, 0xC0)
    return character.isascii() or script <= ord(character) < script + 0x80


def test_there_are_a_thousand_and_the_longest_has_no_space() -> None:
    assert len(TEXTS) == COUNT
    assert sum(len(text) >= 10_000 and " " not in text for text in TEXTS) >= 8


@pytest.mark.models
def test_no_text_breaks_a_voice(voice: Speaker) -> None:
    humming = Humming(voice._graph) if isinstance(voice, PiperSpeaker) else None
    speaking = speakable(voice)

    async def main() -> None:
        for number, text in enumerate(TEXTS):
            language = "en" if humming else languages(text)
            if humming:
                humming.makes = number % 100 == 0 or os.environ.get("AWKWARD_TEXTS") == "all"
            check(text, language, await say(speaking, text, Style(language)))

    asyncio.run(main())


@pytest.mark.parametrize("language", [*LANGUAGES, "fr", ""])
def test_no_text_breaks_the_words(language: str) -> None:
    for text in TEXTS:
        assert "".join(written for written, _ in rewrite(text, language)) == text
        given(text, language).encode()
