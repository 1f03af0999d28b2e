"""What one client wants, as it stands: the only state that the parts of a session share, and change only by `Configure`."""

from __future__ import annotations

from dataclasses import dataclass, field

from duologue.config import Conversation
from duologue.core.playout import Pacing
from duologue.engines import Style
from duologue.protocols import TurnTaking, Writing


@dataclass
class Wishes:
    settings: Conversation
    turn_taking: TurnTaking
    pacing: Pacing
    output_rate: int
    """Hz, of the sound that the client gets."""
    writing: Writing = field(default_factory=Writing)
    heard_language: str = "en"
    """The user's, as last recognised."""

    def style_of(self, voice: str | None = None) -> Style:
        """How to speak; `voice` in place of the session's, for one reply."""
        chosen = self.settings
        language = self.heard_language if chosen.language == "auto" else chosen.language
        voice = chosen.voice if voice is None else voice
        return Style(language, voice, chosen.emotion, chosen.intensity, chosen.speed)
