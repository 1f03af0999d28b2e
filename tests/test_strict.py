"""That what no strict client would take is noticed, in whatever test it is made."""

from __future__ import annotations

import pytest
import strict
from openai.types.realtime import ConversationItemAdded, RealtimeErrorEvent

from duologue.protocols.realtime.outgoing import Outgoing


def test_an_event_that_a_client_would_refuse_is_noticed_where_it_is_made() -> None:
    say = Outgoing()
    say(RealtimeErrorEvent, error={"type": "server_error", "message": "m", "event_id": None})
    assert strict.wrong == []
    say(ConversationItemAdded, item={"type": "message", "role": "user", "content": [{"type": "input_audio"}]})
    assert strict.wrong.pop()


@pytest.mark.parametrize(
    "event",
    [
        '{"type":"nope","event_id":"event_1"}',
        '{"type":"input_audio_buffer.cleared"}',
        '{"type":"input_audio_buffer.cleared","event_id":"1"}',
        '{"type":"conversation.item.added","event_id":"event_1","item":{"type":"message","role":"user",'
        '"content":[{"type":"input_audio"}]}}',
        '{"type":"conversation.item.added","event_id":"event_1","item":{"type":"message","role":"user","status":null,'
        '"content":[]}}',
        '{"type":"conversation.item.created","event_id":"event_1","item":{"type":"message","role":"user","content":[]}}',
        '{"type":"response.content_part.added","event_id":"event_1","response_id":"r","item_id":"i","output_index":0,'
        '"content_index":0,"part":{"type":"audio","transcript":null}}',
        '{"type":"response.content_part.added","event_id":"event_1","response_id":"r","item_id":"i","output_index":0,'
        '"content_index":0,"part":{"type":"output_audio","transcript":""}}',
        '{"type":"conversation.item.input_audio_transcription.failed","event_id":"event_1","item_id":"i",'
        '"content_index":0,"error":{"type":"server_error","param":null}}',
        '{"type":"conversation.item.input_audio_transcription.completed","event_id":"event_1","item_id":"i",'
        '"content_index":0,"transcript":"","usage":{"type":"tokens","total_tokens":1,"input_tokens":1,"output_tokens":0}}',
        '{"type":"conversation.item.input_audio_transcription.completed","event_id":"event_1","item_id":"i",'
        '"content_index":0,"transcript":""}',
        '{"type":"response.output_audio.delta","event_id":"event_1","item_id":"i","output_index":0,"content_index":0,'
        '"delta":""}',
        '{"type":"rate_limits.updated","event_id":"event_1","rate_limits":[{"name":"tokens","limit":null}]}',
        '{"type":"response.created","event_id":"event_1","response":{"audio":{"output":{"voice":{"id":"v"}}},'
        '"usage":null}}',
        '{"type":"response.done","event_id":"event_1","response":{"audio":{"output":{"voice":"v"}},'
        '"usage":{"total_tokens":null}}}',
        '{"type":"response.done","event_id":"event_1","response":{"audio":{"output":{"voice":"v"}},"usage":null,'
        '"status_details":"failed"}}',
        '{"type":"response.done","event_id":"event_1","response":{"audio":{"output":{"voice":"v"}},"usage":null,'
        '"metadata":"m"}}',
    ],
)
def test_what_is_wrong_with_it(event: str) -> None:
    with pytest.raises((AssertionError, ValueError)):
        strict.check(event)


def test_a_rate_that_the_client_asked_for_is_no_surprise() -> None:
    strict.check(
        '{"type":"session.updated","event_id":"event_1","session":{"type":"realtime","audio":'
        '{"output":{"format":{"type":"audio/pcm","rate":16000}}}}}'
    )
