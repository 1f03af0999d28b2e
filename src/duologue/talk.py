"""`duologue talk`: recorded turns, or a microphone, through the same session as the server's, in real time.

Prints a transcript with each turn's waterfall, or one JSON object a turn; what goes wrong with one turn is said there, and
the conversation goes on.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import numpy as np

from duologue import microphone, profiles
from duologue.app import App
from duologue.audio import INPUT_RATE, OUTPUT_RATE, Audio, read_audio, resample, write_wav
from duologue.caller import Caller, Exchange
from duologue.config import Config
from duologue.errors import ClientError, ConfigError
from duologue.replay import waterfall
from duologue.trace import Waterfall

PAUSE_S: Final = 0.3
"""Between a reply and the next file: as long as the lead-in of a turn, which should not hold the end of the file before."""


def run(config: Config, files: Sequence[Path], out: Path | None, as_json: bool) -> int:
    """0, or 1 if a turn got no answer. Raises `ClientError` for the first file that cannot be used, once all before it
    have been talked, and `ConfigError`."""
    turns, fault = read_turns(files)
    if fault is not None and not turns:
        raise fault
    with _written(out) as replies, warm(config) as app:
        failed = asyncio.run(talk(app, turns, _as_json if as_json else as_text, replies))
    if fault is not None:
        raise fault
    return int(failed)


def run_microphone(config: Config) -> int:
    """Until Ctrl-C. Raises `ConfigError`: mic_not_installed, no_microphone."""
    devices = microphone.devices()
    with warm(config) as app:
        asyncio.run(microphone.converse(app, devices))
    return 0


@contextmanager
def warm(config: Config) -> Iterator[App]:
    """An App with its engines loaded; warnings go to stderr. Raises the loading engine's `DuologueError`."""
    loaded = profiles.load(config, pull=True)
    for warning in loaded.warnings:
        print(f"warning: {warning}", file=sys.stderr)
    try:
        yield App(config, loaded)
    finally:
        loaded.close()


async def talk(app: App, turns: Iterable[Audio], show: Any, replies: list[Audio]) -> bool:
    """Whether a turn got no answer. Each reply's sound, as far as it was played, is added to `replies`."""
    failed = False
    async with Caller(app) as caller:
        for turn in turns:
            await caller.speak(np.zeros(round(PAUSE_S * INPUT_RATE), np.float32))
            exchange = await caller.say(turn)
            failed = failed or exchange.failure is not None
            replies += [reply.playback.samples for reply in exchange.replies]
            print(show(exchange), flush=True)
    return failed


def read_turns(files: Sequence[Path]) -> tuple[list[Audio], ClientError | None]:
    """The files at 16 kHz, up to the first that cannot be used, and what is wrong with that one."""
    turns: list[Audio] = []
    for path in files:
        try:
            turns.append(_read(path))
        except ClientError as error:
            return turns, ClientError(error.code, f"{path}: {error.message}")
    return turns, None


def _read(path: Path) -> Audio:
    if not path.exists():
        raise ClientError("no_such_file", "there is no such file")
    samples, rate = read_audio(path)
    if not np.isfinite(samples).all():
        raise ClientError("unreadable_audio", "it has samples that are no numbers")
    return resample(samples, rate, INPUT_RATE)


@contextmanager
def _written(out: Path | None) -> Iterator[list[Audio]]:
    """A list whose sounds are in the file `out`, one after the other, whatever happens meanwhile."""
    sounds: list[Audio] = []
    if out is None:
        yield sounds
        return
    try:
        with out.open("wb") as file:  # at once: who cannot write should not have to talk first
            try:
                yield sounds
            finally:
                write_wav(file, np.concatenate([np.zeros(0, np.float32), *sounds]), OUTPUT_RATE)
    except OSError as error:
        raise ConfigError("cannot_write", f"{out}: {error.strerror or error}") from error


# ── What is printed ───────────────────────────────────────────────────────────────────────────────────────────────────


def report(exchange: Exchange) -> dict[str, Any]:
    """One turn, JSON-ready; docs/cli.md describes each field."""
    reply, failure = exchange.reply, exchange.failure
    told: dict[str, Any] = {
        "user": exchange.user,
        "assistant": reply.text.strip() if reply else "",
        "language": reply.language if reply else "",
        "speaker": reply.speaker if reply else "",
        "interrupted": any(each.interrupted for each in exchange.replies),
        "gaps": sum(each.playback.gaps for each in exchange.replies),
        "gap_s": round(sum(each.playback.gap_s for each in exchange.replies), 3),
        "audio_s": round(sum(each.playback.seconds for each in exchange.replies), 3),
        "latency_ms": reply.latency_ms() if reply else None,
    }
    if failure is not None:
        told["error"] = {"code": failure.code, "message": failure.message}
    return told


def _as_json(exchange: Exchange) -> str:
    return json.dumps(report(exchange), ensure_ascii=False)


def as_text(exchange: Exchange) -> str:
    """The same for people: who said what, and the waterfall under it."""
    told = report(exchange)
    lines = [f"You:   {told['user'] or '(nothing was understood)'}"]
    if told["assistant"]:
        lines.append(f"Reply: {told['assistant']}")
        lines.append(f"       {_facts(told)}")
    if told["latency_ms"] and told["latency_ms"]["voice_to_voice"] is not None:
        lines.append(f"       {waterfall(_parts(told['latency_ms']))}")
    if "error" in told:
        lines.append(f"Error: {told['error']['message']} [{told['error']['code']}]")
    return "\n".join(lines) + "\n"


def _facts(told: Mapping[str, Any]) -> str:
    gaps = f"{told['gaps']} gaps" if told["gaps"] else "no gap"
    cut = ["interrupted"] if told["interrupted"] else []
    spoken = [told["language"], *([told["speaker"]] if told["speaker"] else [])]
    return ", ".join([*spoken, f"{told['audio_s']:.1f} s of sound", gaps, *cut])


def _parts(latency_ms: Mapping[str, float | None]) -> dict[str, float]:
    return Waterfall(0.0, {stage: ms for stage, ms in latency_ms.items() if ms is not None}).parts()
