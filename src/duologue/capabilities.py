"""What a voice conversation needs, each proved by a session on the engines that run, in a few seconds.

One typed question is answered and heard for a while, a second one asks back, a third is sad; what the client got is the
evidence. Sound in is not needed: recognition is proved by the tests and the benchmarks, which have recordings.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing
from dataclasses import dataclass, replace
from typing import Final, Literal

import numpy as np

from duologue.app import App
from duologue.audio import OUTPUT_RATE, from_pcm16
from duologue.caller import Caller, Reply
from duologue.engines import Piece, Prompt, Style, Text, Writer
from duologue.errors import DuologueError
from duologue.line import AUDIBLE
from duologue.protocols import Fact, Felt, ReplyAudio, ReplyDone, ReplyVoice

NAMES: Final = (
    "words stream as generated",
    "history reaches the model",
    "speech is synthesised",
    "sound streams with the text",
    "playback has no gap",
    "language routing",
    "languages are told apart",
    "feelings are answered",
)

FIRST: Final = "My name is Marigold. Tell me a story about the sea and the ships on it."
SECOND: Final = "What is my name?"
SAD: Final = "I am so sad, my dog died."

HEARD_S: Final = 4.0
"""Of each reply: the first seconds are those in which playback runs dry if it ever does."""

SENTENCES: Final = {"hi": "नमस्ते, आप कैसे हैं?", "es": "Hola, ¿cómo estás?"}

WRITTEN: Final = SENTENCES | {
    "en": "Good morning, how are you today?",
    "ms": "Selamat pagi, apa khabar hari ini?",
    "ta": "வணக்கம், எப்படி இருக்கிறீர்கள்?",
    "te": "నమస్కారం, మీరు ఎలా ఉన్నారు?",
    "mr": "नमस्कार, तुम्ही कसे आहात?",
}


@dataclass(frozen=True)
class Proof:
    name: str
    state: Literal["works", "fails", "off"]
    evidence: str
    """What was seen, or why it could not be."""


class Listening:
    """A Writer that passes everything on, and remembers what it was asked."""

    def __init__(self, writer: Writer) -> None:
        self.about = writer.about
        self.asked: list[Prompt] = []
        self._writer = writer
        self.prefill = writer.prefill
        self.forget = writer.forget

    def write(self, prompt: Prompt) -> AsyncIterator[Piece]:
        self.asked.append(prompt)
        return self._writer.write(prompt)


async def prove_all(app: App) -> list[Proof]:
    """All of `NAMES`. An engine that fails fails the proofs that need it; nothing is raised."""
    assert app.lineup is not None
    writer = Listening(app.lineup.writer)
    try:
        first, second = await _converse(App(app.config, replace(app.lineup, writer=writer)))
        proofs = [*_of_reply(first), await _history(writer, second)]
    except DuologueError as error:
        proofs = [Proof(name, "fails", f"{error.message} [{error.code}]") for name in NAMES[:5]]
    return _in_order([*proofs, await _routing(app), _told_apart(app), await _feelings(app)])


def unproved() -> list[Proof]:
    """When there is nothing to prove it with; why, is said once and elsewhere."""
    return [Proof(name, "fails", "not tried: there are no engines") for name in NAMES]


def _in_order(proofs: list[Proof]) -> list[Proof]:
    order = {name: place for place, name in enumerate(NAMES)}
    return sorted(proofs, key=lambda proof: order.get(proof.name, len(order)))


async def _converse(app: App) -> tuple[Reply | None, Reply | None]:
    async with Caller(app) as caller:
        first = (await caller.type(FIRST, HEARD_S)).reply
        second = (await caller.type(SECOND, 0.0)).reply
    return first, second


def _of_reply(reply: Reply | None) -> Iterator[Proof]:
    if reply is None or not reply.text:
        yield from (Proof(name, "fails", "there was no reply") for name in NAMES[:5] if name != NAMES[1])
        return
    times = [at for at, word in reply.words if word]  # the last one is empty: it says that the reply is complete
    moments = len(set(times))
    yield _proof(NAMES[0], moments >= 3, f"{len(times)} words at {moments} times, over {_ms(times)} ms")
    playback, loudest = reply.playback, float(np.abs(reply.playback.samples).max(initial=0.0))
    yield _proof(NAMES[2], loudest >= AUDIBLE, f"{playback.seconds:.1f} s heard, loudest sample {loudest:.2f}")
    late = times[-2:][0]  # the last word of all is held until it is known to be the last, and proves nothing
    early = round((late - (playback.arrived_at or late)) * 1000)
    yield _proof(NAMES[3], early > 0, f"the first sound came {early} ms before the last word but one")
    heard = playback.audible_at is not None and playback.gaps == 0
    yield _proof(NAMES[4], heard, f"{playback.gaps} gaps in the {playback.seconds:.1f} s heard")


async def _history(writer: Listening, reply: Reply | None) -> Proof:
    """The prompt of the second turn holds the first, and without it the model answers otherwise."""
    asked = writer.asked[-1].messages
    reached = any(FIRST in message.content for message in asked[:-1]) and SECOND in asked[-1].content
    alone = [message for message in asked if message.role == "system"] + [asked[-1]]
    with_it = await _answer(writer, Prompt("doctor-with", asked))
    without = await _answer(writer, Prompt("doctor-alone", alone))
    told = f"{len(asked)} messages in the second prompt; with them “{with_it}”, without “{without}”"
    return _proof(NAMES[1], reply is not None and reached and with_it != without, told)


async def _answer(writer: Listening, prompt: Prompt) -> str:
    """The first words of it."""
    text = ""
    async with aclosing(writer.write(prompt)) as pieces:  # type: ignore[type-var]
        async for piece in pieces:
            text += piece.text if isinstance(piece, Text) else ""
            if len(text) > 60:
                break
    writer.forget(prompt.conversation)
    return text.strip()


async def _routing(app: App) -> Proof:
    try:
        told = [await _spoken(app, language, text) for language, text in SENTENCES.items()]
    except DuologueError as error:
        return Proof(NAMES[5], "fails", f"{error.message} [{error.code}]")
    return _proof(NAMES[5], all(ok for ok, _ in told), "; ".join(text for _, text in told))


async def _spoken(app: App, language: str, text: str) -> tuple[bool, str]:
    """Whether a voice that declares the language said something that can be heard."""
    assert app.lineup is not None
    loudest, name = 0.0, ""
    async with aclosing(app.speak(text, Style(language), OUTPUT_RATE)) as facts:
        async for fact in facts:
            if isinstance(fact, ReplyAudio):
                loudest = max(loudest, float(np.abs(from_pcm16(fact.pcm)).max(initial=0.0)))
            elif isinstance(fact, ReplyDone):
                name = fact.speaker
    declares = any(voice.about.name == name for voice in app.lineup.voices(language))
    return declares and loudest >= AUDIBLE, f"{language}: {name or 'no voice'}"


def _told_apart(app: App) -> Proof:
    """Of what is typed; what is heard is the tests' business."""
    assert app.lineup is not None
    app.lineup.texts.load()
    guesses = {language: app.lineup.texts.detect(text) for language, text in WRITTEN.items()}
    wrong = [language for language, guess in guesses.items() if guess is None or guess.language != language]
    if any(guess is None for guess in guesses.values()):
        return Proof(NAMES[6], "off", f"not {' '.join(wrong)}: these need the extra `languages`")
    return _proof(NAMES[6], not wrong, f"{len(guesses) - len(wrong)} of {len(guesses)} typed: {' '.join(guesses)}")


