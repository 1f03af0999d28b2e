"""What one client wants, as it stands: the only state that the parts of a session share, and change only by `Configure`."""

from __future__ import annotations

from dataclasses import dataclass, field

from duologue import languages
from duologue.config import Conversation
from duologue.core.playout import Pacing
from duologue.engines import Style
from duologue.languages import AUTO, Following, Guess
from duologue.protocols import TurnTaking, Writing
from duologue.tone import USUAL, Tone


@dataclass
class Wishes:
    settings: Conversation
    turn_taking: TurnTaking
    pacing: Pacing
    output_rate: int
    """Hz, of the sound that the client gets."""
    writing: Writing = field(default_factory=Writing)
    following: Following = field(default_factory=Following)

    @property
    def heard_language(self) -> str:
        """The user's, as far as is known."""
        return self.following.language

    @property
    def language(self) -> str:
        """Of the replies: the one that the client chose, else the user's."""
        return self.heard_language if self.settings.language == AUTO else self.settings.language

    def heard(self, guess: Guess) -> None:
        """What a spoken turn was in."""
        if self.settings.language_from_speech:
            self.following.hear(guess)

    def typed(self, guess: Guess | None) -> None:
        """What a typed turn was in."""
        if self.settings.language_from_text:
            self.following.hear(guess)

    def instructions(self, given: str | None = None) -> str:
        """The session's, or those `given` for one reply, with the language to answer in if that is not English."""
        wanted = self.settings.instructions if given is None else given
        said = languages.instruction(self.language) if self.settings.language_to_model else ""
        return f"{wanted.rstrip()} {said}".strip() if said else wanted

    @property
    def by_hand(self) -> bool:
        """The client says when a turn ends."""
        return self.turn_taking.manners.by_hand

    def style_of(self, voice: str | None = None, tone: Tone = USUAL) -> Style:
        """How to speak; `voice` in place of the session's, for one reply. A tone that the client chose is kept."""
        chosen = self.settings
        voice = chosen.voice if voice is None else voice
        if chosen.emotion != AUTO:
            return Style(self.language, voice, chosen.emotion, chosen.intensity, chosen.speed)
        return Style(self.language, voice, tone.emotion, min(2.0, tone.intensity * chosen.intensity), chosen.speed)
