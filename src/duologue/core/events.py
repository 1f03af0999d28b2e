"""What happened (events) and what to do about it (todos). Whatever crosses an await carries its turn."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple, TypeAlias


class Turn(NamedTuple):
    """`number` is the user's turn, as the client sees it; `take` grows each time the user speaks on after a pause in it.

    What was started for an earlier take (a transcript, a score, a draft) is stale as soon as the user speaks on.
    """

    number: int
    take: int


# ── What happened ─────────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class SpeechStarted:
    """The voice began `ago_s` before now, at microphone sample `since` (lead-in included)."""

    since: int
    ago_s: float


@dataclass(frozen=True, slots=True)
class SpeechStopped:
    """The last voiced sample was `ago_s` before now."""

    ago_s: float


@dataclass(frozen=True, slots=True)
class VoiceStirred:
    """In a silence one frame sounds like a voice: the next says whether it is one, or was a click."""


@dataclass(frozen=True, slots=True)
class Overheard:
    """The user's words so far, while the voice goes on: a guess that later ones replace."""

    turn: Turn
    text: str
    confidence: float


@dataclass(frozen=True, slots=True)
class Transcribed:
    """The words of the whole turn up to the pause; empty if there were none."""

    turn: Turn
    text: str
    confidence: float


@dataclass(frozen=True, slots=True)
class Scored:
    """P(the user has finished), 0..1."""

    turn: Turn
    complete: float


@dataclass(frozen=True, slots=True)
class Weighed:
    """P(the user has finished), 0..1, by the words of the last `Transcribed` alone. Whoever cannot say never does."""

    turn: Turn
    complete: float


@dataclass(frozen=True, slots=True)
class DraftSettled:
    """The reply that was prepared could be heard at once, or it failed: there is nothing to wait for."""

    turn: Turn


@dataclass(frozen=True, slots=True)
class ReplyAudible:
    """The first sound of the reply has left."""

    turn: Turn


@dataclass(frozen=True, slots=True)
class ReplyEnded:
    """The reply was played to its end, or had nothing to say."""

    turn: Turn


@dataclass(frozen=True, slots=True)
class Failed:
    """An engine gave up on this turn; the client has been told why."""

    turn: Turn


@dataclass(frozen=True, slots=True)
class Typed:
    """The user wrote instead of speaking: a whole turn."""

    text: str


@dataclass(frozen=True, slots=True)
class Asked:
    """The client wants a reply to the conversation as it stands, whoever spoke last."""


@dataclass(frozen=True, slots=True)
class Withdrawn:
    """The client no longer wants the reply that it asked for and that has not begun."""


@dataclass(frozen=True, slots=True)
class StopPressed:
    """The user wants the reply to stop (a button, a key)."""


@dataclass(frozen=True, slots=True)
class TurnHandedOver:
    """The client says that the user's turn is over (push-to-talk let go): do not wait for a longer pause."""


@dataclass(frozen=True, slots=True)
class TurnTakenBack:
    """The client wants what the user is saying to be forgotten."""


Event: TypeAlias = (
    SpeechStarted
    | SpeechStopped
    | VoiceStirred
    | Overheard
    | Transcribed
    | Scored
    | Weighed
    | DraftSettled
    | ReplyAudible
    | ReplyEnded
    | Failed
    | Typed
    | Asked
    | Withdrawn
    | StopPressed
    | TurnHandedOver
    | TurnTakenBack
)

# ── What to do ────────────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class Listen:
    """A turn may have begun at microphone sample `since`: keep its sound, start recognising."""

    turn: Turn
    since: int


@dataclass(frozen=True, slots=True)
class GoOn:
    """The user speaks on within the turn: what was started for the last pause is void, but for a draft of the same words."""

    turn: Turn


@dataclass(frozen=True, slots=True)
class Transcribe:
    """The user paused: answer with `Transcribed`."""

    turn: Turn


@dataclass(frozen=True, slots=True)
class Score:
    """Answer with `Scored`."""

    turn: Turn


@dataclass(frozen=True, slots=True)
class Draft:
    """Prepare the reply, and hold it silent."""

    turn: Turn
    text: str


@dataclass(frozen=True, slots=True)
class Commit:
    """The turn is over: write it down; if it is to be answered, release the reply, and make one if none was drafted.

    `rule` is what ended it: `endpointing.Evidence.rule`, or "client", "longest", "typed".
    """

    turn: Turn
    text: str
    answer: bool = True
    rule: str = "silence"


@dataclass(frozen=True, slots=True)
class Close:
    """The client ended the turn by hand: it has its place in the conversation now, and its words as soon as they are known.

    Nothing waits for them but replies, and nothing more is decided about it: the next turn may begin at once.
    """

    turn: Turn


@dataclass(frozen=True, slots=True)
class Answer:
    """Reply to the conversation as it stands: the turn is the reply's alone, the user said nothing in it."""

    turn: Turn


@dataclass(frozen=True, slots=True)
class Unask:
    """The reply that was asked for and has not begun will not come."""


@dataclass(frozen=True, slots=True)
class Nudge:
    """Nobody has spoken for long: an `Answer` follows."""

    turn: Turn


@dataclass(frozen=True, slots=True)
class Drop:
    """There was no turn: noise, or words that need no answer. Forget its sound and its draft."""

    turn: Turn


@dataclass(frozen=True, slots=True)
class Duck:
    """Hold the reply's sound where it is."""

    turn: Turn


@dataclass(frozen=True, slots=True)
class Resume:
    """Let the held reply go on, sample for sample."""

    turn: Turn


@dataclass(frozen=True, slots=True)
class Silence:
    """Stop the reply everywhere; keep in the history only what was heard of it."""

    turn: Turn


@dataclass(frozen=True, slots=True)
class Reopen:
    """The turn `was` closed too early: take its reply and its words back; what was listened to as `heard_as` continues it.

    From now on both are `turn`.
    """

    turn: Turn
    was: Turn
    heard_as: Turn


Todo: TypeAlias = (
    Listen
    | GoOn
    | Transcribe
    | Score
    | Draft
    | Commit
    | Close
    | Answer
    | Unask
    | Nudge
    | Drop
    | Duck
    | Resume
    | Silence
    | Reopen
)
