"""The binding to libopus: what goes in comes out, and what is lost is made good."""

from __future__ import annotations

import ctypes.util
import importlib.metadata

import numpy as np
import pytest
from phone import tone

from duologue.audio import INPUT_RATE, Audio, resample
from duologue.transports import opus
from duologue.transports.opus import ENCODER_RATE, FRAME_SAMPLES, Decoder, Encoder, OpusError, ticks_of

STEP = INPUT_RATE // 50


def packets(sound: Audio) -> list[bytes]:
    encoder = Encoder()
    return [encoder.encode(frame) for frame in sound.reshape(-1, FRAME_SAMPLES)]


def vowel(seconds: float) -> Audio:
    """A voice that changes all the time, as speech does: nothing of it can be guessed from what went before."""
    t = np.arange(round(seconds * ENCODER_RATE)) / ENCODER_RATE
    pitch = 2 * np.pi * np.cumsum(120 + 60 * np.sin(2 * np.pi * 3 * t)) / ENCODER_RATE
    partials = sum(np.sin(n * pitch) / n for n in range(1, 20))
    return (0.1 * partials * (1.2 + np.sin(2 * np.pi * 5 * t))).astype(np.float32)


def likeness(a: Audio, b: Audio) -> float:
    """1: the same waveform, for any delay up to 10 ms; about 0: nothing to do with each other."""
    best = max(float(np.dot(a[delay:], b[: len(b) - delay])) for delay in range(160))
    return best / float(np.linalg.norm(a) * np.linalg.norm(b))


def test_what_goes_in_comes_out() -> None:
    said = tone(1.0)
    decoder = Decoder()
    heard = np.concatenate([decoder.decode(packet) for packet in packets(said)])
    assert len(heard) == INPUT_RATE
    assert likeness(heard, resample(said, ENCODER_RATE, INPUT_RATE)) > 0.95


def test_a_packet_says_how_long_it_is() -> None:
    assert {ticks_of(packet) for packet in packets(tone(0.2))} == {960}


@pytest.mark.parametrize("garbage", [b"", b"\xff\xff\xff"])
def test_what_is_no_packet_is_said_to_be_none(garbage: bytes) -> None:
    with pytest.raises(OpusError):
        Decoder().decode(garbage) if garbage else ticks_of(garbage)


def decoded(sent: list[bytes], lost: int, *, recover: bool) -> Audio:
    """The frame that was lost, as the listener gets it."""
    decoder = Decoder()
    for packet in sent[:lost]:
        decoder.decode(packet)
    return decoder.recover(sent[lost + 1], STEP) if recover else decoder.conceal(STEP)


def test_error_correction_brings_a_lost_packet_back_and_concealment_only_bridges_it() -> None:
    sent = packets(vowel(1.0))
    decoder = Decoder()
    true = [decoder.decode(packet) for packet in sent]
    likenesses = [
        (likeness(decoded(sent, n, recover=True), true[n]), likeness(decoded(sent, n, recover=False), true[n]))
        for n in range(10, 45)
    ]
    recovered, concealed = np.mean(likenesses, axis=0)
    assert recovered > 0.85
    assert recovered > concealed + 0.1


def test_concealment_fades() -> None:
    decoder = Decoder()
    for packet in packets(tone(0.5)):
        last = decoder.decode(packet)
    drawn_out = [decoder.conceal(STEP) for _ in range(20)]
    loud = [float(np.abs(piece).max()) for piece in drawn_out]
    assert loud[0] > 0.5 * float(np.abs(last).max())
    assert loud[-1] < 0.05 * loud[0]


def test_a_machine_without_libopus_is_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    def gone(name: str) -> None:
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "files", gone)
    monkeypatch.setattr(ctypes.util, "find_library", lambda name: None)
    opus.library.cache_clear()
    try:
        with pytest.raises(ImportError, match="libopus"):
            Encoder()
    finally:
        opus.library.cache_clear()
