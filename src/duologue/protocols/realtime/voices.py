"""Names of voices. OpenAI's are nobody's here: each is another name for the default voice."""

from __future__ import annotations

from collections.abc import Iterable

from duologue.protocols.openai_audio import VOICES
from duologue.protocols.realtime.configuration import voice_of
from duologue.protocols.realtime.refusals import Refusal


class Voices:
    def __init__(self) -> None:
        self.used = False
        """Something was said aloud: from then on the service lets nobody change the voice."""
        self._default = ""
        self._own: frozenset[str] = frozenset()

    def begin(self, default: str, own: Iterable[str]) -> None:
        """The server's default voice, and the names of all that it has."""
        self._default, self._own = default, frozenset(own)

    def resolved(self, name: str) -> str:
        """As a session knows it. A name that nobody has is left for the session to refuse."""
        return self._default if name in VOICES and name not in self._own else name

    def asked_for(self, given: object) -> str | None:
        return None if given is None else self.resolved(voice_of(given))

    def check_change(self, old: str, new: str) -> None:
        """Raises `Refusal` (cannot_update_voice), if the two really differ."""
        if self.used and self.resolved(old) != self.resolved(new):
            text = "Cannot update a conversation's voice if assistant audio is present."
            raise Refusal("cannot_update_voice", text, "session.audio.output.voice")
