"""Which language a conversation is in: from its texts, turn by turn, and what follows from it in a session."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import pytest
from dialogue import TIMINGS, Dialogue, lineup, play
from hypothesis import given
from hypothesis import strategies as st

from duologue import languages
from duologue.audio import Frame
from duologue.engines import About, Pause, Prompt, Style, Transcript
from duologue.engines.scripted import ABOUT, ScriptedWriter
from duologue.languages import LANGUAGES, Following, Guess, TextDetector, best_first, instruction
from duologue.protocols import Command, Configure, Degraded, Heard, ReplyDone, Type

SPANISH, HINDI = Type("¿Qué tiempo hace hoy en Madrid?"), Type("आज दिल्ली में मौसम कैसा है?")


@pytest.fixture(scope="module")
def detector() -> TextDetector:
    pytest.importorskip("py3langid")
    made = TextDetector()
    made.load()
    return made


# ── Voices ────────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("language", "given", "order"),
    [
        ("en", "espeak piper", "piper espeak"),
        ("hi", "espeak indic_parler chatterbox", "chatterbox indic_parler espeak"),
        ("ms", "espeak chatterbox dia", "dia chatterbox espeak"),
        ("ta", "espeak indic_parler", "indic_parler espeak"),
        ("en", "espeak mine piper", "piper mine espeak"),
        ("fr", "espeak piper", "espeak piper"),
    ],
)
def test_the_chain_is_the_languages_and_a_stranger_keeps_its_place(language: str, given: str, order: str) -> None:
    assert best_first(language, given.split(), str) == order.split()


def test_every_chain_ends_at_the_certain_voice() -> None:
    assert set(LANGUAGES) == {"en", "hi", "es", "ms", "ta", "te", "mr"}
    assert {language.voices[-1] for language in LANGUAGES.values()} == {"espeak"}


# ── Texts ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("What is the weather like today?", "en"),
        ("¿Qué tiempo hace hoy?", "es"),
        ("Saya mahu makan nasi lemak", "ms"),
        ("आज मौसम कैसा है?", "hi"),
        ("आज हवामान कसे आहे?", "mr"),
        ("இன்று வானிலை எப்படி இருக்கிறது?", "ta"),
        ("ఈ రోజు వాతావరణం ఎలా ఉంది?", "te"),
        ("Python में list कैसे बनाते हैं और उसको sort कैसे करते हैं?", "hi"),
        ("Mira https://www.example.com/the/weather/is/nice ahora mismo", "es"),
    ],
)
def test_what_a_text_is_written_in(detector: TextDetector, text: str, language: str) -> None:
    guess = detector.detect(text)
    assert guess is not None
    assert (guess.language, guess.enough) == (language, True)
    assert guess.confidence > 0.5


@pytest.mark.parametrize("text", ["", "12:30", "🙂 !!!", "你好", "Привет", "https://example.com/a", "\ud800\x00"])
def test_what_has_no_language_of_the_table_has_none(detector: TextDetector, text: str) -> None:
    assert detector.detect(text) is None


@pytest.mark.parametrize("text", ["no", "ok", "hi", "si", "Zoom"])
def test_a_word_is_not_enough(detector: TextDetector, text: str) -> None:
    guess = detector.detect(text)
    assert guess is not None
    assert not guess.enough


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("Mujhe ek kahani sunao", "hi"),
        ("mausam kaisa hai aaj?", "hi"),
        ("yaar mujhe weather batao", "hi"),
        ("tu kasa aahes?", "mr"),
        ("enakku oru kathai sollu", "ta"),
        ("ela unnavu?", "te"),
        ("What do kya and mujhe mean in this long question?", "en"),
        ("Saya nak tahu apa khabar awak", "ms"),
        ("Ella es mi madre y ama a sus hijos", "es"),
        ("Python என்றால் என்ன?", "ta"),
        ("ठीक है, मुझे Python सीखना है", "hi"),
    ],
)
def test_a_language_is_known_in_latin_letters_and_among_english_words(
    detector: TextDetector, text: str, language: str
) -> None:
    assert Following("te" if language != "te" else "en").hear(detector.detect(text)) == language


def test_english_words_in_a_tamil_sentence_do_not_switch_it(detector: TextDetector) -> None:
    following = Following("ta")
    for _ in range(3):
        following.hear(detector.detect("machine learning, deep learning பற்றி கொஞ்சம் explain பண்ணு"))
    assert following.language == "ta"


def test_other_scripts_beside_latin_letters_do_not_hide_them(detector: TextDetector) -> None:
    guess = detector.detect("How do I say hello in Chinese: 你好 or 您好?")
    assert guess is not None
    assert guess.language == "en"


def test_without_a_ranker_the_scripts_that_are_one_languages_are_found() -> None:
    bare = TextDetector()
    assert bare.detect("வணக்கம்") == Guess("ta", 1.0)
    assert bare.detect("hello there, my friend") is None


def test_without_its_package_scripts_still_tell(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "py3langid.langid", None)
    languages._ranker.cache_clear()
    bare = TextDetector()
    bare.load()
    languages._ranker.cache_clear()
    assert bare.detect("ఎలా ఉన్నారు") == Guess("te", 1.0)
    assert bare.detect("¿Qué tiempo hace hoy?") is None


@given(st.text(alphabet=st.characters(exclude_categories=()), max_size=300))
def test_any_text_can_be_looked_at(text: str) -> None:
    guess = TextDetector(lambda _, able: (able[0], 0.5)).detect(text)
    assert guess is None or 0.0 <= guess.confidence <= 1.0


# ── Following the user ────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("guesses", "language"),
    [
        ([Guess("es", 0.99)], "es"),
        ([Guess("es", 0.99, enough=False)], "en"),
        ([Guess("es", 0.7)], "en"),
        ([Guess("es", 0.7), Guess("es", 0.6)], "es"),
        ([Guess("es", 0.7), Guess("en", 0.6), Guess("es", 0.7)], "en"),
        ([Guess("es", 0.7), Guess("ms", 0.7)], "en"),
        ([Guess("es", 0.7), Guess("es", 0.3), Guess("es", 0.7)], "es"),
        ([Guess("es", 0.7, enough=False)] * 9, "en"),
        ([Guess("es", 0.3)] * 9, "en"),
        ([None, Guess("hi", 1.0), None], "hi"),
    ],
)
def test_only_a_sure_turn_or_two_likely_ones_switch_the_language(guesses: list[Guess | None], language: str) -> None:
    following = Following()
    for guess in guesses:
        following.hear(guess)
    assert following.language == language


def test_a_language_is_settled_after_two_sure_turns_in_it() -> None:
    following = Following()
    settled = []
    for language in ("en", "en", "es", "es"):
        following.hear(Guess(language, 0.95))
        settled.append(following.settled)
    assert settled == [False, True, False, True]


def test_english_needs_no_telling() -> None:
    assert instruction("en") == instruction("fr") == ""
    assert "Tamil (தமிழ்)" in instruction("ta")


# ── In a session ──────────────────────────────────────────────────────────────────────────────────────────────────────


@dataclass
class Hears:
    """Each turn in the next language, surely; `notice` with each."""

    languages: Sequence[str]
    notice: str = ""
    about: About = ABOUT
    turns: int = 0

    async def transcribe(self, audio: AsyncIterator[Frame | Pause]) -> AsyncIterator[Transcript]:
        language = self.languages[self.turns % len(self.languages)]
        self.turns += 1
        async for item in audio:
            if isinstance(item, Pause):
                yield Transcript("some words that were said", True, language, 0.9, 0.95, self.notice)


def talk(
    detector: TextDetector | None = None,
    commands: Sequence[tuple[float, Command]] = (),
    spans: Sequence[tuple[float, float]] = (),
    wanted: Mapping[str, Any] | None = None,
    **engines: Any,
) -> tuple[Dialogue, list[str], list[Style]]:
    """A session, the system messages that its writer got, and the styles that its voice got."""
    told: list[str] = []
    styles: list[Style] = []

    def answer(prompt: Prompt) -> str:
        told.append(prompt.messages[0].content)
        return "A reply."

    made = lineup(writer=ScriptedWriter(replies=answer), **engines)
    voice = made.speakers[0]
    speak = voice.speak
    voice.speak = lambda text, style: styles.append(style) or speak(text, style)  # type: ignore[func-returns-value,method-assign]
    made = replace(made, texts=detector or TextDetector())
    settings = replace(TIMINGS, conversation=replace(TIMINGS.conversation, **(wanted or {})))
    seen = play(spans, 12.0, engines=made, commands=commands, config=settings)
    return seen, told, styles


def test_a_typed_turn_is_answered_in_its_language(detector: TextDetector) -> None:
    seen, told, styles = talk(detector, [(1.0, SPANISH), (6.0, HINDI)])
    assert [style.language for style in styles] == ["es", "hi"]
    assert ["in Spanish" in told[0], "in Hindi" in told[-1]] == [True, True]
    assert [fact.language for fact in seen.of(Heard)] == ["es", "hi"]


def test_a_chosen_language_stays(detector: TextDetector) -> None:
    _, told, styles = talk(detector, [(0.5, Configure({"language": "ta"})), (1.0, SPANISH)])
    assert {style.language for style in styles} == {"ta"}
    assert "in Tamil" in told[-1]


def test_a_spoken_turn_is_answered_in_its_language() -> None:
    seen, told, styles = talk(spans=[(1, 3.2), (6, 8.2)], recognizer=Hears(["mr", "en"]))
    assert [style.language for style in styles] == ["mr", "en"]
    assert ["in Marathi" in told[0], "reply in" in told[-1]] == [True, False]
    assert not seen.of(Degraded)


def test_a_short_spoken_turn_does_not_switch_the_language() -> None:
    _, _, styles = talk(spans=[(1, 1.6)], recognizer=Hears(["mr"]))
    assert {style.language for style in styles} == {"en"}


def test_why_a_language_is_not_heard_is_told_once() -> None:
    seen, _, _ = talk(spans=[(1, 3.2), (6, 8.2)], recognizer=Hears(["en"], "is being fetched"))
    assert [fact.message for fact in seen.of(Degraded)] == ["is being fetched"]
    assert len(seen.of(ReplyDone)) == 2, "both turns are answered"


@pytest.fixture(params=["the server's", "the client's"])
def choose(request: pytest.FixtureRequest) -> Callable[..., dict[str, Any]]:
    """Settings as the server's configuration has them, or as a client sets them for its own session; and what is typed."""

    def choose(*typed: tuple[float, Command], **settings: Any) -> dict[str, Any]:
        if request.param == "the server's":
            return {"wanted": settings, "commands": typed}
        return {"commands": [(0.2, Configure(settings)), *typed]}

    return choose


