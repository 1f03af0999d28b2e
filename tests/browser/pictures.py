"""Takes the pictures of the page: a real conversation with a running server, spoken into the page's microphone.

`PYTHONPATH=tests python -m browser.pictures http://127.0.0.1:8080 docs/images [FOLDER]`, on a machine with nothing else to do:
the latencies in the pictures are real. Of every state there is a picture in both widths, light and dark: together on four
sheets, and one by one in FOLDER if it is named.
"""

from __future__ import annotations

import asyncio
import base64
import json
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from websockets.asyncio.client import connect

from browser.page import Page, browse, chromium
from browser.stage import SOCKET, quiet
from duologue.audio import Audio, from_pcm16, write_wav

RATE = 16_000
LOOKS = {
    "desktop-light": (1280, 800, "light"),
    "desktop-dark": (1280, 800, "dark"),
    "phone-light": (390, 844, "light"),
    "phone-dark": (390, 844, "dark"),
}
README = {"page-light.png": ("desktop-light", "speaking"), "page-phone-dark.png": ("phone-dark", "speaking")}
COLUMNS = {"desktop": 3, "phone": 7}
SHOWN_WIDTH = {"desktop": 640, "phone": 280}

FIRST, SECOND = "Can you tell me a short story about the sea?", "Thank you. Why is the sea salty?"

FREEZE = """(() => {
  const { on } = duologue.connection.road;
  globalThis.thaw = ((message, waiting) => {
    on.message = (...told) => waiting.push(told);
    return () => { on.message = message; waiting.forEach((told) => message(...told)); };
  })(on.message, []);
})()"""
"""What the server says is kept back while a state has its picture taken."""


@dataclass
class Album:
    page: Page
    pictures: dict[tuple[str, str], bytes]
    """By look and state."""

    async def take(self, state: str) -> None:
        """The page as it is now, in all its looks."""
        for name, look in LOOKS.items():
            await self.page.look(*look)
            await asyncio.sleep(0.25)  # what slides in has come to rest
            self.pictures[name, state] = await self.page.screenshot()

    async def take_still(self, state: str) -> None:
        """A state that would be over too soon."""
        await self.page.run(FREEZE)
        await self.take(state)
        await self.page.run("thaw()")


async def silent_page(album: Album) -> None:
    page = album.page
    await page.until("document.body.dataset.state === 'idle'")
    await page.click("#talk")
    await page.until("!document.querySelector('#notice').hidden")
    await album.take("no microphone")
    await page.click("#notice-close")
    await page.choose("interface", "hi")
    await page.until("document.documentElement.lang === 'hi'")
    await album.take("in Hindi")
    await page.choose("interface", "ta")
    await page.until("document.documentElement.lang === 'ta'")
    await album.take("in Tamil")


async def first_question(album: Album) -> None:
    page = album.page
    await page.until("document.body.dataset.state === 'idle'")
    await album.take("welcome")
    await page.click("#talk")
    await page.until("document.body.dataset.state === 'listening'")
    await album.take_still("listening")
    await page.until("document.querySelector('.partial .words')?.textContent.length > 12", 60)
    await album.take_still("hearing you")
    await page.until("document.body.dataset.state === 'thinking'", 60)
    await album.take_still("thinking")


