"""What every voice must do. All installed speakers go through this, a stranger's too: it is enough to register an entry point in
the group `duologue.speaker` (and to add the language of its voice to `GREETINGS` if it is not there).
"""

from __future__ import annotations

import asyncio
import gc
import threading
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator
from contextlib import aclosing, asynccontextmanager, contextmanager
from math import inf
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import tiny_voices

from duologue import config
from duologue.audio import MAX_RATE, MIN_RATE
from duologue.engines import Loading, Sound, Speaker, Style, registry
from duologue.errors import ConfigError, EngineError
from duologue.models import open_store
from duologue.places.thread import Lane

AUDIBLE = 0.01
"""-40 dBFS."""

CANCEL_S = {"token": 0.5, "chunk": 2.0, "sentence": 4.0, "kill": 4.0}
"""How long after `aclose` another reply's first sound may take, on a slow and busy machine; see `clock_of`."""

GREETINGS = {
    "en": "Good morning, my friend.",
    "hi": "नमस्ते, मेरे दोस्त।",
    "es": "Buenos días, ¿qué tal?",
    "ms": "Selamat pagi, kawan saya.",
    "ta": "காலை வணக்கம், நண்பா.",
    "te": "శుభోదయం, మిత్రమా.",
    "mr": "शुभ सकाळ, माझ्या मित्रा.",
}

LONG = "I would suggest that you take the early train, because the later one is often crowded and late."

SPOKEN = [
    "0",
    "7",
    "1,000,000",
    "3.14159",
    "-40°C",
    "1/2 ½ ²",
    "10:30 pm",
    "2024-05-01",
    "+1-555-0100",
    "$4.50, €3, £2 and ¥100",
    "50%",
    "5 + 3 = 8",
    "3 < 5 > 2",
    "C++ & C#",
    "Dr. Smith vs. the U.S., e.g. No. 5",
    "I'm can't won't 'tis",
    "I’m “quoted” and ‘so’ on",
    "WHY ARE YOU SHOUTING",
    "tHe QuIcK",
    "a",
    "hello",
    "hello\n\n\n\nworld",
    "  leading and trailing  ",
    "tabs\tand\r\nlines\x0b\x0c",
    "zero\x00byte",
    "\x1b[31mred\x1b[0m",
    "bell\x07 and \x7f delete",
    "soft\u00adhyphen zero\u200bwidth",
    "no\u00a0break\u202fspace",
    "\ufeffmark first",
    "\u202eright to left\u202c",
    "half a pair \ud83d here",
    "e\u0301\u0302\u0303\u0304\u0305\u0306 zalgo",
    "𝓗𝓮𝓵𝓵𝓸 Ｗｉｄｅ",
    "hello 🙂 there",
    "👨‍👩‍👧‍👦 family 🇮🇳",
    "**bold** _it_ `code` ~~no~~",
    "# Heading\n\n- one\n- two\n\n1. three",
    "| a | b |\n|---|:-:|\n| 1 | 2 |",
    "```python\nprint(1)\n```",
    "[a link](https://example.org/very/long?query=1#x)",
    "https://www.example.org/a_b?c=%20",
    "mail me@example.org",
    "<speak>hi <break time='20s'/></speak>",
    '<prosody rate="x-slow">slow</prosody>',
    "&lt;b&gt; &amp; more",
    "[[h@l@U]] phonemes",
    "[[ unclosed",
    "{curly} \\back\\slash ^caret",
    "$PATH `rm -rf` %s %d {0}",
    "wait... what?!?! no—yes…",
    "Nooooooooooooooooo!!!!!!!!!",
    "ha ha ha ha ha ha ha ha",
    "snake_case camelCase kebab-case",
    "I said नमस्ते to Привет",
    "café naïve Zoë Ångström",
    "مرحبا hello",
    "שלום hello",
    "你好 hello",
    "x" * 10_000,
    "hello" + " " * 10_000 + "there",
    "🙂" * 2_000 + "yes",
]
"""Awkward, but each has something to say."""

UNSPOKEN = [
    "",
    " ",
    "\n\n",
    ".",
    "...",
    "?!",
    "—",
    "🙂",
    "👨‍👩‍👧 🇮🇳",
    "** __ ~~",
    "|---|---|",
    "\x00\x01",
    "\u200b",
    "\ud83d",
    ". " * 500,
]
"""Nothing in them is a word."""

RESPELLS = "scripted hums any character and has no text to clean"

