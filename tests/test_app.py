"""The engines of one server and the sessions on them."""

from __future__ import annotations

import asyncio
import itertools
import json
import logging
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import virtual
from dialogue import lineup

from duologue import clock
from duologue.app import App, Occupied
from duologue.config import Config, Limits, Server
from duologue.core.playout import Pacing
from duologue.engines import Piece, Prompt, Sound, Style
from duologue.engines.lineup import Lineup
from duologue.engines.scripted import ScriptedSpeaker, ScriptedWriter
from duologue.errors import ClientError, EngineError
from duologue.languages import TextDetector
from duologue.places.thread import Lane
from duologue.protocols import Fact, Failure, Ready, ReplyAudio, ReplyDone, Type, Voice
from duologue.sound_files import Recording


def app(config: Config | None = None, engines: Lineup | None = None) -> App:
    numbers = itertools.count(1)
    return App(config or Config(), engines or lineup(), names=lambda: f"session-{next(numbers)}")


async def used(occupied: Occupied, seconds: float = 5.0) -> None:
    running = asyncio.create_task(occupied.run())
    await asyncio.sleep(0)
    occupied.command(Type("hello"))
    await asyncio.sleep(seconds)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


def open_now(server: App) -> float:
    line = next(line for line in server.metrics().decode().splitlines() if line.startswith("duologue_sessions_open "))
    return float(line.split()[1])


def test_before_the_models_are_warm_nobody_comes_in() -> None:
    cold = App(Config())
    assert not cold.ready
    with pytest.raises(ClientError) as refused:
        cold.open_session(lambda fact: None)
    assert refused.value.code == "not_ready"


def test_sessions_are_refused_beyond_the_limit_and_a_place_is_given_back() -> None:
    async def main() -> None:
        server = app(Config(limits=Limits(sessions=2)))
        first, second = (server.open_session(lambda fact: None) for _ in range(2))
        with pytest.raises(ClientError) as refused:
            server.open_session(lambda fact: None)
        assert refused.value.code == "server_full"
        assert open_now(server) == 2
        await used(first)
        assert open_now(server) == 1
        await asyncio.gather(used(server.open_session(lambda fact: None)), used(second))
        assert open_now(server) == 0

    virtual.run(main())


def test_a_place_that_was_never_used_is_given_back_once() -> None:
    async def main() -> None:
        server = app()
        session = server.open_session(lambda fact: None)
        session.close()
        session.close()
        assert open_now(server) == 0

    virtual.run(main())


def test_a_session_lasts_as_long_as_one_may_and_says_why_it_ends() -> None:
    async def main() -> None:
        server, facts = app(Config(limits=Limits(session_s=90.0))), list[Fact]()
        session = server.open_session(facts.append)
        running = asyncio.create_task(session.run())
        for _ in range(8):  # busy all the time
            await asyncio.sleep(10.0)
            session.command(Type("hello"))
        await running
        assert clock.now() == 90.0
        assert facts[-1] == Failure("session_expired", "Your session hit the maximum duration of 1.5 minutes.")
        assert open_now(server) == 0

    virtual.run(main())


def test_a_timeout_of_the_sessions_own_is_not_the_end_of_its_time() -> None:
    async def main() -> None:
        session = app().open_session(lambda fact: None)

        async def breaks() -> None:
            raise TimeoutError("of an engine")

        session.session.run = breaks  # type: ignore[method-assign]
        with pytest.raises(TimeoutError, match="of an engine"):
            await session.run()

    virtual.run(main())


def test_who_comes_in_is_told_which_voices_there_are() -> None:
    named, unnamed = ScriptedSpeaker(), ScriptedSpeaker()
    named.about = replace(named.about, name="piper", voices=frozenset({"joe", "amy"}), languages=frozenset({"en"}))
    unnamed.about = replace(
        unnamed.about,
        name="espeak",
        languages=frozenset({"hi", "en"}),
        emotion="label",
        cloning=True,
        licence="GPL-3.0",
    )
    facts: list[Fact] = []

    async def main() -> None:
        await used(app(engines=lineup(speakers=(named, unnamed))).open_session(facts.append))

    virtual.run(main())
    assert isinstance(facts[0], Ready)
    assert facts[0].voices == (
        Voice("amy", ("en",), "piper", "none", 24_000, "chunk", False, "chunk", "Apache-2.0"),
        Voice("joe", ("en",), "piper", "none", 24_000, "chunk", False, "chunk", "Apache-2.0"),
        Voice("", ("en", "hi"), "espeak", "label", 24_000, "chunk", True, "chunk", "GPL-3.0"),
    )


