"""How long silence and speech last before they mean something, and who decides what. Settings of the turn machine."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Patience:
    """How long silence or speech lasts before it means something; pauses count from the last voiced sample."""

    complete_s: float = 0.2  # pause that ends a turn which surely sounds complete
    incomplete_s: float = 1.5  # pause that ends a turn which surely does not
    question: float = 0.4  # of the doubt about a whole question, taken away: it often falls like a list that goes on
    adapts: bool = True  # the speaker's own pauses stretch and shrink `incomplete_s`
    ready_s: float = 0.15  # more, for a reply that is about to be heard: nobody hears the wait
    barge_in_s: float = 1.1  # speech over the reply that takes the floor with no word understood: longer than "mm-hm"
    barge_in_words: int = 2  # understood words that take the floor before that
    resume_s: float = 0.45  # silence after a listener's word before the reply goes on: more may follow
    backchannel_s: float = 0.8  # how long to wait for the words of speech over the reply that has ended
    reopen_s: float = 1.5  # speech this soon after the turn was closed belongs to it, if little of the reply was heard
    reopen_heard_s: float = 0.8  # "little": less than this
    longest_turn_s: float = 60.0  # then it is closed for the user: every engine's cost grows with it
    ask_again_s: float = 0.04  # before the turn detector is asked again, then twice as long: drafts need the core, too
    drafts: int = 12  # prepared replies per turn; a speaker who pauses more often gets one when the turn is over
    draft_from: float = 0.1  # P(complete) under which a pause is no time to prepare a reply,
    draft_after_s: float = 0.4  # until it has lasted so long


@dataclass(frozen=True, slots=True)
class Manners:
    """Who decides what, where a client wants to decide some of it itself."""

    answers: bool = True  # a finished turn is answered unasked
    yields: bool = True  # the user's voice takes the floor from the reply
    by_hand: bool = False  # the client says when a turn ends, and that it was one: silence and noise mean nothing
    nudge_s: float | None = None  # nobody spoke for so long after a reply: the model is asked to go on
