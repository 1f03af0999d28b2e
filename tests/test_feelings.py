"""What the user feels, in a session: told, remembered, and answered in the voice and in the words; each part of it to be
switched off by itself, with the rest at work."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias

import pytest
from dialogue import TIMINGS, Dialogue, lineup, play, says

from duologue.app import App
from duologue.audio import Audio
from duologue.config import Config
from duologue.config import Feelings as Settings
from duologue.core.events import Turn
from duologue.core.turns import Manners
from duologue.ear import Ear
from duologue.emotion import Considered, Emotion, EmotionDetector, EmotionSettings, Heard
from duologue.engines import Message, Piece, Prompt, Sound, Style, Text, Transcript
from duologue.engines.by_ear import ByEar
from duologue.engines.scripted import ScriptedEmotion, ScriptedRecognizer, ScriptedSpeaker, ScriptedWriter
from duologue.errors import ConfigError, EngineError
from duologue.feelings import noted
from duologue.protocols import (
    ClearHistory,
    Configure,
    EndTurn,
    Felt,
    Latency,
    ReplyDone,
    ReplyRequest,
    ReplyVoice,
    Respond,
    TurnTaking,
    Type,
)
from duologue.protocols import (
    Heard as HeardFact,
)
from duologue.tone import ANSWERS

PLAIN, SAD, FURIOUS = "What time does the train leave?", "I am so sad, my dog died.", "I'm sick of this, I'm furious!"
NOTE = f"({ANSWERS['sad'].instruction})"
THEN_TYPE_PLAIN = ((6.0, Type(PLAIN)),)


@dataclass
class Detectors:
    """The real detector, on the loop. `hear_s` and `consider_s` are how long each takes."""

    hear_s: float = 0.015
    consider_s: float = 0.001
    fails: Exception | None = None
    about = ScriptedEmotion().about
    opened: list[Detecting] = field(default_factory=list)

    def open(self, settings: EmotionSettings) -> Detecting:
        self.opened.append(Detecting(self, EmotionDetector(settings)))
        return self.opened[-1]


class Detecting:
    def __init__(self, model: Detectors, detector: EmotionDetector) -> None:
        self._model = model
        self._detector = detector
        self.heard_s: list[float] = []
        self.considered: list[str] = []

    @property
    def memory(self) -> Any:
        return self._detector.memory

    @memory.setter
    def memory(self, memory: Any) -> None:
        self._detector.memory = memory

    @property
    def turns_known(self) -> float:
        """Of this voice, emotional ones counting less."""
        return float(self._detector.memory.speaker._weight)

    async def hear(self, audio: Audio) -> Heard:
        self.heard_s.append(len(audio) / 16_000)
        await asyncio.sleep(self._model.hear_s)
        return self._detector.hear(audio)

    async def consider(self, text: str, heard: Heard, language: str) -> Considered:
        self.considered.append(text)
        await asyncio.sleep(self._model.consider_s)
        if self._model.fails is not None:
            raise self._model.fails
        return self._detector.consider(text, heard, language)

    def forget_mood(self) -> None:
        self._detector.forget_mood()


@dataclass
class Voice(ScriptedSpeaker):
    """Keeps how it was asked to sound."""

    styles: list[Style] = field(default_factory=list)

    async def speak(self, text: AsyncIterator[str], style: Style) -> AsyncIterator[Sound]:
        self.styles.append(style)
        async for sound in super().speak(text, style):
            yield sound


@dataclass
class Pen(ScriptedWriter):
    """Keeps what it was asked."""

    prompts: list[Sequence[Message]] = field(default_factory=list)

    async def write(self, prompt: Prompt) -> AsyncIterator[Piece]:
        self.prompts.append(list(prompt.messages))
        async for piece in super().write(prompt):
            yield piece


@dataclass
class Talk:
    """A dialogue, and what the engines saw of it."""

    seen: Dialogue
    detectors: Detectors
    voice: Voice
    pen: Pen

    @property
    def detecting(self) -> Detecting:
        return self.detectors.opened[-1]

    @property
    def felt(self) -> list[tuple[int, str]]:
        return [(fact.turn, fact.label) for fact in self.seen.of(Felt)]

    @property
    def tones(self) -> list[str]:
        return [style.emotion for style in self.voice.styles]

    @property
    def asked(self) -> list[str]:
        """What the model was asked last, each time."""
        return [messages[-1].content for messages in self.pen.prompts]


def talk(
    *texts: str,
    feelings: Mapping[str, Any] | None = None,
    conversation: Mapping[str, Any] | None = None,
    detectors: Detectors | None = None,
    spans: Sequence[tuple[float, float]] = ((1, 2.5),),
    seconds: float = 6,
    recognizer: ScriptedRecognizer | None = None,
    commands: Sequence[tuple[float, Any]] = (),
    **about: Any,
) -> Talk:
    """Says the texts, one a span."""
    detectors = detectors or Detectors()
    pen, voice = Pen(replies=("Very well.",)), Voice()
    voice.about = replace(voice.about, emotion="label", **about)
    settings = replace(
        TIMINGS,
        feelings=Settings(**(feelings or {})),
        conversation=replace(TIMINGS.conversation, **(conversation or {})),
    )
    engines = lineup(recognizer=recognizer or says(*texts), writer=pen, speakers=(voice,), emotion=detectors)
    seen = play(spans, seconds, engines=engines, config=settings, commands=commands)
    return Talk(seen, detectors, voice, pen)


# ── A turn with a feeling in it ───────────────────────────────────────────────────────────────────────────────────────


def test_a_sad_turn_is_told_and_answered_gently_in_the_voice_and_in_the_words() -> None:
    made = talk(SAD)
    (felt,) = made.seen.of(Felt)
    assert (felt.turn, felt.label) == (1, "sad")
    assert felt.confidence > 0.5
    assert "words: 'sad'" in felt.evidence
    assert made.tones == ["gentle"]
    assert made.voice.styles[0].intensity == pytest.approx(felt.intensity)
    assert made.asked == [f"{SAD}\n\n{NOTE}"]
    assert [(fact.emotion, fact.unmet) for fact in made.seen.of(ReplyVoice)] == [("gentle", "")]


def test_the_note_is_no_word_of_the_users() -> None:
    assert talk(SAD).seen.history == [("user", SAD), ("assistant", "Very well.")]


def test_a_plain_turn_is_asked_and_spoken_as_ever() -> None:
    made = talk(
        PLAIN, conversation={"feelings_from_sound": False}
    )  # a tone is a monotonous voice, which may be a sad one
    assert made.felt == [(1, "neutral")]
    assert made.tones == ["neutral"]
    assert made.asked == [PLAIN]


def test_the_trace_has_it_with_its_turn() -> None:
    rows = [row for row in talk(SAD).seen.rows if row["name"] == "Felt"]
    assert [(row["kind"], row["turn"], row["label"]) for row in rows] == [("fact", 1, "sad")]


def test_it_is_told_after_the_words() -> None:
    facts = [type(fact) for _, fact in talk(SAD).seen.facts]
    assert facts.index(HeardFact) < facts.index(Felt)


def test_a_voice_that_has_no_tones_says_so() -> None:
    pen, voice = Pen(), Voice()
    voice.about = replace(voice.about, emotion="none")
    engines = lineup(recognizer=says(SAD), writer=pen, speakers=(voice,), emotion=Detectors())
    seen = play([(1, 2.5)], 6, engines=engines, config=TIMINGS)
    assert [fact.unmet for fact in seen.of(ReplyVoice)] == ["scripted always sounds the same: it cannot sound gentle"]


def test_typed_words_are_felt_too() -> None:
    made = talk(spans=(), commands=[(0.5, Type(FURIOUS))])
    assert made.felt == [(1, "angry")]
    assert made.tones == ["calm"]
    assert made.detecting.heard_s == []


def test_a_reply_that_was_asked_for_keeps_the_tone_of_the_turn_before() -> None:
    made = talk(SAD, seconds=8, commands=[(5.0, Respond(ReplyRequest("mine")))])
    assert made.tones == ["gentle", "gentle"]
    assert made.felt == [(1, "sad")]


def test_a_request_with_messages_of_its_own_is_given_no_others() -> None:
    request = ReplyRequest("mine", items=())
    made = talk(SAD, seconds=8, commands=[(5.0, Respond(request))])
    assert not any(NOTE in message.content for message in made.pen.prompts[1])


# ── It costs nobody time ──────────────────────────────────────────────────────────────────────────────────────────────


def voice_to_voice(made: Talk) -> float:
    (latency,) = made.seen.of(Latency)
    return latency.marks["voice_to_voice"]


def without_feelings() -> float:
    engines = lineup(recognizer=says(SAD), writer=Pen(replies=("Very well.",)), speakers=(Voice(),))
    (latency,) = play([(1, 2.5)], 6, engines=engines, config=TIMINGS).of(Latency)
    return latency.marks["voice_to_voice"]


def test_the_sound_is_listened_to_while_the_user_speaks_and_the_reply_comes_when_it_would() -> None:
    made = talk(SAD)
    assert voice_to_voice(made) <= without_feelings() + 1.5, "what the words take, and nothing for the sound"
    assert 0.6 * 1.9 < made.detecting.heard_s[-1] < 1.88, "most of it, and not again at the pause, when all have work"


def test_the_sound_of_a_turn_too_short_for_partial_words_is_listened_to_at_its_pause() -> None:
    made = talk(SAD, recognizer=ScriptedRecognizer((SAD,), partial_every_s=0))
    assert made.detecting.heard_s == pytest.approx([1.9], abs=0.2)
    assert voice_to_voice(made) <= without_feelings() + 1.5, "what the words take, and nothing for the sound"


@pytest.mark.parametrize(("hear_s", "consider_s", "tone"), [(2.5, 0.001, "gentle"), (0.015, 1.0, "neutral")])
def test_a_slow_detector_delays_nothing_and_is_heard_in_the_next_reply(
    hear_s: float, consider_s: float, tone: str
) -> None:
    """A reply does not wait for what is slow in the sound: its words alone have their tone."""
    made = talk(SAD, detectors=Detectors(hear_s, consider_s), seconds=9, commands=[(6.0, Type(SAD))])
    latency = made.seen.of(Latency)[0].marks["voice_to_voice"]
    assert latency <= without_feelings() + 30
    assert made.tones[0] == tone
    assert made.felt[0] == (1, "sad")
    assert made.tones[1] == "gentle"


@pytest.mark.parametrize("error", [EngineError("emotion", "broke"), ValueError("a fault")])
def test_a_detector_that_fails_costs_the_turn_nothing(error: Exception) -> None:
    made = talk(SAD, detectors=Detectors(fails=error))
    assert made.seen.of(Felt) == []
    assert made.tones == ["neutral"]
    assert [done.text for done in made.seen.of(ReplyDone)] == ["Very well."]


@pytest.mark.parametrize(
    ("wanted", "model"), [({}, None), ({"feelings": False}, Detectors()), ({"feelings_from_sound": False}, Detectors())]
)
def test_a_turns_sound_is_put_together_for_nobody(
    wanted: Mapping[str, Any], model: Detectors | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It grows with the turn, and would be all copied with every new word and at the pause, on the loop."""
    joined: list[Turn] = []

    def put_together(ear: Ear) -> Audio:
        joined.append(ear.turn)
        return ear.last(math.inf)

    monkeypatch.setattr(Ear, "audio", property(put_together))
    conversation = replace(TIMINGS.conversation, **wanted)
    engines = lineup(recognizer=says(SAD), emotion=model)
    seen = play([(1, 2.5)], 6, engines=engines, config=replace(TIMINGS, conversation=conversation))
    assert [fact.text for fact in seen.of(HeardFact) if fact.final] == [SAD]
    assert joined == []


