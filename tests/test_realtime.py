"""The Realtime protocol: the session, its beginning, its changes and its end."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import get_args

import pytest
from realtime_wire import (
    PATIENCE,
    READY,
    SETTINGS,
    Client,
    began,
    checked,
    reply,
    spoken_turn,
    types,
)

from duologue import protocols as p
from duologue.core.patience import Manners
from duologue.errors import ClientError, EngineError
from duologue.protocols.realtime.dialect import RECEIVED, TOLD, UNTOLD
from duologue.protocols.realtime.extensions import EXTENSIONS, wanted
from duologue.protocols.realtime.incoming import CLIENT
from duologue.protocols.realtime.refusals import Refusal

USER = p.user_item("s1", 1)


def test_every_event_and_every_fact_is_dealt_with() -> None:
    assert set(RECEIVED) == set(CLIENT.values())
    assert set(TOLD) | UNTOLD == set(get_args(p.Fact))
    assert not set(TOLD) & UNTOLD


# ── The session ───────────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_first_event_is_the_whole_session_and_the_opening_is_not_told() -> None:
    client = Client()
    assert types(client.seen) == ["session.created"]
    session = client.seen[0]["session"]
    assert session["id"] == "sess_s1"
    assert session["object"] == "realtime.session"
    assert session["expires_at"] == 1_800_000_000
    assert session["instructions"] == "Be kind."
    assert session["audio"]["output"] == {
        "format": {"type": "audio/pcm", "rate": 24_000},
        "voice": "alloy",
        "speed": 1.0,
    }
    assert session["audio"]["input"]["turn_detection"]["type"] == "semantic_vad"


def test_the_opening_sets_what_the_protocol_has_of_its_own_and_leaves_the_servers_settings_alone() -> None:
    client = Client(begin=False)
    (opening,) = client.realtime.opening()
    assert isinstance(opening, p.Configure)
    assert opening.settings == {"input_rate": 24_000, "output_rate": 24_000}
    assert opening.turn_taking == client.realtime.turn_taking
    assert opening.turn_taking.patience == replace(PATIENCE, reopen_s=0.0, reopen_heard_s=0.0)


def test_a_session_may_be_configured_before_it_begins() -> None:
    client = Client(begin=False)
    wanted = {"instructions": "Be brief.", "audio": {"output": {"voice": "joe", "speed": 1.2}}}
    (opening,) = client.realtime.opening(wanted)
    assert isinstance(opening, p.Configure)
    assert opening.settings["instructions"] == "Be brief."
    assert (opening.settings["voice"], opening.settings["speed"]) == ("joe", 1.2)
    (created,) = client.tell(READY)
    assert created["session"]["instructions"] == "Be brief."
    with pytest.raises(ClientError, match=r"session\.bogus"):
        Client(begin=False).realtime.opening({"bogus": 1})


def test_what_the_server_says_aloud_by_default_is_shown() -> None:
    client = Client(begin=False)
    client.realtime.opening()
    settings = {**SETTINGS, "voice": "joe", "speed": 1.25}
    (created,) = client.tell(replace(READY, settings=settings))
    output = created["session"]["audio"]["output"]
    assert (output["voice"], output["speed"]) == ("joe", 1.25)
    assert client.update(instructions="Hm.").settings["voice"] == "joe"


def test_an_update_holds_once_the_session_has_taken_it() -> None:
    client = Client()
    command = client.ask("session.update", session={"type": "realtime", "instructions": "Be brief."})
    assert isinstance(command, p.Configure)
    assert command.settings["instructions"] == "Be brief."
    assert client.realtime.session["instructions"] == "Be kind."
    (updated,) = client.tell(p.Configured(SETTINGS))
    assert updated["type"] == "session.updated"
    assert updated["session"]["instructions"] == "Be brief."


def test_an_update_that_the_session_refuses_is_discarded_whole() -> None:
    client = Client()
    client.ask(
        "session.update",
        event_id="e1",
        session={"type": "realtime", "instructions": "x", "audio": {"output": {"voice": "nobody"}}},
    )
    error = client.refuse(ClientError("unknown_voice", "there is no voice 'nobody'"))
    assert error == {
        "type": "invalid_request_error",
        "code": "invalid_value",
        "message": "there is no voice 'nobody'",
        "param": "session.audio.output.voice",
        "event_id": "e1",
    }
    client.update(output_modalities=["text"])
    assert client.seen[-1]["session"]["instructions"] == "Be kind."


def test_openai_voices_are_names_of_the_default_one() -> None:
    client = Client()
    assert client.update(audio={"output": {"voice": "marin"}}).settings["voice"] == ""
    assert client.seen[-1]["session"]["audio"]["output"]["voice"] == "marin"
    assert client.update(audio={"output": {"voice": {"id": "joe"}}}).settings["voice"] == "joe"


def test_the_voice_is_fixed_once_it_was_heard_unless_it_stays_the_same() -> None:
    client = Client()
    client.tell(*spoken_turn(1, "Hello."), *reply(1, "Good day."))
    client.update(audio={"output": {"voice": "marin"}})
    error = client.refused("session.update", session={"type": "realtime", "audio": {"output": {"voice": "joe"}}})
    assert error["code"] == "cannot_update_voice"


def test_rates_are_those_of_the_formats_except_in_a_call() -> None:
    formats = {"input": {"format": {"type": "audio/pcmu"}}, "output": {"format": {"type": "audio/pcma"}}}
    command = Client().update(audio=formats)
    assert (command.settings["input_rate"], command.settings["output_rate"]) == (8_000, 8_000)
    assert "input_rate" not in Client(media=True).update(audio=formats).settings


def test_other_rates_than_the_services_own_are_taken_and_shown() -> None:
    client = Client()
    client.send(
        "session.update",
        session={"type": "realtime", "audio": {"input": {"format": {"type": "audio/pcm", "rate": 16_000}}}},
    )
    (message,) = client.realtime.tell(p.Configured(SETTINGS))  # not for strict clients, who would not ask for it
    assert json.loads(message)["session"]["audio"]["input"]["format"] == {"type": "audio/pcm", "rate": 16_000}


# ── Transcription sessions, endings, extensions ───────────────────────────────────────────────────────────────────────


def test_a_transcription_session_hears_and_says_nothing() -> None:
    client = Client(transcription=True)
    session = client.seen[0]["session"]
    assert (session["type"], session["object"]) == ("transcription", "realtime.transcription_session")
    assert "output" not in session["audio"]
    assert client.realtime.turn_taking.manners.answers is False
    assert types(client.tell(*spoken_turn(1, "Hello.")))[-1].endswith("transcription.completed")
    assert client.refused("response.create")["message"] == "A transcription session gives no responses."
    assert client.refused("response.create", response={"conversation": "none"})["type"] == "invalid_request_error"
    command = client.ask(
        "session.update", session={"type": "transcription", "audio": {"input": {"turn_detection": None}}}
    )
    assert isinstance(command, p.Configure)
    assert command.turn_taking is not None
    assert command.turn_taking.manners == Manners(answers=False, yields=False, by_hand=True)


@pytest.mark.parametrize(("transcription", "type"), [(True, "realtime"), (False, "transcription")])
def test_a_session_does_not_change_its_kind(transcription: bool, type: str) -> None:
    error = Client(transcription=transcription).refused("session.update", session={"type": type})
    assert error["param"] == "session.type"
    assert "is not allowed" in error["message"]


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("idle_timeout", ["session_expired"]),
        ("session_expired", ["session_expired"]),
        ("internal_error", ["internal_error"]),
        ("engine_failed", []),
    ],
)
def test_only_the_end_of_a_session_is_an_error_of_its_own(code: str, expected: list[str]) -> None:
    events = Client().tell(p.Failure(code, "why"))
    assert [event["error"]["code"] for event in events] == expected


def test_who_is_to_blame_is_said() -> None:
    client = Client()
    assert client.refuse(ClientError("server_full", "all places are taken"))["type"] == "server_error"
    assert client.refuse(EngineError("x", "broke"))["type"] == "server_error"
    assert client.refuse(ClientError("missing_api_key", "a key, please"))["code"] is None
    assert client.refuse(ClientError("invalid_api_key", "not that"))["type"] == "invalid_request_error"


def test_what_is_done_less_well_is_an_error_to_nobody_and_told_to_those_who_ask() -> None:
    """pipecat ends at an error, and so does a program of npm's `openai` that listens to none."""
    assert Client().tell(p.Degraded("piper is not here"), p.Degraded("may be Hindi", 1)) == []
    realtime = Client(extensions=frozenset({"notice"})).realtime
    told = [json.loads(m) for fact in (p.Degraded("x"), p.Degraded("y", 1)) for m in realtime.tell(fact)]
    assert [event["type"] for event in told] == ["duologue.notice"] * 2
    assert [(event["code"], event["message"], event["item_id"]) for event in told] == [
        ("degraded", "x", None),
        ("degraded", "y", USER),
    ]


