"""What a client may ask of a session beside talking: replies on request, turns by hand, edits of the history, coming back."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any

import laws
import numpy as np
import pytest
import virtual
from dialogue import TIMINGS, Dialogue, decided_at, lineup, play, says, voice

from duologue import clock
from duologue.audio import FRAME_S, INPUT_RATE, Frame
from duologue.core.turns import Manners
from duologue.ear import BY_HAND_S
from duologue.engines import Pause, Prompt, Text, Tool, ToolCall, ToolCallPart, Transcript
from duologue.engines.scripted import ScriptedRecognizer, ScriptedWriter
from duologue.errors import ClientError, EngineError
from duologue.protocols import (
    AddItem,
    ClearHistory,
    ClearMicrophone,
    Command,
    Configure,
    Cursor,
    CutItem,
    EndTurn,
    Fact,
    Heard,
    Interrupt,
    Interrupted,
    Item,
    ItemAdded,
    ItemCut,
    ItemHeard,
    ItemRemoved,
    ItemShown,
    Microphone,
    Nudged,
    RemoveItem,
    Reopened,
    ReplyAudio,
    ReplyBegan,
    ReplyCall,
    ReplyCallPart,
    ReplyDone,
    ReplyRequest,
    ReplyWithdrawn,
    ReplyWord,
    ReplyWritten,
    Respond,
    Restore,
    ShowItem,
    StateChanged,
    TurnDropped,
    TurnTaking,
    Type,
    Understood,
    Withdraw,
    Writing,
    call_item,
    reply_item,
    user_item,
)
from duologue.session import Session

LONG = (
    "This is a long reply that goes on for a while, so that there is time enough to do something in the middle of it."
)


def manners(**chosen: Any) -> Configure:
    return Configure(turn_taking=TurnTaking(TIMINGS.speech, TIMINGS.patience, Manners(**chosen)))


def order(dialogue: Dialogue, *kinds: type) -> list[str]:
    return [type(fact).__name__ for _, fact in dialogue.facts if isinstance(fact, kinds)]


class Prompts:
    """A writer that keeps what it was asked, and answers from a script."""

    about = ScriptedWriter().about

    def __init__(self, *answers: Any) -> None:
        self.seen: list[Prompt] = []
        self._answers = list(answers)

    async def write(self, prompt: Prompt) -> Any:
        self.seen.append(prompt)
        for piece in self._answers.pop(0) if self._answers else [Text("Very well.")]:
            await asyncio.sleep(0.05)
            yield piece

    async def prefill(self, prompt: Prompt) -> None: ...

    def forget(self, conversation: str) -> None: ...


def last_words(writer: Prompts) -> list[str]:
    return [f"{message.role}: {message.content}" for message in writer.seen[-1].messages if message.role != "system"]


# ── Replies on request ────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_reply_is_made_when_it_is_asked_for_and_only_then() -> None:
    seen = play(
        [(1, 2)],
        8,
        engines=lineup(recognizer=says("hello")),
        commands=[(0.1, manners(answers=False)), (5.0, Respond(ReplyRequest("mine")))],
    )
    assert seen.of(Heard)[-1].text == "hello"
    assert seen.of(ReplyBegan) == [ReplyBegan(2, "mine", True, False)]
    assert seen.history == [("user", "hello"), ("assistant", "You said: hello")]


def test_a_reply_asked_for_in_mid_turn_answers_that_turn() -> None:
    seen = play(
        [(1, 2)],
        6,
        engines=lineup(recognizer=says("hello")),
        commands=[(0.1, manners(answers=False)), (1.5, Respond(ReplyRequest("mine")))],
    )
    assert seen.of(ReplyBegan) == [ReplyBegan(1, "mine", True, True)]


def test_what_a_request_wants_holds_for_one_reply() -> None:
    writer = Prompts()
    wants = ReplyRequest(
        instructions="Be brief.",
        items=(Item("x", "user", "Only this."),),
        writing=Writing((Tool("f"),), "none", 7, spoken=False),
    )
    seen = play([], 6, engines=lineup(writer=writer), commands=[(0.1, Respond(wants)), (3.0, Type("And now?"))])
    first, second = writer.seen
    assert [message.content for message in first.messages] == ["Be brief.", "Only this."]
    assert (first.tools, first.tool_choice, first.max_tokens) == ((Tool("f"),), "none", 7)
    assert [message.content for message in second.messages] == [
        TIMINGS.conversation.instructions,
        "Very well.",
        "And now?",
    ][::2]
    assert second.tools == ()
    assert [began.spoken for began in seen.of(ReplyBegan)] == [False, True]


def test_a_reply_in_text_alone_has_no_sound_and_is_done_when_it_is_written() -> None:
    seen = play([], 4, commands=[(0.1, Configure(writing=Writing(spoken=False))), (0.2, Type("hello"))])
    assert order(seen, ReplyBegan, ReplyAudio, ReplyWritten, ReplyDone) == ["ReplyBegan", "ReplyWritten", "ReplyDone"]
    assert not any(word.has_audio for word in seen.of(ReplyWord))
    assert seen.history[-1] == ("assistant", "You said: hello")


def test_a_reply_has_at_most_the_tokens_that_it_may_have() -> None:
    seen = play([], 6, commands=[(0.1, Configure(writing=Writing(max_tokens=3))), (0.2, Type("one two three four"))])
    assert seen.of(ReplyDone)[0].text == "You said: one"
    assert not seen.of(ReplyDone)[0].complete
    assert not seen.of(ReplyWritten)[0].complete


def test_asides_run_beside_the_reply_and_leave_no_trace_in_the_history() -> None:
    aside = Respond(
        ReplyRequest("aside", aside=True, items=(Item("x", "user", "Sum it up."),), writing=Writing(spoken=False))
    )
    seen = play([], 8, commands=[(0.1, Type("hello there")), (0.3, aside), (0.31, aside)])
    began = [(fact.turn, fact.request) for fact in seen.of(ReplyBegan)]
    assert began == [(1, ""), (-1, "aside"), (-2, "aside")]
    assert {done.turn: done.text for done in seen.of(ReplyDone)} == {
        1: "You said: hello there",
        -1: "You said: Sum it up.",
        -2: "You said: Sum it up.",
    }
    assert seen.history == [("user", "hello there"), ("assistant", "You said: hello there")]


def test_an_aside_can_be_stopped_without_touching_the_reply() -> None:
    aside = Respond(ReplyRequest(aside=True, items=(Item("x", "user", LONG),)))
    seen = play([], 12, commands=[(0.1, Type("hello there")), (0.3, aside), (1.0, Interrupt(-1)), (1.1, Interrupt(-1))])
    assert [cut.turn for cut in seen.of(Interrupted)] == [-1]
    assert [done.turn for done in seen.of(ReplyDone)] == [1]


def test_a_reply_that_was_asked_for_and_has_not_begun_can_be_withdrawn() -> None:
    asks = [(0.1, Type("hello there")), (0.4, Respond(ReplyRequest("later")))]
    seen = play([], 8, commands=[*asks, (0.5, Withdraw("another")), (0.6, Withdraw("later"))])
    assert seen.of(ReplyWithdrawn) == [ReplyWithdrawn("later")]
    assert len(seen.of(ReplyBegan)) == len(seen.of(ReplyDone)) == 1
    seen = play([], 8, commands=[*asks, (0.9, Interrupt())])
    assert seen.of(ReplyWithdrawn) == [ReplyWithdrawn("later")]


def refused(*commands: tuple[float, Command]) -> str:
    with pytest.raises(ClientError) as caught:
        play([], 3, commands=commands)
    return caught.value.code


def test_a_request_that_cannot_be_met_is_refused_at_once() -> None:
    assert refused((0.1, Respond(ReplyRequest(items=("nobody's",))))) == "unknown_item"
    assert refused((0.1, Respond(ReplyRequest(voice="nobody's")))) == "unknown_voice"
    aside = Respond(ReplyRequest(aside=True, items=(Item("x", "user", LONG),)))
    assert refused(*[(0.1 + at / 100, aside) for at in range(5)]) == "too_many_replies"


# ── Functions ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_call_reaches_the_client_and_its_answer_the_model() -> None:
    call = ToolCall("c1", "weather", '{"city":"Paris"}')
    writer = Prompts([ToolCallPart("c1", "weather", '{"city":'), ToolCallPart("c1", "weather", '"Paris"}'), call])
    tools = Configure(writing=Writing((Tool("weather"),)))
    answer = AddItem(Item("out", "tool", "sunny", answers="c1"))
    seen = play(
        [],
        6,
        engines=lineup(writer=writer),
        commands=[(0.1, tools), (0.2, Type("Weather in Paris?")), (2.0, answer), (2.1, Respond())],
    )
    assert [part.arguments for part in seen.of(ReplyCallPart)] == ['{"city":', '"Paris"}']
    assert seen.of(ReplyCall) == [ReplyCall(1, 0, call)]
    assert writer.seen[0].tools == (Tool("weather"),)
    assert [(m.role, m.content, m.calls, m.answers) for m in writer.seen[1].messages[1:]] == [
        ("user", "Weather in Paris?", (), ""),
        ("assistant", "", (call,), ""),
        ("tool", "sunny", (), "c1"),
    ]
    assert seen.of(ReplyDone)[-1].text == "Very well."


def test_an_answer_that_comes_before_the_speech_around_the_call_is_over_is_used_after_it() -> None:
    call = ToolCall("c1", "weather", "{}")
    writer = Prompts([Text("Let me have a look at the weather for you, one moment please."), call])
    answer = AddItem(Item("out", "tool", "sunny", answers="c1"))
    seen = play(
        [], 9, engines=lineup(writer=writer), commands=[(0.1, Type("Weather?")), (1.0, answer), (1.01, Respond())]
    )
    done, began = seen.times(ReplyDone)[0], seen.times(ReplyBegan)[1]
    assert began >= done
    assert [message.role for message in writer.seen[1].messages[1:]] == ["user", "assistant", "tool"]
    assert call_item("test", 1, 0) == "item_test_1c0"


# ── Turns by hand ─────────────────────────────────────────────────────────────────────────────────────────────────────

BY_HAND = manners(answers=False, yields=False, by_hand=True)


@dataclass
class Counted(ScriptedRecognizer):
    """Keeps how many seconds each stream was given."""

    seconds: list[float] = field(default_factory=list)

    async def transcribe(self, audio: AsyncIterator[Frame | Pause]) -> AsyncIterator[Transcript]:
        self.seconds.append(0.0)
        stream = len(self.seconds) - 1

        async def counted() -> AsyncIterator[Frame | Pause]:
            async for item in audio:
                self.seconds[stream] += FRAME_S if isinstance(item, Frame) else 0.0
                yield item

        async for transcript in super().transcribe(counted()):
            yield transcript


def test_a_turn_by_hand_is_what_came_until_the_client_said_so() -> None:
    seen = play(
        [],
        6,
        engines=lineup(recognizer=says("hello")),
        commands=[(0.1, BY_HAND), (2.0, EndTurn()), (2.01, Respond(ReplyRequest("mine")))],
    )
    assert [(fact.turn, fact.text) for fact in seen.of(Heard) if fact.final] == [(1, "")]
    assert seen.of(Understood) == [Understood(1, "hello", "en")]
    assert seen.of(ReplyBegan) == [ReplyBegan(2, "mine", True, False)]
    assert seen.history == [("user", "hello"), ("assistant", "You said: hello")], "the reply waits for the words"


def test_turns_by_hand_that_are_not_understood_yet_are_each_heard_whole_and_in_order() -> None:
    heard = Counted(texts=("one", "two", "three"), delay_s=4.0)
    ends: list[tuple[float, Command]] = [(at, EndTurn()) for at in (3.0, 9.0, 9.5)]
    commands = [(0.1, BY_HAND), *ends, (9.5, Respond(ReplyRequest("mine")))]
    seen = laws.kept("by_hand", play([], 30, engines=lineup(recognizer=heard), commands=commands))
    assert [(fact.turn, fact.text) for fact in seen.of(Understood)] == [(1, "one"), (2, "two"), (3, "three")]
    assert [round(t, 1) for t in decided_at(seen)] == [3.0, 9.0, 9.5], "the client is told at once"
    assert heard.seconds == pytest.approx([2.9, 6.0, 0.5, 20.5], abs=0.1)
    assert seen.history[:4] == [
        ("user", "one"),
        ("user", "two"),
        ("user", "three"),
        ("assistant", "You said: one two three"),
    ]


def test_a_turn_by_hand_whose_recogniser_fails_is_one_without_words() -> None:
    class Fails(ScriptedRecognizer):
        async def transcribe(self, audio: AsyncIterator[Frame | Pause]) -> AsyncIterator[Transcript]:
            self._streams += 1
            fails = self._streams == 1
            async for transcript in super().transcribe(audio):
                if fails:
                    raise EngineError("recognizer", "broke")
                yield transcript

    for at_s in (0.0, 9.0):  # while the user speaks, and at the end
        seen = play(
            [],
            9,
            engines=lineup(recognizer=Fails(texts=("one", "two"), partial_every_s=0.3 if not at_s else 0)),
            commands=[(0.1, BY_HAND), (2.0, EndTurn()), (4.0, EndTurn())],
        )
        first, second = seen.of(Understood)
        assert (first.turn, first.text) == (1, "")
        assert "broke" in first.error
        assert second == Understood(2, "two", "en")
        assert not seen.of(TurnDropped)


def test_more_sound_by_hand_than_may_wait_is_refused_and_what_was_taken_is_heard() -> None:
    heard, refused = Counted(texts=("one", "two"), delay_s=2.0), list[str]()

    def send(session: Session) -> None:
        for _ in range(40):
            try:
                session.command(Microphone(np.zeros(10 * INPUT_RATE, np.float32)))
            except ClientError as error:
                refused.append(error.code)
        session.command(EndTurn())
        with pytest.raises(ClientError, match="nothing was said"):
            session.command(EndTurn())

    def during(session: Session) -> None:
        session.command(BY_HAND)
        send(session)

    seen = play([], 6, engines=lineup(recognizer=heard), during=during)
    assert refused == ["too_much_sound"] * 10
    assert heard.seconds[0] == pytest.approx(BY_HAND_S, abs=0.1)
    assert [fact.text for fact in seen.of(Understood)] == ["one"]


def test_the_sound_after_a_turn_by_hand_belongs_to_the_next_one() -> None:
    seconds: dict[int, float] = {}

    def texts(stream: int, heard_s: float) -> str:
        seconds[stream] = heard_s
        return "hello"

    play(
        [],
        6,
        engines=lineup(recognizer=ScriptedRecognizer(texts=texts, partial_every_s=0)),
        commands=[(0.1, BY_HAND), (1.0, EndTurn()), (3.0, EndTurn())],
    )
    assert seconds[1] == pytest.approx(2.0, abs=0.1)


def test_what_was_said_by_hand_can_be_taken_back() -> None:
    seen = play(
        [],
        4,
        engines=lineup(recognizer=says("wrong", "right")),
        commands=[(0.1, BY_HAND), (1.0, ClearMicrophone()), (2.0, EndTurn())],
    )
    assert [fact.text for fact in seen.of(Understood)] == ["right"]
    assert len(seen.of(TurnDropped)) == 1


def test_changing_to_turns_by_hand_in_mid_speech_forgets_that_speech() -> None:
    seen = play([(1, 3)], 6, commands=[(2.0, BY_HAND), (4.0, EndTurn())])
    assert [fact.turn for fact in seen.of(TurnDropped)] == [1]
    assert [fact.turn for fact in seen.of(Heard) if fact.final] == [2]


def test_a_reply_that_does_not_yield_is_neither_held_nor_cut() -> None:
    engines = lineup(recognizer=says("tell me", "one more thing"), writer=ScriptedWriter(replies=(LONG, "Indeed.")))
    seen = play([(1, 2), (3.5, 4.5)], 14, engines=engines, commands=[(0.1, manners(yields=False))])
    assert not seen.of(Interrupted)
    assert seen.history == [
        ("user", "tell me"),
        ("assistant", LONG),
        ("user", "one more thing"),
        ("assistant", "Indeed."),
    ]


def test_nobody_speaks_for_long_and_the_model_goes_on() -> None:
    seen = play([(1, 2)], 9, commands=[(0.1, manners(nudge_s=2.0))])
    assert [fact.turn for fact in seen.of(Nudged)][:1] == [2]
    assert seen.of(ReplyBegan)[1].turn == 2


# ── Edits ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_items_are_added_shown_and_removed() -> None:
    one, two = Item("one", "user", "First."), Item("two", "system", "Be kind.")
    seen = play(
        [],
        3,
        commands=[
            (0.1, AddItem(one)),
            (0.2, AddItem(two, after="")),
            (0.3, ShowItem("one")),
            (0.4, RemoveItem("two")),
        ],
    )
    assert seen.of(ItemAdded) == [ItemAdded(one, None), ItemAdded(two, None)]
    assert seen.of(ItemShown) == [ItemShown(one)]
    assert seen.of(ItemRemoved) == [ItemRemoved("two")]
    assert seen.history == [("user", "First.")]


def test_a_spoken_turn_and_its_reply_are_items_too() -> None:
    seen = play([(1, 2)], 6, commands=[(5.0, ShowItem(user_item("test", 1))), (5.1, ShowItem(reply_item("test", 1)))])
    assert [(fact.item.role, fact.item.text) for fact in seen.of(ItemShown)] == [
        ("user", "Hello there."),
        ("assistant", "You said: Hello there."),
    ]


def test_a_reply_waits_until_an_item_that_came_as_sound_is_understood() -> None:
    writer = Prompts()
    seen = play(
        [],
        5,
        engines=lineup(recognizer=says("a spoken item", delay_s=1.0), writer=writer),
        commands=[(0.1, AddItem(Item("sound", "user", "", audio=voice(1.0)))), (0.2, Respond())],
    )
    assert seen.of(ItemHeard) == [ItemHeard("sound", "a spoken item")]
    assert last_words(writer) == ["user: a spoken item"]


def test_the_client_knows_best_how_much_of_a_reply_was_heard() -> None:
    writer = Prompts([Text("one two three four five six seven eight nine ten")])
    item = reply_item("test", 1)
    seen = play(
        [],
        14,
        engines=lineup(writer=writer),
        commands=[(0.1, Type("count")), (1.6, Interrupt()), (1.7, CutItem(item, 500.0)), (2.0, Type("again"))],
    )
    cut = seen.of(ItemCut)[0]
    assert cut.at_ms == 500.0
    assert cut.text
    assert seen.of(Interrupted)[0].heard_text.startswith(cut.text)
    assert cut.text != seen.of(Interrupted)[0].heard_text
    assert last_words(writer) == ["user: count", f"assistant: {cut.text}", "user: again"]


def test_cutting_a_reply_that_plays_ends_it_there() -> None:
    item = reply_item("test", 1)
    seen = play([], 9, commands=[(0.1, Type("count to ten please")), (1.2, CutItem(item, 10_000.0))])
    assert [fact.turn for fact in seen.of(Interrupted)] == [1]
    assert seen.of(ItemCut)[0].at_ms == seen.of(Interrupted)[0].heard_ms
    assert not seen.of(ReplyDone)


@pytest.mark.parametrize(
    "command", [ShowItem("x"), RemoveItem("x"), CutItem("x", 0.0), AddItem(Item("y", "user", "hi"), "x")]
)
def test_an_edit_of_an_unknown_item_is_refused(command: Command) -> None:
    assert refused((0.1, command)) == "unknown_item"


def test_a_cleared_history_is_not_in_the_draft_that_was_being_written() -> None:
    writer = Prompts()
    play([], 5, engines=lineup(writer=writer), commands=[(0.1, Type("old")), (2.0, ClearHistory()), (2.1, Type("new"))])
    assert last_words(writer) == ["user: new"]


# ── A client that goes and comes back ─────────────────────────────────────────────────────────────────────────────────


def away(
    from_s: float, to_s: float, turn: int, played_ms: float, then: Callable[[Session], None] | None = None
) -> Dialogue:
    """A reply to typed words; the client is away in the middle of it."""
    seen = Dialogue()

    async def main() -> None:
        began = clock.now()

        def tell(fact: Fact) -> None:
            seen.facts.append((round(clock.now() - began, 4), fact))

        session = Session("test", TIMINGS, lineup(writer=ScriptedWriter(replies=(LONG,))), tell)
        running = asyncio.create_task(session.run())
        await asyncio.sleep(0.1)
        session.command(Type("hello"))
        for _ in range(round(from_s / 0.1)):
            await asyncio.sleep(0.1)
            session.command(Cursor(turn, played_ms))
        session.detach()
        seen.facts.append((round(clock.now() - began, 4), StateChanged(0, "listening")))
        await asyncio.sleep(to_s - from_s)
        session.attach(tell, turn, played_ms)
        await asyncio.sleep(12)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)

    virtual.run(main())
    return seen


def test_a_client_that_comes_back_hears_the_rest_from_where_it_was() -> None:
    seen = away(2.0, 30.0, turn=1, played_ms=1000.0)
    left = next(at for at, (_, fact) in enumerate(seen.facts) if isinstance(fact, StateChanged) and fact.turn == 0)
    before, after = (
        [fact for _, fact in facts if isinstance(fact, ReplyAudio)] for facts in (seen.facts[:left], seen.facts[left:])
    )
    unheard = b"".join(audio.pcm for audio in before)[48_000:]
    assert unheard
    assert after[0].at_ms == 1000.0
    assert b"".join(audio.pcm for audio in after).startswith(unheard)
    assert [audio.index for audio in (*before, *after)] == list(range(len(before) + len(after)))
    assert seen.of(ReplyDone)[0].text == LONG


def test_a_client_that_was_away_from_before_the_first_word_misses_nothing() -> None:
    seen = away(0.0, 20.0, turn=0, played_ms=0.0)
    assert "".join(word.text for word in seen.of(ReplyWord)).startswith(LONG)
    assert seen.of(ReplyAudio)[0].at_ms == 0.0
    assert min(t for t, fact in seen.facts if isinstance(fact, ReplyAudio)) > 20.0


def test_a_conversation_begun_elsewhere_goes_on_here() -> None:
    writer = Prompts()
    restore = Restore([("user", "Where were we?"), ("assistant", "In the middle")], "of a sentence.")
    seen = play([], 6, engines=lineup(writer=writer), commands=[(0.1, restore), (4.0, Type("go on"))])
    assert seen.of(ReplyDone)[0].text == "of a sentence."
    assert last_words(writer) == ["user: Where were we?", "assistant: In the middle of a sentence.", "user: go on"]


def test_a_conversation_is_taken_over_only_before_anything_was_said() -> None:
    assert refused((0.1, Type("hello")), (2.0, Restore([("user", "x")]))) == "not_new"


def test_a_turn_can_be_reopened_though_the_client_has_removed_its_items() -> None:
    items = [RemoveItem(item("test", 1)) for item in (user_item, reply_item)]
    seen = play(
        [(1, 2), (2.7, 4.5)],
        9,
        engines=lineup(recognizer=says("what is", "the capital", "what is the capital")),
        commands=[(2.6, item) for item in items],
    )
    assert len(seen.of(Reopened)) == 1
    assert [fact.text for fact in seen.of(Heard) if fact.final][-1] == "what is the capital"
