"""What the user feels, turn by turn, and the tone of the replies that follows from it.

The sound of a turn is measured while the user speaks, or at the first pause of a short one; with the words the feeling is known
within milliseconds, and the reply, which begins with the words, waits for no more than `feelings.wait_s`. A sound that is
listened to for longer (a larger model may take a second) leaves that reply the words alone. What comes later is for the next
reply. Of a turn that is only a pause nothing is told and nothing remembered.

A feeling that cannot be found out costs its turn nothing: the reply keeps the tone that it would have had.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace

from duologue.audio import Audio
from duologue.core.events import Turn
from duologue.emotion import Considered, EmotionSettings, Heard
from duologue.engines import UNHEARD, Feeling, Message
from duologue.languages import AUTO
from duologue.part import Part, Shared
from duologue.protocols import Felt
from duologue.tone import USUAL, Tone, policy

log = logging.getLogger(__name__)


MOST = 0.6
"""So large a share of a turn's sound tells what all of it would: the voice is measured by its averages."""


class Take:
    """One look at a turn; the cause of its work. `words` are given later than the sound."""

    def __init__(self, turn: Turn, audio: Audio | None) -> None:
        self.turn = turn
        self.audio = audio
        self.words: asyncio.Future[tuple[str, str]] = asyncio.get_running_loop().create_future()
        self.found: asyncio.Future[Considered | None] = asyncio.get_running_loop().create_future()
        self.decided = False
        self.heard = audio is None
        """Its sound has been listened to."""

    def covers(self, turn: Turn, audio: Audio) -> bool:
        """Whether most of this sound is in it, and no words yet."""
        fresh = self.turn.number == turn.number and not self.words.done()
        return fresh and self.audio is not None and len(self.audio) >= MOST * len(audio)

    @property
    def text(self) -> str | None:
        return self.words.result()[0] if self.words.done() else None