def test_a_failure_that_no_event_of_openais_tells_is_a_notice() -> None:
    """Words that could not be found out, for a client that wants no words."""
    realtime = Client(extensions=frozenset({"notice"})).realtime
    realtime.tell(p.UserSpeech(1, True, 0.0))
    (notice,) = map(json.loads, realtime.tell(p.Failure("engine_failed", "the recogniser broke", 1)))
    assert (notice["type"], notice["code"], notice["item_id"]) == ("duologue.notice", "engine_failed", USER)


FELT = p.Felt(1, "sad", 1.204, 0.871, ("words: 'triste'",))
SPOKEN = p.ReplyVoice(1, "espeak", "es", (("kokoro", "is not here"),), "gentle", "cannot")
NOTICE = p.Degraded("may be Hindi", 1)
LATENCY = p.Latency(1, {"voice_to_voice": 600.0}, {"silence": 600.0})


@pytest.mark.parametrize(
    "asked", [(), ("emotion",), ("language", "latency"), ("language", "emotion", "voice", "notice", "latency")]
)
def test_other_events_are_sent_only_to_those_who_asked_for_them(asked: tuple[str, ...]) -> None:
    client = Client(extensions=frozenset(asked))
    facts = (*spoken_turn(1, "Hola."), FELT, began(1), SPOKEN, NOTICE, LATENCY)
    told = [m for fact in facts for m in client.realtime.tell(fact)]
    extra = {event["type"]: event for m in told if (event := json.loads(m))["type"].startswith("duologue.")}
    assert list(extra) == [f"duologue.{name}" for name in asked]
    for name in asked:
        assert set(extra[f"duologue.{name}"]) == {"type", "event_id", *EXTENSIONS[name].fields}
    for message in told:
        if '"type":"duologue.' not in str(message):
            checked(message)


