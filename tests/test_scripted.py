from __future__ import annotations

import asyncio
import tomllib
from collections.abc import AsyncIterator, Iterable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import TypeVar, cast

import numpy as np
import pytest
import virtual
from hypothesis import given, settings
from hypothesis import strategies as st

from duologue import clock
from duologue.audio import FRAME_S, FRAME_SAMPLES, Audio, Frame
from duologue.engines import (
    Loading,
    Message,
    Pause,
    Piece,
    Prompt,
    Recognizer,
    Sound,
    Speaker,
    Style,
    Text,
    ToolCall,
    ToolCallPart,
    Transcript,
    TurnDetector,
    VadModel,
    Writer,
    scripted,
)
from duologue.errors import ConfigError, EngineError
from duologue.places.thread import Lane

T = TypeVar("T")
SILENCE: Audio = np.zeros(FRAME_SAMPLES, np.float32)


def loading(**settings: object) -> Loading:
    return Loading(model=Path, lane=Lane("scripted"), settings=settings)


def frames(count: int) -> list[Frame | Pause]:
    return [Frame(SILENCE, n * FRAME_SAMPLES) for n in range(count)]


async def stream(items: Iterable[T]) -> AsyncIterator[T]:
    for item in items:
        yield item


def asked(*said: str, conversation: str = "c") -> Prompt:
    roles = ("user", "assistant")
    return Prompt(conversation, tuple(Message(roles[n % 2], text) for n, text in enumerate(said)))  # type: ignore[arg-type]


def test_every_engine_is_what_its_protocol_says() -> None:
    vad: VadModel = scripted.load_vad(loading())
    turn_detector: TurnDetector = scripted.load_turn_detector(loading())
    recognizer: Recognizer = scripted.load_recognizer(loading())
    writer: Writer = scripted.load_writer(loading())
    speaker: Speaker = scripted.load_speaker(loading(rate=16_000))
    assert {e.about.name for e in (vad, turn_detector, recognizer, writer, speaker)} == {"scripted"}
    assert speaker.about.sample_rate == 16_000


# ── voice activity, end of turn ───────────────────────────────────────────────────────────────────────────────────


def test_loud_frames_are_speech_and_quiet_ones_are_not() -> None:
    vad = scripted.ScriptedVadModel(threshold=0.1).open()
    tone = np.sin(np.arange(FRAME_SAMPLES)).astype(np.float32)
    assert [vad(Frame(samples, 0)) for samples in (SILENCE, tone, 0.05 * tone)] == [0.0, 1.0, 0.0]


def test_the_turn_detector_says_its_score_after_its_delay() -> None:
    async def main() -> tuple[float, float]:
        fixed = await scripted.ScriptedTurnDetector(0.3, delay_s=2).complete(SILENCE, "")
        asked = await scripted.ScriptedTurnDetector(lambda audio, text: len(audio) + len(text)).complete(SILENCE, "ab")
        assert clock.now() == pytest.approx(2.05)
        return fixed, asked

    assert virtual.run(main()) == (0.3, 514)


# ── recognition ───────────────────────────────────────────────────────────────────────────────────────────────────


def transcribe(recognizer: scripted.ScriptedRecognizer, items: list[Frame | Pause]) -> list[Transcript]:
    async def main() -> list[Transcript]:
        return [transcript async for transcript in recognizer.transcribe(stream(items))]

    return virtual.run(main())


def test_partial_transcripts_grow_word_by_word_and_each_pause_has_one_final() -> None:
    recognizer = scripted.ScriptedRecognizer(["one two three"], partial_every_s=10 * FRAME_S)
    heard = transcribe(recognizer, [*frames(25), Pause(), *frames(30), Pause(), Pause()])
    assert [(t.text, t.final) for t in heard] == [
        ("one", False),
        ("one two", False),
        ("one two three", True),
        ("one two three", False),
        ("one two three", True),
        ("one two three", True),
    ]


