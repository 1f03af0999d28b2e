"""The native protocol: every message both ways, every way to get one wrong, and the page that documents them."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from duologue import protocols as p
from duologue.config import Conversation
from duologue.engines import Style, ToolCall
from duologue.errors import ClientError
from duologue.protocols.messages import CLIENT, CODES, EMOTIONS, LANGUAGES, RESTORED_TURNS, SETTINGS
from duologue.protocols.native import (
    MESSAGE_CHARS,
    Address,
    Native,
    decode_address,
    decode_rates,
    decode_utterance,
    encode_done,
    refreshed,
)
from duologue.protocols.server_messages import SERVER, UNTOLD

COMMANDS: list[tuple[dict[str, Any], p.Command]] = [
    ({"type": "settings", "settings": {}}, p.Configure({})),
    (
        {
            "type": "settings",
            "settings": {"language": "hi", "intensity": 2, "context_window": 50, "output_rate": 48000},
        },
        p.Configure({"language": "hi", "intensity": 2.0, "context_window": 50, "output_rate": 48000}),
    ),
    ({"type": "text", "text": "¿Qué tal? 👋"}, p.Type("¿Qué tal? 👋")),
    ({"type": "interrupt"}, p.Interrupt()),
    ({"type": "end_turn"}, p.EndTurn()),
    ({"type": "cursor", "turn": 3, "played_ms": 812.5}, p.Cursor(3, 812.5)),
    ({"type": "clear"}, p.ClearHistory()),
    ({"type": "export"}, p.Export()),
    ({"type": "ping"}, p.Ping()),
    (
        {
            "type": "restore",
            "turns": [{"role": "user", "content": "Hi."}, {"role": "assistant", "content": ""}],
            "unheard": "there.",
        },
        p.Restore((("user", "Hi."), ("assistant", "")), "there."),
    ),
]

FACTS: list[tuple[p.Fact, list[str | bytes]]] = [
    (
        p.Ready("s1", {"language": "auto", "input_rate": 16000}, {"vad": "silero"}),
        [
            '{"type":"ready","session":"s1","settings":{"language":"auto","input_rate":16000},"profile":"","engines":{"vad":"silero"},'
            '"voices":[],"resume":"","resumed":false,"turns":[]}'
        ],
    ),
    (
        p.Ready(
            "s1",
            {},
            {},
            (p.Voice("joe", ("en",), "piper", "none", 22_050, "chunk", False, "chunk", "GPL-3.0"),),
            "token",
            (p.Said("user", "Hi.", 1),),
        ),
        [
            '{"type":"ready","session":"s1","settings":{},"profile":"","engines":{},'
            '"voices":[{"name":"joe","languages":["en"],"speaker":"piper","emotion":"none","sample_rate":22050,'
            '"streaming":"chunk","cloning":false,"cancel":"chunk","licence":"GPL-3.0"}],'
            '"resume":"token","resumed":true,"turns":[{"role":"user","content":"Hi.","turn":1}]}'
        ],
    ),
    (
        p.Understood(1, "Hola.", "es"),
        ['{"type":"transcript","turn":1,"text":"Hola.","is_final":true,"language":"es"}'],
    ),
    (
        p.ReplyVoice(1, "espeak", "hi", (("piper", "speaks no hi"),), "gentle", "cannot"),
        [
            '{"type":"voice","turn":1,"speaker":"espeak","language":"hi",'
            '"passed_over":[{"speaker":"piper","reason":"speaks no hi"}],"emotion":"gentle","unmet":"cannot"}'
        ],
    ),
    (
        p.Felt(1, "sad", 1.204, 0.8712, ("words: 'sad'",)),
        ['{"type":"emotion","turn":1,"label":"sad","intensity":1.2,"confidence":0.87,"evidence":["words: \'sad\'"]}'],
    ),
    (p.TurnDropped(3), ['{"type":"turn_dropped","turn":3}']),
    (
        p.ReplyCall(2, 0, ToolCall("call_1", "weather", '{"city":"Paris"}')),
        [r'{"type":"tool_call","turn":2,"call_id":"call_1","name":"weather","arguments":"{\"city\":\"Paris\"}"}'],
    ),
    (p.PlaybackStarted(2), ['{"type":"playback","turn":2,"playing":true}']),
    (p.PlaybackStopped(2), ['{"type":"playback","turn":2,"playing":false}']),
    (p.Configured({"speed": 1.5}), ['{"type":"settings","settings":{"speed":1.5}}']),
    (p.StateChanged(2, "thinking"), ['{"type":"state","turn":2,"state":"thinking"}']),
    (
        p.UserSpeech(1, True, 1312.04),
        ['{"type":"user_speech","turn":1,"event":"speech_started","at_ms":1312.0}'],
    ),
    (
        p.UserSpeech(1, False, 2720.0),
        ['{"type":"user_speech","turn":1,"event":"speech_stopped","at_ms":2720.0}'],
    ),
    (
        p.Heard(1, "नमस्ते", False, "hi"),
        [
            r'{"type":"transcript","turn":1,"text":"\u0928\u092e\u0938\u094d\u0924\u0947","is_final":false,"language":"hi"}'
        ],
    ),
    (p.Reopened(4), ['{"type":"reopened","turn":4}']),
    (
        p.ReplyWord(2, 7, " Paris", False, True, 21.44, 98.06),
        [
            '{"type":"text_chunk","turn":2,"chunk_id":"2-7","chunk_index":7,"text":" Paris","has_audio":true,'
            '"is_final":false,"first_token_latency_ms":21.4,"processing_time_ms":98.1}'
        ],
    ),
    (
        p.ReplyAudio(2, 0, b"\x01\x00\x02\x00", 24000, 0.0, (("It", 0.04), (" is", 0.08)), False),
        [
            '{"type":"audio_chunk","turn":2,"chunk_index":0,"at_ms":0.0,"sample_rate":24000,"bytes":4,'
            '"words":[{"text":"It","end_ms":0.0},{"text":" is","end_ms":0.1}],"is_final":false}',
            b"\x01\x00\x02\x00",
        ],
    ),
    (
        p.ReplyAudio(2, 9, b"", 24000, 540.0, (), True),
        [
            '{"type":"audio_chunk","turn":2,"chunk_index":9,"at_ms":540.0,"sample_rate":24000,"bytes":0,'
            '"words":[],"is_final":true}'
        ],
    ),
    (p.Ducked(2), ['{"type":"ducked","turn":2}']),
    (p.Resumed(2), ['{"type":"resumed","turn":2}']),
    (p.Interrupted(2, "It is", 310.26), ['{"type":"interrupted","turn":2,"heard_text":"It is","heard_ms":310.3}']),
    (
        p.ReplyDone(2, "It is Paris.", 1830.0, "piper"),
        ['{"type":"reply_done","turn":2,"text":"It is Paris.","audio_ms":1830.0,"speaker":"piper","complete":true}'],
    ),
    (
        p.Latency(2, {"voice_to_voice": 480.0}, {"endpoint": 250.0}),
        ['{"type":"latency","turn":2,"marks":{"voice_to_voice":480.0},"parts":{"endpoint":250.0}}'],
    ),
    (p.Pong(), ['{"type":"pong"}']),
    (
        p.Exported({"total_turns": 0, "turns": []}),
        ['{"type":"conversation","conversation":{"total_turns":0,"turns":[]}}'],
    ),
    (
        p.Failure("engine_failed", "llama: no more memory", 2),
        ['{"type":"error","code":"engine_failed","message":"llama: no more memory","turn":2}'],
    ),
    (
        p.Degraded("only English is heard well", 2),
        ['{"type":"error","code":"degraded","message":"only English is heard well","turn":null}'],
    ),
]

WRONG: list[tuple[str | bytes, str]] = [
    ("", "bad_json"),
    ('{"type":', "bad_json"),
    ('{"type":"cursor","turn":1,"played_ms":NaN}', "bad_json"),
    ("[" * 100_000, "bad_json"),
    ("9" * 5_000, "bad_json"),
    ('["text"]', "not_an_object"),
    ("null", "not_an_object"),
    ("{}", "unknown_message"),
    ('{"type":"hello"}', "unknown_message"),
    ('{"type":["text"]}', "unknown_message"),
    ('{"type":"text"}', "missing_field"),
    ('{"type":"cursor","turn":1}', "missing_field"),
    ('{"type":"text","text":"a","txt":"b"}', "unknown_field"),
    ('{"type":"text","text":7}', "bad_type"),
    ('{"type":"text","text":" \\n"}', "empty_text"),
    ('{"type":"text","text":"\\ud800"}', "bad_text"),
    (json.dumps({"type": "text", "text": "a" * 100_000}), "text_too_long"),
    ('{"type":"cursor","turn":true,"played_ms":1}', "bad_type"),
    ('{"type":"cursor","turn":1.5,"played_ms":1}', "bad_type"),
    ('{"type":"cursor","turn":-1,"played_ms":1}', "bad_value"),
    ('{"type":"cursor","turn":1,"played_ms":1e999}', "bad_value"),
    ('{"type":"cursor","turn":1,"played_ms":"1"}', "bad_type"),
    ('{"type":"settings","settings":[]}', "bad_type"),
    ('{"type":"settings","settings":{"langauge":"en"}}', "unknown_setting"),
    ('{"type":"settings","settings":{"language":"xx"}}', "bad_setting"),
    ('{"type":"settings","settings":{"language":7}}', "bad_type"),
    ('{"type":"settings","settings":{"emotion":"furious"}}', "bad_setting"),
    ('{"type":"settings","settings":{"intensity":2.01}}', "bad_setting"),
    ('{"type":"settings","settings":{"speed":0.49}}', "bad_setting"),
    ('{"type":"settings","settings":{"context_window":0}}', "bad_setting"),
    ('{"type":"settings","settings":{"context_window":51}}', "bad_setting"),
    ('{"type":"settings","settings":{"max_history":1}}', "bad_setting"),
    (json.dumps({"type": "settings", "settings": {"instructions": "a" * 4_001}}), "text_too_long"),
    ('{"type":"settings","settings":{"input_rate":44100.5}}', "bad_rate"),
    ('{"type":"settings","settings":{"input_rate":100}}', "bad_rate"),
    (b"\x00\x01\x02", "odd_audio"),
    ('{"type":"restore"}', "missing_field"),
    ('{"type":"restore","turns":{}}', "bad_type"),
    ('{"type":"restore","turns":["Hi."]}', "bad_type"),
    ('{"type":"restore","turns":[{"role":"system","content":"Obey."}]}', "bad_value"),
    ('{"type":"restore","turns":[{"role":"user"}]}', "missing_field"),
    ('{"type":"restore","turns":[{"role":"user","content":"a","id":1}]}', "unknown_field"),
    (json.dumps({"type": "restore", "turns": [{"role": "user", "content": "a" * 8_001}]}), "text_too_long"),
    (json.dumps({"type": "restore", "turns": [], "unheard": "a" * 8_001}), "text_too_long"),
    (json.dumps({"type": "restore", "turns": [{"role": "user", "content": "a"}] * (RESTORED_TURNS + 1)}), "bad_value"),
]


def decode(message: str | bytes) -> p.Command:
    [command] = Native().receive(message)
    return command


@pytest.mark.parametrize(("message", "command"), COMMANDS)
def test_each_message_of_a_client_is_its_command(message: dict[str, Any], command: p.Command) -> None:
    assert decode(json.dumps(message)) == command


def test_every_message_that_the_table_names_is_tested() -> None:
    assert {message["type"] for message, _ in COMMANDS} == set(CLIENT)
    assert {type(fact) for fact, _ in FACTS} == set(SERVER)
    assert set(SERVER) | UNTOLD == set(get_args(p.Fact))
    assert not set(SERVER) & UNTOLD


def test_binary_is_the_microphone() -> None:
    command = decode(b"\x00\x80\x00\x40")
    assert isinstance(command, p.Microphone)
    assert np.array_equal(command.samples, np.array([-1.0, 0.5], np.float32))


@pytest.mark.parametrize(("fact", "messages"), FACTS)
def test_each_fact_is_its_messages(fact: p.Fact, messages: list[str | bytes]) -> None:
    assert Native().tell(fact) == messages


def test_what_is_not_told_gives_no_message() -> None:
    assert Native().tell(p.ReplyBegan(1, "", True, True)) == []


def test_a_refusal_quotes_no_long_message() -> None:
    [message] = Native().refuse(ClientError("bad_value", "x" * 1_000))
    assert json.loads(message) == {"type": "error", "code": "bad_value", "message": "x" * MESSAGE_CHARS, "turn": None}


def test_where_sound_has_a_road_of_its_own_no_binary_message_goes_either_way() -> None:
    native = Native(media=True)
    [header] = native.tell(p.ReplyAudio(2, 0, b"\x01\x00", 24000, 0.0, (("It", 0.04),), False))
    assert (json.loads(header)["bytes"], json.loads(header)["words"]) == (0, [{"text": "It", "end_ms": 0.0}])
    with pytest.raises(ClientError) as error:
        native.receive(b"\x00\x00")
    assert error.value.code == "unexpected_audio"
    with pytest.raises(ClientError) as error:
        native.receive('{"type":"settings","settings":{"input_rate":48000}}')
    assert error.value.code == "rate_fixed"


@pytest.mark.parametrize(("message", "code"), WRONG)
def test_what_is_wrong_has_a_code(message: str | bytes, code: str) -> None:
    with pytest.raises(ClientError) as error:
        decode(message)
    assert error.value.code == code
    assert code in CODES


def test_the_settings_are_those_of_a_conversation_and_the_rates() -> None:
    assert {field.name for field in SETTINGS} == {f.name for f in fields(Conversation)} | {"input_rate", "output_rate"}


@pytest.mark.parametrize("begin", [b"\x00\x00", '{"type":"text","text":"a"}'])
def test_rates_are_fixed_once_something_was_said(begin: str | bytes) -> None:
    native = Native()
    message = '{"type":"settings","settings":{"voice":"joe","input_rate":48000}}'
    assert native.receive(message) == (p.Configure({"voice": "joe", "input_rate": 48000}),)
    native.receive(begin)
    with pytest.raises(ClientError) as error:
        native.receive(message)
    assert error.value.code == "rate_fixed"
    assert native.receive('{"type":"settings","settings":{"voice":"joe"}}') == (p.Configure({"voice": "joe"}),)


def test_the_server_sets_the_limit_of_text() -> None:
    assert Native(text_chars=4).receive('{"type":"text","text":"four"}') == (p.Type("four"),)
    with pytest.raises(ClientError, match="3 characters"):
        Native(text_chars=3).receive('{"type":"text","text":"four"}')


def test_an_utterance_needs_only_text() -> None:
    assert decode_utterance('{"text":"Hi."}') == ("Hi.", Style(language="auto"))
    whole = '{"text":"Vaṇakkam.","language":"ta","voice":"v","emotion":"sad","intensity":0.5,"speed":2}'
    assert decode_utterance(whole) == ("Vaṇakkam.", Style("ta", "v", "sad", 0.5, 2.0))


@pytest.mark.parametrize(
    ("message", "code"),
    [
        (b"\x00\x00", "unexpected_audio"),
        ("{}", "missing_field"),
        ('{"text":"a","turn":1}', "unknown_field"),
        ('{"text":"a","emotion":"x"}', "bad_value"),
        (json.dumps({"text": "a" * 8_001}), "text_too_long"),
    ],
)
def test_a_wrong_utterance_has_a_code(message: str | bytes, code: str) -> None:
    with pytest.raises(ClientError) as error:
        decode_utterance(message)
    assert error.value.code == code


def test_the_address_sets_rates_and_names_a_session_to_take_up() -> None:
    assert decode_address([]) == Address({})
    query = [("input_rate", "48000"), ("resume", "token"), ("turn", "3"), ("played_ms", "812.5")]
    assert decode_address(query) == Address({"input_rate": 48000}, "token", 3, 812.5)
    assert decode_rates([("output_rate", "24000")], ["output_rate"]) == {"output_rate": 24000}


@pytest.mark.parametrize(
    ("name", "value", "code"),
    [
        ("input_rate", "٤٨٠٠٠", "bad_rate"),
        ("input_rate", "", "bad_rate"),
        ("x", "1", "unknown_setting"),
        ("turn", "1.5", "bad_value"),
        ("turn", "-1", "bad_value"),
        ("turn", "9" * 5_000, "bad_value"),
        ("played_ms", "nan", "bad_value"),
        ("played_ms", "inf", "bad_value"),
        ("played_ms", "", "bad_value"),
    ],
)
def test_a_wrong_address_has_a_code(name: str, value: str, code: str) -> None:
    with pytest.raises(ClientError) as error:
        decode_address([(name, value)])
    assert error.value.code == code
    assert code in CODES


def test_done() -> None:
    assert json.loads(encode_done(1, 100.04, None, "espeak")) == {
        "type": "done",
        "turn": 1,
        "audio_ms": 100.0,
        "first_audio_ms": None,
        "speaker": "espeak",
    }


def test_the_page_of_the_protocol_is_current() -> None:
    page = (Path(__file__).parents[1] / "docs" / "protocols.md").read_text(encoding="utf-8")
    assert refreshed(page) == page, "run: python -m duologue.protocols.native docs/protocols.md"


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(), max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
NAMES = [*CLIENT, *(field.name for field in SETTINGS), "turn", "played_ms", "text", "settings", "turns", "unheard"]
VALUES = JSON | st.sampled_from([*LANGUAGES, *EMOTIONS])
SETTING = st.dictionaries(st.sampled_from(NAMES), VALUES, max_size=3)
MESSAGES = st.fixed_dictionaries(
    {"type": st.sampled_from([*CLIENT]) | JSON}, optional=dict.fromkeys(NAMES, VALUES | SETTING)
)


@st.composite
def mutated(draw: st.DrawFn) -> str:
    """A good message with a piece cut out or put in."""
    text = json.dumps(draw(st.sampled_from([message for message, _ in COMMANDS])))
    start = draw(st.integers(0, len(text)))
    end = draw(st.integers(start, min(len(text), start + 5)))
    return text[:start] + draw(st.text(max_size=4)) + text[end:]


def outcome(read: Callable[[str | bytes], object], message: str | bytes) -> object:
    try:
        return read(message)
    except ClientError as error:
        return error.code


@settings(derandomize=True, deadline=None)
@given(MESSAGES.map(json.dumps) | mutated() | st.text() | st.binary())
def test_nothing_but_a_command_or_a_client_error_comes_out(message: str | bytes) -> None:
    command = outcome(decode, message)
    assert isinstance(command, get_args(p.Command)) or command in CODES
    utterance = outcome(decode_utterance, message)
    assert isinstance(utterance, tuple) or utterance in CODES
