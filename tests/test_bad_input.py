"""Whatever comes in has an error with a code, and the session lives where it can: which test shows it, and the long ones."""

from __future__ import annotations

import ast
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from dialogue import TIMINGS, Dialogue, failures, lineup, play

from duologue import config
from duologue.audio import FRAME_S, FRAME_SAMPLES, INPUT_RATE, Audio, Frame, read_audio, resample
from duologue.config import Limits
from duologue.core.events import SpeechStarted
from duologue.core.speech import SpeechDetector, SpeechSettings
from duologue.engines import Loading, Piece, Prompt, Vad, silero
from duologue.engines.scripted import ScriptedRecognizer, ScriptedWriter
from duologue.errors import ConfigError, EngineError
from duologue.models import open_store
from duologue.places.thread import Lane
from duologue.protocols import Heard, ReplyBegan, ReplyDone, StateChanged, Type

TESTS = Path(__file__).parent

SHOWN = {
    "malformed JSON": (
        "test_native.py::test_what_is_wrong_has_a_code",
        "test_websocket.py::test_unusable_messages_are_answered_and_the_session_lives",
    ),
    "wrong types": ("test_native.py::test_what_is_wrong_has_a_code",),
    "unknown messages": (
        "test_native.py::test_what_is_wrong_has_a_code",
        "test_websocket.py::test_unusable_messages_are_answered_and_the_session_lives",
        "test_websocket.py::test_whoever_sends_only_nonsense_is_sent_away",
    ),
    "audio of an odd length": (
        "test_audio.py::test_half_a_sample_is_refused",
        "test_websocket.py::test_unusable_messages_are_answered_and_the_session_lives",
    ),
    "audio of a wrong rate": (
        "test_audio.py::test_a_rate_that_no_microphone_has_is_refused",
        "test_native.py::test_what_is_wrong_has_a_code",
    ),
    "an empty WAV": (
        "test_audio.py::test_a_file_without_samples_or_without_sense_is_refused",
        "test_talk.py::test_a_bad_file_is_one_line_and_the_turns_before_it_stand",
    ),
    "10 minutes of silence": (
        "test_bad_input.py::test_after_ten_minutes_of_silence_the_next_turn_is_heard",
        "test_bad_input.py::test_ten_minutes_of_silence_give_the_place_back_with_a_reason",
    ),
    "10 minutes of noise": (
        "test_bad_input.py::test_after_ten_minutes_of_noise_without_a_pause_the_next_turn_is_heard",
        "test_bad_input.py::test_after_ten_minutes_of_noises_the_next_turn_is_heard",
        "test_bad_input.py::test_ten_minutes_of_hiss_are_no_voice",
        "test_bad_input.py::test_ten_minutes_of_an_office_and_of_clapping_are_no_voice",
    ),
    "text of 100 kB": (
        "test_native.py::test_what_is_wrong_has_a_code",
        "test_llama.py::test_a_message_that_does_not_fit_by_itself_is_refused",
    ),
    "a client that stops reading": ("test_websocket.py::test_a_client_that_stops_reading_is_disconnected",),
    "a client that vanishes": ("test_websocket.py::test_a_client_that_vanishes_leaves_nothing",),
    "a model file with a flipped bit": (
        "test_store.py::test_a_flipped_bit_is_found_at_the_next_load_though_the_time_stamp_is_the_same",
        "test_store.py::test_verify_looks_at_what_is_there_and_raises_what_it_finds",
    ),
    "a port in use": ("test_server.py::test_a_taken_port_is_said_before_any_model_is_loaded",),
    "no disk": (
        "test_store.py::test_too_little_room_is_said_before_anything_is_fetched",
        "test_store.py::test_a_disk_that_fills_up_on_the_way_ends_the_pull_without_asking_the_next_source",
        "test_trace.py::test_a_full_disk_ends_the_trace_and_not_the_session",
    ),
}


@pytest.mark.parametrize("case", SHOWN)
def test_every_case_is_shown_somewhere(case: str) -> None:
    for pointer in SHOWN[case]:
        file, _, function = pointer.partition("::")
        tree = ast.parse((TESTS / file).read_text(encoding="utf-8"))
        assert function in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}, pointer


# ── Ten minutes ───────────────────────────────────────────────────────────────────────────────────────────────────────

TEN_MINUTES_S = 600.0
PATIENT = replace(TIMINGS, limits=Limits(idle_s=2 * TEN_MINUTES_S))

AFTER = [(TEN_MINUTES_S + 2, TEN_MINUTES_S + 4)]
"""A turn, when it is over."""


