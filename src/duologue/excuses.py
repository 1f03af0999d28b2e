"""What is said aloud where no answer can come because an engine is away: whoever listens does not read the screen."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

AWAY: Final = frozenset(
    {"engine_unreachable", "engine_timeout", "engine_overloaded", "engine_broken", "worker_died", "worker_restarting"}
)
"""Codes of what may be over by the next turn. The rest is told on the screen alone: asking again would not help."""

SENTENCES: Final[Mapping[str, str]] = {
    "en": "I cannot answer at the moment. Please try again in a little while.",
    "es": "En este momento no puedo responder. Vuelve a intentarlo dentro de un rato.",
    "hi": "मैं अभी जवाब नहीं दे पा रहा हूँ। कृपया थोड़ी देर बाद फिर कोशिश करें।",
    "ms": "Saya tidak dapat menjawab sekarang. Sila cuba lagi sebentar lagi.",
    "ta": "இப்போது என்னால் பதில் சொல்ல முடியவில்லை. சிறிது நேரம் கழித்து மீண்டும் முயற்சிக்கவும்.",
    "te": "ప్రస్తుతం నేను సమాధానం ఇవ్వలేకపోతున్నాను. కాసేపటి తర్వాత మళ్ళీ ప్రయత్నించండి.",
    "mr": "मी आत्ता उत्तर देऊ शकत नाही. कृपया थोड्या वेळाने पुन्हा प्रयत्न करा.",
}


def excuse(code: str, language: str) -> str:
    """The sentence, in English where there is none in the language; "" for what calls for none."""
    return SENTENCES.get(language, SENTENCES["en"]) if code in AWAY else ""