def test_each_stream_gets_the_next_text_and_after_the_last_the_first() -> None:
    recognizer = scripted.ScriptedRecognizer(["a", "b"], partial_every_s=0)
    assert [transcribe(recognizer, [Pause()])[0].text for _ in range(3)] == ["a", "b", "a"]


def test_a_text_may_depend_on_what_was_heard_so_far() -> None:
    recognizer = scripted.ScriptedRecognizer(lambda stream, seconds: f"{stream} {seconds:.2f}", partial_every_s=0)
    finals = transcribe(recognizer, [*frames(25), Pause(), *frames(25), Pause()])
    assert [t.text for t in finals] == ["0 0.80", "0 1.60"]


def test_the_final_comes_its_delay_after_the_pause() -> None:
    async def main() -> float:
        recognizer = scripted.ScriptedRecognizer(delay_s=0.5)
        async for _ in recognizer.transcribe(stream([Pause()])):
            pass
        return clock.now()

    assert virtual.run(main()) == 0.5


# ── writing ───────────────────────────────────────────────────────────────────────────────────────────────────────


def write(writer: scripted.ScriptedWriter, prompt: Prompt) -> str:
    async def main() -> str:
        return "".join([piece.text async for piece in writer.write(prompt) if isinstance(piece, Text)])

    return virtual.run(main())


def pieces(writer: scripted.ScriptedWriter, prompt: Prompt) -> list[Piece]:
    async def main() -> list[Piece]:
        return [piece async for piece in writer.write(prompt)]

    return virtual.run(main())


def test_the_default_reply_echoes_the_user() -> None:
    writer = scripted.ScriptedWriter()
    assert write(writer, asked("Hello", "Hi", "How are you?")) == "You said: How are you?"
    assert write(writer, Prompt("c", ())) == "You said nothing yet."


def test_each_turn_of_a_conversation_gets_the_next_reply() -> None:
    writer = scripted.ScriptedWriter(["a", "b"])
    turns = [asked("1"), asked("1", "a", "2"), asked("1", "a", "2", "b", "3")]
    assert [write(writer, turn) for turn in turns] == ["a", "b", "a"]
    assert write(writer, asked("1", conversation="another")) == "a"


def test_a_draft_written_again_is_still_the_same_turn() -> None:
    writer = scripted.ScriptedWriter(["a", "b"])
    assert [write(writer, asked(text)) for text in ("Tell me", "Tell me more")] == ["a", "a"]


def test_a_forgotten_conversation_starts_anew() -> None:
    writer = scripted.ScriptedWriter(["a", "b"])
    write(writer, asked("1"))
    writer.forget("c")
    writer.forget("never known")
    assert write(writer, asked("1", "a", "2")) == "a"


CALL = ToolCall("id", "get_weather", '{"city": "Paris"}')


def after(call: ToolCall, output: str) -> Prompt:
    said = (Message("user", "1"), Message("assistant", "", (call,)), Message("tool", output, answers=call.id))
    return Prompt("c", said)


def test_a_call_comes_in_parts_and_the_next_turn_tells_its_output() -> None:
    writer = scripted.ScriptedWriter([CALL, "It is {output}."])
    *parts, call = pieces(writer, asked("1"))
    assert call == CALL
    assert len(parts) > 3
    assert parts == [ToolCallPart("id", "get_weather", cast(ToolCallPart, part).arguments) for part in parts]
    assert "".join(cast(ToolCallPart, part).arguments for part in parts) == CALL.arguments
    assert write(writer, after(CALL, "18 degrees")) == "It is 18 degrees."


def test_a_reply_may_be_words_and_calls_in_any_order() -> None:
    part = ToolCallPart("x", "w", "{")
    writer = scripted.ScriptedWriter([["Let me look.", CALL, CALL, part, Text(" So."), "Done."]])
    given = pieces(writer, asked("1"))
    assert [piece for piece in given if isinstance(piece, ToolCall)] == [CALL, CALL]
    assert given[:3] == [Text("Let"), Text(" me"), Text(" look.")]
    assert given[-3:] == [part, Text(" So."), Text("Done.")]


