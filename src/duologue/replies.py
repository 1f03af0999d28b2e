"""The session's side of a conversation: the reply that is drafted, plays, is held or cut; and the asides next to it.

Starts the work of each reply, writes into the history what was heard of it, and tells the client through the replies themselves.
When any of this is to happen is not known here.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from typing import TypeAlias

from duologue.answer import Answer
from duologue.audio import Audio
from duologue.core.events import DraftSettled, ReplyAudible, ReplyEnded, Turn
from duologue.engines import Message, Piece, Prompt, Sound, Speaker, Style, Text
from duologue.errors import ClientError
from duologue.feelings import Feelings, noted
from duologue.part import Part, Shared
from duologue.protocols import Fact, Item, ReplyCall, ReplyRequest, Writing, call_item, reply_item
from duologue.reply import Reply
from duologue.trace import Audible, Token

BREATH_MS = 500.0
"""Of a reply's end: too little to say it again."""

DOUBT_S = 0.3
"""A voice that goes on for longer says something, and what was prepared is no answer to it."""

MOST_ASIDES = 4
"""At once: as many as the packaged writer answers in parallel."""

Mark: TypeAlias = Callable[[Audible | Token], None]


class Replies(Part):
    """`settled` waits until what the client added to the conversation as sound is heard, and says whether it had to."""

    def __init__(
        self,
        shared: Shared,
        mark: Mark,
        settled: Callable[[], Awaitable[bool]],
        feelings: Feelings,
    ) -> None:
        super().__init__(shared)
        self.current: Reply | None = None
        self.asides: dict[int, Reply] = {}
        self.request: ReplyRequest | None = None
        """What the client asked of the next reply."""
        self.unsaid = ""
        """Text that the next reply says, in place of the writer's: that reply, and no other."""
        self._mark = mark
        self._settled = settled
        self._feelings = feelings
        self._asides = 0
        self._parked = False
        self._finished: int | None = None  # the turn of the last reply, if it was played to its end

    @property
    def written(self) -> str:
        """What the client may be hearing."""
        return self.current.written if self.current is not None and self.current.released_at is not None else ""

    def lives(self, reply: Reply) -> bool:
        """It is played, or may yet be: its failure is somebody's."""
        return reply in self._all()

    # ── The reply to a turn ───────────────────────────────────────────────────────────────────────────────────────

    def draft(self, turn: Turn, text: str, audio: Audio | None = None) -> None:
        """`audio` is the user's turn, for a writer that hears. A draft for the very same words is kept: the voice that went on
        after them said nothing new."""
        self._work.cancel("doubt")
        if self._keep(turn, text):
            return
        self.drop()
        self._finished = None
        self._work.cancel("prefill")
        self.current = self._make(turn, text, self.request, audio if self._lineup.speech_model else None)
        self._work.start("reply", self.current, self._write, self.current, self._messages(self.current))
        self._work.start("play", self.current, self._play, self.current)

    def decline(self, turn: Turn) -> None:
        """No draft is made, and nobody should wait for one."""
        self._happened(DraftSettled(turn))

    def _keep(self, turn: Turn, text: str) -> bool:
        reply = self.current
        if (
            reply is None
            or reply.released_at is not None
            or reply.audio is not None
            or reply.turn.number != turn.number
        ):
            return False
        if (reply.text, _wants(reply.request)) != (text, _wants(self.request)):
            return False
        reply.turn = turn
        if reply.prepared:
            self._happened(DraftSettled(turn))
        return True

    def check(self, request: ReplyRequest) -> None:
        """Raises `ClientError`: unknown_voice, unknown_item, too_many_replies."""
        self._lineup.check_voice(request.voice or "")
        for item in request.items or ():
            self._message(item)
        if request.aside and len(self.asides) >= MOST_ASIDES:
            raise ClientError("too_many_replies", f"at most {MOST_ASIDES} replies beside the conversation at once")

    def prepare(self, turn: Turn, text: str, audio: Audio | None = None) -> None:
        """Makes the reply, if none was drafted for just this. Call it before the user's words are in the history."""
        reply = self.current
        if reply is None or (reply.turn, reply.text, _wants(reply.request)) != (turn, text, _wants(self.request)):
            self.draft(turn, text, audio)
        elif self.request is not None:
            reply.request = self.request

    def release(self, *, answers: bool = True) -> None:
        """What was prepared is the reply. Call it once the user's words are in the history."""
        reply, self.request = self.current, None
        assert reply is not None
        self._conversation.reserve("assistant", reply_item(self._name, reply.turn.number), {"turn": reply.turn.number})
        reply.release(answers=answers)

    def unask(self) -> ReplyRequest | None:
        """What the client asked for will not come; gives it back."""
        request, self.request = self.request, None
        return request

    def doubt_draft(self) -> None:
        """The voice goes on, perhaps with nothing new. A draft for words that could be heard already stands until others are, or
        for `DOUBT_S`. One in the making falls, for it would stand in the way of hearing what comes; so does one for sound."""
        if self.current is not None and self.current.audio is None and self.current.prepared:
            self._work.start("doubt", self.current, self._outlive)
        else:
            self.void_draft()

    async def _outlive(self) -> None:
        await asyncio.sleep(DOUBT_S)
        self.void_draft()

    def void_draft(self) -> None:
        if self.current is not None and self.current.released_at is None:
            self.drop()

    def drop(self, turn: Turn | None = None) -> None:
        """What is still in the making is cancelled; what was told before stays told. With a turn: only its reply."""
        if turn is None or (self.current is not None and self.current.turn.number == turn.number):
            self._work.cancel("reply", "play")
            self.current = None

    def silence(self, turn: Turn) -> None:
        if self.current is not None and self.current.turn == turn:
            heard_text, _ = self.current.cut()
            self._remember(self.current, heard_text, interrupted=True)
            self.drop()

    def take_back(self, turn: Turn) -> None:
        """The turn was closed too early: nothing of its reply stays."""
        if self.current is not None and self.current.turn == turn:
            self.current.cut()
            self.drop()
        self._conversation.discard(reply_item(self._name, turn.number))

    # ── A client that comes and goes ──────────────────────────────────────────────────────────────────────────────

    def park(self) -> None:
        self._parked = True
        for reply in self._all():
            reply.park()

    def unpark(self, turn: int, played_ms: float) -> None:
        """Of a reply that is not the one to `turn` nothing was played; `turn` 0: it cannot say."""
        self._parked = False
        for reply in self._all():
            reply.unpark(played_ms if reply.turn.number == turn else 0.0 if turn else None)

    def take_unheard(self, turn: int, played_ms: float) -> str:
        """The words that the client never heard of the last reply, though we believed so: they leave the history.

        Nothing of a reply that still plays, or of which a breath is missing.
        """
        if self._finished != turn:
            return ""
        try:
            words = self._conversation.turn(reply_item(self._name, turn)).words
        except ClientError:
            return ""  # the history was cleared
        if not words or played_ms >= words[-1][1] - BREATH_MS:
            return ""
        self._conversation.cut(reply_item(self._name, turn), played_ms)
        return "".join(word for word, end_ms in words if end_ms > played_ms).strip()

    def cursor(self, turn: int, played_ms: float) -> None:
        for reply in self._all():
            if reply.turn.number == turn:
                reply.cursor(played_ms)

    # ── Asides ────────────────────────────────────────────────────────────────────────────────────────────────────

    def begin_aside(self, request: ReplyRequest) -> None:
        self._asides -= 1
        reply = self.asides[self._asides] = self._make(Turn(self._asides, 0), "", request)
        messages = self._messages(reply)
        reply.release(answers=False)
        self._work.start(f"aside{self._asides}", reply, self._write, reply, messages)
        self._work.start(f"play{self._asides}", reply, self._play_aside, reply)

    def end_aside(self, number: int) -> None:
        """One that is over already is fine."""
        reply = self.asides.pop(number, None)
        if reply is not None:
            reply.cut()
            self._work.cancel(f"aside{number}", f"play{number}")

    async def _play_aside(self, reply: Reply) -> None:
        await reply.play(lambda: None)
        reply.done()
        del self.asides[reply.turn.number]

    # ── Making one ────────────────────────────────────────────────────────────────────────────────────────────────

    def _make(self, turn: Turn, text: str, request: ReplyRequest | None, audio: Audio | None = None) -> Reply:
        writing, wishes = self._writing(request), self._wishes
        reply = Reply(
            turn,
            text,
            wishes.pacing,
            wishes.output_rate,
            self._pass_on,
            request=request,
            spoken=writing.spoken,
            audio=audio,
            saying=self._said_once(),
            prepared=lambda: self._happened(DraftSettled(reply.turn)),
            wrote=lambda text: self._mark(Token(reply.turn, text)),
        )
        if self._parked:
            reply.park()
        return reply

    def _said_once(self) -> str:
        text, self.unsaid = self.unsaid, ""
        return text

    async def _write(self, reply: Reply, messages: list[Message]) -> None:
        if not reply.saying and await self._settled() and (reply.audio is not None or not reply.text):
            messages = self._messages(reply)
        writing, request = self._writing(reply.request), reply.request or ReplyRequest()
        tone = await self._feelings.tone(reply.turn)
        if request.items is None:
            messages = noted(messages, tone.instruction, heard=reply.audio is not None)
        style = self._wishes.style_of(request.voice, tone)
        answer = Answer(
            self._voices(style) if reply.spoken else (),
            style,
            reply,
            cutting=self._config.cutting,
            engine_timeout_s=self._config.limits.engine_s,
            max_tokens=writing.max_tokens,
            absent=lambda speaker: self._lineup.better(style.language, speaker),
        )
        await answer.run(self._source(reply, messages, writing))
        reply.complete(whole=answer.whole)

    def _source(self, reply: Reply, messages: list[Message], writing: Writing) -> AsyncIterator[Piece | Sound]:
        if reply.saying:
            return _saying(reply.saying)
        name = self._name if reply.turn.number > 0 else f"{self._name}{reply.turn.number}"  # a cache of its own
        prompt = Prompt(name, messages, writing.tools, writing.tool_choice, writing.max_tokens, writing.retention)
        model = self._lineup.speech_model
        if model is not None and reply.audio is not None:
            return model.answer(reply.audio, prompt)
        return self._lineup.writer.write(prompt)

    async def _play(self, reply: Reply) -> None:
        await reply.play(lambda: self._audible(reply))
        reply.done()
        self._remember(reply, reply.written)
        self._finished = reply.turn.number
        self.current = None
        self._happened(ReplyEnded(reply.turn))

    def _audible(self, reply: Reply) -> None:
        self._mark(Audible(reply.turn.number, reply.onset_s or 0.0))
        self._happened(ReplyAudible(reply.turn))

    def _remember(self, reply: Reply, text: str, *, interrupted: bool = False) -> None:
        metadata = {"interrupted": interrupted, "speaker": reply.speaker, "audio_ms": reply.sent_ms}
        item = reply_item(self._name, reply.turn.number)
        self._conversation.fill(item, text, reply.latency_ms, metadata, reply.sent_words)

    def _pass_on(self, fact: Fact) -> None:
        if isinstance(fact, ReplyCall) and fact.turn > 0:  # before it is told: the client may answer it at once
            item = call_item(self._name, fact.turn, fact.index)
            self._conversation.insert("assistant", "", item, None, fact.call)
        self._tell(fact)

    def _messages(self, reply: Reply) -> list[Message]:
        request = reply.request or ReplyRequest()
        instructions = self._wishes.instructions(request.instructions)
        if request.items is None:
            pending, whole = reply.text if reply.audio is None else "", self._writing(request).retention is None
            return self._conversation.messages(instructions, pending, whole=whole)
        system = [Message("system", instructions)] if instructions.strip() else []
        return system + [self._message(item) for item in request.items]

    def _message(self, item: Item | str) -> Message:
        """Raises `ClientError` (unknown_item)."""
        if isinstance(item, str):
            return self._conversation.turn(item).message
        return Message(item.role, item.text, (item.call,) if item.call else (), item.answers)

    def _writing(self, request: ReplyRequest | None) -> Writing:
        return request.writing if request is not None and request.writing is not None else self._wishes.writing

    def _voices(self, style: Style) -> tuple[Speaker, ...]:
        def of(language: str) -> tuple[Speaker, ...]:
            return self._lineup.voices(language, style.voice, written=not self._wishes.settings.speakable)

        return of(style.language) or of("en")

    def _all(self) -> list[Reply]:
        return [*([self.current] if self.current is not None else []), *self.asides.values()]


def _wants(request: ReplyRequest | None) -> ReplyRequest:
    """What makes a difference to the reply."""
    return ReplyRequest() if request is None else replace(request, name="")


async def _saying(text: str) -> AsyncIterator[Piece]:
    yield Text(text)
