"""One reply on its way to the client: held while its turn is undecided, then paced, held again, cut, or played to its end.

It takes what `Answer` gives, by plain calls, and tells the client; it starts no task of its own and knows no engine. Until
`release` nothing of it is seen on the wire.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Sequence

from duologue import clock
from duologue.audio import Audio
from duologue.core.events import Turn
from duologue.core.playout import Block, Pacing, Playout
from duologue.core.words import WordStream
from duologue.engines import ReplyPiece, Sound, Style, Text, ToolCall, ToolCallPart
from duologue.line import Line
from duologue.protocols import (
    Ducked,
    Fact,
    Interrupted,
    ReplyAudio,
    ReplyBegan,
    ReplyCall,
    ReplyCallPart,
    ReplyDone,
    ReplyRequest,
    ReplyVoice,
    ReplyWord,
    ReplyWritten,
    Resumed,
)


class Reply:
    """The reply to one turn, at the client's `rate` in Hz.

    `text` is what the user asked, as `audio` for a model that hears, and `request` what the client asked for; a draft for others
    is void. `saying` is what it says if no model is asked. One that is not `spoken` has no sound. `prepared` is called once, if
    there is something to hear (or to read) while the turn is undecided; `wrote` with each piece of text as the model made it.
    """

    def __init__(
        self,
        turn: Turn,
        text: str,
        pacing: Pacing,
        rate: int,
        tell: Callable[[Fact], None],
        *,
        request: ReplyRequest | None = None,
        spoken: bool = True,
        audio: Audio | None = None,
        saying: str = "",
        prepared: Callable[[], None] = lambda: None,
        wrote: Callable[[str], None] = lambda text: None,
    ) -> None:
        self.turn = turn
        self.text = text
        self.request = request
        self.spoken = spoken
        self.audio = audio
        self.saying = saying
        self.playout = Playout(pacing, rate)
        self.speaker = ""
        """The voice that says it, once it is known; if one failed, the one that took over."""
        self.latency_ms: float | None = None
        """Voice to voice, once it is known."""
        self.released_at: float | None = None
        self.prepared = False
        """There is something to hear, or of one that is not spoken, to read."""
        self._prepared = prepared
        self._wrote = wrote
        self._pacing = pacing
        self._rate = rate
        self._tell = tell
        self._changed = asyncio.Event()
        self._wanted = asyncio.Event()
        self._wanted.set()
        self._words = WordStream()
        self._ready: list[
            tuple[str | ToolCallPart | ToolCall | ReplyVoice, float]
        ] = []  # and since when; told from the release on
        self._told: list[ReplyWord] = []
        self._calls: list[str] = []  # ids, in the order in which they were begun
        self._whole = True
        self._first_token_at: float | None = None
        self._written: list[str] = []
        self._text_ended = False
        self._line = Line(rate)
        self._told_blocks = 0
        self._told_last = False

    # ── From the answer ───────────────────────────────────────────────────────────────────────────────────────────

    def give(self, item: ReplyPiece | Sound) -> None:
        now = clock.now()
        if isinstance(item, Sound):
            self.playout.push(*self._line.push(item))
        else:
            self._first_token_at = self._first_token_at or now
            if isinstance(item, Text):
                self._wrote(item.text)
                self._written.append(item.text)
                self._ready += [(word, now) for word in self._words.push(item.text)]
            else:
                self._ready.append((item, now))
            self._tell_ready()
        self._changed.set()
        self._note_prepared()

    def _note_prepared(self) -> None:
        if not self.prepared and (self.onset_s is not None if self.spoken else bool(self._ready)):
            self.prepared = True
            if self.released_at is None:
                self._wanted.clear()
                self._prepared()

    def end_text(self) -> None:
        """No more words will come: the last one is whole."""
        now = clock.now()
        self._ready += [(word, now) for word in self._words.flush()]
        self._text_ended = True
        self._tell_ready()

    def spoken_by(self, speaker: str, style: Style, passed_over: Sequence[tuple[str, str]], unmet: str) -> None:
        self.speaker = speaker
        fact = ReplyVoice(self.turn.number, speaker, style.language, tuple(passed_over), style.emotion, unmet)
        self._ready.append((fact, clock.now()))
        self._tell_ready()

    def complete(self, *, whole: bool = True) -> None:
        """The answer has given all it has; not `whole`: all that it was allowed."""
        self._whole = whole
        self.playout.push(self._line.flush())
        self.playout.finish()
        self._changed.set()

    @property
    def written(self) -> str:
        """All text so far, heard or not."""
        return "".join(self._written).strip()

    @property
    def onset_s(self) -> float | None:
        """Seconds from the reply's first sample to its first audible one; None while there is none."""
        return self._line.onset_s

    def in_hand_s(self) -> float:
        return self.playout.in_hand_s(clock.now())

    async def wanted(self) -> None:
        """Until there should be more text. A draft that can be heard needs none before it is released: by then the user may have
        said something else, and the core is better spent on hearing it."""
        await self._wanted.wait()

    def may_speak(self) -> bool:
        """Whether the voice should go on: it waits while a draft has enough, or the listener is far behind."""
        limit_s = self._pacing.draft_s if self.released_at is None else self._pacing.ahead_s
        return self.in_hand_s() < limit_s

    def due_at(self) -> float:
        """When the listener will have heard all that was made. A draft has no listener yet: it comes after every reply."""
        return math.inf if self.released_at is None else clock.now() + self.in_hand_s()

    # ── To the client ─────────────────────────────────────────────────────────────────────────────────────────────

    def release(self, *, answers: bool = True) -> None:
        """The turn is decided: what was drafted leaves at once. `answers` False: the user said nothing in it."""
        self.released_at = clock.now()
        name = self.request.name if self.request else ""
        self._tell(ReplyBegan(self.turn.number, name, self.spoken, answers))
        self.playout.resume(self.released_at)
        self._wanted.set()
        self._tell_ready()
        self._changed.set()

    def park(self) -> None:
        """The client is gone, and may be back: its sound waits."""
        self.playout.leave(clock.now())

    def unpark(self, played_ms: float | None) -> None:
        """The client is back: what it has not played (None: it cannot say) is sent again, and all words, for it may have missed
        some."""
        self.playout.rewind(played_ms, clock.now())
        self._told_last = False
        for word in self._told:
            self._tell(word)
        if self.released_at is not None and self.playout.held:
            self._tell(Ducked(self.turn.number))
        self._changed.set()

    def hold(self) -> None:
        self.playout.hold(clock.now())
        self._tell(Ducked(self.turn.number))
        self._changed.set()

    def resume(self) -> None:
        self.playout.resume(clock.now())
        self._tell(Resumed(self.turn.number))
        self._changed.set()

    def cursor(self, played_ms: float) -> None:
        self.playout.cursor(played_ms, clock.now())
        self._changed.set()

    def cut(self) -> tuple[str, float]:
        """Ends it here; gives the words that were heard and the ms of sound. The client throws away the rest."""
        heard_text, heard_ms = self.playout.heard(clock.now()) if self.spoken else (self.written, 0.0)
        if self.released_at is not None:
            self._tell(Interrupted(self.turn.number, heard_text, heard_ms))
        return heard_text, heard_ms

    @property
    def sent_words(self) -> tuple[tuple[str, float], ...]:
        """All whose sound was sent, each with the ms at which it ends."""
        return tuple((word.text, self._ms(word.end)) for word in self.playout.sent_words)

    @property
    def sent_ms(self) -> float:
        return self._ms(self.playout.sent)

    async def play(self, audible: Callable[[], None]) -> None:
        """Paces the sound to the client until all of it has been heard. `audible` is called as the first block leaves."""
        while True:
            for block in self.playout.due(clock.now()):
                self._tell_block(block)
                if self._told_blocks == 1:
                    audible()
            self._tell_written()
            if self.playout.done(clock.now()):
                return
            await self._wait()

    def done(self) -> None:
        self._tell(ReplyDone(self.turn.number, self.written, self.sent_ms, self.speaker, self._whole))

    async def _wait(self) -> None:
        self._changed.clear()
        try:
            async with asyncio.timeout_at(self.playout.wake_at(clock.now())):
                await self._changed.wait()
        except TimeoutError:
            return

    def _tell_block(self, block: Block) -> None:
        words = tuple((word.text, self._ms(word.end)) for word in block.words)
        index, self._told_blocks = self._told_blocks, self._told_blocks + 1
        self._tell(ReplyAudio(self.turn.number, index, block.pcm, self._rate, self._ms(block.at), words, False))

    def _tell_written(self) -> None:
        """An empty block, as soon as the sound before it: a client that waits for it must not wait for the listener."""
        if not self.playout.all_sent or self._told_last:
            return
        self._told_last = True
        if self.spoken:
            self._tell(ReplyAudio(self.turn.number, self._told_blocks, b"", self._rate, self.sent_ms, (), True))
        self._tell(ReplyWritten(self.turn.number, self.written, self._whole))

    def _tell_ready(self) -> None:
        if self.released_at is None:
            return
        ready, self._ready = self._ready, []
        for item, made_at in ready:
            if isinstance(item, str):
                self._tell_word(item, made_at, final=False)
            elif isinstance(item, ReplyVoice):
                self._tell(item)
            else:
                self._tell_call(item)
        if self._text_ended:
            self._text_ended = False
            self._tell_word("", clock.now(), final=True)

    def _tell_word(self, word: str, made_at: float, *, final: bool) -> None:
        first = self._since_release_ms(self._first_token_at or made_at)
        made = self._since_release_ms(made_at)
        self._told.append(ReplyWord(self.turn.number, len(self._told), word, final, self.spoken, first, made))
        self._tell(self._told[-1])

    def _tell_call(self, item: ToolCallPart | ToolCall) -> None:
        if item.id not in self._calls:
            self._calls.append(item.id)
        index = self._calls.index(item.id)
        if isinstance(item, ToolCall):
            self._tell(ReplyCall(self.turn.number, index, item))
        else:
            self._tell(ReplyCallPart(self.turn.number, index, item.id, item.name, item.arguments))

    def _since_release_ms(self, at: float) -> float:
        assert self.released_at is not None
        return round(max(0.0, at - self.released_at) * 1000, 1)

    def _ms(self, samples: int) -> float:
        return round(samples * 1000 / self._rate, 1)
