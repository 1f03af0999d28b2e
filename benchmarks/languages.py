"""Which language a recorded turn is found to be in, per language; and a typed one, where there are texts.

Each clip of 2 s or more is heard as the first turn of a conversation: nothing is known of its speaker, and English is expected.

The thresholds of `engines/polyglot.py`, and how `engines/whisper.py` weighs two windows and neighbouring languages, were chosen
on these same recordings, and Tamil, Marathi and Telugu have one, two and four of them: the figures say that it works here,
not how well it would on others.

Run alone: `python -m benchmarks.languages`. Needs the model `whisper-base`.
"""

from __future__ import annotations

import asyncio
import csv
import sys
import time
import unicodedata
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, cast

from benchmarks import recordings
from benchmarks.figures import Figure
from benchmarks.wer import distance
from duologue import config
from duologue.audio import INPUT_RATE, Audio, Frame, Framer, read_audio, resample
from duologue.engines import Loading, Pause, Polyglot, Recognizer, Transcript
from duologue.engines import polyglot as engine
from duologue.errors import DuologueError
from duologue.languages import ENOUGH_S, LANGUAGES, Following, Guess, TextDetector
from duologue.models import open_store
from duologue.places.thread import Lane

TEXTS: Final = recordings.FOLDER.parent / "text" / "emotion"
"""BRIGHTER's dev sets, one file a language."""

TEXT_FILES: Final = {"en": "eng_dev.csv", "es": "esp_dev.csv", "hi": "hin_dev.csv", "mr": "mar_dev.csv"}

WANTED: Final = 0.9


@dataclass
class Row:
    """One language's."""

    clips: int = 0
    found: int = 0
    followed: int = 0
    """Of them, those after which the reply is in the language at once, without a second turn."""
    seconds: list[float] = field(default_factory=list)
    """From the pause to the words."""
    wrong: list[str] = field(default_factory=list)
    errors: int = 0
    letters: int = 0


@dataclass(frozen=True)
class Clip:
    name: str
    language: str
    said: str
    samples: Audio


def clips(folder: Path = recordings.FOLDER) -> Iterator[Clip]:
    """Every recording of 2 s or more in a language of the table. Raises `ConfigError` (no_recordings)."""
    for row in recordings._manifest(folder):
        if row["lang"] in LANGUAGES and float(row["duration_s"]) >= ENOUGH_S:
            samples, rate = read_audio(folder / row["path"])
            yield Clip(Path(row["path"]).name, row["lang"], row["transcript"], resample(samples, rate, INPUT_RATE))


async def spoken(recognizer: Polyglot, heard: Iterable[Clip]) -> dict[str, Row]:
    rows = {code: Row() for code in LANGUAGES}
    for clip in heard:
        row = rows[clip.language]
        transcript, seconds = await _hear(recognizer.open(), clip.samples)
        following = Following()
        following.hear(Guess(transcript.language, transcript.language_confidence))
        row.clips += 1
        row.found += transcript.language == clip.language
        row.followed += following.language == clip.language
        row.seconds.append(seconds)
        if transcript.language != clip.language:
            row.wrong.append(f"{clip.name} ({transcript.language} {transcript.language_confidence:.2f})")
        if clip.said and not clip.said.startswith(("(", "[")):
            said = _letters(clip.said)
            row.letters += len(said)
            row.errors += distance(said, _letters(transcript.text))
    return rows


def typed(detector: TextDetector, folder: Path = TEXTS) -> dict[str, tuple[int, int]]:
    """(found, texts) per language."""
    found: dict[str, tuple[int, int]] = {}
    for language, name in TEXT_FILES.items():
        if (folder / name).exists():
            with (folder / name).open(encoding="utf-8", newline="") as file:
                guesses = [detector.detect(row["text"]) for row in csv.DictReader(file)]
            found[language] = sum(guess is not None and guess.language == language for guess in guesses), len(guesses)
    return found


def table(rows: dict[str, Row], texts: dict[str, tuple[int, int]]) -> str:
    lines = ["language  clips  found         at once  wait (median)  letters wrong  typed texts found"]
    for code, row in rows.items():
        share = f"{row.found}/{row.clips} = {row.found / max(1, row.clips):.0%}"
        wait = f"{sorted(row.seconds)[len(row.seconds) // 2]:.2f} s" if row.seconds else "-"
        wrong = f"{row.errors / row.letters:.0%}" if row.letters else "-"
        written = f"{texts[code][0]}/{texts[code][1]} = {texts[code][0] / texts[code][1]:.1%}" if code in texts else "-"
        lines.append(f"{code:8}  {row.clips:5}  {share:12}  {row.followed:7}  {wait:13}  {wrong:13}  {written}")
        lines += [f"          not found: {', '.join(row.wrong)}"] if row.wrong else []
    return "\n".join(lines)


def run() -> tuple[dict[str, Row], str]:
    """The rows, and their table. Raises `DuologueError`."""
    lane = Lane("languages")
    try:
        recognizer = cast(Polyglot, engine.load(Loading(open_store(config.load().models).folder, lane)))
        rows = asyncio.run(spoken(recognizer, clips()))
        cast(engine.Polyglot, recognizer).close()
    finally:
        lane.close()
    detector = TextDetector()
    detector.load()
    return rows, table(rows, typed(detector))


def figures(rows: dict[str, Row]) -> list[Figure]:
    """The share of clips whose language was not found, of each language that has any."""
    return [
        Figure(
            f"language not found: {code}",
            "",
            [0.0] * row.found + [1.0] * (row.clips - row.found),
            1 - row.found / row.clips,
            {"overall": 1 - WANTED},
        )
        for code, row in rows.items()
        if row.clips
    ]


def main() -> int:
    """0; 1 if a language is found in fewer than nine of ten clips; 2 if it cannot run."""
    try:
        rows, told = run()
    except DuologueError as error:
        print(f"benchmarks: {error.message} [{error.code}]", file=sys.stderr)
        return 2
    print(told)
    return int(not all(figure.ok for figure in figures(rows)))


async def _hear(recognizer: Recognizer, samples: Audio) -> tuple[Transcript, float]:
    asked = [0.0]

    async def turn() -> AsyncIterator[Frame | Pause]:
        for frame in Framer(INPUT_RATE).push(samples):
            yield frame
        asked[0] = time.perf_counter()
        yield Pause()

    async for transcript in recognizer.transcribe(turn()):
        if transcript.final:
            return transcript, time.perf_counter() - asked[0]
    raise AssertionError("a recogniser answers each pause")


def _letters(text: str) -> Sequence[str]:
    plain = unicodedata.normalize("NFC", text.lower())
    return [character for character in plain if unicodedata.category(character)[0] in "LMN"]


if __name__ == "__main__":
    sys.exit(main())
