"""How each todo of the turn machine is done: what it means for the ear, the reply and the history.

All at once, nothing waits. Decides nothing: it has been decided.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Any

from duologue import protocols as p
from duologue.audio import Audio, Frame
from duologue.core import events as e
from duologue.core.turns import Phase, Turns
from duologue.engines import UNHEARD
from duologue.excuses import excuse
from duologue.feelings import Feelings
from duologue.listener import Listener
from duologue.part import Part, Shared
from duologue.replies import Replies
from duologue.reply import Reply
from duologue.understanding import Understanding
from duologue.work import Cause

log = logging.getLogger(__name__)


class Conduct(Part):
    """`turns` is read, never told; `since` gives the microphone's recent past; without `understanding` the recogniser knows every
    word; with `excuses` it is said aloud where no answer can come."""

    def __init__(
        self,
        shared: Shared,
        turns: Turns,
        listener: Listener,
        replies: Replies,
        feelings: Feelings,
        understanding: Understanding | None,
        since: Callable[[int], list[Frame]],
        strained: Callable[[], bool],
        *,
        excuses: bool,
    ) -> None:
        super().__init__(shared)
        self._turns = turns
        self._listener = listener
        self._replies = replies
        self._feelings = feelings
        self._understanding = understanding
        self._since = since
        self._strained = strained
        self._excuses = excuses

    def carry_out(self, todo: e.Todo) -> None:
        TODOS[type(todo)](self, todo)

    def understand(self, turn: int) -> None:
        """The turn's answer is under way, or never will be: its words may be written down."""
        if self._understanding is not None:
            self._understanding.begin(turn)

    def _listen(self, todo: e.Listen) -> None:
        self._listener.listen(todo.turn, self._since(todo.since))

    def _go_on(self, todo: e.GoOn) -> None:
        self._replies.doubt_draft()
        self._listener.go_on(todo.turn)

    def _transcribe(self, todo: e.Transcribe) -> None:
        self._feelings.heard(todo.turn)
        self._listener.transcribe(todo.turn)

    def _score(self, todo: e.Score) -> None:
        self._listener.score(todo.turn)

    def _drop(self, todo: e.Drop) -> None:
        self._listener.drop(todo.turn)
        self._replies.drop(todo.turn)
        self._tell(p.TurnDropped(todo.turn.number))

    def _draft(self, todo: e.Draft) -> None:
        self._feelings.worded(todo.turn, todo.text)
        if self._strained():  # then the reply is begun when the turn is decided, and none for nothing
            self._replies.decline(todo.turn)
        else:
            self._replies.draft(todo.turn, todo.text, self._sound_to_answer(todo.turn))

    def _commit(self, todo: e.Commit) -> None:
        language, audio = self._wishes.heard_language, self._sound_to_answer(todo.turn)
        text = "" if todo.text == UNHEARD else todo.text
        self._feelings.worded(todo.turn, todo.text)
        self._listener.close()
        self._tell(p.Heard(todo.turn.number, text, True, language))
        self._feelings.decided(todo.turn)
        if todo.answer:
            self._replies.prepare(todo.turn, todo.text, audio)
        self._conversation.fill(self._reserve(todo.turn, language), text)
        if self._understanding is not None and audio is not None and not text:
            self._understanding.keep(todo.turn, audio)
        if todo.answer:
            self._replies.release()
        else:
            self._replies.void_draft()
            self.understand(todo.turn.number)

    def _close(self, todo: e.Close) -> None:
        """Its words follow, as those of a turn that was answered by ear do."""
        self._feelings.heard(todo.turn)
        self._replies.void_draft()
        language = self._wishes.heard_language
        self._tell(p.Heard(todo.turn.number, "", True, language))
        self._reserve(todo.turn, language)
        self._listener.hand_over(todo.turn)

    def _reserve(self, turn: e.Turn, language: str) -> str:
        """The place of what the user said, before the reply's; its words may be filled in later."""
        item = p.user_item(self._name, turn.number)
        self._conversation.reserve("user", item, {"turn": turn.number, "language": language})
        return item

    def closed(self, turn: e.Turn, text: str, error: str) -> None:
        """The words of a turn that was closed before they were known; `error` says why there are none."""
        self._feelings.worded(turn, text)
        self._feelings.decided(turn)
        if text == UNHEARD and self._understanding is not None and (audio := self._listener.audio_of(turn)) is not None:
            self._understanding.keep(turn, audio)
            return self.understand(turn.number)
        language = self._wishes.heard_language
        self._conversation.fill(p.user_item(self._name, turn.number), text, metadata={"language": language})
        return self._tell(p.Understood(turn.number, text, language, error))

    def _sound_to_answer(self, turn: e.Turn) -> Audio | None:
        """For a model that answers by ear; nobody else wants it put together in the middle of a pause."""
        return None if self._understanding is None else self._listener.audio_of(turn)

    def _answer(self, todo: e.Answer) -> None:
        self._replies.prepare(todo.turn, "")
        self._replies.release(answers=False)

    def _unask(self, todo: e.Unask) -> None:
        if (request := self._replies.unask()) is not None:
            self._tell(p.ReplyWithdrawn(request.name))

    def _nudge(self, todo: e.Nudge) -> None:
        item = p.user_item(self._name, todo.turn.number)
        self._conversation.reserve("user", item, {"turn": todo.turn.number})
        self._tell(p.Nudged(todo.turn.number))

    def _silence(self, todo: e.Silence) -> None:
        self._replies.silence(todo.turn)

    def _reopen(self, todo: e.Reopen) -> None:
        if self._understanding is not None:  # before its reply is taken back, which would have its words written down
            self._understanding.forget(todo.was.number)
        self._replies.take_back(todo.was)
        self._conversation.discard(p.user_item(self._name, todo.was.number))
        self._feelings.reopened(todo.was)
        self._tell(p.Reopened(todo.turn.number))
        self._listener.reopen(todo.turn)

    def _duck(self, todo: e.Duck) -> None:
        if self._replies.current is not None:
            self._replies.current.hold()

    def _resume(self, todo: e.Resume) -> None:
        if self._replies.current is not None:
            self._replies.current.resume()

    # ── What goes wrong ───────────────────────────────────────────────────────────────────────────────────────────

    def fail(self, cause: Cause, code: str, message: str) -> None:
        """Ends the turn that `cause` has by now, and nothing more: the client is told, the session lives."""
        turn = cause.turn
        if isinstance(cause, Reply) and not self._replies.lives(cause):
            return log.warning("a reply that was given up failed as it ended: %s", message)
        if isinstance(cause, Reply) and cause.released_at is None:
            log.warning("a draft failed, its turn will get another reply: %s", message)
            self._replies.drop()
            return self._happened(e.DraftSettled(turn))
        if self._listener.lost(cause, message):
            return None
        self._tell(p.Failure(code, message, turn.number))
        if turn.number < 0:
            return self._replies.end_aside(turn.number)
        self._replies.silence(turn)
        if code == "prompt_too_long":  # with these words in the history every later prompt would be too long as well
            self._conversation.discard(p.user_item(self._name, turn.number))
        self._happened(e.Failed(turn))
        return self._excuse(cause, code)

    def _excuse(self, cause: Cause, code: str) -> None:
        """Says aloud that no answer comes. A protocol with turns of its own has its own words for it; nothing is said to nobody,
        nor over anybody; and what was said unasked, as this is, has no excuse."""
        unasked = isinstance(cause, Reply) and not cause.text and cause.audio is None
        sentence = excuse(code, self._wishes.language)
        if sentence and self._excuses and not unasked and self._turns.phase is Phase.IDLE:
            self._replies.unsaid = sentence
            self._happened(e.Asked())


TODOS: Mapping[type, Callable[[Conduct, Any], None]] = {
    e.Listen: Conduct._listen,
    e.GoOn: Conduct._go_on,
    e.Transcribe: Conduct._transcribe,
    e.Score: Conduct._score,
    e.Draft: Conduct._draft,
    e.Commit: Conduct._commit,
    e.Close: Conduct._close,
    e.Answer: Conduct._answer,
    e.Unask: Conduct._unask,
    e.Nudge: Conduct._nudge,
    e.Drop: Conduct._drop,
    e.Duck: Conduct._duck,
    e.Resume: Conduct._resume,
    e.Silence: Conduct._silence,
    e.Reopen: Conduct._reopen,
}
