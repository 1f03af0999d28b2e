"""Calls over real peer connections on this machine: messages, and how every call ends with nothing left."""

from __future__ import annotations

import asyncio
import gc
import json
import sys
import weakref

import aioice.ice
import pytest
from desk import Plain, Scripted, desk, ids, run, types

from duologue.config import Limits, Rtc
from duologue.errors import ClientError, ConfigError
from duologue.protocols import (
    Command,
    Configure,
    Cursor,
    Heard,
    Type,
)
from duologue.transports import Tell
from duologue.transports.webrtc import Call, Calls


def test_messages_go_both_ways_in_order_and_wait_for_the_channel() -> None:
    async def main() -> None:
        async with desk() as here:
            phone, _call, session = await here.ring()
            for number in range(50):
                session.tell(Heard(number, "so", False, "en"))
                phone.send(f"type {number}")
            await phone.until(lambda: len(phone.messages) == 51 and len(session.of(Type)) == 50)
            assert [json.loads(message).get("turn") for message in phone.messages] == [None, *range(50)]
            assert types(phone)[0] == "Ready"
            assert session.of(Type) == [Type(str(number)) for number in range(50)]

    run(main())


def test_what_cannot_be_used_is_refused_and_the_call_goes_on() -> None:
    async def main() -> None:
        async with desk() as here:
            phone, _call, session = await here.ring()
            phone.send("nonsense")
            phone.send("type hello")
            await phone.until(lambda: session.of(Type) and len(phone.messages) == 2)
            assert json.loads(phone.messages[1]) == {"type": "Refused", "code": "unknown_message"}

    run(main())


def test_who_speaks_another_protocol_is_sent_away() -> None:
    async def main() -> None:
        async with desk() as here:
            phone, call, _session = await here.ring(patience=5)
            for message in ("nonsense", "type hello", *["nonsense"] * 4):
                phone.send(message)
            await phone.until(lambda: len(phone.messages) == 6)
            assert not call.over.is_set()
            phone.send("nonsense")
            await call.over.wait()
            assert call.reason == "too_many_errors"

    run(main())


def test_sound_and_positions_and_rates_are_the_transports_own() -> None:
    async def main() -> None:
        async with desk() as here:
            phone, _call, session = await here.ring()
            phone.send(b"sound in a message")
            phone.send("cursor")
            phone.send("set joe")
            await phone.until(lambda: session.of(Configure) and len(phone.messages) == 2)
            assert json.loads(phone.messages[1])["code"] == "unexpected_audio"
            assert session.of(Configure) == [Configure({"voice": "joe"})]
            assert not session.of(Cursor)

    run(main())


def test_a_message_too_long_for_the_channel_is_replaced_by_saying_so() -> None:
    async def main() -> None:
        async with desk() as here:
            phone, _call, session = await here.ring()
            session.tell(Heard(1, "x" * 300_000, True, "en"))
            await phone.until(lambda: len(phone.messages) == 2)
            assert json.loads(phone.messages[1])["code"] == "message_too_long"

    run(main())


def test_a_client_that_takes_no_messages_is_disconnected() -> None:
    async def main() -> None:
        async with desk(limits=Limits(outbox_bytes=10_000)) as here:
            phone = here.phone(label="another")
            call, session = await here.answer(await phone.offer())
            await phone.accept(call.answer)
            await phone.until(lambda: phone.open)
            for number in range(20):
                session.tell(Heard(number, "x" * 1_000, False, "en"))
            await call.over.wait()
            assert call.reason == "client_too_slow"

    run(main())


def test_a_sideband_hears_all_and_may_speak_and_its_errors_are_its_own() -> None:
    async def main() -> None:
        async with desk() as here:
            phone, call, session = await here.ring()
            heard: list[str | bytes] = []
            refused: list[str | bytes] = []
            detach = here.calls.find(call.id).attach(heard.append)
            assert call.receive("type from beside", refused.extend)
            assert not call.receive("nonsense", refused.extend)
            session.tell(Heard(1, "one", True, "en"))
            await phone.until(lambda: len(phone.messages) == 2)
            detach()
            detach()
            session.tell(Heard(2, "two", True, "en"))
            await phone.until(lambda: len(phone.messages) == 3)
            assert session.of(Type) == [Type("from beside")]
            assert [json.loads(message)["code"] for message in refused] == ["unknown_message"]
            assert heard == phone.messages[1:2]

    run(main())


# ── How calls end ─────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_client_that_hangs_up_ends_the_session() -> None:
    async def main() -> None:
        async with desk() as here:
            phone, call, session = await here.ring()
            here.phones.remove(phone)
            await phone.hang_up()
            await call.over.wait()
            assert (call.reason, session.closed) == ("client_gone", True)
            with pytest.raises(ClientError) as error:
                here.calls.find(call.id)
            assert error.value.code == "unknown_call"

    run(main())


def test_of_a_call_that_is_over_nothing_is_kept() -> None:
    async def main() -> None:
        async with desk() as here:

            async def ring() -> weakref.ref[Call]:
                phone, call, _session = await here.ring()
                here.phones.remove(phone)
                await phone.hang_up()
                await call.over.wait()
                here.sessions.clear()
                return weakref.ref(call)

            gone = await ring()
            await asyncio.sleep(0.05)
            gc.collect()
            assert gone() is None

    run(main())


