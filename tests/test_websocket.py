"""Real sockets on the loopback: what clients do to a server, and that nothing is left when they are gone."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace

import numpy as np
import pytest
from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed
from wire import ScriptedApp, ScriptedSession, client, ending, forever, mute_client, receive, server

from duologue import protocols as p
from duologue.config import Limits
from duologue.engines import Style
from duologue.errors import ClientError, EngineError
from duologue.protocols.native import MESSAGE_CHARS, Native
from duologue.transports.outbox import Ending, Outbox
from duologue.transports.server import Wire
from duologue.transports.speech import WAITING
from duologue.transports.websocket import ERRORS_IN_A_ROW, PIECE_SAMPLES, pieces

BLOCK = bytes(2 * 1440)

AT_ONCE = Limits(resume_s=0.0)
"""Nobody is waited for: a session ends with its connection. What else may happen is in test_resume.py."""


def sound(turn: int, index: int, pcm: bytes = BLOCK) -> p.ReplyAudio:
    return p.ReplyAudio(turn, index, pcm, 24_000, index * 60.0, (), False)


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not condition():  # noqa: ASYNC110 - the server under test has no event for us
            await asyncio.sleep(0.005)


# ── The outbox ────────────────────────────────────────────────────────────────────────────────────────────────────


async def emptied(outbox: Outbox) -> list[str | bytes]:
    outbox.end(Ending(1000))
    sent: list[str | bytes] = []
    while not isinstance(messages := await outbox.get(), Ending):
        sent += messages
    return sent


def test_an_interruption_overtakes_the_sound_of_its_turn() -> None:
    async def main() -> list[str | bytes]:
        outbox = Outbox(Native(), 1_000_000)
        outbox.tell(p.ReplyWord(1, 0, "It", False, True, 0, 0))
        for index in range(100):
            outbox.tell(sound(1, index))
        outbox.tell(sound(2, 0, b"\x07\x00"))
        outbox.tell(p.Interrupted(1, "", 0))
        return await emptied(outbox)

    sent = asyncio.run(main())
    assert [message for message in sent if isinstance(message, bytes)] == [b"\x07\x00"]
    assert ["text_chunk" in str(sent[0]), "interrupted" in str(sent[-1]), len(sent)] == [True, True, 4]


def test_a_reopened_turn_takes_its_unsent_words_with_it() -> None:
    async def main() -> list[str | bytes]:
        outbox = Outbox(Native(), 1_000_000)
        outbox.tell(p.Heard(1, "What", True, "en"))
        outbox.tell(p.ReplyWord(1, 0, "It", False, True, 0, 0))
        outbox.tell(sound(1, 0))
        outbox.tell(p.Reopened(1))
        return await emptied(outbox)

    sent = asyncio.run(main())
    assert [str(message)[:12] for message in sent] == ['{"type":"tra', '{"type":"reo']


def test_dropped_sound_gives_its_room_back() -> None:
    async def main() -> bool:
        outbox = Outbox(Native(), 5 * len(BLOCK))
        for turn in range(1, 50):
            for index in range(3):
                outbox.tell(sound(turn, index))
            outbox.tell(p.Interrupted(turn, "", 0))
            await outbox.get()
        return outbox.cut_off.done()

    assert not asyncio.run(main())


def test_a_full_outbox_empties_itself_and_says_so() -> None:
    async def main() -> None:
        outbox = Outbox(Native(), 5 * len(BLOCK))
        for index in range(4):
            outbox.tell(sound(1, index))
        assert not outbox.cut_off.done()
        outbox.tell(sound(1, 4))
        assert outbox.cut_off.done()
        outbox.tell(p.Resumed(1))
        assert await emptied(outbox) == []

    asyncio.run(main())


# ── A conversation ────────────────────────────────────────────────────────────────────────────────────────────────


def test_commands_go_in_and_facts_come_out() -> None:
    async def main() -> None:
        app = ScriptedApp()
        async with server(app) as address, client(address) as socket:
            assert (await receive(socket))["type"] == "ready"
            await socket.send(b"\x00\x40\x00\x80")
            await socket.send('{"type":"text","text":"hello"}')
            [session] = app.sessions
            await until(lambda: len(session.commands) == 2)
            microphone, typed = session.commands
            assert isinstance(microphone, p.Microphone)
            assert microphone.samples.tolist() == [0.5, -1.0]
            assert typed == p.Type("hello")
            session.tell(sound(1, 0))
            assert (await receive(socket))["bytes"] == len(BLOCK)
            assert await socket.recv() == BLOCK
            await socket.close()
            await until(session.over.is_set)
            await until(session.closed.is_set)

    asyncio.run(main())


def test_the_address_sets_the_rates_until_the_first_sound() -> None:
    async def main() -> None:
        app = ScriptedApp()
        async with server(app) as address, client(address, "/ws?input_rate=48000&output_rate=16000") as socket:
            assert (await receive(socket))["type"] == "ready"
            await socket.send('{"type":"settings","settings":{"input_rate":44100}}')
            await socket.send(b"\x00\x00")
            await socket.send('{"type":"settings","settings":{"input_rate":16000}}')
            assert (await receive(socket))["code"] == "rate_fixed"
        assert app.sessions[0].commands[:2] == [
            p.Configure({"input_rate": 48_000, "output_rate": 16_000}),
            p.Configure({"input_rate": 44_100}),
        ]

    asyncio.run(main())


def test_unusable_messages_are_answered_and_the_session_lives() -> None:
    async def main() -> None:
        app = ScriptedApp()
        async with server(app) as address, client(address) as socket:
            await receive(socket)
            wrong: list[tuple[str | bytes, str]] = [
                ("{", "bad_json"),
                (b"\x00", "odd_audio"),
                ("{}", "unknown_message"),
            ]
            for message, code in wrong:
                await socket.send(message)
                assert (await receive(socket))["code"] == code
            app.sessions[0].refuses = ClientError("engine_busy", "m" * 1_000)
            await socket.send('{"type":"interrupt"}')
            error = await receive(socket)
            assert (error["code"], len(error["message"]), error["turn"]) == ("engine_busy", MESSAGE_CHARS, None)
            app.sessions[0].refuses = None
            await socket.send('{"type":"interrupt"}')
            await until(lambda: app.sessions[0].commands == [p.Interrupt()])

    asyncio.run(main())


def test_whoever_sends_only_nonsense_is_sent_away() -> None:
    async def main() -> None:
        app = ScriptedApp()
        async with server(app) as address, client(address) as socket:
            for _ in range(ERRORS_IN_A_ROW - 1):
                await socket.send("nonsense")
            await socket.send('{"type":"end_turn"}')
            for _ in range(ERRORS_IN_A_ROW):
                await socket.send("nonsense")
            answers = [(await receive(socket)).get("code") for _ in range(2 * ERRORS_IN_A_ROW + 1)]
            assert answers == [None, *["bad_json"] * (2 * ERRORS_IN_A_ROW - 1), "too_many_errors"]
            assert await ending(socket) == (1008, "too_many_errors")
            await until(app.sessions[0].over.is_set)

    asyncio.run(main())


def test_long_sound_is_handed_on_in_pieces() -> None:
    samples = np.arange(2 * PIECE_SAMPLES + 1, dtype=np.float32)
    parts = [piece.samples for piece in pieces(p.Microphone(samples)) if isinstance(piece, p.Microphone)]
    assert [len(part) for part in parts] == [PIECE_SAMPLES, PIECE_SAMPLES, 1]
    assert np.array_equal(np.concatenate(parts), samples)
    assert list(pieces(p.EndTurn())) == [p.EndTurn()]


def test_an_interruption_reaches_a_client_that_reads_slowly() -> None:
    async def main() -> int:
        app = ScriptedApp()
        async with server(app, Limits(outbox_bytes=20_000_000)) as address, client(address, max_queue=1) as socket:
            await receive(socket)
            for index in range(100):
                app.sessions[0].tell(sound(1, index, bytes(100_000)))
            await asyncio.sleep(0.2)  # the network takes what it can
            app.sessions[0].tell(p.Interrupted(1, "", 0))
            heard = 0
            while "interrupted" not in str(message := await socket.recv()):
                heard += len(message)
            return heard

    assert asyncio.run(main()) < 1_000_000


# ── Endings ───────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_client_that_stops_reading_is_disconnected() -> None:
    async def flood(session: ScriptedSession) -> None:
        while True:
            session.tell(sound(1, 0, bytes(60_000)))
            await asyncio.sleep(0)

    async def main() -> None:
        app = ScriptedApp(flood)
        async with (
            server(app, replace(AT_ONCE, outbox_bytes=500_000)) as address,
            client(address, max_queue=1) as socket,
        ):
            await until(lambda: bool(app.sessions) and app.sessions[0].over.is_set())
            assert await ending(socket) == (1013, "client_too_slow")

    asyncio.run(main())


UNASKED_PONG = b"\x8a\x80\x00\x00\x00\x00"


async def dropped(writer: asyncio.StreamWriter) -> None:
    """Waits until the server has let go of the socket: then a write fails."""

    def fails() -> bool:
        writer.write(UNASKED_PONG)
        return writer.is_closing()

    await until(fails)
    with suppress(OSError):
        await writer.wait_closed()


def test_a_client_that_never_reads_again_does_not_keep_its_socket(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("duologue.transports.websocket.CLOSE_S", 0.05)
    monkeypatch.setattr("duologue.transports.server.LINGER_S", 0.05)

    async def flood(session: ScriptedSession) -> None:
        while True:
            session.tell(sound(1, 0, bytes(60_000)))
            await asyncio.sleep(0)

    async def main() -> None:
        app = ScriptedApp(flood)
        async with server(app, replace(AT_ONCE, outbox_bytes=500_000)) as address:
            await dropped(await mute_client(address))
            assert app.sessions[0].over.is_set()

    asyncio.run(main())


def test_a_client_without_a_network_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("duologue.transports.server.PING_S", 0.05)

    async def talk_on(session: ScriptedSession) -> None:
        for index in range(80):  # more than the network takes, less than the outbox: only the ping can tell
            session.tell(sound(1, index, bytes(80_000)))
        await asyncio.Event().wait()

    async def main() -> None:
        app = ScriptedApp(talk_on)
        async with server(app, AT_ONCE) as address:
            writer = await mute_client(address)
            await until(lambda: bool(app.sessions) and app.sessions[0].over.is_set())
            await dropped(writer)

    asyncio.run(main())


def test_what_is_said_to_a_client_that_was_just_given_up_is_no_error(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A busy loop comes to the writer after the ping's time was up and before anybody heard of the lost connection."""
    wires: list[Wire] = []

    class Noted(Wire):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            wires.append(self)
            super().connection_made(transport)

    monkeypatch.setattr("duologue.transports.server.Wire", Noted)

    async def main() -> None:
        app = ScriptedApp()
        async with server(app, AT_ONCE) as address, client(address) as socket:
            await receive(socket)
            app.sessions[0].tell(p.Resumed(1))  # the writer wakes in the loop's next round
            wires[0].keepalive_timeout()
            await until(app.sessions[0].over.is_set)
            with suppress(ConnectionClosed):
                await socket.recv()

    asyncio.run(main())
    assert [record.message for record in caplog.records if record.levelname == "ERROR"] == []


