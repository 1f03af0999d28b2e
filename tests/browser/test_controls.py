"""Every control changes the next reply: what the engines are asked for after a reader has touched it."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import pytest

from browser.stage import MARKS, answered, opened, run, scripted_lineup
from duologue.engines import Prompt, Sound, Style, scripted

pytestmark = [*MARKS, pytest.mark.waits]


@dataclass
class Notebook:
    """Engines that write down what they were asked for."""

    prompts: list[Prompt] = field(default_factory=list)
    styles: list[Style] = field(default_factory=list)

    def reply(self, prompt: Prompt) -> str:
        self.prompts.append(prompt)
        return "As you wish."


@dataclass
class NotingSpeaker(scripted.ScriptedSpeaker):
    notebook: Notebook = field(default_factory=Notebook)

    async def speak(self, text: AsyncIterator[str], style: Style) -> AsyncIterator[Sound]:
        self.notebook.styles.append(style)
        async for sound in super().speak(text, style):
            yield sound


def test_every_control_changes_the_next_reply(browser: str) -> None:
    async def main() -> None:
        notebook = Notebook()
        speaker = NotingSpeaker(notebook=notebook)
        async with opened(browser, scripted_lineup(notebook.reply, speakers=(speaker,))) as page:

            async def ask(count: int) -> float:
                await page.type("Do it")
                await answered(page, count)
                return float(await page.run("duologue.conversation.entries.at(-1).reply.ms"))

            plain_ms = await ask(1)
            await page.choose("speed", 2)
            await page.choose("language", "es")
            await page.choose("emotional", True)
            await page.choose("emotion", "sad")
            await page.choose("intensity", 1.7)
            await page.choose("instructions", "Rhyme, always.")
            quick_ms = await ask(2)
            style, prompt = notebook.styles[-1], notebook.prompts[-1]
            assert quick_ms == pytest.approx(plain_ms / 2, rel=0.2)
            assert (style.language, style.emotion, style.intensity, style.speed) == ("es", "sad", 1.7, 2.0)
            assert "Rhyme, always." in prompt.messages[0].content
            await page.choose("emotional", False)
            await ask(3)
            assert notebook.styles[-1].emotion == "neutral"
            await page.click("#reset")
            await ask(4)
            assert notebook.styles[-1].speed == 1.0
            assert "Rhyme" not in notebook.prompts[-1].messages[0].content
            assert page.complaints == []

    run(main())


def test_a_voice_that_is_gone_is_said_and_not_asked_for_again(browser: str) -> None:
    yesterday = "localStorage.setItem('duologue', JSON.stringify({ road: 'socket', settings: { voice: 'nobody' } }));"

    async def main() -> None:
        async with opened(browser, before=yesterday) as page:
            await page.until("!document.querySelector('#notice').hidden")
            assert "nobody" in await page.text("#notice")
            stored = json.loads(await page.run("localStorage.getItem('duologue')"))
            assert stored["settings"]["voice"] == ""
            await page.type("Good morning")
            await answered(page)

    run(main())


def test_what_was_chosen_is_chosen_again_the_next_day(browser: str) -> None:
    chosen = (
        "localStorage.setItem('duologue', JSON.stringify({ road: 'socket', settings: { speed: 1.5 }, mode: 'hold' }));"
    )

    async def main() -> None:
        async with opened(browser, before=chosen, state="ready") as page:
            await page.until("document.querySelector('[name=speed]').value === '1.5'")
            assert await page.text("#state") == "Hold and talk"
            await page.click("#open-settings")
            assert await page.run("document.querySelector('[name=mode]').value") == "hold"
            in_use = await page.text("#in-use")
            assert "scripted" in in_use
            assert (
                "sound while it is being made · no emotion · stops within a moment · 24,000 Hz · Apache-2.0" in in_use
            )

    run(main())


def test_cleared_means_forgotten_by_both_sides(browser: str) -> None:
    async def main() -> None:
        notebook = Notebook()
        async with opened(browser, scripted_lineup(notebook.reply)) as page:
            await page.type("My name is Ada")
            await answered(page)
            await page.run("globalThis.confirm = () => true")
            await page.click("#clear")
            await page.until("document.querySelectorAll('.turn').length === 0")
            assert await page.run("document.querySelector('#welcome').hidden") is False
            await page.type("Who am I?")
            await answered(page)
            assert "Ada" not in str(notebook.prompts[-1].messages)

    run(main())
