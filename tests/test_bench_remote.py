"""A server over its WebSocket in an App's place: the same caller, the same figures."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace

import numpy as np
import pytest
from dialogue import lineup, voice
from wire import server

from benchmarks import v2v
from benchmarks.recordings import Recording, voiced_s
from benchmarks.remote import FACTS, WAITING, Remote, message, sound
from benchmarks.switches import SWITCHES, environment, without
from duologue import protocols as p
from duologue.app import App
from duologue.config import Config, load
from duologue.engines.scripted import ScriptedRecognizer, ScriptedWriter
from duologue.errors import ClientError
from duologue.protocols.native import Native

TOLD: list[p.Fact] = [
    p.StateChanged(3, "hearing"),
    p.UserSpeech(3, False, 1250.0),
    p.UserSpeech(3, True, 250.0),
    p.Heard(3, "What is", False, "en"),
    p.Heard(3, "What is it?", True, "en"),
    p.Reopened(3),
    p.ReplyWord(3, 0, "It ", False, True, 12.0, 13.5),
    p.Ducked(3),
    p.Resumed(3),
    p.Interrupted(3, "It", 240.0),
    p.ReplyDone(3, "It is.", 900.0, "scripted", False),
    p.Latency(3, {"transcript": 80.0}, {"endpoint": 200.0}),
    p.Failure("engine_failed", "it broke", 3),
]


@pytest.mark.parametrize("fact", TOLD, ids=lambda fact: type(fact).__name__)
def test_a_fact_comes_back_from_the_wire_as_it_was(fact: p.Fact) -> None:
    [sent] = Native().tell(fact)
    told = json.loads(sent)
    assert FACTS[told["type"]](told) == fact


def test_sound_comes_back_with_its_announcement() -> None:
    fact = p.ReplyAudio(3, 1, b"\x01\x00" * 8, 24_000, 60.0, (("It ", 62.5),), False)
    announced, pcm = Native().tell(fact)
    assert isinstance(pcm, bytes)
    assert sound(json.loads(announced), pcm) == fact


@pytest.mark.parametrize(
    "command",
    [p.Microphone(np.array([0.5, -0.5], np.float32)), p.Cursor(3, 120.0), p.Interrupt(), p.Type("hello")],
    ids=lambda command: type(command).__name__,
)
def test_a_server_understands_what_a_caller_says(command: p.Command) -> None:
    [understood] = Native().receive(message(command))
    if isinstance(command, p.Microphone) and isinstance(understood, p.Microphone):
        assert understood.samples.tolist() == pytest.approx(command.samples.tolist(), abs=1e-4)
    else:
        assert understood == command


@pytest.mark.parametrize("name", SWITCHES)
def test_a_switch_is_the_same_for_a_server_in_its_own_process(name: str) -> None:
    assert load(None, environment([name])) == without(Config(), [name])


def test_a_server_that_reads_nothing_is_not_waited_for() -> None:
    session = Remote("http://127.0.0.1:1", Config()).open_session(lambda fact: None)
    for _ in range(WAITING):
        session.command(p.Interrupt())
    with pytest.raises(ClientError) as stuck:
        session.command(p.Interrupt())
    assert stuck.value.code == "server_stuck"


@pytest.mark.realtime
def test_turns_are_measured_over_the_wire() -> None:
    async def main() -> list[v2v.Measured]:
        words = ScriptedRecognizer(texts=["Hello there."])
        app = App(Config(), lineup(recognizer=words, writer=ScriptedWriter(["Hello to you, my friend."])))
        asked = Recording("hello", "Hello there.", voice(0.8), *voiced_s(voice(0.8)))
        async with server(app) as address:
            return await v2v._conversations(Remote(f"http://{address}", Config()), [asked] * 2, 2, 0.5)

    measured = asyncio.run(main())
    figures = {figure.name.strip(): figure for figure in v2v.figures(measured)}
    assert len(figures["voice to voice, by energy"].values) == 2
    assert len(figures["transcript, from the voice's end"].values) == 2  # what only the server knows, by `latency`
    assert min(figures["turn decided to first word"].values) >= 0
    assert figures["replies not audible"].overall == 0
    assert figures["transcript WER"].overall == 0
    assert "reply read back, WER" not in figures
    read_back = v2v.figures([replace(each, read_back="Hello") for each in measured])
    assert "reply read back, WER" in {figure.name for figure in read_back}
