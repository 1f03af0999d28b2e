"""One conversation: drives the core with the engines and tells one client.

The only place that starts tasks. Everything that decides is in `core`; everything that happens comes to `_happened` by a
plain call, is decided at once and run to completion: the dispatcher never waits, and two decisions never interleave.
Knows neither JSON nor sockets: commands come in through `command`, facts leave through `tell`.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Coroutine, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, replace
from functools import partial
from typing import Any, Literal, ParamSpec

from duologue import clock
from duologue.answer import Answer
from duologue.audio import INPUT_RATE, Frame
from duologue.config import Config, Conversation
from duologue.conversation import ConversationManager
from duologue.core.events import (
    Commit,
    Draft,
    Drop,
    Duck,
    Event,
    Failed,
    GoOn,
    Listen,
    Overheard,
    Reopen,
    ReplyAudible,
    ReplyEnded,
    Resume,
    Score,
    Scored,
    Silence,
    SpeechStarted,
    SpeechStopped,
    StopPressed,
    Transcribe,
    Transcribed,
    Turn,
    TurnHandedOver,
    Typed,
)
from duologue.core.turns import Phase, Turns
from duologue.core.words import is_echo
from duologue.ear import Ear
from duologue.engines import Message, Prompt, Speaker, Style, Transcript, TurnDetector
from duologue.engines.lineup import Lineup
from duologue.errors import ClientError, EngineError
from duologue.intake import Edge, Intake
from duologue.protocols import (
    ClearHistory,
    Command,
    Configure,
    Configured,
    Cursor,
    EndTurn,
    Export,
    Exported,
    Fact,
    Failure,
    Heard,
    Interrupt,
    Latency,
    Microphone,
    Ready,
    Reopened,
    StateChanged,
    Type,
    UserSpeech,
)
from duologue.reply import Reply
from duologue.trace import Audible, LatencyMeter, Sink, Trace, VoiceEnded, Waterfall
from duologue.work import Work

log = logging.getLogger(__name__)

P = ParamSpec("P")

State = Literal["listening", "hearing", "thinking", "speaking"]

STATES: Mapping[Phase, State] = {
    Phase.IDLE: "listening",
    Phase.HEARING: "hearing",
    Phase.PAUSED: "hearing",
    Phase.THINKING: "thinking",
    Phase.SPEAKING: "speaking",
    Phase.OVERLAP: "hearing",
}


class Session:
    """`tell` is called with each fact, in order, and must neither block nor wait. Make it inside a running loop.

    `input_rate` and `output_rate` in Hz are the client's own; `sinks` get the trace.
    """

    def __init__(
        self,
        name: str,
        config: Config,
        lineup: Lineup,
        tell: Callable[[Fact], None],
        *,
        input_rate: int = INPUT_RATE,
        output_rate: int = 24_000,
        sinks: tuple[Sink, ...] = (),
    ) -> None:
        self.name = name
        self.settings: Conversation = config.conversation
        self.conversation = ConversationManager(self.settings.context_window, self.settings.max_history)
        self._config = config
        self._lineup = lineup
        self._tell_client = tell
        self._output_rate = output_rate
        self._trace = Trace(clock.now(), *sinks, LatencyMeter(self._tell_latency))
        self._turns = Turns(config.patience)
        self._intake = self._open_intake(input_rate)
        self._happenings: deque[Event] = deque()
        self._deciding = False
        self._timer: asyncio.TimerHandle | None = None
        self._used_at = clock.now()
        self._ear: Ear | None = None
        self._answered: Ear | None = None  # of the turn that is being replied to, in case it is reopened
        self._reply: Reply | None = None
        self._language = "en"
        self._state: State = "listening"
        self._work: Work

    # ── Life ──────────────────────────────────────────────────────────────────────────────────────────────────────

    async def run(self) -> None:
        """Until cancelled, or nothing was said or typed for `limits.idle_s`. Call `command` only while this runs."""
        try:
            async with asyncio.TaskGroup() as tasks:
                self._work = Work(tasks)
                self._tell(Ready(self.name, self._in_force(), self._lineup.names()))
                for warning in self._lineup.warnings:
                    self._tell(Failure("degraded", warning))
                await self._until_idle()
                self._work.cancel()
        finally:
            self._intake.close()
            if self._timer is not None:
                self._timer.cancel()
            self._lineup.writer.forget(self.name)

    async def _until_idle(self) -> None:
        limit_s = self._config.limits.idle_s
        while (left_s := self._used_at + limit_s - clock.now()) > 0:  # noqa: ASYNC110 (time is what is waited for)
            await asyncio.sleep(left_s)
        self._tell(Failure("idle_timeout", f"nothing was said or typed for {limit_s:g} s"))

    def command(self, command: Command) -> None:
        """What the client asks, at once. Raises `ClientError`; the session lives on."""
        match command:
            case Microphone(samples):
                self._intake.push(samples)
            case Type(text):
                self._type(text)
            case Interrupt():
                self._happened(StopPressed())
            case EndTurn():
                self._happened(TurnHandedOver())
            case Cursor(turn, played_ms):
                if self._reply is not None and self._reply.turn.number == turn:
                    self._reply.cursor(played_ms)
            case Configure(settings):
                self._configure(settings)
            case ClearHistory():
                self._happened(StopPressed())
                self.conversation.clear_history()
            case Export():
                self._tell(Exported(self.conversation.export_conversation()))

    def _type(self, text: str) -> None:
        longest = self._config.limits.text_chars
        if not text.strip():
            raise ClientError("empty_text", "the typed text is empty")
        if len(text) > longest:
            raise ClientError("text_too_long", f"{len(text)} characters were typed; at most {longest} are taken")
        self._used_at = clock.now()
        self._happened(Typed(text.strip()))

    def _configure(self, settings: Mapping[str, Any]) -> None:
        """Settings of `config.Conversation`; and the client's rates, which its protocol lets change only before any sound."""
        chosen = dict(settings)
        self._lineup.check_voice(chosen.get("voice", ""))
        self._output_rate = chosen.pop("output_rate", self._output_rate)
        if "input_rate" in chosen:
            self._intake.close()
            self._intake = self._open_intake(chosen.pop("input_rate"))
        self.settings = replace(self.settings, **chosen)
        self.conversation.resize(self.settings.context_window, self.settings.max_history)
        self._tell(Configured(self._in_force()))

    def _in_force(self) -> dict[str, Any]:
        return asdict(self.settings) | {"input_rate": self._intake.rate, "output_rate": self._output_rate}

    def _open_intake(self, rate: int) -> Intake:
        return Intake(rate, self._lineup.vad.open(), self._config.speech, self._frame, self._edge)

    # ── Deciding ──────────────────────────────────────────────────────────────────────────────────────────────────

    def _happened(self, event: Event) -> None:
        self._happenings.append(event)
        if not self._deciding:  # else whoever is deciding takes it next
            self._decide(self._take_next)

    def _wake(self) -> None:
        self._decide(lambda now: self._turns.wake(now))
        if self._happenings:
            self._decide(self._take_next)

    def _take_next(self, now: float) -> list[Any]:
        event = self._happenings.popleft()
        self._trace.note(now, "event", event)
        if isinstance(event, SpeechStopped):
            self._trace.note(now, "mark", VoiceEnded(self._turns.hearing.number, event.ago_s))
        return self._turns.handle(event, now)

    def _decide(self, ask: Callable[[float], list[Any]]) -> None:
        self._deciding = True
        try:
            for todo in ask(now := clock.now()):
                self._trace.note(now, "todo", todo)
                DO[type(todo)](self, todo)
        finally:
            self._deciding = False
        self._tell_state()
        self._set_timer()
        if self._happenings:
            self._decide(self._take_next)

    def _set_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        wake_at = self._turns.wake_at
        self._timer = None if wake_at is None else asyncio.get_running_loop().call_at(wake_at, self._wake)

    # ── Hearing ───────────────────────────────────────────────────────────────────────────────────────────────────

    def _frame(self, frame: Frame) -> None:
        if self._ear is not None:
            with self._contained(self._ear):
                self._ear.feed(frame)

    def _edge(self, edge: Edge, at: int) -> None:
        self._used_at = clock.now()
        self._happened(edge)
        speaking = isinstance(edge, SpeechStarted)
        self._tell(UserSpeech(self._turns.hearing.number, speaking, at * 1000 / INPUT_RATE))

    def _listen(self, todo: Listen) -> None:
        self._open_ear(todo.turn, self._intake.tape.since(todo.since))

    def _open_ear(self, turn: Turn, frames: list[Frame]) -> None:
        self._ear = ear = Ear(turn, frames, self._config.patience.longest_turn_s, self._config.limits.engine_s)
        self._start("ear", ear, ear.run, self._lineup.recognizer, self._recognized)
        if self._turns.replying is None:
            self._start("prefill", ear, self._prefill, self._messages())

    def _recognized(self, turn: Turn, transcript: Transcript) -> None:
        text = transcript.text.strip()
        final, replying = transcript.final, self._turns.replying is not None
        if replying and self._reply is not None and is_echo(text, self._reply.written, final):
            text = ""
        if final:
            self._language = transcript.language
            self._happened(Transcribed(turn, text, transcript.confidence))
        elif text and turn == self._turns.hearing:
            self._happened(Overheard(turn, text, transcript.confidence))
            self._tell_partial(turn, text)

    def _tell_partial(self, turn: Turn, text: str) -> None:
        if self._turns.phase is Phase.HEARING and turn == self._turns.hearing and self._ear is not None:
            self._tell(Heard(turn.number, text, False, self._language))
            self._start("prefill", self._ear, self._prefill, self._messages(text))

    def _go_on(self, todo: GoOn) -> None:
        self._work.cancel("score")
        if self._reply is not None and self._reply.released_at is None:
            self._end_reply()
        if self._ear is not None:
            self._ear.turn = todo.turn

    def _transcribe(self, todo: Transcribe) -> None:
        if self._ear is not None:
            with self._contained(self._ear):
                self._ear.pause(todo.turn)

    def _score(self, todo: Score) -> None:
        detector, ear = self._lineup.turn_detector, self._ear
        if detector is not None and ear is not None:  # else silence alone will end the turn
            self._start("score", ear, self._ask, detector, ear, todo.turn)

    async def _ask(self, detector: TurnDetector, ear: Ear, turn: Turn) -> None:
        try:
            async with asyncio.timeout(self._config.patience.incomplete_s):
                self._happened(Scored(turn, await detector.complete(ear.audio, ear.text)))
        except (EngineError, TimeoutError) as error:
            log.warning("the turn detector failed; silence alone ends turn %s: %r", turn.number, error)

    def _drop(self, todo: Drop) -> None:
        if self._ear is not None and self._ear.turn.number == todo.turn.number:
            self._work.cancel("ear", "score", "prefill")
            self._ear = None
        if self._reply is not None and self._reply.turn.number == todo.turn.number:
            self._end_reply()

    # ── Replying ──────────────────────────────────────────────────────────────────────────────────────────────────

    def _draft(self, todo: Draft | Commit) -> None:
        self._end_reply()
        self._work.cancel("prefill")
        self._reply = reply = Reply(todo.turn, todo.text, self._config.pacing, self._output_rate, self._tell)
        self._start("reply", reply, self._answer, reply, self._messages(todo.text))
        self._start("play", reply, self._play, reply)

    def _commit(self, todo: Commit) -> None:
        self._work.cancel("ear", "score")
        self._answered, self._ear = self._ear, None
        self._tell(Heard(todo.turn.number, todo.text, True, self._language))
        if self._reply is None or self._reply.turn != todo.turn or self._reply.text != todo.text:
            self._draft(todo)
        metadata = {"turn": todo.turn.number, "language": self._language}
        self.conversation.add_turn("user", todo.text, metadata=metadata)
        assert self._reply is not None
        self._reply.release()

    async def _answer(self, reply: Reply, messages: list[Message]) -> None:
        limit_s = self._config.limits.engine_s
        answer = Answer(self._voices(), self._style(), reply, cutting=self._config.cutting, engine_timeout_s=limit_s)
        await answer.run(self._lineup.writer.write(Prompt(self.name, messages)))
        reply.complete()

    async def _play(self, reply: Reply) -> None:
        await reply.play(lambda: self._audible(reply))
        reply.done()
        self._remember(reply, reply.written)
        self._reply = None
        self._happened(ReplyEnded(reply.turn))

    def _audible(self, reply: Reply) -> None:
        self._trace.note(clock.now(), "mark", Audible(reply.turn.number, reply.onset_s or 0.0))
        self._happened(ReplyAudible(reply.turn))

    def _silence(self, todo: Silence) -> None:
        if self._reply is not None and self._reply.turn == todo.turn:
            heard_text, _ = self._reply.cut()
            self._remember(self._reply, heard_text, interrupted=True)
            self._end_reply()

    def _reopen(self, todo: Reopen) -> None:
        if self._reply is not None and self._reply.turn == todo.was:
            self._reply.cut()
            self._end_reply()
        self.conversation.drop_last("user")
        self._tell(Reopened(todo.turn.number))
        if self._ear is not None and self._answered is not None:
            self._open_ear(todo.turn, [*self._answered.frames, *self._ear.frames])

    def _duck(self, todo: Duck) -> None:
        if self._reply is not None:
            self._reply.hold()

    def _resume(self, todo: Resume) -> None:
        if self._reply is not None:
            self._reply.resume()

    def _end_reply(self) -> None:
        """What is still in the making is cancelled; what was told before stays told."""
        self._work.cancel("reply", "play")
        self._reply = None

    def _remember(self, reply: Reply, text: str, *, interrupted: bool = False) -> None:
        metadata = {"turn": reply.turn.number, "interrupted": interrupted, "speaker": reply.speaker}
        self.conversation.add_turn("assistant", text, reply.latency_ms, metadata)

    async def _prefill(self, messages: list[Message]) -> None:
        try:
            await self._lineup.writer.prefill(Prompt(self.name, messages))
        except EngineError as error:
            log.warning("prefill failed, the reply will only start later: %s", error)

    def _messages(self, pending: str = "") -> list[Message]:
        return self.conversation.messages(self.settings.instructions, pending)

    def _voices(self) -> tuple[Speaker, ...]:
        style = self._style()
        return self._lineup.voices(style.language, style.voice) or self._lineup.voices("en", style.voice)

    def _style(self) -> Style:
        chosen = self.settings
        language = self._language if chosen.language == "auto" else chosen.language
        return Style(language, chosen.voice, chosen.emotion, chosen.intensity, chosen.speed)

    # ── Containing ────────────────────────────────────────────────────────────────────────────────────────────────

    def _start(
        self, name: str, cause: Ear | Reply, work: Callable[P, Coroutine[Any, Any, None]], *args: P.args, **kw: P.kwargs
    ) -> None:
        self._work.start(name, self._run(cause, partial(work, *args, **kw)))

    async def _run(self, cause: Ear | Reply, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        with self._contained(cause):
            await work()

    @contextmanager
    def _contained(self, cause: Ear | Reply) -> Iterator[None]:
        """What goes wrong inside ends the turn that `cause` has by then, and nothing more: the client is told, the session
        lives."""
        try:
            yield
        except EngineError as error:
            self._fail(cause, error.code, error.message)
        except Exception:
            log.exception("session %s, turn %s", self.name, cause.turn)
            self._fail(cause, "internal_error", "something went wrong inside the server; its log says what")

    def _fail(self, cause: Ear | Reply, code: str, message: str) -> None:
        if isinstance(cause, Reply) and cause.released_at is None:
            log.warning("a draft failed, its turn will get another reply: %s", message)
            return self._end_reply()
        self._tell(Failure(code, message, cause.turn.number))
        self._silence(Silence(cause.turn))
        return self._happened(Failed(cause.turn))

    # ── Telling ───────────────────────────────────────────────────────────────────────────────────────────────────

    def _tell(self, fact: Fact) -> None:
        self._trace.note(clock.now(), "fact", fact)
        self._tell_client(fact)

    def _tell_state(self) -> None:
        state = STATES[self._turns.phase]
        if state != self._state:
            self._state = state
            self._tell(StateChanged(self._turns.hearing.number, state))

    def _tell_latency(self, turn: int, waterfall: Waterfall) -> None:
        if self._reply is not None:
            self._reply.latency_ms = waterfall.marks["voice_to_voice"]
        self._tell(Latency(turn, waterfall.marks, waterfall.parts()))


DO: Mapping[type, Callable[[Session, Any], None]] = {
    Listen: Session._listen,
    GoOn: Session._go_on,
    Transcribe: Session._transcribe,
    Score: Session._score,
    Draft: Session._draft,
    Commit: Session._commit,
    Drop: Session._drop,
    Duck: Session._duck,
    Resume: Session._resume,
    Silence: Session._silence,
    Reopen: Session._reopen,
}
"""How each todo is done."""
