"""When a turn is over: false cut-offs against mean wait, for fixed silences, the turn detector, and the settings in force.

The pauses are recorded once (`--record`, some minutes) and kept in the user's cache; replaying a policy over them takes
milliseconds. `benchmarks.pauses` says what is counted.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import reduce
from itertools import product
from pathlib import Path
from typing import Any, Final

from benchmarks import hearing, pauses, recordings
from benchmarks.figures import Figure
from benchmarks.pauses import Outcome, Pause, Policy, best_at, evaluate, frontier
from benchmarks.recordings import Recording
from duologue.app import App
from duologue.core.endpointing import HOLD_S, Evidence, learned
from duologue.core.patience import Patience

COUNTED: Final = ("questions", "turns")
"""What was read aloud is recorded too, but has few pauses of thought, and ends in mid-sentence now and then."""

FIXED_S: Final = tuple(round(0.05 * step, 2) for step in range(2, 41))
COMPLETE_S: Final = (0.1, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5, 0.6, 0.7)
INCOMPLETE_S: Final = (0.6, 0.8, 1.0, 1.2, 1.5, 2.0, 2.5, 3.0)
THRESHOLDS: Final = (0.1, 0.3, 0.5, 0.7, 0.9)

BUDGET: Final = 0.05

BUDGETS: Final = (0.02, 0.05, 0.10)
"""False cut-offs for which the least wait is told."""

Named = tuple[str, Outcome]


@dataclass(frozen=True)
class Family:
    """Policies of one kind, swept."""

    name: str
    outcomes: list[Named]

    def rows(self) -> Iterator[tuple[str, str, Outcome]]:
        for name, outcome in frontier(self.outcomes):
            yield self.name, name, outcome


async def record(app: App, groups: dict[str, list[Recording]], path: Path = pauses.STORE) -> list[Pause]:
    assert app.lineup is not None
    found = await hearing.hear(app.lineup, app.config, groups)
    pauses.save(found, path)
    return found


async def recorded(app: App, *, again: bool, path: Path = pauses.STORE) -> list[Pause]:
    """Those that count. Heard now, if they never were or are to be `again`."""
    here = not again and pauses.exists(path)
    found = pauses.load(path) if here else await record(app, groups(), path)
    return [pause for pause in found if pause.group in COUNTED]


def groups() -> dict[str, list[Recording]]:
    return {"questions": recordings.questions(), "turns": recordings.turns(), "read": recordings.read_aloud()}


def sweep(found: Sequence[Pause], patience: Patience) -> list[Family]:
    return [
        Family("fixed silence", [_named(found, f"{s:g} s", fixed(s), judged=False) for s in FIXED_S]),
        Family("threshold", [_named(found, *each) for each in _thresholds()]),
        Family("curve in force, varied", [_named(found, *each) for each in _curves(patience)]),
        Family("in force", [_named(found, "these settings", in_force(patience))]),
    ]


def _named(found: Sequence[Pause], name: str, policy: Policy, judged: bool = True) -> Named:
    return name, evaluate(found, policy, judged=judged)


def fixed(silence_s: float) -> Policy:
    return lambda pause: silence_s


def threshold(at_least: float, complete_s: float, incomplete_s: float) -> Policy:
    """eot-bench's: the least silence above a threshold of the turn detector, and the most below it."""
    return lambda pause: complete_s if pause.complete >= at_least else incomplete_s


def in_force(patience: Patience) -> Policy:
    """What the turn machine does with these settings: `core.endpointing`, and what it has learned of the speaker."""

    def wait_s(pause: Pause) -> float:
        hold_s = reduce(learned, pause.earlier_s, HOLD_S)
        return Evidence(pause.complete, pause.text, pause.by_words).wait_s(patience, hold_s)

    return wait_s


def by_rules(patience: Patience) -> Policy:
    """The same, of a detector that does not weigh the words."""
    policy = in_force(patience)
    return lambda pause: policy(replace(pause, by_words=None))


def _thresholds() -> Iterator[tuple[str, Policy]]:
    for at_least, complete_s, incomplete_s in product(THRESHOLDS, COMPLETE_S, INCOMPLETE_S):
        yield (
            f"P ≥ {at_least:g}: {complete_s:g} s, else {incomplete_s:g} s",
            threshold(at_least, complete_s, incomplete_s),
        )


def _curves(patience: Patience) -> Iterator[tuple[str, Policy]]:
    """Each as it is, with rules in place of weighed words, and by what the sound says alone."""
    for complete_s, incomplete_s in product(COMPLETE_S, INCOMPLETE_S):
        name = f"{complete_s:g} s to {incomplete_s:g} s"
        varied = replace(patience, complete_s=complete_s, incomplete_s=incomplete_s)
        yield name, in_force(varied)
        yield f"{name}, words by rules", by_rules(varied)
        yield f"{name}, sound alone", by_rules(replace(varied, question=0.0, adapts=False))


def figures(families: Sequence[Family]) -> list[Figure]:
    """The settings in force, and the least wait of each kind at so many false cut-offs."""
    (_, now), *_ = families[-1].outcomes
    told = [
        Figure("false cut-offs, settings in force", "share", [], now.false_cut_offs, {"overall": BUDGET}, needs=0),
        Figure("wait, settings in force", "s", now.waits_s, now.mean_wait_s),
    ]
    best = [(family.name, best_at(family.outcomes, BUDGET)) for family in families[:-1]]
    told += [
        Figure(f"wait at {BUDGET:.0%}: {family}, {found[0]}", "s", found[1].waits_s, found[1].mean_wait_s)
        for family, found in best
        if found is not None
    ]
    return told


# ── What is told ──────────────────────────────────────────────────────────────────────────────────────────────────────


def facts(found: Sequence[Pause], families: Sequence[Family]) -> dict[str, Any]:
    return {
        "pauses": len(found),
        "opinion_after_ms": _median_ms([pause.scored_s - pause.noticed_s for pause in found]),
        "words_after_ms": _median_ms([pause.words_s - pause.noticed_s for pause in found]),
        "families": {
            family.name: [{"policy": name, **outcome.facts()} for _, name, outcome in family.rows()]
            for family in families
        },
        "at_budget": {
            f"{budget:.0%}": {
                family.name: {"policy": best[0], **best[1].facts()}
                for family in families
                if (best := best_at(family.outcomes, budget)) is not None
            }
            for budget in BUDGETS
        },
    }


def table(families: Sequence[Family]) -> str:
    rows: list[tuple[str, ...]] = [("kind", "policy", "cut-offs", "holds cut", "turns cut", "mean wait", "p95 wait")]
    rows += [_row(*each) for family in families for each in family.rows()]
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )


def _row(kind: str, name: str, outcome: Outcome) -> tuple[str, ...]:
    return (
        kind,
        name,
        f"{outcome.false_cut_offs:.1%}",
        f"{outcome.cut}/{outcome.holds}",
        f"{outcome.turns_cut}/{outcome.turns}",
        f"{outcome.mean_wait_s * 1000:.0f} ms",
        f"{outcome.p95_wait_s * 1000:.0f} ms",
    )


def _median_ms(seconds: Sequence[float]) -> float:
    return round(sorted(seconds)[len(seconds) // 2] * 1000, 1) if seconds else 0.0
