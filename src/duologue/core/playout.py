"""The reply's sound on its way to the listener: how much to send now, where the listener is, which words were heard.

Pure bookkeeping over PCM16 bytes. The server sends a bounded lead ahead of the listener, so that a slow network is covered
and an interruption has little to throw away. Where the listener is comes from the client's cursor; a client that sends
none is taken to play from the first block on, in real time, and to fall silent where it runs dry.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass

SAMPLE_BYTES = 2

TICK_S = 0.001
"""Never wake sooner than this: a time that rounds to now would be waited for again and again."""

GAP_S = 0.001
"""Silence that nobody hears, and that the rounding of times brings about."""

STUCK_S = 10.0
"""A client that says the same position for so long, though it is not held, says nothing about its listener: the clock decides
again, or its reply would never end. Far longer than any network stalls a playback that goes on."""

KEPT_S = 30.0
"""Sound that was sent is kept for so long, in case the client comes back without it: one that vanished is noticed after 20 s (two
pings), and has been sent a lead more by then. What it has played only the client knows."""


@dataclass(frozen=True, slots=True)
class Pacing:
    """How sound is handed to the client."""

    lead_s: float = 0.8  # sent ahead of the listener: covers a slow network, little to throw away at an interruption
    block_s: float = 0.06  # one audio message: small enough to leave early, large enough not to drown in headers
    draft_s: float = 4.0  # sound that a draft may prepare before its turn is decided: more would be wasted too often
    ahead_s: float = 12.0  # sound made but not yet heard; the voice waits beyond that, and memory stays bounded


@dataclass(frozen=True, slots=True)
class SpokenWord:
    """`text` with its spaces; fully said at sample `end` of the reply."""

    text: str
    end: int


@dataclass(frozen=True, slots=True)
class Block:
    """What to send now: PCM16 from sample `at` of the reply on, and the words that end within it."""

    pcm: bytes
    at: int
    words: tuple[SpokenWord, ...]


class Playout:
    """One reply's sound, held until `resume`. Positions are samples of the reply."""

    def __init__(self, pacing: Pacing, rate: int) -> None:
        self._pacing = pacing
        self._rate = rate
        self._waiting: deque[bytes] = deque()
        self._kept = bytearray()  # the last that was sent
        self._words: list[SpokenWord] = []
        self._sent_words = 0
        self.made = 0
        self.sent = 0
        self.finished = False
        self.held = True
        self.away = False
        """The client is gone and may come back: nothing leaves, and nobody listens."""
        self.gap_s = 0.0
        self.gaps = 0
        self._dry_s = 0.0  # of the gap that lasts, or of the last one
        self._position = 0.0  # of the listener, at `_at`
        self._at = 0.0
        self._told = (-1.0, 0.0)  # the client's last position in ms, and since when it says it

    # ── Sound comes in ────────────────────────────────────────────────────────────────────────────────────────────

    def push(self, pcm: bytes, words: Iterable[SpokenWord] = ()) -> None:
        """More sound, and the words that it says (their ends counted from the reply's first sample, in order)."""
        self._words += words
        if pcm:
            self._waiting.append(pcm)
        self.made += len(pcm) // SAMPLE_BYTES

    def finish(self) -> None:
        """No more sound will come."""
        self.finished = True

    # ── Sound goes out ────────────────────────────────────────────────────────────────────────────────────────────

    def due(self, now: float) -> list[Block]:
        """What may be sent now. Nothing while held. What there is leaves at once, also as a short block."""
        self._follow(now)
        blocks = []
        while self._flows and self._waiting and self.sent - self._position < self._samples(self._pacing.lead_s):
            blocks.append(self._block())
        return blocks

    def wake_at(self, now: float) -> float | None:
        """When `due` or `done` will next have something new by the clock alone; None while only `push` can change it."""
        if not self._flows:
            return None
        self._follow(now)
        if not self._waiting and not self.finished:
            return None
        lead_s = self._pacing.lead_s if self._waiting else 0.0
        return now + max(TICK_S, (self.sent - self._position) / self._rate - lead_s)

    @property
    def sent_words(self) -> list[SpokenWord]:
        return [word for word in self._words if word.end <= self.sent]

    @property
    def all_sent(self) -> bool:
        """Everything was made and sent."""
        return self.finished and not self._waiting and self._flows

    def done(self, now: float) -> bool:
        """Everything was made, sent and heard."""
        self._follow(now)
        return self.all_sent and self.sent - self._position < 1.0

    def _block(self) -> Block:
        size, parts = self._samples(self._pacing.block_s) * SAMPLE_BYTES, bytearray()
        while self._waiting and len(parts) < size:
            parts += self._waiting.popleft()
        if len(parts) > size:
            self._waiting.appendleft(bytes(parts[size:]))
        pcm, at = bytes(parts[:size]), self.sent
        self.sent += len(pcm) // SAMPLE_BYTES
        self._kept += pcm
        del self._kept[: -self._samples(KEPT_S) * SAMPLE_BYTES]
        return Block(pcm, at, self._words_to(self.sent))

    def _words_to(self, position: int) -> tuple[SpokenWord, ...]:
        first = self._sent_words
        while self._sent_words < len(self._words) and self._words[self._sent_words].end <= position:
            self._sent_words += 1
        return tuple(self._words[first : self._sent_words])

    # ── The listener ──────────────────────────────────────────────────────────────────────────────────────────────

    def hold(self, now: float) -> None:
        """The listener stops here (the client is told to hold its playback)."""
        self._follow(now)
        self.held = True

    def resume(self, now: float) -> None:
        """Sound may leave, from here on; also the release of a draft."""
        self._at, self.held = now, False
        self._told = (self._told[0], now)

    def cursor(self, played_ms: float, now: float) -> None:
        """The client's own word on what it has played, which overrules the clock either way; clamped to what was sent."""
        self._follow(now)
        if played_ms != self._told[0]:
            self._told = (played_ms, now)
        if not self._flows or now - self._told[1] < STUCK_S:
            self._position = min(float(self.sent), max(0.0, played_ms * self._rate / 1000))

    def leave(self, now: float) -> None:
        """The client is gone: the listener stops here, whatever is held or resumed meanwhile, until `rewind`."""
        self._follow(now)
        self.away = True

    def rewind(self, played_ms: float | None, now: float) -> None:
        """The client is back, without what it was sent beyond `played_ms`: that leaves again, as far back as it is kept.

        None: the client cannot say, and is taken to have played what it was believed to have.
        """
        self._follow(now)
        self.away = False
        self._told = (-1.0, now)
        first = self.sent - len(self._kept) // SAMPLE_BYTES
        at = round(self._position if played_ms is None else played_ms * self._rate / 1000)
        at = min(self.sent, max(first, at))
        if lost := bytes(self._kept[(at - first) * SAMPLE_BYTES :]):
            self._waiting.appendleft(lost)
        del self._kept[(at - first) * SAMPLE_BYTES :]
        self.sent, self._position = at, float(at)
        self._sent_words = sum(word.end <= at for word in self._words)

    def heard(self, now: float) -> tuple[str, float]:
        """The words that were played to their end, as one text, and the ms of sound heard."""
        self._follow(now)
        text = "".join(word.text for word in self._words if word.end <= self._position and word.end <= self.sent)
        return text.rstrip(), self._position * 1000 / self._rate

    def in_hand_s(self, now: float) -> float:
        """Seconds of sound made and not yet heard."""
        self._follow(now)
        return (self.made - self._position) / self._rate

    def _follow(self, now: float) -> None:
        """Moves the listener on by the clock; where it runs dry before the end, that is a gap."""
        elapsed, self._at = max(0.0, now - self._at), max(now, self._at)
        if not self._flows or not self.sent:
            return
        position = self._position + elapsed * self._rate
        if position > self.sent and not (self.finished and not self._waiting):
            self._note_gap((position - self.sent) / self._rate)
        self._position = min(position, float(self.sent))

    @property
    def _flows(self) -> bool:
        return not self.held and not self.away

    def _note_gap(self, seconds: float) -> None:
        before_s = 0.0 if self._position < self.sent else self._dry_s
        self._dry_s = before_s + seconds
        self.gaps += before_s <= GAP_S < self._dry_s
        self.gap_s += seconds

    def _samples(self, seconds: float) -> int:
        return round(seconds * self._rate)
