"""The tables of the documentation that are made from the code: `python -m duologue.tables docs/architecture.md` rewrites them.

What a row of the turn machine leads to is not read off its source but observed: the machine is asked everything, in every
state that it can get into.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Hashable, Iterator
from functools import cache
from pathlib import Path
from typing import TypeAlias

from duologue.core.events import (
    Asked,
    DraftSettled,
    Event,
    Failed,
    Overheard,
    ReplyAudible,
    ReplyEnded,
    Scored,
    SpeechStarted,
    SpeechStopped,
    StopPressed,
    Transcribed,
    TurnHandedOver,
    TurnTakenBack,
    Typed,
    VoiceStirred,
    Weighed,
    Withdrawn,
)
from duologue.core.turns import TABLE, Deadline, Manners, Patience, Phase, Turns
from duologue.engines import chatterbox, dia, espeak, indic_parler, kokoro, mms, openai_speech, piper

Key: TypeAlias = tuple[Phase, type]
Outcome: TypeAlias = tuple[tuple[str, ...], Phase]

PATIENCE = Patience(drafts=1)
"""More drafts give more states, but no other outcomes."""

MANNERS = (
    Manners(nudge_s=1.5),
    Manners(answers=False),
    Manners(yields=False),
    Manners(answers=False, yields=False, by_hand=True),
)
"""Each client's way of taking turns that opens rows of its own."""

PAUSES_S = (0.0, 1.0)
"""Between two events. Two of the long ones lie beyond each of the machine's times but those that its deadline ends."""

WITHOUT_OUTCOME = (
    "patience",
    "manners",
    "hearing",
    "replying",
    "wake_at",
    "_newest",
    "_silent_at",
    "_ends_at",
    "_stirred_at",
    "_hold_s",
    "_ended_by",
    "_drafted",
)
"""What all have in common; numbers of turns and words of drafts, of which only matters whether they are the same; what only moves
a deadline; labels."""

OF_A_PAUSE = ("_complete", "_ready")

TOLD_APART_BY = [name for name in vars(Turns(PATIENCE)) if name not in WITHOUT_OUTCOME]
TIMES = [name for name in TOLD_APART_BY if name.endswith("_at")]
IN_A_PAUSE = [name for name in TOLD_APART_BY if name not in TIMES]
OUT_OF_A_PAUSE = [name for name in IN_A_PAUSE if name not in OF_A_PAUSE]

WORDS = ("", "mm-hm", "tell me about Berlin")

OPINIONS = (0.0, 0.9)
"""That the turn is over: none prepares a reply at the first one."""


@cache
def observed() -> dict[Key, list[Outcome]]:
    """For each row of the table its outcomes, in the order of phases and names: what to do, and what it becomes."""
    found: dict[Key, set[Outcome]] = {key: set() for key in TABLE}
    for manners in MANNERS:
        _observe(manners, found)
    order = list(Phase)
    return {key: sorted(outcomes, key=lambda o: (order.index(o[1]), o[0])) for key, outcomes in found.items()}


def _observe(manners: Manners, found: dict[Key, set[Outcome]]) -> None:
    """Every state that such a machine can get into, and everything that can happen in it."""
    seen: set[Hashable] = set()
    frontier = [(Turns(PATIENCE, manners), 0.0)]
    while frontier:
        for key, outcome, after, then in _moves(*frontier.pop()):
            if key in found:
                found[key].add(outcome)
            if (state := _state(after, then)) not in seen:
                seen.add(state)
                frontier.append((after, then))


def _moves(turns: Turns, now: float) -> Iterator[tuple[Key, Outcome, Turns, float]]:
    """Everything that can happen next, each to a copy of its own."""
    until = float("inf") if turns.wake_at is None else turns.wake_at
    news = _news(turns)
    happenings = [(event, now + pause_s) for pause_s in PAUSES_S if now + pause_s < until for event in news]
    for event, then in happenings:
        after = _copy(turns)
        todos = after.handle(event, then)
        yield (turns.phase, type(event)), (tuple(type(todo).__name__ for todo in todos), after.phase), after, then
    if turns.wake_at is not None:
        after, then = _copy(turns), max(now, turns.wake_at)
        todos = after.wake(then)
        yield (turns.phase, Deadline), (tuple(type(todo).__name__ for todo in todos), after.phase), after, then


def _copy(turns: Turns) -> Turns:
    """As `copy.copy` does it, and three times as fast: there are hundreds of thousands."""
    after = Turns.__new__(Turns)
    vars(after).update(vars(turns))
    return after


