"""The official and the common clients of the Realtime API against the real server with the packaged models.

Each holds one conversation: a typed turn, a spoken turn, an interruption, a tool call. What they ask and tell is in
`clients/programs`; what a program noted on its way stands beside its failure.
"""

from __future__ import annotations

import os
import wave
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any, TypeAlias

import pytest
import soundfile
import soxr
from clients import matrix
from clients.matrix import CLIENTS, Client, Outcome
from clients.servers import certify, serving
from conftest import RECORDINGS
from openai import OpenAI

from benchmarks import wer
from duologue.errors import ConfigError
from duologue.models import open_store

pytestmark = [pytest.mark.models, pytest.mark.realtime]

Report: TypeAlias = Mapping[str, Any]
Running: TypeAlias = Mapping[Client, Future[Outcome]]

SAID = "What are your Saturday opening hours?"
RECORDING = RECORDINGS / "questions" / "latency_stimuli__stimulus_hours.wav"
RATE = 24_000

AT_ONCE = 2
"""With more, each waits for the others' replies."""

MOST_WRONG = 0.2
"""Word error rate: one word of the question."""

AUDIBLE_DBFS = -40.0
"""Speech has about -25."""

MOST_LATE_S = 0.05
"""Sound of a reply after the client was told that it is over. In a call, a click may be left in a buffer."""


@pytest.fixture(scope="module")
def running(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """Every client that is asked for and can be run, some at a time, from now on."""
    here = [client for client in CLIENTS if client in _asked_for(request.session) and not matrix.missing(client)]
    folder = tmp_path_factory.mktemp("clients")
    settings: dict[bool, dict[str, str]] = {False: {}, True: certify(folder)}
    with ExitStack() as stack, ThreadPoolExecutor(AT_ONCE) as pool:
        urls = {tls: stack.enter_context(serving(folder, settings[tls])) for tls in {False} | {one.tls for one in here}}
        matrix.prepare(folder)
        _ask(folder / "question.wav", urls[False])
        yield {client: pool.submit(matrix.run, client, urls[client.tls], folder) for client in here}
        pool.shutdown(cancel_futures=True)


def _asked_for(session: pytest.Session) -> set[Client]:
    """By the tests that were chosen."""
    cases = [case for item in session.items if (case := getattr(item, "callspec", None)) is not None]
    return {client for case in cases if isinstance(client := case.params.get("client"), Client)}


def _ask(path: Path, url: str) -> None:
    """In a person's voice, or where there are no recordings in ours."""
    if RECORDING.exists():
        samples, rate = soundfile.read(RECORDING, dtype="float32")
        pcm = (soxr.resample(samples, rate, RATE) * 32_767).astype("<i2").tobytes()
    else:
        with OpenAI(base_url=url, api_key="local") as client:
            said = client.audio.speech.create(model="tts-1", voice="alloy", input=SAID, response_format="pcm")
            pcm = said.content
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, RATE, 0, "NONE", ""))
        file.writeframes(pcm)


@pytest.fixture(params=CLIENTS, ids=lambda client: client.name)
def client(request: pytest.FixtureRequest) -> Client:
    client: Client = request.param
    if reason := matrix.missing(client):
        if os.environ.get("REALTIME_CLIENTS") == "required":
            pytest.fail(reason)
        pytest.skip(reason)
    try:
        open_store().folder("smollm2-135m-instruct")
    except ConfigError as error:
        pytest.skip(error.message)
    return client


@pytest.fixture
def report(client: Client, running: Running) -> Report:
    outcome = running[client].result()
    print(outcome.notes)
    print(outcome.report)
    assert outcome.report is not None, "it came to no end"
    assert outcome.report["errors"] == []
    return outcome.report


def is_audible(reply: Report) -> bool:
    return bool(reply["sound_s"] > 0.3 and reply["dbfs"] > AUDIBLE_DBFS)


def is_the_question(heard: str) -> bool:
    return wer.wer([(SAID, heard)]) <= MOST_WRONG


def test_a_typed_turn_is_answered_aloud(report: Report) -> None:
    assert "Paris" in report["typed"]["text"]
    assert is_audible(report["typed"])


def test_a_spoken_turn_is_understood_and_answered_aloud(report: Report) -> None:
    assert is_the_question(report["spoken"]["heard"])
    assert report["spoken"]["text"]
    assert is_audible(report["spoken"])


def test_an_interruption_ends_the_reply_and_the_conversation_goes_on(report: Report) -> None:
    interruption = report["interruption"]
    cut, after = interruption["cut"], interruption["after"]
    assert interruption["told"]
    assert cut["status"] in ("cancelled", "")  # some clients do not say
    assert interruption["late_s"] <= MOST_LATE_S
    assert interruption["truncated_ms"] > 0
    if interruption["kept"] is not None:
        assert 0 < len(interruption["kept"]) <= len(cut["text"])
        assert cut["text"].startswith(interruption["kept"])
    assert is_the_question(after["heard"])
    assert after["text"]
    assert is_audible(after)


def test_a_tool_is_called_and_its_answer_told_aloud(client: Client, report: Report) -> None:
    (call,) = report["tool"]["calls"]
    assert call["name"] == "get_weather"
    assert client.city in call["arguments"]["city"]
    assert "sunny" in report["tool"]["answer"]["text"]
    assert is_audible(report["tool"]["answer"])
