"""One reply on its way to the client: held while its turn is undecided, then paced, held again, cut, or played to its end.

It takes what `Answer` gives, by plain calls, and tells the client; it starts no task of its own and knows no engine. Until
`release` nothing of it is seen on the wire.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import numpy as np

from duologue import clock
from duologue.audio import Resampler, to_pcm16
from duologue.core.events import Turn
from duologue.core.playout import Block, Pacing, Playout, SpokenWord
from duologue.core.words import WordStream
from duologue.engines import Sound, Text, ToolCall
from duologue.protocols import Ducked, Fact, Interrupted, ReplyAudio, ReplyDone, ReplyWord, Resumed

AUDIBLE = 0.01
"""Amplitude (-40 dBFS) above which a sample counts as heard: under it lies the hiss before a voice's first sound."""


class Reply:
    """The reply to one turn, at the client's `rate` in Hz. `text` is what the user asked; a draft for other words is void."""

    def __init__(self, turn: Turn, text: str, pacing: Pacing, rate: int, tell: Callable[[Fact], None]) -> None:
        self.turn = turn
        self.text = text
        self.playout = Playout(pacing, rate)
        self.speaker = ""
        """The voice that says it, once it is known; if one failed, the one that took over."""
        self.latency_ms: float | None = None
        """Voice to voice, once it is known."""
        self.released_at: float | None = None
        self.onset_s: float | None = None
        """Seconds from the reply's first sample to its first audible one; None while there is none."""
        self._pacing = pacing
        self._rate = rate
        self._tell = tell
        self._changed = asyncio.Event()
        self._words = WordStream()
        self._ready: list[tuple[str, float]] = []  # words and when each was whole; told from the release on
        self._told_words = 0
        self._first_token_at: float | None = None
        self._written: list[str] = []
        self._text_ended = False
        self._resampler: Resampler | None = None
        self._source = (0, 0)  # rate in Hz of the sound that comes in, and how many samples of it have come
        self._source_at = 0  # where in the reply they began
        self._told_blocks = 0
        self._told_last = False

    # ── From the answer ───────────────────────────────────────────────────────────────────────────────────────────

    def give(self, item: Text | Sound | ToolCall) -> None:
        now = clock.now()
        if isinstance(item, Text):
            self._first_token_at = self._first_token_at or now
            self._written.append(item.text)
            self._ready += [(word, now) for word in self._words.push(item.text)]
            self._tell_words()
        elif isinstance(item, Sound):
            self._take(item)
        self._changed.set()

    def end_text(self) -> None:
        """No more words will come: the last one is whole."""
        now = clock.now()
        self._ready += [(word, now) for word in self._words.flush()]
        self._text_ended = True
        self._tell_words()

    def spoken_by(self, speaker: str) -> None:
        self.speaker = speaker

    def complete(self) -> None:
        """The answer has given all it has."""
        if self._resampler is not None:
            self.playout.push(to_pcm16(self._resampler.flush()))
        self.playout.finish()
        self._changed.set()

    @property
    def written(self) -> str:
        """All text so far, heard or not."""
        return "".join(self._written).strip()

    def in_hand_s(self) -> float:
        return self.playout.in_hand_s(clock.now())

    def may_speak(self) -> bool:
        """Whether the voice should go on: it waits while a draft has enough, or the listener is far behind."""
        limit_s = self._pacing.draft_s if self.released_at is None else self._pacing.ahead_s
        return self.in_hand_s() < limit_s

    def _take(self, sound: Sound) -> None:
        if sound.rate != self._source[0]:
            tail = b"" if self._resampler is None else to_pcm16(self._resampler.flush())
            self.playout.push(tail)
            self._resampler = Resampler(sound.rate, self._rate)
            self._source, self._source_at = (sound.rate, 0), self.playout.made
        assert self._resampler is not None
        self._note_onset(sound)
        began, ratio = self._source[1], self._rate / sound.rate
        words = [SpokenWord(word.text, self._source_at + round((began + word.end) * ratio)) for word in sound.words]
        self._source = (sound.rate, began + len(sound.samples))
        self.playout.push(to_pcm16(self._resampler.push(sound.samples)), words)

    def _note_onset(self, sound: Sound) -> None:
        if self.onset_s is None and len(loud := np.flatnonzero(np.abs(sound.samples) >= AUDIBLE)):
            self.onset_s = self._source_at / self._rate + (self._source[1] + int(loud[0])) / sound.rate

    # ── To the client ─────────────────────────────────────────────────────────────────────────────────────────────

    def release(self) -> None:
        """The turn is decided: what was drafted leaves at once."""
        self.released_at = clock.now()
        self.playout.resume(self.released_at)
        self._tell_words()
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
        heard_text, heard_ms = self.playout.heard(clock.now())
        if self.released_at is not None:
            self._tell(Interrupted(self.turn.number, heard_text, heard_ms))
        return heard_text, heard_ms

    async def play(self, audible: Callable[[], None]) -> None:
        """Paces the sound to the client until all of it has been heard. `audible` is called as the first block leaves."""
        while True:
            for block in self.playout.due(clock.now()):
                self._tell_block(block)
                if self._told_blocks == 1:
                    audible()
            self._tell_last_block()
            if self.playout.done(clock.now()):
                return
            await self._wait()

    def done(self) -> None:
        self._tell(ReplyDone(self.turn.number, self.written, self._ms(self.playout.sent), self.speaker))

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

    def _tell_last_block(self) -> None:
        """Empty, and as soon as the sound before it: a client that waits for it must not wait for the listener."""
        if self.playout.all_sent and not self._told_last:
            self._told_last = True
            at_ms = self._ms(self.playout.sent)
            self._tell(ReplyAudio(self.turn.number, self._told_blocks, b"", self._rate, at_ms, (), True))

    def _tell_words(self) -> None:
        if self.released_at is None:
            return
        ready, self._ready = self._ready, []
        for word, made_at in ready:
            self._tell_word(word, made_at, final=False)
        if self._text_ended:
            self._text_ended = False
            self._tell_word("", clock.now(), final=True)

    def _tell_word(self, word: str, made_at: float, *, final: bool) -> None:
        first = self._since_release_ms(self._first_token_at or made_at)
        made = self._since_release_ms(made_at)
        index, self._told_words = self._told_words, self._told_words + 1
        self._tell(ReplyWord(self.turn.number, index, word, final, True, first, made))

    def _since_release_ms(self, at: float) -> float:
        assert self.released_at is not None
        return round(max(0.0, at - self.released_at) * 1000, 1)

    def _ms(self, samples: int) -> float:
        return round(samples * 1000 / self._rate, 1)
