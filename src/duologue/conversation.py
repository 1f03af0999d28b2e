"""What was said: the one owner of a conversation's history. It knows no engine and no session; both read it from here.

A *turn* is what one side said in one go, or a function that was called and what it gave; `max_history` counts them. An
*exchange* is what the user said and what was answered, and what `context_window` counts; the one that is still without an
answer counts too.

Only what was heard belongs here. A reply takes its place when it begins (`reserve`), and is filled with the words that
played; one of which nothing played stays empty, is shown to nobody, and the user's words before and after go to the model as
one message.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Literal, TypeAlias, get_args

from duologue import clock
from duologue.engines import Message, ToolCall
from duologue.errors import ClientError, ConfigError

Role: TypeAlias = Literal["system", "user", "assistant", "tool"]


@dataclass(frozen=True, slots=True)
class Turn:
    """`timestamp` is when it was added, UTC; `metadata` is JSON-ready.

    `call`: an assistant's turn that asked for a function; `answers`: the id of the call to which a tool's turn is the answer.
    `words` of a spoken reply, each with the ms of its sound at which it ends, as far as the sound was sent; `id` is unique.
    """

    role: Role
    content: str
    timestamp: datetime
    latency_ms: float | None
    metadata: Mapping[str, Any]
    id: str = ""
    call: ToolCall | None = None
    answers: str = ""
    words: tuple[tuple[str, float], ...] = ()

    @property
    def empty(self) -> bool:
        """Nothing of it was said or heard (yet): no part of what others see. A function may well give nothing."""
        return not self.content and self.call is None and not self.answers

    @property
    def message(self) -> Message:
        return Message(self.role, self.content, (self.call,) if self.call else (), self.answers)


class ConversationManager:
    """The last `max_history` turns, of which the model is given the last `context_window` exchanges. Both are at least 1."""

    def __init__(
        self,
        context_window: int = 5,
        max_history: int = 100,
        wall_clock: Callable[[], datetime] = clock.wall_clock,
    ) -> None:
        if context_window < 1 or max_history < 1:
            raise ConfigError("bad_setting", "context_window and max_history must be at least 1")
        self.context_window = context_window
        self._max_history = max_history
        self._turns: list[Turn] = []
        self._wall_clock = wall_clock
        self._added = 0

    # ── What is said ──────────────────────────────────────────────────────────────────────────────────────────────

    def add_turn(
        self,
        role: Role,
        content: str,
        latency_ms: float | None = None,
        metadata: Mapping[str, Any] | None = None,
        item: str = "",
    ) -> None:
        """Content of nothing but spaces adds nothing: nobody said anything. Beyond `max_history` the oldest turn goes.

        Raises `ClientError`: bad_role, bad_metadata (not JSON, or a latency that is no number), duplicate_item.
        """
        if role not in get_args(Role):
            raise ClientError("bad_role", f"a turn is one of {', '.join(get_args(Role))}, not {role!r}")
        checked = _as_json(latency_ms, dict(metadata or {}))
        if content.strip():
            self._insert(Turn(role, content.strip(), self._wall_clock(), *checked, id=item), None)

    def reserve(self, role: Role, item: str, metadata: Mapping[str, Any] | None = None) -> None:
        """A place for what will be said, or heard, by and by."""
        self._insert(Turn(role, "", self._wall_clock(), *_as_json(None, dict(metadata or {})), id=item), None)

    def fill(
        self,
        item: str,
        content: str,
        latency_ms: float | None = None,
        metadata: Mapping[str, Any] | None = None,
        words: Iterable[tuple[str, float]] = (),
    ) -> None:
        """What was said in a place that was kept for it; nothing if the place is gone (a cleared history)."""
        if (at := self._find(item)) is not None:
            checked = _as_json(latency_ms, {**self._turns[at].metadata, **(metadata or {})})
            self._turns[at] = replace(
                self._turns[at], content=content.strip(), latency_ms=checked[0], metadata=checked[1], words=tuple(words)
            )

    def discard(self, item: str) -> None:
        """It was never said after all; fine if it is gone already."""
        if (at := self._find(item)) is not None:
            del self._turns[at]

    # ── What clients edit ─────────────────────────────────────────────────────────────────────────────────────────

    def insert(
        self, role: Role, content: str, item: str, after: str | None, call: ToolCall | None = None, answers: str = ""
    ) -> str | None:
        """`after` an item, at the end (None) or first (""); gives the id of the turn before it. Unlike `add_turn`, may be empty.

        Raises `ClientError`: unknown_item, duplicate_item.
        """
        turn = Turn(role, content.strip(), self._wall_clock(), None, {}, item, call, answers)
        self._insert(turn, after)
        at = self._find(item)
        return self._turns[at - 1].id if at else None

    def remove(self, item: str) -> None:
        """Raises `ClientError` (unknown_item)."""
        del self._turns[self._place(item)]

    def turn(self, item: str) -> Turn:
        """Raises `ClientError` (unknown_item)."""
        return self._turns[self._place(item)]

    def cut(self, item: str, at_ms: float) -> Turn:
        """Keeps of a spoken reply the words that end by `at_ms` of its sound. Raises `ClientError`: unknown_item, not_spoken."""
        at = self._place(item)
        turn = self._turns[at]
        if turn.role != "assistant" or not (turn.words or turn.empty):
            raise ClientError("not_spoken", "only a spoken reply can be cut")
        kept = tuple(word for word in turn.words if word[1] <= at_ms)
        self._turns[at] = replace(turn, content="".join(word for word, _ in kept).strip(), words=kept)
        return self._turns[at]

    # ── What others are told ──────────────────────────────────────────────────────────────────────────────────────

    def get_context(self, num_turns: int | None = None) -> list[Message]:
        """The last `num_turns` exchanges (default: `context_window`) as chat messages: roles alternate, the user's is first.

        An assistant's turn that answers nothing in the window (a greeting) is left out: chat templates want the user first.
        """
        said = [turn.message for turn in self._told()]
        return _exchanges(said, self.context_window if num_turns is None else num_turns)

    def get_last_user_message(self) -> str | None:
        return next((turn.content for turn in reversed(self._told()) if turn.role == "user"), None)

    def resize(self, context_window: int, max_history: int) -> None:
        """Other bounds for the same conversation; what no longer fits is forgotten, oldest first."""
        self.context_window, self._max_history = context_window, max_history
        self._forget_oldest()

    def clear_history(self) -> None:
        self._turns.clear()

    def messages(self, instructions: str, pending: str = "", *, whole: bool = False) -> list[Message]:
        """What a chat model is given: the instructions, then the context, or the `whole` history.

        `pending` is what the user is saying and what is not a turn yet: for drafts, and for filling a cache ahead.
        """
        system = [Message("system", instructions.strip())] if instructions.strip() else []
        said = [*(turn.message for turn in self._told()), Message("user", pending.strip())]
        return system + _exchanges(said, len(said) if whole else self.context_window)

    def text(self, instructions: str, pending: str = "") -> str:
        """The same for a model that only continues text: one line for each message, then "Assistant:".

        Line breaks in what was said become spaces, so that nobody can speak in another's name.
        """
        said = [f"{m.role.capitalize()}: {_one_line(m.content)}\n" for m in self.messages("", pending)]
        head = f"{_one_line(instructions)}\n\n" if instructions.strip() else ""
        return head + "".join(said) + "Assistant:"

    def export_conversation(self) -> dict[str, Any]:
        """JSON-ready; times are ISO 8601. `total_turns` is the number of turns in the export, not of all that ever were."""
        turns = [
            {
                "role": turn.role,
                "content": turn.content,
                "timestamp": turn.timestamp.isoformat(),
                "latency_ms": turn.latency_ms,
                "metadata": turn.metadata,
            }
            for turn in self._told()
        ]
        return {"turns": turns, "total_turns": len(turns)}

    def _told(self) -> list[Turn]:
        return [turn for turn in self._turns if not turn.empty]

    def _insert(self, turn: Turn, after: str | None) -> None:
        self._added += 1
        if turn.id and self._find(turn.id) is not None:
            raise ClientError("duplicate_item", f"there is an item {turn.id!r} already")
        at = len(self._turns) if after is None else 0 if after == "" else self._place(after) + 1
        self._turns.insert(at, turn if turn.id else replace(turn, id=f"turn-{self._added}"))
        self._forget_oldest()

    def _forget_oldest(self) -> None:
        del self._turns[: max(0, len(self._turns) - self._max_history)]

    def _find(self, item: str) -> int | None:
        return next((at for at, turn in enumerate(self._turns) if turn.id == item), None)

    def _place(self, item: str) -> int:
        at = self._find(item)
        if at is None:
            raise ClientError("unknown_item", f"there is no item {item!r}")
        return at


def _exchanges(said: Iterable[Message], count: int) -> list[Message]:
    """The last `count` exchanges, neighbours of one role merged, from a user's message on; what the system said before it, too.

    Where no user has said anything there is only what the system said.
    """
    merged: list[Message] = []
    for message in said:
        if merged and _same_speaker(merged[-1], message):
            merged[-1] = _merged(merged[-1], message)
        elif message.content or message.calls or message.answers:
            merged.append(message)
    starts = [index for index, message in enumerate(merged) if message.role == "user"][-count:] if count > 0 else []
    first = starts[0] if starts else len(merged)
    return [message for message in merged[:first] if message.role == "system"] + merged[first:]


def _same_speaker(one: Message, other: Message) -> bool:
    return one.role == other.role and not one.answers and not (one.calls and other.content)


def _merged(one: Message, other: Message) -> Message:
    return Message(one.role, f"{one.content} {other.content}".strip(), one.calls + other.calls)


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _as_json(latency_ms: float | None, metadata: dict[str, Any]) -> tuple[float | None, dict[str, Any]]:
    """Both as they will be exported: a copy, so that no later change of the caller's reaches the history."""
    try:
        copy = json.loads(json.dumps([latency_ms, metadata], allow_nan=False))
    except (TypeError, ValueError, RecursionError) as error:
        raise ClientError("bad_metadata", f"latency and metadata of a turn must be JSON: {error}") from error
    return copy[0], copy[1]