class Feelings(Part):
    """One session's. Without a model, or where the client wants none of it, every tone is the usual one, and no turn's sound is
    asked for: `sound_of` puts all of it together."""

    def __init__(self, shared: Shared, sound_of: Callable[[Turn], Audio | None]) -> None:
        super().__init__(shared)
        self._policy = policy(shared.config.feelings.policy)
        self._model = shared.lineup.emotion
        self._feeling: Feeling | None = None
        self._opened_with: EmotionSettings | None = None
        self._sound_of = sound_of
        self._take: Take | None = None
        self._last: tuple[Take, Considered] | None = None  # the last turn that was remembered
        self._tone = USUAL

    # ── A turn, as it comes to be known ───────────────────────────────────────────────────────────────────────────

    def heard(self, turn: Turn) -> None:
        """At a pause or while the user speaks: its sound so far is listened to, unless most of it was already. At the pause,
        where every engine has work at once, there is then nothing to do."""
        if not self._wanted or (audio := self._audio(turn)) is None:
            return
        if (take := self._take) is not None and take.covers(turn, audio):
            take.turn = turn
        else:
            self._begin(turn, audio)

    def worded(self, turn: Turn, text: str) -> None:
        """These are its words. Said again of the same ones it changes nothing. Call it while the turn has its sound."""
        if not self._wanted:
            return
        take = self._take
        if take is None or take.turn != turn or take.text not in (None, text):
            take = self._begin(turn, self._audio(turn))
        self._word(take, text)

    def decided(self, turn: Turn) -> None:
        """The turn is over: what it is found to be is told and remembered, now or as soon as it is known."""
        take = self._take
        if take is not None and take.turn == turn and not take.decided:
            take.decided = True
            take.found.add_done_callback(lambda found: self._settle(take))

    def understood(self, turn: int, text: str) -> None:
        """Words that came after the turn's answer: it is looked at again, with them."""
        if self._last is not None and self._last[0].turn.number == turn and text:
            take, _ = self._last
            self.reopened(take.turn)
            if self._wanted:
                self._word(self._begin(take.turn, take.audio), text)
                self.decided(take.turn)

    def reopened(self, turn: Turn) -> None:
        """It was not over: what was remembered of it is forgotten."""
        if self._last is not None and self._last[0].turn.number == turn.number and self._feeling is not None:
            self._feeling.memory = self._last[1].before
        self._take = self._last = None

    def forget(self) -> None:
        """The conversation was cleared."""
        self._tone, self._last = USUAL, None
        if self._feeling is not None:
            self._feeling.forget_mood()

    # ── What is made of it ────────────────────────────────────────────────────────────────────────────────────────

    async def tone(self, turn: Turn) -> Tone:
        """Of the reply to `turn`, as far as can be known in time; of one to no words, that of the turn before: the
        client may have ended it a moment ago. Where the client chose a tone for itself, nothing is to be answered."""
        if not self._wanted or self._wishes.settings.emotion != AUTO:
            return USUAL
        take = self._take
        if take is None or take.turn != turn:
            if take is not None and take.decided and not take.found.done():
                await self._in_time(take)
            return self._as_wanted(self._tone)
        return self._as_wanted(self._tone_of(await self._in_time(take)))

    async def _in_time(self, take: Take) -> Considered | None:
        """What it is found to be while a reply waits; by its words alone, where its sound takes longer. What fails is told where
        the turn is looked at (`_feel`)."""
        by_words = None
        with suppress(Exception):
            async with asyncio.timeout(self._config.feelings.wait_s):
                text, language = take.words.result() if take.words.done() else (UNHEARD, "")
                if text != UNHEARD and not take.heard and self._feeling is not None:
                    by_words = await self._feeling.consider(text, Heard(), language)
                await asyncio.wait([take.found])  # at once, if it is known
        return take.found.result() if take.found.done() else by_words

    def _tone_of(self, found: Considered | None) -> Tone:
        return self._tone if found is None else self._policy.tone(found.emotion)

    def _as_wanted(self, tone: Tone) -> Tone:
        chosen = self._wishes.settings
        spoken = tone if chosen.feelings_to_voice else USUAL
        return replace(spoken, instruction=tone.instruction if chosen.feelings_to_model else "")

    @property
    def _wanted(self) -> bool:
        return self._model is not None and self._wishes.settings.feelings

    def _audio(self, turn: Turn) -> Audio | None:
        return self._sound_of(turn) if self._wishes.settings.feelings_from_sound else None

    def _begin(self, turn: Turn, audio: Audio | None) -> Take:
        self._open()
        self._take = take = Take(turn, audio)
        self._work.start("feel", take, self._feel, take)
        return take

    def _open(self) -> None:
        """As the client wants it by now. What is known of its voice and its mood is kept."""
        chosen = self._wishes.settings
        wanted = EmotionSettings(chosen.feelings_from_words, chosen.feelings_from_sound, chosen.feelings_carried)
        if wanted != self._opened_with and self._model is not None:
            known, self._feeling, self._opened_with = self._feeling, self._model.open(wanted), wanted
            if known is not None:
                self._feeling.memory = known.memory

    def _word(self, take: Take, text: str) -> None:
        if not take.words.done():
            take.words.set_result((text, self._wishes.heard_language))

    async def _feel(self, take: Take) -> None:
        found = None
        try:
            found = await self._consider(take)
        except Exception as error:  # whatever it is, the turn goes on without
            log.warning("what is felt in turn %s stays unknown: %r", take.turn.number, error)
        finally:
            if not take.found.done():
                take.found.set_result(found)

    async def _consider(self, take: Take) -> Considered:
        assert self._feeling is not None
        heard = Heard() if take.audio is None else await self._feeling.hear(take.audio)
        take.heard = True
        text, language = await take.words
        return await self._feeling.consider(text, heard, language)

    def _settle(self, take: Take) -> None:
        found = take.found.result()
        if found is None or self._feeling is None or take is not self._take:
            return
        self._feeling.memory, self._last, self._tone = found.after, (take, found), self._tone_of(found)
        felt = found.emotion
        self._tell(Felt(take.turn.number, felt.label, felt.intensity, felt.confidence, felt.evidence))


def noted(messages: list[Message], note: str, *, heard: bool) -> list[Message]:
    """With what the model is told for this answer alone. It comes last, behind the user's words or before their sound
    (`heard`): a cache of everything before it stays good. What a function gave is not answered with feelings."""
    if note and heard:
        return [*messages, Message("user", f"({note})")]
    if not note or not messages or messages[-1].role != "user":
        return messages
    return [*messages[:-1], replace(messages[-1], content=f"{messages[-1].content}\n\n({note})")]
