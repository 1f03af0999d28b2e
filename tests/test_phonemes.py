"""What an extension holds on to is given back once, and what it does not hold on to is left alone."""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys

import pytest

from duologue.engines.phonemes import released, unrepeated

freed: list[str] = []


class Clause(tuple[str, str]):
    """A tuple that tells when it is freed."""

    def __del__(self) -> None:
        freed.append(self[0])


def careless() -> list[Clause]:
    clause = Clause(("a", "b"))
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(clause))
    return [clause, Clause(("c", "d"))]


def test_a_voice_is_set_when_it_is_another() -> None:
    asked: list[str] = []

    def set_voice(voice: str) -> None:
        asked.append(voice)
        if voice == "none":
            raise ValueError(voice)

    voice, initialize = unrepeated(set_voice, asked.append)
    for name in ("en-us", "en-us", "hi", "en-us"):
        voice(name)
    for _ in range(2):
        with pytest.raises(ValueError, match="none"):
            voice("none")
    voice("en-us")
    initialize("data")
    voice("en-us")
    assert asked == ["en-us", "hi", "en-us", "none", "none", "en-us", "data", "en-us"]


def test_a_voice_that_is_loaded_later_takes_nothing_from_one_that_was_there() -> None:
    """In a process of its own, which ended where espeak-ng was begun anew beneath a voice: what it frees is written over here."""
    pytest.importorskip("piper")
    program = """
import threading
from duologue.engines.phonemes import espeak
first = espeak()
before = first("en-us", "Good morning.")
another = threading.Thread(target=espeak)
another.start()
another.join()
assert first("en-us", "Good morning.") == before
"""
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60, env=os.environ | {"MALLOC_PERTURB_": "165"})


def test_each_is_freed_with_its_list() -> None:
    freed.clear()
    clauses = released(careless)()
    assert (clauses, freed) == ([("a", "b"), ("c", "d")], [])
    clauses.clear()
    assert sorted(freed) == ["a", "c"]


def test_without_it_they_are_not() -> None:
    freed.clear()
    careless().clear()
    assert freed == ["c"]


def test_an_extension_that_lets_go_is_left_alone() -> None:
    freed.clear()
    clauses = released(lambda: [Clause(("a", "b")), Clause(("c", "d"))])()
    assert (clauses, freed) == ([("a", "b"), ("c", "d")], [])
    clauses.clear()
    assert sorted(freed) == ["a", "c"]
    assert released(list)() == []
