"""What a `Style` means in a voice's own terms, whatever these are: rates and ranges, noise, exaggeration, tags, a description.

Each function is for one kind of voice and knows nothing else of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from duologue.engines import About, Style


@dataclass(frozen=True, slots=True)
class Prosody:
    """Against the voice's own: factors on the rate of speech and on the range of its pitch, and semitones of pitch."""

    rate: float
    pitch: float
    range: float


PROSODY: Final[Mapping[str, Prosody]] = MappingProxyType(
    {
        "neutral": Prosody(1.0, 0.0, 1.0),
        "happy": Prosody(1.08, 2.5, 1.35),
        "excited": Prosody(1.15, 3.0, 1.5),
        "surprised": Prosody(1.05, 3.5, 1.5),
        "warm": Prosody(0.96, 1.0, 1.2),
        "gentle": Prosody(0.90, -0.5, 0.85),
        "calm": Prosody(0.92, -1.0, 0.75),
        "sad": Prosody(0.85, -2.0, 0.55),
        "angry": Prosody(1.1, 1.0, 1.4),
        "fearful": Prosody(1.15, 3.5, 1.2),
    }
)
"""What each emotion does at intensity 1; at 2 it does twice as much, at 0 nothing. After the findings that Murray and Arnott
1993 collect (aroused is fast, high and wide, sad is slow, low and flat); set so that 2 is still speech. No listeners have
rated them."""

LIVELINESS: Final = 0.3
"""How far intensity widens a neutral voice's range above its own at 1: 0 is flat, 2 is lively."""


def prosody(style: Style) -> Prosody:
    """Of a style with its intensity; an emotion that is nobody's is neutral. `speed` is not in it."""
    strength = min(max(style.intensity, 0.0), 2.0)
    full = PROSODY.get(style.emotion, PROSODY["neutral"])
    if full == PROSODY["neutral"]:
        return Prosody(1.0, 0.0, 1 + LIVELINESS * (strength - 1))
    return Prosody(1 + (full.rate - 1) * strength, full.pitch * strength, 1 + (full.range - 1) * strength)


@dataclass(frozen=True, slots=True)
class VitsScales:
    """Factors on a VITS voice's own noise and lengths (Piper: noise_scale and length_scale)."""

    noise: float
    length: float


def vits(style: Style) -> VitsScales:
    """Rate is length. Range is the noise that pitch is drawn with, and can be had only within limits: at 1.6 times its own noise
    Piper slurs. The noise of durations stays as it is (with more of it Piper's pitch range did not grow), and pitch itself
    cannot be moved."""
    wanted = prosody(style)
    return VitsScales(min(max(1 + 0.6 * (wanted.range - 1), 0.6), 1.5), 1 / wanted.rate)


@dataclass(frozen=True, slots=True)
class EspeakTerms:
    """`rate` in words a minute before limits; `pitch` and `range` on espeak-ng's scales of 0..100, 50 being the voice's own."""

    rate: float
    pitch: float
    range: float


ESPEAK_STEPS: Final = 50 / 12
"""Of the pitch scale, a semitone: 0 is an octave below the voice's own, 100 an octave above."""


def espeak(style: Style, words_a_minute: float) -> EspeakTerms:
    wanted = prosody(style)
    return EspeakTerms(
        words_a_minute * style.speed * wanted.rate,
        min(max(50 + ESPEAK_STEPS * wanted.pitch, 0.0), 100.0),
        min(max(50 * wanted.range, 0.0), 100.0),
    )


@dataclass(frozen=True, slots=True)
class ChatterboxTerms:
    """Of ChatterboxTTS and ChatterboxMultilingualTTS; Turbo ignores both."""

    exaggeration: float
    cfg_weight: float


def chatterbox(style: Style) -> ChatterboxTerms:
    """0.5 and 0.5 are the library's own; it asks for 0.7 and 0.3 or so to be expressive. Exaggerated speech hurries, and a
    lower weight slows it again; 0 crashes the English class, so 0.2 is the least."""
    exaggeration = min(max(0.5 + 0.8 * (prosody(style).range - 1), 0.25), 1.5)
    return ChatterboxTerms(round(exaggeration, 3), round(min(max(0.75 - 0.5 * exaggeration, 0.2), 0.5), 3))


def turbo_tag(style: Style) -> str:
    """What Chatterbox Turbo is given before a reply, "" for most: it can laugh, and nothing else of ours."""
    if style.emotion not in ("happy", "excited") or style.intensity < 1:
        return ""
    return "[laugh] " if style.intensity >= 1.6 else "[chuckle] "


def description(style: Style, speaker: str = "The speaker") -> str:
    """What Indic Parler-TTS is told of the voice, in the words of its training descriptions."""
    manner, strength = _MANNERS.get(style.emotion, ""), style.intensity
    degree = "slightly " if strength < 0.75 else "very " if strength > 1.5 else ""
    wanted = prosody(style)
    told = [
        f"{speaker} speaks in {_article(degree + manner)} tone" if manner else f"{speaker} speaks",
        _expression(wanted.range),
    ]
    pace = _pace(style.speed * wanted.rate)
    return f"{told[0]}, {told[1]}, at {pace} pace. The recording is very clear, without noise, and close to the microphone."


def unmet(style: Style, about: About) -> str:
    """Why this voice cannot sound as it is asked to, "" if it can."""
    if style.emotion == "neutral":
        return ""
    if about.emotion == "none":
        return f"{about.name} always sounds the same: it cannot sound {style.emotion}"
    if about.emotion == "tags" and not turbo_tag(style):
        return f"{about.name} can only laugh: it cannot sound {style.emotion}"
    if about.emotion == "scalar" and style.emotion in ("sad", "angry", "fearful", "surprised"):
        return f"{about.name} is only more or less lively: it cannot sound {style.emotion} as such"
    return ""


_MANNERS = {
    "happy": "happy",
    "excited": "excited",
    "surprised": "surprised",
    "warm": "warm, friendly",
    "gentle": "gentle, soft",
    "calm": "calm, soothing",
    "sad": "sad",
    "angry": "angry",
    "fearful": "fearful",
}


def _article(words: str) -> str:
    return f"an {words}" if words[0] in "aeiou" else f"a {words}"


def _expression(width: float) -> str:
    return "in a monotone" if width < 0.7 else "expressively" if width > 1.15 else "naturally"


def _pace(rate: float) -> str:
    names = ((0.85, "a slow"), (0.97, "a slightly slow"), (1.03, "a moderate"), (1.15, "a slightly fast"))
    return next((name for limit, name in names if rate < limit), "a fast")
