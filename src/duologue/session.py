"""One conversation: drives the core with the engines and tells one client.

Everything that decides is in `core`; everything that happens comes to the dispatcher by a plain call. What is to be done about it
is done by the session's parts: `Listener` hears the user, `Replies` answers, `Edits` changes the history. Knows neither JSON nor
sockets: commands come in through `command`, facts leave through `tell`.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from typing import Any, Literal

from duologue import clock
from duologue import protocols as p
from duologue.audio import INPUT_RATE, OUTPUT_RATE, Frame
from duologue.conduct import Conduct
from duologue.config import Config, Conversation
from duologue.conversation import ConversationManager
from duologue.core import events as e
from duologue.core.playout import Pacing
from duologue.core.turns import Manners, Phase, Turns
from duologue.dispatcher import Dispatcher
from duologue.ear import BY_HAND_S
from duologue.edits import Edits
from duologue.engines.lineup import Lineup
from duologue.errors import ClientError
from duologue.feelings import Feelings
from duologue.intake import Edge, Intake
from duologue.listener import Listener
from duologue.part import Shared
from duologue.replies import Replies
from duologue.trace import LatencyMeter, Sink, Trace, Waterfall
from duologue.understanding import Understanding
from duologue.wishes import Wishes
from duologue.work import Work

State = Literal["listening", "hearing", "thinking", "speaking"]

STATES: Mapping[Phase, State] = {
    Phase.IDLE: "listening",
    Phase.HEARING: "hearing",
    Phase.PAUSED: "hearing",
    Phase.THINKING: "thinking",
    Phase.SPEAKING: "speaking",
    Phase.OVERLAP: "hearing",
    Phase.BESIDE: "hearing",
}

HEARING = (Phase.HEARING, Phase.PAUSED, Phase.OVERLAP, Phase.BESIDE)
"""A turn is being taken."""

MISSED_FACTS = 2_000
"""Kept for a client that is away; beyond it the oldest go. Its sound waits where it is made and is not among them."""


class Session:
    """`tell` is called with each fact, in order, and must neither block nor wait. Make it inside a running loop.

    `pacing` and `turn_taking` where the client's protocol has its own; `input_rate` and `output_rate` in Hz are the client's;
    `sinks` get the trace; while the machine is `strained`, nothing is drafted; what is heard `beside` the conversations is heard
    one at a time.
    """

    def __init__(
        self,
        name: str,
        config: Config,
        lineup: Lineup,
        tell: Callable[[p.Fact], None],
        *,
        input_rate: int = INPUT_RATE,
        output_rate: int = OUTPUT_RATE,
        pacing: Pacing | None = None,
        turn_taking: p.TurnTaking | None = None,
        sinks: tuple[Sink, ...] = (),
        strained: Callable[[], bool] = lambda: False,
        beside: asyncio.Lock | None = None,
    ) -> None:
        self.name = name
        self._excuses = turn_taking is None
        turn_taking = turn_taking or p.TurnTaking(config.speech, config.patience, Manners())
        settings = config.conversation
        self.conversation = ConversationManager(settings.context_window, settings.max_history)
        self._config = config
        self._lineup = lineup
        self._strained = strained
        self._beside = beside or asyncio.Lock()
        self._tell_client = tell
        self._wishes = Wishes(settings, turn_taking, pacing or config.pacing, output_rate)
        self._trace = Trace(clock.now(), *sinks, LatencyMeter(self._tell_latency))
        self._turns = Turns(turn_taking.patience, turn_taking.manners)
        self._dispatcher = Dispatcher(
            self._turns, self._trace, lambda todo: self._conduct.carry_out(todo), self._tell_state
        )
        self._intake = self._open_intake(input_rate)
        self._handed_over_at = 0  # microphone sample at which the client last ended a turn: the next one begins there
        self._used_at = clock.now()
        self._missed: deque[p.Fact] = deque(maxlen=MISSED_FACTS)
        self._state: State = "listening"
        self._work: Work
        self._listener: Listener
        self._replies: Replies
        self._edits: Edits
        self._feelings: Feelings
        self._understanding: Understanding | None = None
        self._conduct: Conduct

    @property
    def settings(self) -> Conversation:
        return self._wishes.settings

    # ── Life ──────────────────────────────────────────────────────────────────────────────────────────────────────

    async def run(self) -> None:
        """Until cancelled, or nothing was said or typed for `limits.idle_s`. Call `command` only while this runs."""
        try:
            async with asyncio.TaskGroup() as tasks:
                self._make_parts(tasks)
                self._tell(p.Ready(self.name, self._in_force(), self._lineup.names()))
                for warning in self._lineup.warnings:
                    self._tell(p.Degraded(warning))
                await self._until_idle()
                self._work.cancel()
        finally:
            self._intake.close()
            self._dispatcher.close()
            self._lineup.writer.forget(self.name)

    def _make_parts(self, tasks: asyncio.TaskGroup) -> None:
        self._work = work = Work(tasks, lambda *what: self._conduct.fail(*what))
        happened, wishes, history = self._dispatcher.happened, self._wishes, self.conversation
        shared = Shared(self.name, self._config, self._lineup, wishes, history, work, happened, self._tell)
        self._edits = Edits(shared, self._beside)
        if (model := self._lineup.speech_model) is not None:
            self._understanding = Understanding(replace(shared, tell=self._tell_understood), model)
        self._listener = Listener(
            shared,
            self._turns,
            speaking=lambda: self._replies.written,
            more_said=self._more_said,
            closed=lambda turn, text, error: self._conduct.closed(turn, text, error),
        )
        self._feelings = feelings = Feelings(shared, self._listener.audio_of)
        self._replies = Replies(shared, self._mark, self._settled, feelings)
        parts = (self._turns, self._listener, self._replies, feelings, self._understanding)
        self._conduct = Conduct(shared, *parts, self._since, self._strained, excuses=self._excuses)

    def _more_said(self, turn: e.Turn) -> None:
        self._replies.void_draft()
        self._feelings.heard(turn)

    async def _settled(self) -> bool:
        waited = await self._listener.settled()
        waited = await self._edits.settled() or waited
        return (self._understanding is not None and await self._understanding.settled()) or waited

    async def _until_idle(self) -> None:
        limit_s = self._config.limits.idle_s
        while (left_s := self._used_at + limit_s - clock.now()) > 0:  # noqa: ASYNC110 (time is what is waited for)
            await asyncio.sleep(left_s)
        self._tell(p.Failure("idle_timeout", f"nothing was said or typed for {limit_s:g} s"))

    def detach(self) -> None:
        """The client is gone and may be back: its sound waits, and so do the facts that it misses."""
        self._tell_client = self._missed.append
        self._replies.park()

    def attach(self, tell: Callable[[p.Fact], None], turn: int, played_ms: float) -> None:
        """The client is back, and had played so much of the reply to `turn`. It is told how things stand and what it missed.

        What it never heard of a reply that is over is said again, as a reply of its own.
        """
        unheard = self._replies.take_unheard(turn, played_ms) if self._turns.phase is Phase.IDLE else ""
        self._tell_client = tell
        self._tell(p.Ready(self.name, self._in_force(), self._lineup.names(), said=self._said()))
        while self._missed:
            tell(self._missed.popleft())
        tell(p.StateChanged(self._turns.hearing.number, self._state))
        self._replies.unpark(turn, played_ms)
        if unheard:
            self._replies.unsaid = unheard
            self._dispatcher.happened(e.Asked())

    def _said(self) -> tuple[p.Said, ...]:
        turns = self.conversation.export_conversation()["turns"]
        return tuple(p.Said(turn["role"], turn["content"], turn["metadata"].get("turn")) for turn in turns)

    # ── What the client asks ──────────────────────────────────────────────────────────────────────────────────────

    def command(self, command: p.Command) -> None:
        """At once. Raises `ClientError`; the session lives on."""
        COMMANDS[type(command)](self, command)

    def _microphone(self, command: p.Microphone) -> None:
        if self._wishes.by_hand and self._waiting_s + len(command.samples) / self._intake.rate > BY_HAND_S:
            text = f"more than {BY_HAND_S:g} s of sound wait to be understood; send the rest when some of it has been"
            raise ClientError("too_much_sound", text)
        if self._wishes.by_hand and self._turns.phase not in HEARING:
            self._dispatcher.happened(e.SpeechStarted(self._handed_over_at, 0.0))
        self._intake.push(command.samples)

    def _type(self, command: p.Type) -> None:
        text, longest = command.text, self._config.limits.text_chars
        if not text.strip():
            raise ClientError("empty_text", "the typed text is empty")
        if len(text) > longest:
            raise ClientError("text_too_long", f"{len(text)} characters were typed; at most {longest} are taken")
        self._used_at = clock.now()
        self._listener.typed(text)
        self._dispatcher.happened(e.Typed(text.strip()))

    def _interrupt(self, command: p.Interrupt) -> None:
        if command.turn is not None and command.turn < 0:
            return self._replies.end_aside(command.turn)
        if command.turn in (None, self._turns.replying and self._turns.replying.number):
            self._dispatcher.happened(e.StopPressed())
        return None

    def _end_turn(self, command: p.EndTurn) -> None:
        if self._wishes.by_hand and self._turns.phase not in HEARING:
            raise ClientError("nothing_to_end", "nothing was said since the last turn ended")
        self._used_at = clock.now()
        self._handed_over_at = self._intake.at
        self._dispatcher.happened(e.TurnHandedOver())

    def _clear_microphone(self, command: p.ClearMicrophone) -> None:
        self._handed_over_at = self._intake.at
        self._dispatcher.happened(e.TurnTakenBack())
        self._tell(p.MicrophoneCleared())

    def _cursor(self, command: p.Cursor) -> None:
        self._replies.cursor(command.turn, command.played_ms)

    def _clear_history(self, command: p.ClearHistory) -> None:
        self._dispatcher.happened(e.StopPressed())
        self._replies.void_draft()
        self.conversation.clear_history()
        self._feelings.forget()

    def _export(self, command: p.Export) -> None:
        self._tell(p.Exported(self.conversation.export_conversation()))

    def _restore(self, command: p.Restore) -> None:
        if self._turns.hearing.number:
            raise ClientError("not_new", "only a session in which nothing was said yet can take over a conversation")
        for role, text in command.turns:
            self.conversation.add_turn(role, text)
        if command.unheard.strip():
            self._replies.unsaid = command.unheard.strip()
            self._dispatcher.happened(e.Asked())

    def _respond(self, command: p.Respond) -> None:
        self._used_at = clock.now()
        self._replies.check(command.request)
        if command.request.aside:
            return self._replies.begin_aside(command.request)
        self._replies.request = command.request
        return self._dispatcher.happened(e.Asked())

    def _withdraw(self, command: p.Withdraw) -> None:
        request = self._replies.request
        if request is not None and request.name == command.name:
            self._dispatcher.happened(e.Withdrawn())

    def _add_item(self, command: p.AddItem) -> None:
        self._used_at = clock.now()
        self._edits.add(command)

    def _remove_item(self, command: p.RemoveItem) -> None:
        self._edits.remove(command)

    def _show_item(self, command: p.ShowItem) -> None:
        self._edits.show(command)

    def _cut_item(self, command: p.CutItem) -> None:
        replying = self._turns.replying
        if replying is not None and command.id == p.reply_item(self.name, replying.number):
            self._replies.cursor(replying.number, command.at_ms)
            self._dispatcher.happened(e.StopPressed())
        self._edits.cut(command)

    def _configure(self, command: p.Configure) -> None:
        """Settings of `config.Conversation`; and the client's rates, which its protocol lets change only before any sound."""
        chosen, wishes = dict(command.settings), self._wishes
        self._lineup.check_voice(chosen.get("voice", ""))
        wishes.output_rate = chosen.pop("output_rate", wishes.output_rate)
        input_rate = chosen.pop("input_rate", self._intake.rate)
        if input_rate != self._intake.rate:
            self._intake.close()
            self._intake = self._open_intake(input_rate)
        wishes.settings = replace(wishes.settings, **chosen)
        wishes.writing = command.writing or wishes.writing
        if command.turn_taking is not None:
            self._take_turns(command.turn_taking)
        self.conversation.resize(wishes.settings.context_window, wishes.settings.max_history)
        self._tell(p.Configured(self._in_force()))

    def _take_turns(self, wanted: p.TurnTaking) -> None:
        had, self._wishes.turn_taking = self._wishes.turn_taking, wanted
        if (had.manners.by_hand, had.speech) != (wanted.manners.by_hand, wanted.speech):
            self._dispatcher.happened(
                e.TurnTakenBack()
            )  # the turn that is being heard would never be ended by the new rules
            self._intake.settle(wanted.speech)
            self._intake.edges = not wanted.manners.by_hand
            self._handed_over_at = self._intake.at
        self._turns.patience, self._turns.manners = wanted.patience, wanted.manners

    @property
    def _waiting_s(self) -> float:
        """Of sound whose words are not known yet."""
        return self._listener.waiting_s + (self._understanding.waiting_s if self._understanding is not None else 0.0)

    def _in_force(self) -> dict[str, Any]:
        rates = {"input_rate": self._intake.rate, "output_rate": self._wishes.output_rate}
        return asdict(self._wishes.settings) | rates

    def _open_intake(self, rate: int) -> Intake:
        speech = self._wishes.turn_taking.speech
        intake = Intake(rate, self._lineup.vad.open(), speech, self._frame, self._edge, self._stir)
        intake.edges = not self._wishes.by_hand
        return intake

    # ── What happens ──────────────────────────────────────────────────────────────────────────────────────────────

    def _frame(self, frame: Frame) -> None:
        self._listener.frame(frame)

    def _edge(self, edge: Edge, at: int) -> None:
        self._used_at = clock.now()
        self._dispatcher.happened(edge)
        speaking = isinstance(edge, e.SpeechStarted)
        self._tell(p.UserSpeech(self._turns.hearing.number, speaking, at * 1000 / INPUT_RATE))

    def _stir(self) -> None:
        self._dispatcher.happened(e.VoiceStirred())

    def _since(self, at: int) -> list[Frame]:
        return self._intake.tape.since(at)

    # ── Telling ───────────────────────────────────────────────────────────────────────────────────────────────────

    def _tell(self, fact: p.Fact) -> None:
        if isinstance(fact, p.ReplyWord | p.Interrupted | p.Failure | p.ReplyDone) and fact.turn is not None:
            self._conduct.understand(fact.turn)  # the answer is under way, or never will be
        self._trace.note(clock.now(), "fact", fact)
        self._tell_client(fact)

    def _tell_understood(self, fact: p.Fact) -> None:
        self._tell(fact)
        if isinstance(fact, p.Understood):
            self._feelings.understood(fact.turn, fact.text)

    def _mark(self, mark: Any) -> None:
        self._trace.note(clock.now(), "mark", mark)

    def _tell_state(self) -> None:
        state = STATES[self._turns.phase]
        if state != self._state:
            self._state = state
            self._tell(p.StateChanged(self._turns.hearing.number, state))

    def _tell_latency(self, turn: int, waterfall: Waterfall) -> None:
        if self._replies.current is not None:
            self._replies.current.latency_ms = waterfall.marks["voice_to_voice"]
        self._tell(p.Latency(turn, waterfall.marks, waterfall.parts()))


COMMANDS: Mapping[type, Callable[[Session, Any], None]] = {
    p.Microphone: Session._microphone,
    p.Type: Session._type,
    p.Interrupt: Session._interrupt,
    p.EndTurn: Session._end_turn,
    p.Cursor: Session._cursor,
    p.Configure: Session._configure,
    p.ClearHistory: Session._clear_history,
    p.Export: Session._export,
    p.Restore: Session._restore,
    p.Ping: lambda session, command: session._tell_client(p.Pong()),  # of no interest to the trace
    p.ClearMicrophone: Session._clear_microphone,
    p.Respond: Session._respond,
    p.Withdraw: Session._withdraw,
    p.AddItem: Session._add_item,
    p.RemoveItem: Session._remove_item,
    p.ShowItem: Session._show_item,
    p.CutItem: Session._cut_item,
}
"""How each command is carried out."""
