"""Sound files as streams: read from front to back in small blocks, written while the sound is still being made.

Blocking, all of it. libsndfile does the work; what it does not read (WebM, MP4) needs PyAV, which is in the extra `webrtc`.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Iterator
from contextlib import suppress
from typing import IO, Any, Protocol

import numpy as np
import soundfile

from duologue.audio import Audio
from duologue.errors import ClientError

# ── Reading ───────────────────────────────────────────────────────────────────────────────────────────────────────

BLOCK_S = 2.0
"""Of sound a block, at most: decoding it takes about 10 ms."""

BLOCK_SAMPLES = 1 << 20
"""Of all channels together: a WAV may claim a thousand channels."""

LOWEST_RATE, HIGHEST_RATE = 4_000, 192_000
"""Hz. A file that claims another rate is broken, or made to cost: a minute at 1 Hz is 16 000 minutes' worth of resampling."""

AV_RATE = 48_000
"""Hz: of what PyAV reads, since WebM carries Opus, and MP4 mostly 44.1 or 48 kHz."""


class Recording:
    """A file's sound, mono float32 at `rate` Hz. `seconds` have been read so far; in the end that is its length."""

    def __init__(self, rate: int, blocks: Iterator[Audio], longest_s: float = float("inf")) -> None:
        if not LOWEST_RATE <= rate <= HIGHEST_RATE:
            raise ClientError("bad_rate", f"sound files may have {LOWEST_RATE} to {HIGHEST_RATE} Hz, not {rate}")
        self.rate = rate
        self.seconds = 0.0
        self._blocks = blocks
        self._longest_s = longest_s

    def blocks(self) -> Iterator[Audio]:
        """Once. Raises `ClientError`: unreadable_audio, audio_too_long."""
        for block in self._blocks:
            self.seconds += len(block) / self.rate
            if self.seconds > self._longest_s:
                raise ClientError("audio_too_long", f"the sound is longer than {self._longest_s:g} s: send it in parts")
            yield block


def open_recording(file: IO[bytes], longest_s: float = float("inf")) -> Recording:
    """Whatever can be read, recognised by its first bytes and not by its name. The file stays its owner's to close.

    Raises `ClientError`: unsupported_format, unreadable_audio, bad_rate.
    """
    head = file.read(12)
    file.seek(0)
    container = _container(head)
    if container:
        return Recording(AV_RATE, _av_blocks(file, container), longest_s)
    try:
        sound = _Forward(file)
    except (soundfile.LibsndfileError, soundfile.SoundFileRuntimeError) as error:
        raise ClientError("unsupported_format", f"not a sound file that can be read here: {error}") from None
    return Recording(sound.samplerate, _blocks(sound), longest_s)


class _Forward(soundfile.SoundFile):  # type: ignore[misc]
    """Never seeks. soundfile seeks after every block, which fails in a FLAC that does not say how long it is (as streamed ones
    do not) and garbles the next frame of an MP3 with a variable bit rate."""

    def seekable(self) -> bool:
        return False


