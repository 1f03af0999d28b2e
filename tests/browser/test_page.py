"""The page in a real browser, before a real server with scripted engines: what it shows, and what its controls change."""

from __future__ import annotations

import asyncio
import io
import json
import re
import wave
from pathlib import Path

import numpy as np
import pytest

from browser.page import browse
from browser.stage import (
    LOUD,
    MARKS,
    SOCKET,
    STORY,
    WIRETAP,
    answered,
    busy,
    drop,
    opened,
    run,
    scripted_lineup,
    served,
    tap,
    tone,
    words,
)
from duologue.transports.server import WEB

pytestmark = [*MARKS, pytest.mark.waits]

MOST_BYTES = 155_000
INTERACTIVE_MS = 1_000

WATCH_BUTTON = """addEventListener("DOMContentLoaded", () => {
  const button = document.getElementById("talk");
  const look = () => button.disabled || (globalThis.interactive ??= performance.now());
  new MutationObserver(look).observe(button, { attributes: true });
});"""

KEEP_DOWNLOADS = """globalThis.downloads = [];
URL.createObjectURL = (blob) => (downloads.push(blob), "about:blank#");
HTMLAnchorElement.prototype.click = function () { downloads.at(-1).file = this.download; };"""


def modules() -> list[Path]:
    return sorted(WEB.rglob("*.js"))


def test_the_page_is_loaded_whole_and_small_and_soon(browser: str) -> None:
    async def main() -> None:
        async with served() as url, browse(browser, url, SOCKET + WATCH_BUTTON) as page:
            await page.until("document.body.dataset.state === 'idle'")
            sizes = "[...performance.getEntriesByType('navigation'), ...performance.getEntriesByType('resource')]"
            assert (
                50_000 < await page.run(f"{sizes}.reduce((sum, entry) => sum + entry.decodedBodySize, 0)") < MOST_BYTES
            )
            assert await page.run("interactive") < (10 if busy() else 1) * INTERACTIVE_MS
            assert await page.text("#state") == "Press and talk"
            assert page.complaints == []

    run(main())


def test_every_module_that_the_page_begins_with_is_asked_for_at_once() -> None:
    """As the browser finds them one by one otherwise, each a way to the server and back later."""
    html = (WEB / "index.html").read_text()
    asked = set(re.findall(r'modulepreload" href="([^"]+)"', html))
    needed, found = {"app.js"}, ["app.js"]
    while found:
        imports = re.findall(r'^import .*from "\./([^"]+)"', (WEB / found.pop()).read_text(), re.MULTILINE)
        found += [name for name in imports if name not in needed]
        needed |= set(imports)
    assert asked == needed - {"app.js"}


def test_no_file_is_left_over() -> None:
    """Every file of the page is named by another."""
    text = {path: path.read_text() for path in WEB.rglob("*") if path.suffix in (".js", ".html", ".css")}
    lazily = {path for path in text if path.parent.name == "words"}
    for path in WEB.rglob("*.*"):
        named = any(f'{path.name}"' in source for other, source in text.items() if other != path)
        assert named or path in lazily or path.name == "index.html", path


def test_typed_text_is_answered_word_by_word(browser: str) -> None:
    async def main() -> None:
        async with opened(browser) as page:
            await page.run("""(() => {
              globalThis.lit = new Set();
              const look = () => (lit.add(document.querySelectorAll('.heard').length), requestAnimationFrame(look));
              look();
            })()""")
            await page.type("Good morning to you")
            await answered(page)
            assert await page.text(".you .words") == "Good morning to you"
            assert await page.text(".reply .words") == "You said: Good morning to you"
            assert await page.text(".reply .heard") == "You said: Good morning to you"
            assert len(await page.run("[...lit]")) >= 4  # of seven states: words are lit one after another
            assert page.complaints == []

    run(main())


def test_the_button_stops_the_answer_and_strikes_what_was_not_heard(browser: str) -> None:
    async def main() -> None:
        async with opened(browser, scripted_lineup([STORY * 3])) as page:
            await page.run(WIRETAP)
            await page.type("Tell me a story")
            await page.until("document.querySelectorAll('.heard').length > 4")
            await page.click("#interrupt")
            await page.until("document.querySelector('.unheard')")
            kept = await page.text(".reply .heard")
            await asyncio.sleep(0.4)
            assert np.max(np.abs((await tap(page, "out"))[-4_000:])) < LOUD
            assert STORY.startswith(kept.strip())
            assert 3 <= len(words(kept)) <= 12
            assert await page.run("document.querySelectorAll('.unheard ~ .heard').length") == 0
            assert "interrupted" in await page.text(".meta")

    run(main())


