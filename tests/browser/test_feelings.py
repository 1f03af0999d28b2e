"""The page and the user's feelings: a word beside what was said, what it rests on, and the switches."""

from __future__ import annotations

from dataclasses import replace

import pytest

from browser.stage import MARKS, answered, opened, run, scripted_lineup
from duologue.emotion import Emotion
from duologue.engines.scripted import ScriptedEmotion, ScriptedSpeaker

pytestmark = [*MARKS, pytest.mark.waits]

SAD = Emotion("sad", 1.2, 0.84, ("words: 'so sad'", "sound: as usual (against speakers in general)"))


def feels(text: str) -> Emotion:
    return SAD if "sad" in text else Emotion("happy", 0.4, 0.3) if "fine" in text else Emotion("neutral", 0.0, 0.9)


def voice(emotion: str) -> ScriptedSpeaker:
    made = ScriptedSpeaker(seconds_per_char=0.02)
    made.about = replace(made.about, emotion=emotion)  # type: ignore[arg-type]
    return made


def test_a_feeling_stands_beside_what_was_said_and_opens_to_what_it_rests_on(browser: str) -> None:
    async def main() -> None:
        engines = scripted_lineup(emotion=ScriptedEmotion(feels), speakers=(voice("label"),))
        async with opened(browser, engines) as page:
            await page.type("I am so sad.")
            await answered(page)
            assert await page.text(".felt summary") == "sad"
            assert not await page.run("document.querySelector('.felt').open")
            assert await page.run("document.querySelector('.felt').title") == (
                "words: 'so sad'\nsound: as usual (against speakers in general)\nsure to 84 %"
            )
            await page.click(".felt summary")
            assert "words: 'so sad'" in await page.text(".felt p")
            assert "gentle" in await page.text(".meta")
            await page.choose("interface", "es")
            await page.until("document.querySelector('.felt summary').textContent === 'triste'")
            assert "palabras: 'so sad'" in await page.text(".felt p")

    run(main())


def test_what_is_plain_or_unsure_is_not_shown_and_a_switch_turns_it_off(browser: str) -> None:
    async def main() -> None:
        engines = scripted_lineup(emotion=ScriptedEmotion(feels), speakers=(voice("none"),))
        async with opened(browser, engines) as page:
            for count, words in enumerate(("What time is it?", "I am fine.", "I am sad."), 1):
                await page.type(words)
                await answered(page, count)
            assert await page.text(".felt summary") == "sad"
            assert "always sounds the same: it cannot sound gentle" in await page.text(".remark")
            await page.choose("feelings", False)
            await page.until("document.querySelector('#settings [name=feelings]').checked === false")
            await page.type("I am sad.")
            await answered(page, 4)
            assert await page.run("document.querySelectorAll('.felt').length") == 1

    run(main())