def _blocks(sound: soundfile.SoundFile) -> Iterator[Audio]:
    size = max(1, min(round(sound.samplerate * BLOCK_S), BLOCK_SAMPLES // sound.channels))
    with sound:
        while True:
            try:
                samples = sound.read(size, dtype="float32", always_2d=True)
            except soundfile.LibsndfileError as error:
                raise _unreadable(error) from None
            if not len(samples):
                return
            yield samples.mean(axis=1)


def _container(head: bytes) -> str:
    """FFmpeg's name of a format that only PyAV reads. It is always told which: left to guess, it would also take a playlist,
    and open the files and addresses that stand in it."""
    if head.startswith(b"\x1a\x45\xdf\xa3"):
        return "matroska"
    return "mov" if head[4:8] == b"ftyp" else ""


def _av_blocks(file: IO[bytes], container: str) -> Iterator[Audio]:
    try:
        import av
    except ImportError:
        wanted = "WebM and MP4 sound is read with PyAV, which is not installed here (the extra `webrtc`)"
        raise ClientError("unsupported_format", f"{wanted}: send WAV, FLAC, OGG or MP3") from None
    try:
        with av.open(file, "r", format=container) as source:
            resampler = av.AudioResampler("flt", "mono", AV_RATE)
            for frame in source.decode(audio=0):
                yield from _samples(resampler.resample(frame))
            yield from _samples(resampler.resample(None))
    except (av.FFmpegError, IndexError) as error:  # IndexError: a film without sound
        raise _unreadable(error) from None


def _samples(frames: list[Any]) -> Iterator[Audio]:
    for frame in frames:
        yield frame.to_ndarray()[0]


def _unreadable(error: Exception) -> ClientError:
    return ClientError("unreadable_audio", f"the sound cannot be decoded: {error}")


# ── Writing ───────────────────────────────────────────────────────────────────────────────────────────────────────

RATE = 24_000
"""Hz of everything that is written: what OpenAI's service sends, and what clients of its raw PCM take for granted."""

OPUS_PAGE_MS = 100.0
"""Sound in an Ogg page, which leaves whole. libsndfile's own second would hold the first sound back."""

SILENCE = bytes(RATE // 50 * 2)
"""20 ms, where a voice said nothing: libsndfile would not write so much as a header."""

UNKNOWN_SIZE = 0xFFFFFFFF
"""In a WAV header: the sound lasts as long as the file does."""


class Encoder(Protocol):
    """PCM16 mono at `RATE` in, the file's bytes out, as far as they are settled."""

    def write(self, pcm: bytes) -> bytes: ...

    def finish(self) -> bytes: ...


class Pcm:
    def write(self, pcm: bytes) -> bytes:
        return pcm

    def finish(self) -> bytes:
        return b""


class Wav:
    def __init__(self) -> None:
        layout = (b"WAVE", b"fmt ", 16, 1, 1, RATE, RATE * 2, 2, 16, b"data", UNKNOWN_SIZE)
        self._header = struct.pack("<4sI4s4sIHHIIHH4sI", b"RIFF", UNKNOWN_SIZE, *layout)

    def write(self, pcm: bytes) -> bytes:
        header, self._header = self._header, b""
        return header + pcm

    def finish(self) -> bytes:
        return self.write(b"")


class Compressed:
    """What libsndfile writes. `whole`: nothing leaves before the end, since the header is then written anew."""

    def __init__(self, container: str, subtype: str, *, whole: bool = False, **options: Any) -> None:
        self._whole = whole
        self._begun = False
        self._sink = _Sink()
        self._file = soundfile.SoundFile(self._sink, "w", RATE, 1, format=container, subtype=subtype, **options)
        if container == "OGG":
            _set_page_latency(self._file, OPUS_PAGE_MS)

    def write(self, pcm: bytes) -> bytes:
        self._begun = self._begun or bool(pcm)
        self._file.write(np.frombuffer(pcm, "<i2").astype(np.int16))
        return b"" if self._whole else self._sink.take()

    def finish(self) -> bytes:
        begun = b"" if self._begun else self.write(SILENCE)
        self._file.close()
        return begun + self._sink.take()


class _Sink(io.RawIOBase):
    """A file of which the front has left already: what is written there again comes too late, and is dropped."""

    def __init__(self) -> None:
        self._gone = 0
        self._kept = bytearray()
        self._at = 0

    def take(self) -> bytes:
        data = bytes(self._kept)
        self._gone += len(data)
        self._kept.clear()
        return data

    def write(self, data: Any) -> int:
        late = max(0, self._gone - self._at)
        at = max(0, self._at - self._gone)
        self._kept[at : at + len(data) - late] = data[late:]
        self._at += len(data)
        return len(data)

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        origin = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._gone + len(self._kept)}[whence]
        self._at = origin + offset
        return self._at

    def tell(self) -> int:
        return self._at


def _set_page_latency(file: soundfile.SoundFile, ms: float) -> None:
    """`SFC_SET_OGG_PAGE_LATENCY_MS`, for which soundfile has no name; without it the sound only leaves later."""
    with suppress(AttributeError):
        soundfile._snd.sf_command(file._file, 0x1302, soundfile._ffi.new("double *", ms), 8)


def encoder(name: str) -> Encoder:
    """For mp3, opus (in Ogg), flac, wav or pcm."""
    if name == "opus":
        return Compressed("OGG", "OPUS")
    if name == "mp3":
        # At a constant bit rate (80 kbit/s at this level) a file's length follows from its size; at a variable one it stands in
        # the header, which has left before it is known: libsndfile then reads 4.6 s of 5.6.
        return Compressed("MP3", "MPEG_LAYER_III", bitrate_mode="CONSTANT", compression_level=0.5)
    if name == "flac":
        # soundfile, with which most Python programs read, fails on a FLAC that does not say how long it is.
        return Compressed("FLAC", "PCM_16", whole=True)
    return Wav() if name == "wav" else Pcm()
