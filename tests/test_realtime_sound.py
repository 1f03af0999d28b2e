"""Sound in the formats of events, and what is kept of it."""

from __future__ import annotations

import base64

import numpy as np
import pytest

from duologue.audio import to_pcm16
from duologue.errors import ClientError
from duologue.protocols.realtime.history import CLIP_BYTES, MOST_BYTES, MOST_ITEMS, Entry, History
from duologue.protocols.realtime.sound import RECALL_S, Appended, Encoder, Format, to_base64

PCM24 = Format("audio/pcm", 24_000)
TONE = (0.5 * np.sin(np.arange(8_000) * 2 * np.pi * 300 / 8_000)).astype(np.float32)


@pytest.mark.parametrize("type", ["audio/pcmu", "audio/pcma"])
def test_g711_survives_a_round_trip_and_has_a_byte_a_sample(type: str) -> None:
    format = Format.of({"type": type})
    data = format.encode(to_pcm16(TONE))
    assert (len(data), format.rate, format.ms(len(data))) == (8_000, 8_000, 1_000.0)
    back = format.decode(data)
    assert back.dtype == np.float32
    noise = np.sqrt(np.mean((back - TONE) ** 2)) / np.sqrt(np.mean(TONE**2))
    assert noise < 0.02  # G.711 keeps about 38 dB
    assert (format.encode(b""), len(format.decode(b""))) == (b"", 0)


def test_g711_is_the_standards_own() -> None:
    silence, loudest = np.zeros(1, "<i2").tobytes(), np.array([32_767], "<i2").tobytes()
    assert Format.of({"type": "audio/pcmu"}).encode(silence + loudest) == b"\xff\x80"
    assert Format.of({"type": "audio/pcma"}).encode(silence + loudest) == b"\xd5\xaa"


def test_a_reply_in_another_format_than_it_was_made_for_joins_exactly() -> None:
    encoder, pcm = Encoder(Format("audio/pcm", 8_000)), to_pcm16(np.repeat(TONE, 3))
    parts = [encoder.push(pcm[at : at + 2_880], 24_000) for at in range(0, len(pcm), 2_880)]
    whole = b"".join([*parts, encoder.flush()])
    assert len(whole) == len(to_pcm16(TONE))
    same = Encoder(PCM24)
    assert (same.push(pcm, 24_000), same.flush()) == (pcm, b"")


def test_what_was_sent_can_be_recalled_by_its_position() -> None:
    appended = Appended(PCM24, since_ms=1_000.0)
    data = np.arange(24_000, dtype="<i2").tobytes()
    for at in range(0, len(data), 1_001):  # odd: samples are cut in two
        appended.push(base64.b64encode(data[at : at + 1_001]).decode())
    assert appended.at_ms == 2_000.0
    assert appended.clip(1_000.0, 1_001.0) == data[:48]
    assert appended.clip(1_500.0, 5_000.0) == data[24_000:]
    assert appended.clip(0.0, 1_000.0) == b""


def test_only_the_recent_past_is_kept() -> None:
    appended = Appended(Format("audio/pcm", 8_000))
    second = to_base64(bytes(16_000))
    for _ in range(int(RECALL_S) + 5):
        appended.push(second)
    assert appended.clip(0.0, 1_000.0) == b""
    assert len(appended.clip(0.0, 1e9)) == RECALL_S * 16_000


def test_what_is_not_base64_is_refused() -> None:
    with pytest.raises(ClientError, match="base64"):
        Appended(PCM24).push("AAA")


# ── The conversation as it was shown ──────────────────────────────────────────────────────────────────────────────────


def test_items_stand_where_they_were_put() -> None:
    history = History()
    for id in "abc":
        history.put(Entry(id, "text"))
    history.put(Entry("d", "text"), "a", last=False)
    history.put(Entry("e", "text"), None, last=False)
    assert [history.before(id) for id in "eadbc"] == [None, "e", "a", "d", "b"]
    history.change("d", shown=False)
    history.remove("b")
    assert history.before("c") == "a"
    assert history.find("b") is None
    history.change("b", shown=False)


def test_a_conversation_of_any_length_has_bounded_memory() -> None:
    history = History()
    clip = bytes(CLIP_BYTES)
    for number in range(MOST_ITEMS + 100):
        history.put(Entry(str(number), "audio", sound=clip if number % 100 == 0 else b"", format=PCM24))
    kept = [entry for n in range(MOST_ITEMS + 100) if (entry := history.find(str(n))) is not None]
    assert len(kept) == MOST_ITEMS
    assert sum(len(entry.sound) for entry in kept) <= MOST_BYTES
    assert kept[-100].sound == clip
    history.put(Entry("long", "audio", sound=bytes(CLIP_BYTES + 1)))
    assert history.find("long") == Entry("long", "audio")


def test_a_clip_is_cut_where_its_item_is() -> None:
    history = History()
    history.put(Entry("a", "audio", sound=bytes(4_800), format=PCM24))
    history.cut("a", 50.0)
    history.cut("nobody", 50.0)
    assert history.find("a") == Entry("a", "audio", sound=bytes(2_400), format=PCM24)
