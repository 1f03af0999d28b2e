"""Piper: windows that join to the whole, a cache that is never trusted, words found in phonemes."""

from __future__ import annotations

import asyncio
import gc
import json
import sys
import zipfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest

from duologue import config
from duologue.audio import Audio
from duologue.engines import Loading, Sound, Style, piper, piper_graph
from duologue.engines.phonemes import espeak
from duologue.engines.piper import Phonemiser, breathe, without_lead, word_ends
from duologue.engines.piper_graph import HOP, Graph, Prosody, Windowed, load_parts, schedule, split
from duologue.engines.spoken import read
from duologue.errors import ConfigError, EngineError
from duologue.models import open_store
from duologue.places.thread import Lane

PLAIN = Prosody(noise=0.667, length=1.0, noise_w=0.8)
FROZEN = Prosody(noise=0.0, length=1.0, noise_w=0.0)
SENTENCE = "The weather in Paris, I am told, is mild this morning."


@pytest.fixture(scope="module")
def folder() -> Path:
    pytest.importorskip("piper", reason="piper-tts is in the extra 'voices'")
    try:
        return open_store(config.load().models).folder(piper.MODEL)
    except ConfigError as error:
        pytest.skip(error.message)


@pytest.fixture(scope="module")
def lane() -> Iterator[Lane]:
    lane = Lane("piper")
    yield lane
    lane.close()


@pytest.fixture(scope="module")
def speaker(folder: Path, lane: Lane) -> piper.PiperSpeaker:
    return piper.load(Loading(lambda name: folder, lane))


@pytest.fixture(scope="module")
def graph(folder: Path) -> Graph:
    return Graph(folder / "en_US-joe-medium.onnx")


@pytest.fixture(scope="module")
def phonemiser(folder: Path) -> Phonemiser:
    from piper.phoneme_ids import phonemes_to_ids

    facts = json.loads((folder / "en_US-joe-medium.onnx.json").read_text())
    return Phonemiser(espeak(), phonemes_to_ids, "en-us", facts["phoneme_id_map"])


def say(speaker: piper.PiperSpeaker, *pieces: str, style: Style = Style()) -> list[Sound]:  # noqa: B008
    async def text() -> AsyncIterator[str]:
        for piece in pieces:
            yield piece

    async def all_of_it() -> list[Sound]:
        return [sound async for sound in speaker.speak(text(), style)]

    return asyncio.run(all_of_it())


def joined(sounds: list[Sound]) -> Audio:
    return np.concatenate([sound.samples for sound in sounds])


# ── Windows ───────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("frames", [1, 23, 24, 25, 60, 61, 500, 3_000])
def test_windows_cover_every_frame_once_and_grow(frames: int) -> None:
    windows = list(schedule(frames))
    assert [start for start, _ in windows] == [0, *(stop for _, stop in windows[:-1])]
    assert windows[-1][1] >= frames
    sizes = [stop - start for start, stop in windows[:-1]]
    assert sizes == sorted(sizes)
    assert max(sizes, default=0) <= piper_graph.MOST_FRAMES + piper_graph.DECODER_CONTEXT


def test_a_windowed_stage_equals_the_stage_of_the_whole() -> None:
    source = np.random.default_rng(0).standard_normal((1, 300), np.float32)
    kernel = np.ones(9, np.float32)

    def stage(part: Audio) -> Audio:
        return np.convolve(part[0], kernel, mode="same")[None]

    windowed = Windowed(stage, source, context=4)
    for start, stop in [(0, 20), (10, 40), (35, 110), (100, 400)]:
        np.testing.assert_allclose(windowed.window(start, stop), stage(source)[:, start:stop], atol=1e-5)


def test_silence_is_cut_to_what_is_kept_and_only_before_the_first_sound() -> None:
    quiet, loud = np.zeros(100, np.float32), np.full(100, 0.5, np.float32)
    half = np.concatenate([quiet, loud, quiet])
    cut, rest = without_lead(iter([quiet, half, quiet]), keep=30)
    pieces = list(rest)
    assert cut == 170
    assert [len(piece) for piece in pieces] == [230, 100]
    assert without_lead(iter([loud]), keep=30)[0] == 0
    assert list(without_lead(iter([quiet, quiet]), keep=30)[1]) == []


@pytest.mark.models
def test_the_parts_equal_the_graph_they_were_cut_from(folder: Path, graph: Graph, phonemiser: Phonemiser) -> None:
    ids = phonemiser.ids(phonemiser.sentences(SENTENCE)[0])
    whole = onnxruntime.InferenceSession(str(folder / "en_US-joe-medium.onnx"), providers=["CPUExecutionProvider"])
    scales = np.array([FROZEN.noise, FROZEN.length, FROZEN.noise_w], np.float32)
    lengths = np.array([len(ids)], np.int64)
    (expected,) = whole.run(None, {"input": np.array([ids]), "input_lengths": lengths, "scales": scales})
    durations, prior = graph.plan(ids, FROZEN, np.random.default_rng(0))
    sound = np.concatenate(list(graph.samples(prior)))
    assert len(sound) == durations.sum() * HOP == expected.size
    assert np.abs(sound - expected.reshape(-1)).max() < 1e-3


