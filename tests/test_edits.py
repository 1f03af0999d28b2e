"""Items that come as sound: heard one at a time, in order, behind whoever speaks; and gone when they are removed."""

from __future__ import annotations

import asyncio
import itertools
import threading
from collections.abc import AsyncIterator
from typing import Any

import numpy as np
import pytest
import virtual
from dialogue import TIMINGS, lineup, microphone, play, voice

from duologue import clock
from duologue.app import App
from duologue.audio import FRAME_S, Frame
from duologue.edits import AT_ONCE, LONGEST_FRAMES, _stream
from duologue.engines import Message, Pause, Prompt, Text, Transcript
from duologue.engines.scripted import ScriptedRecognizer, ScriptedWriter
from duologue.errors import ClientError
from duologue.places.thread import Lane
from duologue.protocols import (
    AddItem,
    Command,
    Fact,
    Item,
    ItemAdded,
    ItemHeard,
    ItemRemoved,
    RemoveItem,
    ReplyDone,
    ReplyRequest,
    Respond,
)
from duologue.session import Session


def sound(id: str, seconds: float = 1.0) -> AddItem:
    return AddItem(Item(id, "user", "", audio=voice(seconds)))


class Counting(ScriptedRecognizer):
    """Notes how many streams are open at once."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(partial_every_s=0, **settings)
        self.at_work = self.most = 0

    async def transcribe(self, audio: AsyncIterator[Frame | Pause]) -> AsyncIterator[Transcript]:
        self.at_work += 1
        self.most = max(self.most, self.at_work)
        try:
            async for transcript in super().transcribe(audio):
                yield transcript
        finally:
            self.at_work -= 1


class Writing(ScriptedWriter):
    """Notes what it is given."""

    def __init__(self) -> None:
        super().__init__()
        self.given: list[list[Message]] = []

    async def write(self, prompt: Prompt) -> AsyncIterator[Any]:
        self.given.append(list(prompt.messages))
        yield Text("Very well.")


# ── One at a time, in order ───────────────────────────────────────────────────────────────────────────────────────────


def test_items_of_one_session_are_heard_one_at_a_time_and_in_order() -> None:
    recognizer = Counting(texts=("one", "two", "three"), delay_s=0.5)
    commands = [(0.1, sound("a", 30.0)), (0.1, sound("b")), (0.1, sound("c"))]
    seen = play([], 4, engines=lineup(recognizer=recognizer), commands=commands)
    assert recognizer.most == 1
    assert [(fact.id, fact.text) for fact in seen.of(ItemHeard)] == [("a", "one"), ("b", "two"), ("c", "three")]


def test_sessions_of_a_server_take_turns_at_it() -> None:
    recognizer, numbers = Counting(delay_s=0.5), itertools.count(1)
    app = App(TIMINGS, lineup(recognizer=recognizer), names=lambda: str(next(numbers)))
    heard: list[str] = []

    def tell(fact: Fact) -> None:
        if isinstance(fact, ItemHeard):
            heard.append(fact.id)

    async def main() -> None:
        sessions = [app.open_session(tell) for _ in range(2)]
        running = [asyncio.create_task(session.run()) for session in sessions]
        await asyncio.sleep(0)
        for name in ("a", "b", "c"):
            sessions[0].command(sound(name))
        sessions[1].command(sound("x"))
        await asyncio.sleep(5.0)
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)

    virtual.run(main())
    assert recognizer.most == 1
    assert heard == ["a", "x", "b", "c"]


def test_whoever_speaks_is_heard_before_an_item_that_came_earlier() -> None:
    lane, order, asked = Lane("test"), list[str](), asyncio.Event()

    class OnALane(ScriptedRecognizer):
        async def transcribe(self, audio: AsyncIterator[Frame | Pause]) -> AsyncIterator[Transcript]:
            async for item in audio:
                if isinstance(item, Pause):
                    asyncio.get_running_loop().call_soon(asked.set)  # once it waits for the lane
                    await lane.run(order.append, "item")
                    yield Transcript("heard", final=True)

    async def main() -> None:
        busy, told = threading.Event(), asyncio.Event()
        first = asyncio.create_task(lane.run(busy.wait))
        session = Session("s", TIMINGS, lineup(recognizer=OnALane()), lambda fact: _set(told, fact))
        running = asyncio.create_task(session.run())
        await asyncio.sleep(0)
        session.command(sound("a"))
        await asked.wait()
        speaking = asyncio.create_task(lane.run(order.append, "speaker"))
        await asyncio.sleep(0)
        busy.set()
        await asyncio.gather(first, speaking, told.wait())
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)

    try:
        asyncio.run(main())
    finally:
        lane.close()
    assert order == ["speaker", "item"]


def _set(told: asyncio.Event, fact: Fact) -> None:
    if isinstance(fact, ItemHeard):
        told.set()


def test_waiting_for_others_is_no_failure_of_an_item() -> None:
    slow = 0.9 * TIMINGS.limits.engine_s
    engines = lineup(recognizer=Counting(delay_s=slow))
    seen = play([], 4 * slow, engines=engines, commands=[(0.1, sound(name)) for name in "abc"])
    assert [(fact.id, fact.error) for fact in seen.of(ItemHeard)] == [("a", ""), ("b", ""), ("c", "")]


# ── A bound ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def refusals(*steps: tuple[float, Command], seconds: float = 3.0, delay_s: float = 0.5) -> tuple[list[str], list[str]]:
    """The codes of what was refused, and the ids of what was added."""
    codes: list[str] = []

    async def main() -> list[Fact]:
        facts: list[Fact] = []
        session = Session("s", TIMINGS, lineup(recognizer=Counting(delay_s=delay_s)), facts.append)
        running = asyncio.create_task(session.run())
        await asyncio.sleep(0)
        for at, command in steps:
            await asyncio.sleep(max(0.0, at - clock.now()))
            try:
                session.command(command)
            except ClientError as error:
                codes.append(error.code)
        await asyncio.sleep(seconds)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        return facts

    facts = virtual.run(main())
    return codes, [fact.item.id for fact in facts if isinstance(fact, ItemAdded)]


def test_only_so_much_sound_of_a_session_waits_to_be_understood() -> None:
    minutes = [(0.1, sound(name, 60.0)) for name in "abcd"]
    codes, added = refusals(*minutes, (9.0, sound("e", 60.0)))
    assert codes == ["too_much_sound"]
    assert added == ["a", "b", "c", "e"], "nothing was changed by the refusal, and there is room again later"


def test_a_great_many_short_items_are_much_too() -> None:
    codes, added = refusals(*[(0.1, sound(str(number), 0.01)) for number in range(200)])
    assert codes == ["too_much_sound"] * 20
    assert len(added) == 180


# ── Removed, and added again ──────────────────────────────────────────────────────────────────────────────────────────


def test_a_removed_item_is_no_longer_heard_and_nobody_waits_for_it() -> None:
    recognizer = Counting(delay_s=5.0)
    commands = [(0.1, sound("a")), (0.5, RemoveItem("a")), (0.6, Respond(ReplyRequest("mine")))]
    seen = play([], 9, engines=lineup(recognizer=recognizer), commands=commands)
    assert len(seen.of(ItemRemoved)) == 1
    assert seen.of(ItemHeard) == []
    assert recognizer.at_work == 0
    assert seen.times(ReplyDone)[0] < 4.0


def test_an_item_that_is_removed_as_soon_as_it_came_is_waited_for_by_nobody() -> None:
    commands = [(0.1, sound("a")), (0.1, RemoveItem("a")), (0.2, Respond(ReplyRequest("mine")))]
    seen = play([], 3, commands=commands)
    assert seen.of(ItemHeard) == []
    assert seen.of(ReplyDone)


def test_an_item_that_is_removed_while_it_waits_lets_the_next_one_be_heard() -> None:
    commands = [(0.1, sound("a")), (0.1, sound("b")), (0.1, sound("c")), (0.2, RemoveItem("b"))]
    seen = play([], 4, engines=lineup(recognizer=Counting(texts=("one", "two"), delay_s=0.5)), commands=commands)
    assert [(fact.id, fact.text) for fact in seen.of(ItemHeard)] == [("a", "one"), ("c", "two")]


def test_a_reply_waits_for_the_words_of_an_item_that_took_a_removed_ones_name() -> None:
    writer = Writing()
    recognizer = Counting(texts=("the first", "the second"), delay_s=1.0)
    commands = [(0.1, sound("a")), (0.5, RemoveItem("a")), (0.5, sound("a")), (0.6, Respond(ReplyRequest("mine")))]
    seen = play([], 6, engines=lineup(recognizer=recognizer, writer=writer), commands=commands)
    assert seen.of(ItemHeard) == [ItemHeard("a", "the second")]
    assert [message.content for message in writer.given[0] if message.role == "user"] == ["the second"]


# ── Long sound ────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_long_sound_has_pauses_where_it_is_quiet() -> None:
    async def pauses() -> list[int]:
        items = [item async for item in _stream(microphone([(0, 9.5), (9.9, 20.0), (20.4, 30.0)], 30.0))]
        return [at - number for number, at in enumerate(at for at, item in enumerate(items) if isinstance(item, Pause))]

    found = asyncio.run(pauses())
    assert [at * FRAME_S for at in found] == pytest.approx([9.7, 20.2, 30.0], abs=0.25)
    assert max(np.diff([0, *found])) <= LONGEST_FRAMES


def test_the_words_of_long_sound_are_those_of_all_of_it() -> None:
    def texts(stream: int, heard_s: float) -> str:
        return f"{heard_s:.0f} seconds"

    engines = lineup(recognizer=ScriptedRecognizer(texts=texts, partial_every_s=0))
    seen = play([], 4, engines=engines, commands=[(0.1, sound("a", 50.0))])
    assert seen.of(ItemHeard) == [ItemHeard("a", "50 seconds")]


def test_others_run_while_long_sound_is_handed_over() -> None:
    async def main() -> tuple[int, int]:
        frames = others = 0

        async def other() -> None:
            nonlocal others
            while True:
                others += 1
                await asyncio.sleep(0)

        running = asyncio.create_task(other())
        async for _ in _stream(voice(30.0)):
            frames += 1
        running.cancel()
        return frames, others

    frames, others = asyncio.run(main())
    assert others >= frames // AT_ONCE


def test_a_recogniser_that_fails_is_told_with_the_item() -> None:
    class Failing(ScriptedRecognizer):
        async def transcribe(self, audio: AsyncIterator[Frame | Pause]) -> AsyncIterator[Transcript]:
            async for item in audio:
                yield Transcript(str(item.bug), final=False)  # type: ignore[union-attr]

    engines = lineup(recognizer=Failing())
    seen = play([], 4, engines=engines, commands=[(0.1, sound("a")), (0.2, Respond(ReplyRequest("mine")))])
    (heard,) = seen.of(ItemHeard)
    assert (heard.id, heard.text) == ("a", "")
    assert heard.error
    assert seen.of(ReplyDone), "nobody waits for its words"
