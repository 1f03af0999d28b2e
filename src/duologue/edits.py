"""What a client does to the conversation item by item. Each edit is done at once and answered by a fact; only an item that
comes as sound takes its time to be understood, and replies wait for it.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from dataclasses import dataclass
from typing import Final

import numpy as np

from duologue import clock
from duologue.audio import FRAME_S, FRAME_SAMPLES, INPUT_RATE, Audio, Frame, Framer
from duologue.conversation import Turn
from duologue.core.events import Turn as TurnNumber
from duologue.engines import Pause
from duologue.errors import ClientError, EngineError
from duologue.part import Part, Shared
from duologue.places.thread import needed
from duologue.protocols import (
    AddItem,
    CutItem,
    Item,
    ItemAdded,
    ItemCut,
    ItemHeard,
    ItemRemoved,
    ItemShown,
    RemoveItem,
    ShowItem,
)
from duologue.watch import Watch

NO_TURN: Final = TurnNumber(0, 0)

WAITING_S: Final = 180.0
"""Sound of a session's items that may wait to be understood: three of the longest, 12 MB. Each counts for a second at least, for
what is shorter costs a recogniser as much."""

GIVES_WAY_S: Final = 2.0
"""So long whoever speaks is heard first. An item is part of a conversation too: its replies wait for it."""

LONGEST_FRAMES: Final = round(12.0 / FRAME_S)
"""Heard in one go: what a conversation may have to wait for."""

AT_ONCE: Final = 32
"""Frames that a recogniser is given in one go: a minute of them held the loop up."""


@dataclass(eq=False)
class _Sound:
    """Of an item, not yet understood; the cause of the work on it. It belongs to no turn."""

    audio: Audio
    turn: TurnNumber = NO_TURN

    @property
    def seconds(self) -> float:
        return max(1.0, len(self.audio) / INPUT_RATE)


class Edits(Part):
    """`beside` is held while an item is heard: a server hears one thing at a time of what nobody is saying just now."""

    def __init__(self, shared: Shared, beside: asyncio.Lock) -> None:
        super().__init__(shared)
        self._beside = beside
        self._in_order = asyncio.Lock()  # one item of a session asks for `beside` at a time: sessions take turns
        self._unheard: dict[str, _Sound] = {}  # by item
        self._all_heard = asyncio.Event()
        self._all_heard.set()

    async def settled(self) -> bool:
        """Waits until every item is understood; True if there was anything to wait for."""
        waits = bool(self._unheard)
        await self._all_heard.wait()
        return waits

    def add(self, command: AddItem) -> None:
        """Raises `ClientError`: unknown_item, duplicate_item, too_much_sound."""
        item = command.item
        sound = None if item.audio is None else self._waiting(item.audio)
        before = self._conversation.insert(item.role, item.text, item.id, command.after, item.call, item.answers)
        self._tell(ItemAdded(item, before))
        if sound is not None:
            self._unheard[item.id] = sound
            self._all_heard.clear()
            self._work.start(_work(item.id), sound, self._hear, item.id, sound)

    def remove(self, command: RemoveItem) -> None:
        """Raises `ClientError` (unknown_item)."""
        self._conversation.remove(command.id)
        self._work.cancel(_work(command.id))
        if command.id in self._unheard:
            self._is_over(command.id, self._unheard[command.id])
        self._tell(ItemRemoved(command.id))

    def show(self, command: ShowItem) -> None:
        """Raises `ClientError` (unknown_item)."""
        self._tell(ItemShown(_item(self._conversation.turn(command.id))))

    def cut(self, command: CutItem) -> None:
        """The reply must be over. Raises `ClientError`: unknown_item, not_spoken."""
        turn = self._conversation.cut(command.id, command.at_ms)
        at_ms = min(max(0.0, command.at_ms), float(turn.metadata.get("audio_ms", 0.0)))
        self._tell(ItemCut(command.id, at_ms, turn.content))

    def _waiting(self, audio: Audio) -> _Sound:
        """Raises `ClientError` (too_much_sound)."""
        sound = _Sound(audio)
        if sum(waiting.seconds for waiting in self._unheard.values()) + sound.seconds > WAITING_S:
            text = f"more than {WAITING_S:g} s of items' sound would wait to be understood"
            raise ClientError("too_much_sound", text)
        return sound

    async def _hear(self, item: str, sound: _Sound) -> None:
        text, error = "", ""
        try:
            async with self._in_order, self._beside:
                text = await self._understand(sound.audio)
        except EngineError as failure:
            error = failure.message
        finally:
            self._is_over(item, sound)
        self._conversation.fill(item, text)
        self._tell(ItemHeard(item, text, error))

    def _is_over(self, item: str, sound: _Sound) -> None:
        """Nothing if another has taken its name since."""
        if self._unheard.get(item) is sound:
            del self._unheard[item]
        if not self._unheard:
            self._all_heard.set()

    async def _understand(self, audio: Audio) -> str:
        """The recogniser's time begins here, not when the item came."""
        text, watch = "", Watch(self._config.limits.engine_s)
        stream = watch.over(self._lineup.recognizer.transcribe(_stream(audio)), "the recogniser")
        async with aclosing(stream) as transcripts:  # type: ignore[type-var]
            async for transcript in transcripts:
                if transcript.final:
                    text = transcript.text.strip()
        return text


async def _stream(audio: Audio) -> AsyncIterator[Frame | Pause]:
    """Long sound has pauses where it is quietest, so that it is not heard in one go."""
    whole = np.append(audio, np.zeros(-len(audio) % FRAME_SAMPLES, np.float32))
    pauses = _pauses(np.square(whole).reshape(-1, FRAME_SAMPLES).mean(1))
    _give_way()
    for number, frame in enumerate(Framer(INPUT_RATE).push(whole), 1):
        if number % AT_ONCE == 0:
            await asyncio.sleep(0)
        yield frame
        if number in pauses:
            _give_way()
            yield Pause()
    _give_way()
    yield Pause()


def _give_way() -> None:
    at = clock.now() + GIVES_WAY_S
    needed(lambda: at)


def _pauses(levels: Audio) -> set[int]:
    """After how many frames: each at the quietest of the last third of what is heard in one go."""
    found, start = set[int](), 0
    while len(levels) - start > LONGEST_FRAMES:
        earliest = start + LONGEST_FRAMES * 2 // 3
        start = earliest + int(np.argmin(levels[earliest : start + LONGEST_FRAMES])) + 1
        found.add(start)
    return found


def _work(item: str) -> str:
    return f"hear {item}"


def _item(turn: Turn) -> Item:
    return Item(turn.id, turn.role, turn.content, turn.call, turn.answers)
