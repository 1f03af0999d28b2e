"""What of the Realtime protocol is done here, row by row, for docs/protocols.md: `python -m duologue.protocols.realtime.reference
docs/protocols.md` makes the tables there anew.

The rows are those of the SDK's models; a test finds the ones that are missing here, and checks that what is said to be sent is.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Final, TypeAlias, Union, get_args, get_origin

from openai.types.realtime import (
    RealtimeResponseCreateParams,
    RealtimeServerEvent,
    RealtimeSessionCreateRequest,
)
from pydantic import BaseModel

from duologue.config import Limits
from duologue.core.patience import Patience
from duologue.edits import WAITING_S
from duologue.protocols.realtime.bounds import MOST_ENTRIES, MOST_MARKS, MOST_VALUES, SCHEMAS
from duologue.protocols.realtime.configuration import RANGES
from duologue.protocols.realtime.dialect import RECEIVED
from duologue.protocols.realtime.extensions import EXTENSIONS
from duologue.protocols.realtime.incoming import CLIENT, EVENT_ID_CHARS, UPDATE_CHARS, kind_of
from duologue.protocols.realtime.items import ID_CHARS, TEXT_CHARS
from duologue.protocols.realtime.refusals import CODES
from duologue.protocols.realtime.responding import KEY_CHARS, MOST_METADATA, VALUE_CHARS

SUPPORTED, IGNORED, REFUSED = "supported", "accepted and ignored", "refused"

Row: TypeAlias = tuple[str, ...]

MEANINGS: Final[Mapping[str, str]] = {
    "session.update": "only the fields given change; a refused update changes nothing",
    "input_audio_buffer.append": "over WebRTC refused: there sound comes by RTP; "
    "`too_much_sound` when 300 s of it wait to be understood",
    "input_audio_buffer.clear": "the turn that is being spoken is forgotten",
    "input_audio_buffer.commit": "ends the turn; `input_audio_buffer_commit_empty` below 100 ms, or while nobody speaks; "
    "without turn detection answered at once, and the words follow",
    "output_audio_buffer.clear": "over WebSocket too: whatever sounds falls silent",
    "conversation.item.create": "messages of text or audio, calls and their outputs; images and MCP items are refused",
    "conversation.item.delete": "",
    "conversation.item.retrieve": "with the item's sound, if that is at most 15 s and still kept",
    "conversation.item.truncate": "cuts sound and words at the word, clamped; the model knows only what is left",
    "response.create": "while a reply still plays the next one waits for its end",
    "response.cancel": "`response_id` is honoured, also of a response that has not begun",
}
"""What each client event means here, beyond what OpenAI's reference says."""

SENT: Final[Mapping[str, str]] = {
    "error": "",
    "session.created": "",
    "session.updated": "the whole session in force",
    "conversation.item.added": "",
    "conversation.item.done": "",
    "conversation.item.retrieved": "",
    "conversation.item.truncated": "over WebRTC also unasked, when the user interrupts",
    "conversation.item.deleted": "",
    "conversation.item.input_audio_transcription.delta": "all words at once, as soon as they are final",
    "conversation.item.input_audio_transcription.completed": "`usage` in seconds",
    "conversation.item.input_audio_transcription.failed": "",
    "input_audio_buffer.committed": "",
    "input_audio_buffer.cleared": "",
    "input_audio_buffer.speech_started": 'over a reply only once the voice has taken the floor, never for "mm-hm"',
    "input_audio_buffer.speech_stopped": "once the turn is decided: a pause within it is not its end",
    "input_audio_buffer.timeout_triggered": "",
    "output_audio_buffer.started": "WebRTC",
    "output_audio_buffer.stopped": "WebRTC",
    "output_audio_buffer.cleared": "WebRTC",
    "response.created": "",
    "response.done": "`usage` counts words as tokens of text, 50 ms of sound as one of audio; input is not counted",
    "response.output_item.added": "",
    "response.output_item.done": "",
    "response.content_part.added": "",
    "response.content_part.done": "",
    "response.output_text.delta": "",
    "response.output_text.done": "",
    "response.output_audio_transcript.delta": "a word each",
    "response.output_audio_transcript.done": "of a cancelled response: what was heard",
    "response.output_audio.delta": "WebSocket",
    "response.output_audio.done": "",
    "response.function_call_arguments.delta": "",
    "response.function_call_arguments.done": "",
    "rate_limits.updated": "empty: there are none",
}
"""Server events, and what is particular about them here."""

BETA = "of the beta API; nobody sends it any more"
MCP = "tools of MCP servers are not called here"

