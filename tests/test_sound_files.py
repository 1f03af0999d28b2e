"""Sound files: read forward in bounded blocks, and written so that what has left can be played before the end."""

from __future__ import annotations

import io
import struct
import sys
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import soundfile

from duologue.audio import Audio, from_pcm16, resample, to_pcm16
from duologue.errors import ClientError
from duologue.protocols.openai_audio import MEDIA
from duologue.sound_files import BLOCK_S, RATE, Compressed, encoder, open_recording

SUBTYPES = {"WAV": "PCM_16", "FLAC": "PCM_16", "OGG": "OPUS", "MP3": "MPEG_LAYER_III"}


def melody(seconds: float, rate: int = RATE) -> Audio:
    """A tone of which each tenth of a second has its own pitch and level, so that what is lost or doubled is noticed."""
    t = np.arange(round(seconds * rate)) / rate
    tenth = np.floor(t * 10)
    wave = (0.1 + 0.03 * (tenth % 7)) * np.sin(2 * np.pi * (300 + 40 * (tenth % 11)) * t)
    return np.asarray(wave, np.float32)


def file_of(samples: Any, rate: int, container: str, **options: Any) -> io.BytesIO:
    file = io.BytesIO()
    soundfile.write(
        file, samples, rate, format=container, subtype=options.pop("subtype", SUBTYPES[container]), **options
    )
    file.seek(0)
    return file


def read_all(file: io.BytesIO) -> tuple[Audio, int]:
    recording = open_recording(file)
    return np.concatenate(list(recording.blocks())), recording.rate


def refused(file: io.BytesIO, longest_s: float = 60.0) -> str:
    with pytest.raises(ClientError) as error:
        list(open_recording(file, longest_s).blocks())
    return error.value.code


# ── Reading ───────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("container", SUBTYPES)
def test_blocks_join_to_the_whole_file(container: str) -> None:
    file = file_of(melody(7.3), RATE, container)
    whole, _ = soundfile.read(file, dtype="float32")
    file.seek(0)
    recording = open_recording(file)
    blocks = list(recording.blocks())
    assert len(blocks) > 3
    assert max(map(len, blocks)) <= BLOCK_S * RATE
    np.testing.assert_allclose(np.concatenate(blocks), whole, atol=1e-6)
    assert recording.seconds == pytest.approx(7.3, abs=0.1)


def test_an_mp3_with_a_variable_bit_rate_is_not_garbled_where_blocks_join() -> None:
    """Seen with soundfile's own reading in blocks: it seeks after each, and the frame after that is decoded wrongly."""
    voice = np.random.default_rng(1).normal(0, 0.1, 8 * RATE).astype(np.float32) * melody(8) * 5
    file = file_of(voice, RATE, "MP3", bitrate_mode="VARIABLE")
    whole, _ = soundfile.read(file, dtype="float32")
    file.seek(0)
    np.testing.assert_allclose(read_all(file)[0], whole, atol=1e-6)


def test_a_flac_that_does_not_say_how_long_it_is_can_be_read() -> None:
    data = bytearray(file_of(melody(5), RATE, "FLAC").getvalue())
    data[21] &= 0xF0  # STREAMINFO: the low 36 bits of these 5 bytes are the number of samples, 0 is "unknown"
    data[22:26] = bytes(4)
    samples, rate = read_all(io.BytesIO(bytes(data)))
    np.testing.assert_allclose(samples, melody(5), atol=1e-4)
    assert rate == RATE


def test_channels_are_averaged() -> None:
    left, right = melody(1), np.zeros(RATE, np.float32)
    samples, _ = read_all(file_of(np.stack([left, right], axis=1), RATE, "WAV"))
    np.testing.assert_allclose(samples, left / 2, atol=1e-4)


def test_many_channels_make_small_blocks() -> None:
    file = file_of(np.zeros((20_000, 1000), np.int16), 48_000, "WAV")
    assert max(len(block) for block in open_recording(file).blocks()) <= 1_100


@pytest.mark.parametrize("data", [b"", b"RIFF", b"not a sound" * 100, bytes(10_000), b"#EXTM3U\nfile:///etc/passwd\n"])
def test_what_is_no_sound_file_is_refused(data: bytes) -> None:
    assert refused(io.BytesIO(data)) == "unsupported_format"


def test_a_file_without_samples_has_no_blocks() -> None:
    recording = open_recording(file_of(np.zeros(0, np.float32), RATE, "WAV"))
    assert list(recording.blocks()) == []
    assert recording.seconds == 0