def test_a_connection_may_have_its_own_pace() -> None:
    def sent_ahead(**choices: Any) -> float:
        facts: list[Fact] = []

        async def main() -> None:
            engines = lineup(
                writer=ScriptedWriter(replies=("A long answer. " * 9,)), speakers=(ScriptedSpeaker(delay_s=0),)
            )
            session = app(engines=engines).open_session(facts.append, **choices)
            running = asyncio.create_task(session.run())
            await asyncio.sleep(0)
            session.command(Type("hello"))
            while not any(isinstance(fact, ReplyAudio) for fact in facts):  # noqa: ASYNC110 (a session has no event for it)
                await asyncio.sleep(0.001)
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)

        virtual.run(main())
        return sum(len(fact.pcm) for fact in facts if isinstance(fact, ReplyAudio)) / 48_000

    assert sent_ahead(pacing=Pacing(lead_s=0.3)) == pytest.approx(0.3, abs=Pacing().block_s)
    assert sent_ahead() == pytest.approx(Pacing().lead_s, abs=Pacing().block_s)


def test_sessions_share_the_engines_and_nothing_else() -> None:
    async def main() -> None:
        server, told = app(), [list[Fact](), list[Fact]()]
        sessions = [server.open_session(told[0].append), server.open_session(told[1].append)]
        await asyncio.gather(*(used(session) for session in sessions))
        assert [facts[0].session for facts in told if isinstance(facts[0], Ready)] == ["session-1", "session-2"]
        assert all(sum(isinstance(fact, ReplyDone) for fact in facts) == 1 for facts in told)
        assert sessions[0].session.conversation is not sessions[1].session.conversation

    virtual.run(main())


def test_names_count_and_never_repeat() -> None:
    async def main() -> set[str]:
        server = App(Config(), lineup())
        return {server.open_session(lambda fact: None).session.name for _ in range(10)}

    assert len(virtual.run(main())) == 10


def test_each_session_leaves_a_trace_in_the_folder_that_is_named(tmp_path: Path) -> None:
    async def main() -> None:
        server = app(Config(server=Server(traces=str(tmp_path / "traces"))))
        for _ in range(2):
            await used(server.open_session(lambda fact: None))

    virtual.run(main())
    files = sorted((tmp_path / "traces").iterdir())
    assert [file.name for file in files] == ["session-1.trace.jsonl", "session-2.trace.jsonl"]
    rows = [json.loads(line) for line in files[0].read_text(encoding="utf-8").splitlines()]
    assert [row["name"] for row in rows[:2]] == ["Ready", "Typed"]
    assert "ReplyDone" in [row["name"] for row in rows]


