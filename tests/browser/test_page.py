"""The page in a real browser, before a real server: scripted engines where the page is in question, the packaged models once."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import os
import re
from collections.abc import AsyncIterator, Coroutine
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import pytest
from browser.page import Page, browse, executable

from duologue.app import App
from duologue.audio import Audio, read_audio, write_wav
from duologue.config import Config, Server
from duologue.engines import lineup, scripted
from duologue.engines.lineup import Lineup
from duologue.errors import ConfigError
from duologue.models import open_store
from duologue.transports.server import WEB, serve

pytestmark = [
    pytest.mark.browser,
    pytest.mark.realtime,
    pytest.mark.skipif(executable() is None, reason="no Chromium or Chrome on the PATH"),
]

T = TypeVar("T")
Samples = npt.NDArray[np.float64]

STORY = "Once there was a fisherman who rowed out alone every morning to meet the sun before it rose from the sea. "

LOUD = 0.003
"""Amplitude (-50 dB of full scale) that counts as sound at the page's output."""

WIRETAP = """(async () => {
  await duologue.sound.unlock();
  const { sound } = duologue;
  const record = (node) => {
    const samples = [];
    const tape = new AudioWorkletNode(sound.context, "capture", { channelCount: 1, channelCountMode: "explicit" });
    tape.port.onmessage = ({ data }) => { for (const sample of new Int16Array(data.pcm)) samples.push(sample); };
    node.connect(tape).connect(sound.context.destination);
    return samples;
  };
  const play = sound.play.bind(sound);
  window.taps = { out: record(sound.player), sent: [] };
  sound.play = (turn, pcm, final) => { taps.sent.push(...new Int16Array(pcm)); play(turn, pcm, final); };
  window.tapMicrophone = () => { taps.mic = record(sound.sources.get("microphone").node); };
})()"""
"""Records, in the page: what leaves its player, what the server sent to it and, once asked, what its microphone gives."""


def run(test: Coroutine[Any, Any, T]) -> T:
    """A browser that hangs ends its test, not the suite."""
    return asyncio.run(asyncio.wait_for(test, 60))


def scripted_lineup(replies: Any = scripted.echo) -> Lineup:
    return Lineup(
        vad=scripted.ScriptedVadModel(),
        turn_detector=scripted.ScriptedTurnDetector(),
        recognizer=scripted.ScriptedRecognizer(),
        writer=scripted.ScriptedWriter(replies=replies),
        speakers=(scripted.ScriptedSpeaker(),),
    )


@contextlib.asynccontextmanager
async def served(engines: Lineup | None = None, port: int = 0) -> AsyncIterator[str]:
    """A whole server in this loop; gives its address."""
    config = replace(Config(), server=Server(port=port))
    address: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    async def warm() -> None:
        """The engines are warm already."""

    serving = asyncio.create_task(serve(App(config, engines or scripted_lineup()), config, warm, address.set_result))
    try:
        yield await address
    finally:
        serving.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await serving


@contextlib.asynccontextmanager
async def opened(engines: Lineup | None = None, microphone: Path | None = None) -> AsyncIterator[Page]:
    async with served(engines) as url, browse(url, microphone) as page:
        await page.until("document.body.dataset.state === 'idle'")
        yield page


async def tap(page: Page, name: str) -> Samples:
    return np.array(await page.run(f"window.taps.{name}"), np.float64) / 32768


async def answered(page: Page, count: int = 1) -> None:
    """`count` replies were played to their end."""
    done = "[...document.querySelectorAll('.reply .words')].filter(w => w.querySelector('.heard:last-child')).length"
    await page.until(f"{done} >= {count} && ['idle', 'listening'].includes(document.body.dataset.state)")


async def drop(page: Page, name: str, content: bytes) -> None:
    """Drops a file on the page, as a mouse would."""
    await page.run(f"""(async () => {{
      const bytes = Uint8Array.from(atob({json.dumps(base64.b64encode(content).decode())}), c => c.charCodeAt(0));
      const dataTransfer = new DataTransfer();
      dataTransfer.items.add(new File([bytes], {json.dumps(name)}));
      document.body.dispatchEvent(new DragEvent("drop", {{ dataTransfer, bubbles: true, cancelable: true }}));
    }})()""")