UNSENT: Final[Mapping[str, str]] = {
    "conversation.created": BETA,
    "conversation.item.created": BETA,
    "conversation.item.input_audio_transcription.segment": "speakers are not told apart",
    "input_audio_buffer.dtmf_event_received": "there is no telephone",
    "mcp_list_tools.in_progress": MCP,
    "mcp_list_tools.completed": MCP,
    "mcp_list_tools.failed": MCP,
    "response.mcp_call_arguments.delta": MCP,
    "response.mcp_call_arguments.done": MCP,
    "response.mcp_call.in_progress": MCP,
    "response.mcp_call.completed": MCP,
    "response.mcp_call.failed": MCP,
}
"""Server events that are never sent, and why."""

VAD = "audio.input.turn_detection"
HEARD = "audio.input.transcription"

SESSION: Final[Mapping[str, tuple[str, str]]] = {
    "type": (SUPPORTED, "cannot change: `?intent=transcription` opens a transcription session"),
    "model": (IGNORED, "any name, and always the model that runs"),
    "output_modalities": (SUPPORTED, '`["audio"]` or `["text"]`'),
    "instructions": (SUPPORTED, "at first the server's own"),
    "audio": (SUPPORTED, ""),
    "audio.input": (SUPPORTED, ""),
    "audio.input.format": (SUPPORTED, "PCM at 8 to 48 kHz, default 24; G.711; without effect over WebRTC"),
    "audio.input.noise_reduction": (IGNORED, ""),
    HEARD: (SUPPORTED, "null: words are recognised all the same, but not told"),
    f"{HEARD}.model": (IGNORED, ""),
    f"{HEARD}.language": (IGNORED, "the recogniser finds out"),
    f"{HEARD}.languages": (IGNORED, ""),
    f"{HEARD}.prompt": (IGNORED, ""),
    f"{HEARD}.keywords": (IGNORED, ""),
    f"{HEARD}.delay": (IGNORED, ""),
    VAD: (SUPPORTED, "default `semantic_vad`; null: the client commits"),
    f"{VAD}.type": (SUPPORTED, "`semantic_vad` asks the turn detector, `server_vad` goes by silence alone"),
    f"{VAD}.threshold": (SUPPORTED, ""),
    f"{VAD}.prefix_padding_ms": (SUPPORTED, ""),
    f"{VAD}.silence_duration_ms": (SUPPORTED, "default 500"),
    f"{VAD}.idle_timeout_ms": (SUPPORTED, ""),
    f"{VAD}.eagerness": (SUPPORTED, "low: pauses may be twice as long; high: 0.6 times; at most 8, 4 and 2 s"),
    f"{VAD}.create_response": (SUPPORTED, ""),
    f"{VAD}.interrupt_response": (SUPPORTED, ""),
    "audio.output": (SUPPORTED, ""),
    "audio.output.format": (SUPPORTED, "as for input"),
    "audio.output.voice": (SUPPORTED, "one of the server's; OpenAI's names all mean the default voice"),
    "audio.output.speed": (SUPPORTED, ""),
    "tools": (SUPPORTED, "functions; MCP servers are accepted and ignored"),
    "tool_choice": (SUPPORTED, "an MCP tool is accepted and ignored"),
    "parallel_tool_calls": (IGNORED, "the model decides"),
    "max_output_tokens": (SUPPORTED, "more than OpenAI's 4096 too"),
    "truncation": (
        SUPPORTED,
        "`auto`: as many exchanges as the server's settings say, if they fit; `disabled`: all, and `prompt_too_long` once they "
        "do not fit; `retention_ratio`: of what fits so much stays; `token_limits` is accepted and ignored",
    ),
    "tracing": (IGNORED, ""),
    "prompt": (IGNORED, ""),
    "reasoning": (IGNORED, ""),
    "include": (IGNORED, ""),
}
"""The fields of a session, as a client sets them."""

RESPONSE: Final[Mapping[str, tuple[str, str]]] = {
    "conversation": (SUPPORTED, "`none`: beside the conversation, four at once"),
    "input": (SUPPORTED, "references too; audio is refused, images too"),
    "instructions": (SUPPORTED, ""),
    "output_modalities": (SUPPORTED, ""),
    "audio": (SUPPORTED, ""),
    "audio.output": (SUPPORTED, ""),
    "audio.output.format": (SUPPORTED, ""),
    "audio.output.voice": (SUPPORTED, ""),
    "tools": (SUPPORTED, ""),
    "tool_choice": (SUPPORTED, ""),
    "max_output_tokens": (SUPPORTED, ""),
    "metadata": (SUPPORTED, "echoed"),
    "parallel_tool_calls": (IGNORED, ""),
    "prompt": (IGNORED, ""),
    "reasoning": (IGNORED, ""),
}
"""The fields of a response.create."""

