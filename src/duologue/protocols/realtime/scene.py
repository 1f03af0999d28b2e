"""What the parts of one connection's protocol share."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from duologue.protocols.realtime.configuration import Configuration
from duologue.protocols.realtime.history import History
from duologue.protocols.realtime.outgoing import Outgoing

KEPT_IDS = 64
"""Of replies, by their turns: facts about one may come until its sound has been played, and its latency a little later."""


@dataclass
class Scene:
    """`media`: sound has a road of its own, and the server keeps the clock of its playing (WebRTC)."""

    configuration: Configuration
    media: bool
    say: Outgoing = field(default_factory=Outgoing)
    history: History = field(default_factory=History)
    responses: dict[int, str] = field(default_factory=dict)
    """The ids of the responses to the last turns."""
    _named: deque[int] = field(default_factory=deque)
    _made: int = 0

    @property
    def session(self) -> str:
        return self.say.session

    def new_id(self, kind: str, suffix: str = "") -> str:
        """Unique beyond this session, for clients carry items to the next one."""
        self._made += 1
        return f"{kind}_{self.session}_{self._made}{suffix}"

    def name_response(self, turn: int, id: str) -> None:
        self.responses[turn] = id
        self._named.append(turn)
        if len(self._named) > KEPT_IDS:
            self.responses.pop(self._named.popleft(), None)
