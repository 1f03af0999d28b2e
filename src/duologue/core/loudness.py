"""How loud the voice is, and the room: whether a frame can still be voice by its level alone.

A voice activity model holds on to a voice for 60 to 200 ms after its last sound; its level falls at once. So the level says that
a voice may have ended, and the model, a little later, whether it has. Knows levels only, one a frame.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import deque

ROOM_S = 3.0
"""The room is what is left between words; people leave some silence in every three seconds."""

KNOWN_S = 1.0
"""Of sound before anything is believed of the room: the first word of a call is no room."""

ROOM_SHARE = 0.1
"""So many of the frames are quieter than the room is taken to be."""

GATED_DB = -75.0
"""Digital silence, dBFS: a microphone that is gated, or a pause between recordings, says nothing about the room."""

LEAST_FALL_DB = 15.0
"""In a loud room too a voice has not ended before it fell so far: speech itself moves by ten."""

FADE_DB_S = 6.0
"""How fast the voice's level follows one that grows softer."""


class Loudness:
    """`fall_db` below the voice's own level is quiet, and so is `above_room_db` above the room's; levels are dBFS."""

    def __init__(self, fall_db: float, above_room_db: float, frame_s: float) -> None:
        self._fall_db = fall_db
        self._above_room_db = above_room_db
        self._fade_db = FADE_DB_S * frame_s
        self._room: deque[float] = deque()
        self._sorted: list[float] = []  # the same levels: sorting them anew for every frame showed in profiles
        self._longest = round(ROOM_S / frame_s)
        self._known = round(KNOWN_S / frame_s)
        self._voice: float | None = None

    def hear(self, level: float, *, voiced: bool) -> float:
        """How many dB this frame lies above what would be quiet; below 0, it is. `voiced`: the model takes it for a voice."""
        if level > GATED_DB:
            self._keep(level)
        if self._voice is not None:
            self._voice -= self._fade_db
        if voiced:
            self._voice = level if self._voice is None else max(level, self._voice)
        return level - self._threshold()

    def forget_voice(self) -> None:
        """The voice is softer than it was: its level is learned again."""
        self._voice = None

    def _keep(self, level: float) -> None:
        self._room.append(level)
        insort(self._sorted, level)
        if len(self._room) > self._longest:
            del self._sorted[bisect_left(self._sorted, self._room.popleft())]

    def _threshold(self) -> float:
        if self._voice is None:
            return float("-inf")
        known = len(self._room) >= self._known
        room = self._sorted[int(len(self._sorted) * ROOM_SHARE)] if known else float("-inf")
        return min(max(room + self._above_room_db, self._voice - self._fall_db), self._voice - LEAST_FALL_DB)
