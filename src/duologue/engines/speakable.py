"""Text made speakable in its language before a voice has it: numbers, dates, times, amounts, units, abbreviations, addresses.

`speakable` wraps any speaker. What the voice is given differs from what was written, but the words that come back are those
that were written, so that captions, history and interruptions know nothing of it. Markdown, emoji and links are `spoken`'s.

The words are CLDR's (Babel, BSD-3-Clause; unicode-rbnf, MIT) and, for numbers in Tamil, Telugu and Marathi, of which CLDR has
none or only bare forms, AI4Bharat's (indic-numtowords, MIT). Where these are not installed the voice gets the text as it is.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing
from dataclasses import replace
from functools import lru_cache
from typing import Any, Final

from duologue.engines import Sound, Speaker, Style, Word
from duologue.engines.speakable_rules import RULES
from duologue.engines.speakable_words import Words
from duologue.languages import LANGUAGES

MOST_DIGITS: Final = 24
"""Of one number. What has more is a key or an attack, and is left to `spoken` to cut."""


# ── What is written, and what is said for it ──────────────────────────────────────────────────────────────────────────


def rewrite(text: str, language: str) -> Iterator[tuple[str, str]]:
    """The text in parts, each with what the voice is given for it; the first halves join to the text."""
    words, at = words_of(language), 0
    if words is None:
        return (yield text, text)
    for match in words.pattern.finditer(text):
        if (said := _said(words, match)) is not None:
            yield from ([(text[at : match.start()],) * 2] if match.start() > at else [])
            yield match.group(), said
            at = match.end()
    if at < len(text):
        yield text[at:], text[at:]
    return None


def _said(words: Words, match: re.Match[str]) -> str | None:
    """None: as it is written. Numbers may be of any size and CLDR's rules are not; whatever they refuse is left to the voice."""
    if sum(map(str.isdecimal, match.group())) > MOST_DIGITS:
        return None
    try:
        return _SPACES.sub(" ", RULES[match.lastgroup or ""](words, match)) or None
    except (ValueError, OverflowError, LookupError):
        return None


_SPACES = re.compile(r"\s+")


@lru_cache
def words_of(language: str) -> Words | None:
    """None where the language is not one of the table, or its words are not installed."""
    try:
        return Words(language) if language in LANGUAGES else None
    except ImportError:
        return None


def preload() -> None:
    """Blocking, about 0.1 s: what the words of all languages need, so that no reply waits while a library is imported."""
    for language in LANGUAGES:
        words_of(language)


# ── Around a voice ────────────────────────────────────────────────────────────────────────────────────────────────────


def speakable(speaker: Speaker) -> Speaker:
    return _Speakable(speaker)


def as_written(speaker: Speaker) -> Speaker:
    """The same voice, given what is written."""
    return speaker.bare if isinstance(speaker, _Speakable) else speaker


class _Speakable:
    def __init__(self, speaker: Speaker) -> None:
        self.about = speaker.about
        self.bare = speaker

    def close(self) -> None:
        getattr(self.bare, "close", lambda: None)()

    async def speak(self, text: AsyncIterator[str], style: Style) -> AsyncIterator[Sound]:
        given = _Given()
        sounds: Any = self.bare.speak(given.of(text, style.language), style)
        async with aclosing(sounds):
            async for sound in sounds:
                yield replace(sound, words=tuple(given.back(sound.words)))


class _Given:
    """What the voice was given and has not yet said."""

    def __init__(self) -> None:
        self._parts: deque[tuple[str, str]] = deque()

    async def of(self, text: AsyncIterator[str], language: str) -> AsyncIterator[str]:
        async for piece in text:
            parts = list(rewrite(piece, language))
            self._parts.extend(parts)
            yield "".join(said for _, said in parts)

    def back(self, words: tuple[Word, ...]) -> Iterator[Word]:
        """The words as they were written; one that was rewritten comes back when the last word of it is said."""
        for word in words:
            if written := "".join(self._take(len(word.text))):
                yield Word(written, word.end)

    def _take(self, count: int) -> Iterator[str]:
        while count and self._parts:
            written, said = self._parts.popleft()
            taken, count = min(count, len(said)), max(0, count - len(said))
            if written == said:
                yield written[:taken]
                written = written[taken:]
            elif taken == len(said):
                yield written
            if taken < len(said):
                self._parts.appendleft((written, said[taken:]))
