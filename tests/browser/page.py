"""A headless Chromium with one page open, driven through its DevTools protocol: about as much of it as the tests need.

A WAV file can be its microphone. Needs no driver program and no library but `websockets`.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import itertools
import json
import shutil
import tempfile
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

from websockets.asyncio.client import ClientConnection, connect

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
FLAGS = (
    "--headless=new",
    "--no-sandbox",  # containers forbid the sandbox's own namespaces
    "--disable-gpu",
    "--disable-quic",
    "--disable-sync",
    "--disable-background-networking",
    "--disable-component-update",
    "--no-first-run",
    "--remote-debugging-port=0",
    "--use-fake-ui-for-media-stream",  # says yes when the page asks for the microphone
)
POLL = """new Promise((met) => {
  const look = () => ((%s) ? met() : setTimeout(look, 20));
  look();
})"""
PATIENCE_S = 20.0
"""How long `until` waits: several times what anything takes on two slow cores, so that only a real hang ends it."""


def executable() -> str | None:
    return next((path for name in NAMES if (path := shutil.which(name))), None)


@dataclass
class Page:
    """One open page. `complaints` collects what its console shows at level warning or above, and uncaught exceptions."""

    socket: ClientConnection
    complaints: list[str] = field(default_factory=list)
    loaded: asyncio.Event = field(default_factory=asyncio.Event)
    _ids: Any = field(default_factory=lambda: itertools.count(1))
    _waiting: dict[int, asyncio.Future[Any]] = field(default_factory=dict)

    async def run(self, script: str) -> Any:
        """The JSON value of a JavaScript expression, promises awaited, run as if by a click."""
        answer = await self.call(
            "Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True, userGesture=True
        )
        if "exceptionDetails" in answer:
            raise AssertionError(f"{script}: {_exception(answer['exceptionDetails'])}")
        return answer["result"].get("value")

    async def until(self, condition: str, within_s: float = PATIENCE_S) -> None:
        """Waits for a JavaScript expression to become true."""
        try:
            async with asyncio.timeout(within_s):
                await self.run(POLL % condition)
        except TimeoutError:
            shown = await self.run("document.body.innerText")
            raise AssertionError(f"not within {within_s} s: {condition}\nThe page shows:\n{shown}") from None

    async def click(self, selector: str) -> None:
        await self.run(f"document.querySelector({json.dumps(selector)}).click()")

    async def type(self, text: str) -> None:
        """Into the text box, and sends it."""
        await self.run("document.getElementById('text').focus()")
        await self.call("Input.insertText", text=text)
        await self.click("#send")

    async def text(self, selector: str) -> str:
        """What all matching elements say, joined."""
        found = f"[...document.querySelectorAll({json.dumps(selector)})].map(e => e.textContent).join('')"
        return str(await self.run(found))

    async def screenshot(self) -> bytes:
        """What the page looks like, as PNG."""
        answer = await self.call("Page.captureScreenshot", format="png")
        return base64.b64decode(answer["data"])

    async def look(self, width: int, height: int, scheme: str = "light") -> None:
        """The size in CSS pixels, and the colour scheme that the reader prefers."""
        mobile = width < 600
        await self.call(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=mobile
        )
        await self.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])

    async def call(self, method: str, **params: Any) -> Any:
        number = next(self._ids)
        self._waiting[number] = asyncio.get_running_loop().create_future()
        await self.socket.send(json.dumps({"id": number, "method": method, "params": params}))
        return await self._waiting[number]

    async def listen(self) -> None:
        """Reads the socket until it closes; runs beside the test."""
        async for raw in self.socket:
            message = json.loads(raw)
            if "id" in message:
                self._answer(message)
            else:
                self._note(message["method"], message["params"])

    def _answer(self, message: Mapping[str, Any]) -> None:
        waiting = self._waiting.pop(message["id"])
        if waiting.cancelled():  # whoever asked has given up
            return
        if "error" in message:
            waiting.set_exception(AssertionError(message["error"]["message"]))
        else:
            waiting.set_result(message["result"])

    def _note(self, method: str, params: Mapping[str, Any]) -> None:
        if method == "Page.loadEventFired":
            self.loaded.set()
        elif method == "Runtime.exceptionThrown":
            self.complaints.append(_exception(params["exceptionDetails"]))
        elif method == "Log.entryAdded" and params["entry"]["level"] in ("warning", "error"):
            self.complaints.append(f"{params['entry']['text']} {params['entry'].get('url', '')}")
        elif method == "Runtime.consoleAPICalled" and params["type"] in ("warning", "error", "assert"):
            self.complaints.append(str([arg.get("value", arg.get("description")) for arg in params["args"]]))


@contextlib.asynccontextmanager
async def browse(url: str, microphone: Path | None = None) -> AsyncIterator[Page]:
    """A fresh browser at `url`. `microphone` is a WAV that it hears once from when the page listens; None: no microphone."""
    sound = (
        [
            "--use-fake-device-for-media-stream",
            f"--use-file-for-fake-audio-capture={quote(str(microphone))}%noloop",
        ]
        if microphone
        else []
    )
    async with _chromium(*FLAGS, *sound) as address, connect(address, max_size=None) as socket:
        page = Page(socket)
        listening = asyncio.create_task(page.listen())
        try:
            for domain in ("Runtime", "Log", "Page"):
                await page.call(f"{domain}.enable")
            await page.call("Page.navigate", url=url)
            await page.loaded.wait()
            yield page
        finally:
            listening.cancel()


@contextlib.asynccontextmanager
async def _chromium(*flags: str) -> AsyncIterator[str]:
    """A running browser; gives the address of its first page's DevTools socket."""
    name = executable()
    assert name is not None
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as home:
        quiet = asyncio.subprocess.DEVNULL
        command = (name, *flags, f"--user-data-dir={home}", "about:blank")
        process = await asyncio.create_subprocess_exec(*command, stdout=quiet, stderr=quiet)
        try:
            yield await _first_page(Path(home) / "DevToolsActivePort")
        finally:
            process.terminate()
            await process.wait()


async def _first_page(port_file: Path) -> str:
    """Chromium writes its port, then the path of the browser's own socket; that one is asked for the page."""
    async with asyncio.timeout(PATIENCE_S):
        while len(lines := _lines(port_file)) < 2:  # noqa: ASYNC110 (another process writes it)
            await asyncio.sleep(0.05)
        address = f"ws://127.0.0.1:{lines[0]}"
        async with connect(address + lines[1]) as browser:
            while True:
                await browser.send(json.dumps({"id": 1, "method": "Target.getTargets"}))
                targets = json.loads(await browser.recv())["result"]["targetInfos"]
                for target in targets:
                    if target["type"] == "page":
                        return f"{address}/devtools/page/{target['targetId']}"
                await asyncio.sleep(0.05)


def _lines(path: Path) -> list[str]:
    return path.read_text().split() if path.exists() else []


def _exception(details: Mapping[str, Any]) -> str:
    return str(details.get("exception", {}).get("description") or details["text"])
