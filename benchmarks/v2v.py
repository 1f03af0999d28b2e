"""Every recorded question, spoken to the session in real time: how soon it answers, what it heard, how the reply sounds.

Over the native WebSocket to a server in a process of its own, as people meet it; or straight to a session of this process, which
shows what the wire and the client cost. The limits are those of a clearly finished turn.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from benchmarks.cuts import Cut, cut
from benchmarks.figures import Figure
from benchmarks.recordings import Recording
from benchmarks.remote import Remote
from benchmarks.servers import serving
from benchmarks.wer import wer
from duologue.app import App
from duologue.audio import FRAME_SAMPLES, INPUT_RATE, resample
from duologue.caller import Caller, Exchange, Host, Reply
from duologue.config import Config
from duologue.engines import Recognizer, one_clip
from duologue.talk import as_text

PAUSE_S = 0.3
"""Between the reply and the next question; see `duologue.talk`."""

BREATH_S = 0.1
"""Right after a last word there is breath, and energy cannot tell it from voice."""

ROADS: Final = ("native", "core")
"""What the other roads add to the first one is the benchmark `roads`."""

NEEDS: Final = 60
"""Turns, under which a limit is not kept: below twenty values a p95 is the worst one."""

VOICE_TO_VOICE_MS: Final[Mapping[str, float]] = {"median": 300.0, "p95": 600.0}
TTFT_MS: Final[Mapping[str, float]] = {"median": 50.0, "p95": 100.0}
CUT_OFF: Final = 0.02
"""In mid-sentence, of the turns."""


@dataclass(frozen=True)
class Measured:
    recording: Recording
    exchange: Exchange
    voice_ended_at: float
    """By energy, on the loop's clock: what the session thinks has no part in it."""
    read_back: str | None = None
    """What is heard in the reply; None if nobody listened."""

    @property
    def cut(self) -> Cut | None:
        """Where the user was cut off, the worst of it: something was decided, or heard, before the last voiced sample; also
        where the session made up for it."""
        ended_at = self.voice_ended_at - BREATH_S
        heard = [self._heard_by(reply) for reply in self._replies() if _began_at(reply) < ended_at]
        cuts = {cut(self.recording.said, words) for words in heard}
        return next((each for each in Cut if each in cuts), None)

    def _heard_by(self, reply: Reply) -> str:
        """All words that were taken for the user's when this reply was decided."""
        before = [each.user for each in self.exchange.replies if each.decided_at < reply.decided_at]
        return " ".join([*before, reply.user])

    def _replies(self) -> list[Reply]:
        return [*self.exchange.replies, *self.exchange.withdrawn]

    def ms(self, at: float | None) -> float | None:
        return None if at is None else (at - self.voice_ended_at) * 1000


async def run(app: App, recordings: Sequence[Recording], turns: int, listen_s: float) -> list[Figure]:
    """`turns` questions a conversation; of each reply `listen_s` are heard, then a button is pressed."""
    measured = await _conversations(app, recordings, turns, listen_s)
    assert app.lineup is not None
    texts = [await _read_back(app.lineup.recognizer, each.exchange.reply) for each in measured]
    return figures([replace(each, read_back=text) for each, text in zip(measured, texts, strict=True)])


async def run_native(
    settings: Mapping[str, str], config: Config, recordings: Sequence[Recording], turns: int, listen_s: float
) -> list[Figure]:
    """The same over a WebSocket, with a server of these `settings` (environment), which make `config`. Nothing is read back."""
    async with serving(settings) as server:
        return figures(await _conversations(Remote(server.address, config), recordings, turns, listen_s))


async def _conversations(host: Host, recordings: Sequence[Recording], turns: int, listen_s: float) -> list[Measured]:
    measured: list[Measured] = []
    for first in range(0, len(recordings), turns):
        measured += await _conversation(host, recordings[first : first + turns], listen_s)
    return measured


async def _conversation(app: Host, recordings: Sequence[Recording], listen_s: float) -> list[Measured]:
    measured = []
    async with Caller(app) as caller:
        for recording in recordings:
            await caller.speak(np.zeros(round(PAUSE_S * INPUT_RATE), np.float32))
            voice_ended_at = caller.position_at + recording.ends_s
            exchange = await caller.say(recording.samples, listen_s)
            measured.append(Measured(recording, exchange, voice_ended_at))
            cut_off = f" [{where.value}]" if (where := measured[-1].cut) else ""
            print(f"{recording.name}{cut_off}: {recording.said}\n{as_text(exchange)}", file=sys.stderr, flush=True)
    return measured