@pytest.mark.models
def test_joined_windows_equal_one_pass_also_with_noise(graph: Graph, phonemiser: Phonemiser) -> None:
    ids = phonemiser.ids(phonemiser.sentences(SENTENCE)[0])
    _, prior = graph.plan(ids, PLAIN, np.random.default_rng(7))
    windows = list(graph.samples(prior))
    whole = graph._decode(graph._flow_window(prior))
    assert len(windows) > 3
    assert len(windows[0]) == piper_graph.FIRST_FRAMES * HOP
    assert np.abs(np.concatenate(windows) - whole).max() < 1e-5  # far under half a step of PCM16: no click at a join


# ── The cache ─────────────────────────────────────────────────────────────────────────────────────────────────────


class Cutting:
    """Stands in for the seconds of cutting; counts how often it was needed."""

    def __init__(self) -> None:
        self.times = 0

    def __call__(self, model: Path) -> dict[str, bytes]:
        self.times += 1
        return {name: f"{name} of ".encode() + model.read_bytes() for name in ("text", "flow", "decoder")}


@pytest.fixture
def cutting(monkeypatch: pytest.MonkeyPatch) -> Cutting:
    cutting = Cutting()
    monkeypatch.setattr(piper_graph, "split", cutting)
    monkeypatch.setattr(piper_graph, "_optimised", lambda part: part)
    return cutting


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "voice.onnx"
    path.write_bytes(b"weights")
    return path


def cache(model: Path) -> Path:
    (found,) = (path for path in model.parent.iterdir() if path != model)
    return found


def test_a_model_is_cut_once(model: Path, cutting: Cutting) -> None:
    assert load_parts(model) == load_parts(model)
    assert load_parts(model)["flow"] == b"flow of weights"
    assert cutting.times == 1