BOUNDS: Final[Mapping[str, str]] = {
    "a message": f"{Limits().message_bytes:,} bytes (`limits.message_bytes`); {MOST_MARKS:,} commas and opening brackets, of "
    "which sound in base64 has none",
    "an event": f"{MOST_VALUES:,} values in its lists and objects; {' and '.join(f'`{name}`' for name in SCHEMAS)} of a tool "
    "are not counted",
    "any list or object": f"{MOST_ENTRIES} elements or fields",
    "`session.update`": f"{UPDATE_CHARS:,} characters",
    "`metadata` of a response": f"{MOST_METADATA} pairs of {KEY_CHARS} and {VALUE_CHARS} characters",
    "text of an item": f"{TEXT_CHARS:,} characters",
    "sound of an item": f"{Patience().longest_turn_s:g} s (`patience.longest_turn_s`); {WAITING_S:g} s of a session's may wait "
    "to be understood",
    "`event_id`, and an item's `id`": f"{EVENT_ID_CHARS} and {ID_CHARS} characters",
}
"""What one event may hold at most, lest the time that it takes be everybody's."""

OPENED: Final = ("audio", "input", "output", "turn_detection", "transcription")
"""Fields whose own fields have rows: in all others whole objects are done, or not."""


def server_types() -> tuple[str, ...]:
    """Of all server events that the SDK knows."""
    return tuple(kind_of(model) for model in get_args(get_args(RealtimeServerEvent)[0]))


def fields_of(model: type[BaseModel], path: str = "") -> Iterator[str]:
    for name, field in model.model_fields.items():
        yield path + name
        for part in _models(field.annotation) if name in OPENED and path + name != "input" else ():
            yield from fields_of(part, f"{path}{name}.")


def _models(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    elif get_origin(annotation) in (Union, UnionType, Annotated):
        for part in get_args(annotation):
            yield from _models(part)


def reference() -> dict[str, str]:
    """The generated parts of the page by the name of their marker, as Markdown tables."""
    done = {kind_of(model) for model in RECEIVED}
    received = [(f"`{name}`", SUPPORTED if name in done else REFUSED, MEANINGS.get(name, "")) for name in CLIENT]
    sent = [(f"`{name}`", "sent", meaning) for name, meaning in SENT.items()]
    unsent = [(f"`{name}`", "never sent", why) for name, why in UNSENT.items()]
    return {
        "realtime client": _table(("client event", "", "here"), received),
        "realtime server": _table(("server event", "", "here"), [*sent, *unsent]),
        "realtime bounds": _table(("what", "at most"), list(BOUNDS.items())),
        "realtime errors": _table(("`code`", "why"), [(f"`{code}`", why) for code, why in CODES.items()]),
        "realtime extensions": _table(("event", "fields", "meaning"), [_extension_row(name) for name in EXTENSIONS]),
        "realtime session": _table(
            ("field of a session", "", "here"), _field_rows(SESSION, RealtimeSessionCreateRequest)
        ),
        "realtime response": _table(
            ("field of a response", "", "here"), _field_rows(RESPONSE, RealtimeResponseCreateParams)
        ),
    }


def refreshed(page: str) -> str:
    """The page with the text between each `<!-- NAME -->` and `<!-- /NAME -->` made anew."""
    for name, table in reference().items():
        before, rest = page.split(f"<!-- {name} -->\n", 1)
        _, after = rest.split(f"<!-- /{name} -->", 1)
        page = f"{before}<!-- {name} -->\n{table}<!-- /{name} -->{after}"
    return page


def _field_rows(done: Mapping[str, tuple[str, str]], model: type[BaseModel]) -> list[Row]:
    """In the order of the SDK; what only holds others has no row."""
    paths = list(dict.fromkeys(fields_of(model)))
    return [
        (f"`{path}`", *_described(path, *done[path]))
        for path in paths
        if path not in ("audio", "audio.input", "audio.output")
    ]


def _extension_row(name: str) -> Row:
    extension = EXTENSIONS[name]
    return f"`duologue.{name}`", ", ".join(f"`{field}`" for field in extension.fields), extension.meaning


def _described(path: str, status: str, meaning: str) -> Row:
    if path not in RANGES:
        return status, meaning
    low, high = RANGES[path]
    return status, "; ".join(part for part in (meaning, f"{low:.10g} to {high:.10g}") if part)


def _table(head: Row, rows: Sequence[Row]) -> str:
    lines = [head, ("---",) * len(head), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


if __name__ == "__main__":
    page = Path(sys.argv[1])
    page.write_text(refreshed(page.read_text(encoding="utf-8")), encoding="utf-8")