def test_other_events_name_what_they_are_of() -> None:
    client = Client(extensions=frozenset(EXTENSIONS))
    told = [
        json.loads(m)
        for fact in (*spoken_turn(1, "Hola."), FELT, began(1), SPOKEN, NOTICE, LATENCY)
        for m in client.realtime.tell(fact)
    ]
    extra = {event["type"]: event for event in told}
    felt = extra["duologue.emotion"]
    assert (felt["item_id"], felt["label"], felt["intensity"], felt["confidence"]) == (USER, "sad", 1.2, 0.87)
    assert felt["evidence"] == ["words: 'triste'"]
    assert extra["duologue.language"]["item_id"] == USER
    assert extra["duologue.voice"]["passed_over"] == [{"speaker": "kokoro", "reason": "is not here"}]
    assert (extra["duologue.voice"]["emotion"], extra["duologue.voice"]["unmet"]) == ("gentle", "cannot")
    assert extra["duologue.latency"]["response_id"] == "resp_s1_1"
    assert extra["duologue.latency"]["marks_ms"] == {"voice_to_voice": 600.0}


def test_which_other_events_a_client_wants_stands_in_its_address() -> None:
    assert wanted(None) == wanted("") == frozenset()
    assert wanted("1") == frozenset(EXTENSIONS)
    assert wanted("emotion, latency") == {"emotion", "latency"}
    with pytest.raises(Refusal) as refused:
        wanted("emotion,moods")
    assert "'moods'" in refused.value.message


def test_half_a_character_from_a_model_is_not_sent() -> None:
    client = Client()
    client.tell(*spoken_turn(1, "Hello."), began(1))
    events = client.tell(p.ReplyWord(1, 0, "a\ud83d", False, True, 0.0, 0.0))
    assert events[-1]["delta"] == "a?"


def test_ids_do_not_repeat() -> None:
    client = Client()
    client.tell(*spoken_turn(1, "Hello."), *reply(1, "Good day."))
    ids = [event["event_id"] for event in client.seen]
    assert len(set(ids)) == len(ids)
