"""The benchmarks themselves: figures with their n, cut-offs by energy, and both scripts on the jumping clock."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import virtual
from dialogue import lineup, microphone, voice

from benchmarks import __main__ as bench
from benchmarks import bargein, recordings, v2v
from benchmarks.cuts import Cut, cut
from benchmarks.figures import Figure, table
from benchmarks.recordings import Recording, voiced_s
from benchmarks.v2v import Measured
from duologue.app import App
from duologue.audio import Audio
from duologue.caller import Exchange, Reply
from duologue.config import Config
from duologue.engines.scripted import ScriptedRecognizer, ScriptedTurnDetector, ScriptedWriter
from duologue.errors import ConfigError

STORY = "The dragon lived by the sea and it was very old, older than the ships. " * 4


def recording(said: str, samples: Audio) -> Recording:
    return Recording(said, said, samples, *voiced_s(samples))


def named(figures: Sequence[Figure]) -> dict[str, Figure]:
    return {figure.name.strip(): figure for figure in figures}


# ── Figures ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_figure_says_how_many_values_it_stands_on() -> None:
    facts = Figure("latency", "ms", [300.0, 100.0, 200.0]).facts()
    assert facts == {"n": 3, "unit": "ms", "median": 200.0, "p95": 290.0, "worst": 300.0}


@pytest.mark.parametrize(
    ("values", "overall", "at_most", "needs", "ok"),
    [
        ([100.0, 200.0], None, {"median": 150.0}, 1, True),
        ([100.0, 202.0], None, {"median": 150.0}, 1, False),
        ([100.0] * 10 + [900.0], None, {"median": 150.0, "p95": 400.0}, 1, False),
        ([100.0, 200.0], None, {"median": 150.0}, 20, False),
        ([], None, {"median": 150.0}, 0, False),
        ([0.0, 0.0], 0.0, {"overall": 0.0}, 1, True),
        ([0.0, 1.0], 0.5, {"overall": 0.0}, 1, False),
        ([0.0], None, {"overall": 0.0}, 1, False),
    ],
)
def test_a_limit_is_kept_only_by_enough_values(
    values: list[float], overall: float | None, at_most: dict[str, float], needs: int, ok: bool
) -> None:
    assert Figure("f", "u", values, overall, at_most, needs).ok is ok


def test_the_table_shows_every_figure_and_every_verdict() -> None:
    lines = table([Figure("a", "ms", [1.0], at_most={"median": 0.5}), Figure("b", "share", [], None)]).splitlines()
    assert len(lines) == 3
    assert lines[1].endswith("MISSED")
    assert lines[2].split() == ["b", "share", "0"]


# ── Recordings ────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_voice_is_found_by_its_energy() -> None:
    samples = microphone([(0.5, 1.5)], 2.0) + 0.001 * np.random.default_rng(1).standard_normal(32_000).astype(
        np.float32
    )
    begins_s, ends_s = voiced_s(samples)
    assert begins_s == pytest.approx(0.5, abs=0.02)
    assert ends_s == pytest.approx(1.5, abs=0.02)
    assert voiced_s(voice(0.75))[1] == pytest.approx(0.75, abs=0.02)


def test_a_voice_after_breath_has_no_clear_onset() -> None:
    breath = 0.25 * voice(0.5)
    clear, unclear = recording("a", voice(1.0)), recording("b", np.concatenate([breath, voice(1.0)]))
    assert [each.said for each in recordings.clear_onsets([clear, unclear])] == ["a"]


@pytest.mark.speech
def test_every_english_question_is_there_and_mm_hm_is_none(recordings: Path) -> None:
    from benchmarks.recordings import backchannels, questions

    asked, murmured = questions(recordings), backchannels(recordings)
    assert len(asked) >= 20
    assert [each.said for each in murmured] == ["Mm hmm."]
    for each in [*asked, *murmured]:
        assert 0 <= each.begins_s < each.ends_s <= len(each.samples) / 16_000 + 1e-6


def test_without_recordings_it_says_what_to_set(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        recordings.questions(tmp_path)
    assert caught.value.code == "no_recordings"


# ── Voice to voice ────────────────────────────────────────────────────────────────────────────────────────────────────


def measure(asked: Sequence[Recording], turns: int = 2, **engines: Any) -> dict[str, Figure]:
    app = App(Config(), lineup(**engines))
    return named(virtual.run(v2v.run(app, asked, turns, 60.0)))


def test_every_turn_is_measured_and_both_clocks_agree() -> None:
    figures = measure([recording("Hello there.", voice(1.0 + n / 10)) for n in range(3)])
    for name in ("voice to voice", "voice to voice, by energy", "endpoint, from the voice's end"):
        assert len(figures[name].values) == 3
    differences = np.subtract(figures["voice to voice"].values, figures["voice to voice, by energy"].values)
    assert np.abs(differences).max() <= 33
    for where in Cut:
        assert figures[where.value].overall == 0
    assert figures["transcript WER"].overall == 0
    assert figures["replies not audible"].overall == 0
    assert figures["gaps in a reply"].overall == 0
    assert figures["turn decided to first word"].facts()["median"] < 100


def test_a_transcript_that_is_wrong_counts() -> None:
    figures = measure([recording("Hello my friend.", voice(1.0))])
    assert figures["transcript WER"].overall == pytest.approx(2 / 3)


def test_the_read_back_is_the_recognisers_own() -> None:
    recognizer = ScriptedRecognizer(texts=["Hello there.", "You said: Hello."])
    figures = measure([recording("Hello there.", voice(1.0))], recognizer=recognizer)
    assert figures["reply read back, WER"].overall == pytest.approx(1 / 4)


ASKED = "Thanks for both. Is there food at the conference?"


def cut_off(pause_s: float, first: str, turn_detector: ScriptedTurnDetector) -> list[str]:
    """How one turn was cut off in whose pause the recogniser had heard `first`."""
    samples = microphone([(0.0, 1.0), (1.0 + pause_s, 3.0 + pause_s)], 3.0 + pause_s)
    words = ScriptedRecognizer(texts=lambda stream, seconds: first if seconds < 1.5 else ASKED)
    writer = ScriptedWriter([STORY])
    figures = measure([recording(ASKED, samples)], writer=writer, recognizer=words, turn_detector=turn_detector)
    return [where.value for where in Cut if figures[where.value].overall == 1]


@pytest.mark.parametrize("pause_s", [0.7, 2.0])
@pytest.mark.parametrize(
    ("first", "where"),
    [
        ("Thanks for", ["cut off in mid-sentence"]),
        ("Thanks for both. Is there", ["cut off in mid-sentence"]),
        ("Thank for both.", ["answered between two sentences"]),
        (ASKED, ["answered within the last word"]),
    ],
)
def test_where_the_user_was_answered_is_told_by_the_words_heard(pause_s: float, first: str, where: list[str]) -> None:
    assert cut_off(pause_s, first, ScriptedTurnDetector(1.0)) == where


def test_a_pause_in_which_nobody_answers_is_no_cut() -> None:
    patient = ScriptedTurnDetector(lambda audio, text: float(len(audio) > 16_000 * 2.5))
    assert cut_off(0.7, "Thanks for", patient) == []
    assert cut_off(2.0, "Thanks for", patient) == ["cut off in mid-sentence"]


@pytest.mark.parametrize(("cuts", "ok"), [(0, True), (1, True), (2, False)])
def test_one_user_of_sixty_may_be_cut_off_in_mid_sentence(cuts: int, ok: bool) -> None:
    def measured(words: str) -> Measured:
        reply = Reply(1, words, "en", voice_ended_at=1.0, decided_at=1.2)
        return Measured(recording(ASKED, voice(0.1)), Exchange(0.0, [reply]), voice_ended_at=3.0)

    spoken = [measured("Thanks for")] * cuts + [measured("Thanks for both.")] * (60 - cuts)
    figures = named(v2v.figures(spoken))
    assert figures["cut off in mid-sentence"].ok is ok
    assert figures["answered between two sentences"].overall == (60 - cuts) / 60


def test_a_cut_that_the_session_made_up_for_counts_and_the_worst_one_is_told() -> None:
    reply = Reply(1, "Thanks for both.", "en", voice_ended_at=1.0, decided_at=1.2)
    whole = Reply(2, "Is there food at the conference?", "en", voice_ended_at=3.0, decided_at=3.3)
    withdrawn = Reply(2, "Is there", "en", voice_ended_at=2.0, decided_at=2.2)

    def worst(*taken_back: Reply) -> Cut | None:
        exchange = Exchange(0.0, [reply, whole], list(taken_back))
        return Measured(recording(ASKED, voice(0.1)), exchange, voice_ended_at=3.0).cut

    assert worst() is Cut.BETWEEN
    assert worst(withdrawn) is Cut.MID_SENTENCE


@pytest.mark.parametrize(
    ("said", "heard", "where"),
    [
        ("Yes. I'm having trouble with it.", "Yes.", Cut.BETWEEN),
        ("Yes. I'm having trouble with it.", "Yes, yes.", Cut.BETWEEN),
        ("Yes. I'm having trouble with it.", "Yes, I am", Cut.MID_SENTENCE),
        ("Yes. I'm having trouble with it.", "", Cut.MID_SENTENCE),
        ("Thanks for both session suggestions. Is there food?", "thanks for both sessions suggestion", Cut.BETWEEN),
        ("Thanks for both session suggestions. Is there food?", "Thanks for both session.", Cut.MID_SENTENCE),
        ("One last detail: when is breakfast on June 4th?", "One last detail.", Cut.MID_SENTENCE),
        ("My number is, uh, four five nine two.", "My number is for", Cut.MID_SENTENCE),
        ("My number is, uh, four five nine two.", "My number is 4592.", Cut.LAST_WORD),
        ("It costs 3.5 euros. Right?", "It costs three", Cut.MID_SENTENCE),
    ],
)
def test_misheard_words_do_not_move_the_cut(said: str, heard: str, where: Cut) -> None:
    assert cut(said, heard) is where


# ── Barge-in ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def barge(texts: Callable[[int, float], str]) -> dict[str, Figure]:
    engines = {"writer": ScriptedWriter([STORY]), "recognizer": ScriptedRecognizer(texts=texts)}
    asked, murmured = [recording("Stop that now please.", voice(1.5))], [recording("Mm hmm.", voice(0.4))]
    return named(virtual.run(bargein.run(App(Config(), lineup(**engines)), asked, murmured)))


def test_an_interruption_is_timed_from_the_users_first_voiced_sample() -> None:
    figures = barge(lambda stream, seconds: "Stop that now please." if seconds > 1.2 else "Mm-hm.")
    last = figures["barge-in: last frame of reply sent"]
    assert len(last.values) == bargein.TRIALS
    assert last.ok
    assert figures["barge-ins ignored"].overall == 0
    assert min(figures["barge-in: reply given up"].values) > max(figures["barge-in: reply held"].values) > 60
    assert figures["words in the history that were not heard"].overall == 0


def test_mm_hm_holds_the_reply_for_a_moment_only() -> None:
    figures = barge(lambda stream, seconds: "Stop that now please." if seconds > 1.2 else "Mm-hm.")
    assert figures['"mm-hm" that stopped the reply for good'].overall == 0
    held = figures['"mm-hm": reply held for']
    assert len(held.values) == bargein.BACKCHANNELS
    assert max(held.values) < 1_000


def test_a_reply_that_yields_to_mm_hm_is_found_out() -> None:
    figures = barge(lambda stream, seconds: "Stop that now please.")
    assert figures['"mm-hm" that stopped the reply for good'].overall == 1


# ── The command ───────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def scripted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asyncio, "run", virtual.run)
    monkeypatch.setattr(bench, "warm", lambda config: nullcontext(App(config, lineup(writer=ScriptedWriter([STORY])))))
    monkeypatch.setattr(recordings, "questions", lambda: [recording("Hello there.", voice(1.0))] * 3)
    monkeypatch.setattr(recordings, "backchannels", lambda: [recording("Mm hmm.", voice(0.4))])


@pytest.mark.usefixtures("scripted")
def test_it_prints_a_table_and_json_and_judges_only_when_asked(capsys: pytest.CaptureFixture[str]) -> None:
    assert bench.main(["v2v", "--road", "core", "--limit", "2", "--listen", "1"]) == 0
    out, err = capsys.readouterr()
    figures = json.loads(out)["figures"]
    assert figures["voice to voice"]["n"] == 2
    assert figures["voice to voice"]["ok"] is False  # 2 turns are not 60
    assert "voice to voice" in err
    assert "MISSED" in err
    assert "barge-in: reply held" not in figures
    assert bench.main(["v2v", "--road", "core", "--limit", "2", "--listen", "1", "--check"]) == 1


@pytest.mark.usefixtures("scripted")
@pytest.mark.parametrize(("cuts", "status"), [(1, 0), (2, 1)])
def test_the_check_fails_for_the_sake_of_two_cut_sentences_in_sixty(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], cuts: int, status: int
) -> None:
    whole = voice(0.992)  # whole frames: the session's clock and the energy's agree
    paused = microphone([(0.0, 1.0), (1.7, 3.7)], 3.7)
    asked = [recording(ASKED, samples) for samples in [paused] * cuts + [whole] * (60 - cuts)]
    words = ScriptedRecognizer(texts=lambda stream, seconds: ASKED if stream >= 2 * cuts or seconds > 1.5 else "Thanks")
    engines = lineup(recognizer=words, writer=ScriptedWriter([ASKED]), turn_detector=ScriptedTurnDetector(1.0))
    monkeypatch.setattr(recordings, "questions", lambda: asked)
    monkeypatch.setattr(bench, "warm", lambda config: nullcontext(App(config, engines)))
    assert bench.main(["v2v", "--road", "core", "--turns", "1", "--check"]) == status
    out, err = capsys.readouterr()
    missed = [name for name, facts in json.loads(out)["figures"].items() if facts.get("ok") is False]
    assert missed == ["cut off in mid-sentence"] * status
    assert err.count("[cut off in mid-sentence]") == cuts


@pytest.mark.usefixtures("scripted")
def test_an_unknown_benchmark_is_a_usage_error() -> None:
    with pytest.raises(SystemExit):
        bench.main(["v3v"])


def test_without_recordings_it_is_one_line(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def gone() -> list[Recording]:
        raise ConfigError("no_recordings", "there are none")

    monkeypatch.setattr(recordings, "questions", gone)
    monkeypatch.setattr(bench, "warm", lambda config: nullcontext(App(config, lineup())))
    assert bench.main([]) == 2
    assert capsys.readouterr().err == "benchmarks: there are none [no_recordings]\n"
