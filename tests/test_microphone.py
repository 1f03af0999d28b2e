"""`duologue talk --mic`, with a sound card that is made of callbacks on the loop."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import virtual
from dialogue import lineup, microphone

from duologue import cli
from duologue.app import App
from duologue.audio import INPUT_RATE, OUTPUT_RATE, Audio, to_pcm16
from duologue.config import Config, Limits
from duologue.errors import ConfigError
from duologue.line import AUDIBLE
from duologue.microphone import Loudspeaker, converse, devices
from duologue.protocols import ReplyAudio


class PortAudioError(Exception):
    pass


@dataclass
class SoundCard:
    """Stands in for the sounddevice module: plays `hears` to the program, and keeps what it `said`."""

    hears: Audio
    said: list[Audio] = field(default_factory=list)
    PortAudioError: type[Exception] = PortAudioError

    def InputStream(self, rate: int, blocksize: int, callback: Callable[..., None], **_: Any) -> Stream:
        assert rate == INPUT_RATE
        blocks = iter(np.append(self.hears, np.zeros(-len(self.hears) % blocksize)).reshape(-1, blocksize, 1))
        return Stream(blocksize / rate, lambda: callback(next(blocks).astype(np.float32), blocksize, None, None))

    def OutputStream(self, rate: int, callback: Callable[..., None], **_: Any) -> Stream:
        def pull() -> None:
            data = np.full((240, 1), 9.0, np.float32)
            callback(data, 240, None, None)
            self.said.append(data[:, 0])

        assert rate == OUTPUT_RATE
        return Stream(0.01, pull)


@dataclass
class Stream:
    every_s: float
    step: Callable[[], None]

    def __enter__(self) -> None:
        self._task = asyncio.create_task(self._run())

    def __exit__(self, *_: object) -> None:
        self._task.cancel()

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(self.every_s)
            self.step()


def talk_for(seconds: float, card: SoundCard) -> None:
    async def main() -> None:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(converse(App(Config(), lineup()), card), seconds)
        assert len(asyncio.all_tasks()) == 1

    virtual.run(main())


def test_what_is_said_is_answered_aloud(capsys: pytest.CaptureFixture[str]) -> None:
    card = SoundCard(microphone([(0.5, 1.5)], 6.0))
    talk_for(5.0, card)
    out = capsys.readouterr().out
    assert "You:   Hello there.\nReply: You said: Hello there.\n" in out
    said = np.concatenate(card.said)
    assert np.abs(said).max() < 1.0
    heard_s = np.flatnonzero(np.abs(said) >= AUDIBLE) / OUTPUT_RATE
    assert 1.5 < heard_s[0] < 2.2
    assert heard_s[-1] - heard_s[0] == pytest.approx(len("You said: Hello there.") * 0.06, abs=0.1)


def test_speech_over_the_reply_silences_the_loudspeaker(capsys: pytest.CaptureFixture[str]) -> None:
    card = SoundCard(microphone([(0.5, 1.5), (2.3, 4.0)], 6.0))
    talk_for(4.0, card)
    said = np.concatenate(card.said)
    loud_s = np.flatnonzero(np.abs(said) >= AUDIBLE) / OUTPUT_RATE
    assert loud_s[-1] < 2.3 + 0.25
    assert "[interrupted]" in capsys.readouterr().out


def audio(turn: int, ms: int) -> ReplyAudio:
    return ReplyAudio(turn, 0, to_pcm16(np.full(ms * 24, 0.5, np.float32)), OUTPUT_RATE, 0.0, (), False)


def test_the_loudspeaker_tells_where_it_is_in_which_reply() -> None:
    loudspeaker = Loudspeaker()
    data = np.ones((480, 1), np.float32)
    loudspeaker.give(audio(1, 30))
    loudspeaker.fill(data, 480, None, None)
    assert loudspeaker.position() == (1, 20.0)
    loudspeaker.hold(True)
    loudspeaker.fill(data, 480, None, None)
    assert not data.any()
    loudspeaker.hold(False)
    loudspeaker.fill(data, 480, None, None)
    assert data[:240].all()
    assert not data[240:].any()
    loudspeaker.give(audio(2, 10))
    assert loudspeaker.position() == (2, 0.0)


def test_without_the_package_it_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "sounddevice", None)
    assert cli.main(["talk", "--mic"]) == 2
    err = capsys.readouterr().err
    assert "duologue[mic]" in err
    assert err.endswith("[mic_not_installed]\n")


def test_without_a_microphone_it_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def query_devices(kind: str) -> None:
        raise PortAudioError(f"Error querying device -1 ({kind})")

    card = SimpleNamespace(query_devices=query_devices, PortAudioError=PortAudioError)
    monkeypatch.setitem(sys.modules, "sounddevice", card)
    with pytest.raises(ConfigError) as caught:
        devices()
    assert caught.value.code == "no_microphone"


def test_a_microphone_that_cannot_be_opened_is_the_same_error() -> None:
    class Broken(SoundCard):
        def InputStream(self, *_: Any, **__: Any) -> Stream:
            raise PortAudioError("Invalid sample rate")

    async def main(app: App) -> None:
        with pytest.raises(ConfigError) as caught:
            await converse(app, Broken(np.zeros(0, np.float32)))
        assert caught.value.code == "no_microphone"
        app.open_session(lambda fact: None).close()  # its place is free again

    virtual.run(main(App(Config(limits=Limits(sessions=1)), lineup())))
