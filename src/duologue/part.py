"""What the parts of a session have in common: who it is, its settings and engines, its history, its tasks, and the two ways out.

A part is made once the session runs, since its tasks are the session's; it knows the other parts only if it is given them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from duologue.config import Config
from duologue.conversation import ConversationManager
from duologue.core.events import Event
from duologue.engines.lineup import Lineup
from duologue.protocols import Fact
from duologue.wishes import Wishes
from duologue.work import Work


@dataclass(frozen=True, slots=True)
class Shared:
    """`happened` leads to the turn machine, which decides at once; `tell` to the client."""

    name: str
    config: Config
    lineup: Lineup
    wishes: Wishes
    conversation: ConversationManager
    work: Work
    happened: Callable[[Event], None]
    tell: Callable[[Fact], None]


class Part:
    def __init__(self, shared: Shared) -> None:
        self._name = shared.name
        self._config = shared.config
        self._lineup = shared.lineup
        self._wishes = shared.wishes
        self._conversation = shared.conversation
        self._work = shared.work
        self._happened = shared.happened
        self._tell = shared.tell
