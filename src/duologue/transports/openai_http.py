"""OpenAI's audio API over HTTP: speech, transcription and the list of models, beside the Realtime sockets.

Who may come in is decided before (`guard`). Knows no engine: only what an app can say and hear.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AbstractContextManager, ExitStack, aclosing
from typing import TypeAlias

from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import Message

from duologue import clock
from duologue.config import Limits
from duologue.engines import Style
from duologue.errors import ClientError, DuologueError
from duologue.places.step import step
from duologue.protocols import ReplyAudio, openai_audio, openai_models
from duologue.protocols.openai_audio import BadField, SpeechRequest, TranscriptionRequest
from duologue.sound_files import RATE, Recording, encoder, open_recording
from duologue.transcribing import Segment
from duologue.transports import App
from duologue.transports.live import STALLED_S, Live
from duologue.transports.service import Places

LONGEST_S = 3 * 3600.0
"""Of one recording: silence can be packed so tightly that an upload holds days of it."""

MOST_FIELDS = 100
"""Of a form; OpenAI's has about twenty."""

log = logging.getLogger(__name__)

Handler: TypeAlias = Callable[[Request], Awaitable[Response]]
Chunks: TypeAlias = AsyncGenerator[bytes, None]


def routes(app: App, limits: Limits) -> list[Route]:
    """Who may come in is decided before them. At most `limits.sessions` requests are worked on at once."""
    created = int(clock.wall_clock().timestamp())
    audio = _Audio(app, limits)

    async def models(_: Request) -> Response:
        return JSONResponse(openai_models.models(app.profile, created))

    async def model(request: Request) -> Response:
        name = request.path_params["name"]
        openai_models.check_model(name, app.profile)
        return JSONResponse(openai_models.model(name, created))

    return [
        Route("/v1/audio/speech", answering(audio.speech), methods=["POST"]),
        Route("/v1/audio/transcriptions", answering(audio.transcriptions), methods=["POST"]),
        Route("/v1/models", answering(models)),
        Route("/v1/models/{name}", answering(model)),
    ]


def answering(handler: Handler) -> Handler:
    """Errors as OpenAI's clients read them."""

    async def answer(request: Request) -> Response:
        try:
            return await handler(request)
        except DuologueError as error:
            return refusal(error)
        except ClientDisconnect:
            return Response(status_code=400)  # nobody reads it

    return answer


def refusal(error: DuologueError) -> Response:
    return JSONResponse(openai_audio.failure(error), openai_audio.status(error))


class _Audio:
    def __init__(self, app: App, limits: Limits) -> None:
        self._app = app
        self._limits = limits
        self._places = Places(limits.sessions)

    async def speech(self, request: Request) -> Response:
        with ExitStack() as held:
            held.enter_context(self._place())
            body = await bounded(request, self._limits.message_bytes).body()
            wanted = openai_audio.speech_request(body, self._limits.text_chars)
            openai_models.check_model(wanted.model, self._app.profile)
            sound = self._sound(wanted)
            if wanted.events:
                return _events(_as_events(sound), held)
            return Live(contained(sound), openai_audio.MEDIA[wanted.format], refusal, held.pop_all())

    async def transcriptions(self, request: Request) -> Response:
        with ExitStack() as held:
            held.enter_context(self._place())
            fields, upload = await read_form(bounded(request, self._limits.upload_bytes))
            held.callback(upload.file.close)
            wanted = openai_audio.transcription_request(fields)
            openai_models.check_model(wanted.model, self._app.profile)
            recording = await step(open_recording, upload.file, LONGEST_S)
            if wanted.stream:
                return _events(self._deltas(wanted, recording), held)
            media = "application/json" if "json" in wanted.shape else "text/plain"
            return Live(contained(self._transcript(wanted, recording)), media, refusal, held.pop_all())

    async def _sound(self, wanted: SpeechRequest) -> Chunks:
        """The file's bytes, as the voice gives its sound."""
        file = encoder(wanted.format)
        style = Style(wanted.language, wanted.voice, speed=wanted.speed)
        async with aclosing(self._app.speak(wanted.text, style, RATE)) as facts:
            async for fact in facts:
                if isinstance(fact, ReplyAudio) and (data := await step(file.write, fact.pcm)):
                    yield data
        if data := await step(file.finish):
            yield data

    async def _transcript(self, wanted: TranscriptionRequest, recording: Recording) -> Chunks:
        async with aclosing(self._app.transcribe(recording, wanted.language)) as heard:
            segments = [segment async for segment in heard]
        check_length(recording)
        yield openai_audio.transcription(wanted.shape, segments, recording.seconds, wanted.language).encode()

    async def _deltas(self, wanted: TranscriptionRequest, recording: Recording) -> Chunks:
        segments: list[Segment] = []
        async with aclosing(self._app.transcribe(recording, wanted.language)) as heard:
            async for segment in heard:
                segments.append(segment)
                yield openai_audio.transcript_delta(segment.text if len(segments) == 1 else f" {segment.text}")
        check_length(recording)
        yield openai_audio.transcript_done(openai_audio.joined(segments))

    def _place(self) -> AbstractContextManager[None]:
        if not self._app.ready:
            raise ClientError("not_ready", "the models are still loading")
        return self._places.one()