def test_a_client_that_vanishes_leaves_nothing() -> None:
    async def main() -> None:
        app = ScriptedApp()
        async with server(app, AT_ONCE) as address:
            tasks = len(asyncio.all_tasks())
            for _ in range(10):
                socket = await client(address)
                await receive(socket)
                socket.transport.abort()
                await socket.wait_closed()
            async with asyncio.timeout(30):
                for session in app.sessions:
                    await session.over.wait()
            await until(lambda: len(asyncio.all_tasks()) == tasks)
        assert len(app.sessions) == 10

    asyncio.run(main())


def test_a_message_over_the_limit_closes_the_socket() -> None:
    async def main() -> None:
        app = ScriptedApp()
        async with server(app, replace(AT_ONCE, message_bytes=1_000)) as address, client(address) as socket:
            await socket.send(bytes(1_000))
            await until(lambda: len(app.sessions[0].commands) == 1)
            await socket.send(bytes(1_001))
            assert (await ending(socket))[0] == 1009
            await until(app.sessions[0].over.is_set)

    asyncio.run(main())


def test_a_session_that_ends_by_itself_is_heard_to_its_end() -> None:
    async def last_words(session: ScriptedSession) -> None:
        for index in range(20):
            session.tell(sound(1, index, bytes(100_000)))
        session.tell(p.Failure("idle_timeout", "nobody spoke"))

    async def main() -> None:
        app = ScriptedApp(last_words)
        async with server(app) as address, client(address, max_queue=1) as socket:
            await until(lambda: bool(app.sessions) and app.sessions[0].over.is_set())
            await socket.send('{"type":"text","text":"Wait!"}')
            await asyncio.sleep(0.05)
            told = [await socket.recv() for _ in range(1 + 2 * 20 + 1)]
            assert "idle_timeout" in str(told[-1])
            assert await ending(socket) == (1000, "session_over")

    asyncio.run(main())


