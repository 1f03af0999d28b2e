"""Whole spoken conversations with a Voxtral of random weights: five turns, two people at once, an interruption, the command."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import soundfile
import tiny_voxtral
from dialogue import TIMINGS, lineup, voice

tiny_voxtral.need_torch()

from duologue import cli  # noqa: E402
from duologue.app import App  # noqa: E402
from duologue.audio import INPUT_RATE  # noqa: E402
from duologue.caller import Caller, Exchange  # noqa: E402
from duologue.config import load as load_config  # noqa: E402
from duologue.engines import Loading, Message, Prompt  # noqa: E402
from duologue.engines.by_ear import ByEar  # noqa: E402
from duologue.engines.scripted import ScriptedSpeaker  # noqa: E402
from duologue.engines.voxtral import VoxtralModel, load  # noqa: E402
from duologue.engines.voxtral_decoding import Reply, Request  # noqa: E402
from duologue.places.thread import Lane  # noqa: E402
from duologue.protocols import Fact, Understood  # noqa: E402

pytestmark = pytest.mark.realtime

TURNS = 5


@pytest.fixture
def model(tiny_chat: Path) -> Iterator[VoxtralModel]:
    lane = Lane("voxtral")
    table = {"model": str(tiny_chat), "max_tokens": 8, "temperature": 0.0}
    yield load(Loading(lambda name: Path(name), lane, table))
    lane.close()


def asked(model: VoxtralModel) -> list[Request]:
    """Every request that the decoder was given."""
    requests: list[Request] = []
    real = model._decoder.begin

    def begin(request: Request) -> Any:
        requests.append(request)
        return real(request)

    model._decoder.begin = begin  # type: ignore[method-assign]
    return requests


def app(model: VoxtralModel, **conversation: Any) -> App:
    config = replace(TIMINGS, conversation=replace(TIMINGS.conversation, instructions="Be kind.", **conversation))
    quick = ScriptedSpeaker()
    return App(config, lineup(writer=model, recognizer=ByEar(), speakers=(quick,)))


async def converse(app: App, seconds: float, seen: list[Fact]) -> tuple[list[Exchange], Any]:
    async with Caller(app, seen.append) as caller:
        exchanges = [await caller.say(voice(seconds)) for _ in range(TURNS)]
        await caller.wait(lambda: len([fact for fact in seen if isinstance(fact, Understood)]) == TURNS, 10.0)
        return exchanges, caller.export()


def test_two_people_talk_for_five_turns_at_once(model: VoxtralModel) -> None:
    requests = asked(model)
    server = app(model)

    async def main() -> Any:
        seen: tuple[list[Fact], list[Fact]] = ([], [])
        return await asyncio.gather(converse(server, 1.3, seen[0]), converse(server, 1.7, seen[1]))

    for exchanges, exported in asyncio.run(main()):
        assert [exchange.failure for exchange in exchanges] == [None] * TURNS
        for exchange in exchanges:
            assert exchange.reply is not None
            assert exchange.reply.done
            assert exchange.reply.text.strip()
            assert exchange.reply.playback.seconds > 0.3
        turns = exported["turns"]
        assert [turn["role"] for turn in turns] == ["user", "assistant"] * TURNS
        assert all(turn["content"] for turn in turns), "the user's words came from the model"
        _check_last_prompt(model, requests, turns)
    assert len({request.conversation for request in requests if request.conversation}) == 2


def _check_last_prompt(model: VoxtralModel, requests: list[Request], turns: Any) -> None:
    """Instructions at the head, four turns in words, the fifth as sound: token for token (test_voxtral.py has the template)."""
    history = [Message(turn["role"], turn["content"]) for turn in turns[:-2]]
    prompt = Prompt("", (Message("system", "Be kind."), *history))
    assert model._ids(prompt, voice(1.0)) in [request.ids for request in requests if request.audio is not None]


def test_who_is_interrupted_stops_making_tokens_and_the_history_keeps_what_was_heard(tiny_chat: Path) -> None:
    lane = Lane("voxtral")
    model = load(
        Loading(lambda name: Path(name), lane, {"model": str(tiny_chat), "max_tokens": 4_000, "temperature": 0.0})
    )
    server = app(model)
    steps: list[tuple[float, str]] = []

    async def main() -> tuple[Exchange, Any]:
        loop = asyncio.get_running_loop()
        real = model._rounds._advance

        def timed(replies: Sequence[Reply]) -> Any:
            steps.extend((loop.time(), reply.request.conversation) for reply in replies)
            return real(replies)

        model._rounds._advance = timed
        async with Caller(server) as caller:
            exchange = await caller.say(voice(1.3), at_most_s=1.0)
            await caller.wait(lambda: False, 0.3)
            return exchange, caller.export()

    exchange, exported = asyncio.run(main())
    lane.close()
    reply = exchange.reply
    assert reply is not None
    assert reply.interrupted_at is not None
    assert len([at for at, name in steps if name and at < reply.interrupted_at]) > 20
    late = [at for at, name in steps if name and at > reply.interrupted_at]
    assert len(late) <= 2, "the step at hand, of some milliseconds, and one that was asked for already"
    assert exported["turns"][1]["content"] == reply.text.strip()
    assert 0 < len(reply.text.strip()) < 60


def test_the_command_talks_with_the_profile(
    tiny_chat: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = tmp_path / "duologue.toml"
    settings.write_text(
        f"""
[engines]
vad = "scripted"
turn_detector = "scripted"
speakers = ["scripted"]
emotion = "scripted"
[engines.settings.voxtral]
model = "{tiny_chat}"
max_tokens = 8
"""
    )
    assert load_config(settings, {"DUOLOGUE_PROFILE": "voxtral"}).engines.writer == "voxtral"
    files = []
    for number in range(TURNS):
        files.append(tmp_path / f"{number}.wav")
        soundfile.write(files[-1], voice(1.0 + number / 5), INPUT_RATE)
    status = cli.main(["--config", str(settings), "talk", "--profile", "voxtral", "--json", *map(str, files)])
    out, err = capsys.readouterr()
    turns = [json.loads(line) for line in out.splitlines()]
    assert (status, len(turns)) == (0, TURNS), err
    for turn in turns:
        assert turn["assistant"]
        assert turn["audio_s"] > 0.3
        assert not turn["interrupted"]
        assert turn["latency_ms"]["endpoint"] < turn["latency_ms"]["voice_to_voice"]
