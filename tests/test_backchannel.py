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


def test_a_short_transcript_its_recogniser_does_not_believe_is_a_hum() -> None:
    assert is_backchannel("hungry him", 0.3)
    assert not is_backchannel("hungry him", 0.6)


def test_a_long_transcript_is_no_hum_however_doubtful() -> None:
    assert not is_backchannel("it was never going to", 0.1)


def test_every_listed_word_is_found_whatever_its_case() -> None:
    assert all(is_backchannel(word.upper(), 1.0) for word in BACKCHANNELS)
