"""LiveKit's `AgentSession` on its OpenAI realtime plugin, without a room. It truncates by what was played, and runs tools."""

from __future__ import annotations

import asyncio
import time
from typing import Any

from flow import INSTRUCTIONS, PURPOSE, RATE, TOOL, WEATHER, Ear, base_url, hold, note, run
from livekit import rtc
from livekit.agents import Agent, AgentSession, function_tool
from livekit.agents.voice.io import AudioInput, AudioOutput, AudioOutputCapabilities
from livekit.plugins.openai.realtime import RealtimeModel


class Source(AudioInput):
    def __init__(self) -> None:
        super().__init__(label="microphone")
        self.blocks: asyncio.Queue[rtc.AudioFrame] = asyncio.Queue()

    async def __anext__(self) -> rtc.AudioFrame:
        return await self.blocks.get()


class Loudspeaker(AudioOutput):
    """Plays in real time, and says how far it came."""

    def __init__(self, ear: Ear) -> None:
        super().__init__(label="loudspeaker", capabilities=AudioOutputCapabilities(pause=False), sample_rate=RATE)
        self._ear = ear
        self._began: float | None = None
        self._waiting_s = 0.0
        self._end: asyncio.TimerHandle | None = None

    async def capture_frame(self, frame: rtc.AudioFrame) -> None:
        await super().capture_frame(frame)
        if self._began is None:
            self._began = time.monotonic()
            self.on_playback_started(created_at=time.time())
        self._waiting_s += frame.duration
        self._ear.take_sound(bytes(frame.data))

    def flush(self) -> None:
        super().flush()
        if self._began is not None:
            left = self._began + self._waiting_s - time.monotonic()
            self._end = asyncio.get_running_loop().call_later(max(0.0, left), self._finish, False)

    def clear_buffer(self) -> None:
        if self._end is not None:
            self._end.cancel()
        self._finish(True)

    def _finish(self, interrupted: bool) -> None:
        if self._began is None:
            return
        position = min(self._waiting_s, time.monotonic() - self._began)
        self._began, self._waiting_s, self._end = None, 0.0, None
        self.on_playback_finished(playback_position=position, interrupted=interrupted)


class Weatherman(Agent):
    def __init__(self, ear: Ear) -> None:
        super().__init__(instructions=INSTRUCTIONS)
        self._ear = ear

    @function_tool(name=TOOL, description=PURPOSE)
    async def weather(self, city: str) -> str:
        self._ear.take_call(TOOL, {"city": city})
        return WEATHER


class Application:
    def __init__(self, session: AgentSession[None], source: Source, ear: Ear) -> None:
        self._session = session
        self._source = source
        self._ear = ear
        session.on("conversation_item_added", self._added)
        session.on("user_input_transcribed", self._heard)
        session.on("user_state_changed", self._user)
        session.on("error", lambda event: ear.take_error(str(event.error)))

    async def write(self, text: str) -> None:
        self._session.generate_reply(user_input=text)

    async def write_for_a_tool(self, text: str) -> None:
        self._session.generate_reply(user_input=text, tool_choice="required")

    async def send(self, pcm: bytes) -> None:
        self._source.blocks.put_nowait(rtc.AudioFrame(pcm, RATE, 1, len(pcm) // 2))

    def take(self, event: dict[str, Any]) -> None:
        """What the server sends."""
        if not event["type"].endswith(".delta"):
            note(event["type"])
        if event["type"] == "conversation.item.truncated":
            self._ear.take_truncation(event["audio_end_ms"])

    def _added(self, event: Any) -> None:
        if event.item.type == "message" and event.item.role == "assistant":
            self._ear.take_text(event.item.text_content or "")
            self._ear.take_end("cancelled" if event.item.interrupted else "completed")

    def _heard(self, event: Any) -> None:
        if event.is_final:
            self._ear.take_heard(event.transcript)

    def _user(self, event: Any) -> None:
        if event.new_state == "speaking":
            self._ear.take_interruption("user_state_changed: speaking")


async def main() -> None:
    ear, source = Ear(), Source()
    model = RealtimeModel(base_url=base_url(), api_key="local", model="gpt-realtime")
    async with AgentSession(llm=model) as session:
        session.input.audio = source
        session.output.audio = Loudspeaker(ear)
        application = Application(session, source, ear)
        agent = Weatherman(ear)
        await session.start(agent, record=False)
        agent.realtime_llm_session.on("openai_server_event_received", application.take)
        await hold(application, ear)
    await model.aclose()


run(main())
