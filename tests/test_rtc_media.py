"""The sound of a call: what leaves every 20 ms, and what late, lost and swapped packets amount to."""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from phone import tone

from duologue.audio import INPUT_RATE, Audio, to_pcm16
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
from duologue.transports.opus import ENCODER_RATE, FRAME_SAMPLES, Decoder, Encoder, OpusError
from duologue.transports.rtc_media import FADE_SAMPLES, FRAME_S, REORDER_S, STALL_S, Happening, Incoming, Outgoing

STEP = INPUT_RATE // 50


# ── Outgoing ──────────────────────────────────────────────────────────────────────────────────────────────────────


def ramp(samples: int) -> Audio:
    """Every sample is another one, and exact in PCM16."""
    return ((np.arange(samples) % 32_000 + 1) / 32_768).astype(np.float32)


def blocks(turn: int, sound: Audio, sizes: Iterable[int] = (), rate: int = ENCODER_RATE) -> list[ReplyAudio]:
    told: list[ReplyAudio] = []
    at = 0
    for size in [*sizes, len(sound)]:
        piece = sound[at : at + size]
        told.append(ReplyAudio(turn, len(told), to_pcm16(piece), rate, at * 1000 / rate, (), False))
        at += len(piece)
    return [*told, ReplyAudio(turn, len(told), b"", rate, at * 1000 / rate, (), True)]


@dataclass
class Line:
    """Collects what leaves."""

    outgoing: Outgoing
    sound: Audio
    told: list[Happening]

    def take(self, *facts: Fact) -> None:
        for fact in facts:
            self.told += self.outgoing.take(fact)

    def frames(self, number: int) -> Audio:
        """The next frames, as they leave."""
        begun = len(self.sound)
        for _ in range(number):
            sound, told = self.outgoing.frame()
            assert sound.shape == (FRAME_SAMPLES,)
            self.sound = np.concatenate([self.sound, sound])
            self.told += told
        return self.sound[begun:]


@pytest.fixture
def line() -> Line:
    return Line(Outgoing(), np.zeros(0, np.float32), [])


def test_silence_leaves_where_there_is_nothing_to_say(line: Line) -> None:
    assert not line.frames(3).any()
    assert not line.told