def _news(turns: Turns) -> list[Event]:
    """What can be news: of the turn that is heard, or of the one that is replied to. Of those that the phase has no row for, and
    that so change nothing, one: with it time passes."""
    rows: list[Event] = []
    idle: list[Event] = []
    for event in _events(turns):
        (rows if (turns.phase, type(event)) in TABLE else idle).append(event)
    return rows + idle[:1]


def _events(turns: Turns) -> list[Event]:
    hearing, replying = turns.hearing, turns.replying or turns.hearing
    return [
        SpeechStarted(0, 0.0),
        SpeechStopped(0.0),
        VoiceStirred(),
        *(Overheard(hearing, words, 1.0) for words in WORDS),
        *(Transcribed(hearing, words, 1.0) for words in WORDS),
        *(Scored(hearing, complete) for complete in OPINIONS),
        *(Weighed(hearing, complete) for complete in OPINIONS),
        DraftSettled(hearing),
        ReplyAudible(replying),
        ReplyEnded(replying),
        Failed(hearing),
        Failed(replying),
        Typed("tell me more"),
        Asked(),
        Withdrawn(),
        StopPressed(),
        TurnHandedOver(),
        TurnTakenBack(),
    ]


def _state(turns: Turns, now: float) -> Hashable:
    """What tells two machines of the same manners apart in what they will do; times only as far as they matter, in seconds."""
    known, paused = vars(turns), turns.phase is Phase.PAUSED
    same = turns.hearing == turns.replying, turns._drafted == turns._text
    late = paused and now >= turns._ends_at
    ages = [None if (at := known[name]) is None else min(now - at, 2.0) // 1.0 for name in TIMES]
    return (
        *same,
        turns.wake_at is None,
        late,
        *ages,
        *(known[name] for name in (IN_A_PAUSE if paused else OUT_OF_A_PAUSE)),
    )


@cache
def turns() -> str:
    """The transition table as Markdown; rows that differ in nothing but the phase are one."""
    outcomes = observed()
    rows: dict[tuple[str, str, str], list[str]] = {}
    for (phase, event), handler in sorted(TABLE.items(), key=lambda row: list(Phase).index(row[0][0])):
        shown = (_spaced(event), " ".join((handler.__doc__ or "").split()), _outcomes(outcomes[phase, event]))
        rows.setdefault(shown, []).append(phase.value)
    body = [f"| {', '.join(phases)} | {event} | {does} | {then} |" for (event, does, then), phases in rows.items()]
    return "\n".join(["| phase | event | meaning | to do → becomes |", "|---|---|---|---|", *body])


def _spaced(event: type) -> str:
    return re.sub(r"(?<!^)(?=[A-Z])", " ", event.__name__).lower()


def _outcomes(outcomes: list[Outcome]) -> str:
    return "<br>".join(f"{', '.join(todos) or '–'} → {phase.value}" for todos, phase in outcomes)


def voices() -> str:
    """What each speaker declares with its default settings, as Markdown."""
    known = (
        piper.ABOUT,
        espeak.ABOUT,
        kokoro.ABOUT,
        chatterbox.ABOUT,
        chatterbox.ABOUT_TURBO,
        dia.ABOUT,
        indic_parler.ABOUT,
        mms.ABOUT,
        openai_speech.about(openai_speech.Settings()),
    )
    rows = [
        f"| {about.name} | {' '.join(sorted(about.languages))} | {about.sample_rate:,} | {about.streaming} | {about.emotion} "
        f"| {'yes' if about.cloning else 'no'} | {about.cancel} | {about.licence} |"
        for about in known
    ]
    head = "| engine | languages | Hz | streaming | emotion | cloning | stops after a | licence |"
    return "\n".join([head, "|---|---|---|---|---|---|---|---|", *rows])


TABLES: dict[str, Callable[[], str]] = {"turns": turns, "voices": voices}


def rewrite(text: str) -> str:
    """`text` with what stands between `<!-- table:NAME -->` and `<!-- /table -->` made anew."""
    return re.sub(
        r"(<!-- table:(\w+) -->\n).*?(<!-- /table -->)",
        lambda match: f"{match[1]}\n{TABLES[match[2]]()}\n\n{match[3]}",
        text,
        flags=re.DOTALL,
    )


if __name__ == "__main__":
    for path in map(Path, sys.argv[1:]):
        path.write_text(rewrite(path.read_text(encoding="utf-8")), encoding="utf-8")
