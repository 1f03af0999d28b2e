"""Engines as they ship, on the real libraries, with small random weights: no sense in what they say, but all of their code runs.
They make their weights in the folder that `scratch` names, and read them from there."""

from __future__ import annotations

import sys
from contextlib import ExitStack
from dataclasses import replace
from importlib import import_module
from pathlib import Path

from duologue.engines import Engine, Loading, Speaker

sys.path.append(str(Path(__file__).parents[1]))

import tiny_voices

WORKER = ExitStack()
"""What stays as it is for as long as the worker lives."""


def load_chatterbox(loading: Loading) -> Speaker:
    return _voice("chatterbox", loading)


def load_parler(loading: Loading) -> Speaker:
    return _voice("indic_parler", loading)


def load_dia(loading: Loading) -> Speaker:
    return _voice("dia", loading)


def load_mms(loading: Loading) -> Speaker:
    return _voice("mms", loading)


def _voice(name: str, loading: Loading) -> Speaker:
    settings = WORKER.enter_context(tiny_voices.small(name, Path(loading.settings["scratch"])))
    speaker: Speaker = import_module(f"duologue.engines.{name}").load(replace(loading, settings=settings))
    return speaker


def load_voxtral(loading: Loading) -> Engine:
    import tiny_voxtral

    from duologue.engines import voxtral

    folder = tiny_voxtral.make_chat(Path(loading.settings["scratch"]) / "voxtral")
    return voxtral.load(replace(loading, settings={"model": str(folder), "max_tokens": 6}))


def load_voxtral_realtime(loading: Loading) -> Engine:
    import tiny_voxtral

    from duologue.engines import voxtral_realtime

    folder = tiny_voxtral.make_realtime(Path(loading.settings["scratch"]) / "voxtral_realtime")
    return voxtral_realtime.load(replace(loading, settings={"model": str(folder)}))
