"""Pauses and policies: what is counted, exactly; and the records, made with scripted ears on the jumping clock."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import virtual
from dialogue import lineup, microphone

from benchmarks import hearing, pauses, turns
from benchmarks.pauses import Pause, best_at, evaluate, frontier
from benchmarks.recordings import Recording, voiced_s
from duologue.audio import Audio
from duologue.config import Config
from duologue.core.patience import Patience
from duologue.engines.scripted import ScriptedRecognizer, ScriptedTurnDetector
from duologue.errors import ConfigError

END = Pause("g", "t", "", 2.0, 0.032, None, None, -0.1, 2.0, 0.9, 0.1, "Yes.", 0.9, 0.15, ())
HOLD = replace(END, at_s=1.0, silence_s=0.5, resumed_s=0.564, voice_after_s=0.0, spoken_s=1.0, complete=0.2)


def recording(samples: Audio, finished: bool = True) -> Recording:
    return Recording("one", "one", samples, *voiced_s(samples), "somebody", finished)


def test_a_decision_before_the_voice_is_noticed_again_cuts_the_user_off() -> None:
    assert evaluate([HOLD, END], lambda pause: 0.56, judged=False).cut == 1
    kept = evaluate([HOLD, END], lambda pause: 0.57, judged=False)
    assert (kept.cut, kept.holds, kept.turns_cut, kept.turns) == (0, 1, 0, 1)


def test_the_turn_machine_decides_nothing_while_the_voice_may_be_back() -> None:
    assert evaluate([HOLD, END], lambda pause: 0.53).cut == 1
    assert evaluate([HOLD, END], lambda pause: 0.535).cut == 0


def test_the_wait_counts_from_the_last_voiced_sample_by_energy_and_never_below_zero() -> None:
    assert evaluate([END], lambda pause: 0.4).waits_s == pytest.approx((0.5,))
    assert evaluate([replace(END, voice_after_s=0.6)], lambda pause: 0.4).waits_s == (0.0,)


def test_nothing_is_decided_before_the_opinion_and_the_words_are_there() -> None:
    late = replace(END, scored_s=0.7)
    assert evaluate([late], lambda pause: 0.2).mean_wait_s == pytest.approx(0.8)
    assert evaluate([late], lambda pause: 0.2, judged=False).mean_wait_s == pytest.approx(0.3)
    assert evaluate([late], lambda pause: 0.1, judged=False).mean_wait_s == pytest.approx(0.25)  # words


def test_the_policy_is_asked_again_with_each_new_opinion() -> None:
    surer = replace(END, complete=0.1, opinions=((0.4, 0.9), (0.6, 0.2)))
    assert evaluate([surer], lambda pause: 0.3 if pause.complete > 0.5 else 1.2).waits_s == pytest.approx((0.5,))
    assert evaluate([surer], lambda pause: 0.7 if pause.complete > 0.5 else 1.2).waits_s == pytest.approx((1.3,))


def test_weighed_words_count_once_they_are_known() -> None:
    weighed = replace(END, complete=0.5, by_words=0.9, weighed_s=0.4)
    assert evaluate([weighed], lambda pause: 0.3 if pause.by_words else 1.2).waits_s == pytest.approx((0.5,))
    assert evaluate([weighed], lambda pause: 1.2 if pause.by_words else 0.3).waits_s == pytest.approx((0.4,))
    unsaid = replace(END, by_words=None, weighed_s=0.4)
    assert evaluate([unsaid], lambda pause: 0.3 if pause.by_words else 1.2).waits_s == pytest.approx((1.3,))


def test_without_weighed_words_the_rules_stand_in() -> None:
    weighed = replace(END, complete=0.5, by_words=0.0, text="Is it?")
    assert turns.by_rules(Patience())(weighed) == turns.in_force(Patience())(replace(weighed, by_words=None))
    assert turns.by_rules(Patience())(weighed) < turns.in_force(Patience())(weighed)


def test_a_silence_under_a_tenth_of_a_second_is_no_hold_but_may_cut_a_turn() -> None:
    dip = replace(HOLD, silence_s=0.06, resumed_s=0.2)
    outcome = evaluate([dip], lambda pause: 0.1)
    assert (outcome.holds, outcome.cut, outcome.turns_cut) == (0, 0, 1)


def test_the_frontier_leaves_out_what_another_beats_in_both() -> None:
    found = [HOLD, END]
    named = [(str(s), evaluate(found, turns.fixed(s), judged=False)) for s in (0.3, 0.4, 0.6, 0.8)]
    assert [name for name, _ in frontier(named)] == ["0.3", "0.6"]
    best = best_at(named, 0.05)
    assert best is not None
    assert best[0] == "0.6"
    assert best_at(named[:2], 0.05) is None


def test_a_turn_detector_that_knows_beats_every_fixed_silence() -> None:
    families = {family.name: family for family in turns.sweep([HOLD, END], Patience())}
    by_silence = best_at(families["fixed silence"].outcomes, 0.0)
    by_curve = best_at(families["curve in force, varied"].outcomes, 0.0)
    assert by_silence is not None
    assert by_curve is not None
    assert by_curve[1].mean_wait_s < by_silence[1].mean_wait_s
    assert "in force" in turns.table(list(families.values()))
    told = turns.facts([HOLD, END], list(families.values()))
    assert told["at_budget"]["5%"]["fixed silence"]["holds"] == 1


def test_the_settings_in_force_are_those_of_the_turn_machine() -> None:
    (_, outcome), *_ = turns.sweep([HOLD, END], Patience(complete_s=0.3, incomplete_s=0.3))[-1].outcomes
    assert outcome.cut == 1
    assert outcome.mean_wait_s == pytest.approx(0.4)


def test_records_survive_the_disk(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "pauses.json"
    kept = [HOLD, replace(END, opinions=((0.3, 0.5),))]
    pauses.save(kept, path)
    assert pauses.load(path) == kept
    path.write_text("[{}]")
    with pytest.raises(ConfigError):
        pauses.load(path)


# ── Hearing ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def heard(samples: Audio, finished: bool = True, detector: ScriptedTurnDetector | None = None) -> list[Pause]:
    engines = lineup(
        recognizer=ScriptedRecognizer(texts=lambda stream, seconds: f"{seconds:.1f} s", delay_s=0.08),
        turn_detector=detector or ScriptedTurnDetector(lambda audio, text: 0.25, delay_s=0.05),
    )
    return virtual.run(hearing.hear(engines, Config(), {"made": [recording(samples, finished)]}))


def test_every_pause_is_found_with_what_a_session_would_know_of_it() -> None:
    hold, end = heard(microphone([(0.5, 1.5), (2.1, 3.1)], 3.2))
    assert (hold.group, hold.turn, hold.speaker, hold.complete) == ("made", "one", "somebody", 0.25)
    assert hold.is_hold
    assert not hold.is_end
    assert hold.silence_s == pytest.approx(0.6, abs=0.04)
    assert hold.resumed_s is not None
    assert hold.resumed_s == pytest.approx(0.664, abs=0.05)
    assert hold.at_s == pytest.approx(1.5, abs=0.04)
    assert hold.scored_s == pytest.approx(hold.noticed_s + 0.05, abs=0.001)
    assert hold.opinions[0] == pytest.approx((hold.scored_s + 0.09, 0.25), abs=0.001)
    assert all(known_s < 0.664 + 0.15 for known_s, _ in hold.opinions)
    assert hold.words_s == pytest.approx(hold.noticed_s + 0.08, abs=0.001)
    assert hold.earlier_s == ()
    assert end.is_end
    assert end.at_s + end.voice_after_s == pytest.approx(3.1, abs=0.03)
    assert end.earlier_s == (hold.silence_s,)
    assert end.spoken_s == pytest.approx(hold.spoken_s + 1.0, abs=0.07)


def test_words_are_weighed_where_the_detector_can() -> None:
    @dataclass
    class Worded(ScriptedTurnDetector):
        words_languages: frozenset[str] = frozenset({"en"})

        async def end_of_words(self, text: str) -> float:
            await asyncio.sleep(0.03)
            return 0.4

    pause, *_ = heard(microphone([(0.5, 1.5)], 1.6), detector=Worded(0.25))
    assert pause.by_words == 0.4
    assert pause.weighed_s - pause.words_s == pytest.approx(0.03, abs=0.001)


def test_a_recording_that_was_cut_out_has_no_end() -> None:
    assert [pause.is_hold for pause in heard(microphone([(0.5, 1.5), (2.1, 3.1)], 3.2), finished=False)] == [True]


def test_a_long_silence_separates_two_turns() -> None:
    found = heard(microphone([(0.5, 1.5), (5.0, 6.0)], 6.2))
    assert [pause.turn for pause in found] == ["one#1", "one#2"]
    assert all(pause.is_end for pause in found)
