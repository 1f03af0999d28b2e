"""Moonshine: what is worth decoding and when (with a model that only keeps count), and how well the real one hears."""

from __future__ import annotations

import asyncio
import csv
import threading
import time
from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Iterator, Sequence
from contextlib import aclosing
from itertools import chain
from pathlib import Path
from typing import Any, cast

import numpy as np
import onnxruntime
import pytest

from benchmarks import wer
from duologue import config
from duologue.audio import FRAME_S, FRAME_SAMPLES, INPUT_RATE, Audio, Frame, Tape, read_audio, resample
from duologue.core.backchannel import is_backchannel
from duologue.core.events import SpeechStarted, SpeechStopped
from duologue.core.speech import SpeechDetector, SpeechSettings
from duologue.engines import Loading, Pause, Transcript, VadModel, moonshine, silero
from duologue.engines.moonshine import LONGEST_FRAMES, SETTLE_FRAMES, Model, Moonshine, Piece
from duologue.errors import ConfigError, EngineError
from duologue.models import open_store
from duologue.places.thread import Lane

# ── What needs no model ───────────────────────────────────────────────────────────────────────────────────────────


def test_the_vocabulary_is_read_with_short_and_long_pieces() -> None:
    long = b"x" * 300
    data = (
        b"\x05<unk>\x03<s>\x04</s>" + b"\x01a" + b"\x00" + bytes([128 + 300 % 128, 300 // 128]) + long + b"\x08<<ST_7>>"
    )
    assert moonshine.read_vocabulary(data) == [b"", b"", b"", b"a", b"", long, b""]


@pytest.mark.parametrize(
    ("tokens", "kept"),
    [
        ([], 0),
        ([5, 6, 7], 3),
        ([5, 5, 5], 3),
        ([5, 5, 5, 5], 1),
        ([9, 5, 6, 5, 6, 5, 6, 5, 6], 3),
        ([5, 6, 5, 6, 5, 6, 5, 6, 9], 9),
        (list(range(8)) * 4, 8),
    ],
)
def test_of_a_stutter_the_phrase_is_kept_once(tokens: list[int], kept: int) -> None:
    assert moonshine.before_loop(tokens) == kept


def test_sound_without_a_pause_is_cut_where_it_is_quietest() -> None:
    sound = np.ones(LONGEST_FRAMES * FRAME_SAMPLES, np.float32)
    sound[300 * FRAME_SAMPLES : 303 * FRAME_SAMPLES] = 0.1
    sound[: 10 * FRAME_SAMPLES] = 0.0
    assert moonshine.quietest(sound) == 301


def test_the_quiet_before_the_first_word_is_shortened() -> None:
    sound = np.concatenate([blocks(10, 0.001), blocks(20, 0.1)])
    assert len(moonshine.utterance(sound)) == (moonshine.KEEP_FRAMES + 20 + moonshine.SILENCE_FRAMES) * FRAME_SAMPLES


def test_a_click_does_not_make_the_voice_before_it_quiet() -> None:
    sound = np.concatenate([blocks(30, 0.02), blocks(1, 1.0), blocks(10, 0.02)])
    assert np.array_equal(moonshine.utterance(sound)[: len(sound)], sound)


def test_silence_follows_the_last_word_and_one_frame_is_enough_for_the_encoder() -> None:
    heard = moonshine.utterance(blocks(1, 0.1))
    assert not heard[FRAME_SAMPLES:].any()
    assert len(heard) >= 895


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ('"Hello there."', "Hello there."),
        ('"Hello there".', "Hello there."),
        ("“Hello there.”", "Hello there."),
        ('"Hello." "Is anyone there?"', "Hello. Is anyone there?"),
        ('"Hello there.', "Hello there."),
        ('Hello there."', "Hello there."),
        ('She said "stop" and left.', 'She said "stop" and left.'),
        ('"Stop," she said.', '"Stop," she said.'),
        ("It's the dogs' turn.", "It's the dogs' turn."),
        ('""', ""),
        ("", ""),
    ],
)
def test_quotes_around_everything_and_quotes_that_never_close_are_the_models_own(text: str, kept: str) -> None:
    assert moonshine.unquoted(text) == kept


# ── When it decodes ───────────────────────────────────────────────────────────────────────────────────────────────