def tone(path: Path, *seconds: float, rate: int = 22_050) -> Path:
    """A WAV in which sound and silence take turns; sound first."""
    parts = [
        (0.3 * (n % 2 == 0) * np.sin(2 * np.pi * 300 * np.arange(int(length * rate)) / rate)).astype(np.float32)
        for n, length in enumerate(seconds)
    ]
    write_wav(path, np.concatenate(parts), rate)
    return path


def trimmed(samples: Samples) -> Samples:
    """Without the silence before and after."""
    sounding = np.flatnonzero(samples)
    return samples[sounding[0] : sounding[-1] + 1] if len(sounding) else samples[:0]


def words(text: str) -> list[str]:
    return re.findall(r"[a-z']+", text.lower())


def test_the_page_is_small() -> None:
    assert sum(file.stat().st_size for file in WEB.iterdir()) < 60_000


def test_the_page_loads_without_a_complaint() -> None:
    async def main() -> None:
        async with opened() as page:
            assert await page.run("document.querySelector('#talk').disabled") is False
            assert await page.text("#state") == "Press and talk"
            await page.click("#open-settings")
            assert "silero" not in await page.text("#facts")
            assert "scripted" in await page.text("#facts")
            assert page.complaints == []

    run(main())


def test_typed_text_is_answered_with_words_and_with_exactly_the_sound_that_was_sent() -> None:
    async def main() -> None:
        async with opened() as page:
            await page.run(WIRETAP)
            await page.type("Good morning to you")
            await answered(page)
            assert await page.text(".you .words") == "Good morning to you"
            assert await page.text(".reply .words") == "You said: Good morning to you"
            assert await page.text(".reply .heard") == "You said: Good morning to you"
            sent, out = trimmed(await tap(page, "sent")), trimmed(await tap(page, "out"))
            assert len(sent) / await page.run("duologue.sound.rate") > 1.0
            if (
                await page.run("duologue.sound.underruns") == 0
            ):  # a busy machine may starve the page; then there are fades
                assert np.array_equal(sent, out[: len(sent)])
                assert np.max(np.abs(out[len(sent) :]), initial=0) < 0.001  # the last sample dies away
            assert page.complaints == []

    run(main())


def test_the_button_stops_the_answer_and_strikes_what_was_not_heard() -> None:
    async def main() -> None:
        async with opened(scripted_lineup([STORY * 3])) as page:
            await page.run(WIRETAP)
            await page.type("Tell me a story")
            await page.until("document.querySelectorAll('.heard').length > 4")
            await page.click("#interrupt")
            await page.until("document.querySelector('.unheard')")
            kept = await page.text(".reply .heard")
            await asyncio.sleep(0.4)
            silent = np.abs((await tap(page, "out"))[-4_000:])
            assert np.max(silent) < LOUD
            assert STORY.startswith(kept.strip())
            assert 3 <= len(words(kept)) <= 12
            assert await page.run("document.querySelectorAll('.unheard ~ .heard').length") == 0

    run(main())


def test_a_dropped_file_is_spoken_where_there_is_no_microphone(tmp_path: Path) -> None:
    async def main() -> None:
        async with opened() as page:
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

    run(main())


def test_a_file_that_is_no_sound_is_refused_kindly() -> None:
    async def main() -> None:
        async with opened() as page:
            await drop(page, "notes.txt", b"these are notes")
            await page.until("!document.querySelector('#notice').hidden")
            assert "not a sound file" in await page.text("#notice")
            assert "notes.txt" in await page.text("#notice")

    run(main())


def test_settings_go_to_the_server_and_come_back() -> None:
    async def main() -> None:
        async with opened() as page:
            await page.run("""new Promise((known) => {
              const speed = document.querySelector("[name=speed]");
              speed.value = 1.5;
              speed.dispatchEvent(new Event("change", { bubbles: true }));
              const { on } = duologue.connection;
              const message = on.message;
              on.message = (told, pcm) => { message(told, pcm); if (told.type === "settings") known(); };
            })""")
            await page.click("#open-settings")
            assert await page.run("document.querySelector('[name=speed]').value") == "1.5"
            assert await page.run("document.querySelector('#notice').hidden")

    run(main())


