"""The line between a server and its worker: what may cross, and what a worker makes of what it is sent."""

from __future__ import annotations

import asyncio
import socket
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Callable, Coroutine, Generator
from contextlib import aclosing
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import duologue
from duologue.engines import About, Sound, Style, Word, apart
from duologue.errors import ClientError, ConfigError, EngineError
from duologue.places import wire, worker
from duologue.places.wire import HEAD, PROTOCOL, Codec, Message, messages
from duologue.places.worker import WatchedLane


def crossed(value: Any, codec: Codec = apart.CODEC) -> Any:
    frame = codec.encode(Message("item", 7, value))
    head, sound = HEAD.unpack(frame[: HEAD.size])
    assert len(frame) == HEAD.size + head + sound
    message = codec.decode(frame[HEAD.size : HEAD.size + head], frame[HEAD.size + head :])
    assert (message.kind, message.call) == ("item", 7)
    return message.value


plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(st.characters()),
    lambda inner: (
        st.lists(inner) | st.lists(inner).map(tuple) | st.dictionaries(st.text(), inner) | st.frozensets(st.text())
    ),
    max_leaves=20,
)


@given(plain)
def test_plain_values_come_as_they_were(value: Any) -> None:
    assert crossed(value) == value


@given(st.lists(st.lists(st.floats(width=32, allow_nan=False))))
def test_samples_come_to_the_bit(sounds: list[list[float]]) -> None:
    given_ = [np.array(samples, np.float32) for samples in sounds]
    for mine, its in zip(given_, crossed(given_), strict=True):
        assert mine.tobytes() == its.tobytes()


def test_what_engines_exchange_crosses() -> None:
    sound = crossed(Sound(cast(Any, np.arange(5, dtype=np.float64)[::2]), 8_000, (Word("a \ud83d", 3),)))
    assert sound.samples.tolist() == [0.0, 2.0, 4.0]
    assert sound.samples.dtype == np.float32
    assert (sound.rate, sound.words) == (8_000, (Word("a \ud83d", 3),))
    about = About("x", "MIT", frozenset({"en", "hi"}), frozenset({"amy"}))
    assert crossed((about, Style("hi"), np.float32(0.5), np.int64(3))) == (about, Style("hi"), 0.5, 3)


@pytest.mark.parametrize(
    "error",
    [
        EngineError("piper", "no breath", code="out_of_breath", retryable=False),
        ConfigError("model_missing", "not here"),
        ClientError("too_long", "shorter"),
    ],
)
def test_errors_stay_what_they_are(error: Any) -> None:
    came = crossed(error)
    assert type(came) is type(error)
    assert (came.code, came.message) == (error.code, error.message)
    assert getattr(came, "retryable", None) == getattr(error, "retryable", None)


def test_nothing_else_crosses() -> None:
    for value in (object(), {1, 2}, b"bytes", Path("x"), lambda: None):
        with pytest.raises(TypeError, match="cannot cross"):
            apart.CODEC.encode(Message("item", 1, value))
    with pytest.raises(TypeError, match="cannot cross"):
        Codec(Word).encode(Message("item", 1, Style()))  # a type that was not named


@pytest.mark.parametrize(
    "head",
    [
        b"",
        b"{",
        b"[]",
        b'["item"]',
        b'["item", 1, {"Path": {}}]',
        b'["item", 1, ["z"]]',
        b'["item", 1, ["a", 9]]',
        b"\xff",
    ],
)
def test_a_frame_that_makes_no_sense_is_an_error_with_a_code(head: bytes) -> None:
    with pytest.raises(EngineError) as refused:
        apart.CODEC.decode(head, b"\0" * 8)
    assert refused.value.code == "worker_protocol"


def test_a_frame_that_is_too_large_is_neither_sent_nor_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wire, "MOST_SOUND", 100)

    async def main() -> None:
        with pytest.raises(EngineError, match="too large"):
            apart.CODEC.encode(Message("item", 1, np.zeros(26, np.float32)))
        reader = asyncio.StreamReader()
        reader.feed_data(HEAD.pack(2, 101))
        with pytest.raises(EngineError, match="too large"):
            await anext(messages(reader, apart.CODEC))

    asyncio.run(main())


# ── A worker, spoken to by hand ───────────────────────────────────────────────────────────────────────────────────────


