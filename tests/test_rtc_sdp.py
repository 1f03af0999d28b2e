"""Offers, good, odd and broken; and answers that say how this server is reached."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable
from typing import Any

import pytest
from desk import desk, run
from phone import without_candidates

from duologue.config import Rtc
from duologue.errors import ClientError
from duologue.transports.rtc_sdp import CANDIDATES, checked_offer, finished_answer


@pytest.mark.parametrize(
    "spoil",
    [
        lambda offer: "",
        lambda offer: "\0" * 100,
        lambda offer: '{"type": "offer"}',
        lambda offer: "v=0\r\n",
        lambda offer: offer + "a=x\r\n" * 40_000,
        lambda offer: offer.replace("m=audio", "m=video"),
        lambda offer: offer.replace("m=audio", "m=image"),
        lambda offer: offer.replace("opus/48000/2", "speex/8000"),
        lambda offer: "".join(line for line in offer.splitlines(True) if "fingerprint" not in line),
        lambda offer: "".join(line for line in offer.splitlines(True) if "ice-pwd" not in line),
        lambda offer: "".join(line for line in offer.splitlines(True) if "rtcp-mux" not in line),
        lambda offer: "".join(line for line in offer.splitlines(True) if "a=setup" not in line),
        lambda offer: offer + offer[offer.index("m=audio") :] * 20,
    ],
)
def test_an_offer_that_cannot_be_answered_is_refused(spoil: Callable[[str], str]) -> None:
    async def main() -> None:
        async with desk() as here:
            offer = spoil(await here.phone().offer())
            with pytest.raises(ClientError) as error:
                await here.answer(offer)
            assert error.value.code == "bad_sdp"

    run(main())


def test_no_mutated_offer_is_answered_by_a_traceback(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    chance = random.Random(3)

    def mutated(lines: list[str]) -> str:
        lines = list(lines)
        for _ in range(chance.randrange(1, 4)):
            at = chance.randrange(len(lines))
            kind = chance.randrange(5)
            if kind == 0:
                del lines[at]
            elif kind == 1:
                lines.insert(at, chance.choice(lines))
            elif kind == 2:
                lines[at] = lines[at][: chance.randrange(len(lines[at]) + 1)]
            elif kind == 3:
                lines[at] = lines[at].replace(chance.choice("0123456789: /"), chance.choice("9 -/x"))
            else:
                lines[at] = lines[at][:4] + chr(chance.randrange(1, 0x2FFF)) + lines[at][4:]
        return "\r\n".join(lines) + "\r\n"

    async def main() -> None:
        answered = refused = 0
        async with desk(Rtc(connect_s=0.5)) as here:
            lines = (await here.phone(camera=True).offer()).splitlines()
            for _ in range(150):
                try:
                    call, _ = await here.answer(mutated(lines))
                    answered += 1
                    call.end("enough")
                except ClientError as error:
                    refused += error.code == "bad_sdp"
        assert answered + refused == 150
        assert min(answered, refused) > 20

    run(main())
    assert not caplog.records


def test_offers_without_candidates_and_with_hidden_addresses_connect() -> None:
    """Browsers send the first at once, and hide their addresses in the second."""

    async def main() -> None:
        hidden = "a=candidate:1 1 udp 2113937151 5c3f1f5c-1111-4222-8333-444455556666.local 50000 typ host\r\n"
        for line in ("", hidden):
            async with desk() as here:
                phone = here.phone()
                offer = without_candidates(await phone.offer()).replace(
                    "a=end-of-candidates", line + "a=end-of-candidates"
                )
                call, _ = await here.answer(offer)
                await phone.accept(call.answer)
                await phone.until(lambda: here.phones[0].open)

    run(main())


def test_cameras_are_declined() -> None:
    async def main() -> None:
        async with desk() as here:
            phone = here.phone(camera=True)
            call, _ = await here.answer(await phone.offer())
            assert "a=inactive" in call.answer[call.answer.index("m=video") : call.answer.index("m=application")]
            await phone.accept(call.answer)
            await phone.until(lambda: phone.open)

    run(main())


def test_only_ports_of_the_range_are_used_and_a_full_range_is_a_full_server() -> None:
    async def main() -> None:
        async with desk(Rtc(udp_ports="41000-41005")) as here:
            used: set[int] = set()

            async def fill() -> None:
                while True:
                    call, _ = await here.answer(await here.phone().offer())
                    used.update(int(line.split()[5]) for line in call.answer.splitlines() if "typ host" in line)

            with pytest.raises(ClientError) as error:
                await fill()
            assert error.value.code == "server_full"
            assert used == set(range(41_000, 41_006))
            here.calls.hangup("rtc_0")
            await here.phones[0].until(lambda: here.sessions[0].closed)
            await here.answer(await here.phone().offer())  # its ports are free again

    run(main())


def test_clients_are_told_the_advertised_addresses() -> None:
    """Which leads nowhere here, but that is where they call."""

    async def main() -> None:
        async with desk(Rtc(advertise=("203.0.113.7", "198.51.100.1"))) as here:
            call, _ = await here.answer(await here.phone().offer())
            told = {line.split()[4] for line in call.answer.splitlines() if line.startswith("a=candidate:")}
            assert told == {"203.0.113.7", "198.51.100.1"}
            assert "c=IN IP4 203.0.113.7" in call.answer

    run(main())


def test_a_stun_server_is_asked_for_the_public_address() -> None:
    async def main() -> None:
        asked = asyncio.Event()

        class Stun(asyncio.DatagramProtocol):
            def datagram_received(self, data: bytes, address: Any) -> None:
                asked.set()

        loop = asyncio.get_running_loop()
        stun, _ = await loop.create_datagram_endpoint(Stun, ("0.0.0.0", 0))
        port = stun.get_extra_info("sockname")[1]
        async with desk(Rtc(stun_url=f"stun:127.0.0.1:{port}")) as here:
            answering = asyncio.create_task(here.answer(await here.phone().offer()))
            await asyncio.wait_for(asked.wait(), 30.0)
            answering.cancel()
            await asyncio.gather(answering, return_exceptions=True)
            await here.phones[0].until(lambda: here.sessions[0].closed)
        stun.close()

    run(main())


# ── The texts alone ───────────────────────────────────────────────────────────────────────────────────────────────

OFFER = "v=0\r\nm=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=fingerprint:sha-256 AA\r\n"


def candidates(*lines: str) -> list[str]:
    """Those of an offer that are tried."""
    offer = checked_offer(OFFER + "".join(f"a=candidate:{line}\r\n" for line in lines) + "a=end-of-candidates\r\n")
    assert "end-of-candidates" not in offer
    return [line.removeprefix("a=candidate:") for line in offer.splitlines() if line.startswith("a=candidate:")]


@pytest.mark.parametrize(
    "line",
    [
        "1 1 udp 2113937151 5c3f1f5c-1111.local 50000 typ host",
        "1 1 udp 2113937151 example.org 50000 typ host",
        "1 1 tcp 2113937151 192.0.2.9 9 typ host tcptype active",
        "1 2 udp 2113937151 192.0.2.9 50000 typ host",
        "1 1 udp 2113937151 192.0.2.9 0 typ host",
        "1 1 udp 2113937151 192.0.2.9 99999 typ host",
        "1 1 udp -7 192.0.2.9 50000 typ host",
        "1 1 udp x 192.0.2.9 50000 typ host",
        "1 1 udp",
        "",
    ],
)
def test_candidates_that_cannot_be_called_are_left_out(line: str) -> None:
    assert candidates(line, good := "2 1 UDP 5 192.0.2.9 50000 typ host generation 0") == [good]


def test_only_so_many_candidates_are_tried() -> None:
    assert len(candidates(*(f"1 1 udp 5 192.0.2.9 {port} typ host" for port in range(1_000, 1_500)))) == CANDIDATES


ANSWER = """v=0
m=audio 40000 UDP/TLS/RTP/SAVPF 111
c=IN IP4 10.0.0.7
a=rtpmap:111 opus/48000/2
a=candidate:1 1 udp 5 10.0.0.7 40000 typ host
a=candidate:2 1 udp 5 172.17.0.1 40001 typ host
a=candidate:3 1 udp 5 fd00::7 40002 typ host
a=candidate:4 1 udp 4 203.0.113.9 40003 typ srflx raddr 10.0.0.7 rport 40000
"""


def test_an_answer_asks_for_error_correction_and_is_else_as_it_was() -> None:
    answer = finished_answer(ANSWER, ())
    assert answer.replace("\r\n", "\n").replace("a=fmtp:111 minptime=10;useinbandfec=1\n", "") == ANSWER
    assert answer.index("a=rtpmap:111") < answer.index("a=fmtp:111")


def test_advertised_addresses_take_the_place_of_those_of_their_family_at_the_same_ports() -> None:
    answer = finished_answer(ANSWER, ("203.0.113.7", "2001:db8::7"))
    assert [line.split()[4:6] for line in answer.splitlines() if line.startswith("a=candidate:")] == [
        ["203.0.113.7", "40000"],
        ["203.0.113.7", "40001"],
        ["2001:db8::7", "40002"],
        ["203.0.113.9", "40003"],  # what a STUN server saw is nobody's wish
    ]
    assert "10.0.0.7 40000 typ host" not in answer


def test_own_addresses_of_a_family_without_an_advertised_one_are_not_told() -> None:
    assert "fd00::7" not in finished_answer(ANSWER, ("203.0.113.7",))