@pytest.mark.parametrize("container", SUBTYPES)
def test_a_file_that_breaks_off_gives_what_there_is_or_a_reason(container: str) -> None:
    data = file_of(melody(6), RATE, container).getvalue()
    recording = open_recording(io.BytesIO(data[: len(data) // 2]))
    reasons = []
    try:
        for _ in recording.blocks():
            pass
    except ClientError as error:
        reasons.append(error.code)
    assert reasons in ([], ["unreadable_audio"])
    assert recording.seconds < 5


@pytest.mark.parametrize("rate", [1, 3_999, 192_001])
def test_a_rate_that_no_recording_has_is_refused(rate: int) -> None:
    assert refused(file_of(np.zeros(100, np.float32), rate, "WAV")) == "bad_rate"


def test_a_recording_that_is_too_long_is_refused_when_that_is_known() -> None:
    assert refused(file_of(np.zeros(RATE * 10, np.float32), RATE, "FLAC"), longest_s=5) == "audio_too_long"


def browser_file(container: str, codec: str) -> io.BytesIO:
    """Three seconds as a browser records them."""
    av = pytest.importorskip("av", reason="PyAV is in the extra 'webrtc'")
    file = io.BytesIO()
    with av.open(file, "w", format=container) as target:
        stream = target.add_stream(codec, rate=48_000)
        stream.layout = "mono"
        frame = av.AudioFrame.from_ndarray(resample(melody(3), RATE, 48_000)[None], format="fltp", layout="mono")
        frame.rate = 48_000
        target.mux(stream.encode(frame))
        target.mux(stream.encode(None))
    file.seek(0)
    return file


@pytest.mark.parametrize(("container", "codec"), [("webm", "libopus"), ("mp4", "aac"), ("ipod", "aac")])
def test_what_browsers_and_telephones_record_can_be_read(container: str, codec: str) -> None:
    samples, rate = read_all(browser_file(container, codec))
    assert len(samples) / rate == pytest.approx(3, abs=0.1)
    wanted = resample(melody(3), RATE, 16_000)
    heard = resample(samples, rate, 16_000)
    assert likeness(heard, wanted) > 0.95


@pytest.mark.parametrize("container", ["webm", "mp4"])
def test_a_broken_one_is_refused(container: str) -> None:
    codec = "libopus" if container == "webm" else "aac"
    data = browser_file(container, codec).getvalue()
    assert refused(io.BytesIO(data[:40] + bytes(len(data)))) == "unreadable_audio"


def test_without_pyav_it_is_said_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(ClientError, match="webrtc") as error:
        list(open_recording(io.BytesIO(b"\x1a\x45\xdf\xa3" + bytes(100))).blocks())
    assert error.value.code == "unsupported_format"


# ── Writing ───────────────────────────────────────────────────────────────────────────────────────────────────────


def likeness(one: Audio, other: Audio) -> float:
    """The highest correlation of two clips, whatever delay a codec added, up to 0.1 s at 16 kHz."""
    size = min(len(one), len(other)) - 3200
    best = 0.0
    for shift in range(0, 3200, 2):
        a, b = one[shift : shift + size], other[1600 : 1600 + size]
        best = max(best, float(a @ b / (np.linalg.norm(a) * np.linalg.norm(b) + 1e-9)))
    return best


def pieces(pcm: bytes, seconds: float) -> Iterator[bytes]:
    size = round(seconds * RATE) * 2
    return (pcm[start : start + size] for start in range(0, len(pcm), size))


def written(name: str, samples: Audio, piece_s: float = 0.2) -> list[bytes]:
    """What leaves after each piece, and last what leaves at the end."""
    file = encoder(name)
    return [*(file.write(piece) for piece in pieces(to_pcm16(samples), piece_s)), file.finish()]


def decoded(name: str, data: bytes) -> Audio:
    """With libsndfile as most Python programs use it."""
    if name == "pcm":
        return from_pcm16(data)
    samples, rate = soundfile.read(io.BytesIO(data), dtype="float32")
    assert rate == RATE
    return np.asarray(samples)


@pytest.mark.parametrize("name", MEDIA)
@pytest.mark.parametrize("piece_s", [0.013, 0.2, 10.0])
def test_what_was_written_is_what_is_read(name: str, piece_s: float) -> None:
    sound = melody(3)
    heard = decoded(name, b"".join(written(name, sound, piece_s)))
    assert len(heard) / RATE == pytest.approx(3, abs=0.09)  # an MP3 begins and ends with part of a frame
    assert likeness(resample(heard, RATE, 16_000), resample(sound, RATE, 16_000)) > 0.98


@pytest.mark.parametrize("name", [name for name in MEDIA if name != "flac"])
def test_sound_leaves_while_it_is_made(name: str) -> None:
    parts = written(name, melody(4))
    assert any(parts[:2]), "the first bytes leave within 0.4 s of sound"
    gaps = "".join("x" if part else "." for part in parts)
    assert "...." not in gaps, "and later ones at least as often as every 0.8 s"


@pytest.mark.parametrize("name", ["wav", "mp3", "opus"])
def test_what_has_left_can_be_played_before_the_rest_is_made(name: str) -> None:
    begun = b"".join(written(name, melody(4))[:15])
    heard = np.concatenate(list(open_recording(io.BytesIO(begun)).blocks()))
    assert len(heard) / RATE > 2
    assert likeness(resample(heard, RATE, 16_000), resample(melody(4), RATE, 16_000)) > 0.95


def test_a_header_that_is_written_again_after_it_has_left_does_not_disturb_the_sound() -> None:
    """libsndfile does so for WAV after every write, and for MP3 at the end."""
    pcm = to_pcm16(melody(1))
    file = Compressed("WAV", "PCM_16")
    data = b"".join(file.write(piece) for piece in pieces(pcm, 0.1)) + file.finish()
    assert data[44:] == pcm


def test_a_flac_leaves_whole_and_says_how_long_it_is() -> None:
    *begun, whole = written("flac", melody(2))
    assert not any(begun)
    assert soundfile.info(io.BytesIO(whole)).frames == 2 * RATE
    assert np.array_equal(decoded("flac", whole), from_pcm16(to_pcm16(melody(2))))


def test_the_header_of_a_wav_says_that_its_length_is_not_known() -> None:
    header = encoder("wav").write(b"")
    assert len(header) == 44
    assert struct.unpack("<I", header[4:8]) == struct.unpack("<I", header[40:44]) == (0xFFFFFFFF,)


@pytest.mark.parametrize("name", ["wav", "mp3", "opus", "flac"])
def test_a_voice_that_says_nothing_makes_a_file_all_the_same(name: str) -> None:
    assert len(decoded(name, encoder(name).finish())) < 0.1 * RATE
