"""A whole spoken conversation with a Voxtral of random weights through the Realtime WebSocket, as a client hears it."""

from __future__ import annotations

import asyncio
import base64
import io
import json
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import tiny_voxtral
from dialogue import TIMINGS, lineup
from strict import check
from websockets.asyncio.client import ClientConnection
from wire import client, server

tiny_voxtral.need_torch()


from duologue.app import App  # noqa: E402
from duologue.audio import INPUT_RATE, to_pcm16  # noqa: E402
from duologue.engines import Loading  # noqa: E402
from duologue.engines.by_ear import ByEar  # noqa: E402
from duologue.engines.scripted import ScriptedSpeaker  # noqa: E402
from duologue.engines.voxtral import VoxtralModel, load  # noqa: E402
from duologue.engines.voxtral_decoding import Reply, Request  # noqa: E402
from duologue.places.thread import Lane  # noqa: E402
from duologue.work import Work  # noqa: E402

pytestmark = pytest.mark.realtime

RATE = 24_000
BLOCK_S = 0.04
TURNS = 5
PATIENCE_S = 20.0
BREATH_S = 0.3
HEARD_S = 1.2
WORD = "response.output_audio_transcript.delta"


class Person:
    """Speaks in real time, and keeps the events with their times (s on the loop's clock)."""

    def __init__(self, socket: ClientConnection) -> None:
        self.events: list[tuple[float, dict[str, Any]]] = []
        self._socket = socket
        self._unsaid = np.zeros(0, np.float32)
        self._plays_until = 0.0
        self._news = asyncio.Event()

    def say(self, seconds: float) -> None:
        t = np.arange(round(seconds * RATE)) / RATE
        self._unsaid = (0.3 * np.sin(2 * np.pi * 220 * t)).astype(np.float32)

    async def send(self, kind: str, **fields: Any) -> None:
        await self._socket.send(json.dumps({"type": kind, **fields}))

    async def speak(self) -> None:
        size, at = round(BLOCK_S * RATE), asyncio.get_running_loop().time()
        while True:
            block, self._unsaid = self._unsaid[:size], self._unsaid[size:]
            pcm = to_pcm16(np.pad(block, (0, size - len(block))))
            await self.send("input_audio_buffer.append", audio=base64.b64encode(pcm).decode())
            at += BLOCK_S
            await asyncio.sleep(max(0.0, at - asyncio.get_running_loop().time()))

    async def listen(self) -> None:
        async for message in self._socket:
            assert isinstance(message, str)
            now, event = asyncio.get_running_loop().time(), check(message)
            self.events.append((now, event))
            if event["type"] == "response.output_audio.delta":
                samples = len(base64.b64decode(event["delta"])) // 2
                self._plays_until = max(now, self._plays_until) + samples / RATE
            self._news.set()

    async def hear_out(self) -> None:
        """A response is done once it is sent, up to its lead before it has played; who speaks then, cuts it short."""
        await asyncio.sleep(self._plays_until + BREATH_S - asyncio.get_running_loop().time())

    async def until(self, enough: Callable[[], bool]) -> None:
        async with asyncio.timeout(PATIENCE_S):
            while not enough():
                self._news.clear()
                await self._news.wait()

    def of(self, kind: str) -> list[dict[str, Any]]:
        return [event for _, event in self.events if event["type"] == kind]

    async def turn(self, seconds: float) -> dict[str, Any]:
        """Says something and hears the response to its end; the user's words are known by then, or soon after."""
        done = len(self.of("response.done"))
        self.say(seconds)
        await self.until(lambda: len(self.of("response.done")) > done)
        response: dict[str, Any] = self.of("response.done")[done]["response"]
        return response

    def heard(self) -> list[str]:
        return [event["transcript"] for event in self.of("conversation.item.input_audio_transcription.completed")]

    def said(self) -> list[str]:
        return [event["transcript"] for event in self.of("response.output_audio_transcript.done")]


@asynccontextmanager
async def person(address: str) -> AsyncIterator[Person]:
    async with client(address, "/v1/realtime") as socket:
        somebody = Person(socket)
        tasks = [asyncio.create_task(somebody.listen()), asyncio.create_task(somebody.speak())]
        try:
            hearing = {"input": {"transcription": {"model": "whisper-1"}}}
            await somebody.send("session.update", session={"type": "realtime", "audio": hearing})
            yield somebody
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)


@pytest.fixture
def make(tiny_chat: Path) -> Iterator[Callable[[int], VoxtralModel]]:
    lanes: list[Lane] = []

    def made(max_tokens: int) -> VoxtralModel:
        lanes.append(Lane("voxtral"))
        table = {"model": str(tiny_chat), "max_tokens": max_tokens, "temperature": 0.0}
        return load(Loading(lambda name: Path(name), lanes[-1], table))

    yield made
    for lane in lanes:
        lane.close()


def app(model: VoxtralModel) -> App:
    config = replace(TIMINGS, conversation=replace(TIMINGS.conversation, instructions="Be kind."))
    return App(config, lineup(writer=model, recognizer=ByEar(), speakers=(ScriptedSpeaker(),)))


def asked(model: VoxtralModel) -> list[Request]:
    requests: list[Request] = []
    real = model._decoder.begin

    def begin(request: Request) -> Any:
        requests.append(request)
        return real(request)

    model._decoder.begin = begin  # type: ignore[method-assign]
    return requests


