"""Opus, mono, by the libopus that comes inside PyAV's wheel (aiortc needs PyAV), or else the system's.

Not by PyAV itself: FFmpeg's wrapper reaches neither the loss concealment nor the forward error correction of the decoder.
Calls release Python's global lock. The encoder takes 24 kHz, the rate of the replies, and the decoder gives 16 kHz, the rate
of recognition: Opus resamples inside, and RTP counts 48 kHz whatever either side uses.
"""

from __future__ import annotations

import ctypes
import ctypes.util
import importlib.metadata
from functools import cache
from typing import Any

import numpy as np

from duologue.audio import INPUT_RATE, Audio

ENCODER_RATE = 24_000

FRAME_SAMPLES = 480
"""20 ms at `ENCODER_RATE`."""

CLOCK_RATE = 48_000
"""Hz of RTP timestamps of Opus (RFC 7587)."""

BITRATE = 32_000
"""b/s: hybrid mode at 24 kHz, where speech is transparent and error correction still exists (beyond it Opus leaves SILK)."""

EXPECTED_LOSS_PERCENT = 10
"""What the encoder spends its error correction on. Below 5 it leaves most frames without any."""

LONGEST_PACKET_S = 0.12
MAX_PACKET_BYTES = 1_275

APPLICATION_VOIP = 2048
SET_BITRATE, SET_INBAND_FEC, SET_PACKET_LOSS_PERC = 4002, 4012, 4014
SIGNAL_VOICE, SET_SIGNAL = 3001, 4024


class OpusError(Exception):
    """libopus could not use a packet."""


@cache
def library() -> ctypes.CDLL:
    """Raises `ImportError` where there is none."""
    path = _bundled() or ctypes.util.find_library("opus")
    if path is None:
        raise ImportError("libopus was found neither in PyAV's wheel nor in the system", name="opus")
    opus = ctypes.CDLL(path)
    pointer, size, samples = ctypes.c_void_p, ctypes.c_int32, ctypes.c_int
    opus.opus_encoder_create.restype = opus.opus_decoder_create.restype = pointer
    opus.opus_encoder_create.argtypes = [size, ctypes.c_int, ctypes.c_int, pointer]
    opus.opus_decoder_create.argtypes = [size, ctypes.c_int, pointer]
    opus.opus_encoder_ctl.argtypes = [pointer, ctypes.c_int]  # and one more: variadic
    opus.opus_encode_float.argtypes = [pointer, pointer, samples, pointer, size]
    opus.opus_decode_float.argtypes = [pointer, ctypes.c_char_p, size, pointer, samples, ctypes.c_int]
    opus.opus_packet_get_nb_samples.argtypes = [ctypes.c_char_p, size, size]
    opus.opus_encoder_destroy.argtypes = opus.opus_decoder_destroy.argtypes = [pointer]
    opus.opus_encoder_destroy.restype = opus.opus_decoder_destroy.restype = None
    opus.opus_strerror.restype = ctypes.c_char_p
    return opus


def _bundled() -> str | None:
    try:
        files = importlib.metadata.files("av") or []
    except importlib.metadata.PackageNotFoundError:
        return None
    found = [file for file in files if file.name.startswith("libopus")]
    return str(found[0].locate()) if found else None


class Encoder:
    """One stream; 20 ms in, one packet out, with error correction for the packet before it."""

    def __init__(self) -> None:
        self._opus = library()
        self._state = _made(self._opus.opus_encoder_create, ENCODER_RATE, 1, APPLICATION_VOIP)
        for setting, value in (
            (SET_BITRATE, BITRATE),
            (SET_SIGNAL, SIGNAL_VOICE),
            (SET_INBAND_FEC, 1),
            (SET_PACKET_LOSS_PERC, EXPECTED_LOSS_PERCENT),
        ):
            _checked(self._opus.opus_encoder_ctl(self._state, setting, ctypes.c_int32(value)))
        self._packet = ctypes.create_string_buffer(MAX_PACKET_BYTES)

    def encode(self, frame: Audio) -> bytes:
        """`FRAME_SAMPLES` mono samples at `ENCODER_RATE`."""
        frame = np.ascontiguousarray(frame, np.float32)
        size = self._opus.opus_encode_float(self._state, frame.ctypes.data, len(frame), self._packet, MAX_PACKET_BYTES)
        return self._packet.raw[: _checked(size)]

    def __del__(self) -> None:
        if hasattr(self, "_state"):
            self._opus.opus_encoder_destroy(self._state)


class Decoder:
    """One stream, at `INPUT_RATE`. What is lost must be said so in its place: the decoder bridges it from both sides."""

    def __init__(self) -> None:
        self._opus = library()
        self._state = _made(self._opus.opus_decoder_create, INPUT_RATE, 1)

    def decode(self, packet: bytes) -> Audio:
        """Raises `OpusError`."""
        return self._decode(packet, round(LONGEST_PACKET_S * INPUT_RATE), recover=False)

    def recover(self, packet: bytes, samples: int) -> Audio:
        """The last `samples` before a packet: from its error correction, or concealed if it carries none. Then `decode` it."""
        return self._decode(packet, samples, recover=True)

    def conceal(self, samples: int) -> Audio:
        """The voice drawn out, and fading if it goes on; `samples` is a multiple of 2.5 ms."""
        return self._decode(None, samples, recover=False)

    def _decode(self, packet: bytes | None, samples: int, *, recover: bool) -> Audio:
        sound = np.empty(samples, np.float32)
        size = len(packet) if packet is not None else 0
        done = self._opus.opus_decode_float(self._state, packet, size, sound.ctypes.data, samples, int(recover))
        return sound[: _checked(done)]

    def __del__(self) -> None:
        if hasattr(self, "_state"):
            self._opus.opus_decoder_destroy(self._state)


def ticks_of(packet: bytes) -> int:
    """How long a packet sounds, in ticks of `CLOCK_RATE`. Raises `OpusError` if it is none."""
    return _checked(library().opus_packet_get_nb_samples(packet, len(packet), CLOCK_RATE))


def _made(create: Any, *args: int) -> int:
    error = ctypes.c_int()
    state = create(*args, ctypes.byref(error))
    _checked(error.value)
    return int(state)


def _checked(result: int) -> int:
    if result < 0:
        raise OpusError(library().opus_strerror(result).decode())
    return result
