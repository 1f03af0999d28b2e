"""Sound as it stands in events: base64 of PCM16, or of G.711 at 8 kHz, as samples and back."""

from __future__ import annotations

import base64
import binascii
import io
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import soundfile
from openai.types.realtime.realtime_audio_formats import AudioPCM

from duologue.audio import Audio, Resampler, from_pcm16, to_pcm16
from duologue.protocols.realtime.incoming import RATE
from duologue.protocols.realtime.refusals import Refusal

G711: Final[Mapping[str, str]] = {"audio/pcmu": "ULAW", "audio/pcma": "ALAW"}
"""libsndfile's names."""

G711_RATE = 8_000

RECALL_S = 30.0
"""Of the client's sound kept, to be shown with the item that it became. Longer than what fits into one frame."""


@dataclass(frozen=True, slots=True)
class Format:
    """How one direction's sound is written; `rate` in Hz."""

    type: str
    rate: int

    @classmethod
    def of(cls, given: Mapping[str, Any]) -> Format:
        """From a checked `format` object. Without a type it is PCM, without a rate the service's own."""
        type = given.get("type") or "audio/pcm"
        return cls(type, G711_RATE if type in G711 else given.get("rate") or RATE)

    @property
    def shown(self) -> Any:
        """As part of an event. A rate that the SDK's model does not know gets past its check, for it is what is in force."""
        return self.object if self.rate == RATE or not self.has_rate else AudioPCM.construct(**self.object)

    @property
    def object(self) -> dict[str, Any]:
        return {"type": self.type, "rate": self.rate} if self.has_rate else {"type": self.type}

    @property
    def has_rate(self) -> bool:
        """G.711 has only one."""
        return self.type not in G711

    @property
    def sample_bytes(self) -> int:
        return 2 if self.has_rate else 1

    def ms(self, size: int) -> float:
        """How long so many bytes last."""
        return size * 1000 / (self.rate * self.sample_bytes)

    def size(self, ms: float) -> int:
        """The other way round, in whole samples."""
        return round(ms * self.rate / 1000) * self.sample_bytes

    def decode(self, data: bytes) -> Audio:
        """Whole samples only."""
        if self.has_rate:
            return from_pcm16(data)
        if not data:
            return np.zeros(0, np.float32)
        raw = {"format": "RAW", "subtype": G711[self.type], "samplerate": G711_RATE, "channels": 1}
        samples, _ = soundfile.read(io.BytesIO(data), dtype="float32", **raw)
        return np.asarray(samples, np.float32)

    def encode(self, pcm: bytes) -> bytes:
        """From PCM16 at `rate`."""
        if self.has_rate or not pcm:
            return pcm
        written = io.BytesIO()
        soundfile.write(written, np.frombuffer(pcm, "<i2"), G711_RATE, format="RAW", subtype=G711[self.type])
        return written.getvalue()


class Encoder:
    """A reply's PCM16, block by block, in a format. Resamples only what was made for another: the format has changed since."""

    def __init__(self, format: Format) -> None:
        self._format = format
        self._resampler: Resampler | None = None

    def push(self, pcm: bytes, rate: int) -> bytes:
        if rate == self._format.rate:
            return self._format.encode(pcm)
        self._resampler = self._resampler or Resampler(rate, self._format.rate)
        return self._format.encode(to_pcm16(self._resampler.push(from_pcm16(pcm))))

    def flush(self) -> bytes:
        return b"" if self._resampler is None else self._format.encode(to_pcm16(self._resampler.flush()))


class Appended:
    """The client's sound as it comes, in one format. Positions are ms since its first sample."""

    def __init__(self, format: Format, since_ms: float = 0.0) -> None:
        self.format = format
        self.since_ms = since_ms
        """Where this format's first sample stands in all that the client has sent."""
        self._kept = bytearray()
        self._size = 0
        self._rest = b""

    @property
    def at_ms(self) -> float:
        return self.since_ms + self.format.ms(self._size)

    def push(self, encoded: str) -> Audio:
        """A sample may be cut in two by two appends. Raises `Refusal` (invalid_value)."""
        data = self._rest + from_base64(encoded, "audio")
        whole = len(data) - len(data) % self.format.sample_bytes
        self._rest = data[whole:]
        most = self.format.size(RECALL_S * 1000)
        self._kept += data[max(0, whole - most) : whole]
        self._size += whole
        del self._kept[: max(0, len(self._kept) - most)]
        return self.format.decode(data[:whole])

    def end_piece(self) -> None:
        """What comes next begins with a whole sample: half of one that is left was lost."""
        self._rest = b""

    def clip(self, start_ms: float, end_ms: float) -> bytes:
        """What was sent between two positions, as far as it is kept."""
        first = self._size - len(self._kept)
        start, end = (self.format.size(ms - self.since_ms) - first for ms in (start_ms, end_ms))
        return bytes(self._kept[max(0, start) : max(0, end)])


def from_base64(encoded: str, param: str) -> bytes:
    """Raises `Refusal` (invalid_value)."""
    try:
        return base64.b64decode(encoded, validate=True)
    except (binascii.Error, ValueError):
        raise Refusal("invalid_value", f"Invalid '{param}': expected base64-encoded audio bytes.", param) from None


def to_base64(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")
