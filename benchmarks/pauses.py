"""Pauses of recorded turns, and what a policy that ends turns would have done at each: false cut-offs against waiting.

In the manner of LiveKit's eot-bench (https://github.com/livekit/eot-bench): every silence of 100 ms or more inside a turn is a
*hold*, at which the user must not be answered, and the last one is the *end*. Engines run once, for the records
(`benchmarks.hearing`); any number of policies is then replayed over them in milliseconds:

    pauses = load(STORE)
    evaluate(pauses, lambda pause: 0.25 if pause.complete > 0.5 else 1.2)

A policy answers the question of the turn machine: after how much silence does this pause end the turn? What it is given is
what a session knows at that pause, and no more. Silence counts from the last voiced sample as the session's VAD hears it.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final, TypeAlias

import numpy as np

from duologue.audio import FRAME_S
from duologue.errors import ConfigError

SHORTEST_HOLD_S: Final = 0.1
"""Less is no pause but a consonant: eot-bench's own limit."""

STORE: Final = (
    Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "duologue" / "benchmarks" / "pauses.json"
)


@dataclass(frozen=True, slots=True)
class Pause:
    """One silence that the VAD noticed. Seconds of silence (`noticed_s` to `words_s`) count from `at_s`."""

    group: str
    """Which set of recordings it is from."""
    turn: str
    speaker: str
    at_s: float
    """The last voiced sample before it, in the recording, as the VAD hears it."""
    noticed_s: float
    """Silence that had passed when it was noticed; nothing can be known or decided before."""
    silence_s: float | None
    """Until the voice came back; None: this is the end of the turn."""
    resumed_s: float | None
    """Until it was noticed that it came back; a decision before this one cuts the user off."""
    voice_after_s: float
    """At an end: how much later than `at_s` the last voiced sample falls, by energy; negative if it was earlier."""
    spoken_s: float
    """Voice in this turn until here, its pauses left out."""
    complete: float
    """The turn detector's P(the user has finished), of the sound until the pause was noticed."""
    scored_s: float
    """Silence that had passed when that was known: measured, the recogniser working beside it."""
    text: str
    confidence: float
    words_s: float
    """Silence that had passed when the words were known, likewise."""
    earlier_s: tuple[float, ...]
    """This speaker's holds so far: those of this turn, and of earlier ones, oldest first."""
    opinions: tuple[tuple[float, float], ...] = ()
    """What the detector said when it was asked again, as a session does: the silence that had passed when it was known, and P."""
    by_words: float | None = None
    """P(the user has finished) by the words alone, where the detector weighs them."""
    weighed_s: float = 0.0
    """Silence that had passed when that was known: measured, nothing else at work then."""

    @property
    def is_hold(self) -> bool:
        return self.silence_s is not None and self.silence_s >= SHORTEST_HOLD_S

    @property
    def is_end(self) -> bool:
        return self.silence_s is None


Policy: TypeAlias = Callable[[Pause], float]
"""The pause that ends the turn, s."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a policy did: `cut` of `holds` were taken for the end; each of `waits_s` is from the last voiced sample, by
    energy, to the decision, and 0 for a decision before it."""

    cut: int
    holds: int
    turns_cut: int
    turns: int
    waits_s: tuple[float, ...]

    @property
    def false_cut_offs(self) -> float:
        """Of the holds, as eot-bench counts them."""
        return self.cut / self.holds if self.holds else 0.0

    @property
    def mean_wait_s(self) -> float:
        return float(np.mean(self.waits_s)) if self.waits_s else float("nan")

    @property
    def p95_wait_s(self) -> float:
        return float(np.percentile(self.waits_s, 95)) if self.waits_s else float("nan")

    def facts(self) -> dict[str, Any]:
        return {
            "false_cut_offs": round(self.false_cut_offs, 4),
            "cut": self.cut,
            "holds": self.holds,
            "turns_cut": self.turns_cut,
            "turns": self.turns,
            "ends": len(self.waits_s),
            "mean_wait_ms": round(self.mean_wait_s * 1000, 1),
            "median_wait_ms": round(float(np.median(self.waits_s)) * 1000, 1) if self.waits_s else None,
            "p95_wait_ms": round(self.p95_wait_s * 1000, 1),
        }


