"""The sound of one call, without I/O or clock: what leaves in the next 20 ms, and what the packets that came amount to.

Lives on the media thread (see `rtc_peer.py`); nothing here is shared between threads.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Final, TypeAlias

import numpy as np

from duologue.audio import INPUT_RATE, Audio, Resampler, from_pcm16
from duologue.protocols import (
    Cursor,
    Ducked,
    Fact,
    Interrupted,
    PlaybackStarted,
    PlaybackStopped,
    Reopened,
    ReplyAudio,
    ReplyDone,
    Resumed,
)
from duologue.transports.opus import CLOCK_RATE, ENCODER_RATE, FRAME_SAMPLES, Decoder, OpusError, ticks_of

FRAME_S: Final = FRAME_SAMPLES / ENCODER_RATE

# ── Outgoing ──────────────────────────────────────────────────────────────────────────────────────────────────────

FADE_SAMPLES: Final = ENCODER_RATE // 100
"""10 ms: the shortest end of a voice that is not a click."""

CURSOR_FRAMES: Final = 5
"""The listener's position is told every 100 ms."""

HELD_SAMPLES: Final = 60 * ENCODER_RATE
"""Most sound that waits. A session sends some seconds ahead (`pacing`), so more is a fault: the newest is dropped."""

FALL: Final = np.linspace(1, 0, FADE_SAMPLES, dtype=np.float32)

Happening: TypeAlias = Cursor | PlaybackStarted | PlaybackStopped


@dataclass(slots=True)
class _Reply:
    """Sound of one reply: `left` waits, `played` samples have left."""

    turn: int
    left: deque[Audio] = field(default_factory=deque)
    waiting: int = 0
    played: int = 0
    told: int = 0
    finished: bool = False
    resampler: Resampler | None = None

    @property
    def position(self) -> Cursor:
        return Cursor(self.turn, self.played * 1000 / ENCODER_RATE)

    def push(self, samples: Audio) -> None:
        if len(samples):
            self.left.append(samples)
            self.waiting += len(samples)

    def peek(self, samples: int) -> Audio:
        return np.concatenate([*self.left, np.zeros(samples, np.float32)])[:samples]

    def pull(self, samples: int) -> Audio:
        taken = []
        while samples and self.left:
            block = self.left.popleft()
            if len(block) > samples:
                self.left.appendleft(block[samples:])
            taken.append(block[:samples])
            samples -= len(taken[-1])
        sound = np.concatenate(taken) if taken else np.zeros(0, np.float32)
        self.waiting -= len(sound)
        self.played += len(sound)
        return sound


class Outgoing:
    """Facts in, 20 ms frames out, always: silence where there is nothing to say. Counts what left as heard.

    Replies sound one after the other; one that has run dry before its end lets the next begin.
    """

    def __init__(self) -> None:
        self._replies: dict[int, _Reply] = {}
        self._held: int | None = None
        self._tail: Audio = np.zeros(0, np.float32)  # fades; belongs to no position
        self._rise = False

    def take(self, fact: Fact) -> list[Happening]:
        """What does not concern the sound is passed over."""
        match fact:
            case ReplyAudio():
                self._push(fact)
            case Ducked(turn):
                return self._hold(turn)
            case Resumed(turn) if self._held == turn:
                self._held, self._rise = None, True
            case Interrupted(turn) | Reopened(turn):
                self._cut(turn)
            case ReplyDone(turn) if turn in self._replies:
                self._replies[turn].finished = True
        return []

    def frame(self) -> tuple[Audio, list[Happening]]:
        """The next `FRAME_SAMPLES` at `ENCODER_RATE`, and what comes to pass as they leave."""
        sound = np.zeros(FRAME_SAMPLES, np.float32)
        sound[: len(self._tail)] = self._tail
        at, self._tail = len(self._tail), self._tail[:0]
        happenings: list[Happening] = []
        while at < FRAME_SAMPLES and (reply := self._next()) is not None:
            first = reply.played == 0
            piece = self._risen(reply.pull(FRAME_SAMPLES - at))
            sound[at : at + len(piece)] = piece
            at += len(piece)
            happenings += [PlaybackStarted(reply.turn)] if first and len(piece) else []
            happenings += self._told(reply)
        return sound, happenings

    def _push(self, fact: ReplyAudio) -> None:
        reply = self._replies.setdefault(fact.turn, _Reply(fact.turn))
        if reply.resampler is None:
            reply.resampler = Resampler(fact.rate, ENCODER_RATE)
        if reply.waiting < HELD_SAMPLES:
            reply.push(reply.resampler.push(from_pcm16(fact.pcm)))
        if fact.final:
            reply.push(reply.resampler.flush())
            reply.finished = True

    def _next(self) -> _Reply | None:
        """The first reply that has sound; those that are over are forgotten by the way. None too while one is held."""
        if self._held is not None:
            return None
        return next((reply for reply in self._replies.values() if reply.waiting or reply.finished), None)

    def _told(self, reply: _Reply) -> list[Happening]:
        over = reply.finished and not reply.waiting
        due = reply.played - reply.told >= CURSOR_FRAMES * FRAME_SAMPLES
        told: list[Happening] = [reply.position] if over or due else []
        if due:
            reply.told = reply.played
        if over:
            del self._replies[reply.turn]
            told += [PlaybackStopped(reply.turn)] if reply.played else []
        return told

    def _hold(self, turn: int) -> list[Happening]:
        reply = self._replies.get(turn)
        if reply is None:
            return []
        self._fade(reply)
        self._held = turn
        return [reply.position]

    def _cut(self, turn: int) -> None:
        if (reply := self._replies.get(turn)) is not None:
            self._fade(reply)
            del self._replies[turn]
        if self._held == turn:
            self._held = None

    def _fade(self, reply: _Reply) -> None:
        """Only of the one that is sounding. What fades is not counted as played, and comes again if it is resumed."""
        if reply.played and self._next() is reply:
            self._tail = reply.peek(FADE_SAMPLES) * FALL

    def _risen(self, piece: Audio) -> Audio:
        if not self._rise or not len(piece):
            return piece
        self._rise = False
        rise = np.ones(len(piece), np.float32)
        rise[:FADE_SAMPLES] = FALL[::-1][: len(piece)]
        return piece * rise