# ── Turns that are not over ───────────────────────────────────────────────────────────────────────────────────────────


def test_of_a_pause_within_a_turn_nothing_is_told_and_nothing_remembered() -> None:
    changing = ScriptedRecognizer(texts=lambda number, seconds: FURIOUS if seconds < 2.2 else f"{FURIOUS} {SAD}")
    made = talk(spans=[(1, 2.5), (2.7, 4.3)], recognizer=changing, seconds=9)
    assert made.detecting.heard_s[-1] > 0.6 * 3.7, "what came after the pause was listened to as well"
    assert [turn for turn, _ in made.felt] == [1]
    assert made.detecting.considered[-1] == f"{FURIOUS} {SAD}"
    assert 0 < made.detecting.turns_known <= 1


def test_what_was_remembered_of_a_turn_that_is_reopened_is_forgotten() -> None:
    once = talk(FURIOUS, spans=[(1, 2.5)], seconds=5)
    twice = talk(
        FURIOUS, f"{FURIOUS} {PLAIN}", spans=[(1, 2.5), (3.0, 5.0)], seconds=10
    )  # goes on at the reply's first sound
    assert [fact.turn for fact in twice.seen.of(Felt)] == [1, 1]
    assert twice.detecting.turns_known < 2 * max(once.detecting.turns_known, 0.6)