def test_a_dropped_file_is_spoken_where_there_is_no_microphone(browser: str, tmp_path: Path) -> None:
    async def main() -> None:
        async with opened(browser) as page:
            await page.click("#talk")
            await page.until("!document.querySelector('#notice').hidden")
            notice = await page.text("#notice")
            assert "No microphone found" in notice
            assert "type below or drop a sound file" in notice
            await drop(page, "question.wav", tone(tmp_path / "question.wav", 1.2).read_bytes())
            await answered(page)
            assert await page.text(".you .words") == "Hello there."
            assert await page.text(".reply .heard") == "You said: Hello there."
            assert await page.run("document.querySelector('#notice').hidden")
            assert await page.run("duologue.conversation.latencies.length") == 1
            assert "answered after" in await page.text(".meta")

    run(main())


def test_the_waterfall_adds_up_to_what_was_heard(browser: str, tmp_path: Path) -> None:
    """The page adds the way from the server to the ear, as its own sound tells it."""

    async def main() -> None:
        async with opened(browser) as page:
            await drop(page, "question.wav", tone(tmp_path / "question.wav", 1.2).read_bytes())
            await answered(page)
            total, parts = await page.run("(({ total, parts }) => [total, parts])(duologue.conversation.latencies[0])")
            assert sum(parts.values()) == pytest.approx(total, abs=1)
            assert 5 < parts["way"] < 2_000
            await page.click(".meta summary")
            shown = [ms for ms in parts.values() if ms >= 0.5]
            assert await page.run("document.querySelectorAll('.steps li').length") == len(shown)
            await page.click("#open-insights")
            await page.until("document.querySelector('.columns')")
            assert await page.text("#insights-median") == f"{total / 1000:.2f} s"

    run(main())


def test_a_file_that_is_no_sound_is_refused_kindly(browser: str) -> None:
    async def main() -> None:
        async with opened(browser) as page:
            await drop(page, "notes.txt", b"these are notes")
            await page.until("!document.querySelector('#notice').hidden")
            assert "not a sound file" in await page.text("#notice")
            assert "notes.txt" in await page.text("#notice")

    run(main())


# ── Saving ──


def test_the_conversation_can_be_taken_away(browser: str) -> None:
    async def main() -> None:
        async with opened(browser, before=SOCKET + KEEP_DOWNLOADS) as page:
            await page.type("Good morning")
            await answered(page)
            await page.click("#open-saving")
            for kind in ("text", "json", "wav"):
                await page.click(f"#saving [value={kind}]")
            await page.until("downloads.length === 3")
            text, wav, exported = await page.run("""(async () => {
              const of = (ending) => downloads.find(({ file }) => file.endsWith(ending));
              return [await of("txt").text(), [...new Uint8Array(await of("wav").arrayBuffer())], await of("json").text()];
            })()""")
            assert text == "You: Good morning\nDuologue: You said: Good morning"
            assert [turn["role"] for turn in json.loads(exported)["turns"]] == ["user", "assistant"]
            with wave.open(io.BytesIO(bytes(wav))) as sound:
                assert (sound.getnchannels(), sound.getframerate()) == (2, 24_000)
                user, reply = np.frombuffer(sound.readframes(sound.getnframes()), "<i2").reshape(-1, 2).T / 32768
            assert np.max(np.abs(user)) == 0  # nobody spoke
            assert np.max(np.abs(reply)) > 0.2
            assert np.count_nonzero(np.abs(reply) > LOUD) / 24_000 > 0.4

    run(main())


# ── Keys, languages, the session's panel ──


def test_the_keyboard_does_everything(browser: str) -> None:
    async def main() -> None:
        async with opened(browser, scripted_lineup([STORY * 3])) as page:
            await page.key("/")
            assert await page.run("document.activeElement.id") == "text"
            await page.call("Input.insertText", text="Tell me a story")
            await page.key("Enter")
            await page.until("document.querySelectorAll('.heard').length > 2")
            await page.run("document.activeElement.blur()")
            await page.key("Escape")
            await page.until("document.querySelector('.unheard')")
            await page.key(" ")  # there is no microphone, and it is this that is said
            await page.until("!document.querySelector('#notice').hidden")
            assert "No microphone" in await page.text("#notice")
            reached = set()
            for _ in range(20):
                await page.key("Tab")
                reached.add(await page.run("document.activeElement.id || document.activeElement.tagName"))
            wanted = {"open-insights", "open-saving", "clear", "open-settings", "talk", "text", "file"}
            assert wanted <= reached

    run(main())


