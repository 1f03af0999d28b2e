"""The user's side of a session: each turn's ear, its words, and the opinion whether it is complete.

Turns what the engines say into events; decides nothing. Fills the writer's cache with what is heard so far, since nobody else
knows it as early.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import cast

from duologue import clock
from duologue.audio import FRAME_S, Audio, Frame
from duologue.core.events import Overheard, Scored, Transcribed, Turn, Weighed
from duologue.core.turns import Phase, Turns
from duologue.core.words import is_echo
from duologue.ear import BY_HAND_S, WAITING_S, Ear
from duologue.engines import UNHEARD, Prompt, Transcript, TurnDetector, WordsDetector
from duologue.languages import AUTO, ENOUGH_S, Guess
from duologue.part import Part, Shared
from duologue.protocols import Degraded, Heard
from duologue.work import Cause

log = logging.getLogger(__name__)

SURE = 0.95
"""An opinion that no later one would change: of 135 pauses none was judged otherwise for not asking again."""

LIKELY = 0.85
"""With the words considered: another opinion could make the pause at most 35 ms shorter, and is 50 ms of the core that the
draft's voice wants."""


class Listener(Part):
    """`turns` is read, never told; `speaking` gives the text of the reply that plays, which the microphone may catch; `more_said`
    is called when a turn goes on with new words, `closed` with the words of each turn that was handed over, or why it has none.

    One recogniser's stream is open at a time: what is said after a turn was handed over waits until its words are known.
    """

    def __init__(
        self,
        shared: Shared,
        turns: Turns,
        speaking: Callable[[], str],
        more_said: Callable[[Turn], None],
        closed: Callable[[Turn, str, str], None],
    ) -> None:
        super().__init__(shared)
        self._turns = turns
        self._speaking = speaking
        self._more_said = more_said
        self._closed = closed
        self._recognizer = shared.lineup.hearing()
        self._noticed = ""
        self._ear: Ear | None = None
        self._handed_over: deque[Ear] = deque()  # whose words are still to come, the oldest first
        self._answered: Ear | None = None  # of the turn that is being replied to, in case it is reopened

    def frame(self, frame: Frame) -> None:
        if self._ear is not None:
            with self._work.contained(self._ear):
                self._ear.feed(frame)

    def listen(self, turn: Turn, frames: list[Frame]) -> None:
        longest_s, engine_s = self._config.patience.longest_turn_s, self._config.limits.engine_s
        waiting_s = BY_HAND_S + FRAME_S if self._wishes.by_hand else WAITING_S
        self._ear = ear = Ear(turn, frames, longest_s, engine_s, waiting_s)
        if not self._handed_over:
            self._recognize(ear)
        if self._turns.replying is None:
            self._prefill(ear)

    def typed(self, text: str) -> None:
        """Typed words say what the user's language is, too. Call it before they are a turn."""
        self._wishes.typed(self._lineup.texts.detect(text))

    def go_on(self, turn: Turn) -> None:
        self._work.cancel("score", "weigh")
        if self._ear is not None:
            self._ear.turn = turn

    def transcribe(self, turn: Turn) -> None:
        if self._ear is not None:
            with self._work.contained(self._ear):
                self._ear.pause(turn)

    def score(self, turn: Turn) -> None:
        detector, ear = self._lineup.turn_detector, self._ear
        if detector is not None and ear is not None and self._wishes.turn_taking.judged:  # else silence alone decides
            self._work.start("score", ear, self._ask, detector, ear, turn)

    def audio_of(self, turn: Turn) -> Audio | None:
        """The turn's sound so far, 16 kHz; None if it came as text."""
        return next((ear.audio for ear in self._ears if ear.turn.number == turn.number), None)

    def close(self) -> None:
        """The turn is over; its sound is kept until the next one is, in case that is the same one."""
        self._stop()
        self._answered, self._ear = self._ear, None

    def reopen(self, turn: Turn) -> None:
        if self._ear is not None and self._answered is not None:
            self.listen(turn, [*self._answered.frames, *self._ear.frames])

    def drop(self, turn: Turn) -> None:
        if self._ear is not None and self._ear.turn.number == turn.number:
            self._stop("prefill")
            self._ear = None

    @property
    def _ears(self) -> list[Ear]:
        """Of all turns whose words are still to come."""
        return [*([self._ear] if self._ear is not None else []), *self._handed_over]

    # ── Turns by hand ─────────────────────────────────────────────────────────────────────────────────────────────

    @property
    def waiting_s(self) -> float:
        """Of sound that is still to be recognised."""
        return sum(ear.waiting_s for ear in self._ears)

    def hand_over(self, turn: Turn) -> None:
        """The turn is over before its words are known; the next one may begin at once."""
        ear, self._ear = self._ear, None
        assert ear is not None
        ear.pause(turn)
        self._handed_over.append(ear)
        if ear.lost and ear is self._handed_over[0]:
            self._next()

    def lost(self, cause: Cause, message: str) -> bool:
        """Whether what failed is a turn by hand. It is one all the same, but has no words."""
        by_hand = [*self._handed_over, *([self._ear] if self._wishes.by_hand and self._ear is not None else [])]
        lost = next((ear for ear in by_hand if ear is cause), None)
        if lost is None:
            return False
        log.warning("the words of turn %s stay unknown: %s", lost.turn.number, message)
        lost.lost = message
        if self._handed_over and lost is self._handed_over[0]:
            self._next()
        return True

    async def settled(self) -> bool:
        """Waits until the words are known of all turns that are handed over by now; True if there was anything to wait for."""
        if not self._handed_over:
            return False
        await self._handed_over[-1].over.wait()
        return True

    def _said(self, ear: Ear, text: str) -> None:
        """The words of the oldest turn that was handed over."""
        self._closed(ear.turn, text, "")
        self._over(ear)
        self._next()

    def _next(self) -> None:
        """Those that were lost are over; the next ear has the recogniser."""
        while self._handed_over and (lost := self._handed_over[0]).lost:
            self._closed(lost.turn, "", f"the words of this turn stay unknown: {lost.lost}")
            self._over(lost)
        ear = self._handed_over[0] if self._handed_over else self._ear
        if ear is not None:
            self._recognize(ear)
        else:
            self._work.cancel("ear")

    def _over(self, ear: Ear) -> None:
        self._handed_over.popleft()
        ear.over.set()

    # ── What the recogniser says ──────────────────────────────────────────────────────────────────────────────────

    def _recognize(self, ear: Ear) -> None:
        self._expect()
        self._work.start("ear", ear, ear.run, self._recognizer, partial(self._recognized, ear))

    def _stop(self, *also: str) -> None:
        """Whoever was handed over before keeps the recogniser."""
        self._work.cancel("score", "weigh", *also, *(() if self._handed_over else ("ear",)))

    def _recognized(self, ear: Ear, turn: Turn, transcript: Transcript) -> None:
        text, final = transcript.text.strip(), transcript.final
        if (heard_back := self._speaking()) and is_echo(text, heard_back, final):
            text = ""
        if final:
            self._learn(ear, turn, transcript)
        if ear in self._handed_over:
            if final:
                self._said(ear, text)
        elif final:
            self._happened(Transcribed(turn, text, transcript.confidence))
            self._weigh(turn, text)
            self._went_on(turn, text)
        elif text and turn == self._turns.hearing:
            self._happened(Overheard(turn, text, transcript.confidence))
            self._tell_partial(turn, text)

    def _went_on(self, turn: Turn, text: str) -> None:
        """The words up to a pause that is over: there is nothing to decide, but more to read."""
        if turn != self._turns.hearing and self._turns.phase is Phase.HEARING and self._ear is not None and text:
            self._prefill(self._ear, text)

    def _expect(self) -> None:
        expect = getattr(self._recognizer, "expect", None)
        if expect is not None:
            wishes = self._wishes
            expect(wishes.language, fixed=wishes.settings.language != AUTO, settled=wishes.following.settled)

    def _learn(self, ear: Ear, turn: Turn, transcript: Transcript) -> None:
        """The user's language, unless only the model that answers will know the words."""
        if transcript.notice not in ("", self._noticed):
            self._noticed = transcript.notice
            log.warning("turn %s: %s", turn, transcript.notice)
            self._tell(Degraded(transcript.notice, turn.number))
        if transcript.text.strip() and transcript.text != UNHEARD:
            certain = transcript.language_confidence
            enough = len(ear.frames) * FRAME_S >= ENOUGH_S or certain == 1.0  # who has no doubts is not doubted
            self._wishes.heard(Guess(transcript.language, certain, enough))
            self._expect()

    def _tell_partial(self, turn: Turn, text: str) -> None:
        if self._turns.phase is Phase.HEARING and turn == self._turns.hearing and self._ear is not None:
            self._tell(Heard(turn.number, text, False, self._wishes.heard_language))
            self._more_said(turn)
            self._weigh(turn, text, ahead=True)
            self._prefill(self._ear, text)

    async def _ask(self, detector: TurnDetector, ear: Ear, turn: Turn) -> None:
        """Again and again, ever less often, while the pause may end the turn. With smart-turn, of 22 recorded questions 7 sounded
        unfinished (P < 0.5) at their last sample and 3 of them 0.3 s later; of 51 pauses of 0.3 s or more within turns 8 did not,
        and then 11."""
        patience, window_s = self._turns.patience, getattr(detector, "window_s", math.inf)
        longest_s = self._turns.longest_s
        until = clock.now() + longest_s
        complete, rest_s = 0.0, patience.ask_again_s
        while complete < SURE and self._turns.known.likely(patience) < LIKELY and clock.now() < until:
            try:
                async with asyncio.timeout(longest_s):
                    complete = await detector.complete(ear.last(window_s), ear.text)
            except Exception as error:  # onnxruntime's errors have no base of their own, and a stranger's may be any
                return log.warning("the turn detector failed; silence alone ends turn %s: %r", turn.number, error)
            self._happened(Scored(turn, complete))
            await asyncio.sleep(rest_s)
            rest_s *= 2
        return None

    def _weigh(self, turn: Turn, text: str, *, ahead: bool = False) -> None:
        """By the words alone, where the turn may be over and the detector can do that, and knows the language. `ahead` of the
        pause nobody asks, but the detector will have read most of them by then."""
        detector, ear = self._lineup.turn_detector, self._ear
        if not text or text == UNHEARD or ear is None or turn != self._turns.hearing:
            return
        if self._wishes.turn_taking.judged and self._wishes.heard_language in getattr(detector, "words_languages", ()):
            self._work.start("weigh", ear, self._ask_words, cast(WordsDetector, detector), turn, text, ahead)

    async def _ask_words(self, detector: WordsDetector, turn: Turn, text: str, ahead: bool) -> None:
        try:
            async with asyncio.timeout(self._turns.longest_s):
                complete = await detector.end_of_words(text)
        except Exception as error:
            log.warning("the words of turn %s were not weighed: %r", turn.number, error)
        else:
            if not ahead:
                self._happened(Weighed(turn, complete))

    def _prefill(self, ear: Ear, pending: str = "") -> None:
        if not self._config.engines.prefill:
            return
        writing = self._wishes.writing
        whole = writing.retention is None
        messages = self._conversation.messages(self._wishes.instructions(), pending, whole=whole)
        prompt = Prompt(self._name, messages, writing.tools, writing.tool_choice, retention=writing.retention)
        self._work.start("prefill", ear, self._fill, prompt)

    async def _fill(self, prompt: Prompt) -> None:
        try:
            await self._lineup.writer.prefill(prompt)
        except Exception as error:
            log.warning("prefill failed, the reply will only start later: %r", error)
