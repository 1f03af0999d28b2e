"""A page that lost its server, or itself: what it takes up again, and what it can do when the server has forgotten."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass, field

import numpy as np
import pytest

from browser.page import Page, browse
from browser.stage import (
    MARKS,
    SOCKET,
    STORY,
    TAPS,
    WIRETAP,
    answered,
    detoured,
    opened,
    run,
    scripted_lineup,
    served,
    tap,
    words,
)
from duologue.engines import Prompt

pytestmark = [*MARKS, pytest.mark.waits]

SENTENCE = STORY[: STORY.index(" every")]
LONG = STORY[: STORY.index(" before")]


async def needs_resuming(page: Page) -> None:
    if not await page.run("duologue.connection.query('ws').resume ?? ''"):
        pytest.skip("this server tells no token to resume with")


async def told_half(page: Page) -> None:
    await page.type("Tell me a story")
    await page.until("document.querySelectorAll('.heard').length > 3")


def test_a_lost_connection_is_taken_up_where_the_sound_ended(browser: str) -> None:
    async def main() -> None:
        async with (
            detoured(scripted_lineup([SENTENCE, "Yes."])) as (url, detour),
            browse(browser, url, SOCKET + detour.script, TAPS) as page,
        ):
            await page.until("document.body.dataset.state === 'idle'")
            await needs_resuming(page)
            await page.run(WIRETAP)
            await told_half(page)
            session = await page.run("duologue.session.name")
            detour.cut()
            await page.until("document.body.dataset.state === 'connecting'")
            assert "connection is lost" in await page.text("#notice")
            await answered(page)
            assert await page.run("duologue.session.name") == session
            assert await page.run("document.querySelector('#notice').hidden")
            assert (await page.text(".reply .heard")).strip() == SENTENCE.strip()
            out, rate = await tap(page, "out"), await page.run("duologue.sound.rate")
            heard_s = np.count_nonzero(np.abs(np.convolve(np.abs(out), np.ones(480) / 480, "same")) > 0.01) / rate
            assert heard_s == pytest.approx(len(SENTENCE) * 0.06, rel=0.15)  # nothing left out, nothing said twice
            await page.type("And again")
            await answered(page, 2)

    run(main())


def test_a_page_that_is_loaded_again_goes_on(browser: str) -> None:
    async def main() -> None:
        async with opened(browser, scripted_lineup([LONG])) as page:
            await needs_resuming(page)
            await told_half(page)
            session = await page.run("duologue.session.name")
            await page.reload()
            await page.until("globalThis.duologue?.session.name")
            assert await page.run("duologue.session.name") == session
            assert await page.text(".you .words") == "Tell me a story"
            lit = len(await page.text(".heard"))
            assert lit > 10
            waits = "!document.querySelector('#notice').hidden"
            await page.until(f"{waits} || duologue.sound.context.state === 'running'")
            if await page.run(waits):  # the browser wants a click first; not always
                assert "sound is paused" in await page.text("#notice")
                await page.click("#notice-act")
            await answered(page)
            assert (await page.text(".reply .heard")).strip() == LONG.strip()
            assert page.complaints == []

    run(main())


@dataclass
class Historian:
    prompts: list[Prompt] = field(default_factory=list)

    def reply(self, prompt: Prompt) -> str:
        self.prompts.append(prompt)
        return SENTENCE


def test_a_server_that_was_started_again_is_told_what_it_forgot(browser: str) -> None:
    async def main() -> None:
        historian = Historian()
        async with contextlib.AsyncExitStack() as first:
            url = await first.enter_async_context(served(scripted_lineup(historian.reply)))
            async with browse(browser, url, SOCKET, TAPS) as page:
                await page.until("document.body.dataset.state === 'idle'")
                await needs_resuming(page)
                await told_half(page)
                await first.aclose()
                await page.until("document.body.dataset.state === 'connecting'")
                async with served(scripted_lineup(historian.reply), port=int(url.rsplit(":", 1)[1])):
                    await page.until("document.querySelectorAll('.reply').length === 2")
                    assert "goes on here" in await page.text(".aside")
                    await page.until("duologue.conversation.entries.at(-1).reply?.over")
                    both = await page.run(
                        "[...document.querySelectorAll('.reply .words')].map((line) => line.textContent)"
                    )
                    assert words(" ".join(both)) == words(SENTENCE)
                    assert await page.run("document.querySelectorAll('.word:not(.heard)').length") == 0
                    await page.type("And again")
                    await page.until("duologue.conversation.entries.at(-1).you?.text === 'And again'")
                    await answered(page, 3)
                    assert "Tell me a story" in str(historian.prompts[-1].messages)

    run(main())


def test_a_server_that_was_started_again_while_nobody_spoke_is_found(browser: str) -> None:
    async def main() -> None:
        async with contextlib.AsyncExitStack() as first:
            url = await first.enter_async_context(served())
            async with browse(browser, url, SOCKET) as page:
                await page.until("document.body.dataset.state === 'idle'")
                await page.type("Good morning")
                await answered(page)
                await first.aclose()
                await page.until("document.body.dataset.state === 'connecting'")
                assert "connection is lost" in await page.text("#notice")
                async with served(port=int(url.rsplit(":", 1)[1])):
                    await page.until("document.body.dataset.state === 'idle'")
                    assert await page.run("document.querySelector('#notice').hidden")
                    await page.type("And again")
                    await answered(page, 2)

    run(main())


def test_another_window_with_the_same_session_takes_it_over_once(browser: str) -> None:
    """They do not take it from each other for ever."""

    async def main() -> None:
        async with opened(browser) as page:
            await needs_resuming(page)
            await page.type("Good morning")
            await answered(page)
            taken = await page.run("""new Promise((known) => {
              const other = new WebSocket(duologue.connection.address("ws", "ws"));
              other.onmessage = ({ data }) => typeof data === "string" && known(JSON.parse(data).resumed);
              globalThis.other = other;
            })""")
            assert taken is True
            await page.until("!document.querySelector('#notice').hidden")
            assert "another window" in await page.text("#notice")
            await asyncio.sleep(1.5)  # longer than the page would wait for its next try
            assert await page.run("other.readyState") == 1

    run(main())