def test_a_session_that_breaks_does_not_break_the_server(caplog: pytest.LogCaptureFixture) -> None:
    async def breaks(_: ScriptedSession) -> None:
        raise RuntimeError("secret detail")

    async def main() -> None:
        app = ScriptedApp(breaks)
        async with server(app) as address:
            async with client(address) as socket:
                await receive(socket)
                error = await receive(socket)
                assert error["code"] == "internal_error"
                assert "secret" not in error["message"]
                assert await ending(socket) == (1011, "internal_error")
            app.script = forever
            async with client(address) as socket:
                assert (await receive(socket))["type"] == "ready"

    asyncio.run(main())
    assert "secret detail" in caplog.text


async def refusal(socket: ClientConnection) -> tuple[str, int | None, str]:
    return (await receive(socket))["code"], *(await ending(socket))


def test_whoever_is_refused_is_told_why() -> None:
    async def main() -> None:
        app = ScriptedApp()
        app.places = 0
        async with server(app) as address:
            async with client(address) as socket:
                assert await refusal(socket) == ("server_full", 1013, "server_full")
            async with client(address, "/ws?input_rate=5") as socket:
                assert await refusal(socket) == ("bad_rate", 1008, "bad_rate")
            app.ready = False
            async with client(address, "/ws/tts") as socket:
                assert await refusal(socket) == ("not_ready", 1013, "not_ready")

    asyncio.run(main())