def test_a_closed_data_channel_ends_the_call() -> None:
    async def main() -> None:
        async with desk() as here:
            phone, call, _session = await here.ring()
            phone._thread.call(phone.channel.close)
            await call.over.wait()
            assert call.reason == "client_gone"

    run(main())


def test_a_client_that_vanishes_is_noticed_by_its_lost_consent(monkeypatch: pytest.MonkeyPatch) -> None:
    """Six unanswered questions, 5 s apart (RFC 7675); here less than that."""

    async def main() -> None:
        async with desk() as here:
            phone, call, _session = await here.ring()
            await phone.vanish()
            await call.over.wait()
            assert call.reason == "client_gone"

    monkeypatch.setattr(aioice.ice, "CONSENT_INTERVAL", 0.2)
    monkeypatch.setattr(aioice.ice, "CONSENT_FAILURES", 2)
    run(main())


def test_a_client_that_never_connects_is_dropped() -> None:
    async def main() -> None:
        async with desk(Rtc(connect_s=0.3)) as here:
            call, session = await here.answer(await here.phone().offer())
            await call.over.wait()
            assert (call.reason, session.closed) == ("never_connected", True)

    run(main())


def test_a_session_that_is_over_says_its_last_words_and_closes_the_call() -> None:
    async def farewell(session: Scripted) -> None:
        await session.asked.wait()
        for number in range(200):
            session.tell(Heard(number, "bye " * 50, True, "en"))

    async def main() -> None:
        async with desk() as here:
            phone, call, _session = await here.ring(farewell)
            phone.send("type go")
            await call.over.wait()
            assert call.reason == "session_over"
            await phone.until(lambda: phone.state == "closed")
            assert len(phone.messages) == 201

    run(main())


def test_a_session_that_breaks_is_said_to_and_closed(caplog: pytest.LogCaptureFixture) -> None:
    async def breaks(session: Scripted) -> None:
        await session.asked.wait()
        raise ZeroDivisionError

    async def main() -> None:
        async with desk() as here:
            phone, call, _session = await here.ring(breaks)
            phone.send("type go")
            await call.over.wait()
            assert call.reason == "internal_error"
            assert json.loads(phone.messages[-1]) == {"type": "Failure", "turn": None, "code": "internal_error"}

    run(main())
    assert "ZeroDivisionError" in caplog.text


def test_a_command_that_breaks_ends_its_call_and_no_other(caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        async with desk() as here:
            _phone, call, session = await here.ring()
            other_phone, _other, other_session = await here.ring()

            def breaks(command: Command) -> None:
                raise ZeroDivisionError

            session.command = breaks  # type: ignore[method-assign]
            await call.over.wait()
            assert call.reason == "internal_error"
            other_phone.send("type hello")
            await other_phone.until(lambda: other_session.of(Type))

    run(main())
    assert "ZeroDivisionError" in caplog.text


def test_a_call_can_be_hung_up_by_its_id() -> None:
    async def main() -> None:
        async with desk() as here:
            phone, call, _session = await here.ring()
            here.calls.hangup(call.id)
            await call.over.wait()
            assert call.reason == "hung_up"
            await phone.until(lambda: phone.state == "closed")
            with pytest.raises(ClientError) as error:
                here.calls.hangup(call.id)
            assert error.value.code == "unknown_call"

    run(main())


def test_a_server_that_stops_ends_all_calls() -> None:
    async def main() -> None:
        async with desk() as here:
            calls = [(await here.ring())[1] for _ in range(3)]
            await here.calls.close()
            assert [call.reason for call in calls] == ["server_stops"] * 3
            assert all(call.over.is_set() for call in calls)

    run(main())


def test_a_full_server_says_so_and_opens_nothing() -> None:
    def full(tell: Tell) -> Scripted:
        raise ClientError("server_full", "all places are taken")

    async def main() -> None:
        async with desk() as here:
            with pytest.raises(ClientError, match="all places"):
                await here.calls.answer(await here.phone().offer(), full, Plain(), "duologue")

    run(main())


def test_a_server_without_aiortc_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        async with desk() as here:
            offer = await here.phone().offer()
            monkeypatch.setitem(sys.modules, "aiortc", None)
            monkeypatch.delitem(sys.modules, "duologue.transports.rtc_peer")
            with pytest.raises(ClientError) as error:
                await here.answer(offer)
            assert error.value.code == "webrtc_not_installed"

    run(main())


@pytest.mark.parametrize(
    ("setting", "name"),
    [
        (Rtc(udp_ports="40000"), "udp_ports"),
        (Rtc(advertise=("example.org",)), "advertise"),
        (Rtc(stun_url="stun.example"), "stun_url"),
        (Rtc(stun_url="turn:turn.example"), "stun_url"),
        (Rtc(turn_url="turns:turn.example?transport=udp"), "turn_url"),
    ],
)
def test_settings_that_cannot_work_are_said_before_anyone_calls(setting: Rtc, name: str) -> None:
    with pytest.raises(ConfigError, match=name) as error:
        Calls(setting, Limits(), ids())
    assert error.value.code == "bad_setting"


def test_settings_that_can_work_are_taken() -> None:
    Calls(
        Rtc("40000-40009", ("203.0.113.7", "2001:db8::7"), "stun:s.example", "turn:t.example:3478?transport=tcp"),
        Limits(),
        ids(),
    )
    Calls(Rtc(turn_url="turns:t.example"), Limits(), ids())