def figures(measured: Sequence[Measured]) -> list[Figure]:
    replies = [reply for each in measured if (reply := each.exchange.reply) is not None]
    return [*_latency(measured, replies), *_heard(measured), *_spoken(measured, replies)]


def _latency(measured: Sequence[Measured], replies: Sequence[Reply]) -> Iterator[Figure]:
    by_energy = [ms for m in measured if (r := m.exchange.reply) and (ms := m.ms(r.playback.audible_at)) is not None]
    marks = [reply.latency_ms() for reply in replies]
    stages = {name: [ms for each in marks if (ms := each[name]) is not None] for name in (marks[0] if marks else ())}
    limits = VOICE_TO_VOICE_MS
    yield Figure("voice to voice", "ms", stages.pop("voice_to_voice", []), at_most=limits, needs=NEEDS)
    yield Figure("voice to voice, by energy", "ms", by_energy, at_most=limits, needs=NEEDS)
    yield from (Figure(f"  {name}, from the voice's end", "ms", values) for name, values in stages.items())
    ttft = [(reply.words[0][0] - reply.decided_at) * 1000 for reply in replies if reply.words]
    yield Figure("turn decided to first word", "ms", ttft, at_most=TTFT_MS, needs=NEEDS)
    off = [(reply.voice_ended_at - m.voice_ended_at) * 1000 for m in measured if (reply := m.exchange.reply)]
    yield Figure("voice's end, session less energy", "ms", off)


def _heard(measured: Sequence[Measured]) -> Iterator[Figure]:
    cuts = {where: [float(each.cut is where) for each in measured] for where in Cut}
    for where, cut_off in cuts.items():
        limits = {"overall": CUT_OFF} if where is Cut.MID_SENTENCE else {}
        yield Figure(where.value, "share", cut_off, _mean(cut_off), limits, needs=NEEDS)
    pairs = [(each.recording.said, each.exchange.user) for each in measured]
    yield Figure("transcript WER", "ratio", [wer([pair]) for pair in pairs], wer(pairs), {"overall": 0.15})


def _spoken(measured: Sequence[Measured], replies: Sequence[Reply]) -> Iterator[Figure]:
    silent = [float(m.exchange.reply is None or m.exchange.reply.playback.audible_at is None) for m in measured]
    yield Figure("replies not audible", "share", silent, _mean(silent), {"overall": 0.0})
    heard = [(each.exchange.reply, each.read_back) for each in measured]
    if pairs := [(reply.text, text) for reply, text in heard if reply is not None and text is not None]:
        yield Figure("reply read back, WER", "ratio", [wer([pair]) for pair in pairs], wer(pairs), {"overall": 0.20})
    gaps = [float(reply.playback.gaps) for reply in replies]
    yield Figure("gaps in a reply", "count", gaps, sum(gaps), {"overall": 0.0})
    yield Figure("reply heard", "s", [reply.playback.seconds for reply in replies])


def _began_at(reply: Reply) -> float:
    return min(reply.decided_at, reply.playback.audible_at or reply.decided_at)


async def _read_back(recognizer: Recognizer, reply: Reply | None) -> str:
    """What the recogniser hears in the words of the reply that count as heard."""
    if reply is None or not reply.playback.seconds:
        return ""
    playback, text = reply.playback, ""
    ends_ms = max((end for _, end in playback.words if end <= playback.seconds * 1000), default=0.0)
    sound = resample(playback.samples[: round(ends_ms * playback.rate / 1000)], playback.rate, INPUT_RATE)
    padded = np.append(sound, np.zeros(-len(sound) % FRAME_SAMPLES + 4 * FRAME_SAMPLES, np.float32))
    async with aclosing(recognizer.transcribe(one_clip(padded))) as transcripts:  # type: ignore[type-var]
        async for transcript in transcripts:
            text = transcript.text
    return text


def _mean(values: Sequence[float]) -> float | None:
    return sum(values) / len(values) if values else None
