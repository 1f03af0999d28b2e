"""Awkward moments: what a reader does while the connection is lost, while the page rests, or before the microphone has come."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from browser.page import Page, browse, chromium
from browser.stage import (
    MARKS,
    PLAIN,
    SOCKET,
    STORY,
    answered,
    detoured,
    opened,
    run,
    scripted_lineup,
    served,
    tone,
)
from duologue.config import Limits, Server
from duologue.engines import Prompt, scripted

pytestmark = [*MARKS, pytest.mark.waits]

AWAY = "document.body.dataset.state === 'connecting'"
READY = "document.body.dataset.state === 'idle'"
KEY = "a-key-of-sixteen-letters"

SLOW_MICROPHONE = """(() => {
  const given = navigator.mediaDevices.getUserMedia.bind(navigator.mediaDevices);
  globalThis.streams = [];
  navigator.mediaDevices.getUserMedia = async (wanted) => {
    const stream = await given(wanted);
    await new Promise((grant) => (globalThis.grant = grant));
    streams.push(stream);
    return stream;
  };
})()"""
"""A microphone that comes when `grant()` is called."""

OFF = "streams.at(-1).getTracks().every(({ readyState }) => readyState === 'ended') && !duologue.sound.listening"


CLOCK = """(() => {
  const now = performance.now.bind(performance);
  globalThis.ahead = 0;
  performance.now = () => now() + ahead;
})();"""
"""The page's clock goes `ahead` by so many ms."""


@dataclass
class Historian:
    prompts: list[Prompt] = field(default_factory=list)

    def reply(self, prompt: Prompt) -> str:
        self.prompts.append(prompt)
        return "So be it."


def prefers(**chosen: object) -> str:
    return f"localStorage.setItem('duologue', {json.dumps(json.dumps({'road': 'socket'} | chosen))});"


async def notice(page: Page) -> str:
    await page.until("!document.querySelector('#notice').hidden")
    return await page.text("#notice")


# ── The microphone ──


def test_a_microphone_that_comes_after_stop_is_given_back(tmp_path: Path) -> None:
    """Another one was chosen, and the reader has pressed stop before it was there: nobody may be heard after that."""
    tone(tmp_path / "microphone.wav", 0.1, 60)

    async def main(browser: str) -> None:
        async with opened(browser) as page:
            await page.click("#talk")
            await page.until("duologue.sound.listening")
            await page.run(SLOW_MICROPHONE)
            await page.choose("echoCancellation", False)
            await page.until("globalThis.grant")
            await page.click("#talk")
            await page.run("grant()")
            await page.until("streams.length")
            await asyncio.sleep(0.1)
            assert await page.run(OFF)
            await page.until(READY)

    with chromium(tmp_path / "microphone.wav") as browser:
        run(main(browser))


def test_a_microphone_that_nothing_can_be_done_with_is_given_back(tmp_path: Path) -> None:
    tone(tmp_path / "microphone.wav", 0.1, 60)

    async def main(browser: str) -> None:
        async with opened(browser) as page:
            await page.run(SLOW_MICROPHONE)
            await page.run("(duologue.sound.built = Promise.reject(new Error('no worklet')), 0)")
            await page.click("#talk")
            await page.until("globalThis.grant")
            await page.run("grant()")
            assert "no worklet" in await notice(page)
            assert await page.run(OFF)

    with chromium(tmp_path / "microphone.wav") as browser:
        run(main(browser))


# ── While the connection is lost ──


def test_what_is_set_while_the_connection_is_lost_holds_when_it_is_back(browser: str) -> None:
    async def main() -> None:
        async with (
            detoured(scripted_lineup()) as (url, detour),
            browse(browser, url, SOCKET + detour.script) as page,
        ):
            await page.until(READY)
            session = await page.run("duologue.session.name")
            detour.cut()
            await page.until(AWAY)
            await page.choose("speed", 1.5)
            await page.until(READY)
            assert await page.run("duologue.session.name") == session
            await page.type("Good morning")
            await answered(page)
            assert await page.run("document.querySelector('[name=speed]').value") == "1.5"
            quick_ms = await page.run("duologue.conversation.entries.at(-1).reply.ms")
            assert quick_ms == pytest.approx(len("You said: Good morning") * 60 / 1.5, rel=0.15)

    run(main())


