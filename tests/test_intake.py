"""From microphone blocks to frames and edges."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, cast

import numpy as np
import pytest
import virtual
from dialogue import TIMINGS, microphone

from duologue.audio import Frame, resample
from duologue.core.events import SpeechStarted, SpeechStopped
from duologue.engines import Vad
from duologue.engines.scripted import ScriptedVadModel
from duologue.intake import MICROPHONE_GONE_S, TAPE_S, Edge, Intake


class Heard:
    def __init__(self, rate: int = 16_000) -> None:
        self.log: list[tuple[str, int]] = []
        self.edges: list[Edge] = []
        self.intake = Intake(
            rate, cast(Vad, ScriptedVadModel().open()), TIMINGS.speech, self._frame, self._edge, self._stir
        )

    def _frame(self, frame: Frame) -> None:
        self.log.append(("frame", frame.at))

    def _edge(self, edge: Edge, at: int) -> None:
        self.edges.append(edge)
        self.log.append((type(edge).__name__, at))

    def _stir(self) -> None:
        self.log.append(("stir", self.intake.at))

    def told(self) -> list[tuple[str, int]]:
        return [entry for entry in self.log if entry[0] not in ("frame", "stir")]


def in_loop(check: Callable[[], Any]) -> None:
    async def main() -> None:
        result = check()
        if result is not None:
            await result

    virtual.run(main())


@pytest.mark.parametrize("block", [160, 512, 4096, 48_000])
def test_edges_do_not_depend_on_the_size_of_the_blocks(block: int) -> None:
    def check() -> None:
        heard, samples = Heard(), microphone([(1.0, 2.0)], 3.0)
        for start in range(0, len(samples), block):
            heard.intake.push(samples[start : start + block])
        assert heard.told() == [("SpeechStarted", 31 * 512), ("SpeechStopped", 63 * 512)]
        assert heard.edges == [SpeechStarted(31 * 512 - 4800, 0.064), SpeechStopped(0.096)]

    in_loop(check)


def test_the_first_frame_of_a_voice_is_told_before_the_next_one_makes_it_sure() -> None:
    def check() -> None:
        heard = Heard()
        heard.intake.push(microphone([(1.0, 2.0)], 3.0))
        assert [entry for entry in heard.log if entry[0] != "frame"] == [
            ("stir", 32 * 512),
            ("SpeechStarted", 31 * 512),
            ("SpeechStopped", 63 * 512),
        ]

    in_loop(check)


def test_a_frame_comes_before_the_edge_that_it_makes() -> None:
    def check() -> None:
        heard = Heard()
        heard.intake.push(microphone([(0.0, 1.0)], 1.0))
        assert heard.log[:4] == [("frame", 0), ("stir", 512), ("frame", 512), ("SpeechStarted", 0)]

    in_loop(check)


def test_the_tape_holds_what_comes_before_the_edge() -> None:
    def check() -> None:
        heard = Heard()
        heard.intake.push(microphone([(3.0, 4.0)], 3.1))
        since = heard.edges[0]
        assert isinstance(since, SpeechStarted)
        lead_in = heard.intake.tape.since(since.since)
        assert lead_in[0].at <= since.since < lead_in[0].end
        assert len(heard.intake.tape.since(0)) * 512 <= TAPE_S * 16_000 + 512

    in_loop(check)


def test_another_rate_gives_the_same_edges_to_a_frame() -> None:
    def check() -> None:
        heard = Heard(48_000)
        heard.intake.push(resample(microphone([(1.0, 2.0)], 3.0), 16_000, 48_000))
        assert [(name, round(at / 512)) for name, at in heard.told()] == [("SpeechStarted", 31), ("SpeechStopped", 63)]

    in_loop(check)


def test_a_microphone_that_stops_in_mid_speech_counts_as_silence() -> None:
    async def check() -> None:
        heard = Heard()
        heard.intake.push(microphone([(0.0, 1.0)], 1.0))
        await asyncio.sleep(MICROPHONE_GONE_S - 0.01)
        assert [name for name, _ in heard.told()] == ["SpeechStarted"]
        await asyncio.sleep(0.02)
        assert [name for name, _ in heard.told()] == ["SpeechStarted", "SpeechStopped"]

    in_loop(check)


def test_a_microphone_that_stops_in_silence_is_no_news() -> None:
    async def check() -> None:
        heard = Heard()
        heard.intake.push(np.zeros(16_000, np.float32))
        frames = len(heard.log)
        await asyncio.sleep(10.0)
        assert len(heard.log) == frames

    in_loop(check)


def test_a_closed_intake_leaves_no_timer() -> None:
    async def check() -> None:
        heard = Heard()
        heard.intake.push(microphone([(0.0, 1.0)], 1.0))
        heard.intake.close()
        await asyncio.sleep(10.0)
        assert len(heard.told()) == 1

    in_loop(check)