MOST_CHARS = 1_000
"""Of what a voice of random weights is given: the longest texts are many runs, minutes of nothing."""

SHORTEST = 5
"""Characters: libraries fail on what is short sooner than on what is odd, so the slow voices are given all of those."""


def engines() -> Iterator[object]:
    only = tiny_voices.REQUIRED - {"required"}
    for name in registry.names("speaker"):
        if only and name not in only:
            continue
        marks = [] if name == "scripted" else [pytest.mark.models]
        if name in tiny_voices.RANDOM:
            marks.append(pytest.mark.filterwarnings("ignore"))  # their libraries': deprecations by the dozen
        yield pytest.param(name, marks=marks)


def model(name: str) -> Path:
    return open_store(config.load().models).folder(name)


@contextmanager
def settings(name: str, folder: Path) -> Iterator[dict[str, Any]]:
    """What a voice must be told. Those of `tiny_voices.RANDOM`: where small random weights are. Kokoro: where a
    graph like it is that hums, unless its own weights are required, which are quick enough only for a job of their own."""
    if name in tiny_voices.RANDOM:
        tiny_voices.need(name, module=False)
        with tiny_voices.small(name, folder) as table:
            yield table
    elif name == "kokoro" and not tiny_voices.absent(name) and name not in tiny_voices.REQUIRED:
        yield {"model": str(tiny_voices.make_kokoro(folder / "kokoro"))}
    elif name == "openai_speech":
        from vllm_wire import elsewhere  # here: in a voice's environment there are no servers

        with elsewhere(own_server()) as url:
            yield {"base_url": url, "model": "gpt-4o-mini-tts", "voice": "alloy"}
    else:
        yield {}


@asynccontextmanager
async def own_server() -> AsyncIterator[str]:
    """This program's `/v1/audio/speech`, with a voice that hums."""
    from openai_wire import SpeakingApp, serving

    async with serving(SpeakingApp()) as client:
        yield str(client.base_url)


@pytest.fixture(scope="module", params=engines())
def speaker(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Speaker]:
    name, lane = request.param, Lane(request.param)
    try:
        with settings(name, tmp_path_factory.mktemp("voice")) as table:
            yield cast(Speaker, registry.load("speaker", name, Loading(model, lane, table)))
    except ConfigError as error:
        if name in tiny_voices.REQUIRED:
            raise
        pytest.skip(error.message)
    finally:
        lane.close()


def makes_sense(speaker: Speaker) -> bool:
    """What it says can be judged: its weights were trained."""
    return speaker.about.name not in tiny_voices.RANDOM


def is_slow(speaker: Speaker) -> bool:
    """With the weights that it has here: Kokoro's own, and those whose size its library fixes, need a second for a text."""
    name = speaker.about.name
    return name in tiny_voices.SLOW or (name == "kokoro" and name in tiny_voices.REQUIRED)


def worth_its_time(speaker: Speaker, text: str) -> bool:
    """Of the awkward texts. Those that are slow get every fourth: what is cleaned away never reaches a library."""
    chosen = not is_slow(speaker) or len(text) <= SHORTEST or SPOKEN.index(text) % 4 == 0
    return chosen and (makes_sense(speaker) or len(text) <= MOST_CHARS)


async def pieces(*texts: str) -> AsyncIterator[str]:
    for text in texts:
        yield text


async def say(speaker: Speaker, *texts: str, style: Style) -> list[Sound]:
    return [sound async for sound in speaker.speak(pieces(*texts), style)]


async def first_sound(speaker: Speaker, style: Style, text: str = LONG) -> Sound:
    """Of a reply, which is given up then."""
    speech = cast(AsyncGenerator[Sound, None], speaker.speak(pieces(text), style))
    async with aclosing(speech) as sounds:
        async for sound in sounds:
            if len(sound.samples):
                return sound
    raise AssertionError("no sound at all")


def home(speaker: Speaker) -> Style:
    """A style in a language that this voice speaks: English if it can."""
    languages = speaker.about.languages
    return Style(language="en" if not languages or "en" in languages else min(languages))


def text_of(sounds: list[Sound]) -> str:
    return "".join(word.text for sound in sounds for word in sound.words)


def peak(sounds: list[Sound]) -> float:
    return max((float(np.abs(sound.samples).max()) for sound in sounds if len(sound.samples)), default=0.0)


