"""Text to phonemes by the espeak-ng within piper-tts, less its leaks: 1.6 kB a sentence, in a month of talk gigabytes.

espeak-ng keeps 1,360 bytes each time that a voice is set, the one that it has too, and piper-tts (up to 1.8.0) sets it for every
text; its extension never frees what espeak-ng said of a clause. Taking a reference away is as dangerous as it sounds, so each is
counted first, against that of a tuple of our own in the same place.
"""

from __future__ import annotations

import ctypes
import sys
import threading
from collections.abc import Callable
from functools import wraps
from typing import Any, ParamSpec

P = ParamSpec("P")

_espeak = threading.Lock()  # it has one state, whoever uses it


def espeak() -> Callable[[str, str], list[list[str]]]:
    """The voice's name (as espeak-ng has it) and a text give one list of phonemes a sentence. Any thread may ask, one at a time.

    Raises `ImportError` where piper-tts is not installed.
    """
    from piper import espeakbridge
    from piper.phonemize_espeak import EspeakPhonemizer

    bridge: Any = espeakbridge
    with _espeak:
        if not hasattr(bridge.set_voice, "__wrapped__"):
            bridge.get_phonemes = released(bridge.get_phonemes)
            bridge.set_voice, bridge.initialize = unrepeated(bridge.set_voice, bridge.initialize)
        phonemizer = EspeakPhonemizer()

    def phonemise(voice: str, text: str) -> list[list[str]]:
        with _espeak:
            sentences: list[list[str]] = phonemizer.phonemize(voice, text)
            return sentences

    return phonemise


def unrepeated(
    set_voice: Callable[[str], None], initialize: Callable[[str], None]
) -> tuple[Callable[[str], None], Callable[[str], None]]:
    """The same functions. A voice is set only where it is another one than it was; whoever initializes espeak-ng (each loading of
    a voice does, for the whole process) frees what the voice that is set points to: read on, that ends the process."""
    current = ""

    @wraps(set_voice)
    def set_another(voice: str) -> None:
        nonlocal current
        if voice != current:
            current = ""
            set_voice(voice)
            current = voice

    @wraps(initialize)
    def begin_anew(data: str) -> None:
        nonlocal current
        current = ""
        initialize(data)

    return set_another, begin_anew


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