def wanted(model: VoxtralModel, heard: Sequence[str], said: Sequence[str]) -> list[int]:
    """The tokens that Mistral's own template makes of what a client was told and of a turn of sound after it."""
    processor = model._decoder._processor
    messages: list[dict[str, Any]] = []
    for words, answer in zip(heard, said, strict=True):
        messages += [{"role": "user", "content": words}, {"role": "assistant", "content": answer}]
    parts: list[dict[str, str]] = [silence()]
    if messages:
        messages[0]["content"] = f"Be kind.\n\n{messages[0]['content']}"
    else:
        parts.insert(0, {"type": "text", "text": "Be kind."})
    ids: list[int] = processor.apply_chat_template([*messages, {"role": "user", "content": parts}])["input_ids"][
        0
    ].tolist()
    return ids


def silence() -> dict[str, str]:
    """As the template takes sound: every turn here has 375 tokens of it."""
    file = io.BytesIO()
    soundfile.write(file, np.zeros(INPUT_RATE, np.float32), INPUT_RATE, format="WAV", subtype="PCM_16")
    return {"type": "audio", "base64": base64.b64encode(file.getvalue()).decode()}


def test_two_people_hold_five_turns_each_on_one_server(make: Callable[[int], VoxtralModel]) -> None:
    model = make(6)
    requests = asked(model)

    async def five(somebody: Person, seconds: float) -> Person:
        for number in range(TURNS):
            response = await somebody.turn(seconds)
            assert response["status"] == "completed", response
            await somebody.until(lambda number=number: len(somebody.heard()) > number)  # type: ignore[misc]
            await somebody.hear_out()
        return somebody

    async def main() -> list[Person]:
        async with server(app(model)) as address, person(address) as one, person(address) as other:
            return [*await asyncio.gather(five(one, 1.3), five(other, 1.7))]

    people = asyncio.run(main())
    prompts = [request.ids for request in requests if request.audio is not None]
    for somebody in people:
        assert not somebody.of("error")
        assert len(somebody.of("response.output_audio_transcript.delta")) > TURNS, "word by word"
        assert len(somebody.of("response.output_audio.delta")) > TURNS
        heard, said = somebody.heard(), somebody.said()
        assert all(text.strip() for text in (*heard, *said))
        for turn in range(TURNS):
            assert wanted(model, heard[:turn], said[:turn]) in prompts
    assert len({request.conversation for request in requests if request.conversation}) == 2


def cancels(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """When a session cancelled a reply that was being made: the moment of `task.cancel()`, not of what a client hears of it."""
    times: list[float] = []
    real = Work.cancel

    def cancel(work: Work, *names: str) -> None:
        if "reply" in names and "reply" in work._tasks:
            times.append(time.monotonic())
        real(work, *names)

    monkeypatch.setattr(Work, "cancel", cancel)
    return times


def made(model: VoxtralModel) -> list[tuple[float, Request]]:
    """When each token of a reply was made, on the model's own thread."""
    tokens: list[tuple[float, Request]] = []
    real = model._rounds._advance

    def advance(replies: Sequence[Reply]) -> Any:
        results = real(replies)
        tokens.extend((time.monotonic(), reply.request) for reply in replies if reply.request.conversation)
        return results

    model._rounds._advance = advance
    return tokens


def test_from_cancel_to_the_last_token_are_50_ms_at_most(
    make: Callable[[int], VoxtralModel], monkeypatch: pytest.MonkeyPatch
) -> None:
    model = make(4_000)
    requests, tokens, cancelled = asked(model), made(model), cancels(monkeypatch)

    async def main() -> str:
        async with server(app(model)) as address, person(address) as somebody:
            somebody.say(1.3)
            await somebody.until(lambda: bool(somebody.of("response.output_audio.delta")))
            await asyncio.sleep(HEARD_S)
            assert not somebody.of("response.done")
            response = await somebody.turn(1.5)
            assert response["status"] == "cancelled"
            assert response["status_details"]["reason"] == "turn_detected"
            await somebody.until(lambda: len({event["response_id"] for event in somebody.of(WORD)}) > 1)
            told: str = response["output"][0]["content"][0]["transcript"]
            return told

    told = asyncio.run(main())
    interrupted = tokens[0][1]
    of_it = [at for at, request in tokens if request is interrupted]
    at_cancel = next(at for at in cancelled if at > of_it[0])
    late = [at - at_cancel for at in of_it if at > at_cancel]
    assert len(of_it) - len(late) > 20
    assert len(late) <= 1, "the step at hand"
    assert max(late, default=0.0) <= 0.05
    last = [request for request in requests if request.audio is not None and request.conversation][-1]
    assert told
    assert answered(model, last) == told, "what was heard of it, as the client was told"


def answered(model: VoxtralModel, request: Request) -> str:
    """The first answer in its prompt."""
    told: str = model._decoder._processor.tokenizer.decode(request.ids, skip_special_tokens=False)
    return told.split("[/INST]")[1].split("</s>")[0]


def test_a_worker_that_dies_ends_one_response_and_the_next_turn_is_answered(
    make: Callable[[int], VoxtralModel], monkeypatch: pytest.MonkeyPatch
) -> None:
    model = make(8)

    def dies(*arguments: Any) -> Any:
        raise RuntimeError("CUDA error: device-side assert triggered")

    async def main() -> tuple[dict[str, Any], dict[str, Any]]:
        async with server(app(model)) as address, person(address) as somebody:
            with monkeypatch.context() as broken:
                broken.setattr(model._decoder, "_read", dies)
                failed = await somebody.turn(1.3)
            return failed, await somebody.turn(1.3)

    failed, next_one = asyncio.run(main())
    assert failed["status"] == "failed"
    assert failed["status_details"]["error"]
    assert next_one["status"] == "completed"