def evaluate(pauses: Iterable[Pause], policy: Policy, *, judged: bool = True) -> Outcome:
    """`judged`: the policy looks at the turn detector's opinion, and so cannot decide before it is there; and it is the turn
    machine's, which decides nothing once a frame has sounded like a voice that is back, one before it is sure. Any decision needs
    the words: a turn without them is noise."""
    holds = cut = 0
    turns, turns_cut = set(), set()
    waits = []
    for pause in pauses:
        decided_s = decided(pause, policy, judged=judged)
        turns.add(pause.turn)
        if pause.is_end:
            waits.append(max(0.0, decided_s - pause.voice_after_s))
        elif decided_s < (pause.resumed_s or 0.0) - (FRAME_S if judged else 0.0):
            turns_cut.add(pause.turn)
            cut += pause.is_hold
        holds += pause.is_hold
    return Outcome(cut, holds, len(turns_cut), len(turns), tuple(waits))


def decided(pause: Pause, policy: Policy, *, judged: bool = True) -> float:
    """Silence, counted as the session counts it, when the turn is decided; if the voice comes back first, it is not.

    The policy is asked again with each new opinion, and when the words are weighed; the newest counts.
    """
    if not judged:
        return max(policy(pause), pause.words_s, pause.noticed_s)
    states = list(_known(pause))
    for (known_s, known), (next_s, _) in zip(states, [*states[1:], (float("inf"), pause)], strict=True):
        decided_s = max(policy(known), pause.words_s, known_s)
        if decided_s < next_s:
            return decided_s
    raise AssertionError("the last opinion stands for ever")


def _known(pause: Pause) -> Iterator[tuple[float, Pause]]:
    """The pause as it was known, and from when on."""
    opinions = [(pause.scored_s, pause.complete), *pause.opinions]
    weighed_s = pause.weighed_s if pause.by_words is not None else float("inf")
    moments = sorted({known_s for known_s, _ in opinions} | {max(weighed_s, pause.scored_s)} - {float("inf")})
    for at_s in moments:
        complete = [complete for known_s, complete in opinions if known_s <= at_s][-1]
        yield at_s, replace(pause, complete=complete, by_words=pause.by_words if at_s >= weighed_s else None)


def frontier(outcomes: Sequence[tuple[str, Outcome]]) -> list[tuple[str, Outcome]]:
    """Those that no other beats in both, by waiting."""
    best: list[tuple[str, Outcome]] = []
    for name, outcome in sorted(outcomes, key=lambda each: (each[1].mean_wait_s, each[1].false_cut_offs)):
        if not best or outcome.false_cut_offs < best[-1][1].false_cut_offs:
            best.append((name, outcome))
    return best


def best_at(outcomes: Sequence[tuple[str, Outcome]], false_cut_offs: float) -> tuple[str, Outcome] | None:
    """The one that waits least among those that cut off no more."""
    allowed = [each for each in outcomes if each[1].false_cut_offs <= false_cut_offs + 1e-9]
    return min(allowed, key=lambda each: each[1].mean_wait_s, default=None)


# ── Records ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def save(pauses: Sequence[Pause], path: Path = STORE) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps([asdict(pause) for pause in pauses], ensure_ascii=False, indent=0), encoding="utf-8")


def load(path: Path = STORE) -> list[Pause]:
    """Raises `ConfigError`: no_pauses."""
    try:
        rows = json.loads(path.read_text(encoding="utf-8"))
        return [_pause(row) for row in rows]
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise ConfigError("no_pauses", f"{path}: {error}; `python -m benchmarks turns --record` makes it") from error


def _pause(row: dict[str, Any]) -> Pause:
    opinions = tuple((at_s, complete) for at_s, complete in row["opinions"])
    return Pause(**row | {"earlier_s": tuple(row["earlier_s"]), "opinions": opinions})


def exists(path: Path = STORE) -> bool:
    return path.exists()
