"""What the user feels, from the words and the sound of a turn: neutral, happy, sad, angry or surprised.

`words.py` reads the text, `voice.py` measures the sound and `sound.py` judges it against the speaker's own manner; here the
two are fused and smoothed over turns. Knows no session and no engine; what a reply makes of it is `duologue.tone`'s business.
"""

from __future__ import annotations

from copy import copy
from dataclasses import dataclass, replace
from typing import Final, Protocol

from duologue.audio import INPUT_RATE, Audio
from duologue.emotion import sound, voice, words
from duologue.emotion.labels import LABELS, PRIOR, Label, Scores
from duologue.emotion.lexicon import LANGUAGES
from duologue.emotion.sound import Manner, SpeakerManner
from duologue.emotion.voice import Voice
from duologue.emotion.words import Wording

__all__ = [
    "LABELS",
    "Considered",
    "Emotion",
    "EmotionDetector",
    "EmotionSettings",
    "Heard",
    "Label",
    "Memory",
    "Scores",
    "SoundModel",
    "preload",
    "recent",
]

MOST_S: Final = 12.0
"""The end of a longer turn is what the reply answers; and it bounds what a turn can cost, to about 0.1 s."""

UNSAID: Final = 0.5
"""Share of felt turns whose words are plain: what speaks for neutral in the words speaks so much for each feeling that is
only heard. The other way round there is no such doubt: who says "I am furious" in an even voice means it."""


@dataclass(frozen=True, slots=True)
class Emotion:
    """`intensity` is 0..2, 1 being clear and 0 none at all; `confidence` 0..1 is the probability that the label is right.

    `evidence` says what it rests on, strongest first, in English: "words: 'furious'",
    "sound: pitch +2.1σ (against 3 of this voice's turns)".
    """

    label: Label
    intensity: float
    confidence: float
    evidence: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class EmotionSettings:
    """What the detector may use. With neither words nor sound every turn is neutral, with no confidence."""

    words: bool = True
    sound: bool = True
    carried: float = (
        0.25  # weight of the turns before in this one's feeling: moods outlast sentences; 0 forgets at once
    )


class SoundModel(Protocol):
    """A larger model in place of the rules of `sound.py`; they go on telling the arousal, and with it the intensity."""

    def __call__(self, audio: Audio) -> Scores:
        """The probability of each of `LABELS`, none likelier from the start, from 16 kHz mono."""
        ...


@dataclass(frozen=True, slots=True)
class Heard:
    """How a turn was said: `voice` None where too little of it was voiced; `scores` are a larger model's, and `told` is what the
    evidence says of that, or of why there are none."""

    voice: Voice | None = None
    scores: Scores | None = None
    told: str = ""


@dataclass(frozen=True, slots=True)
class Memory:
    """What one conversation has taught a detector: nobody changes it, a turn makes another one of it."""

    speaker: SpeakerManner
    mood: Scores | None = None


@dataclass(frozen=True, slots=True)
class Considered:
    """What a turn was found to be, and the memory without and with it."""

    emotion: Emotion
    before: Memory
    after: Memory


