"""The reply's sound: every byte once and in order, a bounded lead, and what the listener heard of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from duologue.core.playout import KEPT_S, STUCK_S, TICK_S, Block, Pacing, Playout, SpokenWord

RATE = 1000  # Hz: one sample is one ms
PACING = Pacing(lead_s=0.8, block_s=0.06, draft_s=4.0, ahead_s=12.0)


def pcm(samples: int, start: int = 0) -> bytes:
    """Samples that say their own position."""
    return b"".join((start + index & 0x7FFF).to_bytes(2, "little") for index in range(samples))


def released(samples: int = 0, *, finished: bool = False, now: float = 0.0) -> Playout:
    playout = Playout(PACING, RATE)
    playout.push(pcm(samples))
    if finished:
        playout.finish()
    playout.resume(now)
    return playout


def sent(blocks: list[Block]) -> int:
    return sum(len(block.pcm) for block in blocks) // 2


def test_a_draft_sends_nothing() -> None:
    playout = Playout(PACING, RATE)
    playout.push(pcm(500))
    assert playout.due(1.0) == []
    assert playout.wake_at(1.0) is None
    assert playout.heard(9.0) == ("", 0.0)


def test_a_bounded_lead_leaves_at_once_and_the_rest_as_it_is_heard() -> None:
    playout = released(3000)
    first = playout.due(0.0)
    assert sent(first) == 840  # 0.8 s, and the block that reaches over it
    assert playout.wake_at(0.0) == pytest.approx(0.04)
    assert playout.due(0.039) == []
    assert sent(playout.due(0.041)) == 60


def test_blocks_say_where_they_are() -> None:
    blocks = released(150, finished=True).due(0.0)
    assert [(block.at, len(block.pcm) // 2) for block in blocks] == [(0, 60), (60, 60), (120, 30)]


def test_a_client_that_repeats_one_position_for_ever_does_not_keep_the_reply_open() -> None:
    playout = released(700, finished=True)
    playout.due(0.0)
    for second in range(round(STUCK_S)):
        playout.cursor(100.0, float(second))
        assert not playout.done(float(second))
    playout.cursor(100.0, STUCK_S)
    assert playout.done(STUCK_S + 0.7)


def test_a_held_reply_waits_at_the_position_that_its_client_repeats() -> None:
    playout = released(700, finished=True)
    playout.due(0.0)
    playout.cursor(100.0, 0.1)
    playout.hold(0.1)
    for second in range(1, 60):
        playout.cursor(100.0, float(second))
    playout.resume(60.0)
    playout.cursor(100.0, 60.0)
    assert playout.heard(60.0) == ("", 100.0)


def test_a_word_is_heard_when_its_end_was_played() -> None:
    playout = Playout(PACING, RATE)
    playout.push(pcm(300), [SpokenWord("one ", 100), SpokenWord("two ", 250)])
    playout.resume(0.0)
    assert [word.text for block in playout.due(0.0) for word in block.words] == ["one ", "two "]
    assert playout.heard(0.099)[0] == ""
    assert playout.heard(0.1)[0] == "one"
    assert playout.heard(0.249)[0] == "one"
    assert playout.heard(0.25)[0] == "one two"


def test_a_word_is_not_heard_before_its_sound_was_sent() -> None:
    playout = Playout(PACING, RATE)
    playout.push(pcm(100), [SpokenWord("late", 200)])
    playout.resume(0.0)
    playout.due(0.0)
    assert playout.heard(5.0) == ("", 100.0)


def test_held_the_listener_stands_still_and_goes_on_from_there() -> None:
    playout = released(3000)
    playout.due(0.0)
    playout.hold(0.3)
    assert playout.heard(5.0)[1] == pytest.approx(300)
    assert playout.due(5.0) == []
    playout.resume(5.0)
    assert playout.heard(5.1)[1] == pytest.approx(400)


def test_the_cursor_overrules_the_clock_and_is_clamped_to_what_was_sent() -> None:
    playout = released(3000)
    playout.due(0.0)
    for told_ms, believed_ms in [(100.0, 100.0), (99_999.0, 840.0), (-5.0, 0.0)]:
        playout.cursor(told_ms, 0.5)
        assert playout.heard(0.5)[1] == pytest.approx(believed_ms)


def test_running_dry_is_one_gap_however_often_one_looks() -> None:
    playout = released(100)
    playout.due(0.0)
    for look in (0.05, 0.1004, 0.15, 0.2, 0.3):  # the first look after the end comes within the tolerance
        playout.in_hand_s(look)
    playout.push(pcm(500))
    assert sent(playout.due(0.3)) == 500
    assert playout.gaps == 1
    assert playout.gap_s == pytest.approx(0.2)
    playout.in_hand_s(0.9)
    assert playout.gaps == 2


def test_falling_silent_at_the_end_is_no_gap() -> None:
    playout = released(100, finished=True)
    playout.due(0.0)
    assert not playout.done(0.09)
    assert playout.done(0.1)
    playout.in_hand_s(9.0)
    assert (playout.gaps, playout.gap_s) == (0, 0.0)


def test_a_held_reply_is_not_done() -> None:
    playout = released(10, finished=True)
    playout.due(0.0)
    playout.hold(0.5)
    assert not playout.done(9.0)
    playout.resume(9.0)
    assert playout.done(9.0)


def test_a_reply_without_sound_is_done_when_it_is_released() -> None:
    playout = Playout(PACING, RATE)
    playout.finish()
    assert not playout.done(0.0)
    playout.resume(0.0)
    assert playout.done(0.0)


@pytest.mark.parametrize(("lead_s", "block_s", "first"), [(0.8, 0.06, 840), (0.2, 0.06, 240), (0.2, 0.1, 200)])
def test_lead_and_block_set_the_pace(lead_s: float, block_s: float, first: int) -> None:
    playout = Playout(Pacing(lead_s=lead_s, block_s=block_s), RATE)
    playout.push(pcm(2000))
    playout.resume(0.0)
    assert sent(playout.due(0.0)) == first


# ── A client that comes and goes ──────────────────────────────────────────────────────────────────────────────────────


def test_while_the_client_is_away_nothing_leaves_and_nobody_listens() -> None:
    playout = released(3000)
    playout.due(0.0)
    playout.leave(0.3)
    playout.hold(0.4)
    playout.resume(0.5)  # what the user said over the reply was nothing: no reason to go on without a listener
    assert playout.due(5.0) == []
    assert playout.wake_at(5.0) is None
    assert not playout.done(5.0)
    assert playout.heard(5.0)[1] == pytest.approx(300)


def test_back_again_it_gets_once_more_what_it_had_not_played() -> None:
    playout = Playout(PACING, RATE)
    playout.push(pcm(3000), [SpokenWord("one ", 100), SpokenWord("two ", 400)])
    playout.resume(0.0)
    playout.due(0.0)
    playout.leave(0.3)
    playout.rewind(250.4, 20.0)
    blocks = playout.due(20.0)
    assert blocks[0].at == 250
    assert b"".join(block.pcm for block in blocks) == pcm(sent(blocks), 250)
    assert [word.text for block in blocks for word in block.words] == ["two "]
    assert playout.heard(20.0) == ("one", 250.0)


def test_who_cannot_say_what_it_played_goes_on_where_it_was_believed_to_be() -> None:
    playout = released(3000)
    playout.due(0.0)
    playout.leave(0.3)
    playout.rewind(None, 20.0)
    assert playout.due(20.0)[0].at == 300


def test_what_a_vanished_client_was_sent_is_sent_again() -> None:
    playout = released(9000, finished=True)
    for half in range(15):
        playout.due(half / 2)
    playout.rewind(500.0, 7.5)
    assert playout.due(7.5)[0].at == 500


def test_what_is_kept_is_bounded() -> None:
    playout = released(int(3 * KEPT_S * RATE))
    playout.cursor(0.0, 0.0)
    for second in range(int(2 * KEPT_S)):
        playout.due(float(second))
    before = playout.sent
    playout.rewind(0.0, 2 * KEPT_S)
    assert playout.due(2 * KEPT_S)[0].at == before - KEPT_S * RATE


def test_a_whole_reply_that_was_not_heard_is_not_done() -> None:
    playout = released(500, finished=True)
    playout.due(0.0)
    playout.leave(0.1)
    playout.rewind(100.0, 9.0)
    assert not playout.done(9.0)
    assert sent(playout.due(9.0)) == 400
    assert playout.done(9.4)


# ── Any order of calls ────────────────────────────────────────────────────────────────────────────────────────────────

STEP = st.one_of(
    st.tuples(st.just("push"), st.integers(0, 700)),
    st.tuples(st.just("hold"), st.just(0)),
    st.tuples(st.just("resume"), st.just(0)),
    st.tuples(st.just("cursor"), st.integers(-50, 3000)),
    st.tuples(st.just("look"), st.just(0)),
    st.tuples(st.just("leave"), st.just(0)),
    st.tuples(st.just("rewind"), st.integers(-50, 3000)),
)
STEPS = st.lists(st.tuples(st.sampled_from([0.0, 0.0005, 0.03, 0.2, 1.5]), STEP), max_size=40)


@dataclass
class Client:
    """Drives a playout as `Reply` does, and checks every block that leaves."""

    playout: Playout = field(default_factory=lambda: Playout(PACING, RATE))
    now: float = 0.0
    pushed: bytes = b""
    received: bytes = b""
    words: list[SpokenWord] = field(default_factory=list)
    got_words: list[SpokenWord] = field(default_factory=list)

    def step(self, wait_s: float, what: str, value: int) -> None:
        self.now += wait_s
        still = self.playout.held or self.playout.away
        held_at = self.playout.heard(self.now)[1] if still else None
        self._do(what, value)
        if held_at is not None and what not in ("cursor", "resume", "rewind"):
            assert self.playout.heard(self.now)[1] == held_at, "moved while it was held"
        self.take()

    def _do(self, what: str, value: int) -> None:
        match what:
            case "push":
                self.push(value)
            case "hold" if not self.playout.held:
                self.playout.hold(self.now)
            case "resume" if self.playout.held:
                self.playout.resume(self.now)
            case "cursor":
                self.playout.cursor(float(value), self.now)
            case "leave":
                self.playout.leave(self.now)
            case "rewind":
                self.rewind(value)

    def rewind(self, played_ms: int) -> None:
        """What this client had not played is gone; nothing that it says it had is sent again."""
        before = len(self.received) // 2
        self.playout.rewind(float(played_ms), self.now)
        at = self.playout.sent
        assert min(before, max(0, played_ms)) <= at <= before
        self.received = self.received[: 2 * at]
        self.got_words = [word for word in self.got_words if word.end <= at]

    def push(self, samples: int) -> None:
        begin = len(self.pushed) // 2
        word = SpokenWord(f"w{begin} ", begin + samples)
        sound = pcm(samples, begin)
        self.playout.push(sound, [word] if samples else [])
        self.pushed += sound
        self.words += [word] if samples else []

    def take(self) -> None:
        position = self.playout.heard(self.now)[1]
        for block in self.playout.due(self.now):
            assert block.pcm, "an empty block"
            assert block.at == len(self.received) // 2, "a block is out of place"
            assert len(block.pcm) <= 2 * PACING.block_s * RATE
            assert block.at - position < PACING.lead_s * RATE, "too far ahead of the listener"
            self.received += block.pcm
            self.got_words += block.words
        self.check()

    def check(self) -> None:
        text, heard_ms = self.playout.heard(self.now)
        assert 0 <= heard_ms <= len(self.received) / 2
        assert text == "".join(word.text for word in self.words if word.end <= heard_ms).rstrip()
        assert all(word.end <= len(self.received) // 2 for word in self.got_words)
        assert self.playout.in_hand_s(self.now) == pytest.approx(len(self.pushed) / 2 / RATE - heard_ms / 1000)

    def finish(self) -> None:
        """As time passes and nothing else happens, the rest leaves and is heard, in no more steps than it has blocks."""
        self.playout.finish()
        if self.playout.away:
            self.rewind(3000)
        if self.playout.held:
            self.playout.resume(self.now)
        blocks = len(self.pushed) // 2 // round(PACING.block_s * RATE) + 60
        for _ in range(blocks):
            self.take()
            if self.playout.done(self.now):
                return
            wake_at = self.playout.wake_at(self.now)
            assert wake_at is not None
            assert wake_at >= self.now + TICK_S * 0.99, "would be woken again and again"
            self.now = wake_at
        raise AssertionError("never done")


@settings(deadline=None, derandomize=True, max_examples=200)
@given(STEPS)
def test_every_byte_leaves_once_and_in_order_whatever_happens(steps: list[tuple[float, tuple[Any, ...]]]) -> None:
    client = Client()
    for wait_s, (what, value) in steps:
        client.step(wait_s, what, value)
    client.finish()
    assert client.received == client.pushed
    assert client.got_words == client.words
    assert client.playout.heard(client.now)[1] == pytest.approx(len(client.pushed) / 2, abs=1.0)
    assert client.playout.made == client.playout.sent == len(client.pushed) // 2
