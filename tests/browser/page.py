"""A headless Chromium driven through its DevTools protocol: about as much of it as the tests need.

A WAV file can be its microphone. Needs no driver program and no library but `websockets`.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import itertools
import json
import shutil
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator, Iterator, Mapping
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


@contextlib.contextmanager
def chromium(microphone: Path | None = None) -> Iterator[str]:
    """A running browser; gives the address of its DevTools socket. `microphone` is a WAV that every page hears once from when it
    listens; None: no microphone."""
    name = executable()
    assert name is not None
    sound = ("--use-fake-device-for-media-stream", f"--use-file-for-fake-audio-capture={quote(str(microphone))}%noloop")
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as home:
        command = [name, *FLAGS, *(sound if microphone else ()), f"--user-data-dir={home}", "about:blank"]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            yield _address(Path(home) / "DevToolsActivePort")
        finally:
            process.terminate()
            process.wait()


def _address(port_file: Path) -> str:
    """Chromium writes its port, then the path of the browser's own socket."""
    deadline = time.monotonic() + PATIENCE_S
    while len(lines := port_file.read_text().split() if port_file.exists() else []) < 2:
        assert time.monotonic() < deadline, "the browser did not start"
        time.sleep(0.02)
    return f"ws://127.0.0.1:{lines[0]}{lines[1]}"


@contextlib.asynccontextmanager
async def browse(
    browser: str, url: str, before: str = "", files: Mapping[str, str] | None = None
) -> AsyncIterator[Page]:
    """A fresh page at `url`, with storage of its own. `before` is a script that runs before the page's own; `files` are scripts
    that the page's server is made to have, by their paths. A page with a script from outside is not held to its policy."""
    async with connect(browser, max_size=None) as socket, _Wire(socket).running() as whole:
        context = (await whole.call("Target.createBrowserContext"))["browserContextId"]
        target = (await whole.call("Target.createTarget", url="about:blank", browserContextId=context))["targetId"]
        address = browser.replace(browser[browser.index("/devtools") :], f"/devtools/page/{target}")
        async with connect(address, max_size=None) as own, Page(own, files=dict(files or {})).running() as page:
            await page.start(before)
            await page.go(url)
            yield page
        await whole.call("Target.disposeBrowserContext", browserContextId=context)


@dataclass
class _Wire:
    """One DevTools socket."""

    socket: ClientConnection
    _ids: Any = field(default_factory=lambda: itertools.count(1))
    _waiting: dict[int, asyncio.Future[Any]] = field(default_factory=dict)

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[Any]:
        listening = asyncio.create_task(self._listen())
        try:
            yield self
        finally:
            listening.cancel()

    async def call(self, method: str, **params: Any) -> Any:
        number = next(self._ids)
        self._waiting[number] = asyncio.get_running_loop().create_future()
        await self.socket.send(json.dumps({"id": number, "method": method, "params": params}))
        return await self._waiting[number]

    async def _listen(self) -> None:
        async for raw in self.socket:
            message = json.loads(raw)
            if "id" in message:
                self._answer(message)
            else:
                await self.note(message["method"], message["params"])

    def _answer(self, message: Mapping[str, Any]) -> None:
        waiting = self._waiting.pop(message["id"], None)
        if waiting is None or waiting.cancelled():  # whoever asked has given up
            return
        if "error" in message:
            waiting.set_exception(AssertionError(message["error"]["message"]))
        else:
            waiting.set_result(message["result"])

    async def note(self, method: str, params: Mapping[str, Any]) -> None:
        """An event."""


