"""The road to llama.cpp's own server, on a real model: one without ears, since no Voxtral is packaged."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import aclosing
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar, cast

import pytest
from dialogue import voice

from duologue.engines import Loading, Message, Prompt, Text, voxtral_gguf
from duologue.engines.voxtral_gguf import VoxtralGguf, load
from duologue.errors import ConfigError, EngineError
from duologue.models import open_store
from duologue.places.thread import Lane

T = TypeVar("T")

PROMPT = Prompt("c", (Message("system", "Be brief."), Message("user", "What is the capital of France?")))


def loading(table: dict[str, Any]) -> Loading:
    return Loading(lambda name: Path(name), cast(Lane, None), table)


@pytest.fixture(scope="module")
def model() -> Iterator[VoxtralGguf]:
    try:
        (file,) = open_store().folder("smollm2-135m-instruct").glob("*.gguf")
    except ConfigError as error:
        pytest.skip(f"{error.message} [{error.code}]")
    model = load(loading({"model": str(file), "threads": 1, "temperature": 0.0, "max_tokens": 40}))
    yield model
    model.close()


def using(model: VoxtralGguf, act: Callable[[VoxtralGguf], Awaitable[T]]) -> T:
    async def main() -> T:
        async with aclosing(model):
            return await act(model)

    return asyncio.run(main())


async def text(model: VoxtralGguf, prompt: Prompt) -> str:
    return "".join([piece.text async for piece in model.write(prompt) if isinstance(piece, Text)])


@pytest.mark.models
def test_the_model_answers_over_its_socket(model: VoxtralGguf) -> None:
    assert "Paris" in using(model, lambda model: text(model, PROMPT))


@pytest.mark.models
def test_two_are_answered_at_once(model: VoxtralGguf) -> None:
    async def both(model: VoxtralGguf) -> tuple[str, str]:
        return await asyncio.gather(text(model, PROMPT), text(model, replace(PROMPT, conversation="d")))

    first, second = using(model, both)
    assert "Paris" in first
    assert "Paris" in second


@pytest.mark.models
def test_a_closed_answer_gives_its_slot_back(model: VoxtralGguf) -> None:
    long = Prompt("c", (Message("user", "Tell me a long story about the sea."),))

    async def act(model: VoxtralGguf) -> str:
        for _ in range(4):  # of two slots
            async with aclosing(cast(Any, model.write(long))) as pieces:
                await anext(pieces)
        return await asyncio.wait_for(text(model, PROMPT), 20.0)

    assert "Paris" in using(model, act)


@pytest.mark.models
def test_sound_is_refused_by_a_model_without_a_projector(model: VoxtralGguf) -> None:
    async def act(model: VoxtralGguf) -> None:
        async for _ in model.answer(voice(1.0), PROMPT):
            pass

    with pytest.raises(EngineError) as error:
        using(model, act)
    assert error.value.code in ("engine_refused", "engine_failed")
    assert "audio" in error.value.message


def test_without_files_it_says_where_they_are() -> None:
    with pytest.raises(ConfigError, match="mmproj") as error:
        load(loading({}))
    assert error.value.code == "model_missing"
    with pytest.raises(ConfigError, match="no file /nowhere"):
        load(loading({"model": "/nowhere.gguf"}))


def test_too_little_memory_is_said_before_anything_is_loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the CPU's: what a GPU counts is llama.cpp's to judge."""
    monkeypatch.setattr(voxtral_gguf, "memory_gb", lambda: 1.0)
    file = tmp_path / "model.gguf"
    file.write_bytes(b"no model")
    with pytest.raises(ConfigError, match=r"2\.0 GB of memory are needed, and 1\.0 GB are free") as error:
        load(loading({"model": str(file), "slots": 4}))
    assert error.value.code == "cannot_run_here"
    with pytest.raises(EngineError):
        load(loading({"model": str(file), "slots": 4, "gpu_layers": 99}))
    with pytest.raises(EngineError):
        load(loading({"model": str(file), "slots": 1, "context": 512}))


def test_a_file_that_is_no_model_is_said_so(tmp_path: Path) -> None:
    (tmp_path / "model.gguf").write_bytes(b"GGUF is what it is not")
    with pytest.raises(EngineError) as error:
        load(loading({"model": str(tmp_path / "model.gguf")}))
    assert error.value.code == "engine_load_failed"
