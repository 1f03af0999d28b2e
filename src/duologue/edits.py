"""What a client does to the conversation item by item. Each edit is done at once and answered by a fact; only an item that
comes as sound takes its time to be understood, and replies wait for it.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from dataclasses import dataclass
from typing import Final

import numpy as np

from duologue.audio import FRAME_SAMPLES, INPUT_RATE, Audio, Frame, Framer
from duologue.conversation import ConversationManager, Turn
from duologue.core.events import Turn as TurnNumber
from duologue.engines import Pause, Recognizer
from duologue.errors import EngineError
from duologue.protocols import (
    AddItem,
    CutItem,
    Fact,
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
from duologue.work import Work

NO_TURN: Final = TurnNumber(0, 0)


@dataclass
class _Sound:
    """The cause of the work on one item: it belongs to no turn."""

    turn: TurnNumber = NO_TURN


class Edits:
    def __init__(
        self,
        conversation: ConversationManager,
        recognizer: Recognizer,
        engine_timeout_s: float,
        work: Work,
        tell: Callable[[Fact], None],
    ) -> None:
        self._conversation = conversation
        self._recognizer = recognizer
        self._engine_timeout_s = engine_timeout_s
        self._work = work
        self._tell = tell
        self._unheard: set[str] = set()
        self._all_heard = asyncio.Event()
        self._all_heard.set()

    async def settled(self) -> bool:
        """Waits until every item is understood; True if there was anything to wait for."""
        waits = bool(self._unheard)
        await self._all_heard.wait()
        return waits

    def add(self, command: AddItem) -> None:
        """Raises `ClientError`: unknown_item, duplicate_item."""
        item = command.item
        before = self._conversation.insert(item.role, item.text, item.id, command.after, item.call, item.answers)
        self._tell(ItemAdded(item, before))
        if item.audio is not None:
            self._unheard.add(item.id)
            self._all_heard.clear()
            self._work.start(f"hear {item.id}", _Sound(), self._hear, item.id, item.audio)

    def remove(self, command: RemoveItem) -> None:
        """Raises `ClientError` (unknown_item)."""
        self._conversation.remove(command.id)
        self._tell(ItemRemoved(command.id))

    def show(self, command: ShowItem) -> None:
        """Raises `ClientError` (unknown_item)."""
        self._tell(ItemShown(_item(self._conversation.turn(command.id))))

    def cut(self, command: CutItem) -> None:
        """The reply must be over. Raises `ClientError`: unknown_item, not_spoken."""
        turn = self._conversation.cut(command.id, command.at_ms)
        at_ms = min(max(0.0, command.at_ms), float(turn.metadata.get("audio_ms", 0.0)))
        self._tell(ItemCut(command.id, at_ms, turn.content))

    async def _hear(self, item: str, audio: Audio) -> None:
        text, error = "", ""
        try:
            text = await self._understand(audio)
        except EngineError as failure:
            error = failure.message
        finally:
            self._unheard.discard(item)
            if not self._unheard:
                self._all_heard.set()
        self._conversation.fill(item, text)
        self._tell(ItemHeard(item, text, error))

    async def _understand(self, audio: Audio) -> str:
        watch = Watch(self._engine_timeout_s)
        stream = watch.over(self._recognizer.transcribe(_stream(audio)), "the recogniser")
        async with aclosing(stream) as transcripts:  # type: ignore[type-var]
            async for transcript in transcripts:
                if transcript.final:
                    return transcript.text.strip()
        return ""


async def _stream(audio: Audio) -> AsyncIterator[Frame | Pause]:
    whole = np.append(audio, np.zeros(-len(audio) % FRAME_SAMPLES, np.float32))
    for frame in Framer(INPUT_RATE).push(whole):
        yield frame
    yield Pause()


def _item(turn: Turn) -> Item:
    return Item(turn.id, turn.role, turn.content, turn.call, turn.answers)
