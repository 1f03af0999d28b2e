"""Calls over HTTP: offers in every shape, sidebands, keys for a browser; the page's own road, and sessions that change roads."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
from openai import APIStatusError
from strict import STRICT
from wire import KEY, KEYED, ScriptedApp, client, ending, openai, server, talking


@asynccontextmanager
async def phones(label: str = "oai-events") -> AsyncIterator[Callable[[], Any]]:
    phone = pytest.importorskip("phone", reason="needs duologue[webrtc]").Phone
    made: list[Any] = []

    def ring() -> Any:
        made.append(phone(label))
        return made[-1]

    try:
        yield ring
    finally:
        for each in made:
            await each.hang_up()


def events(phone: Any) -> list[dict[str, Any]]:
    return [json.loads(message) for message in phone.messages]


def types(phone: Any) -> list[str]:
    return [got["type"] for got in events(phone)]


async def post(address: str, offer: str, shape: str, session: dict[str, Any]) -> httpx.Response:
    url = f"http://{address}/v1/realtime/calls"
    async with httpx.AsyncClient() as http:
        if shape == "plain":
            return await http.post(url, content=offer, headers={"Content-Type": "application/sdp"})
        if shape == "fields":  # as a browser's FormData sends text
            return await http.post(url, files={"sdp": (None, offer), "session": (None, json.dumps(session))})
        return await http.post(url, files={"sdp": ("a.sdp", offer), "session": ("s.json", json.dumps(session))})


@pytest.mark.parametrize("shape", ["plain", "fields", "files"])
def test_an_offer_is_answered_in_each_shape_in_which_clients_send_it(shape: str) -> None:
    async def main() -> None:
        session = {"type": "realtime", "instructions": "Be brief."}
        async with server(talking()) as address, phones() as ring:
            phone = ring()
            answer = await post(address, await phone.offer(), shape, session)
            assert answer.status_code == 201
            assert answer.headers["location"].startswith("/v1/realtime/calls/rtc_")
            await phone.accept(answer.text)
            await phone.until(lambda: phone.messages)
            created = STRICT.validate_json(phone.messages[0])
            assert created.type == "session.created"
            assert (created.session.instructions == "Be brief.") is (shape != "plain")

    asyncio.run(main())


def test_the_official_client_opens_a_call_and_joins_it_by_its_id() -> None:
    async def main() -> None:
        async with server(talking(), settings=KEYED) as address, phones() as ring, openai(address, KEY) as http:
            phone = ring()
            answer = await http.realtime.calls.create(sdp=await phone.offer(), session={"type": "realtime"})
            call_id = answer.response.headers["location"].rpartition("/")[2]
            await phone.accept(answer.text)
            await phone.until(lambda: "session.created" in types(phone))
            async with http.realtime.connect(call_id=call_id) as sideband:
                await sideband.session.update(session={"type": "realtime", "instructions": "Be kind."})
                updated = await sideband.recv()
                assert updated.type == "session.updated"
                await phone.until(lambda: "session.updated" in types(phone))
                await sideband.send({"type": "nope"})  # type: ignore[arg-type]
                assert (await sideband.recv()).type == "error"
                assert "error" not in types(phone)
                await http.realtime.calls.hangup(call_id)
                await phone.until(lambda: phone.state == "closed")
            with pytest.raises(APIStatusError) as refused:
                await http.realtime.calls.hangup(call_id)
            assert refused.value.status_code == 404

    asyncio.run(main())


def test_a_sideband_ends_with_its_call() -> None:
    async def main() -> None:
        async with server(talking()) as address, phones() as ring:
            phone = ring()
            answer = await post(address, await phone.offer(), "plain", {})
            await phone.accept(answer.text)
            call_id = answer.headers["location"].rpartition("/")[2]
            await phone.until(lambda: phone.messages)
            async with client(address, f"/v1/realtime?call_id={call_id}") as sideband:
                async with httpx.AsyncClient() as http:
                    await http.post(f"http://{address}/v1/realtime/calls/{call_id}/hangup")
                assert await ending(sideband) == (1000, "hung_up")

    asyncio.run(main())


def test_an_ephemeral_key_opens_its_call() -> None:
    async def main() -> None:
        async with server(talking(), settings=KEYED) as address, phones() as ring, openai(address, KEY) as http:
            made = await http.realtime.client_secrets.create(session={"type": "realtime", "instructions": "Be brief."})
            phone = ring()
            async with httpx.AsyncClient() as browser:
                answer = await browser.post(
                    f"http://{address}/v1/realtime/calls",
                    content=await phone.offer(),
                    headers={"Content-Type": "application/sdp", "Authorization": f"Bearer {made.value}"},
                )
            await phone.accept(answer.text)
            await phone.until(lambda: phone.messages)
            assert events(phone)[0]["session"]["instructions"] == "Be brief."

    asyncio.run(main())


def test_a_configuration_that_only_the_session_can_refuse_is_refused_on_the_channel() -> None:
    async def main() -> None:
        session = {"type": "realtime", "audio": {"output": {"voice": "nobody"}}}
        async with server(talking()) as address, phones() as ring:
            phone = ring()
            answer = await post(address, await phone.offer(), "fields", session)
            await phone.accept(answer.text)
            await phone.until(lambda: "error" in types(phone))

    asyncio.run(main())


@pytest.mark.parametrize(
    ("body", "headers", "code"),
    [
        (b"", {}, "bad_sdp"),
        (b"not SDP", {"Content-Type": "application/sdp"}, "bad_sdp"),
        (b"\xff\xfe", {"Content-Type": "application/sdp"}, "bad_sdp"),
        (b"v=0\r\n" * 60_000, {"Content-Type": "application/sdp"}, "too_large"),
        (b"no form", {"Content-Type": "multipart/form-data"}, "bad_form"),
        (b"--x--\r\n", {"Content-Type": "multipart/form-data; boundary=x"}, "bad_form"),
        (
            b'--x\r\nContent-Disposition: form-data; name="sdp"\r\n\r\nv=0\r\n--x\r\n'
            b'Content-Disposition: form-data; name="session"\r\n\r\n{\r\n--x--\r\n',
            {"Content-Type": "multipart/form-data; boundary=x"},
            "bad_json",
        ),
    ],
)
def test_what_is_no_offer_is_refused(body: bytes, headers: dict[str, str], code: str) -> None:
    async def main() -> None:
        app = ScriptedApp()
        async with server(app) as address, httpx.AsyncClient() as http:
            answer = await http.post(f"http://{address}/v1/realtime/calls", content=body, headers=headers)
            assert answer.json()["error"]["code"] == code
        assert app.sessions == []

    asyncio.run(main())


@pytest.mark.parametrize("path", ["/v1/realtime/calls", "/rtc"])
def test_an_offer_that_cannot_be_answered_keeps_no_place(path: str) -> None:
    """It looks like one: only aiortc finds that there is no codec for both."""

    async def main() -> None:
        app = ScriptedApp()
        async with server(app) as address, phones() as ring, httpx.AsyncClient() as http:
            offer = (await ring().offer()).replace("opus/48000", "G729/8000")
            answer = await http.post(f"http://{address}{path}", content=offer)
            assert answer.status_code == 400
            assert "bad_sdp" in answer.text
            async with asyncio.timeout(30):
                await app.sessions[0].closed.wait()

    asyncio.run(main())


def test_a_server_without_webrtc_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        app = ScriptedApp()
        async with server(app) as address, phones() as ring, httpx.AsyncClient() as http:
            offer = await ring().offer()
            monkeypatch.setitem(sys.modules, "aiortc", None)
            monkeypatch.delitem(sys.modules, "duologue.transports.rtc_peer", raising=False)
            for path in ("/v1/realtime/calls", "/rtc"):
                answer = await http.post(f"http://{address}{path}", content=offer)
                assert answer.status_code == 501
                assert "webrtc_not_installed" in answer.text
        assert app.sessions == []

    asyncio.run(main())


# ── The page's own road ───────────────────────────────────────────────────────────────────────────────────────────────


def test_who_came_back_in_vain_may_come_back_by_another_road() -> None:
    async def main() -> None:
        async with server(talking()) as address, phones("duologue") as ring, httpx.AsyncClient() as http:
            offer = (await ring().offer()).replace("opus/48000", "G729/8000")
            async with client(address, "/ws") as socket:
                token = json.loads(await socket.recv())["resume"]
                answer = await http.post(f"http://{address}/rtc?resume={token}", content=offer)
                assert answer.json()["code"] == "bad_sdp"
            async with client(address, f"/ws?resume={token}") as socket:
                assert json.loads(await socket.recv())["resumed"]

    asyncio.run(main())


def test_the_native_protocol_goes_over_webrtc_and_a_session_may_change_roads() -> None:
    async def main() -> None:
        async with server(talking()) as address, phones("duologue") as ring, httpx.AsyncClient() as http:
            first = ring()
            answer = await http.post(f"http://{address}/rtc", content=await first.offer())
            assert answer.status_code == 201
            await first.accept(answer.text)
            await first.until(lambda: first.messages)
            ready = events(first)[0]
            assert (ready["type"], ready["resumed"]) == ("ready", False)
            first.send('{"type":"text","text":"Hello."}')
            await first.until(lambda: "reply_done" in types(first))
            chunks = [got for got in events(first) if got["type"] == "audio_chunk"]
            assert chunks
            assert all(chunk["bytes"] == 0 for chunk in chunks)
            async with client(address, f"/ws?resume={ready['resume']}&input_rate=48000") as socket:
                back = json.loads(await socket.recv())
                assert back["resumed"]
                assert [turn["content"] for turn in back["turns"]] == ["Hello.", "It is Paris."]
                await first.until(lambda: first.state == "closed")
                second = ring()
                answer = await http.post(f"http://{address}/rtc?resume={ready['resume']}", content=await second.offer())
                await second.accept(answer.text)
                await second.until(lambda: "settings" in types(second))
                assert events(second)[0]["resumed"]
                assert events(second)[-1]["settings"]["input_rate"] == 16_000
                assert (await ending(socket))[1] == "taken_over"
            hung_up = await http.post(f"http://{address}{answer.headers['location']}/hangup")
            assert hung_up.status_code == 200
            await second.until(lambda: second.state == "closed")
            async with client(address, f"/ws?resume={ready['resume']}") as socket:
                assert not json.loads(await socket.recv())["resumed"]

    asyncio.run(main())