def test_the_mood_is_forgotten_with_the_conversation() -> None:
    lasting = {"feelings_carried": 0.9}
    kept = talk(FURIOUS, conversation=lasting, seconds=10, commands=THEN_TYPE_PLAIN)
    gone = talk(FURIOUS, conversation=lasting, seconds=10, commands=[(5.0, ClearHistory()), *THEN_TYPE_PLAIN])
    assert [label for _, label in kept.felt] == ["angry", "angry"]
    assert [label for _, label in gone.felt] == ["angry", "neutral"]


# ── Models that hear ──────────────────────────────────────────────────────────────────────────────────────────────────


@dataclass
class Model(Pen):
    """Answers by ear; the words follow."""

    async def answer(self, audio: Audio, prompt: Prompt) -> AsyncIterator[Piece]:
        self.prompts.append(list(prompt.messages))
        await asyncio.sleep(0.05)
        yield Text("Very well.")

    async def transcribe(self, audio: Audio) -> Transcript:
        return Transcript(SAD, final=True, language="en")


def test_words_that_come_after_the_answer_are_felt_then() -> None:
    model, voice, detectors = Model(), Voice(), Detectors()
    engines = lineup(recognizer=ByEar(), writer=model, speakers=(voice,), emotion=detectors)
    seen = play([(1, 2.5), (6, 7.5)], 11, engines=engines, config=TIMINGS)
    assert [(fact.turn, fact.label) for fact in seen.of(Felt)][1] == (1, "sad")
    assert detectors.opened[0].considered[1] == SAD
    assert len(seen.of(Felt)) == 4
    assert detectors.opened[0].turns_known <= 2, "each turn's sound is learned once"