# ── Incoming ──────────────────────────────────────────────────────────────────────────────────────────────────────

REORDER_S: Final = 0.1
"""A packet that others overtook is waited for so long at most, and while it is not known how evenly packets come. Jitter of 60 ms
is common. It costs time only when one is lost."""

KNOWN: Final = 25
"""Packets (0.5 s) after which it is."""

STALL_S: Final = 0.2
"""If nothing comes for longer, silence takes its place: a turn must be able to end although the sender fell silent."""

DTX_STALL_S: Final = 0.06
"""The same where the sender said that it saves silence (DTX): there is nothing to wait for."""

DTX_BYTES: Final = 2
"""Opus packets of up to this size carry no sound and announce that none follows (RFC 6716, 2.1.9)."""

CONCEALED: Final = round(0.1 * INPUT_RATE)
"""A voice is drawn out for so long at most, then it is silence: a drawn-out vowel must not hold the turn open."""

LONGEST_GAP: Final = CLOCK_RATE
"""Ticks (1 s). A clock that jumps further was started anew; there is nothing to fill."""

WINDOW: Final = 100
"""Packets (2 s) that may wait, and by how much a sequence number may be late; further off, the stream has begun anew."""

QUIET: Final = 0.003
"""RMS (-50 dBFS) under which a packet may be left out without harm to any word."""

TICKS: Final = CLOCK_RATE // INPUT_RATE
STEP_TICKS: Final = CLOCK_RATE // 50
STEP: Final = STEP_TICKS // TICKS
FINEST_TICKS: Final = CLOCK_RATE // 400
"""2.5 ms, the unit in which Opus conceals."""


@dataclass(frozen=True, slots=True)
class _Packet:
    timestamp: int
    payload: bytes
    arrived_at: float


class _Jitter:
    """How unevenly the last packets came: no packet that is on its way is later than the slowest of them was."""

    def __init__(self) -> None:
        self._delays: deque[float] = deque(maxlen=WINDOW)  # s, from a beginning that is nobody's

    def note(self, timestamp: int, now: float) -> None:
        self._delays.append(now - timestamp / CLOCK_RATE)

    @property
    def patience_s(self) -> float:
        """For a packet that others overtook. A sender's clock that jumps looks like the worst of networks for a while."""
        if len(self._delays) < KNOWN:
            return REORDER_S
        return min(REORDER_S, max(FRAME_S, max(self._delays) - min(self._delays)))