async def conversation(album: Album) -> None:
    """The second question comes while the first is still being answered. Nothing is kept back before the figures are taken."""
    page = album.page
    await page.until("document.body.dataset.state === 'idle'")
    await page.click("#talk")
    await page.until("document.querySelector('.unheard')", 60)
    await page.until("document.querySelectorAll('.turn:nth-child(2) .heard').length > 5", 60)
    await album.take("speaking")
    await page.until("document.body.dataset.state === 'listening'", 60)
    await page.click("#open-insights")
    await page.until("document.querySelector('.columns')")
    await page.run("document.activeElement.blur()")
    await album.take("the session")
    await page.click("#insights-close")
    await page.run("document.querySelectorAll('details').forEach((row) => (row.open = true))")
    await page.click("#mute")
    await page.run("document.activeElement.blur()")
    await album.take("muted, with waterfalls")
    await page.click("#mute")
    await page.run("document.querySelectorAll('details').forEach((row) => (row.open = false))")
    await page.choose("emotional", True)
    await page.click("#open-settings")
    await page.run("document.activeElement.blur()")
    await album.take("settings")
    await page.run("document.querySelector('#settings').close()")
    await page.run("document.querySelector('#saving').showPopover()")
    await album.take("saving")
    await page.run("document.querySelector('#saving').hidePopover()")
    await page.run("(duologue.connection.open = () => {}, duologue.connection.road.end(''))")
    await page.run("document.activeElement.blur()")
    await album.take("lost")


async def main(url: str) -> dict[tuple[str, str], bytes]:
    pictures: dict[tuple[str, str], bytes] = {}
    with tempfile.TemporaryDirectory() as home:
        microphone = Path(home) / "microphone.wav"
        socket = url.replace("http", "ws", 1)
        parts = [
            quiet(3.5, RATE),
            await said(socket, FIRST),
            quiet(3.2, RATE),
            await said(socket, SECOND),
            quiet(20, RATE),
        ]
        write_wav(microphone, np.concatenate(parts), RATE)
        with chromium(microphone) as talking:
            for scene in (first_question, conversation):
                async with browse(talking, url, SOCKET) as page:
                    await scene(Album(page, pictures))
        with chromium() as silent:
            async with browse(silent, url, SOCKET) as page:
                await silent_page(Album(page, pictures))
    return pictures


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


async def sheet(browser: str, look: str, pictures: dict[str, bytes]) -> bytes:
    """All states in one look, laid out by a browser."""
    kind = look.split("-")[0]
    columns, width, dark = COLUMNS[kind], SHOWN_WIDTH[kind], look.endswith("dark")
    figures = "".join(
        f'<figure><img src="data:image/png;base64,{base64.b64encode(png).decode()}"><figcaption>{state}</figcaption></figure>'
        for state, png in pictures.items()
    )
    paper, ink = ("#0c0b0a", "#a49c90") if dark else ("#e9e5dd", "#6b645a")
    style = (
        f"body{{margin:0;padding:24px;background:{paper};color:{ink};font:15px sans-serif;display:grid;gap:24px;"
        f"grid-template-columns:repeat({columns},{width}px)}}figure{{margin:0;text-align:center}}"
        "img{width:100%;border-radius:12px;display:block;margin-bottom:8px}"
    )
    async with browse(browser, "about:blank") as page:
        await page.look(columns * width + (columns + 1) * 24, 600)
        await page.run(
            f"document.documentElement.innerHTML = {json.dumps(f'<style>{style}</style><body>{figures}</body>')}"
        )
        await page.run("Promise.all([...document.images].map((image) => image.decode()))")
        await page.look(columns * width + (columns + 1) * 24, await page.run("document.body.offsetHeight"))
        return await page.screenshot()


async def sheets(pictures: dict[tuple[str, str], bytes]) -> dict[str, bytes]:
    with chromium() as browser:
        return {
            f"page-{look}-states.png": await sheet(
                browser, look, {state: png for (of, state), png in pictures.items() if of == look}
            )
            for look in LOOKS
        }


if __name__ == "__main__":
    taken = asyncio.run(main(sys.argv[1]))
    for name, png in (asyncio.run(sheets(taken)) | {name: taken[which] for name, which in README.items()}).items():
        (Path(sys.argv[2]) / name).write_bytes(png)
    for folder in sys.argv[3:]:
        Path(folder).mkdir(parents=True, exist_ok=True)
        for (look, state), png in taken.items():
            (Path(folder) / f"{look} {state}.png").write_bytes(png)
