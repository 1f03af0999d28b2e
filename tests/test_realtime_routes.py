"""The addresses of the Realtime API: OpenAI's own client through each of them, and what is said to those who are sent away."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from typing import Any

import httpx
import pytest
from openai import APIStatusError
from strict import STRICT
from websockets.asyncio.client import ClientConnection
from websockets.exceptions import InvalidStatus
from wire import BEARER, KEY, KEYED, ScriptedApp, ScriptedSession, client, ending, openai, server, talking

from duologue import protocols as p
from duologue.config import Config, Limits, Realtime
from duologue.transports.websocket import ERRORS_IN_A_ROW


async def event(socket: ClientConnection) -> dict[str, Any]:
    """The next one, checked as strictly as the strictest client does."""
    async with asyncio.timeout(30):
        message = await socket.recv()
    STRICT.validate_json(message)
    return dict(json.loads(message))


async def until(socket: ClientConnection, kind: str) -> list[dict[str, Any]]:
    """All events up to one of this type."""
    events = [await event(socket)]
    while events[-1]["type"] != kind:
        events.append(await event(socket))
    return events


# ── WebSocket ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_official_client_holds_a_typed_turn() -> None:
    async def main() -> None:
        async with server(talking()) as address, openai(address) as http:
            async with http.realtime.connect(model="gpt-realtime") as connection:
                await connection.conversation.item.create(
                    item={
                        "type": "message",
                        "role": "user",
                        "content": [{"type": "input_text", "text": "What is the capital of France?"}],
                    }
                )
                await connection.response.create()
                kinds, sound, said = [], 0, ""
                async with asyncio.timeout(20):
                    async for got in connection:
                        kinds.append(got.type)
                        if got.type == "response.output_audio.delta":
                            sound += len(got.delta)
                        if got.type == "response.output_audio_transcript.done":
                            said = got.transcript
                        if got.type == "response.done":
                            break
            assert kinds[0] == "session.created"
            assert said == "It is Paris."
            assert sound > 0

    asyncio.run(main())


@pytest.mark.parametrize(
    ("path", "headers", "model"),
    [
        ("/v1/realtime", {}, "gpt-realtime"),
        ("/v1/realtime?model=gpt-4o-realtime-preview-2024-12-17&foo=bar", {}, "gpt-4o-realtime-preview-2024-12-17"),
        ("/openai/realtime?api-version=2025-04-01-preview&deployment=mine", {"api-key": KEY}, "mine"),
        ("/openai/v1/realtime?model=duologue-packaged", {"api-key": KEY}, "duologue-packaged"),
    ],
)
def test_each_address_opens_a_session(path: str, headers: dict[str, str], model: str) -> None:
    async def main() -> None:
        shown = headers or BEARER
        async with (
            server(talking(), settings=KEYED) as address,
            client(address, path, additional_headers=shown) as socket,
        ):
            created = await event(socket)
            assert (created["type"], created["session"]["model"]) == ("session.created", model)
            assert socket.subprotocol is None

    asyncio.run(main())


def test_a_transcription_session_is_one_from_its_first_event() -> None:
    async def main() -> None:
        async with server(talking()) as address, client(address, "/v1/realtime?intent=transcription") as socket:
            created = await event(socket)
            assert created["session"]["object"] == "realtime.transcription_session"

    asyncio.run(main())


def test_a_browsers_client_shows_its_key_as_a_subprotocol() -> None:
    async def main() -> None:
        offered = ["realtime", f"openai-insecure-api-key.{KEY}", "openai-agents-sdk.0.20.0"]
        async with (
            server(talking(), settings=KEYED) as address,
            client(address, "/v1/realtime", subprotocols=offered, origin=f"http://{address}") as socket,
        ):
            assert socket.subprotocol == "realtime"
            assert (await event(socket))["type"] == "session.created"

    asyncio.run(main())


def test_a_socket_of_the_realtime_api_gets_sound_at_its_own_lead() -> None:
    async def main() -> None:
        for lead_s in (Realtime().lead_s, 0.5):
            app = ScriptedApp()
            config = replace(Config(), realtime=Realtime(lead_s=lead_s))
            async with server(app, config=config) as address, client(address, "/v1/realtime") as socket:
                await event(socket)
            async with server(app, config=config) as address, client(address, "/ws") as socket:
                await socket.recv()
            realtime, native = app.sessions
            assert realtime.choices["pacing"].lead_s == lead_s
            assert realtime.choices["turn_taking"] is not None
            assert native.choices == {"pacing": None, "turn_taking": None}

    asyncio.run(main())


def test_events_that_are_not_openais_come_only_when_they_are_asked_for() -> None:
    async def main() -> None:
        app = ScriptedApp()
        async with server(app) as address:
            for path, expected in (
                ("/v1/realtime", []),
                ("/v1/realtime?duologue=1", ["duologue.language", "duologue.emotion"]),
                ("/v1/realtime?duologue=emotion", ["duologue.emotion"]),
            ):
                async with client(address, path) as socket:
                    assert json.loads(await socket.recv())["type"] == "session.created"
                    app.sessions[-1].tell(p.UserSpeech(1, True, 0.0))
                    app.sessions[-1].tell(p.Heard(1, "Hola.", True, "es"))
                    app.sessions[-1].tell(p.Felt(1, "happy", 1.0, 0.9, ()))
                    app.sessions[-1].tell(p.MicrophoneCleared())
                    kinds = []
                    while "input_audio_buffer.cleared" not in kinds:
                        kinds.append(json.loads(await socket.recv())["type"])
                    assert [kind for kind in kinds if kind.startswith("duologue.")] == expected

    asyncio.run(main())


def test_events_that_there_are_not_are_refused_at_once() -> None:
    async def main() -> None:
        async with server(ScriptedApp()) as address, client(address, "/v1/realtime?duologue=moods") as socket:
            error = json.loads(await socket.recv())["error"]
            assert (error["code"], error["param"]) == ("invalid_value", "duologue")

    asyncio.run(main())


def test_no_number_of_unusable_events_ends_the_session() -> None:
    async def main() -> None:
        async with server(talking()) as address, client(address, "/v1/realtime") as socket:
            await event(socket)
            for number in range(3 * ERRORS_IN_A_ROW):
                await socket.send(b"binary" if number % 2 else '{"type":"nope","event_id":"mine"}')
                assert (await event(socket))["type"] == "error"
            await socket.send('{"type":"input_audio_buffer.clear"}')
            assert (await event(socket))["type"] == "input_audio_buffer.cleared"

    asyncio.run(main())


def test_an_interruption_overtakes_unsent_sound_and_nothing_else() -> None:
    async def speaks(session: ScriptedSession) -> None:
        session.tell(p.ReplyBegan(1, "", True, False))
        for index in range(300):
            session.tell(p.ReplyWord(1, index, "word ", False, True, 0, 0))
            session.tell(p.ReplyAudio(1, index, bytes(100_000), 24_000, 0.0, (), False))
        await asyncio.sleep(0.2)  # the network takes what it can
        session.tell(p.Interrupted(1, "word", 100.0))
        await asyncio.Event().wait()

    async def main() -> None:
        app = ScriptedApp(speaks)
        async with (
            server(app, Limits(outbox_bytes=100_000_000)) as address,
            client(address, "/v1/realtime", max_queue=1, close_timeout=0.1) as socket,
        ):
            await asyncio.sleep(0.5)
            kinds = [got["type"] for got in await until(socket, "response.done")]
        assert kinds.count("response.output_audio.delta") < 100
        assert kinds.count("response.output_audio_transcript.delta") == 300
        for kind in ("response.created", "response.output_item.added", "response.content_part.added"):
            assert kinds.count(kind) == kinds.count(kind.replace("created", "done").replace("added", "done")) == 1

    asyncio.run(main())


# ── Who is sent away ──────────────────────────────────────────────────────────────────────────────────────────────────


async def refusal(address: str, path: str = "/v1/realtime", **options: Any) -> tuple[str | None, int | None, str]:
    async with client(address, path, **options) as socket:
        refused = await event(socket)
        assert refused["type"] == "error"
        return refused["error"]["code"], *(await ending(socket))


def test_a_refusal_is_an_event_and_a_close_code() -> None:
    async def main() -> None:
        app = ScriptedApp()
        async with server(app, settings=KEYED) as address:
            assert await refusal(address) == (None, 3000, "invalid_request_error")
            wrong = {"Authorization": "Bearer wrong"}
            invalid = ("invalid_api_key", 3000, "invalid_request_error.invalid_api_key")
            assert await refusal(address, additional_headers=wrong) == invalid
            assert await refusal(address, additional_headers={"api-key": "ek_unknown"}) == invalid
            beta = ("beta_api_shape_disabled", 4000, "invalid_request_error.beta_api_shape_disabled")
            assert await refusal(address, additional_headers=BEARER | {"OpenAI-Beta": "realtime=v1"}) == beta
            model = ("invalid_model", 4000, "invalid_request_error.invalid_model")
            assert await refusal(address, "/v1/realtime?model=gpt-9", additional_headers=BEARER) == model
            app.places = 0
            assert await refusal(address, additional_headers=BEARER) == ("server_full", 1013, "server_full")
        assert app.sessions == []

    asyncio.run(main())


def test_a_session_that_lasted_as_long_as_one_may_is_told_so() -> None:
    async def main() -> None:
        app = talking(Config(limits=Limits(session_s=0.2)))
        async with server(app) as address, client(address, "/v1/realtime") as socket:
            created = await event(socket)
            assert created["session"]["expires_at"] > 0
            assert (await event(socket))["error"]["code"] == "session_expired"
            assert await ending(socket) == (1000, "session_over")

    asyncio.run(main())


def test_a_page_of_another_site_and_an_unknown_call_get_no_socket() -> None:
    async def main() -> None:
        async with server(ScriptedApp()) as address:
            for path, origin, status, code in (
                ("/v1/realtime", "https://evil.example", 403, "cross_origin"),
                ("/v1/realtime?call_id=rtc_none", None, 404, "unknown_call"),
            ):
                with pytest.raises(InvalidStatus) as refused:
                    await client(address, path, origin=origin)
                assert refused.value.response.status_code == status
                assert json.loads(refused.value.response.body)["error"]["code"] == code

    asyncio.run(main())


# ── Client secrets ────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_secret_opens_the_session_that_it_was_made_for() -> None:
    async def main() -> None:
        async with server(talking(), settings=KEYED) as address, openai(address, KEY) as http:
            made = await http.realtime.client_secrets.create(
                expires_after={"anchor": "created_at", "seconds": 60},
                session={"type": "realtime", "instructions": "Be brief.", "audio": {"output": {"speed": 1.25}}},
            )
            assert made.value.startswith("ek_")
            shown = made.session.model_dump()
            assert (shown["instructions"], shown["audio"]["output"]["speed"]) == ("Be brief.", 1.25)
            assert shown["id"].startswith("sess_")
            async with openai(address, made.value) as browser:
                async with browser.realtime.connect(model="gpt-realtime") as connection:
                    created = await connection.recv()
                    assert created.type == "session.created"
                    assert created.session.model_dump()["instructions"] == "Be brief."
                for forbidden in (browser.models.list(), browser.realtime.client_secrets.create()):
                    with pytest.raises(APIStatusError) as refused:
                        await forbidden
                    assert (refused.value.status_code, refused.value.code) == (401, "invalid_api_key")

    asyncio.run(main())


def test_a_transcription_secret_opens_a_transcription_session() -> None:
    async def main() -> None:
        async with server(talking()) as address, openai(address) as http:
            made = await http.realtime.client_secrets.create(session={"type": "transcription"})
            async with client(address, "/v1/realtime", additional_headers={"api-key": made.value}) as socket:
                assert (await event(socket))["session"]["type"] == "transcription"

    asyncio.run(main())


@pytest.mark.parametrize(
    ("body", "status", "code", "param"),
    [
        ("{", 400, "bad_json", None),
        ("[]", 400, "not_an_object", None),
        (b"\xff", 400, "bad_json", None),
        ('{"session":7}', 400, "invalid_type", "session"),
        ('{"session":{"type":"realtime","model":"gpt-9"}}', 400, "invalid_model", "model"),
        ('{"session":{"type":"realtime","bogus":1}}', 400, "unknown_parameter", "session.bogus"),
        ('{"expires_after":60}', 400, "invalid_type", "expires_after"),
        ('{"expires_after":{"anchor":"created_at","seconds":1}}', 400, "invalid_value", "expires_after.seconds"),
        ('{"expires_after":{"anchor":"created_at","seconds":true}}', 400, "invalid_value", "expires_after.seconds"),
        ('{"session":"' + "x" * 300_000 + '"}', 413, "too_large", None),
    ],
)
def test_a_secret_for_nonsense_is_refused(body: str | bytes, status: int, code: str, param: str | None) -> None:
    async def main() -> None:
        async with server(ScriptedApp()) as address, httpx.AsyncClient() as http:
            answer = await http.post(f"http://{address}/v1/realtime/client_secrets", content=body)
            error = answer.json()["error"]
            assert (answer.status_code, error["code"], error["param"]) == (status, code, param)
            assert (await http.post(f"http://{address}/v1/realtime/client_secrets")).status_code == 200

    asyncio.run(main())
