"""Clients that do anything at any time: the order of events holds, and no response is forgotten."""

from __future__ import annotations

from collections.abc import Callable

from dialogue import lineup, says
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from realtime_talk import Talk, talk

from duologue.engines.scripted import ScriptedWriter


def truncate_last(held: Talk) -> None:
    items = [event["item"]["id"] for event in held.of("response.output_item.added") if "-" not in event["item"]["id"]]
    for item in items[-1:]:
        held.send("conversation.item.truncate", item_id=item, content_index=0, audio_end_ms=300)


ACTS: dict[str, Callable[[Talk], None]] = {
    "says": lambda held: held.says("And now?"),
    "asks": lambda held: held.send("response.create"),
    "asks in words": lambda held: held.send("response.create", response={"output_modalities": ["text"]}),
    "asks beside": lambda held: held.send("response.create", response={"conversation": "none", "input": []}),
    "cancels": lambda held: held.send("response.cancel"),
    "clears sound": lambda held: held.send("output_audio_buffer.clear"),
    "clears microphone": lambda held: held.send("input_audio_buffer.clear"),
    "commits": lambda held: held.send("input_audio_buffer.commit"),
    "truncates": lambda held: truncate_last(held),
    "deletes": lambda held: held.send("conversation.item.delete", item_id="item_s1_1u"),
    "retrieves": lambda held: held.send("conversation.item.retrieve", item_id="item_s1_1a"),
    "by hand": lambda held: held.update(audio={"input": {"turn_detection": None}}),
    "server vad": lambda held: held.update(audio={"input": {"turn_detection": {"type": "server_vad"}}}),
    "does not yield": lambda held: held.update(
        audio={"input": {"turn_detection": {"type": "semantic_vad", "interrupt_response": False}}}
    ),
    "other format": lambda held: held.update(audio={"output": {"format": {"type": "audio/pcmu"}}}),
}

MIDDLING = "This reply takes some two seconds."

TIMES = st.integers(0, 120).map(lambda tick: tick * 0.05)


@settings(max_examples=60, derandomize=True, database=None, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    steps=st.lists(st.tuples(TIMES, st.sampled_from(sorted(ACTS))), max_size=8),
    voices=st.lists(st.tuples(TIMES, st.sampled_from([0.2, 0.6, 1.5])), max_size=3),
    replies=st.sampled_from([(MIDDLING,), ("Yes.", MIDDLING), ("Yes.",)]),
)
def test_whatever_a_client_does_the_order_of_events_holds(
    steps: list[tuple[float, str]], voices: list[tuple[float, float]], replies: tuple[str, ...]
) -> None:
    engines = lineup(recognizer=says("tell me", "mm-hm", "wait please"), writer=ScriptedWriter(replies=replies))
    script = [(at, ACTS[name]) for at, name in steps]
    held = talk([(at, at + length) for at, length in voices], 22, *script, engines=engines)
    created, done = (
        {event["response"]["id"] for event in held.of(f"response.{state}")} for state in ("created", "done")
    )
    assert created == done, "a response was forgotten"
    accepted = held.sent.count("response.create") - len(held.of("error"))
    assert len(created) >= accepted, "a request was forgotten"
