"""Cuts the reply's text, as it grows, into pieces for the voice.

The first piece is the shortest that can be spoken well, later ones grow as far as the sound in hand allows: too small
breaks the prosody, too large lets playback run dry. Knows text only; the caller says how many seconds of sound are in hand.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

_SENTENCE_END = re.compile(r"[.!?…]+[\"'”’»)\]*_]*(?=\s)|[!?…]+(?!\w)|[।॥。！？]+|\n+")
_CLAUSE_END = re.compile(r"[,;:،、—–]+[\"'”’»)\]*_]*(?=\s)|(?<!\d)\s[-—–](?=\s)")
_ABBREVIATION = re.compile(
    r"(?:^|[\s(\"'*_“«¿¡.])(?:"
    r"Mr|Mrs|Ms|Dr|Prof|St|Sr|Jr|vs|etc|e\.g|i\.e|a\.m|p\.m|No|[A-Z]|approx|Rs|Gen|Col|Capt|Jan|Feb|Aug|Sept|Oct|Nov|Dec|Fig"
    r"|Sra|Srta|Dra|Ud|Uds|EE|UU|EE\.UU|p|ej|a|m|pág|págs|núm|Av|Avda|tel|Gral|aprox"
    r"|En|Pn|Tn|Hj|Hjh|Sdn|Bhd|Jln|Kg|Bil|Bhg|cth|dll|dsb"
    r"|डॉ|रु|प्रो|प्रा|श्री|पं|नं|उदा|कि\.मी|ई\.पू|इ\.स"
    r"|டாக்டர்|டாக்|ரூ|திரு|திருமதி|செல்வி|எ\.கா|கி\.மீ|கி\.பி|கி\.மு"
    r"|డా|రూ|శ్రీ|శ్రీమతి|ఉదా|కి\.మీ|క్రీ\.శ|క్రీ\.పూ"
    r")\.$"
)
"""What a point may stand after within a sentence, in the seven languages."""

_SPACE = re.compile(r"(?<![\d$€£¥₹.])(?<!RM) (?![\d$€£¥₹%])")
"""Between two words that may be said apart: a number, its unit and its currency are said together."""


@dataclass(frozen=True, slots=True)
class Cutting:
    """How pieces are cut; lengths in characters."""

    shortest: int = 8  # a piece under about two words has no melody of its own
    hungry_s: float = 1.0  # with less sound in hand than this, any clause will do
    starving_s: float = 0.35  # with less than this, a cut between two words is better than silence
    starving_words: int = 2  # but not before so many words and `shortest`: they cover the next piece's making
    longest: int = 240  # about 15 s of speech: prosody gains nothing beyond, an interruption would waste it


class Clauses:
    """One reply's text. `push` what the model writes, `take` what the voice should say next."""

    def __init__(self, cutting: Cutting | None = None) -> None:
        self._cutting = cutting or Cutting()
        self._text = ""
        self.ended = False

    def push(self, text: str) -> None:
        self._text += text

    def end(self) -> None:
        """The reply is complete: what is left may be taken whole."""
        self.ended = True

    @property
    def spent(self) -> bool:
        """The reply is complete and every piece of it was taken."""
        return self.ended and not self._text

    def take(self, in_hand_s: float) -> str | None:
        """The next piece, or None while it is better to wait for more text. "" is never given; all pieces join to the text."""
        cut = self._cut(in_hand_s)
        piece, self._text = self._text[:cut], self._text[cut:]
        return piece or None

    def _cut(self, in_hand_s: float) -> int:
        sentence = self._first(_SENTENCE_END)
        if in_hand_s >= self._cutting.hungry_s:
            return sentence or self._overlong() or self._rest()
        clause = self._first(_CLAUSE_END)
        near = min((cut for cut in (sentence, clause) if cut), default=0)
        return near or self._overlong() or self._between_words(in_hand_s) or self._rest()

    def _first(self, boundary: re.Pattern[str]) -> int:
        """Where the first such boundary ends, with the space after it; 0 if there is none worth a cut before `longest`."""
        for match in boundary.finditer(self._text, 0, self._cutting.longest):
            end = match.end()
            if len(self._text[:end].strip()) >= self._cutting.shortest and not _ABBREVIATION.search(self._text[:end]):
                return end + len(self._text[end:]) - len(self._text[end:].lstrip())
        return 0

    def _between_words(self, in_hand_s: float) -> int:
        if in_hand_s >= self._cutting.starving_s or len(self._text.split()) <= self._cutting.starving_words:
            return 0
        cut = max((space.end() for space in _SPACE.finditer(self._text)), default=0)
        return cut if len(self._text[:cut].strip()) >= self._cutting.shortest else 0

    def _overlong(self) -> int:
        """Text without a boundary for too long is cut at the last space that fits, or through a word without end."""
        if len(self._text) <= self._cutting.longest:
            return 0
        return self._text.rfind(" ", 1, self._cutting.longest) + 1 or self._cutting.longest

    def _rest(self) -> int:
        return len(self._text) if self.ended else 0
