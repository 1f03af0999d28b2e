"""A real browser's WebRTC against ours: its hidden addresses, its Opus, its jitter buffer."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import numpy as np
import pytest
from desk import Scripted, desk, loudness, run, say
from phone import tone

from browser.page import Page, browse, chromium
from browser.stage import MARKS
from duologue.audio import INPUT_RATE, write_wav
from duologue.protocols import Cursor, Heard, Type

pytestmark = MARKS

OFFER = """(async () => {
  window.messages = [];
  window.connection = new RTCPeerConnection();
  const microphone = await navigator.mediaDevices.getUserMedia({
    audio: {echoCancellation: false, noiseSuppression: false, autoGainControl: false},
  });
  connection.addTrack(microphone.getTracks()[0], microphone);
  connection.ontrack = (event) => {
    const listener = Object.assign(new Audio(), {srcObject: new MediaStream([event.track])});
    listener.play();
  };
  window.channel = connection.createDataChannel("duologue");
  channel.onmessage = (event) => messages.push(event.data);
  channel.onclose = () => messages.push("closed");
  await connection.setLocalDescription();
  return connection.localDescription.sdp;
})()"""

STATS = """(async () => {
  for (const report of (await connection.getStats()).values())
    if (report.type === "inbound-rtp") return report;
})()"""


@asynccontextmanager
async def blank() -> AsyncIterator[str]:
    """An empty page from an address whose pages may have the microphone."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"


def test_a_browser_talks_and_hears(tmp_path: Path) -> None:
    spoken = tmp_path / "microphone.wav"
    write_wav(spoken, np.tile(tone(0.5, 440.0, 48_000), 60), 48_000)

    async def main(browser: str) -> None:
        async with desk() as here, blank() as address, browse(browser, address) as page:
            call, session = await here.answer(await page.run(OFFER))
            await page.run(f"connection.setRemoteDescription({json.dumps({'type': 'answer', 'sdp': call.answer})})")
            await page.until("channel.readyState === 'open'")
            await page.run("channel.send('type from the page')")
            session.tell(Heard(1, "from the server", True, "en"))
            await page.until("messages.length === 2")
            while not session.of(Type):  # noqa: ASYNC110
                await asyncio.sleep(0.01)
            assert session.of(Type) == [Type("from the page")]
            await asyncio.sleep(1.0)
            await hears_and_is_heard(page, session)
            here.calls.hangup(call.id)
            await page.until("messages.at(-1) === 'closed'")

    async def hears_and_is_heard(page: Page, session: Scripted) -> None:
        heard = session.heard[-INPUT_RATE // 2 :]
        assert (loudness(heard) > 0.05).mean() > 0.9
        spectrum = np.abs(np.fft.rfft(heard))
        assert np.argmax(spectrum) * INPUT_RATE / len(heard) == pytest.approx(440, abs=10)
        silent = await page.run(STATS)
        say(session.tell, 1, tone(2.0))
        while not session.of(Cursor) or session.of(Cursor)[-1].played_ms < 2_000:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.3)
        loud = await page.run(STATS)
        assert loud["totalAudioEnergy"] - silent["totalAudioEnergy"] > 0.02  # 2 s of a tone of 0.3
        assert loud["fecPacketsReceived"] > 50
        assert loud["concealedSamples"] - silent["concealedSamples"] < 0.1 * 96_000

    with chromium(spoken) as browser:
        run(main(browser))