class Counting(Model):
    """Hears one word, its own number, in whatever sound; a decode lasts until `stop` or for `seconds`."""

    def __init__(self, seconds: float = 0.0) -> None:
        self.seconds = seconds
        self.asked: list[tuple[int, tuple[int, ...]]] = []
        self.stopped = 0

    def text(self, tokens: Sequence[int]) -> str:
        return " ".join(map(str, tokens))

    def hear(self, sound: Audio, draft: Sequence[int], stop: Any) -> list[Piece]:
        frames = len(sound) // FRAME_SAMPLES
        self.asked.append((frames, tuple(draft)))
        deadline = time.monotonic() + self.seconds
        while time.monotonic() < deadline:
            time.sleep(0.001)
            if stop.terminate:
                self.stopped += 1
                raise RuntimeError("terminated")
        return [Piece(frames, (len(self.asked),), (0.5,))]


class Endless(Counting):
    """Its first decode lasts until it is stopped."""

    def __init__(self) -> None:
        super().__init__()
        self._decodes = threading.Event()

    def hear(self, sound: Audio, draft: Sequence[int], stop: Any) -> list[Piece]:
        self.seconds = 0.0 if self.asked else 60.0
        self._decodes.set()
        return super().hear(sound, draft, stop)

    async def begun(self) -> None:
        assert await asyncio.to_thread(self._decodes.wait, 20)


class Broken(Counting):
    def hear(self, sound: Audio, draft: Sequence[int], stop: Any) -> list[Piece]:
        raise MemoryError("no room")


@pytest.fixture
def lane() -> Iterator[Lane]:
    lane = Lane("test")
    yield lane
    lane.close()


def blocks(frames: int, level: float) -> Audio:
    signs = np.where(np.arange(frames * FRAME_SAMPLES) % 2, 1.0, -1.0)
    return (signs * level).astype(np.float32)


