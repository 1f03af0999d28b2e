"""llama.cpp's own HTTP server with the packaged model, on loopback: a real endpoint for the writers that need one."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import xllamacpp

from duologue.engines import llama_server

TEMPLATE = """\
{%- if messages[0].role == 'system' or tools %}{{- '<|im_start|>system\\n' }}
{%- if messages[0].role == 'system' %}{{- messages[0].content + '\\n' }}{%- endif %}
{%- for tool in tools or [] %}{{- (tool | tojson) + '\\n' }}{%- endfor %}{{- '<|im_end|>\\n' }}{%- endif %}
{%- for message in messages %}
{%- if message.role == 'tool' %}{{- '<|im_start|>system\\nAnswer with this information: ' }}
{%- elif message.role != 'system' %}{{- '<|im_start|>' + message.role + '\\n' }}{%- endif %}
{%- if message.role != 'system' %}
{%- if message.content %}{{- message.content }}{%- endif %}
{%- for call in message.tool_calls or [] %}
{{- '@{"name": "' + call.function.name + '", "arguments": ' + (call.function.arguments | tojson) + '}@@' }}
{%- endfor %}{{- '<|im_end|>\\n' }}{%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}{{- '<|im_start|>assistant\\n' }}{%- endif %}"""
"""The packaged model's own, with tools. llama.cpp learns from it that a call begins with "@", and how it goes on."""

PUSHED = {"logit_bias": [["@", 100]]}
"""In a request: the model begins with a call, which it is too small to do by itself. One after the other until `max_tokens`.
Where a tool's arguments can have no "@", nothing else changes."""


@contextmanager
def serving(folder: Path, slots: int = 2) -> Iterator[str]:
    """The base URL of the chat endpoint. All requests must be over when it ends."""
    parameters = llama_server.parameters_of(llama_server.weights(folder), slots, 1_024, threads=1, reading_threads=2)
    parameters.hostnames, parameters.port = ["127.0.0.1"], 0
    parameters.n_threads_http = 4
    parameters.endpoint_slots = True
    parameters.chat_template = TEMPLATE
    with llama_server.signals_kept():
        server = xllamacpp.Server(parameters)
    yield f"{server.listening_address}/v1"
    del server


def slots(base_url: str) -> list[dict[str, Any]]:
    """Blocking: what each of the server's slots does."""
    with urlopen(base_url.removesuffix("/v1") + "/slots", timeout=10) as answer:
        found: list[dict[str, Any]] = json.load(answer)
        return found