def check(speaker: Speaker, sounds: list[Sound]) -> None:
    """Every Sound is what the seam says a Sound is."""
    for sound in sounds:
        assert sound.samples.dtype == np.float32
        assert sound.samples.ndim == 1
        assert np.isfinite(sound.samples).all()
        assert np.abs(sound.samples).max(initial=0.0) <= 1.0
        assert sound.rate == speaker.about.sample_rate
        ends = [word.end for word in sound.words]
        assert ends == sorted(ends)
        assert all(0 <= end <= len(sound.samples) for end in ends)


def test_it_says_truthfully_what_it_is(speaker: Speaker) -> None:
    assert speaker.about.name
    assert speaker.about.licence
    assert MIN_RATE <= speaker.about.sample_rate <= MAX_RATE
    assert speaker.about.cancel in CANCEL_S


def test_every_language_it_declares_is_heard_in_its_own_script(speaker: Speaker) -> None:
    for language in sorted(speaker.about.languages & GREETINGS.keys()):
        sounds = asyncio.run(say(speaker, GREETINGS[language], style=Style(language)))
        check(speaker, sounds)
        assert text_of(sounds) == GREETINGS[language]
        assert sum(len(sound.samples) for sound in sounds) > 0, language
        if makes_sense(speaker):
            assert peak(sounds) > AUDIBLE, language
            assert 0.5 < sum(sound.seconds for sound in sounds) < 6.0, language


def test_words_rejoin_over_several_pieces(speaker: Speaker) -> None:
    texts = ["Well, ", " 🙂 ", "in the end I paid $25 ", "for it. ", "\n"]
    sounds = asyncio.run(say(speaker, *texts, style=home(speaker)))
    check(speaker, sounds)
    assert text_of(sounds) == "".join(texts)


@pytest.mark.parametrize("text", SPOKEN, ids=lambda text: ascii(text)[:30])
def test_awkward_text_is_heard(speaker: Speaker, text: str) -> None:
    if speaker.about.name == "scripted" and len(text) > 1_000:
        pytest.skip(RESPELLS)
    if not worth_its_time(speaker, text):
        pytest.skip("too slow for this voice")
    style = home(speaker)
    sounds = asyncio.run(say(speaker, text, style=Style(style.language, speed=2.0)))
    check(speaker, sounds)
    assert text_of(sounds) == text
    if makes_sense(speaker):
        assert peak(sounds) > AUDIBLE
        assert sum(sound.seconds for sound in sounds) < 40.0


@pytest.mark.parametrize("text", UNSPOKEN, ids=lambda text: ascii(text)[:30])
def test_text_without_a_word_gives_its_text_back_and_no_sound(speaker: Speaker, text: str) -> None:
    if speaker.about.name == "scripted" and "_" in text:
        pytest.skip(RESPELLS)
    sounds = asyncio.run(say(speaker, text, style=home(speaker)))
    assert text_of(sounds) == text
    assert sum(len(sound.samples) for sound in sounds) == 0
    assert all(sound.rate == speaker.about.sample_rate for sound in sounds)


def test_markup_cannot_hold_the_voice_up(speaker: Speaker) -> None:
    if speaker.about.name == "scripted":
        pytest.skip(RESPELLS)
    if not makes_sense(speaker):
        pytest.skip("random weights hold it up by themselves")
    sounds = asyncio.run(say(speaker, "Hi <break time='20s'/> there.", style=home(speaker)))
    assert sum(sound.seconds for sound in sounds) < 10.0


def test_no_text_at_all_is_no_sound(speaker: Speaker) -> None:
    assert asyncio.run(say(speaker, style=home(speaker))) == []


def test_a_piece_is_said_before_the_next_is_there(speaker: Speaker) -> None:
    async def talk() -> str:
        heard = asyncio.Event()

        async def text() -> AsyncIterator[str]:
            yield "First this. "
            await asyncio.wait_for(heard.wait(), 60)
            yield "Then that."

        said = ""
        async for sound in speaker.speak(text(), home(speaker)):
            said += "".join(word.text for word in sound.words)
            if said == "First this. ":
                heard.set()
        return said

    assert asyncio.run(talk()) == "First this. Then that."


def test_a_voice_that_streams_gives_its_first_sound_early(speaker: Speaker) -> None:
    if speaker.about.streaming != "chunk":
        pytest.skip(f"{speaker.about.name} declares streaming: {speaker.about.streaming}")
    sounds = asyncio.run(say(speaker, LONG, style=home(speaker)))
    first = next(sound for sound in sounds if len(sound.samples))
    assert first.seconds < 0.5
    assert len(sounds) > 3


