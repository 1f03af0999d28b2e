"""The session object: what an update changes of it, and what its fields mean to a session."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from realtime_wire import PATIENCE, SPEECH, Client

from duologue import protocols as p
from duologue.core.patience import Manners, Patience
from duologue.engines import Tool

BASE = replace(PATIENCE, reopen_s=0.0, reopen_heard_s=0.0)


def taking(turn_detection: Any, client: Client | None = None) -> p.TurnTaking:
    found = (client or Client()).update(audio={"input": {"turn_detection": turn_detection}}).turn_taking
    assert found is not None
    return found


def shown(client: Client) -> dict[str, Any]:
    assert client.seen[-1]["type"] == "session.updated"
    session: dict[str, Any] = client.seen[-1]["session"]
    return session


# ── Turn detection ────────────────────────────────────────────────────────────────────────────────────────────────────


def test_by_default_the_turn_detector_decides() -> None:
    taken = Client().realtime.turn_taking
    assert taken == p.TurnTaking(SPEECH, BASE, Manners(), judged=True)


@pytest.mark.parametrize(
    ("eagerness", "complete_s", "incomplete_s"),
    [("low", 0.6, 2.4), ("medium", 0.3, 1.2), ("auto", 0.3, 1.2), ("high", 0.18, 0.72)],
)
def test_eagerness_stretches_and_shrinks_the_pauses(eagerness: str, complete_s: float, incomplete_s: float) -> None:
    patience = taking({"type": "semantic_vad", "eagerness": eagerness}).patience
    assert patience.complete_s == pytest.approx(complete_s)
    assert patience.incomplete_s == pytest.approx(incomplete_s)


def test_however_patient_the_server_is_set_nobody_waits_longer_than_the_service() -> None:
    client = Client(patience=Patience(complete_s=1.0, incomplete_s=6.0))
    assert taking({"type": "semantic_vad", "eagerness": "low"}, client).patience.incomplete_s == 8.0
    assert taking({"type": "semantic_vad", "eagerness": "high"}, client).patience.incomplete_s == 2.0


def test_server_vad_goes_by_silence_alone() -> None:
    taken = taking(
        {
            "type": "server_vad",
            "threshold": 0.7,
            "prefix_padding_ms": 150,
            "silence_duration_ms": 700,
            "idle_timeout_ms": 9_000,
            "create_response": False,
            "interrupt_response": False,
        }
    )
    assert not taken.judged
    assert (taken.patience.complete_s, taken.patience.incomplete_s) == (0.7, 0.7)
    assert (taken.speech.start_probability, taken.speech.lead_in_s) == (0.7, 0.15)
    assert taken.speech.stop_probability == pytest.approx(0.55)
    assert taken.manners == Manners(answers=False, yields=False, nudge_s=9.0)


def test_no_silence_at_all_is_one_frame() -> None:
    taken = taking({"type": "server_vad", "silence_duration_ms": 0, "threshold": 0.1})
    assert taken.patience.complete_s == 0.032
    assert taken.speech.stop_probability == 0.0


def test_without_turn_detection_the_client_says_what_a_turn_is() -> None:
    assert taking(None).manners == Manners(answers=False, yields=False, by_hand=True)


def test_a_turn_that_was_announced_is_never_opened_again() -> None:
    for turn_detection in ({"type": "server_vad"}, {"type": "semantic_vad"}, None):
        patience = taking(turn_detection).patience
        assert (patience.reopen_s, patience.reopen_heard_s) == (0.0, 0.0)


# ── What an update changes ────────────────────────────────────────────────────────────────────────────────────────────


def test_only_what_is_given_changes() -> None:
    client = Client()
    taking({"type": "server_vad", "threshold": 0.4, "silence_duration_ms": 300}, client)
    taken = taking({"type": "server_vad", "silence_duration_ms": 900}, client)
    assert (taken.speech.start_probability, taken.patience.complete_s) == (0.4, 0.9)
    assert shown(client)["audio"]["input"]["turn_detection"] == {
        "type": "server_vad",
        "threshold": 0.4,
        "prefix_padding_ms": 300,
        "silence_duration_ms": 900,
        "idle_timeout_ms": None,
        "create_response": True,
        "interrupt_response": True,
    }
    taking({"type": "semantic_vad"}, client)
    assert taking({"type": "server_vad"}, client).speech.start_probability == 0.5


def test_null_clears_what_it_can_clear_and_changes_nothing_else() -> None:
    client = Client()
    heard = {
        "transcription": {"model": "whisper-1", "language": "en"},
        "noise_reduction": {"type": "near_field"},
        "turn_detection": {"type": "server_vad", "idle_timeout_ms": 5_000},
    }
    client.update(instructions="Be brief.", tracing="auto", prompt={"id": "x"}, audio={"input": heard})
    nothing = {
        "transcription": None,
        "noise_reduction": None,
        "turn_detection": {"type": "server_vad", "idle_timeout_ms": None},
    }
    client.update(instructions=None, tracing=None, prompt=None, tools=None, audio={"input": nothing, "output": None})
    session = shown(client)
    assert session["instructions"] == "Be brief."
    assert (session["tracing"], session["prompt"], session["tools"]) == (None, None, [])
    assert session["audio"]["input"]["transcription"] is None
    assert session["audio"]["input"]["noise_reduction"] is None
    assert session["audio"]["input"]["turn_detection"]["idle_timeout_ms"] is None


def test_empty_clears_instructions_and_tools() -> None:
    client = Client()
    client.update(instructions="x", tools=[{"type": "function", "name": "f"}])
    command = client.update(instructions="", tools=[])
    assert command.settings["instructions"] == ""
    assert command.writing == p.Writing()


def test_what_cannot_be_done_is_taken_and_shown() -> None:
    client = Client()
    ignored: dict[str, Any] = {
        "tracing": {"workflow_name": "w"},
        "prompt": {"id": "p", "version": "1"},
        "include": ["item.input_audio_transcription.logprobs"],
        "parallel_tool_calls": True,
        "reasoning": {"effort": "low"},
        "truncation": {
            "type": "retention_ratio",
            "retention_ratio": 1.0,
            "token_limits": {"post_instructions": 500},
        },
        "audio": {"input": {"noise_reduction": {"type": "far_field", "strength": 0.5}}},
        "tools": [{"type": "mcp", "server_label": "s", "server_url": "https://example.com"}],
        "tool_choice": {"type": "mcp", "server_label": "s"},
    }
    command = client.update(**ignored)
    assert command.writing == p.Writing()
    session = shown(client)
    assert session["audio"]["input"]["noise_reduction"] == {"type": "far_field", "strength": 0.5}
    assert {name: session[name] for name in ignored if name != "audio"} == {
        name: value for name, value in ignored.items() if name != "audio"
    }


def test_a_model_may_be_named_but_the_one_that_runs_is_shown() -> None:
    client = Client()
    client.update(model="gpt-realtime-mini")
    assert shown(client)["model"] == "gpt-realtime"


def test_a_transcription_is_shown_as_the_service_shows_it() -> None:
    client = Client()
    client.update(audio={"input": {"transcription": {"model": "whisper-1"}}})
    expected = {"model": "whisper-1", "language": None, "prompt": None}
    assert shown(client)["audio"]["input"]["transcription"] == expected


@pytest.mark.parametrize(
    ("truncation", "retention"),
    [
        ("auto", 1.0),
        ("disabled", None),
        ({"type": "retention_ratio", "retention_ratio": 0.8}, 0.8),
        (
            {"type": "retention_ratio", "retention_ratio": 0, "token_limits": {"post_instructions": 500}},
            0.0,
        ),
    ],
)
def test_truncation_says_how_much_of_the_conversation_stays(truncation: Any, retention: float | None) -> None:
    writing = Client().update(truncation=truncation).writing
    assert writing is not None
    assert writing.retention == retention


def test_writing_is_what_the_session_says() -> None:
    command = Client().update(
        tools=[{"type": "function", "name": "f", "description": None, "parameters": {"type": "object"}}],
        tool_choice="required",
        max_output_tokens=70,
        output_modalities=["text"],
    )
    assert command.writing == p.Writing((Tool("f", "", {"type": "object"}),), "required", 70, spoken=False)


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ({}, {"type": "audio/pcm", "rate": 24_000}),
        ({"type": "audio/pcm"}, {"type": "audio/pcm", "rate": 24_000}),
        ({"type": "audio/pcma"}, {"type": "audio/pcma"}),
    ],
)
def test_a_format_replaces_the_one_before(given: dict[str, Any], kept: dict[str, Any]) -> None:
    client = Client()
    client.update(audio={"output": {"format": {"type": "audio/pcmu"}}})
    client.update(audio={"output": {"format": given}})
    assert shown(client)["audio"]["output"]["format"] == kept
