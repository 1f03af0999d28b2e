"""pydantic-ai's realtime session on its OpenAI model. It interrupts and truncates by what was played, and runs tools itself."""

from __future__ import annotations

import asyncio
from typing import Any

from flow import INSTRUCTIONS, PURPOSE, RATE, STORY, TOOL, WEATHER, Ear, base_url, hold, note, run
from pydantic_ai import Agent, Tool
from pydantic_ai.messages import ModelMessage, PartEndEvent, SpeechPart
from pydantic_ai.providers.openai import OpenAIProvider
from pydantic_ai.realtime.openai import OpenAIRealtimeModel

SPEED = 0.5
"""Of the loudspeaker while the story plays: it is slow, so that there is sound that was not played yet."""


class Application:
    def __init__(self, session: Any, ear: Ear) -> None:
        self._session = session
        self._ear = ear
        self._speed = 1.0

    async def write(self, text: str) -> None:
        self._speed = SPEED if text == STORY else 1.0
        await self._session.send(text)

    async def write_for_a_tool(self, text: str) -> None:
        await self.write(text)

    async def send(self, pcm: bytes) -> None:
        await self._session.send_audio(pcm)

    async def play(self) -> None:
        async for pcm in self._session.stream_audio():
            self._ear.take_sound(pcm)
            await asyncio.sleep(len(pcm) / 2 / RATE / self._speed)

    async def read(self) -> None:
        async for event in self._session:
            if event.event_kind != "part_delta":
                note(str(event)[:200])
            if event.event_kind == "realtime_input_speech_start":
                self._ear.take_interruption(event.event_kind)
            elif isinstance(event, PartEndEvent) and isinstance(event.part, SpeechPart):
                await self._take(event.part)

    async def _take(self, part: SpeechPart) -> None:
        if part.speaker == "user":
            self._ear.take_heard(part.transcript or "")
            return
        self._ear.take_text(part.transcript or "")
        cut = interrupted(self._session.all_messages())
        if cut is not None and not self._ear.truncated.is_set():
            self._ear.take_truncation(cut.interrupted_at_ms)
        self._ear.take_end("", part.id or "")


def interrupted(messages: list[ModelMessage]) -> SpeechPart | None:
    parts = [part for message in messages for part in message.parts]
    return next((part for part in parts if isinstance(part, SpeechPart) and part.interrupted_at_ms is not None), None)


async def main() -> None:
    ear = Ear()

    async def weather(city: str) -> str:
        ear.take_call(TOOL, {"city": city})
        return WEATHER

    agent = Agent(instructions=INSTRUCTIONS, tools=[Tool(weather, name=TOOL, description=PURPOSE)])
    model = OpenAIRealtimeModel("gpt-realtime", provider=OpenAIProvider(base_url=base_url(), api_key="local"))
    async with agent.realtime(model).session(handle_barge_in=True) as session, asyncio.TaskGroup() as group:
        application = Application(session, ear)
        tasks = [group.create_task(application.read()), group.create_task(application.play())]
        await hold(application, ear)
        for task in tasks:
            task.cancel()


run(main())