# ── Speech from text ──────────────────────────────────────────────────────────────────────────────────────────────


def test_the_first_sound_leaves_before_the_last_is_made() -> None:
    async def main() -> None:
        app = ScriptedApp()
        async with server(app) as address, client(address, "/ws/tts?output_rate=16000") as socket:
            await socket.send('{"text":"Good morning.","emotion":"happy"}')
            await socket.send('{"text":"Again."}')
            header = await receive(socket)
            assert (header["type"], header["turn"], header["sample_rate"]) == ("audio_chunk", 1, 16_000)
            assert await socket.recv() == b"\x01\x00" * 4
            app.gate.set()
            assert (await receive(socket))["is_final"]
            done = await receive(socket)
            assert (done["type"], done["turn"], done["speaker"]) == ("done", 1, "scripted")
            assert done["first_audio_ms"] >= 0
            assert (await receive(socket))["turn"] == 2
        style = Style("auto", emotion="happy")
        assert app.spoken == [("Good morning.", style, 16_000), ("Again.", Style("auto"), 16_000)]

    asyncio.run(main())


def test_utterances_wait_up_to_a_bound() -> None:
    async def main() -> None:
        app = ScriptedApp()
        async with server(app) as address, client(address, "/ws/tts") as socket:
            await socket.send('{"text":"first"}')
            await receive(socket)
            await socket.recv()
            for _ in range(WAITING + 1):
                await socket.send('{"text":"more"}')
            assert (await receive(socket))["code"] == "queue_full"
            assert len(app.spoken) == 1

    asyncio.run(main())


@pytest.mark.parametrize(
    ("fault", "code"),
    [
        (EngineError("piper", "no phonemes"), "engine_failed"),
        (RuntimeError("secret"), "internal_error"),
    ],
)
def test_a_voice_that_fails_ends_its_utterance_only(fault: Exception, code: str) -> None:
    async def main() -> None:
        app = ScriptedApp()
        app.fails = fault
        async with server(app) as address, client(address, "/ws/tts") as socket:
            await socket.send("{}")
            assert (await receive(socket))["code"] == "missing_field"
            await socket.send('{"text":"one"}')
            error = await receive(socket)
            assert (error["code"], error["turn"]) == (code, 1)
            assert "secret" not in error["message"]
            app.fails = None
            await socket.send('{"text":"two"}')
            assert (await receive(socket))["turn"] == 2

    asyncio.run(main())


def test_closing_the_socket_stops_the_voice() -> None:
    async def main() -> None:
        app = ScriptedApp()
        async with server(app) as address:
            async with client(address, "/ws/tts") as socket:
                await socket.send('{"text":"one"}')
                await receive(socket)
                assert not app.silenced.is_set()
            async with asyncio.timeout(30):
                await app.silenced.wait()

    asyncio.run(main())


def test_sockets_for_speech_have_so_many_places_and_give_them_back() -> None:
    async def main() -> None:
        async with server(ScriptedApp(), limits=Limits(sessions=1)) as address:
            async with client(address, "/ws/tts") as first:
                await first.send('{"text":"one"}')
                await receive(first)
                async with client(address, "/ws/tts") as second:
                    assert await refusal(second) == ("server_full", 1013, "server_full")
            async with asyncio.timeout(30):
                while True:  # the first may not be noticed to be gone at once
                    async with client(address, "/ws/tts") as third:
                        await third.send('{"text":"two"}')
                        if (await receive(third))["type"] == "audio_chunk":
                            break

    asyncio.run(main())