class Incoming:
    """Packets of Opus in, in whatever order; sound at `INPUT_RATE` out, as soon as it is known and without holes.

    Nothing is held back to be safe, as a loudspeaker would need it: recognition does not mind uneven arrival, so a packet in
    order is sound at once, and one that is missing is waited for as long as the jitter says. A lost one is made good by the error
    correction of the packet after it, if it carries any, else by libopus' concealment. Time stays true: silence is put where
    nothing comes. If that sound does come after all it is kept, for words matter more, and as much silence is left out later.
    """

    def __init__(self, decoder: Callable[[], Decoder] = Decoder) -> None:
        self._new_decoder = decoder
        self._decoder = decoder()
        self._source: int | None = None
        self._sequence = 0  # of the packet that comes next
        self._timestamp = 0  # at which it should begin
        self._waiting: dict[int, _Packet] = {}
        self._jitter = _Jitter()
        self._heard_at: float | None = None
        self._dtx = False
        self._concealed = 0  # samples in a row
        self._surplus = 0  # samples given beyond the true time

    def take(self, source: int, sequence: int, timestamp: int, payload: bytes, now: float) -> Audio:
        """One RTP packet; `source` is its SSRC. Gives all sound that is complete with it."""
        if source != self._source or abs(_apart(sequence, self._sequence, 16)) > WINDOW:
            self._restart(source, sequence, timestamp)
        self._jitter.note(timestamp, now)
        if _apart(sequence, self._sequence, 16) >= 0:
            self._waiting.setdefault(sequence, _Packet(timestamp, payload, now))
        return _joined(self._ready(now))

    def wake(self, now: float) -> Audio:
        """To be called every 20 ms: gives what need not be waited for any longer."""
        return _joined([*self._ready(now), *self._stalled(now)])

    def _restart(self, source: int, sequence: int, timestamp: int) -> None:
        if source != self._source:
            self._decoder = self._new_decoder()
        self._source, self._sequence, self._timestamp = source, sequence, timestamp
        self._waiting.clear()
        self._jitter = _Jitter()

    def _ready(self, now: float) -> Iterator[Audio]:
        while self._waiting:
            lost = self._sequence not in self._waiting
            if lost and now - min(packet.arrived_at for packet in self._waiting.values()) < self._jitter.patience_s:
                return
            first = min(self._waiting, key=lambda sequence: _apart(sequence, self._sequence, 16))
            self._sequence = (first + 1) & 0xFFFF
            self._heard_at = now
            yield from self._play(self._waiting.pop(first), lost)

    def _play(self, packet: _Packet, after_loss: bool) -> Iterator[Audio]:
        try:
            ticks = ticks_of(packet.payload)
            yield from self._bridge(packet, ticks, after_loss)
            sound = self._decoder.decode(packet.payload)
        except OpusError:
            return  # its time is bridged with the next
        self._timestamp = (packet.timestamp + ticks) & 0xFFFFFFFF
        self._dtx = len(packet.payload) <= DTX_BYTES
        self._concealed = 0
        if self._surplus >= len(sound) and float(np.sqrt(np.mean(np.square(sound)))) < QUIET:
            self._surplus -= len(sound)
        else:
            yield sound

    def _bridge(self, packet: _Packet, ticks: int, after_loss: bool) -> Iterator[Audio]:
        gap = _apart(packet.timestamp, self._timestamp, 32)
        if abs(gap) > LONGEST_GAP:
            return
        self._surplus += max(0, -gap // TICKS)
        recovered = min(gap, ticks) if after_loss else 0
        yield from self._fill(gap - max(0, recovered))
        if recovered > 0 and recovered % FINEST_TICKS == 0:
            yield self._decoder.recover(packet.payload, recovered // TICKS)

    def _stalled(self, now: float) -> Iterator[Audio]:
        if self._heard_at is None:
            return
        patience_s = DTX_STALL_S if self._dtx else STALL_S
        if now - self._heard_at > patience_s + LONGEST_GAP / CLOCK_RATE:
            self._heard_at = now - patience_s  # it was us who stood still
        while now - self._heard_at >= patience_s + FRAME_S:
            self._heard_at += FRAME_S
            self._timestamp = (self._timestamp + STEP_TICKS) & 0xFFFFFFFF
            yield from self._fill(STEP_TICKS)

    def _fill(self, ticks: int) -> Iterator[Audio]:
        while ticks > 0:
            step = min(ticks, STEP_TICKS)
            ticks -= step
            self._concealed += step // TICKS
            if self._dtx or self._concealed > CONCEALED or step % FINEST_TICKS:
                yield np.zeros(step // TICKS, np.float32)
            else:
                yield self._decoder.conceal(step // TICKS)


def _apart(a: int, b: int, bits: int) -> int:
    """How far `a` is ahead of `b` on a counter that wraps."""
    half = 1 << (bits - 1)
    return ((a - b + half) & ((1 << bits) - 1)) - half


def _joined(pieces: Iterator[Audio] | list[Audio]) -> Audio:
    return np.concatenate([np.zeros(0, np.float32), *pieces])
