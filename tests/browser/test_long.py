"""A conversation of hundreds of turns: the page keeps what it shows, and its pace, bounded."""

from __future__ import annotations

import asyncio

import pytest

from browser.page import Page
from browser.stage import MARKS, STORY, opened, run, scripted_lineup

pytestmark = [*MARKS, pytest.mark.waits]

KEPT = 200
"""Entries, as in conversation.js."""

TURNS = """(() => {
  for (let turn = 1000; turn < 1000 + %d; turn++) {
    duologue.conversation.transcript({ turn, text: `Question ${turn}`, is_final: true, language: "en" });
    duologue.conversation.textChunk({ turn, chunk_index: 0, text: "Answer.", has_audio: false });
    duologue.conversation.done({ turn, speaker: "scripted" });
  }
})()"""
"""As the server's messages would make them."""

PARAGRAPHS = """(() => {
  const ends = Array.from({ length: 80 }, (_, i) => 5 * (i + 1));
  for (const { reply } of duologue.conversation.entries) Object.assign(reply, { text: "word ".repeat(80), ends, lit: 400 });
  duologue.conversation.changed();
})()"""


async def styling_s(page: Page, within_s: float) -> float:
    """Seconds that the browser spends on finding out what its elements look like."""

    async def so_far() -> float:
        metrics = (await page.call("Performance.getMetrics"))["metrics"]
        return float(next(metric["value"] for metric in metrics if metric["name"] == "RecalcStyleDuration"))

    before = await so_far()
    await asyncio.sleep(within_s)
    return await so_far() - before


def test_hundreds_of_turns_do_not_slow_the_page_down(browser: str) -> None:
    """The loudness of the voice moves a ring 30 times a second: that must not cost a look at every word on the screen."""

    async def main() -> None:
        async with opened(browser, scripted_lineup([STORY * 2])) as page:
            await page.call("Performance.enable")
            await page.run(TURNS % KEPT)
            await page.run(PARAGRAPHS)
            await page.type("Tell me a story")
            await page.until("document.querySelectorAll('.turn:last-child .heard').length > 3")
            assert await styling_s(page, 2) < 0.6

    run(main())


def test_what_the_conversation_no_longer_keeps_is_no_longer_on_the_screen(browser: str) -> None:
    async def main() -> None:
        async with opened(browser) as page:
            await page.run(TURNS % (KEPT + 50))
            assert await page.run("duologue.conversation.entries.length") == KEPT
            assert await page.run("document.querySelectorAll('.turn').length") == KEPT
            assert await page.text(".turn:first-child .you .words") == "Question 1050"

    run(main())


def test_noise_that_was_no_turn_goes_and_nothing_else_is_drawn_anew(browser: str) -> None:
    async def main() -> None:
        async with opened(browser) as page:
            await page.run(TURNS % 2)
            await page.run("globalThis.first = document.querySelector('.turn')")
            noise = "duologue.conversation.transcript({ turn: 2000, text: 'hm', is_final: false, language: '' })"
            await page.run(noise)
            assert await page.run("document.querySelectorAll('.turn').length") == 3
            await page.run("duologue.conversation.dropped({ turn: 2000 })")
            assert await page.run("document.querySelectorAll('.turn').length") == 2
            assert await page.run("document.querySelector('.turn') === first")
            await page.run("(duologue.conversation.clear(), 0)")
            await page.run(noise)
            await page.run("duologue.conversation.dropped({ turn: 2000 })")
            assert await page.run("document.querySelector('#welcome').hidden") is False

    run(main())
