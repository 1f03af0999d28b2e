"""What holds of every dialogue, whatever is said in it: the promises of `duologue.protocols` about the order of facts."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path

from dialogue import Dialogue

from duologue.protocols import (
    Ducked,
    Heard,
    Interrupted,
    Latency,
    Reopened,
    ReplyAudio,
    ReplyDone,
    ReplyWord,
    Resumed,
)

DIALOGUES = Path(__file__).parent / "dialogues"

REPLY = (ReplyWord, ReplyAudio, Ducked, Resumed, Interrupted, ReplyDone)


@dataclass
class Told:
    """What the client knows of one reply."""

    words: list[str] = field(default_factory=list)
    blocks: int = 0
    samples: int = 0
    held: bool = False
    complete: bool = False

    def word(self, fact: ReplyWord) -> None:
        assert fact.index == len(self.words), f"{fact} is out of order"
        assert not self.complete, "a word after the last one"
        self.words.append(fact.text)
        self.complete = fact.final

    def audio(self, fact: ReplyAudio) -> None:
        assert not self.held, "sound was sent while it was held"
        assert fact.index == self.blocks, f"{fact} is out of order"
        assert fact.at_ms == round(self.samples * 1000 / fact.rate, 1), "sound does not join"
        assert fact.final == (not fact.pcm)
        self.blocks += 1
        self.samples += len(fact.pcm) // 2


@dataclass
class Observer:
    open: dict[int, Told] = field(default_factory=dict)
    history: list[tuple[str, str]] = field(default_factory=list)
    newest: int = 0

    def see(self, fact: object) -> None:
        match fact:
            case Heard(turn, text, final=True):
                assert turn not in self.open, "decided twice"
                self.newest = max(self.newest, turn)
                self.open[turn] = Told()
                self.history.append(("user", text))
            case Reopened(turn):
                assert self.history.pop()[0] == "user"
            case Latency(turn, marks, parts):
                assert abs(sum(parts.values()) - marks["voice_to_voice"]) < 0.5, "the parts are not the whole"
        if isinstance(fact, REPLY):
            self._of_reply(fact)

    def _of_reply(self, fact: ReplyWord | ReplyAudio | Ducked | Resumed | Interrupted | ReplyDone) -> None:
        assert fact.turn in self.open, f"{type(fact).__name__} of a turn that is not decided, or over"
        told = self.open[fact.turn]
        match fact:
            case ReplyWord():
                told.word(fact)
            case ReplyAudio():
                told.audio(fact)
            case Ducked() | Resumed():
                assert told.held == isinstance(fact, Resumed)
                told.held = not told.held
            case Interrupted(turn, heard_text):
                assert "".join(told.words).startswith(heard_text), "heard what was never written"
                self._over(turn, heard_text)
            case ReplyDone(turn, text):
                assert "".join(told.words).strip() == text
                self._over(turn, text)

    def _over(self, turn: int, said: str) -> None:
        del self.open[turn]
        if said:
            self.history.append(("assistant", said))


def check(dialogue: Dialogue) -> None:
    """Raises AssertionError for the first law that is broken."""
    observer = Observer()
    for index, (_, fact) in enumerate(dialogue.facts):
        follows = dialogue.facts[index + 1][1] if index + 1 < len(dialogue.facts) else None
        if isinstance(fact, Interrupted) and isinstance(follows, Reopened):
            observer.open.pop(fact.turn)  # taken back: nothing of it stays
        else:
            observer.see(fact)
    assert len(observer.open) <= 1, "two replies at once"
    assert dialogue.history == observer.history, "the history is not what was said and heard"


def golden(name: str, dialogue: Dialogue) -> Dialogue:
    """Checks the laws, and compares with the dialogue that was kept."""
    check(dialogue)
    return kept(name, dialogue)


def kept(name: str, dialogue: Dialogue) -> Dialogue:
    """Compares with the dialogue that was kept, to the letter. WRITE_DIALOGUES=1 keeps this one instead."""
    path, text = DIALOGUES / f"{name}.txt", "\n".join(dialogue.steps()) + "\n"
    if os.environ.get("WRITE_DIALOGUES"):
        path.write_text(text, encoding="utf-8")
    assert text == path.read_text(encoding="utf-8")
    return dialogue