@dataclass
class Page(_Wire):
    """One open page. `complaints` collects what its console shows at level warning or above, and uncaught exceptions."""

    files: dict[str, str] = field(default_factory=dict)
    complaints: list[str] = field(default_factory=list)
    loaded: asyncio.Event = field(default_factory=asyncio.Event)

    async def start(self, before: str) -> None:
        for domain in ("Runtime", "Log", "Page"):
            await self.call(f"{domain}.enable")
        if self.files:
            await self.call("Fetch.enable", patterns=[{"urlPattern": f"*/{path}"} for path in self.files])
        if before:
            await self.call("Page.setBypassCSP", enabled="WebSocket = " in before)
            await self.call("Page.addScriptToEvaluateOnNewDocument", source=before)

    async def go(self, url: str) -> None:
        self.loaded.clear()
        await self.call("Page.navigate", url=url)
        await self.loaded.wait()

    async def reload(self) -> None:
        self.loaded.clear()
        await self.call("Page.reload")
        await self.loaded.wait()

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

    async def key(self, key: str, *kinds: str) -> None:
        """Presses a key, or only its `keyDown` or `keyUp`. `key` as in KeyboardEvent.key."""
        text = {"Enter": "\r"}.get(key, key if len(key) == 1 else "")
        codes = {"Enter": 13, "Escape": 27, "Tab": 9}
        code = codes.get(key, ord(key.upper()[0]) if len(key) == 1 else 0)
        for kind in kinds or ("keyDown", "keyUp"):
            typed = {"text": text} if text and kind == "keyDown" else {}
            await self.call("Input.dispatchKeyEvent", type=kind, key=key, windowsVirtualKeyCode=code, **typed)

    async def choose(self, field: str, value: str | float | bool) -> None:
        """What a reader does to a field of the settings."""
        await self.run(f"""(() => {{
          const field = document.querySelector("#settings [name={field}]");
          const value = {json.dumps(value)};
          if (typeof value === "boolean") field.checked = value;
          else field.value = value;
          for (const kind of ["input", "change"]) field.dispatchEvent(new Event(kind, {{ bubbles: true }}));
        }})()""")

    async def text(self, selector: str) -> str:
        """What all matching elements say, joined."""
        found = f"[...document.querySelectorAll({json.dumps(selector)})].map(e => e.textContent).join('')"
        return str(await self.run(found))

    async def screenshot(self) -> bytes:
        """What the page looks like, as PNG."""
        answer = await self.call("Page.captureScreenshot", format="png")
        return base64.b64decode(answer["data"])

    async def look(self, width: int, height: int, scheme: str = "light", motion: str = "no-preference") -> None:
        """The size in CSS pixels, and what the reader prefers."""
        mobile = width < 600
        await self.call(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=mobile
        )
        wishes = {"prefers-color-scheme": scheme, "prefers-reduced-motion": motion}
        await self.call(
            "Emulation.setEmulatedMedia", features=[{"name": name, "value": wish} for name, wish in wishes.items()]
        )

    async def note(self, method: str, params: Mapping[str, Any]) -> None:
        if method == "Page.loadEventFired":
            self.loaded.set()
        elif method == "Fetch.requestPaused":
            await self._serve(params["requestId"], params["request"]["url"])
        elif method == "Runtime.exceptionThrown":
            self.complaints.append(_exception(params["exceptionDetails"]))
        elif method == "Log.entryAdded" and params["entry"]["level"] in ("warning", "error"):
            self.complaints.append(f"{params['entry']['text']} {params['entry'].get('url', '')}")
        elif method == "Runtime.consoleAPICalled" and params["type"] in ("warning", "error", "assert"):
            self.complaints.append(str([arg.get("value", arg.get("description")) for arg in params["args"]]))

    async def _serve(self, request: str, url: str) -> None:
        source = next(source for path, source in self.files.items() if url.endswith(path))
        headers = [{"name": "Content-Type", "value": "text/javascript"}]
        body = base64.b64encode(source.encode()).decode()
        number = next(self._ids)  # its answer is not waited for: this runs in the task that would read it
        params = {"requestId": request, "responseCode": 200, "responseHeaders": headers, "body": body}
        await self.socket.send(json.dumps({"id": number, "method": "Fetch.fulfillRequest", "params": params}))


def _exception(details: Mapping[str, Any]) -> str:
    return str(details.get("exception", {}).get("description") or details["text"])
