"""The thread on which all calls' sound runs, with a loop of its own: its frames leave on time whatever the sessions' loop does.

Nothing but calls across (`call`, `run`) is shared with the other loop. Knows neither aiortc nor sessions.
"""

from __future__ import annotations

import asyncio
import itertools
import threading
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any, ParamSpec, TypeVar

from duologue.errors import ClientError, ConfigError

P = ParamSpec("P")
T = TypeVar("T")


def ports_of(text: str) -> range:
    """The ports of a setting like "40000-40100", both included; "" is none in particular. Raises `ConfigError` (bad_setting)."""
    if not text:
        return range(0)
    first, _, last = text.partition("-")
    if (
        first.isascii()
        and first.isdigit()
        and last.isascii()
        and last.isdigit()
        and 0 < int(first) <= int(last) < 65536
    ):
        return range(int(first), int(last) + 1)
    raise ConfigError("bad_setting", f"webrtc.udp_ports must be like 40000-40100, not {text!r}")


class MediaLoop(asyncio.SelectorEventLoop):
    """Gives sockets that ask for any port one of `ports`, each in turn, so that a port rests before it is used again.

    ICE has no setting for it in aiortc, but asks its loop for its sockets. Where no port is free, asking fails with `OSError`.
    """

    def __init__(self, ports: range) -> None:
        super().__init__()
        self._turns = itertools.cycle(ports)
        self._ports = len(ports)

    async def create_datagram_endpoint(  # type: ignore[override]
        self,
        protocol_factory: Callable[[], asyncio.DatagramProtocol],
        local_addr: tuple[str, int] | None = None,
        **options: Any,
    ) -> tuple[asyncio.DatagramTransport, asyncio.DatagramProtocol]:
        make = super().create_datagram_endpoint
        if local_addr is None or local_addr[1] or not self._ports:
            return await make(protocol_factory, local_addr, **options)
        for port in itertools.islice(self._turns, self._ports):
            with suppress(OSError):
                return await make(protocol_factory, (local_addr[0], port), **options)
        raise OSError(f"none of the {self._ports} UDP ports is free on {local_addr[0]}")


class MediaThread:
    """Runs from the first use to `close`."""

    def __init__(self, ports: range) -> None:
        self._ports = ports
        self._loop: MediaLoop | None = None
        self._thread: threading.Thread | None = None

    def call(self, function: Callable[P, object], *args: P.args, **kwargs: P.kwargs) -> None:
        """Soon, and in the order of the calls. After `close` there is nothing to be done any more."""
        with suppress(RuntimeError, ClientError):
            self._running().call_soon_threadsafe(lambda: function(*args, **kwargs))

    async def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Waits for a coroutine over there. Cancelling the wait cancels the work. After `close` it raises `RuntimeError`;
        where the system lets no thread be started, `ClientError` (server_full)."""
        try:
            done = asyncio.run_coroutine_threadsafe(work, self._running())
        except (RuntimeError, ClientError):
            work.close()  # else Python warns that nobody waited for it
            raise
        return await asyncio.wrap_future(done)

    async def close(self) -> None:
        """Whatever still runs there is cancelled. Once is enough, more is fine."""
        if self._loop is not None and self._thread is not None:
            with suppress(RuntimeError):
                self._loop.call_soon_threadsafe(self._loop.stop)
            await asyncio.to_thread(self._thread.join)

    def _running(self) -> MediaLoop:
        if self._loop is None:
            try:
                self._start()
            except (OSError, RuntimeError) as error:  # of descriptors, or threads, there are no more
                raise ClientError("server_full", f"no thread can be started for the sound ({error})") from error
        assert self._loop is not None
        return self._loop

    def _start(self) -> None:
        """Wholly or not at all: the next call tries again."""
        loop = MediaLoop(self._ports)
        thread = threading.Thread(target=_live, args=(loop,), name="duologue-media", daemon=True)
        try:
            thread.start()
        except RuntimeError:
            loop.close()
            raise
        self._loop, self._thread = loop, thread


def _live(loop: MediaLoop) -> None:
    with asyncio.Runner(loop_factory=lambda: loop) as runner:
        runner.get_loop().run_forever()
