"""The words of turns that were answered by ear: the model that heard them writes them down, once nobody waits for its answer.

The history needs them, since earlier sound costs a model hundreds of tokens a turn; and so do people who read along.
"""

from __future__ import annotations

import asyncio
import logging

from duologue.audio import INPUT_RATE, Audio
from duologue.core.events import Turn
from duologue.engines import SpeechModel, Transcript
from duologue.errors import EngineError
from duologue.languages import SURE, name_of
from duologue.part import Part, Shared
from duologue.protocols import Degraded, Understood, user_item

INSTEAD = "The recognizer `polyglot` hears all seven languages; a text model that knows this one has to answer."

log = logging.getLogger(__name__)


class _Sound:
    def __init__(self, turn: Turn, audio: Audio) -> None:
        self.turn = turn
        self.audio = audio


class Understanding(Part):
    """`forget` a turn that is reopened; `begin` a turn's transcript once its reply has begun, or never will."""

    def __init__(self, shared: Shared, model: SpeechModel) -> None:
        super().__init__(shared)
        self._model = model
        self._waiting: dict[int, _Sound] = {}
        self._warned: set[str] = set()
        self._writing: set[_Sound] = set()
        self._one_at_a_time = asyncio.Lock()  # a client that ends turns by hand may have many, and keeps their order
        self._settled = asyncio.Event()
        self._settled.set()

    @property
    def waiting_s(self) -> float:
        """Of sound that is still to be written down."""
        return sum(len(sound.audio) for sound in self._writing) / INPUT_RATE

    def keep(self, turn: Turn, audio: Audio) -> None:
        self._waiting[turn.number] = _Sound(turn, audio)

    def begin(self, turn: int) -> None:
        sound = self._waiting.pop(turn, None)
        if sound is not None:
            self._writing.add(sound)
            self._settled.clear()
            self._work.start(f"understand {turn}", sound, self._write_down, sound)

    def forget(self, turn: int) -> None:
        self._waiting.pop(turn, None)
        self._work.cancel(f"understand {turn}")
        for sound in [sound for sound in self._writing if sound.turn.number == turn]:
            self._over(sound)  # a task that is cancelled before its first step does nothing, not even at its end

    async def settled(self) -> bool:
        """Waits until every turn is written down; True if there was anything to wait for."""
        waits = not self._settled.is_set()
        await self._settled.wait()
        return waits

    async def _write_down(self, sound: _Sound) -> None:
        turn = sound.turn.number
        try:
            async with self._one_at_a_time, asyncio.timeout(self._config.limits.engine_s):
                transcript = await self._model.transcribe(sound.audio)
        except (EngineError, TimeoutError) as error:
            log.warning("the words of turn %s stay unknown: %r", turn, error)
            self._tell(Understood(turn, "", "", f"the words of this turn stay unknown: {error or 'it took too long'}"))
        else:
            self._conversation.fill(user_item(self._name, turn), transcript.text)
            self._tell(Understood(turn, transcript.text, transcript.language))
            self._warn(transcript)
        finally:
            self._over(sound)

    def _over(self, sound: _Sound) -> None:
        self._writing.discard(sound)
        if not self._writing:
            self._settled.set()

    def _warn(self, transcript: Transcript) -> None:
        """Once for each language that the model does not know. It is no turn's failure: that one was answered, somehow."""
        about, language = self._model.about, transcript.language
        doubtful = not about.languages or transcript.language_confidence < SURE
        if doubtful or language in about.languages or language in self._warned:
            return
        self._warned.add(language)
        told = f"{name_of(language)} was heard, which {about.name} does not understand: do not rely on its answers."
        log.warning("%s", told)
        self._tell(Degraded(f"{told} {INSTEAD}"))
