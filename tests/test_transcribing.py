"""Recordings cut into utterances, and heard one by one."""

from __future__ import annotations

import asyncio
import csv
import io
import tracemalloc
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Sequence
from contextlib import aclosing
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import soundfile
from dialogue import TIMINGS, lineup, microphone
from openai_wire import THREE, Gated

from benchmarks import wer
from benchmarks.recordings import voiced_s
from duologue.audio import FRAME_S, FRAME_SAMPLES, INPUT_RATE, Audio, Frame, read_audio, resample
from duologue.config import Config
from duologue.engines import Loading, Pause, Transcript, moonshine, silero
from duologue.engines.by_ear import ByEar
from duologue.engines.lineup import Lineup
from duologue.engines.scripted import ScriptedRecognizer, ScriptedVadModel
from duologue.errors import ClientError, ConfigError, EngineError
from duologue.models import open_store
from duologue.places.thread import Lane
from duologue.sound_files import Recording, open_recording
from duologue.transcribing import LONGEST_FRAMES, Segment, Transcriber, Utterance, utterances


def recording(samples: Audio, rate: int = INPUT_RATE, block: int = 7_000) -> Recording:
    return Recording(rate, iter([samples[start : start + block] for start in range(0, len(samples), block)]))


def loud(frame: Frame) -> float:
    return ScriptedVadModel().open()(frame)


def cut(sound: Recording) -> list[Utterance]:
    found = utterances(sound, loud, TIMINGS.speech)
    return [utterance for batch in found for utterance in batch]


def times(found: Sequence[Utterance]) -> list[tuple[float, float]]:
    return [(utterance.start / INPUT_RATE, utterance.end / INPUT_RATE) for utterance in found]


# ── Cutting ───────────────────────────────────────────────────────────────────────────────────────────────────────


def test_an_utterance_ends_where_the_voice_rests_for_half_a_second() -> None:
    found = cut(recording(microphone([(1.0, 2.0), (2.3, 3.0), (4.0, 5.0)], 6.0)))
    for (start, end), (began, ended) in zip(times(found), [(1.0, 3.0), (4.0, 5.0)], strict=True):
        assert start == pytest.approx(began, abs=0.04)
        assert end == pytest.approx(ended, abs=0.04)


def test_the_sound_of_an_utterance_begins_before_the_voice_and_ends_after_it() -> None:
    (found,) = cut(recording(microphone([(1.0, 2.0)], 4.0)))
    assert found.frames[0].at / INPUT_RATE == pytest.approx(1.0 - TIMINGS.speech.lead_in_s, abs=0.04)
    assert found.frames[-1].end / INPUT_RATE == pytest.approx(2.1, abs=0.04)
    assert found.voiced == pytest.approx(1.0 / 1.4, abs=0.05)


