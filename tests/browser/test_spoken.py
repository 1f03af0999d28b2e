"""A whole spoken conversation with the packaged models: into the page's microphone, out of its loudspeaker, over both roads."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from browser.page import chromium
from browser.stage import LOUD, MARKS, WIRETAP, busy, opened, quiet, run, tap, words
from duologue.audio import read_audio, write_wav
from duologue.config import Config
from duologue.engines import Prompt, Writer, lineup
from duologue.engines.lineup import Lineup
from duologue.errors import ConfigError
from duologue.models import open_store

pytestmark = [*MARKS, pytest.mark.models, pytest.mark.speech]

QUESTIONS = {
    "aiewf_turns__turn_001.wav": "Are there any workshops about Gemini?",
    "aiewf_turns__turn_018.wav": "What's the weather supposed to be like in San Francisco tomorrow?",
    "aiewf_turns__turn_003.wav": "Is there a track about MCP?",
}
ANSWER_S = 5.0
"""Left for each answer; a longer one is interrupted by the next question."""

WRONG = 2
"""Words of a question that may be understood otherwise."""


@dataclass
class Noting:
    """The packaged writer, which writes down what it was asked."""

    writer: Writer
    prompts: list[Prompt] = field(default_factory=list)

    def write(self, prompt: Prompt) -> AsyncIterator[Any]:
        self.prompts.append(prompt)
        return self.writer.write(prompt)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.writer, name)


@pytest.fixture(scope="module")
def packaged() -> Lineup:
    try:
        return lineup.load(Config().engines, open_store().folder)
    except ConfigError as error:
        pytest.skip(f"the packaged models cannot be loaded: {error.message}")


@pytest.fixture(scope="module")
def microphone(recordings: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    parts = []
    for name in QUESTIONS:
        voice, rate = read_audio(recordings / "questions" / name)
        parts += [quiet(1, rate), voice, quiet(ANSWER_S, rate)]
    path = tmp_path_factory.mktemp("microphone") / "microphone.wav"
    write_wav(path, np.concatenate(parts), rate)
    return path


@pytest.mark.parametrize("road", ["socket", "rtc"])
def test_three_spoken_turns(road: str, packaged: Lineup, microphone: Path) -> None:
    noting = Noting(packaged.writer)
    engines = replace(packaged, writer=noting)
    choice = f"localStorage.setItem('duologue', JSON.stringify({{ road: '{road}' }}));"

    async def main(browser: str) -> None:
        async with opened(browser, engines, choice) as page:
            if await page.run("duologue.connection.name") != road:
                pytest.skip(f"this server has no {road}: {await page.run('duologue.connection.why')}")
            await page.run(WIRETAP)
            await page.click("#talk")
            answers = "duologue.conversation.entries.filter(({ reply }) => reply?.lit > 20).length"
            await page.until(f"{answers} >= {len(QUESTIONS)}", 60)
            asked = await page.run("duologue.conversation.entries.map(({ you }) => you?.text ?? '')")
            for said, meant in zip(asked, QUESTIONS.values(), strict=False):
                assert len(set(words(meant)) - set(words(said))) <= WRONG, f"{said!r} is not {meant!r}"
            second = next(prompt for prompt in noting.prompts if prompt.messages[-1].content == asked[1])
            assert asked[0] in [message.content for message in second.messages]
            assert "assistant" in [message.role for message in second.messages]
            out, rate = await tap(page, "out"), await page.run("duologue.sound.rate")
            assert np.count_nonzero(np.abs(out) > LOUD) / rate > 2.0
            latencies = await page.run("duologue.conversation.latencies.length")
            assert latencies >= 2
            if not busy():
                assert await page.run("duologue.sound.underruns") == 0
            assert page.complaints == []

    with chromium(microphone) as browser:
        run(main(browser), 120)