class Line:
    """The server's end."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writer = writer
        self._messages = messages(reader, apart.CODEC)

    def say(self, kind: Any, call: int = 0, value: Any = None) -> None:
        self._writer.write(apart.CODEC.encode(Message(kind, call, value)))

    def raw(self, data: bytes) -> None:
        self._writer.write(data)

    async def hears(self, kind: str) -> Any:
        async with asyncio.timeout(20.0):
            message = await anext(self._messages)
        assert message.kind == kind, message
        return message.value

    async def is_hung_up(self) -> None:
        async with asyncio.timeout(20.0):
            with pytest.raises(StopAsyncIteration):
                await anext(self._messages)

    def hang_up(self) -> None:
        self._writer.close()


def spawned(theirs: socket.socket) -> subprocess.Popen[bytes]:
    with theirs:
        folder, handle = str(Path(duologue.__file__).parent), theirs.fileno()
        return subprocess.Popen((sys.executable, "-I", "-c", apart.BOOT, folder, str(handle)), pass_fds=[handle])


def by_hand(use: Callable[[Line], Coroutine[Any, Any, None]], status: int = 0) -> None:
    async def main() -> None:
        ours, theirs = socket.socketpair()
        process = await asyncio.to_thread(spawned, theirs)
        reader, writer = await asyncio.open_connection(sock=ours)
        try:
            await use(Line(reader, writer))
            assert await asyncio.to_thread(process.wait, 20.0) == status
        finally:
            process.kill()
            process.wait()
            writer.close()

    asyncio.run(main())


OPENING = ("duologue.speaker", "scripted", "duologue.engines.scripted:load_speaker", {"delay_s": 0.0}, False)


def test_a_call_is_fed_item_by_item_and_ended() -> None:
    async def use(line: Line) -> None:
        line.say("load", value=OPENING)
        protocol, (about, methods) = await line.hears("ready")
        assert (protocol, about.name, methods) == (PROTOCOL, "scripted", ("speak",))
        line.say("ping")
        await line.hears("pong")
        line.say("start", 1, ("speak", (Style(),), True))
        await line.hears("more")
        line.say("item", 1, "a ")
        assert (await line.hears("item")).words == (Word("a ", 2880),)
        await line.hears("more")
        line.say("end", 1)
        await line.hears("end")
        line.say("cancel", 1)  # too late is no error
        line.say("stop")
        await line.is_hung_up()

    by_hand(use)


def test_a_worker_whose_line_is_hung_up_ends() -> None:
    async def use(line: Line) -> None:
        line.say("load", value=OPENING)
        await line.hears("ready")
        line.say("start", 1, ("speak", (Style(),), True))
        await line.hears("more")
        line.hang_up()

    by_hand(use)


def test_a_call_that_is_cancelled_before_it_begins_is_over_like_any_other() -> None:
    """Both frames are there when the worker looks: it was busy. An end that never came would have it killed."""

    async def use(line: Line) -> None:
        line.say("load", value=OPENING)
        await line.hears("ready")
        line.raw(
            apart.CODEC.encode(Message("start", 1, ("speak", (Style(),), True)))
            + apart.CODEC.encode(Message("cancel", 1))
        )
        await line.hears("end")
        line.say("stop")

    by_hand(use)


def test_a_call_that_is_cancelled_after_its_last_item_is_over_when_its_thread_is() -> None:
    class Hasty:
        lane = WatchedLane("hasty")
        go_on = threading.Event()

        def _work(self) -> Generator[str, None, None]:
            yield "all that is wanted"
            self.go_on.wait()

        async def speak(self) -> AsyncIterator[str]:
            async with aclosing(self.lane.stream(self._work)) as made:  # type: ignore[type-var]
                async for item in made:
                    yield item
                    break

    async def main() -> None:
        ours, theirs = socket.socketpair()
        reader, writer = await asyncio.open_connection(sock=ours)
        server = worker._Server(*await asyncio.open_connection(sock=theirs), apart.CODEC, lambda *asked: (Hasty(), ""))
        running = asyncio.create_task(server.run())
        line = Line(reader, writer)
        line.say("load")
        await line.hears("ready")
        line.say("start", 1, ("speak", (), False))
        await line.hears("item")
        line.say("cancel", 1)
        line.say("ping")
        await line.hears("pong")
        Hasty.go_on.set()
        await line.hears("end")
        running.cancel()  # to hang up would end this process
        await asyncio.wait([running])
        writer.close()
        server._writer.close()
        Hasty.lane.close()

    asyncio.run(main())


def test_a_method_that_is_not_there_fails_its_call_alone() -> None:
    async def use(line: Line) -> None:
        line.say("load", value=OPENING)
        await line.hears("ready")
        line.say("start", 1, ("sing", (), False))
        assert (await line.hears("fail")).code == "engine_failed"
        line.say("ping")
        await line.hears("pong")
        line.say("stop")

    by_hand(use)


def test_a_worker_needs_nothing_but_what_every_environment_has() -> None:
    """`environments.BASE`, and the standard library."""
    program = (
        "import sys\n"
        f"sys.path.insert(0, {str(Path(duologue.__file__).parents[1])!r})\n"
        "import duologue.engines.apart, duologue.engines.scripted\n"
        "print(*sys.modules)\n"
    )
    ran = subprocess.run((sys.executable, "-c", program), capture_output=True, text=True, check=True)
    loaded = {name.partition(".")[0] for name in ran.stdout.split()}
    assert {"numpy", "soxr", "soundfile"} <= loaded
    heavier = {"onnxruntime", "starlette", "uvicorn", "websockets", "xllamacpp", "prometheus_client", "openai", "httpx"}
    assert not loaded & (heavier | {"torch", "transformers", "babel", "pydantic", "huggingface_hub"})
