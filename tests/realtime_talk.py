"""A client of the Realtime protocol in a session with scripted engines, on the jumping clock."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import virtual
from dialogue import TIMINGS, lineup
from realtime_wire import checked

from duologue import clock
from duologue import protocols as p
from duologue.audio import to_pcm16
from duologue.config import Config
from duologue.engines.lineup import Lineup
from duologue.errors import ClientError
from duologue.protocols.realtime import Realtime
from duologue.session import Session

RATE = 24_000
BLOCK_S = 0.04


class Talk:
    """What came of it: `events` with their times in s."""

    def __init__(self, engines: Lineup, config: Config, **settings: Any) -> None:
        self.events: list[tuple[float, dict[str, Any]]] = []
        self.sent: list[str] = []
        self.session: Session
        self._realtime = Realtime("gpt-realtime", **{"speech": config.speech, "patience": config.patience, **settings})
        self._extended = bool(settings.get("extensions"))
        self._engines = engines
        self._config = config
        self._began = 0.0
        self._on: dict[str, Callable[[dict[str, Any]], None]] = {}

    # ── Acting ────────────────────────────────────────────────────────────────────────────────────────────────────

    def send(self, type: str, **fields: Any) -> None:
        """Whatever is wrong with it is answered by an event."""
        self.sent.append(type)
        try:
            for command in self._realtime.receive(json.dumps({"type": type, **fields})):
                self.session.command(command)
        except ClientError as error:
            self._got(self._realtime.refuse(error))

    def says(self, text: str) -> None:
        content = [{"type": "input_text", "text": text}]
        self.send("conversation.item.create", item={"type": "message", "role": "user", "content": content})

    def update(self, **session: Any) -> None:
        self.send("session.update", session={"type": "realtime", **session})

    def on(self, type: str, act: Callable[[dict[str, Any]], None]) -> None:
        """At the next event of this type the client acts, as soon as it is its turn."""
        self._on[type] = act

    # ── What came ─────────────────────────────────────────────────────────────────────────────────────────────────

    def types(self, *, sound: bool = False) -> list[str]:
        """In order; deltas of sound and words only if asked for."""
        return [event["type"] for _, event in self.events if sound or not event["type"].endswith(".delta")]

    def of(self, type: str) -> list[dict[str, Any]]:
        return [event for _, event in self.events if event["type"] == type]

    def at(self, type: str) -> list[float]:
        return [t for t, event in self.events if event["type"] == type]

    def responses(self) -> list[tuple[str, str | None]]:
        """Status and reason of each that is done."""
        ended = [event["response"] for event in self.of("response.done")]
        return [(each["status"], (each["status_details"] or {}).get("reason")) for each in ended]

    def heard(self, response: str) -> bytes:
        deltas = [event for event in self.of("response.output_audio.delta") if event["response_id"] == response]
        return b"".join(base64.b64decode(event["delta"]) for event in deltas)

    # ── Life ──────────────────────────────────────────────────────────────────────────────────────────────────────

    async def hold(
        self,
        spans: Sequence[tuple[float, float]],
        seconds: float,
        script: Sequence[tuple[float, Callable[[Talk], None]]],
        *,
        microphone: bool = True,
    ) -> None:
        self._began = clock.now()
        pacing = replace(self._config.pacing, lead_s=self._config.realtime.lead_s)
        turn_taking = self._realtime.turn_taking
        first = self._realtime.opening()
        self.session = Session("s1", self._config, self._engines, self._tell, pacing=pacing, turn_taking=turn_taking)
        running = asyncio.create_task(self.session.run())
        await asyncio.sleep(0)
        for command in first:
            self.session.command(command)
        todo, samples = sorted(script, key=lambda step: step[0]), _voice(spans, seconds)
        size = round(BLOCK_S * RATE)
        for start in range(0, len(samples) - size + 1, size):
            while todo and todo[0][0] <= clock.now() - self._began:
                todo.pop(0)[1](self)
            await asyncio.sleep(max(0.0, self._began + (start + size) / RATE - clock.now()))
            if microphone and not running.done():
                block = to_pcm16(samples[start : start + size])
                self.send("input_audio_buffer.append", audio=base64.b64encode(block).decode())
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)

    def _tell(self, fact: p.Fact) -> None:
        self._got(self._realtime.tell(fact))

    def _got(self, messages: Sequence[str]) -> None:
        for message in messages:
            event = json.loads(message) if "duologue." in message and self._extended else checked(message)
            self.events.append((round(clock.now() - self._began, 3), event))
            if (act := self._on.pop(event["type"], None)) is not None:
                asyncio.get_running_loop().call_soon(act, event)


def _voice(spans: Sequence[tuple[float, float]], seconds: float) -> Any:
    samples = np.zeros(round(seconds * RATE), np.float32)
    for start, end in spans:
        t = np.arange(round((end - start) * RATE)) / RATE
        piece = (0.3 * np.sin(2 * np.pi * 220 * t)).astype(np.float32)
        samples[round(start * RATE) : round(start * RATE) + len(piece)] = piece
    return samples


def talk(
    spans: Sequence[tuple[float, float]],
    seconds: float,
    *script: tuple[float, Callable[[Talk], None]],
    engines: Lineup | None = None,
    config: Config = TIMINGS,
    microphone: bool = True,
    **settings: Any,
) -> Talk:
    """The user speaks in these spans (s); each step of the script is done at its time."""
    held = Talk(engines or lineup(), config, **settings)
    virtual.run(held.hold(spans, seconds, script, microphone=microphone))
    check(held)
    return held


def check(held: Talk) -> None:
    """What holds in every conversation."""
    created = [event["response"]["id"] for event in held.of("response.created")]
    done = [event["response"]["id"] for event in held.of("response.done")]
    assert len(set(created)) == len(created)
    assert len(set(done)) == len(done)
    assert set(done) <= set(created)
    assert len(set(created) - set(done)) <= 5, "what is under way when the session ends"
    _check_order(held)
    _check_items(held)


def _check_items(held: Talk) -> None:
    """A client that keeps the conversation by what it is told has the items that the session has, in the same order."""
    items: list[str] = []
    for _, event in held.events:
        if event["type"] == "conversation.item.added":
            before = event["previous_item_id"]
            items.insert(items.index(before) + 1 if before else 0, event["item"]["id"])
        elif event["type"] == "conversation.item.deleted":
            items.remove(event["item_id"])
    kept = [turn.id for turn in held.session.conversation._turns]
    assert items == [id for id in kept if id in items]


def _check_order(held: Talk) -> None:
    """Nothing comes before its response, item or part was opened, or after it was closed; a voice starts before it stops."""
    opened: set[str] = set()
    closed: set[str] = set()
    speaking: set[str] = set()
    for _, event in held.events:
        kind, response = event["type"], event.get("response_id")
        if kind in ("response.created", "response.done"):
            response = event["response"]["id"]
            (opened if kind.endswith("created") else closed).add(response)
        elif response is not None and kind.startswith("response."):
            assert response in opened - closed, event
        if kind == "conversation.item.added":
            assert event["item"]["id"] not in opened, "added twice"
            opened.add(event["item"]["id"])
        elif kind in ("conversation.item.done", "conversation.item.truncated"):
            assert (event.get("item_id") or event["item"]["id"]) in opened, event
        elif kind == "input_audio_buffer.speech_started":
            assert not speaking, "two voices at once"
            speaking.add(event["item_id"])
        elif kind == "input_audio_buffer.speech_stopped":
            speaking.remove(event["item_id"])