def after_ten_minutes_of(spans: list[tuple[float, float]]) -> Dialogue:
    """Voices too short to be understood, or too long, have no words; and then somebody speaks."""
    words = ScriptedRecognizer(texts=lambda stream, seconds: "Hello there." if 1.5 < seconds < 10 else "")
    return play([*spans, *AFTER], TEN_MINUTES_S + 8, engines=lineup(recognizer=words), config=PATIENT)


def answered_once(seen: Dialogue) -> bool:
    begun = [t for t, fact in seen.facts if isinstance(fact, ReplyBegan)]
    return len(begun) == 1 and begun[0] > TEN_MINUTES_S and len(seen.of(ReplyDone)) == 1


def test_after_ten_minutes_of_silence_the_next_turn_is_heard() -> None:
    seen = after_ten_minutes_of([])
    assert answered_once(seen)
    assert failures(seen) == []
    assert min(seen.times(StateChanged)) > TEN_MINUTES_S


def test_ten_minutes_of_silence_give_the_place_back_with_a_reason() -> None:
    seen = play([], TEN_MINUTES_S + 8)
    assert failures(seen) == [("idle_timeout", None)]


def test_after_ten_minutes_of_noise_without_a_pause_the_next_turn_is_heard() -> None:
    seen = after_ten_minutes_of([(1.0, TEN_MINUTES_S)])
    assert answered_once(seen)
    assert failures(seen) == []
    assert [fact.text for fact in seen.of(Heard) if fact.final] == ["Hello there."]


def test_after_ten_minutes_of_noises_the_next_turn_is_heard() -> None:
    seen = after_ten_minutes_of([(start, start + 0.4) for start in np.arange(1.0, TEN_MINUTES_S, 2.5)])
    assert answered_once(seen)
    assert failures(seen) == []
    assert [fact.text for fact in seen.of(Heard) if fact.final] == ["Hello there."]


@pytest.fixture
def vad() -> Vad:
    lane = Lane("silero")
    try:
        return silero.load(Loading(lambda name: open_store(config.load().models).folder(name), lane)).open()
    except ConfigError as error:
        pytest.skip(error.message)
    finally:
        lane.close()


def voices(vad: Vad, noise: Audio) -> int:
    """How often ten minutes of it start a voice: each time costs a recogniser's work, and holds a reply for a moment."""
    detector, frames = SpeechDetector(SpeechSettings(), INPUT_RATE), round(TEN_MINUTES_S / FRAME_S)
    blocks = np.resize(noise, frames * FRAME_SAMPLES).reshape(-1, FRAME_SAMPLES)
    positions = zip(range(0, blocks.size, FRAME_SAMPLES), blocks, strict=True)
    fed = [detector.feed(vad(Frame(block, at)), at, at + FRAME_SAMPLES) for at, block in positions]
    return sum(isinstance(edge, SpeechStarted) for edge in fed)


@pytest.mark.models
@pytest.mark.parametrize("level_db", [-50, -30, -10])
def test_ten_minutes_of_hiss_are_no_voice(vad: Vad, level_db: float) -> None:
    hiss = np.random.default_rng(0).normal(0.0, 10 ** (level_db / 20), 60 * INPUT_RATE)
    assert voices(vad, hiss.astype(np.float32)) == 0


@pytest.mark.models
@pytest.mark.speech
def test_ten_minutes_of_an_office_and_of_clapping_are_no_voice(vad: Vad, recordings: Path) -> None:
    noises = [resample(*read_audio(path), INPUT_RATE) for path in sorted((recordings / "noise").iterdir())]
    assert len(noises) >= 5
    assert voices(vad, np.concatenate(noises)) == 0


# ── A message that no context can hold ────────────────────────────────────────────────────────────────────────────────


@dataclass
class Narrow(ScriptedWriter):
    """Takes prompts of at most 1,000 characters, as `llama` takes so many tokens."""

    async def write(self, prompt: Prompt) -> AsyncIterator[Piece]:
        if sum(len(message.content) for message in prompt.messages) > 1_000:
            raise EngineError("narrow", "no room", code="prompt_too_long", retryable=False)
        async for piece in super().write(prompt):
            yield piece


def test_a_message_that_is_too_long_for_the_model_is_refused_and_the_next_one_is_answered() -> None:
    typed = [(0.5, Type("x" * 5_000)), (2.0, Type("Are you there?"))]
    seen = play([], 6, engines=lineup(writer=Narrow()), commands=typed)
    assert failures(seen) == [("prompt_too_long", 1)]
    assert seen.history == [("user", "Are you there?"), ("assistant", "You said: Are you there?")]
