"""What the tests of the page share: a server to open it from, tapes of its sound, and how to say that something was played."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import os
import re
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.asyncio.server import ServerConnection
from websockets.asyncio.server import serve as bind
from websockets.exceptions import ConnectionClosed

from browser.page import Page, browse, executable
from duologue.app import App
from duologue.audio import Audio, write_wav
from duologue.config import Config
from duologue.engines import scripted
from duologue.engines.lineup import Lineup
from duologue.transports.server import serve

T = TypeVar("T")
Samples = npt.NDArray[np.float64]

MARKS = [
    pytest.mark.browser,
    pytest.mark.realtime,
    pytest.mark.skipif(executable() is None, reason="no Chromium or Chrome on the PATH"),
]

PLAIN = Config()

STORY = "Once there was a fisherman who rowed out alone every morning to meet the sun before it rose from the sea. "

LOUD = 0.003
"""Amplitude (-50 dB of full scale) that counts as sound at the page's output."""

REPLY_RATE = 24_000
"""Hz, as in sound.js."""

SOCKET = "localStorage.setItem('duologue', JSON.stringify({ ...JSON.parse(localStorage.getItem('duologue')), road: 'socket' }));"
"""A reader who has chosen the WebSocket."""

EXACT = f"""
globalThis.AudioContext = class extends AudioContext {{
  constructor(options) {{ super({{ ...options, sampleRate: {REPLY_RATE} }}); }}
}};"""
"""A sound card that runs at the rate of the replies: then the page has nothing to convert."""

RECORDER = """
class Recorder extends AudioWorkletProcessor {
  process([[samples]]) {
    this.port.postMessage(samples ? samples.slice() : new Float32Array(128));
    return true;
  }
}
registerProcessor("recorder", Recorder);"""

TAPS = {"recorder.js": RECORDER}
"""`files` for pages whose sound is taped."""

WIRETAP = """(async () => {
  await duologue.sound.unlock();
  const { sound } = duologue;
  await sound.context.audioWorklet.addModule("recorder.js");
  const record = (node) => {
    const samples = [];
    const tape = new AudioWorkletNode(sound.context, "recorder", { channelCount: 1, channelCountMode: "explicit" });
    tape.port.onmessage = ({ data }) => { for (const sample of data) samples.push(sample); };
    node.connect(tape).connect(new GainNode(sound.context, { gain: 0 })).connect(sound.context.destination);
    return samples;
  };
  const play = sound.play.bind(sound);
  window.taps = { out: record(sound.out), voice: record(sound.voice), sent: [], joins: [] };
  sound.play = (turn, pcm, at_ms, final) => {
    taps.sent.push(...new Int16Array(pcm));
    taps.joins.push(taps.sent.length);
    play(turn, pcm, at_ms, final);
  };
})()"""
"""Tapes, in the page: what leaves its output node, what its microphone gives, and what the server sent to it."""


def run(test: Coroutine[Any, Any, T], within_s: float = 60) -> T:
    """A browser that hangs ends its test, not the suite."""
    return asyncio.run(asyncio.wait_for(test, within_s))


def busy() -> bool:
    """Others are at work here: then nothing can be said about times."""
    return os.getloadavg()[0] > (os.cpu_count() or 1)


def scripted_lineup(replies: Any = scripted.echo, **engines: Any) -> Lineup:
    return replace(
        Lineup(
            vad=scripted.ScriptedVadModel(),
            turn_detector=scripted.ScriptedTurnDetector(),
            recognizer=scripted.ScriptedRecognizer(),
            writer=scripted.ScriptedWriter(replies=replies),
            speakers=(scripted.ScriptedSpeaker(),),
        ),
        **engines,
    )


def hurried() -> Lineup:
    """For tests that do not listen: it echoes, and speaks twice as fast as people do."""
    return scripted_lineup(speakers=(scripted.ScriptedSpeaker(seconds_per_char=0.03),))