@pytest.mark.parametrize("damage", [0, 40, -1])
def test_a_damaged_cache_is_made_anew(model: Path, cutting: Cutting, damage: int) -> None:
    sound = load_parts(model)
    data = bytearray(cache(model).read_bytes())
    data[damage] ^= 0x10
    cache(model).write_bytes(data if damage >= 0 else data[: len(data) // 2])
    assert load_parts(model) == sound
    assert load_parts(model) == sound
    assert cutting.times == 2


def test_the_cache_of_another_model_is_not_used_and_not_kept(model: Path, cutting: Cutting) -> None:
    load_parts(model)
    model.write_bytes(b"new weights")
    assert load_parts(model)["text"] == b"text of new weights"
    cache(model)  # there is just one


def test_a_folder_that_cannot_be_written_to_costs_time_and_nothing_else(
    model: Path, cutting: Cutting, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise PermissionError

    monkeypatch.setattr(piper_graph, "_write", refuse)
    assert load_parts(model) == load_parts(model)
    assert cutting.times == 2


def test_a_disk_that_fills_up_leaves_nothing_half_done(
    model: Path, cutting: Cutting, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fill(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(zipfile.ZipFile, "writestr", fill)
    load_parts(model)
    assert list(model.parent.iterdir()) == [model]


def test_another_kind_of_model_is_refused(tmp_path: Path) -> None:
    onnx = pytest.importorskip("onnx", reason="onnx is in the extra 'voices'")
    value = onnx.helper.make_tensor_value_info("input", onnx.TensorProto.FLOAT, [1])
    graph = onnx.helper.make_graph([], "other", [value], [value])
    path = tmp_path / "other.onnx"
    onnx.save(onnx.helper.make_model(graph), str(path))
    with pytest.raises(ConfigError) as caught:
        split(path)
    assert caught.value.code == "model_unsupported"


# ── Words ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_words_end_at_the_spaces_between_phonemes() -> None:
    assert word_ends(list("ab cde f."), [2, 3, 1]) == [2, 6, 8]


def test_a_word_that_expands_takes_the_spaces_within_it() -> None:
    phonemes = list("nainti:n eiti fo: ka:z")
    assert word_ends(phonemes, [16, 4]) == [phonemes.index("k") - 1, len(phonemes)]


def test_words_that_merge_share_their_phonemes() -> None:
    assert word_ends(list("end ʌvðə dei"), [3, 2, 2, 3]) == [3, 6, 8, 12]


def test_unspoken_words_end_with_the_one_before() -> None:
    assert word_ends(list("ab cd"), [0, 2, 0, 2, 0]) == [0, 2, 2, 5, 5]
    assert word_ends([], [0, 3]) == [0, 0]


def letters(voice: str, text: str) -> list[list[str]]:
    """A phonemiser whose phonemes are the letters; a full stop ends a sentence."""
    return [list(sentence) for sentence in text.split(". ") if sentence]


def test_no_word_is_lost_between_sentences_and_long_ones_are_cut() -> None:
    phonemiser = Phonemiser(letters, lambda phonemes, ids: [], "en", {c: [1] for c in "abcdefghijklmnopqrstuvwxyz "})
    run = read("one two. 🙂 three. " + "four " * 120 + "\n")
    breaths = breathe(run, phonemiser)
    assert "".join(text for breath in breaths for text, _ in breath.words) == "".join(word.text for word in run)
    assert max(len(breath.phonemes) for breath in breaths) <= piper.PHONEMES
    assert all(0 <= count <= len(breath.phonemes) for breath in breaths for _, count in breath.words)
    assert [text for text, _ in breaths[0].words] == ["one", " two.", " 🙂"]


@pytest.mark.models
@pytest.mark.parametrize("text", ["Dr. Smith met Mrs. Hill vs. No. 5", "Mr. X"])
def test_an_abbreviation_does_not_end_a_sentence(phonemiser: Phonemiser, text: str) -> None:
    assert len(phonemiser.sentences(text)) == 1


# ── The voice ─────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.models
def test_what_was_phonemised_is_freed(phonemiser: Phonemiser) -> None:
    def blocks_after(times: int) -> int:
        for _ in range(times):
            phonemiser.sentences("Well, it is half past four, and nobody has called.")
        gc.collect()
        return sys.getallocatedblocks()

    before = blocks_after(20)
    assert blocks_after(400) - before < 200  # some 50 come and go; as piper-tts has it, two a clause stay


def test_the_same_text_gives_the_same_samples(speaker: piper.PiperSpeaker) -> None:
    np.testing.assert_array_equal(joined(say(speaker, "Good morning.")), joined(say(speaker, "Good morning.")))


@pytest.mark.models
def test_a_reply_starts_at_once_and_only_its_start_is_cut(speaker: piper.PiperSpeaker) -> None:
    once, twice = joined(say(speaker, "Hello there.")), joined(say(speaker, "Hello there.", " Hello there."))
    onset = int(np.flatnonzero(np.abs(once) > piper.AUDIBLE)[0])
    assert onset == round(piper.LEAD_S * speaker.about.sample_rate)
    again = twice[len(once) :]
    np.testing.assert_array_equal(again[len(again) - len(once) :], once)
    assert len(again) > len(once)  # the second piece keeps its silence


@pytest.mark.models
def test_word_ends_are_where_the_sound_says_they_are(speaker: piper.PiperSpeaker) -> None:
    """A word between two pauses: its end must lie in the silence after it, or just before."""
    (ends, at), sounds = ([], 0), say(speaker, "One, two, three.")
    for sound in sounds:
        ends += [at + word.end for word in sound.words]
        at += len(sound.samples)
    samples, rate = joined(sounds), speaker.about.sample_rate
    for end in ends[:2]:
        around = np.abs(samples[max(0, end - rate // 50) : end + rate // 5]).reshape(-1)
        assert around.min() < piper.AUDIBLE
    assert ends == sorted(ends)
    assert 0.5 * rate < ends[2] <= len(samples)


@pytest.mark.models
def test_speed_is_a_factor_on_the_rate(speaker: piper.PiperSpeaker) -> None:
    normal, fast = (len(joined(say(speaker, SENTENCE, style=Style(speed=speed)))) for speed in (1.0, 1.6))
    assert normal / fast == pytest.approx(1.6, rel=0.2)  # whole frames are rounded up


@pytest.mark.models
@pytest.mark.parametrize(
    ("style", "code"),
    [(Style(language="hi"), "language_not_supported"), (Style(voice="amy"), "voice_not_supported")],
)
def test_what_it_cannot_do_it_refuses(speaker: piper.PiperSpeaker, style: Style, code: str) -> None:
    with pytest.raises(EngineError) as caught:
        say(speaker, "Hello.", style=style)
    assert (caught.value.code, caught.value.retryable) == (code, False)


@pytest.mark.models
def test_two_replies_take_turns_window_by_window(speaker: piper.PiperSpeaker) -> None:
    order: list[str] = []

    async def reply(name: str) -> None:
        async def text() -> AsyncIterator[str]:
            yield SENTENCE

        async for sound in speaker.speak(text(), Style()):
            order.append(name if len(sound.samples) else "")  # noqa: PERF401  (as they come)

    async def both() -> None:
        await asyncio.gather(reply("a"), reply("b"))

    asyncio.run(both())
    assert order[:6] == ["a", "b"] * 3


@pytest.mark.models
def test_a_failing_pass_ends_the_turn_with_an_engine_error(
    speaker: piper.PiperSpeaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any) -> None:
        raise ValueError("out of memory")

    monkeypatch.setattr(speaker._graph, "plan", fail)
    with pytest.raises(EngineError, match="out of memory") as caught:
        say(speaker, "Hello.")
    assert caught.value.code == "engine_failed"
