"""Names of models. One set of engines runs; whatever clients of OpenAI's API call a model is another name for it."""

from __future__ import annotations

import re
from typing import Any

from duologue.errors import ClientError

ALIASES = (
    "gpt-realtime",
    "gpt-realtime-1.5",
    "gpt-realtime-2",
    "gpt-realtime-2.1",
    "gpt-realtime-2.1-mini",
    "gpt-realtime-mini",
    "gpt-4o-realtime-preview",
    "gpt-4o-mini-realtime-preview",
    "gpt-realtime-whisper",
    "gpt-4o-mini-tts",
    "tts-1",
    "tts-1-hd",
    "gpt-transcribe",
    "gpt-4o-transcribe",
    "gpt-4o-mini-transcribe",
    "whisper-1",
)
"""Those that openai-python's types name for conversation, speech and transcription; each also with a date after it."""

_DATE = re.compile(r"-\d{4}-\d{2}-\d{2}$")


def own_name(profile: str) -> str:
    return f"duologue-{profile}"


def check_model(name: str, profile: str) -> None:
    """Raises `ClientError` (model_not_found)."""
    if name != own_name(profile) and _DATE.sub("", name) not in ALIASES:
        known = ", ".join((own_name(profile), *ALIASES))
        raise ClientError("model_not_found", f"there is no model {name[:80]!r} here; there is: {known}")


def model(name: str, created: int) -> dict[str, Any]:
    """`created` in seconds since 1970."""
    return {"id": name, "object": "model", "created": created, "owned_by": "duologue"}


def models(profile: str, created: int) -> dict[str, Any]:
    return {"object": "list", "data": [model(name, created) for name in (own_name(profile), *ALIASES)]}