def test_a_callable_may_call() -> None:
    writer = scripted.ScriptedWriter(lambda prompt: CALL if prompt.messages[-1].role == "user" else "So it is.")
    assert pieces(writer, asked("1"))[-1] == CALL
    assert write(writer, after(CALL, "rain")) == "So it is."


def test_a_call_without_an_id_gets_a_new_one_each_time() -> None:
    writer = scripted.ScriptedWriter([ToolCall("", "nap", "{}")])
    calls = [cast(ToolCall, pieces(writer, asked("1"))[-1]) for _ in range(2)]
    assert len({call.id for call in calls} | {""}) == 3
    assert {call.name for call in calls} == {"nap"}


@pytest.mark.parametrize(("most", "words"), [(0, ""), (1, "one"), (2, "one two"), (3, "one two"), (None, "one two")])
def test_no_more_words_than_the_prompt_allows(most: int | None, words: str) -> None:
    writer = scripted.ScriptedWriter(["one two"])
    assert write(writer, replace(asked("1"), max_tokens=most)) == words


def test_a_call_that_the_prompt_s_limit_cuts_off_never_comes_whole() -> None:
    writer = scripted.ScriptedWriter([CALL])
    whole = pieces(writer, asked("1"))
    parts = len(whole) - 1
    assert pieces(writer, replace(asked("1"), max_tokens=parts)) == whole
    assert pieces(writer, replace(asked("1"), max_tokens=parts - 1)) == whole[: parts - 1]


def test_tokens_come_at_their_times_and_a_failure_at_its_place() -> None:
    async def main() -> None:
        writer = scripted.ScriptedWriter(["one two three"], delay_s=1, token_s=0.25, fail_at=2)
        answer = writer.write(asked("go"))
        assert (await anext(answer), clock.now()) == (Text("one"), 1.0)
        assert (await anext(answer), clock.now()) == (Text(" two"), 1.25)
        with pytest.raises(EngineError, match="token 2"):
            await anext(answer)

    virtual.run(main())


def test_a_failure_may_come_after_the_last_token() -> None:
    with pytest.raises(EngineError):
        write(scripted.ScriptedWriter(["one"], fail_at=1), asked("go"))


def test_a_closed_answer_leaves_nothing_running() -> None:
    async def main() -> int:
        answer = scripted.ScriptedWriter(["one two"]).write(asked("go"))
        assert await anext(answer) == Text("one")
        await answer.aclose()  # type: ignore[attr-defined]
        return len(asyncio.all_tasks())

    assert virtual.run(main()) == 1


# ── speaking ──────────────────────────────────────────────────────────────────────────────────────────────────────


def speak(speaker: scripted.ScriptedSpeaker, *pieces: str, style: Style | None = None) -> list[Sound]:
    async def main() -> list[Sound]:
        return [sound async for sound in speaker.speak(stream(pieces), style or Style())]

    return virtual.run(main())


def word_ends(sounds: list[Sound]) -> list[tuple[str, int]]:
    """Each word and the sample of the whole reply at which it ends."""
    ends, before = [], 0
    for sound in sounds:
        ends += [(word.text, before + word.end) for word in sound.words]
        before += len(sound.samples)
    return ends


def test_words_end_where_their_characters_say() -> None:
    speaker = scripted.ScriptedSpeaker(rate=1000, seconds_per_char=0.1, chunk_s=0.45)
    sounds = speak(speaker, "Hi there. ", "You!")
    assert [len(s.samples) for s in sounds] == [450, 450, 100, 400]
    assert word_ends(sounds) == [("Hi", 200), (" there. ", 1000), ("You!", 1400)]


def test_a_piece_with_nothing_to_say_keeps_its_words_and_makes_no_sound() -> None:
    sounds = speak(scripted.ScriptedSpeaker(), " 🙂 …")
    assert [(len(s.samples), [w.text for w in s.words]) for s in sounds] == [(0, [" 🙂", " …"])]
    assert speak(scripted.ScriptedSpeaker(), "") == []


