"""pipecat's pipeline around its OpenAI realtime service, to which every unexpected error is the end. It truncates by itself."""

from __future__ import annotations

import asyncio
import base64
import sys
from typing import Any

from flow import INSTRUCTIONS, PURPOSE, RATE, TOOL, WEATHER, Ear, hold, note, run, websocket_url
from loguru import logger
from pipecat.adapters.llm.schemas.function_schema import FunctionSchema
from pipecat.adapters.llm.schemas.tools_schema import ToolsSchema
from pipecat.frames.frames import (
    InputAudioRawFrame,
    LLMMessagesAppendFrame,
    LLMUpdateSettingsFrame,
    OutputAudioRawFrame,
)
from pipecat.pipeline.pipeline import Pipeline
from pipecat.pipeline.worker import PipelineParams, PipelineWorker
from pipecat.processors.aggregators.llm_context import LLMContext
from pipecat.processors.aggregators.llm_response_universal import LLMContextAggregatorPair
from pipecat.services.llm_service import FunctionCallParams
from pipecat.services.openai.realtime.events import (
    AudioConfiguration,
    AudioInput,
    InputAudioTranscription,
    SessionProperties,
)
from pipecat.services.openai.realtime.llm import OpenAIRealtimeLLMService
from pipecat.transports.base_output import BaseOutputTransport
from pipecat.transports.base_transport import TransportParams
from pipecat.workers.runner import WorkerRunner

PROPERTIES: dict[str, Any] = {
    "instructions": INSTRUCTIONS,
    "audio": AudioConfiguration(input=AudioInput(transcription=InputAudioTranscription())),
}
WEATHER_TOOL = FunctionSchema(
    name=TOOL, description=PURPOSE, properties={"city": {"type": "string"}}, required=["city"]
)


class Loudspeaker(BaseOutputTransport):
    """Plays in real time."""

    def __init__(self, ear: Ear) -> None:
        super().__init__(TransportParams(audio_out_enabled=True, audio_out_sample_rate=RATE))
        self._ear = ear

    async def start(self, frame: Any) -> None:
        await super().start(frame)
        await self.set_transport_ready(frame)

    async def write_audio_frame(self, frame: OutputAudioRawFrame) -> bool:
        self._ear.take_sound(frame.audio)
        await asyncio.sleep(len(frame.audio) / 2 / RATE)
        return True


class Application:
    def __init__(self, ear: Ear) -> None:
        self.ear = ear
        self.seen: set[str] = set()
        self.cut = False
        self.service = OpenAIRealtimeLLMService(
            api_key="local",
            base_url=websocket_url(),
            settings=OpenAIRealtimeLLMService.Settings(
                model="gpt-realtime", session_properties=SessionProperties(**PROPERTIES)
            ),
        )
        self.service.register_function(TOOL, self._weather)
        pair = LLMContextAggregatorPair(LLMContext(tools=ToolsSchema(standard_tools=[WEATHER_TOOL])))
        stages = [pair.user(), self.service, Loudspeaker(ear), pair.assistant()]
        params = PipelineParams(audio_in_sample_rate=RATE, audio_out_sample_rate=RATE)
        self.worker = PipelineWorker(Pipeline(stages), params=params, enable_rtvi=False)
        self.service.add_event_handler("on_conversation_item_updated", self._item)
        self.worker.add_event_handler("on_pipeline_error", self._error)
        pair.user().add_event_handler("on_user_turn_started", self._user_began)
        pair.user().add_event_handler("on_user_turn_message_added", self._heard)
        pair.assistant().add_event_handler("on_assistant_turn_stopped", self._ended)

    async def write(self, text: str) -> None:
        await self.service.queue_frame(LLMMessagesAppendFrame([{"role": "user", "content": text}], run_llm=True))

    async def write_for_a_tool(self, text: str) -> None:
        await self._choose("required")
        await self.write(text)

    async def send(self, pcm: bytes) -> None:
        await self.worker.queue_frame(InputAudioRawFrame(pcm, RATE, 1))

    async def _choose(self, choice: Any) -> None:
        properties = SessionProperties(**PROPERTIES, tool_choice=choice)
        delta = OpenAIRealtimeLLMService.Settings(session_properties=properties)
        await self.worker.queue_frame(LLMUpdateSettingsFrame(delta=delta))

    async def _weather(self, params: FunctionCallParams) -> None:
        self.ear.take_call(TOOL, dict(params.arguments))
        await self._choose("none")
        await params.result_callback(WEATHER)

    async def _item(self, _: object, item_id: str, item: Any) -> None:
        note("item", item_id, item and item.status)
        if item is not None and item.status == "incomplete" and item_id not in self.seen:
            self.seen.add(item_id)  # which is told of twice
            self.cut = True
            self.looking = asyncio.create_task(self._look_at(item_id))

    async def _look_at(self, item_id: str) -> None:
        """What the server kept of the interrupted reply."""
        item = await self.service.retrieve_conversation_item(item_id)
        self.ear.interruption["kept"] = item.content[0].transcript
        self.ear.take_truncation(len(base64.b64decode(item.content[0].audio or "")) * 1000 // 2 // RATE)

    async def _user_began(self, *_: object) -> None:
        self.ear.take_interruption("on_user_turn_started")

    async def _heard(self, _: object, message: Any) -> None:
        self.ear.take_heard(message.content)

    async def _ended(self, _: object, message: Any) -> None:
        """`message.interrupted` is false where the server's end of the reply came before pipecat's own."""
        self.ear.take_text(message.content)
        self.ear.take_end("cancelled" if message.interrupted or self.cut else "completed")
        self.cut = False

    async def _error(self, _: object, frame: Any) -> None:
        self.ear.take_error(frame.error)


async def main() -> None:
    logger.remove()
    logger.add(sys.stderr, level="WARNING")
    application = Application(Ear())
    runner = WorkerRunner(handle_sigint=False)
    await runner.add_workers(application.worker)
    running = asyncio.create_task(runner.run())
    await hold(application, application.ear)
    await runner.cancel()
    await running


run(main())