def test_beside_sound_the_note_stands_before_it() -> None:
    asked = [Message("system", "Be brief."), Message("user", "Hi."), Message("assistant", "Hello.")]
    assert noted(asked, "Be kind.", heard=True) == [*asked, Message("user", "(Be kind.)")]


def test_a_note_stands_behind_the_users_words_and_nowhere_else() -> None:
    asked = [Message("system", "Be brief."), Message("user", "Hi.")]
    assert noted(asked, "Be kind.", heard=False) == [asked[0], Message("user", "Hi.\n\n(Be kind.)")]
    assert noted(asked, "", heard=False) == asked
    outputs = [*asked, Message("tool", "22 °C", answers="call_1")]
    assert noted(outputs, "Be kind.", heard=False) == outputs
    assert noted([], "Be kind.", heard=False) == []


# ── Switches ──────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture(params=["the server's", "the client's"])
def choose(request: pytest.FixtureRequest) -> Callable[..., Mapping[str, Any]]:
    """Settings as the server's configuration has them, or as a client sets them for its own session."""

    def choose(**settings: Any) -> Mapping[str, Any]:
        if request.param == "the server's":
            return {"conversation": settings}
        return {"commands": [(0.2, Configure(settings))]}

    return choose


Choose: TypeAlias = Callable[..., Mapping[str, Any]]


