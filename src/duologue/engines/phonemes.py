"""Text to phonemes by the espeak-ng within piper-tts, less its leaks: 1.6 kB a sentence, in a month of talk gigabytes.

espeak-ng keeps 1,360 bytes each time that a voice is set, the one that it has too, and piper-tts (up to 1.8.0) sets it for every
text; its extension never frees what espeak-ng said of a clause. Taking a reference away is as dangerous as it sounds, so each is
counted first, against that of a tuple of our own in the same place.
"""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Callable
from functools import wraps
from typing import Any, ParamSpec

P = ParamSpec("P")


def espeak() -> Callable[[str, str], list[list[str]]]:
    """The voice's name (as espeak-ng has it) and a text give one list of phonemes a sentence. Not thread-safe: espeak-ng has one
    state for the whole process. Raises `ImportError` where piper-tts is not installed."""
    from piper import espeakbridge
    from piper.phonemize_espeak import EspeakPhonemizer

    bridge: Any = espeakbridge
    if not hasattr(bridge.set_voice, "__wrapped__"):
        bridge.get_phonemes = released(bridge.get_phonemes)
        bridge.set_voice = unrepeated(bridge.set_voice)
    phonemise: Callable[[str, str], list[list[str]]] = EspeakPhonemizer().phonemize
    return phonemise


def unrepeated(set_voice: Callable[[str], None]) -> Callable[[str], None]:
    """The same function, called only where the voice is another one than it was. A voice that there is not raises as it did."""
    current = ""

    @wraps(set_voice)
    def call(voice: str) -> None:
        nonlocal current
        if voice != current:
            current = ""
            set_voice(voice)
            current = voice

    return call


def released(function: Callable[P, list[Any]]) -> Callable[P, list[Any]]:
    """The same function, of an extension that appends what it has just made to the list it returns, and does not let go of it:
    each item has one owner too many. Nothing happens once it has not. Items that really have another owner must not come here."""

    @wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> list[Any]:
        items = function(*args, **kwargs)
        (usual,) = _references([(len(items),)])
        for index, count in enumerate(_references(items)):
            if count == usual + 1:
                ctypes.pythonapi.Py_DecRef(ctypes.py_object(items[index]))
        return items

    return call


def _references(items: list[Any]) -> list[int]:
    return [sys.getrefcount(item) for item in items]