def test_no_frame_is_heard_twice_or_lost_within_the_voice() -> None:
    found = cut(recording(microphone([(1.0, 2.0), (2.6, 20.0)], 21.0)))
    frames = [frame.at for utterance in found for frame in utterance.frames]
    assert frames == sorted(set(frames))
    voiced = range(round(2.6 * INPUT_RATE), 20 * INPUT_RATE, FRAME_SAMPLES)
    assert {at // FRAME_SAMPLES for at in voiced} <= {at // FRAME_SAMPLES for at in frames}


def test_a_voice_without_a_pause_is_cut_where_it_is_weakest() -> None:
    weak = round(9.0 / FRAME_S)

    def vad(frame: Frame) -> float:
        return 0.9 * float(np.any(frame.samples)) - 0.3 * (frame.at // FRAME_SAMPLES == weak)

    samples = microphone([(0.0, 16.0)], 16.0)
    first, second = (one for batch in utterances(recording(samples), vad, TIMINGS.speech) for one in batch)
    assert first.end == second.start == second.frames[0].at == (weak + 1) * FRAME_SAMPLES


def test_a_voice_that_lasts_to_the_end_of_the_file_ends_there() -> None:
    (found,) = cut(recording(microphone([(1.0, 2.345)], 2.345)))
    assert found.end == round(2.345 * INPUT_RATE)


def test_a_detector_that_is_slow_to_hear_silence_loses_no_words() -> None:
    samples = microphone([(1.0, 2.0)], 2.0)
    (found,) = (one for batch in utterances(recording(samples), lambda frame: 0.9, TIMINGS.speech) for one in batch)
    assert found.end == len(samples)


@pytest.mark.parametrize("block", [1, 333, 512, 100_000])
def test_blocks_make_no_difference(block: int) -> None:
    samples = microphone([(0.3, 1.0), (1.6, 2.5)], 2.5)
    assert times(cut(recording(samples, block=block))) == times(cut(recording(samples)))


@pytest.mark.parametrize("rate", [8_000, 44_100])
def test_times_are_those_of_the_file_at_any_rate(rate: int) -> None:
    samples = resample(microphone([(1.0, 2.0), (3.0, 4.0)], 5.0), INPUT_RATE, rate)
    for (start, end), (began, ended) in zip(times(cut(recording(samples, rate))), [(1, 2), (3, 4)], strict=True):
        assert start == pytest.approx(began, abs=0.05)
        assert end == pytest.approx(ended, abs=0.05)


@pytest.mark.parametrize("samples", [np.zeros(0, np.float32), np.zeros(50_000, np.float32)])
def test_where_nobody_speaks_there_is_no_utterance(samples: Audio) -> None:
    assert cut(recording(samples)) == []


def test_ten_minutes_need_no_more_memory_than_one() -> None:
    def minutes(count: int) -> Iterator[Audio]:
        rng = np.random.default_rng(1)
        for _ in range(60 * count):
            yield rng.normal(0, 0.1, INPUT_RATE).astype(np.float32)

    def peak(count: int) -> int:
        tracemalloc.start()
        for batch in utterances(Recording(INPUT_RATE, minutes(count)), loud, TIMINGS.speech):
            assert all(len(utterance.frames) <= LONGEST_FRAMES for utterance in batch)
        used = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return used

    peak(1)
    assert peak(10) < 1.2 * peak(1) + 100_000


# ── Hearing ───────────────────────────────────────────────────────────────────────────────────────────────────────


def transcriber(engine_s: float = 5.0) -> Transcriber:
    return Transcriber(TIMINGS.speech, engine_s)


async def heard(engines: Lineup, samples: Audio = THREE, language: str = "auto") -> list[Segment]:
    return [segment async for segment in transcriber().transcribe(engines, recording(samples), language)]


def test_each_utterance_is_a_segment_with_its_times_and_certainty() -> None:
    async def main() -> list[Segment]:
        gated = Gated()
        gated.gate.set()
        return await heard(lineup(recognizer=gated))

    segments = asyncio.run(main())
    assert [segment.text for segment in segments] == ["Number 1.", "Number 2.", "Number 3."]
    assert [round(segment.start_s) for segment in segments] == [1, 3, 5]
    assert [round(segment.end_s) for segment in segments] == [2, 4, 6]
    assert {(segment.language, segment.confidence) for segment in segments} == {("en", 0.5)}
    assert all(0.5 < segment.voiced < 1 for segment in segments)


def test_partial_transcripts_and_empty_ones_are_no_segments() -> None:
    def script(stream: int, seconds: float) -> str:
        return " " if stream == 1 else f"And this was number {stream} of them."

    segments = asyncio.run(heard(lineup(recognizer=ScriptedRecognizer(texts=script, delay_s=0, partial_every_s=0.1))))
    assert [segment.text for segment in segments] == [f"And this was number {stream} of them." for stream in (0, 2)]


def test_segments_come_while_the_rest_is_still_unheard() -> None:
    async def main() -> None:
        gated = Gated()
        gated.gate.set()
        async with aclosing(transcriber().transcribe(lineup(recognizer=gated), recording(THREE))) as segments:
            await anext(segments)
            assert gated.heard == 1

    asyncio.run(main())


def test_of_many_recordings_one_utterance_is_heard_at_a_time_in_turns() -> None:
    async def main() -> None:
        gated, order, one = Gated(), list[int](), transcriber()
        engines = lineup(recognizer=gated)

        async def run(number: int) -> None:
            async for _ in one.transcribe(engines, recording(THREE)):
                order.append(number)

        gated.gate.set()
        await asyncio.gather(*(run(number) for number in range(3)))
        assert gated.most == 1
        assert sorted(order) == sorted([*range(3)] * 3)
        assert order[:3] != [0, 0, 0]

    asyncio.run(main())


def test_closing_it_stops_the_recogniser_and_lets_others_in() -> None:
    async def main() -> None:
        gated, one = Gated(), transcriber()
        engines = lineup(recognizer=gated)
        running = asyncio.create_task(_all(one.transcribe(engines, recording(THREE))))
        await gated.opened.wait()
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        assert gated.open == 0
        gated.gate.set()
        assert len(await _all(one.transcribe(engines, recording(THREE)))) == 3

    asyncio.run(main())


async def _all(segments: AsyncGenerator[Segment, None]) -> list[Segment]:
    return [segment async for segment in segments]


def test_a_recogniser_that_gives_nothing_is_not_waited_for_for_ever() -> None:
    async def main() -> None:
        await _all(transcriber(engine_s=0.05).transcribe(lineup(recognizer=Gated()), recording(THREE)))

    with pytest.raises(EngineError) as failed:
        asyncio.run(main())
    assert failed.value.code == "engine_timeout"


def test_a_recogniser_that_ends_without_an_answer_has_failed() -> None:
    class Mute(ScriptedRecognizer):
        async def transcribe(self, audio: AsyncIterator[Frame | Pause]) -> AsyncIterator[Transcript]:
            async for item in audio:
                if isinstance(item, Frame):
                    yield Transcript("Perhaps.", final=False)

    with pytest.raises(EngineError) as failed:
        asyncio.run(heard(lineup(recognizer=Mute())))
    assert failed.value.code == "no_transcript"


def test_a_language_that_nobody_hears_is_refused_and_another_is_not() -> None:
    async def main() -> None:
        gated = Gated()
        gated.gate.set()
        engines = lineup(recognizer=gated)
        assert await heard(engines, language="es")
        with pytest.raises(ClientError) as refused:
            await heard(engines, language="tlh")
        assert refused.value.code == "language_not_heard"

    asyncio.run(main())


def test_a_model_that_hears_without_writing_down_cannot_transcribe() -> None:
    with pytest.raises(ClientError) as refused:
        asyncio.run(heard(lineup(recognizer=ByEar())))
    assert refused.value.code == "no_recognizer"


def test_what_is_wrong_with_the_file_is_told() -> None:
    def broken() -> Iterator[Audio]:
        yield THREE[:20_000]
        raise ClientError("unreadable_audio", "torn")

    async def main() -> None:
        await _all(transcriber().transcribe(lineup(), Recording(INPUT_RATE, broken())))

    with pytest.raises(ClientError, match="torn"):
        asyncio.run(main())


# ── The packaged models ───────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture(scope="module")
def packaged() -> Iterator[Lineup]:
    lane = Lane("test")
    loading = Loading(open_store().folder, lane)
    try:
        vad, recognizer = silero.load(loading), moonshine.load(loading)
    except ConfigError as error:
        pytest.skip(f"{error.message} [{error.code}]")
    yield replace(lineup(), vad=vad, recognizer=recognizer)
    lane.close()


GAP = np.zeros(round(0.8 * INPUT_RATE), np.float32)


@pytest.mark.models
@pytest.mark.speech
def test_minutes_of_recordings_are_heard_with_times(packaged: Lineup, recordings: Path) -> None:
    with (recordings / "manifest.tsv").open(encoding="utf-8") as table:
        rows = [row for row in csv.DictReader(table, delimiter="\t") if row["lang"] == "en" and row["transcript"]]
    parts, voices, at = list[Audio](), list[float](), 0.0
    for row in rows:
        samples = np.append(resample(*read_audio(recordings / row["path"]), INPUT_RATE), GAP)
        parts.append(samples)
        voices.append(at + voiced_s(samples)[0])
        at += len(samples) / INPUT_RATE
    file = io.BytesIO()
    soundfile.write(file, np.concatenate(parts), INPUT_RATE, format="OGG", subtype="OPUS")
    file.seek(0)

    async def main() -> list[Segment]:
        one = Transcriber(Config().speech, 20.0)
        return await _all(one.transcribe(packaged, open_recording(file)))

    segments = asyncio.run(main())
    said = " ".join(row["transcript"] for row in rows)
    assert wer.wer([(said, " ".join(segment.text for segment in segments))]) < 0.12
    assert all(0 < segment.end_s - segment.start_s <= LONGEST_FRAMES * FRAME_S for segment in segments)
    assert all(one.end_s <= other.start_s for one, other in pairwise(segments))
    starts = np.array([segment.start_s for segment in segments])
    missed = [float(np.min(np.abs(starts - voice))) for voice in voices]
    assert np.quantile(missed, 0.9) < 0.3, "most recordings begin with a segment of their own, when their voice does"
