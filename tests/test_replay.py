"""`duologue replay`: a trace is all it takes to see a conversation and its latency again."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from dialogue import Dialogue, play

from duologue import cli
from duologue.errors import ClientError
from duologue.protocols import Latency
from duologue.replay import Replay, rows, run
from duologue.trace import Row


def written(path: Path, dialogue: Dialogue) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in dialogue.rows), encoding="utf-8")
    return path


@pytest.fixture
def trace(tmp_path: Path) -> Path:
    return written(tmp_path / "s.trace.jsonl", play([(0.5, 1.5), (5.0, 6.0)], 9.0))


def test_it_prints_who_said_what(trace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(trace) == 0
    lines = capsys.readouterr().out.splitlines()
    said = [line[10:] for line in lines if "You:" in line or "Reply:" in line]
    assert said == ["You:   Hello there.", "Reply: You said: Hello there.  [1.3 s, scripted]"] * 2
    assert "2 turns, ms from the user's last voiced sample:" in lines


def test_the_parts_of_each_waterfall_sum_to_voice_to_voice(trace: Path) -> None:
    replay = Replay()
    for where, row in rows(trace):
        replay.take(row, where)
    assert sorted(replay.waterfalls) == [1, 2]
    for each in replay.waterfalls.values():
        assert sum(each.parts().values()) == pytest.approx(each.marks["voice_to_voice"], abs=0.05)


def test_it_computes_what_the_session_told_its_client(tmp_path: Path) -> None:
    dialogue = play([(0.5, 1.5)], 5.0)
    replay = Replay()
    for where, row in rows(written(tmp_path / "t", dialogue)):
        replay.take(row, where)
    (told,) = dialogue.of(Latency)
    assert dict(replay.waterfalls[1].marks) == pytest.approx(dict(told.marks))


def test_an_interruption_shows_what_was_heard(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(written(tmp_path / "t", play([(0.5, 1.5), (2.7, 4.5)], 7.0)))
    assert "[interrupted after" in capsys.readouterr().out


def test_nobody_spoke(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "t").write_text("")
    assert run(tmp_path / "t") == 0
    assert capsys.readouterr().out == "no turn was answered aloud\n"


GOOD = '{"t": 1.0, "kind": "fact", "name": "Heard", "turn": 1, "text": "Hi.", "final": true, "language": "en"}\n'


@pytest.mark.parametrize(
    "bad",
    [
        '{"t": 1.5, "kind": "fact", "na',
        "[]",
        "3",
        "{}",
        '{"t": "soon", "kind": "fact", "name": "Heard"}',
        '{"t": NaN, "kind": "fact", "name": "Heard"}',
        '{"t": true, "kind": "fact", "name": "Heard"}',
        '{"t": 2.0, "kind": "fact", "name": "Heard"}',
        '{"t": 2.0, "kind": "mark", "name": "VoiceEnded", "turn": 1, "ago_s": "x"}',
        '{"t": 2.0, "kind": "mark", "name": "VoiceEnded", "turn": {}, "ago_s": null}',
        '{"t": 2.0, "kind": "mark", "name": "VoiceEnded", "turn": 1, "ago_s": 1e999}',
        '{"t": 2.0, "kind": "fact", "name": "ReplyDone", "turn": [1], "text": "", "audio_ms": 1, "speaker": ""}',
        "[" * 100_000,
    ],
)
def test_a_bad_line_is_named_and_what_came_before_it_is_shown(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], bad: str
) -> None:
    (tmp_path / "t").write_text(GOOD + bad + "\n")
    assert cli.main(["replay", str(tmp_path / "t")]) == 2
    out, err = capsys.readouterr()
    assert "You:   Hi." in out
    assert f"{tmp_path / 't'}, line 2" in err
    assert err.endswith("[bad_trace]\n")
    assert err.count("\n") == 1


def test_a_file_that_cannot_be_read_says_so(tmp_path: Path) -> None:
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00")
    for path in (tmp_path / "missing", tmp_path, tmp_path / "binary"):
        with pytest.raises(ClientError) as caught:
            run(path)
        assert caught.value.code == "trace_unreadable"


def test_rows_of_later_versions_are_passed_over(tmp_path: Path) -> None:
    later: Row = {"t": 1.0, "kind": "weather", "name": "Sunny"}
    (tmp_path / "t").write_text(json.dumps(later) + "\n")
    assert run(tmp_path / "t") == 0
