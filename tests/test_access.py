"""Who may come in: keys wherever clients put them, secrets made of keys, pages of other sites; what the refused are told."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.datastructures import Headers
from websockets.exceptions import InvalidStatus
from wire import BEARER, KEY, KEYED, ScriptedApp, client, countable, ending, receive, server

from duologue.config import Server
from duologue.errors import ClientError, ConfigError
from duologue.transports.access import MOST_SECRETS, Access, Grant, chosen, presented

OTHER = KEYED.keys[1]


def access(server: Server = KEYED) -> Access:
    return Access(server, countable())


def code_of(
    refusing: Access, headers: dict[str, str], subprotocols: Sequence[str] = (), *, ephemeral: bool = False
) -> str:
    with pytest.raises(ClientError) as refused:
        refusing.enter(Headers(headers), subprotocols, ephemeral=ephemeral)
    return refused.value.code


# ── Keys ──────────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("headers", "subprotocols"),
    [
        ({"authorization": f"Bearer {KEY}"}, []),
        ({"authorization": f"bearer  {OTHER} "}, []),
        ({"api-key": KEY}, []),
        ({}, ["realtime", f"openai-insecure-api-key.{KEY}"]),
        ({}, ["duologue", f"duologue-key.{KEY}"]),
    ],
)
def test_a_key_is_found_wherever_clients_put_it(headers: dict[str, str], subprotocols: list[str]) -> None:
    assert access().enter(Headers(headers), subprotocols) == Grant()


@pytest.mark.parametrize(
    ("headers", "code"),
    [
        ({}, "missing_api_key"),
        ({"authorization": f"Basic {KEY}"}, "missing_api_key"),
        ({"authorization": "Bearer "}, "missing_api_key"),
        ({"authorization": f"Bearer {KEY[:-1]}"}, "invalid_api_key"),
        ({"authorization": f"Bearer {KEY}x"}, "invalid_api_key"),
        ({"authorization": f"Bearer {KEY.upper()}"}, "invalid_api_key"),
        ({"api-key": "schlüssel"}, "invalid_api_key"),
    ],
)
def test_without_a_key_or_with_another_nobody_comes_in(headers: dict[str, str], code: str) -> None:
    assert code_of(access(), headers) == code


def test_where_no_key_is_set_any_will_do() -> None:
    open_to_all = access(Server())
    assert open_to_all.enter(Headers({})) == Grant()
    assert open_to_all.enter(Headers({"authorization": "Bearer sk-local"})) == Grant()


def test_keys_may_stand_in_a_file(tmp_path: Path) -> None:
    file = tmp_path / "keys"
    file.write_text(f"# ours\n\n{KEY}  # the phone\n{OTHER}\n", encoding="utf-8")
    both = access(Server(keys_file=str(file)))
    for key in (KEY, OTHER):
        assert both.enter(Headers({"api-key": key})) == Grant()
    assert code_of(both, {"api-key": "# ours"}) == "invalid_api_key"


@pytest.mark.parametrize(
    ("settings", "code"),
    [
        (Server(keys=("too-short",)), "bad_key"),
        (Server(keys=("it has spaces in it",)), "bad_key"),
        (Server(keys=("ek_looks-like-a-secret",)), "bad_key"),
        (Server(keys=("schlüssel-mit-umlaut",)), "bad_key"),
        (Server(keys_file="/nowhere/keys"), "keys_unreadable"),
        (Server(keys_file="/dev/null"), "keys_unreadable"),
        (Server(origins=("app.example",)), "bad_origin"),
        (Server(origins=("https://app.example/page",)), "bad_origin"),
        (Server(origins=("https://[",)), "bad_origin"),
    ],
)
def test_settings_that_would_let_nobody_or_anybody_in_are_refused(settings: Server, code: str) -> None:
    with pytest.raises(ConfigError) as refused:
        access(settings)
    assert refused.value.code == code
    assert not any(key in refused.value.message for key in settings.keys)


# ── Secrets ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_secret_opens_sessions_of_its_configuration_and_nothing_else() -> None:
    issuing = access()
    secret = issuing.issue({"type": "realtime", "instructions": "Be brief."}, 600)
    assert secret.value.startswith("ek_")
    headers = {"authorization": f"Bearer {secret.value}"}
    granted = issuing.enter(Headers(headers), ephemeral=True)
    assert granted == Grant({"type": "realtime", "instructions": "Be brief."}, ephemeral=True)
    assert code_of(issuing, headers) == "invalid_api_key"
    assert code_of(issuing, {"api-key": "ek_unknown"}, ephemeral=True) == "invalid_api_key"
    assert code_of(access(Server()), {"api-key": "ek_unknown"}, ephemeral=True) == "invalid_api_key"


def test_a_secret_expires() -> None:
    issuing = access()
    gone = issuing.issue(None, 0)
    assert code_of(issuing, {"api-key": gone.value}, ephemeral=True) == "invalid_api_key"


def test_no_secret_is_given_twice_and_the_oldest_of_too_many_is_forgotten() -> None:
    issuing = access()
    secrets = [issuing.issue(None, 600) for _ in range(MOST_SECRETS + 1)]
    assert len({secret.value for secret in secrets}) == MOST_SECRETS + 1
    assert code_of(issuing, {"api-key": secrets[0].value}, ephemeral=True) == "invalid_api_key"
    assert issuing.enter(Headers({"api-key": secrets[1].value}), ephemeral=True).ephemeral


# ── Subprotocols ──────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("offered", "answer"),
    [
        ([], None),
        (["chat"], None),
        (["openai-insecure-api-key.K", "realtime", "openai-project.P"], "realtime"),
        (["duologue-key.K", "duologue"], "duologue"),
        (["duologue-key.K"], "duologue-key.K"),
    ],
)
def test_the_subprotocol_that_is_chosen_shows_no_key_if_it_can_be_helped(
    offered: list[str], answer: str | None
) -> None:
    assert chosen(offered) == answer


def test_the_header_goes_before_the_subprotocol() -> None:
    assert presented(Headers({"api-key": "A"}), ["duologue-key.B"]) == "A"


# ── Pages ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("origin", "host", "allowed"),
    [
        (None, "voice.example", True),
        ("https://voice.example", "voice.example", True),
        ("https://voice.example:8443", "voice.example:8443", True),
        ("http://localhost:5173", "voice.example", True),
        ("http://[::1]:5173", "voice.example", True),
        ("http://192.168.0.7:8080", "192.168.0.7:8080", True),
        ("http://voice.example", "voice.example", False),  # its owner may have pointed it at this machine
        ("https://voice.example.evil", "voice.example", False),
        ("https://voice.example:1", "voice.example", False),
        ("http://localhost.evil", "localhost", False),
        ("http://localhost@evil.example", "voice.example", False),
        ("null", "voice.example", False),
        ("", "", False),
        ("http://[", "[", False),
    ],
)
def test_which_pages_may_connect(origin: str | None, host: str, allowed: bool) -> None:
    assert access(Server()).allows(origin, host) is allowed


def test_where_a_key_is_asked_for_our_page_may_come_over_http_by_name() -> None:
    assert access().allows("http://voice.example", "voice.example")
    assert not access().allows("http://evil.example", "voice.example")


def test_other_pages_may_be_named() -> None:
    named = access(Server(origins=("https://App.example", "http://lan:3000")))
    assert named.allows("https://app.example", "voice.example")
    assert named.allows("http://lan:3000", "voice.example")
    assert not named.allows("https://app.example:444", "voice.example")
    assert access(Server(origins=("*",))).allows("null", "voice.example")


# ── What the refused are told ─────────────────────────────────────────────────────────────────────────────────────────


async def refusal(address: str, path: str, **options: Any) -> tuple[str, int | None, str]:
    async with client(address, path, **options) as socket:
        return (await receive(socket))["code"], *(await ending(socket))


@pytest.mark.parametrize("path", ["/ws", "/ws/tts"])
def test_a_native_client_without_the_key_is_told_so_and_sent_away(path: str) -> None:
    async def main() -> None:
        app = ScriptedApp()
        async with server(app, settings=KEYED) as address:
            assert await refusal(address, path) == ("missing_api_key", 3000, "missing_api_key")
            wrong = {"Authorization": "Bearer wrong"}
            assert await refusal(address, path, additional_headers=wrong) == (
                "invalid_api_key",
                3000,
                "invalid_api_key",
            )
        assert app.sessions == []

    asyncio.run(main())


def test_a_page_shows_its_key_as_a_subprotocol() -> None:
    async def main() -> None:
        async with server(ScriptedApp(), settings=KEYED) as address:
            offered = ["duologue", f"duologue-key.{KEY}"]
            async with client(address, subprotocols=offered, origin=f"http://{address}") as socket:
                assert (await receive(socket))["type"] == "ready"
                assert socket.subprotocol == "duologue"

    asyncio.run(main())


def test_http_asks_for_the_key_wherever_something_is_done() -> None:
    async def main() -> None:
        async with (
            server(ScriptedApp(), settings=KEYED) as address,
            httpx.AsyncClient(base_url=f"http://{address}") as http,
        ):
            for path in ("/", "/healthz", "/readyz"):
                assert (await http.get(path)).status_code == 200
            for path in ("/v1/models", "/v1/nothing", "/metrics"):
                assert (await http.get(path)).status_code == 401
            refused = (await http.get("/v1/models", headers={"Authorization": "Bearer wrong"})).json()
            assert refused["error"] == {
                "message": "the key is none of this server's",
                "type": "invalid_request_error",
                "param": None,
                "code": "invalid_api_key",
            }
            assert (await http.post("/rtc")).json()["code"] == "missing_api_key"
            assert (await http.get("/v1/models", headers=BEARER)).status_code == 200
            missing = await http.get("/v1/nothing", headers=BEARER)
            assert (missing.status_code, missing.json()["error"]["code"]) == (404, "not_found")

    asyncio.run(main())


def test_pages_that_are_allowed_may_ask_and_read_and_others_may_not() -> None:
    async def main() -> None:
        settings = replace(KEYED, origins=("https://app.example",))
        asks = {
            "Origin": "https://app.example",
            "Access-Control-Request-Method": "POST",
            "Access-Control-Request-Headers": "authorization,x-openai-agents-sdk",
        }
        async with (
            server(ScriptedApp(), settings=settings) as address,
            httpx.AsyncClient(base_url=f"http://{address}") as http,
        ):
            preflight = await http.options("/v1/realtime/calls", headers=asks)
            assert preflight.status_code == 204
            assert preflight.headers["access-control-allow-origin"] == "https://app.example"
            assert preflight.headers["access-control-allow-headers"] == "authorization,x-openai-agents-sdk"
            answer = await http.get("/v1/models", headers=BEARER | {"Origin": "https://app.example"})
            assert answer.headers["access-control-allow-origin"] == "https://app.example"
            assert "Location" in answer.headers["access-control-expose-headers"]
            unread = await http.get("/v1/models", headers={"Origin": "https://app.example"})
            assert (unread.status_code, unread.headers["access-control-allow-origin"]) == (401, "https://app.example")
            for request in (http.options, http.get):
                evil = await request("/v1/models", headers=BEARER | {"Origin": "https://evil.example"})
                assert (evil.status_code, evil.json()["error"]["code"]) == (403, "cross_origin")
                assert "access-control-allow-origin" not in evil.headers

    asyncio.run(main())


@pytest.mark.parametrize("path", ["/ws", "/ws/tts"])
def test_a_page_of_another_site_is_refused(path: str) -> None:
    async def main() -> None:
        app = ScriptedApp()
        async with server(app) as address:
            with pytest.raises(InvalidStatus) as refused:
                await client(address, path, origin="https://evil.example")
            assert refused.value.response.status_code == 403
            assert b"cross_origin" in refused.value.response.body
        assert app.sessions == []

    asyncio.run(main())
