"""`duologue talk`: files in, a transcript or JSON out, and nothing lost when one of the files is bad."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import virtual
from dialogue import voice

from benchmarks.wer import wer
from duologue import cli, talk
from duologue.audio import INPUT_RATE, Audio, read_audio, resample
from duologue.config import Config
from duologue.engines import lineup
from duologue.line import AUDIBLE
from duologue.models import open_store

SCRIPTED = """
[engines]
vad = "scripted"
turn_detector = "scripted"
recognizer = "scripted"
writer = "scripted"
speakers = ["scripted"]
emotion = "scripted"
[engines.settings.scripted]
texts = ["What time is it?", "Thank you."]
"""

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """`duologue talk …` with the scripted engines on the jumping clock: exit status, stdout, stderr."""
    (tmp_path / "duologue.toml").write_text(SCRIPTED)
    monkeypatch.setattr(asyncio, "run", virtual.run)

    def run(*arguments: object) -> tuple[int, str, str]:
        status = cli.main(["--config", str(tmp_path / "duologue.toml"), "talk", *map(str, arguments)])
        return status, *capsys.readouterr()

    return run


@pytest.fixture
def wav(tmp_path: Path) -> Callable[..., Path]:
    def write(name: str, samples: Audio, rate: int = INPUT_RATE) -> Path:
        soundfile.write(tmp_path / name, samples, rate)
        return tmp_path / name

    return write


def test_each_file_is_a_turn_and_json_tells_all_about_it(run: Run, wav: Callable[..., Path]) -> None:
    status, out, err = run(wav("a.wav", voice(1.0)), wav("b.wav", voice(1.5)), "--json")
    turns = [json.loads(line) for line in out.splitlines()]
    assert (status, err) == (0, "")
    assert [turn["user"] for turn in turns] == ["What time is it?", "Thank you."]
    for turn in turns:
        assert turn["assistant"] == f"You said: {turn['user']}"
        assert (turn["language"], turn["interrupted"], turn["gaps"]) == ("en", False, 0)
        assert turn["audio_s"] == pytest.approx(len(turn["assistant"]) * 0.06, abs=0.1)
        stages = [turn["latency_ms"][name] for name in ("endpoint", "first_token", "first_audio", "voice_to_voice")]
        assert stages == sorted(stages)
        assert 0 < turn["latency_ms"]["transcript"] < stages[0]


def test_the_transcript_shows_a_waterfall_that_adds_up(run: Run, wav: Callable[..., Path]) -> None:
    _, out, _ = run(wav("a.wav", voice(1.0)))
    assert out.startswith("You:   What time is it?\nReply: You said: What time is it?\n       en, scripted, ")
    assert "no gap" in out
    total, parts = out.splitlines()[3].strip().split(" ms = ")
    assert sum(int(part.split()[-1]) for part in parts.split(" + ")) == pytest.approx(int(total), abs=3)


def test_any_rate_and_stereo_are_the_same_turn(run: Run, wav: Callable[..., Path]) -> None:
    stereo = np.stack([resample(voice(1.0), INPUT_RATE, 44_100)] * 2, axis=1)
    _, out, _ = run(wav("a.wav", stereo, 44_100), "--json")
    assert json.loads(out)["user"] == "What time is it?"


def test_out_is_every_reply_in_sequence(run: Run, wav: Callable[..., Path], tmp_path: Path) -> None:
    _, out, _ = run(wav("a.wav", voice(1.0)), wav("b.wav", voice(1.0)), "--json", "--out", tmp_path / "reply.wav")
    samples, rate = read_audio(tmp_path / "reply.wav")
    info = soundfile.info(str(tmp_path / "reply.wav"))
    assert (rate, info.channels, info.subtype) == (24_000, 1, "PCM_16")
    assert len(samples) / rate == pytest.approx(
        sum(json.loads(line)["audio_s"] for line in out.splitlines()), abs=0.002
    )
    assert np.abs(samples).max() >= AUDIBLE


@pytest.mark.parametrize(
    ("name", "content", "code"),
    [
        ("missing.wav", None, "no_such_file"),
        ("empty.wav", np.zeros(0, np.float32), "empty_audio"),
        ("text.wav", b"this is no sound", "unreadable_audio"),
        ("half.wav", b"RIFF\x24\x00\x00\x00WAVE", "unreadable_audio"),
        ("nan.wav", np.full(1_000, np.nan, np.float32), "unreadable_audio"),
    ],
)
def test_a_bad_file_is_one_line_and_the_turns_before_it_stand(
    run: Run, wav: Callable[..., Path], tmp_path: Path, name: str, content: Any, code: str
) -> None:
    if isinstance(content, bytes):
        (tmp_path / name).write_bytes(content)
    elif content is not None:
        soundfile.write(tmp_path / name, content, INPUT_RATE, subtype="FLOAT")
    reply = tmp_path / "reply.wav"
    status, out, err = run(wav("a.wav", voice(1.0)), tmp_path / name, "--json", "--out", reply)
    assert status == 2
    assert err.startswith(f"duologue: {tmp_path / name}: ")
    assert err.endswith(f"[{code}]\n")
    assert err.count("\n") == 1
    assert json.loads(out)["user"] == "What time is it?"
    assert len(read_audio(reply)[0]) > 24_000


def test_a_bad_first_file_costs_no_loading(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lineup, "load", lambda *_: pytest.fail("engines were loaded"))
    assert run(tmp_path / "missing.wav")[0] == 2


def test_a_folder_is_no_sound_file(run: Run, tmp_path: Path) -> None:
    status, _, err = run(tmp_path)
    assert status == 2
    assert "[unreadable_audio]" in err


def test_a_reply_file_that_cannot_be_written_is_known_before_talking(
    run: Run, wav: Callable[..., Path], tmp_path: Path
) -> None:
    status, out, err = run(wav("a.wav", voice(1.0)), "--out", tmp_path / "nowhere" / "reply.wav")
    assert (status, out) == (2, "")
    assert "[cannot_write]" in err


def test_a_turn_without_words_is_said_to_be_so_and_the_next_one_counts(run: Run, wav: Callable[..., Path]) -> None:
    status, out, _ = run(wav("a.wav", np.zeros(8_000, np.float32)), wav("b.wav", voice(1.0)), "--json")
    silent, spoken = map(json.loads, out.splitlines())
    assert status == 1
    assert silent["error"]["code"] == "nothing_understood"
    assert (silent["user"], silent["latency_ms"]) == ("", None)
    assert spoken["user"] == "What time is it?"


def test_silence_reads_well_too(run: Run, wav: Callable[..., Path]) -> None:
    _, out, _ = run(wav("a.wav", np.zeros(8_000, np.float32)))
    assert out.splitlines()[:2] == [
        "You:   (nothing was understood)",
        "Error: no words were understood [nothing_understood]",
    ]


def test_an_unknown_profile_names_those_that_exist(run: Run, wav: Callable[..., Path]) -> None:
    status, _, err = run(wav("a.wav", voice(1.0)), "--profile", "gpu")
    assert status == 2
    assert "packaged" in err
    assert err.endswith("[unknown_profile]\n")


@pytest.mark.models
@pytest.mark.realtime
@pytest.mark.speech
def test_two_questions_through_the_real_engines(
    recordings: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = open_store()
    if missing := [name for name in store.profile("packaged") if not store.present(name)]:
        pytest.skip(f"not here: {', '.join(missing)}; run `duologue models pull`")
    said = {
        "stimulus_hours": "What are your Saturday opening hours?",
        "turn_weekdays": "What time do you close on weekdays?",
    }
    files = [recordings / "questions" / f"latency_stimuli__{name}.wav" for name in said]
    assert talk.run(Config(), files, tmp_path / "reply.wav", as_json=True) == 0
    turns = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert wer((text, turn["user"]) for text, turn in zip(said.values(), turns, strict=True)) <= 0.15
    for turn in turns:
        assert turn["assistant"]
        assert turn["audio_s"] > 0.5
        assert 100 < turn["latency_ms"]["voice_to_voice"] < 10_000  # a busy machine is slow; the benchmarks judge speed
    assert np.abs(read_audio(tmp_path / "reply.wav")[0]).max() >= 0.05