def bounded(request: Request, most_bytes: int) -> Request:
    """The same, whose body is refused once it is too large (too_large) or does not come (upload_stalled)."""
    if int(request.headers.get("content-length", "0")) > most_bytes:
        raise _too_large(most_bytes)
    taken = 0

    async def receive() -> Message:
        nonlocal taken
        try:
            async with asyncio.timeout(STALLED_S):
                message = await request.receive()
        except TimeoutError:
            raise ClientError("upload_stalled", f"nothing of the request came for {STALLED_S:g} s") from None
        taken += len(message.get("body", b""))
        if taken > most_bytes:
            raise _too_large(most_bytes)
        return message

    return Request(request.scope, receive)


def _too_large(most_bytes: int) -> ClientError:
    return ClientError("too_large", f"a request may have {most_bytes} bytes")


async def read_form(request: Request) -> tuple[list[tuple[str, str]], UploadFile]:
    """The fields, and the file, which is the caller's to close. Raises `ClientError`: bad_form, missing_required_parameter."""
    try:
        form = await request.form(max_files=1, max_fields=MOST_FIELDS)
    except HTTPException as error:
        raise ClientError("bad_form", f"the form cannot be read: {error.detail}") from None
    upload = form.get("file")
    if not isinstance(upload, UploadFile):
        await form.close()
        raise BadField("missing_required_parameter", "file", "file is missing: send it in a multipart/form-data body")
    return [(name, value) for name, value in form.multi_items() if isinstance(value, str)], upload


def check_length(recording: Recording) -> None:
    """Once it has been read. Raises `ClientError` (empty_audio)."""
    if not recording.seconds:
        raise ClientError("empty_audio", "the sound file has no samples")


async def contained(chunks: Chunks) -> Chunks:
    """The same; a bug of an engine is an `EngineError` like any other failure of it."""
    async with aclosing(chunks):
        try:
            async for chunk in chunks:
                yield chunk
        except DuologueError:
            raise
        except Exception as error:
            log.exception("an engine failed")
            raise openai_audio.internal_error() from error


def _events(events: Chunks, held: ExitStack) -> Live:
    return Live(_telling(contained(events)), "text/event-stream", refusal, held.pop_all())


async def _telling(events: Chunks) -> Chunks:
    """A stream of events can itself say what went wrong with it, once it has begun."""
    begun = False
    async with aclosing(events):
        try:
            async for event in events:
                begun = True
                yield event
        except DuologueError as error:
            if not begun:
                raise
            yield openai_audio.event(openai_audio.failure(error))


async def _as_events(sound: Chunks) -> Chunks:
    async with aclosing(sound):
        async for chunk in sound:
            yield openai_audio.speech_delta(chunk)
    yield openai_audio.speech_done()