def test_two_replies_at_once_do_not_mix(speaker: Speaker) -> None:
    texts = ["One two three four.", "Good morning to all of you."]

    async def both() -> list[list[Sound]]:
        return await asyncio.gather(*(say(speaker, text, style=home(speaker)) for text in texts))

    together = asyncio.run(both())
    for text, sounds in zip(texts, together, strict=True):
        alone = asyncio.run(say(speaker, text, style=home(speaker)))
        assert text_of(sounds) == text
        assert sum(s.seconds for s in sounds) == pytest.approx(sum(s.seconds for s in alone), rel=0.05)


def clock_of(speaker: Speaker) -> Callable[[], float]:
    """What tells how long it goes on. Those that are slow or of random weights run in this process, so that what they still do is
    its own time: what a busy machine gives to others meanwhile is not counted."""
    return time.process_time if is_slow(speaker) or not makes_sense(speaker) else time.perf_counter


def test_closing_stops_the_work_within_the_declared_time(speaker: Speaker) -> None:
    """Closed in the middle of it, as early as it can be: beside the time that another reply needs of itself."""
    now = clock_of(speaker)

    async def first(text: str) -> float:
        start = now()
        await first_sound(speaker, home(speaker), text)
        return now() - start

    async def switch() -> float:
        alone = await first("Yes.")
        talking = asyncio.create_task(say(speaker, *[LONG] * 1_000, style=home(speaker)))
        await asyncio.sleep(0.2)
        talking.cancel()
        await asyncio.gather(talking, return_exceptions=True)
        return await first("Yes.") - alone

    took: list[float] = []
    while len(took) < 3 and min(took, default=inf) >= CANCEL_S[speaker.about.cancel]:
        took.append(asyncio.run(switch()))  # once may fall into somebody else's busy second
    assert min(took) < CANCEL_S[speaker.about.cancel]


def test_cancelling_the_task_that_listens_ends_it(speaker: Speaker) -> None:
    now = clock_of(speaker)

    async def cancel() -> float:
        task = asyncio.create_task(say(speaker, *[LONG] * 1_000, style=home(speaker)))
        await asyncio.sleep(0.1)
        task.cancel()
        start = now()
        with pytest.raises(asyncio.CancelledError):
            await asyncio.wait_for(task, 60)
        return now() - start

    assert asyncio.run(cancel()) < CANCEL_S[speaker.about.cancel]
    assert asyncio.run(say(speaker, "Yes.", style=home(speaker)))


def test_many_replies_leave_nothing_behind(speaker: Speaker) -> None:
    """A megabyte a reply was once found, of a watermark. Those that are slow say the least that can be said."""
    text = "Yes." if is_slow(speaker) else "Good morning to you."

    async def replies(count: int) -> tuple[int, int, int, int]:
        for _ in range(count):
            await first_sound(speaker, home(speaker), text)
        gc.collect()
        return len(asyncio.all_tasks()), threading.active_count(), open_files(), resident_kib()

    async def measure() -> tuple[tuple[int, ...], tuple[int, ...]]:
        return await replies(10), await replies(50)

    before, after = asyncio.run(measure())
    assert after[:3] == before[:3]
    assert after[3] - before[3] < 20_000  # KiB


def open_files() -> int:
    folder = Path("/proc/self/fd")
    return len(list(folder.iterdir())) if folder.exists() else 0


def resident_kib() -> int:
    """0 where the system does not say."""
    status = Path("/proc/self/status")
    lines = status.read_text().splitlines() if status.exists() else []
    return next((int(line.split()[1]) for line in lines if line.startswith("VmRSS")), 0)


def test_another_language_is_refused_and_not_mangled(speaker: Speaker) -> None:
    if not speaker.about.languages or speaker.about.name == "scripted":
        pytest.skip("it declares that any language will do, or hums")
    with pytest.raises(EngineError) as caught:
        asyncio.run(say(speaker, "Hello.", style=Style(language="xx")))
    assert caught.value.code == "language_not_supported"
    assert not caught.value.retryable


def test_a_failing_source_of_text_fails_the_reply(speaker: Speaker) -> None:
    async def text() -> AsyncIterator[str]:
        yield "Well, "
        raise EngineError("writer", "gone")

    async def listen() -> None:
        async for _ in speaker.speak(text(), home(speaker)):
            pass

    with pytest.raises(EngineError, match="gone"):
        asyncio.run(listen())