@settings(deadline=None, derandomize=True)
@given(st.lists(st.integers(0, 2_000), max_size=8), st.integers(1, 5_000))
def test_blocks_of_any_size_leave_sample_by_sample(sizes: list[int], length: int) -> None:
    line = Line(Outgoing(), np.zeros(0, np.float32), [])
    said = ramp(length)
    line.take(*blocks(1, said, sizes))
    left = line.frames(length // FRAME_SAMPLES + 2)
    np.testing.assert_array_equal(left[:length], said)
    assert not left[length:].any()
    assert line.told[0] == PlaybackStarted(1)
    assert line.told[-2:] == [Cursor(1, length / 24), PlaybackStopped(1)]


def test_where_the_listener_is_is_told_every_100_ms(line: Line) -> None:
    line.take(*blocks(4, ramp(ENCODER_RATE)))
    line.frames(60)
    positions = [told.played_ms for told in line.told if isinstance(told, Cursor)]
    assert positions == [100.0 * n for n in range(1, 11)]


def test_a_reply_that_runs_dry_is_silent_and_goes_on_where_it_was(line: Line) -> None:
    first, second, last = blocks(1, ramp(1_000), [600])
    line.take(first)
    assert not line.frames(3)[600:].any()
    line.take(second, last)
    np.testing.assert_array_equal(line.frames(1)[:400], ramp(1_000)[600:])
    assert line.told.count(PlaybackStarted(1)) == 1
    assert line.told[-1] == PlaybackStopped(1)


def test_its_end_may_be_known_only_when_all_of_it_has_left(line: Line) -> None:
    block, last = blocks(1, ramp(480))
    line.take(block)
    line.frames(2)
    assert PlaybackStopped(1) not in line.told
    line.take(last)
    line.frames(1)
    assert line.told[-2:] == [Cursor(1, 20.0), PlaybackStopped(1)]


@pytest.mark.parametrize("rate", [8_000, 16_000, 22_050, 48_000])
def test_sound_of_any_rate_keeps_its_length(line: Line, rate: int) -> None:
    line.take(*blocks(1, tone(1.0, rate=rate), [rate // 3, rate // 2], rate=rate))
    line.frames(60)
    assert line.told[-1] == PlaybackStopped(1)
    position = line.told[-2]
    assert isinstance(position, Cursor)
    assert position.played_ms == pytest.approx(1_000, abs=1)
    assert np.abs(line.sound).max() == pytest.approx(0.3, abs=0.02)


def test_a_held_reply_is_silent_within_10_ms_and_goes_on_from_the_same_sample(line: Line) -> None:
    said = ramp(ENCODER_RATE)
    line.take(*blocks(1, said))
    line.frames(10)
    line.take(Ducked(1))
    assert line.told[-1] == Cursor(1, 200.0)
    held = line.frames(10)
    np.testing.assert_allclose(
        held[:FADE_SAMPLES], said[4_800:][:FADE_SAMPLES] * np.linspace(1, 0, FADE_SAMPLES), atol=1e-6
    )
    assert not held[FADE_SAMPLES:].any()
    line.take(Resumed(1))
    went_on = line.frames(2)
    np.testing.assert_array_equal(went_on[FADE_SAMPLES:], said[4_800 : 4_800 + len(went_on)][FADE_SAMPLES:])
    assert went_on[0] == 0
    assert line.told[-1] == Cursor(1, 200.0)  # nothing was counted while it was held


def test_an_interrupted_reply_fades_and_is_forgotten(line: Line) -> None:
    line.take(*blocks(1, np.full(ENCODER_RATE, 0.5, np.float32)))
    line.frames(5)
    line.take(Interrupted(1, "so much", 100.0))
    left = line.frames(5)
    assert left[0] == pytest.approx(0.5)
    assert np.abs(np.diff(left)).max() < 0.01  # no click
    assert not left[FADE_SAMPLES:].any()
    assert PlaybackStopped(1) not in line.told


def test_a_reply_that_is_held_has_nothing_to_fade(line: Line) -> None:
    line.take(*blocks(1, np.full(ENCODER_RATE, 0.5, np.float32)))
    line.frames(5)
    line.take(Ducked(1))
    line.frames(1)
    line.take(Interrupted(1, "", 100.0))
    assert not line.frames(3).any()


def test_one_that_never_sounded_is_cut_without_a_sound(line: Line) -> None:
    line.take(*blocks(1, np.full(ENCODER_RATE, 0.5, np.float32)))
    line.take(Interrupted(1, "", 0.0))
    assert not line.frames(3).any()
    assert not line.told


def test_a_reopened_turns_next_reply_counts_from_its_own_first_sample(line: Line) -> None:
    line.take(*blocks(1, np.full(ENCODER_RATE, 0.5, np.float32)))
    line.frames(5)
    line.take(Reopened(1))
    line.frames(2)
    line.told.clear()
    line.take(*blocks(1, ramp(2_400)))
    np.testing.assert_array_equal(line.frames(6)[:2_400], ramp(2_400))
    assert line.told == [PlaybackStarted(1), Cursor(1, 100.0), PlaybackStopped(1)]


def test_a_reply_without_sound_neither_starts_nor_stops(line: Line) -> None:
    line.take(*blocks(1, ramp(0)), *blocks(2, ramp(480)))
    np.testing.assert_array_equal(line.frames(1), ramp(480))
    assert [told for told in line.told if not isinstance(told, Cursor)] == [PlaybackStarted(2), PlaybackStopped(2)]


def test_two_replies_at_a_time_sound_one_after_the_other(line: Line) -> None:
    one, two = np.full(2_400, 0.25, np.float32), np.full(2_400, 0.5, np.float32)
    (first, last), aside = blocks(1, one), blocks(-1, two)
    line.take(first, *aside, last)
    np.testing.assert_array_equal(line.frames(10), np.concatenate([one, two]))
    assert [told for told in line.told if not isinstance(told, Cursor)] == [
        PlaybackStarted(1),
        PlaybackStopped(1),
        PlaybackStarted(-1),
        PlaybackStopped(-1),
    ]


def test_a_reply_whose_end_nobody_told_does_not_hold_up_the_next(line: Line) -> None:
    line.take(blocks(1, ramp(480))[0])
    line.frames(3)
    line.take(*blocks(2, ramp(480)))
    np.testing.assert_array_equal(line.frames(1), ramp(480))
    line.take(ReplyDone(1, "", 20.0, "scripted"))
    line.frames(1)
    assert line.told[-1] == PlaybackStopped(1)


# ── Incoming ──────────────────────────────────────────────────────────────────────────────────────────────────────

HERTZ = 300.0


@dataclass(frozen=True)
class Sent:
    sequence: int
    timestamp: int
    payload: bytes


def stream(sound: Audio, sequence: int = 0, timestamp: int = 0) -> list[Sent]:
    encoder = Encoder()
    return [
        Sent((sequence + n) & 0xFFFF, (timestamp + 960 * n) & 0xFFFFFFFF, encoder.encode(frame))
        for n, frame in enumerate(sound.reshape(-1, FRAME_SAMPLES))
    ]


@dataclass
class Ear:
    incoming: Incoming
    heard: Audio
    source: int = 7

    def take(self, packet: Sent, now: float) -> int:
        """How much sound came of it."""
        return self._add(self.incoming.take(self.source, packet.sequence, packet.timestamp, packet.payload, now))

    def wake(self, now: float) -> int:
        return self._add(self.incoming.wake(now))

    def listen(self, arrivals: Sequence[tuple[float, Sent]], seconds: float) -> None:
        """Packets at their times, and a wake every 20 ms."""
        waiting = sorted(arrivals, key=lambda arrival: arrival[0])
        for tick in range(round(seconds / FRAME_S)):
            while waiting and waiting[0][0] <= tick * FRAME_S:
                at, packet = waiting.pop(0)
                self.take(packet, at)
            self.wake(tick * FRAME_S)

    def _add(self, sound: Audio) -> int:
        self.heard = np.concatenate([self.heard, sound])
        return len(sound)


@pytest.fixture
def ear() -> Ear:
    return Ear(Incoming(), np.zeros(0, np.float32))


def holes(sound: Audio) -> list[int]:
    """Lengths in ms of the silences within a tone."""
    loud = np.flatnonzero(np.abs(sound) > 0.02)
    gaps = np.diff(loud) * 1000 // INPUT_RATE
    return [int(gap) for gap in gaps if gap > 5]


def test_a_packet_in_order_is_sound_at_once(ear: Ear) -> None:
    for n, packet in enumerate(stream(tone(0.2))):
        assert ear.take(packet, n * FRAME_S) == STEP


def test_swapped_packets_are_put_right(ear: Ear) -> None:
    sent = stream(tone(0.2))
    sent[3], sent[4] = sent[4], sent[3]
    counts = [ear.take(packet, n * FRAME_S) for n, packet in enumerate(sent)]
    assert counts == [STEP, STEP, STEP, 0, 2 * STEP, *[STEP] * 5]
    assert not holes(ear.heard)


def test_doubled_and_very_late_packets_are_passed_over(ear: Ear) -> None:
    sent = stream(tone(0.2))
    for n, packet in enumerate(sent):
        ear.take(packet, n * FRAME_S)
        assert ear.take(packet, n * FRAME_S) == 0
    assert ear.take(sent[0], 1.0) == 0
    assert len(ear.heard) == 10 * STEP


def test_a_lost_packet_is_waited_for_and_then_bridged(ear: Ear) -> None:
    sent = stream(tone(0.6))
    lost = sent.pop(10)
    waits = []
    for packet in sent:
        now = packet.sequence * FRAME_S
        before = len(ear.heard)
        ear.wake(now)
        ear.take(packet, now)
        if len(ear.heard) == before:
            waits.append(now)
    assert waits[-1] - waits[0] < REORDER_S
    assert len(ear.heard) == 30 * STEP
    assert not holes(ear.heard)
    assert ear.take(lost, 1.0) == 0


def waited_s(ear: Ear, jitter_s: float, lost: int) -> float:
    """From the packet that overtook a lost one to its sound, on a road where every other one comes so much later."""
    sent = stream(tone(2.0))
    arrivals = {n: n * FRAME_S + (jitter_s if n % 2 else 0.0) for n in range(len(sent)) if n != lost}
    times = sorted([(at, n) for n, at in arrivals.items()] + [(0.001 + tick * 0.01, -1) for tick in range(210)])
    for now, n in times:
        ear.wake(now) if n < 0 else ear.take(sent[n], now)
        if len(ear.heard) > (lost + 1) * STEP:
            return now - min(at for n, at in arrivals.items() if n > lost)
    raise AssertionError("it never came")


def test_a_lost_packet_is_waited_for_as_long_as_the_jitter_says() -> None:
    def waits(jitter_s: float, lost: int = 60) -> float:
        return waited_s(Ear(Incoming(), np.zeros(0, np.float32)), jitter_s, lost)

    assert waits(0.0) <= 0.03
    assert waits(0.0, lost=5) >= REORDER_S, "it is not known yet"
    assert 0.05 <= waits(0.05) <= 0.07
    assert REORDER_S <= waits(0.3) <= REORDER_S + 0.02


def test_the_packet_after_a_lost_one_corrects_it() -> None:
    calls: list[str] = []

    class Spy(Decoder):
        def recover(self, packet: bytes, samples: int) -> Audio:
            calls.append("recover")
            return super().recover(packet, samples)

        def conceal(self, samples: int) -> Audio:
            calls.append("conceal")
            return super().conceal(samples)

    sent = stream(tone(0.6))
    del sent[10:12]
    ear = Ear(Incoming(Spy), np.zeros(0, np.float32))
    ear.listen([(packet.sequence * FRAME_S, packet) for packet in sent], 0.8)
    assert calls[:2] == ["conceal", "recover"]  # the first of the two is beyond help


@pytest.mark.parametrize("seed", range(20))
def test_jitter_of_60_ms_and_5_percent_loss_leave_no_hole_and_no_false_length(seed: int) -> None:
    chance = random.Random(seed)
    sequence, timestamp = chance.choice([0, 65_500]), chance.choice([7, 2**32 - 48_000])  # both counters wrap
    ear = Ear(Incoming(), np.zeros(0, np.float32))
    said = np.concatenate([tone(2.0), np.zeros(ENCODER_RATE // 2, np.float32)])
    sent = stream(said, sequence, timestamp)
    kept = [sent[0], *(packet for packet in sent[1:-1] if chance.random() >= 0.05), sent[-1]]
    arrivals = [(((packet.sequence - sequence) & 0xFFFF) * FRAME_S + chance.random() * 0.06, packet) for packet in kept]
    arrivals[0] = (0.0, sent[0])
    ear.listen(arrivals, 2.66)
    end = int(np.flatnonzero(np.abs(ear.heard) > 0.02)[-1])
    assert abs(end - 2 * INPUT_RATE) < 3 * STEP
    assert len(ear.heard) == len(sent) * STEP
    assert all(hole <= 60 for hole in holes(ear.heard))


def test_silence_takes_the_place_of_a_sender_that_fell_silent(ear: Ear) -> None:
    ear.listen([(packet.sequence * FRAME_S, packet) for packet in stream(tone(0.5))], 3.0)
    assert len(ear.heard) / INPUT_RATE == pytest.approx(3.0 - STALL_S, abs=0.05)
    assert not ear.heard[round(0.65 * INPUT_RATE) :].any()


def test_words_that_were_held_up_are_kept_and_silence_is_left_out_for_them(ear: Ear) -> None:
    """The network stands still for 0.6 s in the middle of a word, then delivers all of it."""
    sent = stream(np.concatenate([tone(1.0), np.zeros(2 * ENCODER_RATE, np.float32)]))
    arrivals = [
        (packet.sequence * FRAME_S if not 20 <= packet.sequence < 50 else 50 * FRAME_S, packet) for packet in sent
    ]
    ear.listen(arrivals, 3.0)
    loud = np.abs(ear.heard) > 0.05
    assert loud.sum() / INPUT_RATE == pytest.approx(1.0 * np.mean(np.abs(tone(1.0)) > 0.05), abs=0.15)
    assert len(ear.heard) / INPUT_RATE == pytest.approx(3.0, abs=0.03)  # true again


def test_a_sender_that_saves_silence_is_not_waited_for(ear: Ear) -> None:
    """Between pauses its packets come every 400 ms and hold nothing; the clock goes on without them."""
    talk = stream(tone(0.4))
    pause = [Sent(20 + n, (20 + 20 * n) * 960, b"\xf8") for n in range(4)]
    again = [Sent(24 + n, (100 + n) * 960, packet.payload) for n, packet in enumerate(stream(tone(0.4)))]
    ear.listen([(packet.timestamp / 48_000, packet) for packet in [*talk, *pause]], 1.2)
    assert len(ear.heard) / INPUT_RATE == pytest.approx(1.2, abs=0.1)
    ear = Ear(Incoming(), np.zeros(0, np.float32))
    ear.listen([(packet.timestamp / 48_000, packet) for packet in [*talk, *pause, *again]], 2.4 + 0.1)
    begins = np.flatnonzero(np.abs(ear.heard[INPUT_RATE:]) > 0.1)[0] / INPUT_RATE + 1.0
    assert begins == pytest.approx(2.0, abs=0.03)


def test_what_is_no_opus_is_bridged(ear: Ear) -> None:
    sent = stream(tone(0.4))
    sent[5] = Sent(5, 5 * 960, b"\xff\xff\xff")
    sent[9] = Sent(9, 9 * 960, b"")
    ear.listen([(packet.sequence * FRAME_S, packet) for packet in sent], 0.4)
    assert not holes(ear.heard)
    assert len(ear.heard) == 20 * STEP


def test_another_sender_begins_anew() -> None:
    made: list[Decoder] = []

    def decoder() -> Decoder:
        made.append(Decoder())
        return made[-1]

    ear = Ear(Incoming(decoder), np.zeros(0, np.float32))
    for n, packet in enumerate(stream(tone(0.2), 100, 5_000)):
        ear.take(packet, n * FRAME_S)
    ear.source = 8
    assert [ear.take(packet, 0.3) for packet in stream(tone(0.2), 60_000, 9)] == [STEP] * 10
    assert len(made) == 3  # one before anybody was there


@pytest.mark.parametrize("jump", [10 * 48_000, -10 * 48_000, 1 << 31])
def test_a_clock_that_was_set_anew_fills_nothing_and_owes_nothing(ear: Ear, jump: int) -> None:
    talk, pause = stream(tone(0.2), 0, 1_000_000), stream(np.zeros(ENCODER_RATE, np.float32), 10, 1_009_600 + jump)
    assert [ear.take(packet, n * FRAME_S) for n, packet in enumerate([*talk, *pause])] == [STEP] * 60


def test_after_a_standstill_of_our_own_no_silence_is_made_up(ear: Ear) -> None:
    for n, packet in enumerate(stream(tone(0.2))):
        ear.take(packet, n * FRAME_S)
    assert ear.wake(10.0) == 0
    assert ear.wake(10.03) == STEP


def test_with_jitter_alone_nothing_is_concealed() -> None:
    class Honest(Decoder):
        def _decode(self, packet: bytes | None, samples: int, *, recover: bool) -> Audio:
            assert packet is not None
            assert not recover
            return super()._decode(packet, samples, recover=recover)

    chance = random.Random(4)
    sent = stream(tone(3.0))
    ear = Ear(Incoming(Honest), np.zeros(0, np.float32))
    first, *rest = sent
    ear.listen([(0.0, first), *((packet.sequence * FRAME_S + chance.random() * 0.06, packet) for packet in rest)], 3.1)
    assert len(ear.heard) == len(sent) * STEP


def test_garbage_is_never_worse_than_silence(ear: Ear) -> None:
    chance = random.Random(1)
    for n in range(2_000):
        payload = chance.randbytes(chance.randrange(40))
        ear.take(Sent(chance.randrange(1 << 16), chance.randrange(1 << 32), payload), n * 0.005)
    assert np.isfinite(ear.heard).all()
    assert len(ear.heard) < 60 * INPUT_RATE


def test_the_checks_know_a_broken_packet() -> None:
    with pytest.raises(OpusError):
        Decoder().decode(b"\xff\xff\xff")
