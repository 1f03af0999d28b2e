"""The feeling in words: negation in every language, what is no feeling, and weights that belong to this code."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from duologue.emotion import LABELS, words
from duologue.emotion.labels import PRIOR
from duologue.emotion.lexicon import LANGUAGES, Lexicon, guess, lexicon
from duologue.emotion.text import FEATURES, features, tokens
from training.examples import SHIPPED, fitted_with, plain_turns

NAMED = [
    ("en", "happy", "I am so happy today"),
    ("en", "sad", "I feel lonely and sad"),
    ("en", "angry", "You lied to me, I am furious"),
    ("en", "surprised", "Wow, I never expected that"),
    ("es", "happy", "Estoy muy contenta con el resultado"),
    ("es", "sad", "Me siento sola y triste"),
    ("es", "angry", "Estoy harto de que me mientas"),
    ("es", "surprised", "No me lo puedo creer, qué sorpresa"),
    ("hi", "happy", "मैं आज बहुत ख़ुश हूँ"),
    ("hi", "sad", "मैं अकेला और उदास हूँ"),
    ("hi", "angry", "मुझे तुम पर बहुत गुस्सा आ रहा है"),
    ("hi", "surprised", "मुझे तो यकीन नहीं हो रहा, मैं हैरान हूँ"),
    ("mr", "happy", "मला आज खूप आनंद झाला"),
    ("mr", "sad", "मला एकटे आणि उदास वाटते"),
    ("mr", "angry", "मला तुझा खूप राग आला आहे"),
    ("mr", "surprised", "अरे बापरे, मी थक्क झालो"),
    ("ms", "happy", "Saya sangat gembira hari ini"),
    ("ms", "sad", "Saya sedih dan kesepian"),
    ("ms", "angry", "Saya marah betul dengan awak"),
    ("ms", "surprised", "Biar betul, saya terkejut"),
    ("ta", "happy", "எனக்கு இன்று மிகவும் மகிழ்ச்சியாக இருக்கிறது"),
    ("ta", "sad", "எனக்கு ரொம்ப வருத்தமா இருக்கு"),
    ("ta", "angry", "எனக்கு உன் மேல் கோபம் வருகிறது"),
    ("ta", "surprised", "என்னால் நம்பவே முடியவில்லை, ஆச்சரியமா இருக்கு"),
    ("te", "happy", "నాకు ఈ రోజు చాలా సంతోషంగా ఉంది"),
    ("te", "sad", "నాకు చాలా బాధగా ఉంది"),
    ("te", "sad", "మనసు బాగోలేదు"),
    ("te", "surprised", "నేను ఊహించలేదు"),
    ("ta", "surprised", "என்னால் நம்ப முடியவில்லை"),
    ("ta", "happy", "காத்திருக்க முடியவில்லை"),
    ("ta", "sad", "மனசு சரியில்லை"),
    ("ms", "happy", "Bukan main gembira saya"),
    ("ms", "happy", "Besar hati saya"),
    ("ms", "sad", "Hati saya hancur"),
    ("te", "angry", "నాకు నీ మీద కోపంగా ఉంది"),
    ("te", "surprised", "అబ్బో, నేను అస్సలు ఊహించలేదు"),
]
"""Written for this test, as the lexicons were by the same hand: they show that reading works, not how often it is right."""

DENIED = [
    ("en", "happy", "I'm not happy"),
    ("en", "happy", "I am not at all happy with this"),
    ("en", "happy", "That never made me happy"),
    ("en", "sad", "Don't worry, I'm not sad"),
    ("en", "angry", "I don't think I'm angry"),
    ("es", "happy", "No estoy nada feliz"),
    ("es", "angry", "No estoy enojado contigo"),
    ("hi", "happy", "मैं खुश नहीं हूँ"),
    ("hi", "happy", "मैं बिल्कुल भी खुश नहीं हूँ"),
    ("hi", "angry", "मुझे गुस्सा नहीं आया"),
    ("mr", "happy", "मी आनंदी नाही"),
    ("mr", "angry", "मला राग आला नाही"),
    ("ms", "happy", "Saya tidak gembira"),
    ("ms", "angry", "Saya tak marah pun"),
    ("ta", "happy", "நான் மகிழ்ச்சியாக இல்லை"),
    ("ta", "angry", "எனக்கு கோபம் வரவில்லை"),
    ("ta", "sad", "எனக்கு பயம் ஏற்படவில்லை"),
    ("te", "sad", "దిగులు పడొద్దు"),
    ("ta", "angry", "நான் கோபப்படவில்லை"),
    ("te", "happy", "నేను సంతోషంగా లేను"),
    ("te", "sad", "నేను బాధపడలేదు"),
    ("te", "angry", "నాకు కోపం లేదు"),
]

LOVING = [
    ("en", "I'm mad about you"),
    ("es", "Estoy loca por ti"),
    ("hi", "मैं तुम्हारे लिए पागल हूँ"),
    ("mr", "मी तुझ्यासाठी वेडा आहे"),
    ("ms", "Saya tergila-gilakan awak"),
    ("ta", "எனக்கு உன் மேல் பைத்தியம்"),
    ("te", "నువ్వంటే నాకు పిచ్చి"),
]

STILL_FELT = [
    ("en", "sad", "I don't know why I'm so sad"),
    ("en", "angry", "No, I'm furious"),
    ("en", "sad", "He did not come, I am sad"),
    ("es", "sad", "No, estoy triste"),
    ("hi", "sad", "मैं दुखी हूँ, वह नहीं आया"),
    ("mr", "sad", "मी दुःखी आहे, तो आला नाही"),
    ("ta", "sad", "நான் சோகமா இருக்கேன், அவன் வரவில்லை"),
    ("te", "sad", "నాకు బాధగా ఉంది, అతను రాలేదు"),
]
"""With a negation that belongs to something else."""

NO_FEELING = [
    ("en", "Happy birthday song, please"),
    ("en", "Is it sad or happy hour?  Not only that"),
    ("ta", "ஒரு கோப்பை தேநீர்"),
    ("te", "చింతపండు పులుసు"),
    ("es", "Compara los precios"),
]


def label(language: str, text: str) -> str:
    return LABELS[int(words.read(text, language).scores.argmax())]


# ── The lexicon ───────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(("language", "feeling", "text"), NAMED)
def test_a_feeling_that_is_named_is_found(language: str, feeling: str, text: str) -> None:
    assert label(language, text) == feeling
    assert label("", text) == feeling  # the language guessed


@pytest.mark.parametrize(("language", "feeling", "text"), DENIED)
def test_a_feeling_that_is_denied_is_not_told(language: str, feeling: str, text: str) -> None:
    assert feeling in lexicon(language).read(text).denied
    assert label(language, text) != feeling


@pytest.mark.parametrize(("language", "text"), LOVING)
def test_mad_about_somebody_is_not_angry(language: str, text: str) -> None:
    assert label(language, text) == "happy"


@pytest.mark.parametrize(("language", "feeling", "text"), STILL_FELT)
def test_a_negation_of_something_else_denies_nothing(language: str, feeling: str, text: str) -> None:
    reading = lexicon(language).read(text)
    assert not reading.denied
    assert reading.votes[feeling] >= 1  # type: ignore[index]


@pytest.mark.parametrize(("language", "text"), NO_FEELING)
def test_words_that_only_look_like_a_feeling_are_hidden(language: str, text: str) -> None:
    read = lexicon(language).read(text)
    assert "happy" not in read.votes or language != "en"
    assert language == "en" or not read.votes


def test_who_is_not_happy_may_be_sad_or_angry_and_who_is_not_sad_is_neither() -> None:
    assert lexicon("en").read("not happy").votes == {"sad": 0.5, "angry": 0.3}
    assert lexicon("en").read("not sad").votes == {}


def test_strengthening_words_marks_and_stretching_add_to_the_intensity() -> None:
    def intensity(text: str) -> float:
        return lexicon("en").read(text).intensity

    rising = [
        "I'm a bit sad",
        "I'm sad",
        "I'm sad!",
        "I'm very sad",
        "I'm very sad!",
        "I'm VERY SAD!",
        "I'm SOOO VERY SAD!",
    ]
    found = [intensity(text) for text in rising]
    assert found == sorted(found)
    assert found[0] == 0.5
    assert found[1] == 1.0
    assert found[3] == 1.5
    assert found[-1] == 2.0


def test_the_longest_entry_wins_over_one_that_it_begins_with() -> None:
    table = {
        "common": [],
        "negators": ["not"],
        "reach": {"before": 1},
        "breaks": [],
        "strong": [],
        "weak": [],
        "fillers": [],
    }
    made = Lexicon(
        "xx", table | {"words": {"angry": ["mad"], "happy": ["mad about you"], "neutral": ["mad about you all"]}}
    )
    assert [hit.label for hit in made.read("mad mad about you").hits] == ["angry", "happy"]
    assert made.read("mad about you all").hits == ()


@pytest.mark.parametrize("language", LANGUAGES)
def test_no_entry_of_a_lexicon_stands_under_two_labels(language: str) -> None:
    entries = [entry for group in lexicon(language)._phrases.values() for entry in group]
    seen: dict[tuple[tuple[str, ...], bool], str] = {}
    for entry in entries:
        assert entry.words, language
        assert seen.setdefault((entry.words, entry.stem), entry.kind) == entry.kind, entry


@pytest.mark.parametrize(("language", "_", "text"), NAMED)
def test_the_language_is_guessed_from_words_and_script(language: str, _: str, text: str) -> None:
    assert guess(text) == language


# ── Text ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_tokens_fold_what_people_and_recognisers_leave_out() -> None:
    assert tokens("¡Está FELIZ!") == ["¡", "esta", "feliz", "!"]
    assert tokens("ख़ुश हूँ") == tokens("खुश हूं")
    assert tokens("I’m sooooo 'happy' at 25°") == ["i'm", "sooo", "happy", "at", "00", "°"]
    assert tokens("❤️ ok") == ["❤", "ok"]
    assert tokens(" \x00\t") == []


def test_indic_words_are_not_cut_at_their_vowel_signs() -> None:
    assert tokens("மகிழ்ச்சியாக இல்லை") == ["மகிழ்ச்சியாக", "இல்லை"]
    assert tokens("సంతోషంగా ఉంది।") == ["సంతోషంగా", "ఉంది", "।"]


def test_features_are_hashes_in_range_and_count_by_logarithm() -> None:
    found = features(["ha", "ha", "ha"])
    assert all(0 <= index < FEATURES for index in found)
    assert max(found.values()) == pytest.approx(1 + np.log(3))
    assert features([]) == {}


# ── The classifier ────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_weights_were_fitted_with_these_lexicons_and_features() -> None:
    """If this fails, run `python -m training.emotion_words`."""
    with np.load(SHIPPED) as stored:
        assert stored["fitted_with"].tobytes() == fitted_with()


def test_the_weights_are_small() -> None:
    assert SHIPPED.stat().st_size < 1_000_000


@pytest.mark.parametrize(
    "text", ["", " ", "!!!", "🙂", "\x00", "x" * 100_000, "नमस्ते hello வணக்கம்", "\ud83d half a pair"]
)
@pytest.mark.parametrize("language", ["", "en", "ta", "xx"])
def test_any_text_gives_probabilities(text: str, language: str) -> None:
    found = words.read(text, language).scores
    assert found.sum() == pytest.approx(1.0)
    assert (found > 0).all()


def test_plain_turns_are_mostly_neutral() -> None:
    """They were trained on: this only shows that the shipped weights are those that were fitted."""
    told = [label(example.language, example.text) == "neutral" for example in plain_turns()]
    assert np.mean(told) > 0.95


def test_a_language_without_measurements_is_given_less_confidence() -> None:
    assert words.read("saya sedih", "ms").scores.max() < words.UNVERIFIED + PRIOR[0]
    assert words.read("apa khabar", "ms").scores.argmax() == 0


def test_the_classifier_finds_what_no_lexicon_lists() -> None:
    text = "I got the job!"
    assert not lexicon("en").read(text).votes
    assert label("en", text) == "happy"


def test_running_needs_neither_scikit_learn_nor_scipy() -> None:
    script = """
import sys
from duologue.emotion import words
words.read("I am happy")
print(*(name for name in ("sklearn", "scipy") if name in sys.modules))
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == ""


def test_evidence_quotes_the_user() -> None:
    wording = words.read("I'm not happy, I'm furious", "en")
    assert words.evidence(wording, "angry") == ["words: not 'happy'", "words: 'furious'"]
    assert words.evidence(words.read("What time is it?", "en"), "neutral")[0].startswith("words: neutral ")
