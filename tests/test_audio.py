"""Frames, the tape, resampling, PCM and files."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from duologue.audio import (
    FRAME_S,
    FRAME_SAMPLES,
    Audio,
    Frame,
    Framer,
    Resampler,
    Tape,
    checked_rate,
    from_pcm16,
    read_audio,
    resample,
    to_pcm16,
    write_wav,
)
from duologue.errors import ClientError


def ramp(samples: int) -> Audio:
    return (np.arange(samples) % 1000 / 1000).astype(np.float32)


def tone(samples: int, rate: int) -> Audio:
    return (0.5 * np.sin(2 * np.pi * 440 * np.arange(samples) / rate)).astype(np.float32)


@settings(deadline=None, derandomize=True)
@given(st.lists(st.integers(0, 2000), max_size=20))
def test_frames_are_whole_and_in_order_whatever_the_blocks(sizes: list[int]) -> None:
    samples, framer, frames, at = ramp(sum(sizes)), Framer(16_000), [], 0
    for size in sizes:
        frames += framer.push(samples[at : at + size])
        at += size
    assert [frame.at for frame in frames] == [index * FRAME_SAMPLES for index in range(sum(sizes) // FRAME_SAMPLES)]
    joined = np.concatenate([frame.samples for frame in frames]) if frames else ramp(0)
    assert np.array_equal(joined, samples[: len(joined)])


@pytest.mark.parametrize("rate", [8_000, 24_000, 44_100, 48_000])
def test_any_rate_is_framed_at_16_khz(rate: int) -> None:
    framer = Framer(rate)
    frames = [frame for start in range(0, rate, 480) for frame in framer.push(tone(rate, rate)[start : start + 480])]
    assert 0.9 < len(frames) * FRAME_S <= 1.0


def test_the_tape_is_bounded_and_gives_the_frame_that_holds_a_position() -> None:
    tape = Tape(0.1)
    for index in range(1000):
        tape.push(Frame(ramp(FRAME_SAMPLES), index * FRAME_SAMPLES))
    assert [frame.at // FRAME_SAMPLES for frame in tape.since(0)] == [997, 998, 999]
    assert [frame.at // FRAME_SAMPLES for frame in tape.since(998 * FRAME_SAMPLES + 1)] == [998, 999]
    assert tape.since(1000 * FRAME_SAMPLES) == []


RATES = [(48_000, 16_000), (44_100, 16_000), (24_000, 16_000), (8_000, 16_000), (22_050, 24_000), (16_000, 24_000)]


def sine(hz: float, rate: int) -> Audio:
    return np.sin(2 * np.pi * hz * np.arange(rate // 2) / rate).astype(np.float32)


@pytest.mark.parametrize(("source", "target"), RATES)
def test_a_resampled_stream_is_hardly_held_back(source: int, target: int) -> None:
    resampler, given, got = Resampler(source, target), 0, 0
    for _ in range(50):
        given += source // 50
        got += len(resampler.push(np.zeros(source // 50, np.float32)))
        assert given / source - got / target <= 0.0022
    got += len(resampler.flush())
    assert got == -(-given * target // source)


def test_a_stream_may_come_sample_by_sample() -> None:
    resampler, samples = Resampler(16_000, 8_000), sine(440, 16_000)[:400]
    made = np.concatenate([*(resampler.push(samples[at : at + 1]) for at in range(400)), resampler.flush()])
    whole = Resampler(16_000, 8_000)
    assert np.allclose(made, np.concatenate([whole.push(samples), whole.flush()]), atol=1e-6)


@pytest.mark.parametrize(("source", "target"), RATES)
@pytest.mark.parametrize("hz", [200, 1000, 3300])
def test_what_both_rates_can_carry_is_kept_where_it_was(source: int, target: int, hz: int) -> None:
    resampler = Resampler(source, target)
    made = np.concatenate([resampler.push(sine(hz, source)), resampler.flush()])
    ideal = sine(hz, target)
    assert len(made) == len(ideal)
    assert np.abs(made - ideal)[200:-200].max() < 0.005  # 0.04 dB


@pytest.mark.parametrize("source", [24_000, 44_100, 48_000])
def test_what_the_lower_rate_cannot_carry_does_not_fold_back(source: int) -> None:
    assert np.abs(Resampler(source, 16_000).push(sine(9_000, source))[200:]).max() < 0.002


@pytest.mark.parametrize(("source", "target"), [(16_000, 24_000), (22_050, 24_000), (48_000, 16_000), (24_000, 24_000)])
def test_pieces_resampled_one_by_one_join_as_the_whole(source: int, target: int) -> None:
    samples = tone(source, source)
    whole, pieces = Resampler(source, target), Resampler(source, target)
    expected = np.concatenate([whole.push(samples), whole.flush()])
    got = np.concatenate([pieces.push(samples[at : at + 777]) for at in range(0, source, 777)] + [pieces.flush()])
    assert len(got) == len(expected) == target
    assert np.allclose(got, expected, atol=1e-6)


def test_pcm_there_and_back() -> None:
    samples = np.array([0.0, 0.5, -0.5, 32767 / 32768, -1.0], np.float32)
    assert np.array_equal(from_pcm16(to_pcm16(samples)), samples)


def test_what_is_too_loud_is_clipped_and_does_not_wrap_around() -> None:
    assert to_pcm16(np.array([2.0, -2.0], np.float32)) == b"\xff\x7f\x00\x80"


def test_half_a_sample_is_refused() -> None:
    with pytest.raises(ClientError) as refused:
        from_pcm16(b"\x00\x01\x02")
    assert refused.value.code == "odd_audio"


@pytest.mark.parametrize("rate", [0, 7_999, 96_001, -16_000, 16_000.0, "16000", None, True])
def test_a_rate_that_no_microphone_has_is_refused(rate: object) -> None:
    with pytest.raises(ClientError) as refused:
        checked_rate(rate)
    assert refused.value.code == "bad_rate"


@pytest.mark.parametrize("rate", [8_000, 44_100, 96_000])
def test_a_usual_rate_is_taken(rate: int) -> None:
    assert checked_rate(rate) == rate


def test_a_wav_there_and_back(tmp_path: Path) -> None:
    samples = tone(1000, 16_000)
    write_wav(tmp_path / "a.wav", samples, 16_000)
    back, rate = read_audio(tmp_path / "a.wav")
    assert rate == 16_000
    assert np.allclose(back, samples, atol=1 / 32768)
    assert np.array_equal(read_audio((tmp_path / "a.wav").read_bytes())[0], back)


def test_a_file_without_samples_or_without_sense_is_refused(tmp_path: Path) -> None:
    empty = io.BytesIO()
    write_wav(empty, ramp(0), 16_000)
    for data, code in [
        (empty.getvalue(), "empty_audio"),
        (b"not a sound", "unreadable_audio"),
        (b"", "unreadable_audio"),
    ]:
        with pytest.raises(ClientError) as refused:
            read_audio(data)
        assert refused.value.code == code
    with pytest.raises(ClientError):
        read_audio(tmp_path / "missing.wav")


def test_a_clip_at_its_own_rate_is_left_alone() -> None:
    samples = tone(100, 16_000)
    assert resample(samples, 16_000, 16_000) is samples
    assert len(resample(samples, 16_000, 48_000)) == 300
