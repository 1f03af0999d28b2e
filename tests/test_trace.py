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

from duologue.core.events import Commit, GoOn, Reopen, Silence, Transcribed, Turn
from duologue.protocols import Configured, Latency, Microphone, ReplyAudio, ReplyWord
from duologue.trace import STAGES, Audible, LatencyMeter, Row, Trace, TraceFile, VoiceEnded, Waterfall


def noted(*whats: tuple[float, str, Any]) -> list[dict[str, Any]]:
    rows: list[Row] = []
    trace = Trace(100.0, rows.append)
    for now, kind, what in whats:
        trace.note(now, kind, what)
    return [dict(row) for row in rows]


def test_a_row_is_flat_json_and_times_count_from_the_sessions_start() -> None:
    row = noted((101.23456, "todo", Commit(Turn(2, 1), "hello")))[0]
    assert row == {"t": 1.2346, "kind": "todo", "name": "Commit", "turn": [2, 1], "text": "hello"}
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
    again = [(t + 3.0, kind, what) for t, kind, what in TURN]
    [(_, waterfall)] = meter(*noted(*TURN[:2], *again))
    assert waterfall.marks["voice_to_voice"] == 349.0


def test_a_turn_that_is_opened_again_is_counted_from_the_end_of_its_second_part() -> None:
    overlap = [
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


@pytest.mark.xfail(
    strict=True, reason="only the newest voice is kept: a cough before the first sound loses the waterfall"
)
def test_a_cough_between_the_decision_and_the_first_sound_does_not_lose_the_waterfall() -> None:
    cough = (101.22, "mark", VoiceEnded(2, 0.096))
    assert [turn for turn, _ in meter(*noted(*TURN[:4], cough, TURN[4]))] == [1]


@pytest.mark.xfail(
    strict=True, reason="a turn that is handed over or cut off in mid-speech has no last voiced sample yet"
)
def test_a_turn_that_ends_in_mid_speech_is_not_counted_from_an_earlier_pause() -> None:
    goes_on = (102.0, "todo", GoOn(Turn(1, 1)))
    decided = (130.0, "todo", Commit(Turn(1, 1), "hello and more"))
    assert meter(*noted(TURN[0], TURN[1], goes_on, decided, (130.1, "mark", Audible(1, 0.0)))) == []


def test_only_the_first_sound_counts_and_only_of_a_turn_that_was_spoken() -> None:
    assert len(meter(*noted(*TURN, (109.0, "mark", Audible(1, 0.0)), (110.0, "mark", Audible(7, 0.0))))) == 1
    assert meter(*noted((101.0, "todo", Silence(Turn(1, 0))))) == []


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


def test_a_full_disk_ends_the_trace_and_not_the_session(caplog: pytest.LogCaptureFixture) -> None:
    file = TraceFile(Path("/dev/full"))
    with caplog.at_level(logging.WARNING):
        for row in noted(*TURN):
            file(row)
        file.close()
    assert [record.message for record in caplog.records if "/dev/full" in record.message] != []
    assert len(caplog.records) == 1
