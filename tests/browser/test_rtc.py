"""The page's default road: a peer connection. Its sound, its words, and what happens where it does not get through."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest

from browser.page import Page
from browser.stage import LOUD, MARKS, STORY, WIRETAP, answered, opened, run, scripted_lineup, tap, words

pytestmark = [*MARKS, pytest.mark.waits]

AUTO = "localStorage.clear();"

SENTENCE = STORY[: STORY.index(" every")]

BLOCKED = """globalThis.RTCPeerConnection = class extends RTCPeerConnection {
  constructor(options) { super({ ...options, iceTransportPolicy: "relay" }); }
};"""
"""A network that lets no UDP through but by a relay, of which there is none."""

ABSENT = """const ask = globalThis.fetch;
globalThis.fetch = (to, ...more) =>
  String(to).includes("/rtc") ? Promise.resolve(new Response("", { status: 404 })) : ask(to, ...more);"""


async def needs_rtc(page: Page) -> None:
    if await page.run("duologue.connection.name") != "rtc":
        pytest.skip(f"this server has no WebRTC: {await page.run('duologue.connection.why')}")


def test_the_answer_comes_over_webrtc_and_its_words_are_lit_as_they_sound(browser: str) -> None:
    async def main() -> None:
        async with opened(browser, scripted_lineup([SENTENCE]), AUTO) as page:
            await needs_rtc(page)
            await page.run(WIRETAP)
            await page.run("""(() => {
              globalThis.seen = [];
              let lit = 0;
              const look = () => {
                const now = document.querySelectorAll(".heard").length;
                if (now > lit) seen.push([lit = now, taps.out.length]);
                requestAnimationFrame(look);
              };
              look();
            })()""")
            await page.type("Tell me a story")
            await answered(page)
            assert (await page.text(".reply .heard")).strip() == SENTENCE
            out, rate = await tap(page, "out"), await page.run("duologue.sound.rate")
            began = int(np.argmax(np.abs(out) > LOUD))
            assert np.count_nonzero(np.abs(out) > LOUD) / rate > 2.0
            starts = (
                np.cumsum([0, *(len(word) + 1 for word in SENTENCE.split())]) * 0.06
            )  # s, as the scripted voice speaks
            late = [(at - began) / rate - starts[lit - 1] for lit, at in await page.run("seen") if lit > 1]
            assert len(late) > 5
            assert np.median(np.abs(late)) < 0.3
            await page.click("#open-insights")
            await page.until(
                "[...document.querySelectorAll('#insights dd')].some(({ textContent }) => textContent === 'WebRTC')"
            )
            assert "packets lost" in await page.text("#insights dt")
            assert page.complaints == []

    run(main())


def test_stopping_the_answer_silences_the_track(browser: str) -> None:
    async def main() -> None:
        async with opened(browser, scripted_lineup([STORY * 3, "Yes, that was all."]), AUTO) as page:
            await needs_rtc(page)
            await page.run(WIRETAP)
            await page.type("Tell me a story")
            await page.until("document.querySelectorAll('.heard').length > 4")
            await page.click("#interrupt")
            stopped = len(await tap(page, "out"))
            await page.until("document.querySelector('.unheard')")
            await asyncio.sleep(0.4)
            rate = await page.run("duologue.sound.rate")
            assert np.max(np.abs((await tap(page, "out"))[stopped + int(0.15 * rate) :])) < LOUD
            assert 3 <= len(words(await page.text(".reply .heard"))) <= 14
            await page.type("Is that all?")  # the next answer is let through again
            await answered(page)
            assert np.max(np.abs((await tap(page, "out"))[-2 * int(rate) :])) > 0.05

    run(main())


@pytest.mark.parametrize(("network", "said"), [(BLOCKED, "does not get through"), (ABSENT, "")])
def test_where_webrtc_does_not_get_through_the_socket_does(browser: str, network: str, said: str) -> None:
    async def main() -> None:
        async with opened(browser, before=AUTO + network) as page:
            assert await page.run("duologue.connection.name") == "socket"
            assert await page.run("document.querySelector('#notice').hidden") is not bool(said)
            assert said in await page.text("#notice")
            assert await page.run("document.querySelector('#notice').role") != "alert" or not said
            await page.type("Good morning")
            await answered(page)
            await page.click("#open-insights")
            await page.until("document.querySelector('#insights-sound').textContent.includes('WebSocket: ')")

    run(main())


def test_a_lost_peer_is_found_again_in_the_same_session(browser: str) -> None:
    async def main() -> None:
        async with opened(browser, scripted_lineup([SENTENCE, "Yes."]), AUTO) as page:
            await needs_rtc(page)
            await page.type("Tell me a story")
            await page.until("document.querySelectorAll('.heard').length > 3")
            session = await page.run("duologue.session.name")
            await page.run("duologue.connection.road.end()")
            await page.until("document.body.dataset.state === 'connecting'")
            await answered(page)
            assert await page.run("duologue.session.name") == session
            assert (await page.text(".reply .heard")).strip() == SENTENCE
            await page.choose("road", "socket")  # and over the other road, too
            await page.until("duologue.connection.name === 'socket' && duologue.connection.up")
            await page.type("And again")
            await answered(page, 2)
            assert await page.run("duologue.session.name") == session

    run(main())