def test_a_lost_server_is_found_again() -> None:
    async def main() -> None:
        async with contextlib.AsyncExitStack() as first:
            url = await first.enter_async_context(served())
            async with browse(url) as page:
                await page.until("document.body.dataset.state === 'idle'")
                await page.type("Good morning")
                await answered(page)
                await first.aclose()
                await page.until("document.body.dataset.state === 'connecting'")
                assert "connection is lost" in await page.text("#notice")
                async with served(port=int(url.rsplit(":", 1)[1])):
                    await page.until("document.body.dataset.state === 'idle'")
                    assert await page.run("document.querySelector('#notice').hidden")
                    assert "A new session" in await page.text("#script")
                    await page.type("And again")
                    await answered(page, 2)

    run(main())


@pytest.mark.speech
def test_speaking_over_the_answer_stops_the_sound(recordings: Path, tmp_path: Path) -> None:
    """From the first sample of the voice in the microphone to the last that leaves the page's player."""
    voice, rate = read_audio(recordings / "questions" / "aiewf_turns__turn_005.wav")
    pause = np.zeros(int(3.5 * rate), np.float32)
    write_wav(tmp_path / "microphone.wav", np.concatenate([voice[: 2 * rate], pause, voice]), rate)

    async def main() -> float:
        async with opened(scripted_lineup([STORY * 3]), tmp_path / "microphone.wav") as page:
            await page.run(WIRETAP)
            await page.click("#talk")
            await page.until("duologue.sound.busy")
            await page.run("tapMicrophone()")
            await page.until("document.body.dataset.state === 'speaking'")
            await page.until("document.querySelector('.unheard')")
            assert words(await page.text(".reply .heard"))[:3] == words(STORY)[:3]
            both = await page.run("[taps.mic.slice(), taps.out.slice(), [duologue.sound.rate]]")  # at one moment
            microphone, out, (rate,) = (np.array(tape, np.float64) / 32768 for tape in both)
            return stop_s(microphone, out, round(rate * 32768))

    delay = run(main())
    assert 0 < delay < 0.5


def stop_s(microphone: Samples, out: Samples, rate: int) -> float:
    """Seconds from the voice's second start to the end of the sound. Both tapes end at the same moment."""
    length = min(len(microphone), len(out))
    block = rate // 100
    voiced, sounding = (
        np.abs(tape[-length:][: length // block * block]).reshape(-1, block).max(axis=1) > limit
        for tape, limit in ((microphone, 0.02), (out, LOUD))
    )
    first_sound = int(np.argmax(sounding))
    again = first_sound + int(np.argmax(voiced[first_sound:]))
    stopped = again + int(np.argmin(sounding[again:]))
    return (stopped - again) / 100


@pytest.fixture(scope="module")
def packaged() -> Lineup:
    try:
        return lineup.load(Config().engines, open_store().folder)
    except ConfigError as error:
        pytest.skip(f"the packaged models cannot be loaded: {error.message}")


@pytest.mark.models
@pytest.mark.speech
def test_a_spoken_question_is_understood_and_answered_aloud(recordings: Path, tmp_path: Path, packaged: Lineup) -> None:
    voice, rate = read_audio(recordings / "questions" / "aiewf_turns__turn_001.wav")
    write_wav(tmp_path / "microphone.wav", with_quiet(voice, rate), rate)
    busy = os.getloadavg()[0] > (
        os.cpu_count() or 1
    )  # others at work here: then the models may well be slower than speech

    async def main() -> None:
        async with opened(packaged, tmp_path / "microphone.wav") as page:
            await page.run(WIRETAP)
            await page.click("#talk")
            await page.until("document.querySelectorAll('.reply .heard').length >= 8", 40)
            assert "workshops about Gemini?" in await page.text(".you .words")
            out = trimmed(await tap(page, "out"))
            assert len(out) / await page.run("duologue.sound.rate") > 1.0
            assert np.sqrt(np.mean(np.square(out))) > 0.01
            if not busy:
                assert await page.run("duologue.sound.underruns") == 0
            assert await page.run("document.querySelectorAll('.latency').length") == 1
            assert page.complaints == []

    run(main())


def with_quiet(voice: Audio, rate: int) -> Audio:
    """A moment to start in, and to be answered in."""
    return np.concatenate([np.zeros(rate, np.float32), voice, np.zeros(rate, np.float32)])
