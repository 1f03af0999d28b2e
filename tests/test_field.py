"""What users of other voice servers complain about, and the test that shows it does not happen here.

The complaints are public issues of eleven projects, in the order in which they were collected; `docs` and the issue tracker of
this repository say what is planned for those that are not answered yet.
"""

from __future__ import annotations

import ast
import tomllib
from dataclasses import dataclass
from pathlib import Path

import pytest

TESTS = Path(__file__).parent
ROOT = TESTS.parent


@dataclass(frozen=True)
class Answer:
    """`tests` as file::function, or `later`: what is still missing and in which issue it comes."""

    complaint: str
    tests: tuple[str, ...] = ()
    later: str = ""


FIELD = {
    1: Answer(
        "mm-hm stops the reply for good", ("test_session.py::test_mm_hm_lets_the_reply_go_on_sample_for_sample",)
    ),
    2: Answer(
        "a reply does not resume after a false interruption",
        (
            "test_reply.py::test_held_it_sends_nothing_and_goes_on_sample_for_sample",
            "test_playout.py::test_held_the_listener_stands_still_and_goes_on_from_there",
            "test_session_failures.py::test_a_recogniser_that_fails_over_the_reply_lets_it_go_on",
        ),
    ),
    3: Answer(
        "the history is wrong after an interruption",
        (
            "test_session.py::test_a_user_who_speaks_over_the_reply_is_heard_at_once_and_has_the_floor",
            "test_random_dialogues.py::test_the_laws_hold_in_every_dialogue",
        ),
    ),
    4: Answer(
        "cutting beyond the end, or at zero, breaks the session",
        (
            "test_playout.py::test_the_cursor_overrules_the_clock_and_is_clamped_to_what_was_sent",
            "test_conversation.py::test_a_spoken_reply_is_cut_by_the_ends_of_its_words",
        ),
    ),
    5: Answer(
        "an interruption is slow, or the client plays on",
        (
            "test_session.py::test_a_user_who_speaks_over_the_reply_is_heard_at_once_and_has_the_floor",
            "test_session.py::test_after_an_interruption_nothing_more_is_sent",
            "test_websocket.py::test_an_interruption_overtakes_the_sound_of_its_turn",
        ),
    ),
    6: Answer(
        "the server guesses what the client has played",
        ("test_session.py::test_a_client_that_says_where_it_is_decides_what_was_heard",),
    ),
    7: Answer(
        "the reply interrupts itself through the loudspeaker",
        (
            "test_session.py::test_the_echo_of_the_own_reply_does_not_interrupt_it",
            "test_words.py::test_an_echo_is_made_of_the_replys_own_words",
            "test_field.py::test_the_page_asks_for_echo_cancellation",
        ),
    ),
    8: Answer(
        "a noise filter is mistaken for echo cancellation", ("test_field.py::test_the_page_asks_for_echo_cancellation",)
    ),
    9: Answer(
        "gaps in playback",
        (
            "test_playout.py::test_running_dry_is_one_gap_however_often_one_looks",
            "test_answer.py::test_the_first_piece_is_spoken_before_the_text_is_complete",
        ),
    ),
    10: Answer(
        "a sender that sleeps in real time starves the client",
        ("test_playout.py::test_a_bounded_lead_leaves_at_once_and_the_rest_as_it_is_heard",),
    ),
    11: Answer(
        "clicks between the pieces of sound",
        (
            "test_audio.py::test_pieces_resampled_one_by_one_join_as_the_whole",
            "test_reply.py::test_every_sample_made_is_sent_and_the_last_block_is_empty_and_final",
        ),
    ),
    12: Answer(
        "the end of the sound is lost under load",
        (
            "test_playout.py::test_every_byte_leaves_once_and_in_order_whatever_happens",
            "test_reply.py::test_every_sample_made_is_sent_and_the_last_block_is_empty_and_final",
        ),
    ),
    13: Answer(
        "memory leaks",
        (
            "test_leaks.py::test_ten_sessions_leave_no_task_no_thread_and_no_file",
            "test_leaks.py::test_ten_real_sessions_leave_no_memory_behind",
        ),
    ),
    14: Answer(
        "a long turn costs more and more",
        (
            "test_audio.py::test_the_tape_is_bounded_and_gives_the_frame_that_holds_a_position",
            "test_ear.py::test_only_the_last_seconds_of_a_turn_are_kept",
            "test_session.py::test_nobody_holds_the_floor_for_longer_than_a_minute",
        ),
    ),
    15: Answer(
        "one user only, or a copy of the models for each",
        ("test_app.py::test_sessions_share_the_engines_and_nothing_else",),
    ),
    16: Answer(
        "the server hangs with several sessions, or by an engine",
        (
            "test_app.py::test_sessions_are_refused_beyond_the_limit_and_a_place_is_given_back",
            "test_session_failures.py::test_a_recogniser_that_hangs_ends_the_turn_in_the_end",
            "test_session_failures.py::test_an_engine_that_hangs_over_a_reply_fails_when_the_limit_is_over",
        ),
    ),
    17: Answer(
        "turns end too late, or in mid-sentence",
        (
            "test_endpointing.py::test_the_wait_is_geometric_between_its_extremes",
            "test_session.py::test_a_turn_closed_too_early_is_one_turn_and_not_two",
            "test_session.py::test_a_pause_within_a_turn_costs_a_draft_that_nobody_sees",
        ),
    ),
    18: Answer(
        "work only begins after the pause, and guesses confuse the client",
        (
            "test_session.py::test_the_reply_leaves_as_soon_as_the_turn_is_decided_and_its_voice_can_speak",
            "test_session_failures.py::test_a_draft_that_fails_is_nobodys_business_and_the_turn_gets_another_try",
        ),
    ),
    19: Answer(
        "nobody can see where the time goes",
        ("test_trace.py::test_the_waterfall_counts_from_the_last_voiced_sample_and_its_parts_sum_to_the_whole",),
    ),
    20: Answer(
        "slow from end to end",
        ("test_session.py::test_the_reply_leaves_as_soon_as_the_turn_is_decided_and_its_voice_can_speak",),
    ),
    21: Answer(
        "it cannot be installed",
        (
            "test_imports.py::test_importing_the_base_package_imports_nothing_heavy_and_nothing_under_the_gpl",
            "test_registry.py::test_a_package_that_is_not_installed_is_said_to_be_so",
        ),
    ),
    22: Answer("it needs a GPU", ("test_field.py::test_the_base_install_needs_no_gpu_library",)),
    23: Answer(
        "WebRTC fails behind NAT", later="WebRTC, with a fixed port and a self-test: issue 23; until then WebSocket"
    ),
    24: Answer("not compatible with the OpenAI Realtime API", later="the protocol and its client matrix: issue 24"),
    25: Answer(
        "the wrong voice for the language",
        (
            "test_session.py::test_the_users_language_chooses_the_voice_and_the_clients_setting_overrules_it",
            "test_lineup.py::test_voices_are_those_that_speak_the_language_best_first",
        ),
        later="staying with a language through a doubtful utterance, for all seven languages: issue 25",
    ),
    26: Answer(
        "a lost connection loses the session", later="a resume token and the sound that was not heard: issue 26"
    ),
    27: Answer(
        "it starts without a model, or not at all",
        (
            "test_lineup.py::test_what_can_be_done_without_costs_a_warning",
            "test_lineup.py::test_what_cannot_be_done_without_stops_the_start",
            "test_server.py::test_the_address_is_told_only_when_the_models_are_warm",
        ),
    ),
    28: Answer(
        "licences that forbid shipping",
        (
            "test_store.py::test_list_shows_each_model_with_licence_and_state",
            "test_store.py::test_pull_shows_the_licence_once_and_then_one_short_line",
        ),
    ),
    29: Answer(
        "nothing but a microphone",
        (
            "test_session.py::test_typed_words_are_a_turn_and_end_the_reply_before_them",
            "browser/test_page.py::test_typed_text_is_answered_word_by_word",
        ),
    ),
}


def functions(file: str) -> set[str]:
    tree = ast.parse((TESTS / file).read_text(encoding="utf-8"))
    return {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}


@pytest.mark.parametrize("number", range(1, 30))
def test_every_complaint_has_its_answer(number: int) -> None:
    answer = FIELD[number]
    assert answer.tests or answer.later
    for pointer in answer.tests:
        file, _, function = pointer.partition("::")
        assert function in functions(file), f"{pointer} does not exist"


def test_nothing_is_put_off_without_its_issue() -> None:
    assert [number for number, answer in FIELD.items() if answer.later] == [23, 24, 25, 26]
    assert all("issue " in answer.later for answer in FIELD.values() if answer.later)


def test_the_page_asks_for_echo_cancellation() -> None:
    """And for noise suppression by its own name: they are two things, and neither does the other's work."""
    page = (ROOT / "src" / "duologue" / "web" / "microphone.js").read_text(encoding="utf-8")
    assert '["echoCancellation", "noiseSuppression", "autoGainControl"]' in page


def test_the_base_install_needs_no_gpu_library() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    needed = " ".join(project["dependencies"]).lower()
    assert not any(heavy in needed for heavy in ("torch", "nvidia", "cuda", "tensorflow", "onnxruntime-gpu"))
