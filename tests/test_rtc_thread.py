"""The media thread: calls in order, work that can be cancelled, ports of a range, and an end."""

from __future__ import annotations

import asyncio
import socket
import threading

import pytest

from duologue.errors import ClientError, ConfigError
from duologue.transports.rtc_thread import MediaThread, ports_of


@pytest.mark.parametrize("text", ["40000", "40100-40000", "0-10", "60000-70000", "a-b", "-", "40000-40100-"])
def test_what_is_no_range_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="udp_ports"):
        ports_of(text)


def test_a_range_holds_both_its_ends() -> None:
    assert ports_of("40000-40002") == range(40_000, 40_003)
    assert not ports_of("")


def test_calls_are_done_in_order_on_one_other_thread() -> None:
    async def main() -> None:
        thread = MediaThread(range(0))
        done: list[int] = []
        where: set[int] = set()
        for number in range(1_000):
            thread.call(done.append, number)
            thread.call(lambda: where.add(threading.get_ident()))
        await thread.run(asyncio.sleep(0))
        assert done == list(range(1_000))
        assert len(where) == 1
        assert threading.get_ident() not in where
        await thread.close()

    asyncio.run(main())


def test_its_end_cancels_what_runs_and_takes_no_more() -> None:
    async def main() -> None:
        thread, ended = MediaThread(range(0)), threading.Event()

        async def work() -> None:
            try:
                await asyncio.Event().wait()
            finally:
                ended.set()

        waiting = asyncio.create_task(thread.run(work()))
        await asyncio.sleep(0.05)
        await thread.close()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        assert ended.is_set()
        thread.call(ended.clear)
        with pytest.raises(RuntimeError):
            await thread.run(asyncio.sleep(0))
        await thread.close()
        assert ended.is_set()
        assert "duologue-media" not in {each.name for each in threading.enumerate()}

    asyncio.run(main())


def test_a_thread_that_cannot_be_started_is_tried_again_by_the_next_call(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    async def main() -> None:
        thread = MediaThread(range(0))
        with monkeypatch.context() as short:
            short.setattr(threading.Thread, "start", refused)
            thread.call(print)
            with pytest.raises(ClientError) as full:
                await asyncio.wait_for(thread.run(asyncio.sleep(0)), 30.0)
        assert full.value.code == "server_full"
        await asyncio.wait_for(thread.run(asyncio.sleep(0)), 30.0)
        await thread.close()

    asyncio.run(main())


def test_a_wait_that_is_cancelled_cancels_the_work() -> None:
    async def main() -> None:
        thread, cancelled = MediaThread(range(0)), threading.Event()

        async def work() -> None:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                cancelled.set()
                raise

        waiting = asyncio.create_task(thread.run(work()))
        await asyncio.sleep(0.05)
        waiting.cancel()
        assert await asyncio.to_thread(cancelled.wait, 30.0)
        await thread.close()

    asyncio.run(main())


async def bound() -> tuple[asyncio.DatagramTransport, int]:
    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_datagram_endpoint(asyncio.DatagramProtocol, ("127.0.0.1", 0))
    return transport, transport.get_extra_info("sockname")[1]


def test_sockets_get_ports_of_the_range_each_in_turn_and_none_that_is_taken() -> None:
    async def work() -> None:
        first = await bound()
        second = await bound()
        first[0].close()
        third = await bound()
        assert [port for _, port in (first, second, third)] == [42_000, 42_001, 42_003]  # the first one rests
        fourth = await bound()
        assert fourth[1] == 42_000
        with pytest.raises(OSError, match="none of the 4 UDP ports"):
            await bound()
        for transport, _ in (second, third, fourth):
            transport.close()

    async def main() -> None:
        thread = MediaThread(ports_of("42000-42003"))
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
            taken.bind(("127.0.0.1", 42_002))
            await thread.run(work())
        await thread.close()

    asyncio.run(main())


def test_a_port_that_is_asked_for_is_given() -> None:
    async def work() -> int:
        loop = asyncio.get_running_loop()
        transport, _ = await loop.create_datagram_endpoint(asyncio.DatagramProtocol, ("127.0.0.1", 43_210))
        transport.close()
        return int(transport.get_extra_info("sockname")[1])

    async def main() -> None:
        thread = MediaThread(ports_of("42000-42003"))
        assert await thread.run(work()) == 43_210
        await thread.close()

    asyncio.run(main())
