"""OpenAI's Agents SDK for Python: a `RealtimeSession`, which takes no event that it does not know, and runs tools itself."""

from __future__ import annotations

import asyncio
import os
from typing import Any

from agents import function_tool
from agents.realtime import RealtimeAgent, RealtimeRunner, RealtimeSession, RealtimeSessionModelSettings
from agents.realtime.model_inputs import RealtimeModelSendSessionUpdate
from flow import INSTRUCTIONS, PURPOSE, TOOL, WEATHER, Ear, hold, note, run, websocket_url

os.environ["OPENAI_AGENTS_DISABLE_TRACING"] = "1"


class Application:
    def __init__(self) -> None:
        self.ear = Ear()
        self.session: RealtimeSession
        self.status = ""
        self.truncated = ""
        self.tool = function_tool(self._weather, name_override=TOOL, description_override=PURPOSE)

    async def write(self, text: str) -> None:
        await self.session.send_message(text)

    async def write_for_a_tool(self, text: str) -> None:
        await self._choose("required")
        await self.write(text)

    async def send(self, pcm: bytes) -> None:
        await self.session.send_audio(pcm)

    async def _weather(self, city: str) -> str:
        self.ear.take_call(TOOL, {"city": city})
        await self._choose("none")
        return WEATHER

    async def _choose(self, choice: str) -> None:
        settings: RealtimeSessionModelSettings = {"tools": [self.tool], "tool_choice": choice}
        await self.session.model.send_event(RealtimeModelSendSessionUpdate(settings))

    async def read(self) -> None:
        async for event in self.session:
            if event.type == "audio":
                self.ear.take_sound(event.audio.data, event.audio.response_id)
            elif event.type == "audio_interrupted":
                self.ear.take_interruption(event.type)
            elif event.type == "error":
                self.ear.take_error(str(event.error))
            elif event.type == "history_updated":
                self._read_history(event.history)
            elif event.type == "raw_model_event":
                self._take(event.data)

    def _read_history(self, history: list[Any]) -> None:
        """What it keeps of the interrupted reply."""
        for item in history:
            if item.item_id == self.truncated:
                self.ear.interruption["kept"] = item.content[0].transcript

    def _take(self, event: Any) -> None:
        if event.type == "transcript_delta":
            self.ear.take_text(event.delta)
        elif event.type == "turn_ended":
            self.ear.take_end(self.status, event.response_id)
        elif event.type == "input_audio_transcription_completed":
            self.ear.take_heard(event.transcript)
        elif event.type == "exception":
            self.ear.take_error(str(event.exception))
        elif event.type == "raw_server_event":
            self._take_raw(event.data)

    def _take_raw(self, event: dict[str, Any]) -> None:
        """What the SDK has no event for."""
        if not event["type"].endswith(".delta"):
            note(event["type"])
        if event["type"] == "response.done":
            self.status = event["response"]["status"]
        elif event["type"] == "conversation.item.truncated":
            self.truncated = event["item_id"]
            self.ear.take_truncation(event["audio_end_ms"])


async def main() -> None:
    application = Application()
    agent = RealtimeAgent(name="assistant", instructions=INSTRUCTIONS, tools=[application.tool])
    model = {"url": f"{websocket_url()}?model=gpt-realtime", "api_key": "local"}
    async with await RealtimeRunner(agent).run(model_config=model) as session, asyncio.TaskGroup() as group:
        application.session = session
        reading = group.create_task(application.read())
        await hold(application, application.ear)
        reading.cancel()


run(main())
