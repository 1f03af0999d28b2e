"""Takes the README's pictures of the page: a real conversation with a running server, spoken into the page's microphone.

`PYTHONPATH=tests python -m browser.pictures http://127.0.0.1:8080 docs/images`, on a machine with nothing else to do: the
latencies in the pictures are real.
"""

from __future__ import annotations

import asyncio
import json
import sys
import tempfile
from pathlib import Path

import numpy as np
from browser.page import Page, browse
from websockets.asyncio.client import connect

from duologue.audio import Audio, from_pcm16, write_wav

RATE = 16_000
PICTURES = {"page-light.png": (1280, 800, "light"), "page-phone-dark.png": (390, 844, "dark")}
FIRST, SECOND = "Can you tell me a short story about the sea?", "Thank you. Why is the sea salty?"


async def main(url: str) -> dict[str, bytes]:
    pictures = {}
    socket = url.replace("http", "ws", 1)
    with tempfile.TemporaryDirectory() as home:
        microphone = Path(home) / "microphone.wav"
        # The second question comes while the first is still being answered.
        parts = [quiet(0.8), await said(socket, FIRST), quiet(5.5), await said(socket, SECOND), quiet(12)]
        write_wav(microphone, np.concatenate(parts), RATE)
        for name, look in PICTURES.items():
            async with browse(url, microphone) as page:
                await page.look(*look)
                await converse(page)
                pictures[name] = await page.screenshot()
    return pictures


async def converse(page: Page) -> None:
    """Until the second question is being answered."""
    await page.until("document.body.dataset.state === 'idle'")
    await page.click("#talk")
    await page.until("document.querySelector('.unheard')", 60)
    await page.until("document.querySelectorAll('.turn:nth-child(2) .heard').length > 6", 60)


async def said(socket: str, text: str) -> Audio:
    pcm = b""
    async with connect(f"{socket}/ws/tts?output_rate={RATE}") as speech:
        await speech.send(json.dumps({"text": text}))
        async for message in speech:
            if isinstance(message, bytes):
                pcm += message
            elif json.loads(message)["type"] in ("done", "error"):
                break
    return from_pcm16(pcm)


def quiet(seconds: float) -> Audio:
    return np.zeros(int(seconds * RATE), np.float32)


if __name__ == "__main__":
    for name, png in asyncio.run(main(sys.argv[1])).items():
        (Path(sys.argv[2]) / name).write_bytes(png)