@contextlib.asynccontextmanager
async def served(engines: Lineup | None = None, port: int = 0, config: Config = PLAIN) -> AsyncIterator[str]:
    """A whole server in this loop; gives its address."""
    config = replace(config, server=replace(config.server, port=port))
    address: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    async def warm() -> None:
        """The engines are warm already."""

    serving = asyncio.create_task(serve(App(config, engines or hurried()), config, warm, address.set_result))
    try:
        yield await address
    finally:
        serving.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await serving


@contextlib.asynccontextmanager
async def opened(
    browser: str, engines: Lineup | None = None, before: str = SOCKET, state: str = "idle"
) -> AsyncIterator[Page]:
    """The page of a whole server, ready for its reader."""
    async with served(engines) as url, browse(browser, url, before, TAPS) as page:
        await page.until(f"document.body.dataset.state === '{state}'")
        yield page


class Detour:
    """Stands between the page's WebSocket and the server: holds back each message of the server's for `delay_s()` seconds, keeps
    their order, and can cut the line."""

    def __init__(self, url: str, delay_s: Callable[[], float]) -> None:
        self._url = url.replace("http", "ws")
        self._delay_s = delay_s
        self._port = 0
        self._lines: set[ServerConnection] = set()

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[Detour]:
        async with bind(self._pass_on, "127.0.0.1", 0, max_size=None) as server:
            self._port = server.sockets[0].getsockname()[1]
            yield self

    @property
    def script(self) -> str:
        """Runs before the page's own scripts and leads its WebSocket here; the page's policy, which would not have it, is not
        enforced then."""
        return f"""const Direct = WebSocket;
        globalThis.WebSocket = class extends Direct {{
          constructor(to, ...more) {{ super(String(to).replace(/^ws:..[^/]+/, "ws://127.0.0.1:{self._port}"), ...more); }}
        }};"""

    def cut(self) -> None:
        """As a network does: without a word."""
        for line in self._lines:
            line.transport.abort()

    async def _pass_on(self, page: ServerConnection) -> None:
        assert page.request is not None
        self._lines.add(page)
        async with connect(self._url + page.request.path, max_size=None) as server:
            giving = asyncio.create_task(self._give(server, page))
            try:
                async for message in page:
                    await server.send(message)
            except ConnectionClosed:
                server.transport.abort()
            finally:
                giving.cancel()
                self._lines.discard(page)

    async def _give(self, server: ClientConnection, page: ServerConnection) -> None:
        loop = asyncio.get_running_loop()
        late: asyncio.Queue[tuple[float, str | bytes]] = asyncio.Queue()

        async def read() -> None:
            async for message in server:
                late.put_nowait((loop.time() + self._delay_s(), message))

        reading = asyncio.create_task(read())
        try:
            while True:
                due, message = await late.get()
                await asyncio.sleep(due - loop.time())
                await page.send(message)
        finally:
            reading.cancel()


@contextlib.asynccontextmanager
async def detoured(engines: Lineup, delay_s: Callable[[], float] = lambda: 0.0) -> AsyncIterator[tuple[str, Detour]]:
    """A server's address, and the detour that its pages' WebSockets take."""
    async with served(engines) as url, Detour(url, delay_s).running() as detour:
        yield url, detour


async def tap(page: Page, name: str) -> Samples:
    return np.array(await page.run(f"window.taps.{name}"), np.float64)


async def answered(page: Page, count: int = 1) -> None:
    """`count` replies were played to their end."""
    over = "duologue.conversation.entries.filter(({ reply }) => reply?.over && !reply.cut).length"
    states = ["idle", "ready", "listening", "muted"]
    await page.until(f"{over} >= {count} && {states}.includes(document.body.dataset.state)", 40)


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


def quiet(seconds: float, rate: int) -> Audio:
    return np.zeros(int(seconds * rate), np.float32)


def trimmed(samples: Samples) -> Samples:
    """Without the silence before and after."""
    sounding = np.flatnonzero(samples)
    return samples[sounding[0] : sounding[-1] + 1] if len(sounding) else samples[:0]


def words(text: str) -> list[str]:
    return re.findall(r"[a-z']+", text.lower())


def percentile(values: Sequence[float], share: float) -> float:
    return float(np.percentile(values, 100 * share, method="inverted_cdf"))
