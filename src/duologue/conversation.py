"""What was said: the one owner of a conversation's history. It knows no engine and no session; both read it from here.

A *turn* is what one side said in one go, and what `max_history` counts. An *exchange* is what the user said and what was
answered, and what `context_window` counts; the one that is still without an answer counts too.

Only what was heard belongs here. A reply that was interrupted is added with the words that played; one of which nothing
played is not added, and the user's words before and after then go to the model as one message.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Literal, TypeAlias, get_args

from duologue import clock
from duologue.engines import Message
from duologue.errors import ClientError, ConfigError

Role: TypeAlias = Literal["user", "assistant"]


@dataclass(frozen=True, slots=True)
class Turn:
    """`timestamp` is when it was added, UTC; `metadata` is JSON-ready."""

    role: Role
    content: str
    timestamp: datetime
    latency_ms: float | None
    metadata: Mapping[str, Any]


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
        self._turns: deque[Turn] = deque(maxlen=max_history)
        self._wall_clock = wall_clock

    def add_turn(
        self, role: Role, content: str, latency_ms: float | None = None, metadata: Mapping[str, Any] | None = None
    ) -> None:
        """Content of nothing but spaces adds nothing: nobody said anything. Beyond `max_history` the oldest turn goes.

        Raises `ClientError`: bad_role, bad_metadata (not JSON, or a latency that is no number).
        """
        if role not in get_args(Role):
            raise ClientError("bad_role", f"a turn is the user's or the assistant's, not {role!r}'s")
        turn = Turn(role, content.strip(), self._wall_clock(), *_as_json(latency_ms, dict(metadata or {})))
        if turn.content:
            self._turns.append(turn)

    def amend_last(self, role: Role, content: str) -> bool:
        """Gives the newest turn other words, if it is `role`'s; none at all drop it. False: it is not, nothing changed."""
        if not (dropped := self._pop(role)):
            return False
        if content.strip():
            self._turns.append(replace(dropped, content=content.strip()))
        return True

    def drop_last(self, role: Role) -> bool:
        """Takes back the newest turn, if it is `role`'s: a user turn that is reopened. False: it is not, nothing changed."""
        return self._pop(role) is not None

    def get_context(self, num_turns: int | None = None) -> list[Message]:
        """The last `num_turns` exchanges (default: `context_window`) as chat messages: roles alternate, the user's is first.

        An assistant's turn that answers nothing in the window (a greeting) is left out: chat templates want the user first.
        """
        return _exchanges(self._turns, self.context_window if num_turns is None else num_turns)

    def get_last_user_message(self) -> str | None:
        return next((turn.content for turn in reversed(self._turns) if turn.role == "user"), None)

    def resize(self, context_window: int, max_history: int) -> None:
        """Other bounds for the same conversation; what no longer fits is forgotten, oldest first."""
        self.context_window = context_window
        self._turns = deque(self._turns, maxlen=max_history)

    def clear_history(self) -> None:
        self._turns.clear()

    def messages(self, instructions: str, pending: str = "") -> list[Message]:
        """What a chat model is given: the instructions, then the context.

        `pending` is what the user is saying and what is not a turn yet: for drafts, and for filling a cache ahead.
        """
        system = [Message("system", instructions.strip())] if instructions.strip() else []
        said: list[Turn | Message] = [*self._turns, Message("user", pending.strip())]
        return system + _exchanges(said, self.context_window)

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
            for turn in self._turns
        ]
        return {"turns": turns, "total_turns": len(turns)}

    def _pop(self, role: Role) -> Turn | None:
        return self._turns.pop() if self._turns and self._turns[-1].role == role else None


def _exchanges(said: Iterable[Turn | Message], count: int) -> list[Message]:
    """The last `count` exchanges: neighbours of one role merged, from a user's message on."""
    merged: list[Message] = []
    for turn in said:
        if merged and merged[-1].role == turn.role:
            merged[-1] = Message(turn.role, f"{merged[-1].content} {turn.content}".strip())
        elif turn.content and (merged or turn.role == "user"):
            merged.append(Message(turn.role, turn.content))
    starts = [index for index, message in enumerate(merged) if message.role == "user"][-count:] if count > 0 else []
    return merged[starts[0] :] if starts else []


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _as_json(latency_ms: float | None, metadata: dict[str, Any]) -> tuple[float | None, dict[str, Any]]:
    """Both as they will be exported: a copy, so that no later change of the caller's reaches the history."""
    try:
        copy = json.loads(json.dumps([latency_ms, metadata], allow_nan=False))
    except (TypeError, ValueError, RecursionError) as error:
        raise ClientError("bad_metadata", f"latency and metadata of a turn must be JSON: {error}") from error
    return copy[0], copy[1]
