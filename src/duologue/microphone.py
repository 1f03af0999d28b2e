"""`duologue talk --mic`: this machine's microphone and loudspeaker, through PortAudio (the extra `mic`).

There is no echo cancellation here: with loudspeakers the reply hears itself and may stop, so headphones are the advice. The
browser page has one.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from typing import Any, Final

import numpy as np

from duologue.app import App
from duologue.audio import FRAME_S, FRAME_SAMPLES, INPUT_RATE, OUTPUT_RATE, Audio, from_pcm16
from duologue.errors import ConfigError
from duologue.protocols import (
    Cursor,
    Degraded,
    Ducked,
    Fact,
    Failure,
    Heard,
    Interrupted,
    Microphone,
    ReplyAudio,
    ReplyDone,
    Resumed,
)

CURSOR_S: Final = 0.1

WAITING_S: Final = 2.0
"""Of microphone that may wait for a busy loop; then the oldest is lost, as in every sound card."""


def devices() -> Any:
    """The sounddevice module. Raises `ConfigError`: mic_not_installed, no_microphone."""
    try:
        import sounddevice
    except (ImportError, OSError) as error:  # OSError: the package is there, the PortAudio library is not
        raise ConfigError(
            "mic_not_installed", f"the microphone needs PortAudio: pip install 'duologue[mic]' ({error})"
        ) from error
    try:
        sounddevice.query_devices(kind="input")
        sounddevice.query_devices(kind="output")
    except (ValueError, sounddevice.PortAudioError) as error:
        raise ConfigError("no_microphone", f"no microphone and loudspeaker can be opened: {error}") from error
    return sounddevice


async def converse(app: App, sound: Any) -> None:
    """Until cancelled or the session ends by itself. `sound` is what `devices` gave. Raises `ConfigError` (no_microphone)."""
    loudspeaker = Loudspeaker()
    session = app.open_session(lambda fact: _told(fact, loudspeaker))
    running = asyncio.create_task(session.run())
    captured = Captured(asyncio.get_running_loop(), lambda block: session.command(Microphone(block)))
    common: dict[str, Any] = {"channels": 1, "dtype": "float32"}
    try:
        with (
            sound.InputStream(INPUT_RATE, FRAME_SAMPLES, callback=captured.take, **common),
            sound.OutputStream(OUTPUT_RATE, callback=loudspeaker.fill, **common),
        ):
            print("Speak; Ctrl-C ends. Headphones keep the reply from hearing itself.\n", flush=True)
            while not (await asyncio.wait([running], timeout=CURSOR_S))[0]:
                session.command(Cursor(*loudspeaker.position()))
    except sound.PortAudioError as error:
        raise ConfigError("no_microphone", f"no microphone and loudspeaker can be opened: {error}") from error
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        session.close()  # cancelled before its first step, it did not do so itself


class Captured:
    """Carries blocks from PortAudio's thread to the loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop, give: Any) -> None:
        self._loop = loop
        self._give = give
        self._waiting: deque[Audio] = deque(maxlen=round(WAITING_S / FRAME_S))

    def take(self, data: Any, frames: int, time: Any, status: Any) -> None:
        """PortAudio's callback: `data` is (frames, 1) and is reused after it."""
        self._waiting.append(data[:, 0].copy())
        self._loop.call_soon_threadsafe(self._drain)

    def _drain(self) -> None:
        while self._waiting:
            self._give(self._waiting.popleft())


class Loudspeaker:
    """What is to be played, between the loop, which gives it, and PortAudio's thread, which takes it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: Audio = np.zeros(0, np.float32)
        self._turn = 0
        self._played = 0
        self._held = False

    def give(self, block: ReplyAudio) -> None:
        with self._lock:
            if block.turn != self._turn:
                self._turn, self._played, self._held = block.turn, 0, False
            self._waiting = np.concatenate([self._waiting, from_pcm16(block.pcm)])

    def hold(self, held: bool) -> None:
        with self._lock:
            self._held = held

    def clear(self) -> None:
        with self._lock:
            self._waiting, self._held = np.zeros(0, np.float32), False

    def position(self) -> tuple[int, float]:
        """The turn that is played, and the ms of its reply that were."""
        with self._lock:
            return self._turn, self._played * 1000 / OUTPUT_RATE

    def fill(self, data: Any, frames: int, time: Any, status: Any) -> None:
        """PortAudio's callback: fills `data`, (frames, 1), with silence where there is nothing to play."""
        with self._lock:
            ready = self._waiting[: 0 if self._held else frames]
            self._waiting = self._waiting[len(ready) :]
            self._played += len(ready)
        data[:, 0] = 0.0
        data[: len(ready), 0] = ready


def _told(fact: Fact, loudspeaker: Loudspeaker) -> None:
    match fact:
        case ReplyAudio():
            loudspeaker.give(fact)
        case Ducked() | Resumed():
            loudspeaker.hold(isinstance(fact, Ducked))
        case Interrupted():
            loudspeaker.clear()
            print(f"Reply: {fact.heard_text} — [interrupted]\n", flush=True)
        case Heard(_, text, True, _):
            print(f"You:   {text}", flush=True)
        case ReplyDone():
            print(f"Reply: {fact.text}\n", flush=True)
        case Failure():
            print(f"Error: {fact.message} [{fact.code}]\n", flush=True)
        case Degraded():
            print(f"Note: {fact.message}\n", flush=True)