def stream(sound: Audio) -> list[Frame]:
    whole = sound[: len(sound) // FRAME_SAMPLES * FRAME_SAMPLES].reshape(-1, FRAME_SAMPLES)
    return [Frame(block, i * FRAME_SAMPLES) for i, block in enumerate(whole)]


def voice(seconds: float) -> list[Frame]:
    return stream(blocks(round(seconds / FRAME_S), 0.1))


def muted(seconds: float) -> list[Frame]:
    return stream(blocks(round(seconds / FRAME_S), 1e-4))


def room(seconds: float) -> list[Frame]:
    return stream(blocks(round(seconds / FRAME_S), 0.002))


async def given(items: Iterable[Frame | Pause], gap_s: float = 0.0) -> AsyncGenerator[Frame | Pause, None]:
    for item in items:
        await asyncio.sleep(gap_s)
        yield item


async def transcripts(engine: Moonshine, items: AsyncIterator[Frame | Pause]) -> list[Transcript]:
    return [transcript async for transcript in engine.transcribe(items)]


async def all_of(engine: Moonshine, items: Iterable[Frame | Pause], gap_s: float = 0.0) -> list[Transcript]:
    return await transcripts(engine, given(items, gap_s))


def hear(engine: Moonshine, items: Iterable[Frame | Pause], gap_s: float = 0.0) -> list[Transcript]:
    return asyncio.run(all_of(engine, items, gap_s))


def finals(heard: Iterable[Transcript]) -> list[str]:
    return [transcript.text for transcript in heard if transcript.final]


def test_partials_come_while_the_user_speaks(lane: Lane) -> None:
    heard = hear(Moonshine(Counting(), lane), voice(2.0), gap_s=0.002)
    assert [transcript.final for transcript in heard] == [False] * 3


def test_the_last_words_are_the_draft_of_the_next_decode(lane: Lane) -> None:
    model = Counting()
    hear(Moonshine(model, lane), [*voice(0.3), Pause(), *voice(0.3), Pause()])
    assert model.asked == [(9, ()), (18, (1,))]


def test_a_pause_stops_the_partial_in_progress(lane: Lane) -> None:
    model = Counting(seconds=0.2)
    heard = hear(Moonshine(model, lane), [*voice(0.64), Pause()])
    assert model.stopped == 1
    assert finals(heard) == ["2"]


def test_a_pause_of_another_session_stops_it_too(lane: Lane) -> None:
    model = Endless()
    engine = Moonshine(model, lane)

    async def main() -> list[Transcript]:
        over = asyncio.Event()

        async def speaking() -> AsyncGenerator[Frame | Pause, None]:
            for frame in voice(0.64):
                yield frame
            await over.wait()

        mine = asyncio.create_task(transcripts(engine, speaking()))
        await model.begun()
        heard = await all_of(engine, [*voice(0.3), Pause()])
        over.set()
        await mine
        return heard

    assert finals(asyncio.run(main())) == ["2"]
    assert model.stopped == 1


@pytest.mark.parametrize("seconds", [0.0, 0.05])
def test_what_is_heard_when_the_voice_falls_quiet_is_the_answer_to_the_pause_after_it(
    lane: Lane, seconds: float
) -> None:
    model = Counting(seconds)
    heard = hear(Moonshine(model, lane), [*voice(0.3), *room(0.07), Pause(), *room(0.3), Pause()], gap_s=0.005)
    assert model.asked == [(10, ())], "begun at the first quiet frame, and nothing after it"
    assert finals(heard) == ["1", "1"]


def test_voice_after_it_makes_it_a_guess_like_others(lane: Lane) -> None:
    model = Counting()
    heard = hear(Moonshine(model, lane), [*voice(0.3), *room(0.07), *voice(0.1), Pause()], gap_s=0.002)
    assert [frames for frames, _ in model.asked] == [10, 14]
    assert finals(heard) == ["2"]


def test_one_that_another_sessions_answer_stopped_is_made_again(lane: Lane) -> None:
    model = Endless()
    engine = Moonshine(model, lane)

    async def main() -> list[Transcript]:
        paused = asyncio.Event()

        async def pausing() -> AsyncGenerator[Frame | Pause, None]:
            for frame in [*voice(0.3), *room(0.04)]:
                yield frame
            await model.begun()
            paused.set()  # whoever waits for it goes on when this pause is already waited for
            yield Pause()

        mine = asyncio.create_task(transcripts(engine, pausing()))
        await paused.wait()
        await all_of(engine, [*voice(0.3), Pause()])
        return await mine

    assert len(finals(asyncio.run(main()))) == 1
    assert (model.stopped, len(model.asked)) == (1, 3)


def test_nobody_looks_at_silence(lane: Lane) -> None:
    model = Counting()
    heard = hear(Moonshine(model, lane), [*voice(0.3), Pause(), *room(3.0), Pause()], gap_s=0.001)
    assert len(model.asked) == 1
    assert finals(heard) == ["1", "1"]


def test_silence_alone_has_no_words(lane: Lane) -> None:
    model = Counting()
    assert finals(hear(Moonshine(model, lane), [*stream(blocks(60, 1e-4)), Pause()])) == [""]
    assert model.asked == []


def test_silence_before_the_first_word_costs_nothing_however_long_it_is(lane: Lane) -> None:
    model = Counting()
    hear(Moonshine(model, lane), [*muted(600.0), *voice(0.3), Pause()])
    assert model.asked == [(moonshine.TRIM_FRAMES + 9, ())]


def test_a_silence_in_a_turn_that_nobody_calls_a_pause_settles_it(lane: Lane) -> None:
    model = Counting()
    heard = hear(Moonshine(model, lane), [*voice(8.1), *muted(600.0), *voice(0.3), Pause()], gap_s=0.0)
    frames = [asked for asked, _ in model.asked]
    assert max(frames) < LONGEST_FRAMES
    assert model.asked[-1] == (moonshine.TRIM_FRAMES + 9, ()), "what was said before it is not heard again"
    assert len(frames) <= 8.1 / 0.6 + 3
    assert len(finals(heard)[0].split()) == 2


def test_words_and_silences_in_turn_cost_no_more_than_the_words(lane: Lane) -> None:
    model = Counting()
    hear(Moonshine(model, lane), [*chain.from_iterable([*voice(0.3), *muted(60.0)] for _ in range(20)), Pause()])
    assert max(frames for frames, _ in model.asked) <= LONGEST_FRAMES
    assert len(model.asked) <= 2 * 20


def test_who_else_waits_for_the_lane_waits_for_one_piece(lane: Lane) -> None:
    model = Counting(seconds=0.05)

    async def main() -> None:
        engine = Moonshine(model, lane)
        await asyncio.gather(all_of(engine, [*voice(60.0), Pause()]), all_of(engine, [*voice(0.3), Pause()]))

    asyncio.run(main())
    asked = [frames for frames, _ in model.asked]
    assert asked.index(9) <= 3
    assert max(asked) <= LONGEST_FRAMES


def test_a_slammed_door_does_not_deafen_the_turn(lane: Lane) -> None:
    model = Counting()
    door = stream(blocks(2, 1.0))
    quiet = stream(blocks(round(3.0 / FRAME_S), 0.05))
    assert finals(hear(Moonshine(model, lane), [*door, Pause(), *quiet, Pause()]))[-1] != "1"


def test_a_late_pause_settles_what_was_said(lane: Lane) -> None:
    model = Counting()
    heard = hear(Moonshine(model, lane), [*voice(8.1), Pause(), *voice(0.3), Pause()])
    settled, whole = finals(heard)
    assert whole.startswith(settled + " ")
    (before, _), (after, draft) = model.asked[-2:]
    assert before >= SETTLE_FRAMES
    assert (after, draft) == (9, ())


def test_giving_up_stops_the_decode(lane: Lane) -> None:
    model = Endless()

    async def main() -> None:
        engine = Moonshine(model, lane)
        task = asyncio.create_task(all_of(engine, [*voice(0.3), Pause()]))
        await model.begun()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await asyncio.wait_for(lane.run(lambda: None), 20.0)

    asyncio.run(main())
    assert model.stopped == 1


def test_closing_stops_the_partial(lane: Lane) -> None:
    model = Endless()

    async def main() -> None:
        transcripts = cast(
            AsyncGenerator[Transcript, None], Moonshine(model, lane).transcribe(given([*voice(0.64), *room(60)], 0.002))
        )
        async with aclosing(transcripts):
            partial = asyncio.ensure_future(anext(transcripts))
            await model.begun()
            partial.cancel()
            with pytest.raises(asyncio.CancelledError):
                await partial
        await asyncio.wait_for(lane.run(lambda: None), 20.0)

    asyncio.run(main())
    assert model.stopped == 1


def test_a_failing_model_ends_the_turn_with_its_name(lane: Lane) -> None:
    with pytest.raises(EngineError, match="moonshine: recognition failed: no room"):
        hear(Moonshine(Broken(), lane), [*voice(0.3), Pause()])


# ── How well it hears ─────────────────────────────────────────────────────────────────────────────────────────────


def folder(name: str) -> Path:
    return open_store(config.load().models).folder(name)


@pytest.fixture(scope="module")
def engine() -> Iterator[Moonshine]:
    lane = Lane("moonshine")
    try:
        loaded = moonshine.load(Loading(folder, lane))
        assert isinstance(loaded, Moonshine)
        yield loaded
    except ConfigError as error:
        pytest.skip(error.message)
    finally:
        lane.close()


@pytest.fixture(scope="module")
def model() -> Model:
    try:
        return Model(folder("moonshine-tiny-en"), threads=1)
    except ConfigError as error:
        pytest.skip(error.message)


@pytest.fixture(scope="module")
def vad() -> VadModel:
    lane = Lane("silero")
    try:
        return silero.load(Loading(folder, lane))
    except ConfigError as error:
        pytest.skip(error.message)
    finally:
        lane.close()


def clip(recordings: Path, name: str) -> Audio:
    return resample(*read_audio(recordings / "questions" / name), INPUT_RATE)


def questions(recordings: Path) -> list[tuple[str, str]]:
    """(file, what is said) of the English questions."""
    with (recordings / "manifest.tsv").open(encoding="utf-8") as file:
        rows = [
            row for row in csv.DictReader(file, delimiter="\t") if row["kind"] == "question" and row["lang"] == "en"
        ]
    return [(Path(row["path"]).name, row["transcript"]) for row in rows]


def spoken(sound: Audio, vad: VadModel) -> list[Frame | Pause]:
    """As a session hears it: from a little before the voice, with a Pause each time that it stops."""
    frames = stream(np.concatenate([sound, np.zeros(INPUT_RATE // 4, np.float32)]))
    detector, speech, tape = vad.open(), SpeechDetector(SpeechSettings(), INPUT_RATE), Tape(2.0)
    items: list[Frame | Pause] = []
    for frame in frames:
        tape.push(frame)
        edge = speech.feed(detector(frame), frame.at, frame.end)
        if items:
            items.append(frame)
        elif isinstance(edge, SpeechStarted):
            items += tape.since(edge.since)
        if isinstance(edge, SpeechStopped):
            items.append(Pause())
    return items


def transcribe(engine: Moonshine, sound: Audio, vad: VadModel) -> str:
    return finals(hear(engine, spoken(sound, vad), gap_s=0.001))[-1]


@pytest.mark.models
@pytest.mark.speech
def test_the_word_error_rate_of_the_questions(engine: Moonshine, vad: VadModel, recordings: Path) -> None:
    pairs = [(said, transcribe(engine, clip(recordings, name), vad)) for name, said in questions(recordings)]
    assert len(pairs) >= 20
    assert wer.wer(pairs) <= 0.15, "\n".join(map(str, pairs))


@pytest.mark.models
@pytest.mark.speech
def test_a_minute_is_heard_in_pieces_and_as_well(model: Model, recordings: Path) -> None:
    chosen = [(name, said) for name, said in questions(recordings) if "filler" not in name][:14]
    turn = np.concatenate([clip(recordings, name) for name, _ in chosen])
    turn = turn[: len(turn) // FRAME_SAMPLES * FRAME_SAMPLES]
    assert len(turn) > 55 * INPUT_RATE
    pieces = model.hear(turn, (), onnxruntime.RunOptions())
    assert max(piece.frames for piece in pieces) <= LONGEST_FRAMES
    assert sum(piece.frames for piece in pieces) * FRAME_SAMPLES == len(turn)
    heard = " ".join(model.text(piece.tokens) for piece in pieces)
    assert wer.wer([(" ".join(said for _, said in chosen), heard)]) <= 0.2


@pytest.mark.models
@pytest.mark.speech
@pytest.mark.parametrize("spoil", [0, 3])
def test_a_draft_saves_steps_and_changes_no_word(model: Model, recordings: Path, spoil: int) -> None:
    sound = clip(recordings, "latency_stimuli__stimulus_hours.wav")
    sound = sound[: len(sound) // FRAME_SAMPLES * FRAME_SAMPLES]
    (fresh,) = model.hear(sound, (), onnxruntime.RunOptions())
    draft = [*fresh.tokens[: len(fresh.tokens) - spoil], *[777] * spoil]
    (drafted,) = model.hear(sound, draft, onnxruntime.RunOptions())
    assert drafted.tokens == fresh.tokens
    assert model.text(fresh.tokens) == "What are your Saturday opening hours?"


@pytest.mark.models
@pytest.mark.speech
def test_two_users_at_once_are_not_mixed_up(engine: Moonshine, vad: VadModel, recordings: Path) -> None:
    chosen = [(name, said) for name, said in questions(recordings) if "holidays" in name or "weekdays" in name]
    turns = [spoken(clip(recordings, name), vad) for name, _ in chosen]

    async def main() -> list[list[Transcript]]:
        return await asyncio.gather(*(all_of(engine, items, 0.001) for items in turns))

    heard = [finals(transcripts)[-1] for transcripts in asyncio.run(main())]
    assert wer.wer([(said, text) for (_, said), text in zip(chosen, heard, strict=True)]) == 0


HUM = "questions/latency_stimuli__filler.wav"
SHORT_WORDS = (
    "questions/aiewf_turns__turn_015-short-yes.wav",
    "en/asterisk_prompts__digits_h-5.flac",
    "en/asterisk_prompts__digits_billion.flac",
    "en/pocketsphinx_tests__cards_004.wav",
)


@pytest.mark.models
@pytest.mark.speech
@pytest.mark.parametrize("speed", [0.8, 0.9, 1.0, 1.1, 1.2])
def test_a_hum_is_doubted_and_a_short_word_is_not(
    engine: Moonshine, vad: VadModel, recordings: Path, speed: float
) -> None:
    """As other people would have said it: faster is higher, slower is deeper."""

    def goes_on(path: str) -> bool:
        sound = resample(*read_audio(recordings / path), INPUT_RATE)
        heard = hear(engine, spoken(resample(sound, round(speed * INPUT_RATE), INPUT_RATE), vad))[-1]
        return is_backchannel(heard.text, heard.confidence)

    assert goes_on(HUM)
    assert [path for path in SHORT_WORDS if goes_on(path)] == []


@pytest.mark.models
@pytest.mark.speech
def test_a_word_that_is_cut_right_after_its_end_is_heard_once(
    engine: Moonshine, vad: VadModel, recordings: Path
) -> None:
    assert transcribe(engine, clip(recordings, "aiewf_turns__turn_015-short-yes.wav"), vad) == "Yes."


@pytest.mark.models
def test_stopping_ends_a_long_decode_at_once(engine: Moonshine, model: Model) -> None:
    """12 s cost the encoder about 0.2 s of an idle core; a decode that is not wanted costs none of it."""
    noise = np.random.default_rng(0).normal(0.0, 0.1, (LONGEST_FRAMES, FRAME_SAMPLES)).astype(np.float32).ravel()
    stop = onnxruntime.RunOptions()
    stop.terminate = True
    start = time.thread_time()
    with pytest.raises(Exception, match="terminate flag"):
        model.hear(noise, (), stop)
    assert time.thread_time() - start < 0.1


@pytest.mark.models
def test_a_wrong_setting_is_refused(engine: Moonshine, lane: Lane) -> None:
    with pytest.raises(ConfigError) as refusal:
        moonshine.load(Loading(folder, lane, {"threads": -1}))
    assert refusal.value.code == "bad_setting"