def test_a_network_that_swallows_everything_is_noticed_and_the_session_goes_on(browser: str) -> None:
    """Nothing is closed, so nothing but the silence tells of it; a server that is only quiet says so when it is asked."""

    async def main() -> None:
        delay_s = 0.0
        async with (
            detoured(scripted_lineup(), lambda: delay_s) as (url, detour),
            browse(browser, url, CLOCK + SOCKET + detour.script) as page,
        ):
            await page.until(READY)
            session, attempts = await page.run("[duologue.session.name, duologue.connection.attempts]")
            await page.run("ahead += 6000")
            await page.until("duologue.connection.road.roundTripMs < 5000")
            await page.run("ahead += 16000")
            await page.until("performance.now() - duologue.connection.road.heardAt < 5000")
            assert await page.run(f"{READY} && duologue.connection.attempts === {attempts}")
            delay_s = 3600.0
            await page.run("ahead += 6000")
            await page.until("duologue.connection.road.askedAt")
            delay_s = 0.0  # of another connection's messages; those of this one stay where they are
            await page.run("ahead += 16000")
            await page.until(AWAY)
            await page.until(READY)
            assert await page.run(f"duologue.session.name === '{session}' && duologue.connection.attempts > {attempts}")

    run(main())


def test_what_is_cleared_while_the_connection_is_lost_is_forgotten_by_both_sides(browser: str) -> None:
    async def main() -> None:
        historian = Historian()
        async with (
            detoured(scripted_lineup(historian.reply)) as (url, detour),
            browse(browser, url, SOCKET + detour.script) as page,
        ):
            await page.until(READY)
            await page.type("My name is Ada")
            await answered(page)
            await page.run("globalThis.confirm = () => true")
            detour.cut()
            await page.until(AWAY)
            await page.click("#clear")
            await page.until(READY)
            await page.type("Who am I?")
            await answered(page)
            assert "Ada" not in str(historian.prompts[-1].messages)

    run(main())


def test_nothing_of_a_reply_comes_back_after_it_was_cleared(browser: str) -> None:
    """Its messages that were on their way."""

    async def main() -> None:
        replies = iter((STORY, "Yes."))
        async with (
            detoured(scripted_lineup(lambda _: next(replies)), lambda: 0.3) as (url, detour),
            browse(browser, url, SOCKET + detour.script) as page,
        ):
            await page.until(READY)
            await page.run("globalThis.confirm = () => true")
            await page.type("Tell me a story")
            await page.until("document.querySelectorAll('.heard').length > 2")
            await page.click("#clear")
            await asyncio.sleep(1)
            assert await page.run("document.querySelectorAll('.turn').length") == 0
            await page.type("And now?")
            await answered(page)
            assert await page.text(".reply .words") == "Yes."

    run(main())


def test_sound_that_was_on_its_way_does_not_open_what_stop_has_closed(browser: str) -> None:
    """A peer's track would be heard again until the server has stopped it."""

    async def main() -> None:
        async with (
            detoured(scripted_lineup([STORY]), lambda: 0.3) as (url, detour),
            browse(browser, url, SOCKET + detour.script) as page,
        ):
            await page.until(READY)
            await page.type("Tell me a story")
            await page.until("document.querySelectorAll('.heard').length > 2")
            await page.click("#interrupt")
            await page.run("duologue.sound.letThrough = (is) => (globalThis.opened ||= is)")
            await page.until(READY)
            assert not await page.run("globalThis.opened")
            assert await page.run("duologue.playout.alive") is False

    run(main())


def test_where_sessions_are_not_kept_a_reply_of_the_next_one_sounds(browser: str) -> None:
    """Its turns are counted anew: the page must not take them for those that it silenced."""
    forgetful = replace(PLAIN, limits=Limits(resume_s=0))

    async def main() -> None:
        async with (
            served(scripted_lineup([STORY, "Yes, indeed."]), config=forgetful) as url,
            browse(browser, url, SOCKET) as page,
        ):
            await page.until(READY)
            await page.type("Tell me a story")
            await page.until("document.querySelectorAll('.heard').length > 2")
            await page.click("#interrupt")
            await page.until("document.querySelector('.unheard')")
            await page.run("(duologue.connection.again(), 0)")
            await page.until("document.querySelector('.aside')")
            await page.until(READY)
            await page.run("globalThis.played = 0")
            await page.run("""(() => {
              const { on } = duologue.sound;
              const { played } = on;
              on.played = (report) => (report.playing && (globalThis.played += 1), played(report));
            })()""")
            await page.type("Is that all?")
            await answered(page)
            assert await page.run("played") > 0

    run(main())


# ── While the page rests ──


def test_a_page_that_rests_says_so_and_goes_on_by_its_button(browser: str) -> None:
    """Its notice may be gone: read and dismissed, or replaced by another one."""
    hasty = replace(PLAIN, limits=Limits(idle_s=0.5))

    async def main() -> None:
        async with served(config=hasty) as url, browse(browser, url, SOCKET) as page:
            await page.until("document.body.dataset.state === 'resting'")
            assert "Nobody spoke" in await notice(page)
            await page.click("#notice-close")
            assert await page.text("#state") == "Not connected"
            assert await page.text("#talk-label") == "Go on"
            await page.run("globalThis.before = duologue.session.name")
            await page.click("#talk")
            await page.until("duologue.session.name !== before")

    run(main())


