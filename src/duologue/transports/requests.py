"""The bodies of HTTP requests, bounded, and read in each of the shapes in which clients send them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request

from duologue.errors import ClientError
from duologue.transports.openai_http import bounded

BODY_BYTES = 256_000
"""An offer has some 3,000, with cameras 20,000; a session's configuration may hold long instructions and many tools."""


async def body_of(request: Request) -> bytes:
    """Raises `ClientError`: too_large, upload_stalled, client_gone."""
    try:
        return await bounded(request, BODY_BYTES).body()
    except ClientDisconnect:
        raise ClientError("client_gone", "the request broke off") from None


async def json_of(request: Request) -> dict[str, Any]:
    """An empty body is an empty object. Raises `ClientError`: bad_json, not_an_object, and those of `body_of`."""
    return _object(_text(await body_of(request) or b"{}"))


async def sdp_of(request: Request) -> str:
    """Raises `ClientError`: bad_sdp, and those of `body_of`."""
    return _text(await body_of(request), "bad_sdp")


async def offer_of(request: Request) -> tuple[str, Mapping[str, Any] | None]:
    """An SDP offer, and the configuration of the session where the body is a form with both.

    Raises `ClientError`: bad_form, and those of the others.
    """
    if not request.headers.get("content-type", "").startswith("multipart/form-data"):
        return await sdp_of(request), None
    try:
        async with bounded(request, BODY_BYTES).form(max_files=2, max_fields=2, max_part_size=BODY_BYTES) as form:
            sdp, session = [await _part(form.get(name)) for name in ("sdp", "session")]
    except HTTPException as error:
        raise ClientError("bad_form", f"the form cannot be read: {error.detail}") from None
    except ClientDisconnect:
        raise ClientError("client_gone", "the request broke off") from None
    if sdp is None:
        raise ClientError("bad_form", "the form has no part named sdp")
    return sdp, None if session is None else _object(session)


async def _part(part: UploadFile | str | None) -> str | None:
    """A field, or a file: which of them it is depends on whether the client named a file."""
    if not isinstance(part, UploadFile):
        return part
    return _text(await part.read(), "bad_form")


def _text(data: bytes, code: str = "bad_json") -> str:
    try:
        return data.decode()
    except UnicodeDecodeError:
        raise ClientError(code, "the body is not UTF-8") from None


def _object(text: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        raise ClientError("bad_json", "the session's configuration is not JSON") from None
    if not isinstance(value, dict):
        raise ClientError("not_an_object", "the session's configuration must be a JSON object")
    return value
