"""Rows, and the waterfall that is computed from them and from nothing else."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import pytest
from dialogue import lineup, play

from duologue.core.events import Commit, GoOn, Listen, Reopen, Silence, Transcribed, Turn
from duologue.engines.scripted import ScriptedRecognizer, ScriptedWriter
from duologue.protocols import Configured, EndTurn, Latency, Microphone, ReplyAudio, ReplyWord, Type
from duologue.trace import STAGES, Audible, LatencyMeter, Row, Trace, TraceFile, VoiceEnded, Waterfall


def noted(*whats: tuple[float, str, Any]) -> list[dict[str, Any]]:
    rows: list[Row] = []
    trace = Trace(100.0, rows.append)
    for now, kind, what in whats:
        trace.note(now, kind, what)
    return [dict(row) for row in rows]


def test_a_row_is_flat_json_and_times_count_from_the_sessions_start() -> None:
    row = noted((101.23456, "todo", Listen(Turn(2, 1), 4800)))[0]
    assert row == {"t": 1.2346, "kind": "todo", "name": "Listen", "turn": [2, 1], "since": 4800}
    assert json.loads(json.dumps(row)) == row


def test_sound_is_told_by_its_length() -> None:
    audio = noted((100.0, "fact", ReplyAudio(1, 0, b"\0" * 960, 24_000, 0.0, (("hi", 12.0),), False)))[0]
    assert audio["pcm"] == 960
    assert audio["words"] == [["hi", 12.0]]
    assert "[" not in noted((100.0, "event", Microphone(np.zeros(8, np.float32))))[0]["samples"]


def test_settings_are_rows_as_well() -> None:
    settings = MappingProxyType({"speed": 1.00001, "voice": "", "deep": {"a": (1, None)}})
    assert noted((100.0, "fact", Configured(settings)))[0]["settings"] == {
        "speed": 1.0,
        "voice": "",
        "deep": {"a": [1, None]},
    }


def meter(*rows: dict[str, Any]) -> list[tuple[int, Waterfall]]:
    done: list[tuple[int, Waterfall]] = []
    measure = LatencyMeter(lambda turn, waterfall: done.append((turn, waterfall)))
    for row in rows:
        measure(row)
    return done


TURN = [
    (100.5, "todo", Listen(Turn(1, 0), 0)),
    (101.0, "mark", VoiceEnded(1, 0.096)),
    (101.06, "event", Transcribed(Turn(1, 0), "hello", 1.0)),
    (101.2, "todo", Commit(Turn(1, 0), "hello")),
    (101.2, "fact", ReplyWord(1, 0, "You ", False, True, 0.0, 0.0)),
    (101.25, "mark", Audible(1, 0.003)),
]


def test_the_waterfall_counts_from_the_last_voiced_sample_and_its_parts_sum_to_the_whole() -> None:
    [(turn, waterfall)] = meter(*noted(*TURN))
    assert turn == 1
    assert waterfall.marks == {
        "silence": 96.0,
        "transcript": 156.0,
        "endpoint": 296.0,
        "first_token": 296.0,
        "first_audio": 346.0,
        "voice_to_voice": 349.0,
    }
    assert waterfall.parts() == {
        "silence": 96.0,
        "transcript": 60.0,
        "endpoint": 140.0,
        "first_token": 0.0,
        "first_audio": 50.0,
        "voice_to_voice": 3.0,
    }
    assert set(waterfall.marks) == set(STAGES)


def test_a_stage_that_was_overtaken_added_nothing() -> None:
    waterfall = Waterfall(0.0, {"silence": 96.0, "transcript": 400.0, "endpoint": 300.0, "voice_to_voice": 500.0})
    assert waterfall.parts() == {"silence": 96.0, "transcript": 304.0, "endpoint": 0.0, "voice_to_voice": 100.0}


def test_a_pause_within_the_turn_starts_the_count_again() -> None:
    again = [
        (103.0, "todo", GoOn(Turn(1, 1))),
        (104.0, "mark", VoiceEnded(1, 0.096)),
        (104.02, "event", Transcribed(Turn(1, 0), "hello", 1.0)),  # of the first take, and late
        (104.06, "event", Transcribed(Turn(1, 1), "hello and more", 1.0)),
        (104.2, "todo", Commit(Turn(1, 1), "hello and more")),
        (104.25, "mark", Audible(1, 0.003)),
    ]
    [(_, waterfall)] = meter(*noted(*TURN[:2], *again))
    assert (waterfall.marks["transcript"], waterfall.marks["voice_to_voice"]) == (156.0, 349.0)


def test_a_turn_that_is_opened_again_is_counted_from_the_end_of_its_second_part() -> None:
    overlap = [
        (101.6, "todo", Listen(Turn(2, 0), 0)),
        (102.0, "mark", VoiceEnded(2, 0.096)),
        (102.06, "event", Transcribed(Turn(2, 0), "and more", 1.0)),
        (102.06, "todo", Reopen(Turn(1, 1), Turn(1, 0), Turn(2, 0))),
        (102.1, "event", Transcribed(Turn(1, 1), "hello and more", 1.0)),
        (102.2, "todo", Commit(Turn(1, 1), "hello and more")),
        (102.3, "mark", Audible(1, 0.0)),
    ]
    (_, first), (turn, second) = meter(*noted(*TURN, *overlap))
    assert (turn, second.marks["transcript"], second.marks["voice_to_voice"]) == (1, 196.0, 396.0)
    assert first.marks["voice_to_voice"] == 349.0


def test_a_cough_between_the_decision_and_the_first_sound_does_not_lose_the_waterfall() -> None:
    cough = [(101.21, "todo", Listen(Turn(2, 0), 0)), (101.22, "mark", VoiceEnded(2, 0.096))]
    [(turn, waterfall)] = meter(*noted(*TURN[:5], *cough, TURN[5]))
    assert (turn, waterfall.marks["voice_to_voice"]) == (1, 349.0)


def test_a_turn_that_ends_in_mid_speech_is_not_counted_from_an_earlier_pause() -> None:
    goes_on = (102.0, "todo", GoOn(Turn(1, 1)))
    decided = (130.0, "todo", Commit(Turn(1, 1), "hello and more"))
    assert meter(*noted(*TURN[:3], goes_on, decided, (130.1, "mark", Audible(1, 0.0)))) == []


def test_a_turn_that_is_only_written_down_does_not_touch_the_one_being_replied_to() -> None:
    beside = [
        (101.21, "todo", Listen(Turn(2, 0), 0)),
        (101.22, "mark", VoiceEnded(2, 0.096)),
        (101.23, "todo", Commit(Turn(2, 0), "by the way", answer=False)),
    ]
    assert [turn for turn, _ in meter(*noted(*TURN[:5], *beside, TURN[5], (109.0, "mark", Audible(2, 0.0))))] == [1]


def test_only_the_first_sound_counts_and_only_of_a_turn_that_was_spoken() -> None:
    assert len(meter(*noted(*TURN, (109.0, "mark", Audible(1, 0.0)), (110.0, "mark", Audible(7, 0.0))))) == 1
    assert meter(*noted((101.0, "todo", Silence(Turn(1, 0))))) == []


def told(spans: list[tuple[float, float]], seconds: float, **more: Any) -> dict[int, Latency]:
    return {latency.turn: latency for latency in play(spans, seconds, **more).of(Latency)}


def test_a_cough_while_the_model_thinks_does_not_lose_the_turns_latency() -> None:
    words = ScriptedRecognizer(texts=lambda stream, seconds: "Hello there." if stream == 0 else "")
    engines = lineup(writer=ScriptedWriter(delay_s=3.0), recognizer=words)
    latency = told([(1, 2), (3, 3.2)], 9, engines=engines)
    assert list(latency) == [1]
    assert latency[1].marks["voice_to_voice"] > 2_000


def test_a_turn_handed_over_in_mid_speech_is_told_without_a_latency_that_nobody_measured() -> None:
    assert told([(1, 2), (2.2, 9)], 12, commands=[(4.0, EndTurn())]) == {}


@pytest.mark.parametrize(
    ("spans", "commands"),
    [
        ([(1, 2)], []),
        ([(1, 2), (2.2, 3), (6, 7)], []),
        ([(1, 2), (2.6, 3.2), (8, 9)], []),
        ([(1, 2), (3, 4), (8, 9)], [(6.0, Type("hello"))]),
        ([(1, 2), (2.5, 4)], [(2.3, EndTurn())]),
    ],
)
def test_the_parts_sum_to_the_whole_whatever_happens(spans: list[tuple[float, float]], commands: list[Any]) -> None:
    latency = told(spans, 14, commands=commands)
    assert latency
    for each in latency.values():
        assert sum(each.parts.values()) == pytest.approx(each.marks["voice_to_voice"], abs=0.01)


def test_the_told_waterfall_is_the_traces() -> None:
    seen = play([(1, 2)], 5, engines=lineup())
    again: list[tuple[int, Waterfall]] = []
    measure = LatencyMeter(lambda turn, waterfall: again.append((turn, waterfall)))
    for row in seen.rows:
        measure(row)
    assert [latency.marks for latency in seen.of(Latency)] == [waterfall.marks for _, waterfall in again]


def test_a_trace_file_is_whole_lines_at_every_moment(tmp_path: Path) -> None:
    path = tmp_path / "new" / "folder" / "a.trace.jsonl"
    file = TraceFile(path)
    rows = noted(*TURN)
    for count, row in enumerate(rows, start=1):
        file(row)
        assert [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] == rows[:count]
    file.close()


def test_half_of_a_surrogate_pair_which_a_model_may_write_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "x.trace.jsonl"
    file, row = TraceFile(path), {"t": 0.0, "text": "half a pair \ud83d, नमस्ते \\"}
    file(row)
    file.close()
    assert json.loads(path.read_text(encoding="utf-8")) == row


def test_a_full_disk_ends_the_trace_and_not_the_session(caplog: pytest.LogCaptureFixture) -> None:
    file = TraceFile(Path("/dev/full"))
    with caplog.at_level(logging.WARNING):
        for row in noted(*TURN):
            file(row)
        file.close()
    assert [record.message for record in caplog.records if "/dev/full" in record.message] != []
    assert len(caplog.records) == 1
