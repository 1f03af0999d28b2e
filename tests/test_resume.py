"""A connection that is lost and comes back: the session waits for its client, and loses not a sample and not a word."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
import virtual
from dialogue import TIMINGS, lineup
from websockets.asyncio.client import ClientConnection
from wire import ScriptedApp, client, countable, ending, receive, server

from duologue import protocols as p
from duologue.app import App
from duologue.config import Config, Limits
from duologue.engines.scripted import ScriptedSpeaker, ScriptedWriter
from duologue.errors import ClientError
from duologue.transports.conversations import TAKEN_OVER, Conversation, Conversations
from duologue.transports.outbox import Ending

LOST = Ending(None, lost=True)
LEFT = Ending(None)
WAIT_S = 60.0

TEXT = "One two three four five six seven eight nine ten eleven twelve. " * 2


@dataclass
class Line:
    """A connection that notes what it is told, and how it ended."""

    facts: list[p.Fact] = field(default_factory=list)
    ended: Ending | None = None

    def tell(self, fact: p.Fact) -> None:
        self.facts.append(fact)

    def end(self, ending: Ending) -> None:
        self.ended = ending

    def cut(self, ending: Ending) -> None:
        self.ended = ending

    @property
    def ready(self) -> p.Ready:
        assert isinstance(self.facts[0], p.Ready)
        return self.facts[0]

    def of(self, kind: type[Any]) -> list[Any]:
        return [fact for fact in self.facts if isinstance(fact, kind)]

    def sound(self, from_ms: float = 0.0) -> bytes:
        """Of the reply, joined; every block where the one before it ended."""
        pcm = b""
        for block in self.of(p.ReplyAudio):
            assert block.at_ms == pytest.approx(from_ms + len(pcm) / 48, abs=0.1)
            pcm += block.pcm
        return pcm

    def words(self) -> str:
        return "".join(word.text for word in sorted(set(self.of(p.ReplyWord)), key=lambda word: word.index))


@dataclass
class Server:
    """Conversations on scripted engines, or on scripted sessions, on the jumping clock."""

    app: Any
    conversations: Conversations

    async def connect(self) -> tuple[Conversation, Line]:
        line = Line()
        conversation = self.conversations.open(self.app.open_session, line, resumable=True)
        await conversation.begun.wait()
        return conversation, line


def on_server(use: Callable[[Server], Coroutine[Any, Any, None]], app: Any = None, resume_s: float = WAIT_S) -> None:
    async def main() -> None:
        held = Conversations(resume_s, countable())
        try:
            await use(Server(app or talking(), held))
        finally:
            await held.close()
        assert asyncio.all_tasks() == {asyncio.current_task()}

    virtual.run(main())


def talking(text: str = TEXT) -> App:
    """Says a long text: some 60 ms a letter."""
    engines = lineup(writer=ScriptedWriter(replies=(text,)), speakers=(ScriptedSpeaker(),))
    return App(replace(TIMINGS, limits=Limits(resume_s=WAIT_S)), engines, names=lambda: "s")


# ── Who may come back ─────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_lost_connection_is_waited_for_and_then_no_longer() -> None:
    app = ScriptedApp()

    async def use(server: Server) -> None:
        conversation, line = await server.connect()
        [session] = app.sessions
        conversation.leave(line, LOST)
        assert session.detached
        await asyncio.sleep(WAIT_S - 1)
        assert server.conversations.find(line.ready.resume) is conversation
        await asyncio.sleep(2)
        assert server.conversations.find(line.ready.resume) is None
        assert session.closed.is_set()

    on_server(use, app)


@pytest.mark.parametrize(("ending", "resume_s"), [(LEFT, WAIT_S), (LOST, 0.0)])
def test_whoever_means_to_go_is_not_waited_for(ending: Ending, resume_s: float) -> None:
    app = ScriptedApp()

    async def use(server: Server) -> None:
        conversation, line = await server.connect()
        assert bool(line.ready.resume) is bool(resume_s)
        conversation.leave(line, ending)
        await asyncio.sleep(0.01)
        assert app.sessions[0].closed.is_set()

    on_server(use, app, resume_s)


def test_who_comes_back_in_time_stays() -> None:
    app = ScriptedApp()

    async def use(server: Server) -> None:
        conversation, line = await server.connect()
        conversation.leave(line, LOST)
        await asyncio.sleep(WAIT_S - 1)
        again = Line()
        conversation.take_up(again, 3, 812.5)
        await asyncio.sleep(2 * WAIT_S)
        assert app.sessions[0].attached == [(3, 812.5)]
        assert not app.sessions[0].over.is_set()
        assert again.ready.resume == line.ready.resume
        conversation.command(p.Interrupt(), again)
        assert app.sessions[0].commands == [p.Interrupt()]

    on_server(use, app)


def test_a_second_connection_takes_the_session_over_from_the_first() -> None:
    app = ScriptedApp()

    async def use(server: Server) -> None:
        conversation, first = await server.connect()
        second = Line()
        conversation.take_up(second, 0, 0.0)
        assert first.ended == TAKEN_OVER
        conversation.command(p.Interrupt(), first)  # on its way when it was cut off
        conversation.leave(first, TAKEN_OVER)
        await asyncio.sleep(2 * WAIT_S)
        assert app.sessions[0].commands == []
        assert not app.sessions[0].over.is_set()
        assert second.ended is None

    on_server(use, app)


def test_a_session_that_ended_meanwhile_is_not_found() -> None:
    app = ScriptedApp()

    async def use(server: Server) -> None:
        async def short(_: object) -> None:
            await asyncio.sleep(1.0)

        app.script = short
        conversation, line = await server.connect()
        conversation.leave(line, LOST)
        await asyncio.sleep(2.0)
        assert server.conversations.find(line.ready.resume) is None

    on_server(use, app)


@pytest.mark.parametrize("token", ["", "guessed", "é"])
def test_a_token_that_is_none_finds_nothing(token: str) -> None:
    async def use(server: Server) -> None:
        await server.connect()
        server.conversations.open(server.app.open_session, Line())
        assert server.conversations.find(token) is None

    on_server(use, ScriptedApp())


def test_a_session_that_was_never_begun_gives_its_place_back() -> None:
    app = ScriptedApp()

    async def use(server: Server) -> None:
        line = Line()
        conversation = server.conversations.open(app.open_session, line, resumable=True)
        conversation.leave(line, LOST)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert app.sessions[0].closed.is_set()
        assert not app.sessions[0].over.is_set(), "it never ran"

    on_server(use, app)


# ── What is lost by it: nothing ───────────────────────────────────────────────────────────────────────────────────────


def whole_sound() -> bytes:
    """Of the reply, when nothing happens to its connection."""
    heard: list[bytes] = []

    async def use(server: Server) -> None:
        conversation, line = await server.connect()
        conversation.command(p.Type("Count."), line)
        await asyncio.sleep(30.0)
        heard.append(line.sound())

    on_server(use)
    return heard[0]


def test_the_unheard_rest_of_the_reply_is_sent_again_sample_for_sample() -> None:
    whole = whole_sound()

    async def use(server: Server) -> None:
        conversation, line = await server.connect()
        conversation.command(p.Type("Count."), line)
        await asyncio.sleep(3.0)
        conversation.leave(line, LOST)
        await asyncio.sleep(20.0)
        before = line.sound()
        assert whole.startswith(before)
        again = Line()
        played_ms = 1_500.0
        conversation.take_up(again, 1, played_ms)
        await asyncio.sleep(30.0)
        assert before[: round(played_ms * 48)] + again.sound(played_ms) == whole
        assert again.of(p.ReplyAudio)[-1].final
        assert again.words().strip() == TEXT.strip()
        assert again.of(p.ReplyDone)[0].text == TEXT.strip()

    on_server(use)


def test_nothing_leaves_while_nobody_is_there_and_the_reply_does_not_end() -> None:
    async def use(server: Server) -> None:
        conversation, line = await server.connect()
        conversation.command(p.Type("Count."), line)
        await asyncio.sleep(3.0)
        conversation.leave(line, LOST)
        told = len(line.facts)
        await asyncio.sleep(50.0)
        assert len(line.facts) == told
        again = Line()
        conversation.take_up(again, 1, 0.0)
        conversation.command(p.Export(), again)
        [exported] = again.of(p.Exported)
        assert [turn["role"] for turn in exported.conversation["turns"]] == ["user"], "the reply is not over"

    on_server(use)


def test_a_reply_that_was_sent_to_its_end_into_a_dead_connection_is_sent_again() -> None:
    short = "One two three four five."

    async def use(server: Server) -> None:
        conversation, line = await server.connect()
        conversation.command(p.Type("Count."), line)
        await asyncio.sleep(1.0)  # all its sound has left, and little of it was heard
        assert line.of(p.ReplyAudio)[-1].final
        conversation.leave(line, LOST)
        again = Line()
        conversation.take_up(again, 1, 100.0)
        await asyncio.sleep(3.0)
        assert line.sound()[: 100 * 48] + again.sound(100.0) == line.sound()
        assert again.of(p.ReplyAudio)[-1].final
        assert again.of(p.ReplyDone)

    on_server(use, talking(short))


def test_who_comes_back_is_told_what_was_said_and_how_things_stand() -> None:
    async def use(server: Server) -> None:
        conversation, line = await server.connect()
        conversation.command(p.Configure({"speed": 1.5}), line)
        conversation.command(p.Type("Count."), line)
        await asyncio.sleep(30.0)
        conversation.command(p.Type("Again."), line)
        await asyncio.sleep(2.0)
        conversation.leave(line, LOST)
        again = Line()
        conversation.take_up(again, 2, 500.0)
        assert again.ready.said == (
            p.Said("user", "Count.", 1),
            p.Said("assistant", TEXT.strip(), 1),
            p.Said("user", "Again.", 2),
        )
        assert again.ready.settings["speed"] == 1.5
        assert again.ready.voices == line.ready.voices
        assert again.of(p.StateChanged)[-1] == p.StateChanged(2, "speaking")

    on_server(use)


def test_a_reply_that_ended_while_its_client_had_vanished_is_said_again_from_where_it_was_heard() -> None:
    """The network is gone, and nobody has noticed: the server believes its clock."""

    async def use(server: Server) -> None:
        conversation, line = await server.connect()
        conversation.command(p.Type("Count."), line)
        await asyncio.sleep(30.0)
        assert line.of(p.ReplyDone)
        conversation.leave(line, LOST)
        third = next(end for block in line.of(p.ReplyAudio) for word, end in block.words if "three" in word)
        again = Line()
        conversation.take_up(again, 1, third + 1.0)
        await asyncio.sleep(30.0)
        assert again.ready.said == (p.Said("user", "Count.", 1), p.Said("assistant", "One two three", 1))
        [done] = again.of(p.ReplyDone)
        assert done.text == TEXT.strip().removeprefix("One two three").strip()
        assert done.turn > 1

    on_server(use)


def test_a_history_that_was_cleared_is_not_said_again() -> None:
    async def use(server: Server) -> None:
        conversation, line = await server.connect()
        conversation.command(p.Type("Count."), line)
        await asyncio.sleep(30.0)
        conversation.command(p.ClearHistory(), line)
        conversation.leave(line, LOST)
        again = Line()
        conversation.take_up(again, 1, 0.0)
        await asyncio.sleep(30.0)
        assert again.ready.said == ()
        assert again.of(p.ReplyDone) == []

    on_server(use)


def test_a_reply_of_which_only_a_breath_was_missed_is_not_said_again() -> None:
    async def use(server: Server) -> None:
        conversation, line = await server.connect()
        conversation.command(p.Type("Count."), line)
        await asyncio.sleep(30.0)
        conversation.leave(line, LOST)
        again = Line()
        conversation.take_up(again, 1, line.of(p.ReplyDone)[0].audio_ms - 100.0)
        await asyncio.sleep(30.0)
        assert again.of(p.ReplyDone) == []

    on_server(use)


def test_the_user_may_interrupt_a_reply_that_was_taken_up_again() -> None:
    async def use(server: Server) -> None:
        conversation, line = await server.connect()
        conversation.command(p.Type("Count."), line)
        await asyncio.sleep(3.0)
        conversation.leave(line, LOST)
        again = Line()
        conversation.take_up(again, 1, 1_000.0)
        await asyncio.sleep(0.5)
        conversation.command(p.Interrupt(), again)
        [interrupted] = again.of(p.Interrupted)
        assert interrupted.heard_ms == pytest.approx(1_500.0, abs=1.0)

    on_server(use)


def test_one_that_waits_keeps_its_place() -> None:
    app = talking()
    app.config = replace(app.config, limits=replace(app.config.limits, sessions=1))

    async def use(server: Server) -> None:
        conversation, line = await server.connect()
        conversation.leave(line, LOST)
        with pytest.raises(ClientError, match="places are taken"):
            await server.connect()
        await asyncio.sleep(WAIT_S + 1.0)
        await server.connect()

    on_server(use, app)


# ── Over real sockets ─────────────────────────────────────────────────────────────────────────────────────────────────


async def until(socket: ClientConnection, kind: str) -> dict[str, Any]:
    """Skips sound and other messages."""
    async with asyncio.timeout(30):
        while True:
            message = await socket.recv()
            if isinstance(message, str) and (told := json.loads(message))["type"] == kind:
                return dict(told)


def test_a_page_that_is_reloaded_finds_its_conversation() -> None:
    async def main() -> None:
        app = App(Config(), lineup(writer=ScriptedWriter(replies=(TEXT,))))
        async with server(app) as address:
            socket = await client(address, max_queue=None)
            ready = await receive(socket)
            assert (ready["resumed"], ready["turns"]) == (False, [])
            await socket.send('{"type":"text","text":"Count."}')
            await until(socket, "audio_chunk")
            await socket.close(1001)
            path = f"/ws?resume={ready['resume']}&turn=1&played_ms=20"
            async with client(address, path, max_queue=None) as again:
                back = await receive(again)
                assert back["resumed"]
                assert back["session"] == ready["session"]
                assert back["turns"] == [{"role": "user", "content": "Count.", "turn": 1}]
                assert (await until(again, "audio_chunk"))["at_ms"] == 20.0

    asyncio.run(main())


def test_a_connection_that_breaks_off_is_taken_up_and_a_session_that_is_gone_begins_anew() -> None:
    async def main() -> None:
        app = ScriptedApp()
        async with server(app) as address:
            socket = await client(address)
            token = (await receive(socket))["resume"]
            socket.transport.abort()
            await socket.wait_closed()
            async with client(address, f"/ws?resume={token}&turn=1&played_ms=1") as again:
                assert (await receive(again))["resumed"]
            assert app.sessions[0].attached == [(1, 1.0)]
            await asyncio.wait_for(app.sessions[0].over.wait(), 30.0)  # `async with` closes with 1000
            async with client(address, f"/ws?resume={token}") as new:
                assert not (await receive(new))["resumed"]
        assert len(app.sessions) == 2

    asyncio.run(main())


def test_the_first_of_two_connections_is_told_that_it_was_taken_over() -> None:
    async def main() -> None:
        app = ScriptedApp()
        async with server(app) as address:
            first = await client(address)
            token = (await receive(first))["resume"]
            async with client(address, f"/ws?resume={token}") as second:
                assert (await receive(second))["resumed"]
                assert await ending(first) == (1008, "taken_over")
                await second.send('{"type":"interrupt"}')
                app.sessions[0].tell(p.Resumed(1))
                assert (await receive(second))["type"] == "resumed"
                assert app.sessions[0].commands == [p.Interrupt()]

    asyncio.run(main())


def test_a_client_that_was_too_slow_may_come_back() -> None:
    async def flood(session: Any) -> None:
        while not session.detached:
            session.tell(p.ReplyAudio(1, 0, bytes(60_000), 24_000, 0.0, (), False))
            await asyncio.sleep(0)
        await asyncio.Event().wait()

    async def main() -> None:
        app = ScriptedApp(flood)
        async with server(app, Limits(outbox_bytes=500_000)) as address:
            async with client(address, max_queue=1) as slow:
                token = (await receive(slow))["resume"]
                await asyncio.sleep(0.5)
                assert (await ending(slow))[0] == 1013
            async with client(address, f"/ws?resume={token}") as again:
                assert (await receive(again))["resumed"]

    asyncio.run(main())