def test_without_words_the_sound_is_still_felt(choose: Choose) -> None:
    made = talk(FURIOUS, **choose(feelings_from_words=False))
    (felt,) = made.seen.of(Felt)
    assert all(line.startswith("sound: ") for line in felt.evidence)


def test_without_sound_the_words_are_still_felt(choose: Choose) -> None:
    made = talk(FURIOUS, **choose(feelings_from_sound=False))
    (felt,) = made.seen.of(Felt)
    assert all(line.startswith("words: ") for line in felt.evidence)
    assert made.detecting.heard_s == [], "nor is any sound looked at"
    assert made.tones == ["calm"]


def test_with_an_even_voice_the_model_is_still_told(choose: Choose) -> None:
    made = talk(SAD, **choose(feelings_to_voice=False))
    assert made.tones == ["neutral"]
    assert made.asked[0].endswith(NOTE)
    assert made.felt == [(1, "sad")]


def test_with_the_model_not_told_the_voice_still_answers(choose: Choose) -> None:
    made = talk(SAD, **choose(feelings_to_model=False))
    assert made.tones == ["gentle"]
    assert made.asked == [SAD]
    assert made.felt == [(1, "sad")]


def test_the_policy_is_the_configurations() -> None:
    made = talk(SAD, feelings={"policy": {"sad": {"emotion": "warm", "instruction": "Be kind."}}})
    assert made.tones == ["warm"]
    assert made.asked == [f"{SAD}\n\n(Be kind.)"]
    unmoved = talk(SAD, feelings={"policy": {"sure": 1.0}})
    assert (unmoved.tones, unmoved.asked, unmoved.felt) == (["neutral"], [SAD], [(1, "sad")])


def test_a_policy_that_cannot_be_stops_the_start() -> None:
    with pytest.raises(ConfigError) as caught:
        App(replace(Config(), feelings=Settings(policy={"sad": {"emotion": "tender"}})))
    assert caught.value.code == "bad_setting"


@pytest.mark.parametrize(("carried", "mood"), [(0.0, "neutral"), (0.9, "angry")])
def test_a_mood_lasts_as_much_as_is_wanted(carried: float, mood: str, choose: Choose) -> None:
    wanted = dict(choose(feelings_carried=carried))
    made = talk(FURIOUS, seconds=10, **wanted | {"commands": [*wanted.get("commands", ()), *THEN_TYPE_PLAIN]})
    assert made.felt == [(1, "angry"), (2, mood)]
    assert made.tones[0] == "calm"


def test_how_long_a_reply_waits_is_the_configurations() -> None:
    assert talk(SAD, detectors=Detectors(consider_s=0.2)).tones == ["neutral"]
    assert talk(SAD, detectors=Detectors(consider_s=0.2), feelings={"wait_s": 0.3}).tones == ["gentle"]


def test_a_client_that_wants_none_of_it_is_left_alone(choose: Choose) -> None:
    made = talk(SAD, **choose(feelings=False))
    assert (made.felt, made.tones, made.asked) == ([], ["neutral"], [SAD])
    assert made.detectors.opened == []