# ── Getting in ──


@pytest.mark.parametrize("key", ["two words and more", "schlüssel-für-den-server"])
def test_a_key_that_no_server_can_have_is_a_wrong_key(browser: str, key: str) -> None:
    keyed = replace(PLAIN, server=Server(keys=(KEY,)))

    async def main() -> None:
        async with served(config=keyed) as url, browse(browser, url, prefers(key=key)) as page:
            assert "That key is none of this server's" in await notice(page)
            await page.choose("key", f" {KEY} ")  # pasted with what stood around it
            await page.until(READY)

    run(main())


def test_a_page_whose_address_the_server_does_not_trust_says_so(browser: str) -> None:
    """Over http by a name: no sign of life would look like a lost connection."""

    async def main() -> None:
        async with served() as url, browse(browser, url.replace("127.0.0.1", "duologue.localhost")) as page:
            assert "This address may not connect" in await notice(page)
            assert "server.origins" in await notice(page)
            await asyncio.sleep(1)
            assert "This address may not connect" in await notice(page)

    run(main())


def test_a_voice_whose_languages_are_no_tags_does_not_stop_the_page(browser: str) -> None:
    worldly = scripted.ScriptedSpeaker()
    worldly.about = replace(worldly.about, languages=frozenset({"en_US", "every language"}))

    async def main() -> None:
        async with opened(browser, scripted_lineup(speakers=(worldly,))) as page:
            await page.click("#open-settings")
            assert "American English, every language" in await page.text("#in-use")
            assert page.complaints == []

    run(main())


# ── Small things ──


def test_two_windows_do_not_undo_each_others_preferences(browser: str) -> None:
    async def main() -> None:
        async with opened(browser) as page:
            elsewhere = {"road": "socket", "mode": "hold"}
            await page.run(f"localStorage.setItem('duologue', {json.dumps(json.dumps(elsewhere))})")
            await page.choose("noiseSuppression", False)
            kept = json.loads(await page.run("localStorage.getItem('duologue')"))
            assert kept == elsewhere | {"noiseSuppression": False}

    run(main())


def test_text_may_be_dragged_about_and_the_space_bar_counts_once(browser: str) -> None:
    async def main() -> None:
        async with opened(browser) as page:
            refused = await page.run("""[["text/plain", "words"], ["file"]].map(([type, text]) => {
              const dataTransfer = new DataTransfer();
              if (text) dataTransfer.setData(type, text);
              else dataTransfer.items.add(new File([""], "question.wav"));
              return !document.body.dispatchEvent(new DragEvent("dragover", { dataTransfer, bubbles: true, cancelable: true }));
            })""")
            assert refused == [False, True]
            up = "new KeyboardEvent('keyup', { key: ' ', bubbles: true, cancelable: true })"
            assert await page.run(f"document.querySelector('#talk').dispatchEvent({up})") is False

    run(main())


def test_a_notice_is_not_told_again_and_again(browser: str) -> None:
    """A screen reader says what is written anew, also where it is the same."""

    async def main() -> None:
        async with opened(browser) as page:
            await drop_notes(page)
            await page.run("globalThis.first = document.querySelector('#notice-text').firstChild")
            await drop_notes(page)
            assert await page.run("document.querySelector('#notice-text').firstChild === first")

    async def drop_notes(page: Page) -> None:
        await page.run("""(() => {
          const dataTransfer = new DataTransfer();
          dataTransfer.items.add(new File(["notes"], "notes.txt"));
          document.body.dispatchEvent(new DragEvent("drop", { dataTransfer, bubbles: true, cancelable: true }));
        })()""")
        await page.until("document.querySelector('#notice').hidden === false")

    run(main())


def test_escape_that_ends_a_composed_word_does_not_stop_the_answer(browser: str) -> None:
    async def main() -> None:
        async with opened(browser, scripted_lineup([STORY])) as page:
            await page.type("Tell me a story")
            await page.until("document.querySelectorAll('.heard').length > 2")
            composing = "{ key: 'Escape', bubbles: true, isComposing: true }"
            await page.run(f"document.querySelector('#text').dispatchEvent(new KeyboardEvent('keydown', {composing}))")
            await answered(page)

    run(main())


def test_where_the_clipboard_is_forbidden_the_text_is_copied_all_the_same(browser: str) -> None:
    async def main() -> None:
        async with opened(browser) as page:
            await page.type("Good morning")
            await answered(page)
            await page.run("""(() => {
              navigator.clipboard.writeText = async () => { throw new DOMException("no", "NotAllowedError"); };
              document.addEventListener("copy", () => (globalThis.copied = document.activeElement.value));
              document.querySelector("#saving [value=copy]").click();
            })()""")
            assert "Copied" in await notice(page)
            assert await page.run("copied") == "You: Good morning\nDuologue: You said: Good morning"
            assert page.complaints == []

    run(main())
