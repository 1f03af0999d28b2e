"""How a reply should sound after a turn with a feeling in it: the user's is answered, not mirrored.

The policy is a table, `ANSWERS`, that a configuration may change line by line. It gives the model a sentence, and the voice a
`Style`, which `prosody.py` puts in each voice's own terms. Knows no session and no engine.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any, Final, get_type_hints

from duologue.config import convert
from duologue.emotion import LABELS, Emotion, Label
from duologue.errors import ConfigError
from duologue.prosody import PROSODY


@dataclass(frozen=True, slots=True)
class Answer:
    """To one feeling of the user's. `emotion` is one of `prosody.PROSODY`; `share` of the user's intensity becomes the
    reply's."""

    emotion: str
    instruction: str
    share: float = 1.0


ANSWERS: Final[Mapping[Label, Answer]] = MappingProxyType(
    {
        "neutral": Answer("neutral", ""),
        "happy": Answer("happy", "The user sounds happy: answer brightly.", 0.8),
        "sad": Answer("gentle", "The user sounds sad: answer gently, and do not hurry to cheer them up."),
        "angry": Answer("calm", "The user sounds angry: answer calmly, and take it seriously."),
        "surprised": Answer("warm", "The user sounds surprised: answer warmly.", 0.8),
    }
)
"""The sentences are short, because a reply waits until the model has read its one: 5 ms a token with the packaged model."""

SURE: Final = 0.6
"""Confidence below which a feeling is not answered: gentleness where nobody is sad sounds odder than none where somebody is. At
0.5 a question's rising end was taken for surprise in 4 of 22 recorded ones, at 0.6 in 1."""


@dataclass(frozen=True, slots=True)
class Tone:
    """Of one reply. `instruction` is for the model, "" for none."""

    emotion: str = "neutral"
    intensity: float = 1.0
    instruction: str = ""


USUAL: Final = Tone()
"""Of a reply to nothing that was felt."""


@dataclass(frozen=True, slots=True)
class TonePolicy:
    answers: Mapping[Label, Answer] = field(default_factory=lambda: ANSWERS)
    sure: float = SURE

    def tone(self, heard: Emotion) -> Tone:
        """The reply's tone after this turn; the usual one where there is nothing to answer."""
        if heard.label == "neutral" or heard.confidence < self.sure:
            return USUAL
        answer = self.answers[heard.label]
        return Tone(answer.emotion, min(max(answer.share * heard.intensity, 0.0), 2.0), answer.instruction)


def policy(settings: Mapping[str, Any]) -> TonePolicy:
    """The usual policy with what a configuration changes: `sure`, and a table for each feeling with any of `Answer`'s fields.

    Raises `ConfigError`: unknown_setting, bad_setting.
    """
    answers, sure = dict(ANSWERS), convert(settings.get("sure", SURE), float, "feelings.policy.sure")
    if not 0 <= sure <= 1:
        raise ConfigError("bad_setting", f"feelings.policy.sure must be from 0 to 1, not {sure!r}")
    for name, changes in settings.items():
        label = next((label for label in LABELS if label == name), None)
        if label is not None:
            answers[label] = _changed(answers[label], label, changes)
        elif name != "sure":
            known = ", ".join(LABELS)
            raise ConfigError("unknown_setting", f"feelings.policy has no setting {name!r}; it has: sure, {known}")
    return TonePolicy(MappingProxyType(answers), sure)


def _changed(answer: Answer, label: Label, changes: Any) -> Answer:
    kinds, where = get_type_hints(Answer), f"feelings.policy.{label}"
    if not isinstance(changes, Mapping):
        raise ConfigError("bad_setting", f"{where} is a group of settings, not {changes!r}")
    for name in changes:
        if name not in kinds:
            raise ConfigError("unknown_setting", f"{where} has no setting {name!r}; it has: {', '.join(kinds)}")
    changed = replace(
        answer, **{name: convert(value, kinds[name], f"{where}.{name}") for name, value in changes.items()}
    )
    if changed.emotion not in PROSODY:
        raise ConfigError(
            "bad_setting", f"{where}.emotion must be one of {', '.join(PROSODY)}, not {changed.emotion!r}"
        )
    if not 0 <= changed.share <= 2:
        raise ConfigError("bad_setting", f"{where}.share must be from 0 to 2, not {changed.share!r}")
    return changed