@pytest.mark.parametrize(
    ("setting", "felt", "tone", "asked"),
    [
        ("feelings", [], "neutral", SAD),
        ("feelings_from_words", [(2, "neutral")], "neutral", SAD),
        ("feelings_from_sound", [(2, "sad")], "gentle", f"{SAD}\n\n{NOTE}"),
        ("feelings_to_voice", [(2, "sad")], "neutral", f"{SAD}\n\n{NOTE}"),
        ("feelings_to_model", [(2, "sad")], "gentle", SAD),
    ],
)
def test_a_client_may_change_its_mind(setting: str, felt: list[tuple[int, str]], tone: str, asked: str) -> None:
    """From the next turn on, and back again with the one after."""
    changes = [(5.0, Configure({setting: False, "feelings_carried": 0.0})), (9.0, Configure({setting: True}))]
    made = talk(SAD, seconds=14, commands=[*changes, (6.0, Type(SAD)), (10.0, Type(SAD))])
    assert made.felt == [(1, "sad"), *felt, (3, "sad")]
    assert made.tones == ["gentle", tone, "gentle"]
    assert made.asked == [f"{SAD}\n\n{NOTE}", asked, f"{SAD}\n\n{NOTE}"]


def test_a_reply_that_was_asked_for_has_the_tone_of_the_turn_before_as_it_is_wanted_by_now() -> None:
    change = Configure({"feelings_to_voice": False})
    assert talk(SAD, seconds=8, commands=[(5.0, change), (5.5, Respond())]).tones == ["gentle", "neutral"]


def test_what_is_known_of_the_voice_outlives_a_change_of_what_is_looked_at() -> None:
    change = Configure({"feelings_from_words": False})
    made = talk(PLAIN, spans=[(1, 2.5), (6, 7.5)], seconds=11, commands=[(5.0, change)])
    first, second = made.detectors.opened
    assert 0 < first.turns_known < second.turns_known


def test_a_tone_that_the_client_chose_is_kept_and_the_feeling_is_still_told() -> None:
    made = talk(SAD, conversation={"emotion": "happy", "intensity": 1.5})
    assert [(style.emotion, style.intensity) for style in made.voice.styles] == [("happy", 1.5)]
    assert made.asked == [SAD]
    assert made.felt == [(1, "sad")]


def test_intensity_is_a_factor_on_a_tone_that_answers() -> None:
    usual, half = talk(SAD), talk(SAD, conversation={"intensity": 0.5})
    assert half.voice.styles[0].intensity == pytest.approx(usual.voice.styles[0].intensity / 2)


def test_without_a_detector_all_else_works() -> None:
    voice = Voice()
    engines = lineup(recognizer=says(SAD), speakers=(voice,))
    seen = play([(1, 2.5)], 6, engines=engines, config=TIMINGS)
    assert seen.of(Felt) == []
    assert [style.emotion for style in voice.styles] == ["neutral"]
    assert engines.names()["emotion"] == "none"


def test_the_scripted_detector_feels_what_it_is_told() -> None:
    feels: Callable[[str], Emotion] = lambda text: Emotion("surprised", 1.0, 0.9, ("a script",))  # noqa: E731
    engines = lineup(recognizer=says(PLAIN), emotion=ScriptedEmotion(feels))
    seen = play([(1, 2.5)], 6, engines=engines, config=TIMINGS)
    assert seen.of(Felt) == [Felt(1, "surprised", 1.0, 0.9, ("a script",))]


BY_HAND = Configure(
    turn_taking=TurnTaking(TIMINGS.speech, TIMINGS.patience, Manners(answers=False, yields=False, by_hand=True))
)


@pytest.mark.parametrize("after_s", [0.0, 1.0])
def test_a_turn_that_the_client_ends_is_answered_in_its_tone(after_s: float) -> None:
    voice = Voice()
    engines = lineup(recognizer=says(SAD), emotion=Detectors(), speakers=(voice,))
    commands = [(0.1, BY_HAND), (2.0, EndTurn()), (2.0 + after_s, Respond(ReplyRequest("mine")))]
    seen = play([(0.5, 1.5)], 6, engines=engines, commands=commands)
    assert [(fact.turn, fact.label) for fact in seen.of(Felt)] == [(1, "sad")]
    assert voice.styles[0].emotion == ANSWERS["sad"].emotion
