"""What only says "go on", and what wants the floor."""

from __future__ import annotations

import pytest

from duologue.core.backchannel import BACKCHANNELS, is_backchannel


@pytest.mark.parametrize(
    "text",
    [
        "",
        "...",
        "mm-hm",
        "Mm-hm.",
        "Yeah, yeah.",
        "Uh-huh",
        "OK!",
        "हाँ।",
        "ठीक",
        "sí, claro",
        "ya",
        "ஆம்",
        "అవును",
        "बरं",
    ],
)
def test_a_listeners_words_let_the_reply_go_on(text: str) -> None:
    assert is_backchannel(text, 1.0)


@pytest.mark.parametrize(
    "text",
    ["Stop", "No, wait", "yeah but no", "What?", "okay stop it now", "yeah yeah yeah yeah", "रुको", "espera", "நில்"],
)
def test_a_word_with_a_meaning_of_its_own_takes_the_floor(text: str) -> None:
    assert not is_backchannel(text, 1.0)


@pytest.mark.parametrize(
    ("text", "confidence", "hum"),
    [
        ("Him and him.", 0.7, True),
        ("Is there more?", 0.75, False),
        ("Hungry him.", 0.6, True),
        ("Five five.", 0.65, False),
        ("Stop.", 0.35, True),
        ("Stop.", 0.45, False),
    ],
)
def test_the_more_words_a_short_transcript_has_the_surer_its_recogniser_must_be(
    text: str, confidence: float, hum: bool
) -> None:
    assert is_backchannel(text, confidence) is hum


def test_a_long_transcript_is_no_hum_however_doubtful() -> None:
    assert not is_backchannel("it was never going to", 0.1)


def test_every_listed_word_is_found_whatever_its_case() -> None:
    assert all(is_backchannel(word.upper(), 1.0) for word in BACKCHANNELS)