def test_the_page_speaks_the_readers_language(browser: str) -> None:
    async def main() -> None:
        async with opened(browser) as page:
            await page.type("Hello")
            await answered(page)
            for language in ("hi", "es", "ms", "ta", "te", "mr"):
                await page.choose("interface", language)
                await page.until(f"document.documentElement.lang === '{language}'")
                english, own = await page.run(f"""Promise.all(["en", "{language}"].map(async (code) =>
                  (await import(`/words/${{code}}.js`)).default))""")
                assert own.keys() == english.keys()
                gaps = {key: set(re.findall(r"{\w+}", text)) for key, text in english.items()}
                assert {key: set(re.findall(r"{\w+}", text)) for key, text in own.items()} == gaps
                untranslated = {key for key in english if english[key] == own[key]}
                assert untranslated <= {"it", "road_rtc", "road_socket", "median"}, language
                assert await page.text("#state") == own["state_idle"]
                assert await page.text("#welcome h2") == own["welcome"]
                assert await page.run("document.querySelector('#text').placeholder") == own["type"]
                assert await page.text(".you .who") == own["you"]
                assert await page.text("[name=voice] option:first-child") == own["voice_usual"]

    run(main())


def test_a_reader_of_any_language_loads_little(browser: str) -> None:
    """Of the tables only one's own is fetched, and English."""

    async def main() -> None:
        largest = max((WEB / "words").iterdir(), key=lambda path: path.stat().st_size)
        prefers = (
            f"localStorage.setItem('duologue', JSON.stringify({{ road: 'socket', interface: '{largest.stem}' }}));"
        )
        async with opened(browser, before=prefers) as page:
            sizes = "[...performance.getEntriesByType('navigation'), ...performance.getEntriesByType('resource')]"
            assert await page.run("document.documentElement.lang") == largest.stem
            assert await page.run(f"{sizes}.reduce((sum, entry) => sum + entry.decodedBodySize, 0)") < MOST_BYTES

    run(main())


def test_the_words_in_the_page_are_those_of_its_english_table_and_none_is_unused(browser: str) -> None:
    html = (WEB / "index.html").read_text()
    shown = dict(re.findall(r'data-say="(\w+)">([^<]*)<', html))
    shown |= {key: text for text, key in re.findall(r'aria-label="([^"]*)"[^>]*data-say-label="(\w+)"', html)}
    shown |= {key: text for text, key in re.findall(r'placeholder="([^"]*)"[^>]*data-say-placeholder="(\w+)"', html)}
    table = dict(re.findall(r'^  (\w+): "(.*)",$', (WEB / "words" / "en.js").read_text(), re.MULTILINE))
    assert {key: table[key] for key in shown} == shown
    code = html + "".join(path.read_text() for path in modules() if path.parent == WEB)
    parts = ("welcome_", "state_", "emotion_", "stage_", "task_", "suggestion_", "streaming_", "telling_", "stops_")
    for key in table:
        code_of = key.removesuffix("_do")  # what to do about it: see notices.js
        assert f'"{code_of}"' in code or code_of.startswith(parts) or code_of in KNOWN_ELSEWHERE, key


KNOWN_ELSEWHERE = {
    # of browsers
    "NotAllowedError",
    "NotFoundError",
    "NotReadableError",
    # of servers
    "degraded",
    "server_full",
    "not_ready",
}
"""Codes of errors that others raise."""


def test_the_session_panel_says_how_the_sound_travels(browser: str) -> None:
    async def main() -> None:
        async with opened(browser) as page:
            await page.click("#open-insights")
            await page.until("document.querySelector('#insights-sound').childElementCount")
            facts = await page.run("""Object.fromEntries([...document.querySelectorAll("#insights-sound dt")].map((term) =>
              [term.textContent, term.nextElementSibling.textContent]))""")
            assert facts["connection"] == "WebSocket"
            assert facts["times it ran dry"] == "0"
            await page.click("#insights-close")
            assert await page.run("document.querySelector('#insights').hidden")

    run(main())