Choose: TypeAlias = Callable[..., dict[str, Any]]


def test_following_what_is_heard_can_be_switched_off(detector: TextDetector, choose: Choose) -> None:
    _, _, styles = talk(detector, **choose(language_from_speech=False), spans=[(1, 3.2)], recognizer=Hears(["mr"]))
    assert {style.language for style in styles} == {"en"}
    _, _, styles = talk(detector, **choose((1.0, SPANISH), language_from_speech=False))
    assert {style.language for style in styles} == {"es"}


def test_following_what_is_typed_can_be_switched_off(detector: TextDetector, choose: Choose) -> None:
    _, _, styles = talk(detector, **choose((1.0, SPANISH), language_from_text=False))
    assert {style.language for style in styles} == {"en"}
    _, _, styles = talk(detector, **choose(language_from_text=False), spans=[(1, 3.2)], recognizer=Hears(["mr"]))
    assert {style.language for style in styles} == {"mr"}


def test_telling_the_model_can_be_switched_off(detector: TextDetector, choose: Choose) -> None:
    _, told, styles = talk(detector, **choose((1.0, SPANISH), language_to_model=False))
    assert {style.language for style in styles} == {"es"}
    assert not any("Spanish" in message for message in told)


@pytest.mark.parametrize(
    ("setting", "spoken"), [("language_from_text", ["en", "es", "es"]), ("language_to_model", ["es", "es", "es"])]
)
def test_a_client_may_change_its_mind(setting: str, spoken: list[str], detector: TextDetector) -> None:
    """From the next turn on."""
    changes = [(0.2, Configure({setting: False})), (5.0, Configure({setting: True}))]
    _, asked, styles = talk(detector, [*changes, (1.0, SPANISH), (6.0, SPANISH), (9.0, Type("¿Y mañana?"))])
    assert [style.language for style in styles] == spoken
    assert ["in Spanish" in message for message in asked] == [False, True, True]