class EmotionDetector:
    """One session's: it learns the speaker's usual voice, and remembers the mood. What is large is shared by all of them.

    A turn may be looked at before it is one: `hear` its sound, `consider` it with its words, and put the memory `after` it in
    place once it is decided. `detect_emotion` does all three.

    Blocking, for about 4 ms for each second of sound (at most `MOST_S`) and 1 ms for the words, and once for 0.1 s to read
    the weights (`preload`): call it off the event loop, one call at a time.
    """

    def __init__(self, settings: EmotionSettings = EmotionSettings(), model: SoundModel | None = None) -> None:
        self.memory = Memory(SpeakerManner())
        self._settings = settings
        self._model = model

    def detect_emotion(self, text: str, audio: Audio | None = None, language: str = "") -> Emotion:
        """Of one turn, in order: each call is remembered. `audio` is mono at 16 kHz; a `language` that is "" or unknown is
        guessed."""
        considered = self.consider(text, self.hear(audio), language)
        self.memory = considered.after
        return considered.emotion

    def hear(self, audio: Audio | None) -> Heard:
        """What takes its time, and needs no words."""
        if audio is None or not self._settings.sound:
            return Heard()
        heard = Heard(voice.measure(recent(audio)))
        if heard.voice is None or self._model is None:
            return heard
        return replace(heard, scores=self._model(recent(audio)))

    def consider(self, text: str, heard: Heard = Heard(), language: str = "") -> Considered:
        """The feeling in a turn; nothing is remembered yet."""
        before = self.memory
        wording = words.read(text, language) if self._settings.words and _says_something(text) else None
        manner = before.speaker.judge(heard.voice) if heard.voice is not None else None
        if manner is not None and heard.scores is not None:
            manner = manner.with_scores(heard.scores)
        if manner is not None and heard.told:
            manner = replace(manner, told=heard.told)
        if wording is None and manner is None:
            return self._from_mood(before)
        now = fuse(wording, manner)
        mood = now if before.mood is None else _mixed(now, before.mood, self._settings.carried)
        after = Memory(_learned(before.speaker, heard.voice, now), mood)
        return Considered(_told(now, mood, wording, manner), before, after)

    def forget_mood(self) -> None:
        """What was felt so far says nothing of what follows (the conversation was cleared); the voice stays known."""
        self.memory = Memory(self.memory.speaker)

    def _from_mood(self, before: Memory) -> Considered:
        """Nothing was said that tells anything: what was is a guess at what is."""
        if before.mood is None:
            return Considered(Emotion("neutral", 0.0, 0.0), before, before)
        mood = _mixed(PRIOR, before.mood, self._settings.carried)
        label = LABELS[int(mood.argmax())]
        emotion = Emotion(label, 0.0 if label == "neutral" else 0.5, float(mood.max()), ("earlier turns",))
        return Considered(emotion, before, Memory(before.speaker, mood))


def recent(audio: Audio) -> Audio:
    """As much of it as anything here listens to."""
    return audio[-round(MOST_S * INPUT_RATE) :]


def _learned(speaker: SpeakerManner, heard: Voice | None, now: Scores) -> SpeakerManner:
    if heard is None:
        return speaker
    learned = copy(speaker)
    learned.learn(heard, float(now[LABELS.index("neutral")]))
    return learned


def _told(now: Scores, mood: Scores, wording: Wording | None, manner: Manner | None) -> Emotion:
    label = LABELS[int(mood.argmax())]
    told = evidence(label, wording, manner)
    if label != LABELS[int(now.argmax())]:
        told.insert(0, "earlier turns")
    return Emotion(label, intensity(label, wording, manner), float(mood.max()), tuple(told))


def preload() -> None:
    """Reads weights and lexicons, so that nobody's first turn waits for them."""
    for language in LANGUAGES:
        words.read("", language)


def fuse(wording: Wording | None, manner: Manner | None) -> Scores:
    """The probability of each label from whatever there is: words and sound as independent witnesses."""
    if manner is None:
        assert wording is not None
        return wording.scores
    if wording is None:
        return manner.scores
    told = wording.scores / PRIOR
    told[1:] += UNSAID * told[0]
    both: Scores = told * manner.scores / (told @ manner.scores)
    return both


def intensity(label: Label, wording: Wording | None, manner: Manner | None) -> float:
    """How strong the feeling is: as strong as its strongest sign."""
    if label == "neutral":
        return 0.0
    signs = [wording.intensity] if wording is not None and (manner is None or wording.reading.hits) else []
    if manner is not None:
        signs.append(2 * abs(manner.arousal))
    return min(max(signs), 2.0)


def evidence(label: Label, wording: Wording | None, manner: Manner | None) -> list[str]:
    """Of words and sound, first the one that makes the label likelier."""
    place, told = LABELS.index(label), []
    if wording is not None:
        told.append((float(wording.scores[place]), words.evidence(wording, label)))
    if manner is not None:
        told.append((float(manner.scores[place]), sound.evidence(manner)))
    return [line for _, lines in sorted(told, key=lambda entry: -entry[0]) for line in lines]


def _mixed(now: Scores, before: Scores, carried: float) -> Scores:
    return (1 - carried) * now + carried * before


def _says_something(text: str) -> bool:
    """Letters or emoji; the sign for words that only a speech model knows (`engines.UNHEARD`) is neither."""
    return any(character.isalnum() or ord(character) >= 0x2600 for character in text if character != "\ufffc")
