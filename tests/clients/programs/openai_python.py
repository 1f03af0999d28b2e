"""The official Python SDK, `client.realtime.connect`. It plays nothing and runs no tool: an application does, as here."""

from __future__ import annotations

import asyncio
import base64
import json
from typing import Any

from flow import INSTRUCTIONS, PLAYED_S, PURPOSE, TOOL, WEATHER, Ear, base_url, hold, note, run
from openai import AsyncOpenAI

WEATHER_TOOL = {
    "type": "function",
    "name": TOOL,
    "description": PURPOSE,
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
}


class Application:
    def __init__(self, connection: Any, ear: Ear) -> None:
        self._connection = connection
        self._ear = ear
        self._playing: str | None = None

    async def write(self, text: str) -> None:
        item = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": text}]}
        await self._connection.conversation.item.create(item=item)
        await self._connection.response.create()

    async def write_for_a_tool(self, text: str) -> None:
        await self._connection.session.update(
            session={"type": "realtime", "tools": [WEATHER_TOOL], "tool_choice": "required"}
        )
        await self.write(text)

    async def send(self, pcm: bytes) -> None:
        await self._connection.input_audio_buffer.append(audio=base64.b64encode(pcm).decode())

    async def read(self) -> None:
        async for event in self._connection:
            if not event.type.endswith(".delta"):
                note(event.type)
            await self._take(event)

    async def _take(self, event: Any) -> None:
        if event.type == "response.output_audio.delta":
            self._playing = event.item_id
            self._ear.take_sound(base64.b64decode(event.delta), event.response_id)
        elif event.type == "response.output_audio_transcript.done":
            self._ear.take_text(event.transcript)
        elif event.type == "response.function_call_arguments.done":
            await self._call(event)
        elif event.type == "response.done":
            await self._end(event.response)
        elif event.type == "conversation.item.input_audio_transcription.completed":
            self._ear.take_heard(event.transcript)
        elif event.type == "input_audio_buffer.speech_started" and self._playing is not None:
            await self._interrupted(self._playing)
        elif event.type == "conversation.item.truncated":
            self._ear.take_truncation(event.audio_end_ms)
            await self._connection.conversation.item.retrieve(item_id=event.item_id)
        elif event.type == "conversation.item.retrieved":
            self._ear.interruption["kept"] = event.item.content[0].transcript
        elif event.type == "error":
            self._ear.take_error(event.error.message)

    async def _interrupted(self, item: str) -> None:
        self._ear.take_interruption("input_audio_buffer.speech_started")
        played_ms = round(PLAYED_S * 1000)
        await self._connection.conversation.item.truncate(item_id=item, content_index=0, audio_end_ms=played_ms)

    async def _call(self, event: Any) -> None:
        self._ear.take_call(event.name, json.loads(event.arguments))
        output = {"type": "function_call_output", "call_id": event.call_id, "output": WEATHER}
        await self._connection.conversation.item.create(item=output)

    async def _end(self, response: Any) -> None:
        self._playing = None
        self._ear.take_end(response.status, response.id)
        if any(item.type == "function_call" for item in response.output):
            await self._connection.response.create(response={"tool_choice": "none"})


async def main() -> None:
    client = AsyncOpenAI(api_key="local", base_url=base_url())
    async with client.realtime.connect(model="gpt-realtime") as connection:
        ear = Ear()
        application = Application(connection, ear)
        async with asyncio.TaskGroup() as group:
            reading = group.create_task(application.read())
            audio = {"input": {"transcription": {"model": "whisper-1"}}}
            session = {"type": "realtime", "instructions": INSTRUCTIONS, "audio": audio}
            await connection.session.update(session=session)
            await hold(application, ear)
            reading.cancel()


run(main())