async def _feelings(app: App) -> Proof:
    """A sad turn is found sad, and the voice is asked for another tone than after a plain one."""
    assert app.lineup is not None
    settings = app.config.conversation
    if app.lineup.emotion is None or not (settings.feelings and settings.feelings_from_words):
        return Proof(
            NAMES[7], "off", "`engines.emotion` is none, or `conversation.feelings` or `feelings_from_words` is off"
        )
    facts: list[Fact] = []
    try:
        async with Caller(app, facts.append) as caller:
            await caller.type(SAD, 0.0)
    except DuologueError as error:
        return Proof(NAMES[7], "fails", f"{error.message} [{error.code}]")
    felt = [fact for fact in facts if isinstance(fact, Felt)]
    spoken = [fact for fact in facts if isinstance(fact, ReplyVoice)]
    labels, tones = [fact.label for fact in felt], [fact.emotion for fact in spoken]
    rests = "; ".join(felt[0].evidence) if felt else "nothing"
    unmet = next((fact.unmet for fact in spoken if fact.unmet), "")
    told = f"found {labels}, from {rests}; the voice was asked to sound {tones}" + (f" ({unmet})" if unmet else "")
    return _proof(NAMES[7], labels == ["sad"] and (tones != ["neutral"] or not settings.feelings_to_voice), told)


def _proof(name: str, works: bool, evidence: str) -> Proof:
    return Proof(name, "works" if works else "fails", evidence)


def _ms(times: list[float]) -> int:
    return round((times[-1] - times[0]) * 1000)
