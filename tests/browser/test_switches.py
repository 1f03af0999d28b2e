"""Each part of what is made of the user's language and feelings is switched off by itself on the page, and the rest keeps
working: what the server's engines were asked for after a reader has touched the switch."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Collection
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from browser.page import Page
from browser.stage import MARKS, answered, drop, opened, run, scripted_lineup, tone
from duologue.audio import Audio, Frame
from duologue.emotion import Emotion, EmotionSettings, Heard
from duologue.engines import Pause, Prompt, Sound, Style, Transcript, scripted
from duologue.engines.lineup import Lineup
from duologue.engines.speakable import speakable
from duologue.languages import Guess, TextDetector
from duologue.tone import ANSWERS

pytest.importorskip("babel")
pytest.importorskip("unicode_rbnf")
pytest.importorskip("indic_numtowords")
pytestmark = [*MARKS, pytest.mark.waits]

TYPED = "¿Estoy muy triste?"


@dataclass
class Notebook:
    """What the engines were asked for at last; each of them takes everybody for a sad Spaniard."""

    prompt: Prompt | None = None
    style: Style | None = None
    voiced: str = ""
    looked_at: EmotionSettings | None = None
    listened: bool = False

    def reply(self, prompt: Prompt) -> str:
        self.prompt = prompt
        return "50%"

    def seen(self) -> dict[str, Any]:
        assert self.prompt is not None
        assert self.style is not None
        told = [message.content for message in self.prompt.messages]
        return {
            "language": self.style.language,
            "the model is told the language": "in Spanish" in told[0],
            "tone": self.style.emotion,
            "the model is told the feeling": ANSWERS["sad"].instruction in told[-1],
            "words are looked at": self.looked_at is not None and self.looked_at.words,
            "sound is listened to": self.listened,
            "mood": self.looked_at and self.looked_at.carried,
            "in words": "%" not in self.voiced,
        }


class Texts(TextDetector):
    def detect(self, text: str, also: Collection[str] = ()) -> Guess | None:
        return Guess("es", 1.0)


class Hears(scripted.ScriptedRecognizer):
    async def transcribe(self, audio: AsyncIterator[Frame | Pause]) -> AsyncIterator[Transcript]:
        async for transcript in super().transcribe(audio):
            yield replace(transcript, language="es", language_confidence=1.0)


@dataclass
class Feels(scripted.ScriptedEmotion):
    notebook: Notebook = field(default_factory=Notebook)

    def open(self, settings: EmotionSettings) -> scripted.ScriptedFeeling:
        self.notebook.looked_at = settings
        return Feeling(self, settings)


class Feeling(scripted.ScriptedFeeling):
    async def hear(self, audio: Audio) -> Heard:
        assert isinstance(self._model, Feels)
        self._model.notebook.listened = True
        return Heard()


@dataclass
class Speaks(scripted.ScriptedSpeaker):
    notebook: Notebook = field(default_factory=Notebook)

    async def speak(self, text: AsyncIterator[str], style: Style) -> AsyncIterator[Sound]:
        self.notebook.style = style

        async def noted() -> AsyncIterator[str]:
            async for piece in text:
                self.notebook.voiced += piece
                yield piece

        async for sound in super().speak(noted(), style):
            yield sound


def engines(notebook: Notebook) -> Lineup:
    return scripted_lineup(
        notebook.reply,
        recognizer=Hears(),
        speakers=(speakable(Speaks(seconds_per_char=0.01, notebook=notebook)),),
        emotion=Feels(lambda _: Emotion("sad", 1.0, 0.9), notebook=notebook),
        texts=Texts(),
    )


async def ask(page: Page, folder: Path, count: int = 1, *, typed: bool = False) -> None:
    if typed:
        await page.type(TYPED)
    else:
        await drop(page, "said.wav", tone(folder / "said.wav", 1.2).read_bytes())
    await answered(page, count)


ALL: dict[str, Any] = {
    "language": "es",
    "the model is told the language": True,
    "tone": "gentle",
    "the model is told the feeling": True,
    "words are looked at": True,
    "sound is listened to": True,
    "mood": 0.25,
    "in words": True,
}
NO_SPANISH: dict[str, Any] = {"language": "en", "the model is told the language": False}
UNFELT: dict[str, Any] = {"tone": "neutral", "the model is told the feeling": False}
"""What differs where a switch is off."""


@pytest.mark.parametrize(
    ("switch", "typed", "differs"),
    [
        ("language_from_speech", False, NO_SPANISH),
        ("language_from_speech", True, {"sound is listened to": False}),
        ("language_from_text", True, NO_SPANISH | {"sound is listened to": False}),
        ("language_from_text", False, {}),
        ("language_to_model", False, {"the model is told the language": False}),
        (
            "feelings",
            False,
            UNFELT | {"words are looked at": False, "sound is listened to": False, "mood": None},
        ),
        ("feelings_from_words", False, UNFELT | {"words are looked at": False}),
        ("feelings_from_sound", False, {"sound is listened to": False}),
        ("feelings_carried", False, {"mood": 0.0}),
        ("feelings_to_voice", False, {"tone": "neutral"}),
        ("feelings_to_model", False, {"the model is told the feeling": False}),
        ("speakable", False, {"in words": False}),
    ],
)
def test_one_switch_is_off_and_the_rest_works(
    switch: str, typed: bool, differs: dict[str, Any], browser: str, tmp_path: Path
) -> None:
    async def main() -> None:
        notebook = Notebook()
        async with opened(browser, engines(notebook)) as page:
            assert await page.run(f"document.querySelector('#settings [name={switch}]').checked")
            await page.choose(switch, False)
            await ask(page, tmp_path, typed=typed)
            assert notebook.seen() == ALL | differs
            stored = json.loads(await page.run("localStorage.getItem('duologue')"))["settings"]
            assert not stored[switch]
            assert page.complaints == []

    run(main())


def test_what_is_switched_on_again_or_put_back_works_again(browser: str, tmp_path: Path) -> None:
    async def main() -> None:
        notebook = Notebook()
        switches = ["language_from_speech", "language_to_model", "feelings", "feelings_carried"]
        async with opened(browser, engines(notebook)) as page:
            for switch in switches:
                await page.choose(switch, False)
            await ask(page, tmp_path)
            assert notebook.looked_at is None
            for switch in switches[:2]:
                await page.choose(switch, True)
            await page.click("#reset")
            await page.until("document.querySelector('#settings [name=feelings_carried]').checked")
            await ask(page, tmp_path, 2)
            assert notebook.seen() == ALL

    run(main())


def test_a_switch_that_would_change_nothing_cannot_be_switched(browser: str) -> None:
    following = ["language_from_speech", "language_from_text"]
    answering = ["feelings_to_voice", "feelings_to_model"]
    noticing = ["feelings_from_words", "feelings_from_sound", "feelings_carried"]

    async def main() -> None:
        async with opened(browser, engines(Notebook())) as page:
            await idle(page)
            await page.choose("language", "ta")
            await idle(page, *following)
            await page.choose("language", "auto")
            await page.choose("emotion", "happy")
            await idle(page, *answering)
            await page.choose("emotional", False)
            await idle(page, *answering)
            await page.choose("emotion", "auto")
            await idle(page)
            await page.choose("feelings", False)
            await idle(page, *noticing, *answering)
        async with opened(browser) as page:  # whose server finds no feelings
            await page.until("document.querySelector('#settings [name=feelings]').disabled")
            await idle(page, *noticing, *answering)

    run(main())


async def idle(page: Page, *names: str) -> None:
    """These are the switches that cannot be switched."""
    shown = "[...document.querySelectorAll('#settings [data-needs]:disabled')].map((field) => field.name).join()"
    await page.until(f"{shown} === '{','.join(names)}'")