def test_a_folder_that_cannot_be_written_costs_the_trace_and_nothing_else(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    facts: list[Fact] = []

    async def main() -> None:
        server = app(Config(server=Server(traces=str(tmp_path / "file" / "traces"))))
        await used(server.open_session(facts.append))

    with caplog.at_level(logging.WARNING):
        virtual.run(main())
    assert any(isinstance(fact, ReplyDone) for fact in facts)
    assert "leaves no trace" in caplog.text


# ── Speaking without a session ────────────────────────────────────────────────────────────────────────────────────────


@dataclass
class Fragile(ScriptedSpeaker):
    """Fails before its n-th sound."""

    fails_at: int = 0

    async def speak(self, text: AsyncIterator[str], style: Style) -> AsyncIterator[Sound]:
        sounds = 0
        async for sound in super().speak(text, style):
            if sounds == self.fails_at:
                raise EngineError("fragile", "broke")
            sounds += 1
            yield sound


def spoken(
    engines: Lineup, text: str = "Hello there, you.", style: Style | None = None, rate: int = 16_000
) -> list[Any]:
    async def main() -> list[Any]:
        return [fact async for fact in app(engines=engines).speak(text, style or Style(), rate)]

    return virtual.run(main())


def test_text_is_spoken_in_blocks_that_join_and_say_their_words() -> None:
    *blocks, done = spoken(lineup())
    assert [block.index for block in blocks] == list(range(len(blocks)))
    sent = 0
    for block in blocks:
        assert block.at_ms == pytest.approx(sent / 16, abs=0.1)
        sent += len(block.pcm) // 2
    assert [block.final for block in blocks] == [False] * (len(blocks) - 1) + [True]
    assert "".join(word for block in blocks for word, _ in block.words) == "Hello there, you."
    assert done == ReplyDone(0, "Hello there, you.", done.audio_ms, "scripted")
    assert done.audio_ms == pytest.approx(17 * 60, abs=1)


@pytest.mark.parametrize(
    ("text", "language"),
    [("நாளை காலை வானிலை எப்படி இருக்கும்?", "ta"), ("¿Qué tiempo hará mañana por la mañana?", "es"), ("Hm.", "en")],
)
def test_the_text_decides_in_which_language_it_is_spoken_where_nobody_says(text: str, language: str) -> None:
    voices = [ScriptedSpeaker() for _ in range(3)]
    for voice, spoken_by in zip(voices, ("en", "es", "ta"), strict=True):
        voice.about = replace(voice.about, name=spoken_by, languages=frozenset({spoken_by}))
    texts = TextDetector()
    texts.load()
    engines = lineup(speakers=tuple(voices), texts=texts)
    assert spoken(engines, text, Style(language="auto"))[-1].speaker == language


def test_the_next_voice_speaks_where_the_first_cannot_begin() -> None:
    other = ScriptedSpeaker()
    other.about = replace(other.about, name="other")
    assert spoken(lineup(speakers=(Fragile(), other)))[-1].speaker == "other"


@dataclass
class Silent(ScriptedSpeaker):
    """Works, and gives nothing."""

    async def speak(self, text: AsyncIterator[str], style: Style) -> AsyncIterator[Sound]:
        await asyncio.Event().wait()
        yield Sound(np.zeros(0, np.float32), 16_000)


def test_a_voice_that_gives_nothing_has_failed() -> None:
    other = ScriptedSpeaker()
    other.about = replace(other.about, name="other")
    assert spoken(lineup(speakers=(Silent(), other)))[-1].speaker == "other"
    with pytest.raises(EngineError) as failed:
        spoken(lineup(speakers=(Silent(),)))
    assert failed.value.code == "engine_timeout"


def test_the_next_voice_is_not_asked_for_the_first_ones_name() -> None:
    asked: list[str] = []

    class Strict(ScriptedSpeaker):
        async def speak(self, text: AsyncIterator[str], style: Style) -> AsyncIterator[Sound]:
            asked.append(style.voice)
            async for sound in super().speak(text, style):
                yield sound

    first = Fragile()
    first.about = replace(first.about, voices=frozenset({"joe"}))
    spoken(lineup(speakers=(first, Strict())), style=Style(voice="joe"))
    assert asked == [""]


@pytest.mark.parametrize("rate", [24_000, 22_050])
def test_where_a_voice_breaks_off_the_next_says_the_rest(rate: int) -> None:
    """At whatever rate: the words are where they would have been, none is said twice and none is lost."""
    text = "Hello there, you. And there you are."
    other = ScriptedSpeaker(rate=rate)
    other.about = replace(other.about, name="other", sample_rate=rate)
    *whole, _ = spoken(lineup(), text)
    *blocks, done = spoken(lineup(speakers=(Fragile(chunk_s=0.72, fails_at=1), other)), text)
    assert done == ReplyDone(0, text, done.audio_ms, "other")
    assert done.audio_ms == pytest.approx(len(text) * 60, abs=1)
    assert [block.index for block in blocks] == list(range(len(blocks)))
    assert [block.final for block in blocks].index(True) == len(blocks) - 1
    assert sum(len(block.pcm) for block in blocks) == pytest.approx(sum(len(block.pcm) for block in whole), abs=64)
    words, expected = ([word for block in said for word in block.words] for said in (blocks, whole))
    assert [word for word, _ in words] == [word for word, _ in expected]
    assert [at for _, at in words] == pytest.approx([at for _, at in expected], abs=1)


def test_where_the_last_voice_breaks_off_there_is_nothing_more() -> None:
    with pytest.raises(EngineError):
        spoken(lineup(speakers=(Fragile(), Fragile(fails_at=1))))


def test_when_no_voice_can_begin_the_last_ones_reason_is_told() -> None:
    with pytest.raises(EngineError) as failed:
        spoken(lineup(speakers=(Fragile(), Fragile())))
    assert failed.value.code == "engine_failed"


def test_a_language_that_nobody_speaks_is_refused() -> None:
    with pytest.raises(ClientError) as refused:
        spoken(lineup(), style=Style(language="tlh"))
    assert refused.value.code == "language_not_spoken"


def test_a_cold_server_says_nothing() -> None:
    async def main() -> list[ReplyAudio | ReplyDone]:
        return [fact async for fact in App(Config()).speak("Hello.", Style(), 16_000)]

    with pytest.raises(ClientError) as refused:
        asyncio.run(main())
    assert refused.value.code == "not_ready"
    with pytest.raises(ClientError) as refused:
        App(Config()).transcribe(Recording(16_000, iter(())), "auto")
    assert refused.value.code == "not_ready"


class Busy(Lane):
    """A lane that works so large a share of the time."""

    share = 0.0

    def busy_s(self) -> float:
        return self.share * clock.now()


def on_a_busy_lane(main: Callable[[Busy], Coroutine[Any, Any, None]]) -> None:
    lane = Busy("voice")
    try:
        virtual.run(main(lane))
    finally:
        lane.close()


def test_beyond_the_machines_capacity_a_client_is_refused_with_a_reason_though_there_are_places() -> None:
    async def main(lane: Busy) -> None:
        server = app(engines=lineup(lanes=(lane,)))
        watching = asyncio.create_task(server.watch())
        server.open_session(lambda fact: None)
        lane.share = 0.85
        await asyncio.sleep(12.0)
        with pytest.raises(ClientError) as refused:
            server.open_session(lambda fact: None)
        assert refused.value.code == "server_full"
        assert "voice would work 85% of the time" in refused.value.message
        assert 'duologue_sessions_refused_total{reason="load"} 1.0' in server.metrics().decode()
        watching.cancel()

    on_a_busy_lane(main)


def test_who_comes_back_is_not_refused_for_the_work_that_was_done_for_them() -> None:
    """They opened the page anew, say, while their old session waits for them to come back."""

    async def main(lane: Busy) -> None:
        server = app(engines=lineup(lanes=(lane,)))
        watching = asyncio.create_task(server.watch())
        before = server.open_session(lambda fact: None)
        running = asyncio.create_task(before.run())
        lane.share = 0.85
        await asyncio.sleep(12.0)
        before.detach()
        server.open_session(lambda fact: None).close()
        before.attach(lambda fact: None, 0, 0.0)
        await asyncio.sleep(12.0)
        with pytest.raises(ClientError):
            server.open_session(lambda fact: None)
        running.cancel()
        watching.cancel()

    on_a_busy_lane(main)


def test_a_rehearsal_on_engines_that_work_elsewhere_finds_that_a_conversation_costs_nothing_here() -> None:
    async def main() -> None:
        server = app()
        await server.rehearse()
        assert server.share_of_one == 0.0

    virtual.run(main())


class Buggy(ScriptedWriter):
    async def write(self, prompt: Prompt) -> AsyncIterator[Piece]:
        async for piece in super().write(prompt):
            yield piece
            raise ValueError("a bug")


@pytest.mark.parametrize("writer", [ScriptedWriter(fail_at=0), Buggy()], ids=["fails", "has a bug"])
def test_a_rehearsal_that_fails_leaves_a_server_that_runs(
    writer: ScriptedWriter, caplog: pytest.LogCaptureFixture
) -> None:
    async def main() -> None:
        server = app(engines=lineup(writer=writer))
        await server.rehearse()
        assert server.share_of_one == 0.0

    virtual.run(main())
    assert "rehearsal failed" in caplog.text


def test_a_rehearsal_measures_what_the_busiest_engine_does_for_a_conversation() -> None:
    class OnALane(ScriptedSpeaker):
        async def speak(self, text: AsyncIterator[str], style: Style) -> AsyncIterator[Sound]:
            async for sound in super().speak(text, style):
                await lane.run(time.sleep, 0.02)
                yield sound

    async def main() -> None:
        server = app(engines=lineup(speakers=(OnALane(),), lanes=(lane,)))
        await server.rehearse()
        assert 0.001 < server.share_of_one < 1.0

    lane = Lane("voice")
    try:
        asyncio.run(main())
    finally:
        lane.close()
