"""A call to oneself: it connects, or says why not."""

from __future__ import annotations

import asyncio
import sys

import pytest
from dialogue import lineup

from duologue.app import App
from duologue.config import Config
from duologue.errors import ClientError
from duologue.loopback import ring


def test_a_call_to_oneself_is_told_ready_and_hears_sound() -> None:
    pytest.importorskip("aiortc")
    assert asyncio.run(ring(App(Config(), lineup()))) == (
        "a call to oneself: 'ready' on its channel, sound at 48000 Hz on its track"
    )


def test_without_the_extra_it_says_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "aiortc", None)
    with pytest.raises(ClientError) as caught:
        asyncio.run(ring(App(Config(), lineup())))
    assert caught.value.code == "webrtc_not_installed"
    assert "`webrtc`" in caught.value.message
