"""The engines of two voices that exclude each other, as they ship and on the real libraries, with small random weights: no sense
in what they say, but all of their code runs. They make their weights where `model` says, and read them from there."""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path

from duologue.engines import Loading, Speaker

sys.path.append(str(Path(__file__).parents[1]))

import tiny_voices

WORKER = ExitStack()
"""What stays as it is for as long as the worker lives."""


def load_chatterbox(loading: Loading) -> Speaker:
    from duologue.engines import chatterbox

    return _load(loading, tiny_voices.small_chatterbox(), tiny_voices.make_chatterbox, chatterbox.load)


def load_parler(loading: Loading) -> Speaker:
    from duologue.engines import indic_parler

    return _load(loading, tiny_voices.small_parler(), tiny_voices.make_parler, indic_parler.load)


def _load(
    loading: Loading,
    small: AbstractContextManager[None],
    make: Callable[[Path], object],
    load: Callable[[Loading], Speaker],
) -> Speaker:
    WORKER.enter_context(small)
    make(Path(loading.settings["model"]))
    return load(loading)
