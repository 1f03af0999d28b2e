"""How a reply should sound after a turn with a feeling in it: the user's is answered, not mirrored.

The policy is a table, `ANSWERS`, that a configuration may change line by line. It gives the model a sentence, and the voice a
`Style`, which `prosody.py` puts in each voice's own terms. Knows no session and no engine.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from types import MappingProxyType
from typing import Any, Final

from duologue.emotion import LABELS, Emotion, Label
from duologue.engines import Style
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
        "happy": Answer("happy", "The user sounds happy: share it, and answer brightly.", 0.8),
        "sad": Answer(
            "gentle", "The user sounds sad: answer gently, say that you understand, and do not hurry to cheer them up."
        ),
        "angry": Answer(
            "calm", "The user sounds angry: stay calm, take it seriously, and say what can be done about it."
        ),
        "surprised": Answer("warm", "The user sounds surprised: answer warmly, and make plain what is so.", 0.8),
    }
)

SURE: Final = 0.5
"""Confidence below which a feeling is not answered: gentleness where nobody is sad sounds odder than none where somebody is."""


@dataclass(frozen=True, slots=True)
class Tone:
    """Of one reply. `instruction` is for the model, "" for none."""

    emotion: str = "neutral"
    intensity: float = 1.0
    instruction: str = ""

    def style(self, style: Style) -> Style:
        """The same voice, language and speed in this tone."""
        return replace(style, emotion=self.emotion, intensity=self.intensity)


@dataclass(frozen=True, slots=True)
class TonePolicy:
    answers: Mapping[Label, Answer] = field(default_factory=lambda: ANSWERS)
    sure: float = SURE

    def tone(self, heard: Emotion, usual: Tone = Tone()) -> Tone:
        """The reply's tone after this turn; `usual` where there is nothing to answer."""
        if heard.label == "neutral" or heard.confidence < self.sure:
            return usual
        answer = self.answers[heard.label]
        return Tone(answer.emotion, min(max(answer.share * heard.intensity, 0.0), 2.0), answer.instruction)


def policy(settings: Mapping[str, Any]) -> TonePolicy:
    """The usual policy with what a configuration changes: `sure`, and a table for each feeling with any of `Answer`'s fields.

    Raises `ConfigError`: unknown_setting, bad_setting.
    """
    answers, sure = dict(ANSWERS), settings.get("sure", SURE)
    if isinstance(sure, bool) or not isinstance(sure, int | float) or not 0 <= sure <= 1:
        raise ConfigError("bad_setting", f"tone.sure must be a number from 0 to 1, not {sure!r}")
    for name, changes in settings.items():
        label = next((label for label in LABELS if label == name), None)
        if label is not None:
            answers[label] = _changed(answers[label], label, changes)
        elif name != "sure":
            raise ConfigError("unknown_setting", f"tone has no setting {name!r}; it has: sure, {', '.join(LABELS)}")
    return TonePolicy(MappingProxyType(answers), float(sure))


def _changed(answer: Answer, label: Label, changes: Any) -> Answer:
    kinds = {entry.name: type(getattr(answer, entry.name)) for entry in fields(Answer)}
    if not isinstance(changes, Mapping):
        raise ConfigError("bad_setting", f"tone.{label} is a group of settings, not {changes!r}")
    for name, value in changes.items():
        if name not in kinds:
            raise ConfigError("unknown_setting", f"tone.{label} has no setting {name!r}; it has: {', '.join(kinds)}")
        if type(value) is not kinds[name] and not (kinds[name] is float and type(value) is int):
            raise ConfigError("bad_setting", f"tone.{label}.{name} must be {kinds[name].__name__}, not {value!r}")
    changed = replace(answer, **changes)
    if changed.emotion not in PROSODY:
        raise ConfigError(
            "bad_setting", f"tone.{label}.emotion must be one of {', '.join(PROSODY)}, not {changed.emotion!r}"
        )
    if not 0 <= changed.share <= 2:
        raise ConfigError("bad_setting", f"tone.{label}.share must be from 0 to 2, not {changed.share!r}")
    return changed