def test_speed_is_a_factor_on_the_rate_of_speech() -> None:
    speaker = scripted.ScriptedSpeaker(chunk_s=60)
    natural, fast = (speak(speaker, "Hello", style=Style(speed=s))[0].seconds for s in (1.0, 2.0))
    assert natural == pytest.approx(2 * fast)


def test_each_word_has_a_pitch_of_its_own_and_the_same_every_time() -> None:
    speaker = scripted.ScriptedSpeaker(rate=16_000, seconds_per_char=0.5, chunk_s=60)

    def pitch(word: str) -> float:
        return float(np.argmax(np.abs(np.fft.rfft(speak(speaker, word)[0].samples)))) / (0.5 * len(word))

    assert pitch("yes") == pytest.approx(pitch("yes"))
    assert pitch("yes") != pytest.approx(pitch("not"), abs=2)
    assert 190 < pitch("yes") < 610


@settings(max_examples=50, deadline=None)
@given(st.lists(st.text(max_size=40), max_size=4), st.floats(0.01, 1))
def test_the_words_of_all_sounds_give_the_text_back(pieces: list[str], chunk_s: float) -> None:
    speaker = scripted.ScriptedSpeaker(rate=8_000, seconds_per_char=0.01, chunk_s=chunk_s)
    sounds = speak(speaker, *pieces)
    assert "".join(word for word, _ in word_ends(sounds)) == "".join(pieces)
    assert all(0 <= word.end <= len(sound.samples) for sound in sounds for word in sound.words)
    assert all(a <= b for (_, a), (_, b) in pairwise(word_ends(sounds)))


def test_the_first_sound_of_each_piece_comes_after_the_delay() -> None:
    async def main() -> list[float]:
        speaker = scripted.ScriptedSpeaker(delay_s=1, chunk_s=60)
        return [clock.now() async for _ in speaker.speak(stream(["a", " ", "b"]), Style())]

    assert virtual.run(main()) == [1, 1, 2]


# ── settings ──────────────────────────────────────────────────────────────────────────────────────────────────────


def test_one_table_serves_all_five_and_each_takes_what_it_knows() -> None:
    table = loading(texts=["a"], replies="b,c", delay_s="0.5", rate=8000, score=1, threshold=0.2)
    recognizer, writer = scripted.load_recognizer(table), scripted.load_writer(table)
    assert (recognizer.texts, writer.replies) == (("a",), ("b", "c"))
    assert recognizer.delay_s == writer.delay_s == scripted.load_speaker(table).delay_s == 0.5
    assert scripted.load_turn_detector(table).score == 1.0
    assert scripted.load_vad(table).threshold == 0.2


def test_a_file_may_script_calls() -> None:
    table = tomllib.loads("""
        delay_s = 1
        replies = [{ call = "get_weather", arguments = { city = "Paris" } }, "It is {output}.", { call = "nap" }]
    """)
    writer = scripted.load_writer(loading(**table))
    call = cast(ToolCall, pieces(writer, asked("1"))[-1])
    assert (call.name, call.arguments) == ("get_weather", '{"city": "Paris"}')
    assert write(writer, after(call, "fine")) == "It is fine."
    nap = cast(ToolCall, pieces(writer, asked("1", "2", "3"))[-1])
    assert (nap.name, nap.arguments) == ("nap", "{}")


@pytest.mark.parametrize(
    ("wrong", "code"),
    [
        ({"replys": "x"}, "unknown_setting"),
        ({"delay_s": "soon"}, "bad_setting"),
        ({"replies": []}, "bad_setting"),
        ({"replies": [{"cal": "x"}]}, "bad_setting"),
        ({"replies": [7]}, "bad_setting"),
        ({"replies": 7}, "bad_setting"),
    ],
)
def test_a_wrong_setting_is_named(wrong: dict[str, object], code: str) -> None:
    with pytest.raises(ConfigError) as caught:
        scripted.load_writer(loading(**wrong))
    assert caught.value.code == code
    assert next(iter(wrong)) in caught.value.message
