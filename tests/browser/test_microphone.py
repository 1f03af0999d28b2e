"""The page with a microphone, a WAV that Chromium plays: speaking over the answer, muting, holding the button, devices."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from browser.page import Page, chromium
from browser.stage import (
    LOUD,
    MARKS,
    SOCKET,
    STORY,
    WIRETAP,
    Samples,
    answered,
    busy,
    opened,
    percentile,
    quiet,
    run,
    scripted_lineup,
    tap,
    tone,
    words,
)
from duologue.audio import read_audio, write_wav
from duologue.config import Config
from duologue.engines import lineup
from duologue.errors import ConfigError
from duologue.models import open_store

pytestmark = MARKS

STOP_S = 0.3
"""From the first voiced sample in the microphone to silence at the output node."""

INTERRUPTIONS = 4


@pytest.mark.models
@pytest.mark.speech
def test_speaking_over_the_answer_stops_the_sound_at_once(recordings: Path, tmp_path: Path) -> None:
    """With the real voice detector; the replies are scripted, so that there is always one to be interrupted."""
    try:
        vad = lineup.load(Config().engines, open_store().folder).vad
    except ConfigError as error:
        pytest.skip(f"the packaged models cannot be loaded: {error.message}")
    voice, rate = read_audio(recordings / "questions" / "aiewf_turns__turn_003.wav")
    voiced = voice[int(np.argmax(np.abs(voice) > 0.05)) :][: int(1.2 * rate)]
    spoken = (INTERRUPTIONS + 1) * [voiced, quiet(2.2, rate)]
    write_wav(tmp_path / "microphone.wav", np.concatenate([quiet(1, rate), *spoken]), rate)

    async def main(browser: str) -> list[float]:
        async with opened(browser, scripted_lineup([STORY * 3], vad=vad)) as page:
            await page.choose("noiseSuppression", False)  # it would move the first voiced sample
            await page.choose("autoGainControl", False)
            await page.run(WIRETAP)
            await page.click("#talk")
            cuts = "duologue.conversation.entries.filter(({ reply }) => reply?.cut).length"
            await page.until(f"{cuts} >= {INTERRUPTIONS}", 50)
            rate = await page.run("duologue.sound.rate")
            microphone, out = await page.run("[taps.voice, taps.out].map((tape) => tape.slice(0, taps.out.length))")
            if not busy():  # a page that gets no time cannot say where it is, and the server goes by the clock
                await says_what_was_heard(page)
            return stops_s(np.array(microphone), np.array(out), round(rate))

    with chromium(tmp_path / "microphone.wav") as browser:
        delays = run(main(browser), 90)
    assert len(delays) >= INTERRUPTIONS - 1
    print(f"barge-in: {[round(delay * 1000) for delay in delays]} ms")
    assert percentile(delays, 0.5) < (2 if busy() else 1) * STOP_S
    assert percentile(delays, 0.95) < (3 if busy() else 1) * STOP_S


async def says_what_was_heard(page: Page) -> None:
    """The words on the screen end where the sound ended: lit are those whose last sample was played, to the block."""
    for entry in await page.run("duologue.conversation.entries.filter(({ reply }) => reply?.cut)"):
        reply = entry["reply"]
        lit, ms = len(reply["text"][: reply["lit"]].strip()), reply["ms"]
        assert lit * 60 <= ms + 150  # the scripted voice takes 60 ms a character
        next_word = reply["text"][reply["lit"] :].split()[:1]
        assert not next_word or (lit + 1 + len(next_word[0])) * 60 >= ms - 250


def stops_s(microphone: Samples, out: Samples, rate: int) -> list[float]:
    """For each time that the voice sets in while the reply sounds: seconds to the end of the sound, to the millisecond."""
    block = rate // 1000
    length = min(len(microphone), len(out)) // block * block
    voiced, sounding = (
        np.abs(tape[:length]).reshape(-1, block).max(axis=1) > limit
        for tape, limit in ((microphone, 0.05), (out, LOUD))
    )
    delays, at = [], 0
    while at < len(voiced):
        if voiced[at] and not voiced[max(0, at - 1000) : at].any() and sounding[max(0, at - 300) : at].any():
            silent = next((end for end in range(at, len(sounding) - 100) if not sounding[end : end + 100].any()), None)
            delays += [] if silent is None else [(silent - at) / 1000]
        at += 1
    return delays


def test_muted_means_unheard_and_holding_means_heard_while_held(tmp_path: Path) -> None:
    tone(tmp_path / "microphone.wav", 60)

    async def main(browser: str) -> None:
        async with opened(browser) as page:
            await page.run(WIRETAP)
            await page.click("#talk")
            await page.until("document.body.dataset.state === 'hearing'")
            await page.key("m")
            await answered(page)  # the silence that it hears now ends the turn
            assert await page.text("#state") == "Muted"
            assert await page.run("document.querySelector('#mute').ariaPressed") == "true"
            assert np.max(np.abs((await tap(page, "voice"))[-4_000:])) < 0.001
            await page.choose("mode", "hold")
            assert await page.text("#state") == "Hold and talk"
            await page.key(" ", "keyDown")
            await page.until("document.body.dataset.state === 'hearing'")
            assert np.max(np.abs((await tap(page, "voice"))[-2_000:])) > 0.05
            await page.key(" ", "keyUp")
            await answered(page, 2)
            assert np.max(np.abs((await tap(page, "voice"))[-4_000:])) < 0.001
            assert await page.text("#state") == "Hold and talk"
            assert page.complaints == []

    with chromium(tmp_path / "microphone.wav") as browser:
        run(main(browser))


def test_pressing_the_button_to_talk_silences_the_answer(tmp_path: Path) -> None:
    tone(tmp_path / "microphone.wav", 60)

    async def main(browser: str) -> None:
        hold = "localStorage.setItem('duologue', JSON.stringify({ road: 'socket', mode: 'hold' }));"
        async with opened(browser, scripted_lineup([STORY * 3]), hold, "ready") as page:
            await page.type("Tell me a story")
            await page.until("document.querySelectorAll('.heard').length > 2")
            await page.run(
                "document.querySelector('#talk').dispatchEvent(new PointerEvent('pointerdown', { pointerId: 1 }))"
            )
            await page.until("document.querySelector('.unheard')")
            await page.until("document.body.dataset.state === 'hearing'")

    with chromium(tmp_path / "microphone.wav") as browser:
        run(main(browser))


def test_stop_ends_everything_and_gives_the_microphone_back(tmp_path: Path) -> None:
    tone(tmp_path / "microphone.wav", 0.8, 60)

    async def main(browser: str) -> None:
        async with opened(browser, scripted_lineup([STORY * 3])) as page:
            await page.click("#talk")
            await page.until("document.querySelectorAll('.heard').length > 2")
            tracks = "duologue.sound.sources.get('microphone').node.mediaStream.getTracks()"
            await page.run(f"globalThis.track = {tracks}[0]")
            await page.click("#talk")
            await page.until("document.querySelector('.unheard')")
            assert await page.run("track.readyState") == "ended"
            await page.until("document.body.dataset.state === 'idle'")

    with chromium(tmp_path / "microphone.wav") as browser:
        run(main(browser))


def test_microphone_loudspeaker_and_processing_can_be_chosen(tmp_path: Path) -> None:
    tone(tmp_path / "microphone.wav", 0.1, 60)

    async def main(browser: str) -> None:
        async with opened(browser, before=SOCKET) as page:
            await page.click("#talk")
            await page.until("duologue.sound.listening")
            await page.click("#open-settings")
            await page.until("document.querySelectorAll('[name=microphone] option').length > 1")
            assert await page.run("document.querySelector('[name=microphone]').closest('label').hidden") is False
            settings = "duologue.sound.sources.get('microphone').node.mediaStream.getTracks()[0].getSettings()"
            chosen = await page.run("document.querySelectorAll('[name=microphone] option')[1].value")
            assert (await page.run(settings))["echoCancellation"] is True
            await page.choose("echoCancellation", False)
            await page.until(f"!{settings}.echoCancellation")
            await page.choose("microphone", chosen)
            await page.until(f"{settings}.deviceId === '{chosen}'")
            loudspeakers = await page.run(
                "[...document.querySelectorAll('[name=speaker] option')].map(({ value }) => value)"
            )
            if len(loudspeakers) > 1:
                await page.choose("speaker", loudspeakers[-1])
                await page.until(f"duologue.sound.context.sinkId === '{loudspeakers[-1]}'")
            assert await page.run("document.querySelector('#notice').hidden")

    with chromium(tmp_path / "microphone.wav") as browser:
        run(main(browser))


def test_a_microphone_that_is_pulled_out_is_missed_aloud(tmp_path: Path) -> None:
    tone(tmp_path / "microphone.wav", 0.0, 60.0)  # nobody speaks: what was heard would be read out, too

    async def main(browser: str) -> None:
        async with opened(browser) as page:
            await page.click("#talk")
            await page.until("duologue.sound.listening")
            gone = "duologue.sound.sources.get('microphone').node.mediaStream.getTracks()[0].onended()"
            await page.run(gone)
            await page.until("!document.querySelector('#notice').hidden")
            assert "went away" in await page.text("#notice")
            await page.until("document.body.dataset.state === 'idle'")
            assert words(await page.text("#spoken")) == ["the", "microphone", "is", "off"]

    with chromium(tmp_path / "microphone.wav") as browser:
        run(main(browser))
