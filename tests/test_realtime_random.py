"""Clients that do anything at any time: the order of events holds, and no response is forgotten."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable

from dialogue import lineup, says
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from realtime_talk import Talk, talk

from duologue.audio import FRAME_S, Frame
from duologue.engines import Pause, Transcript
from duologue.engines.scripted import ScriptedRecognizer, ScriptedWriter


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


@settings(max_examples=25, derandomize=True, database=None, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    steps=st.lists(
        st.tuples(TIMES, st.sampled_from(["says", "asks", "cancels", "retrieves", "clears sound", "commits"])),
        max_size=12,
    ),
    delay_s=st.sampled_from([0.0, 0.3, 3.0]),
    kind=st.sampled_from(["realtime", "transcription"]),
)
def test_by_hand_every_commit_is_answered_once_and_no_sound_is_lost(
    steps: list[tuple[float, str]], delay_s: float, kind: str
) -> None:
    commits: list[str] = []
    seconds: list[float] = []

    class Recognizer(ScriptedRecognizer):
        async def transcribe(self, audio: AsyncIterator[Frame | Pause]) -> AsyncIterator[Transcript]:
            seconds.append(0.0)
            stream = len(seconds) - 1

            async def counted() -> AsyncIterator[Frame | Pause]:
                async for item in audio:
                    seconds[stream] += FRAME_S if isinstance(item, Frame) else 0.0
                    yield item

            async for transcript in super().transcribe(counted()):
                yield transcript

    def commit(held: Talk) -> None:
        commits.append(f"commit{len(commits)}")
        held.send("input_audio_buffer.commit", event_id=commits[-1])

    def by_hand(held: Talk) -> None:
        heard = {"input": {"turn_detection": None, "transcription": {"model": "whisper-1"}}}
        held.send("session.update", session={"type": kind, "audio": heard})

    script = [(at, commit if name == "commits" else ACTS[name]) for at, name in steps]
    engines = lineup(recognizer=Recognizer(texts=lambda stream, _: f"turn {stream}", delay_s=delay_s))
    held = talk([], 50, (0.0, by_hand), *script, engines=engines, transcription=kind == "transcription")
    committed = [event["item_id"] for event in held.of("input_audio_buffer.committed")]
    refused = [event["error"]["event_id"] for event in held.of("error") if event["error"]["event_id"] in commits]
    assert len(committed) + len(refused) == len(commits)
    assert len(set(committed)) == len(committed)
    words = held.of("conversation.item.input_audio_transcription.completed")
    assert [event["item_id"] for event in words] == committed, "in another order"
    assert [event["transcript"] for event in words] == [f"turn {number}" for number in range(len(committed))]
    assert abs(sum(seconds) - 50.0) <= 0.1
