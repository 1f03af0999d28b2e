"""Kokoro-82M: a natural voice in English, Spanish and Hindi on a plain CPU, without torch.

Text becomes phonemes by espeak-ng, as in `piper` (piper-tts is GPL-3.0-or-later, imported only inside `load`), and these are
respelled in Kokoro's own alphabet, in which a diphthong is one letter. The graph is that of kokoro-onnx: phonemes as ids, a style
that depends on their number, a speed; a whole sentence of sound comes out.

Verified with: onnxruntime 1.32.0, piper-tts 1.4.2, numpy 2.4.6; weights kokoro-v1.0.int8.onnx of kokoro-onnx (92 MB).

https://huggingface.co/hexgrad/Kokoro-82M, https://github.com/thewh1teagle/kokoro-onnx, https://github.com/hexgrad/misaki
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

import numpy as np

from duologue.audio import Audio
from duologue.engines import About, Loading, Style, onnx
from duologue.engines import settings as settings_table
from duologue.engines.by_clause import ClauseSpeaker, Listener
from duologue.engines.phonemes import espeak
from duologue.engines.piper import without_lead, without_tail
from duologue.errors import ConfigError

NAME: Final = "kokoro"
MODEL: Final = "kokoro-82m"
RATE: Final = 24_000

LANGUAGES: Final[Mapping[str, tuple[str, str]]] = MappingProxyType(
    {"en": ("en-us", "ab"), "es": ("es", "e"), "hi": ("hi", "h")}
)
"""What espeak-ng calls it, and the first letters of the voices that speak it. Of Kokoro's nine languages those of ours; its
voices for Japanese and Chinese need other phonemisers."""

ABOUT: Final = About(
    name=NAME,
    licence="GPL-3.0-or-later",  # the phonemiser; weights and voices are Apache-2.0
    languages=frozenset(LANGUAGES),
    sample_rate=RATE,
    streaming="sentence",
    cancel="sentence",
)

BEST: Final = ("af_heart", "am_michael", "ef_dora", "hf_alpha")
"""The voices that their author grades best in each language come first where nobody asks for one."""

RUN_CHARS: Final = 120
"""Some 8 s of speech, made in one pass that cannot be stopped: short enough for a first sound within a second or two."""

PHONEMES: Final = 508
"""The most that the graph takes, with a mark before and one behind."""

LEAD_S, TAIL_S = 0.01, 0.05
"""Silence kept around a pass; Kokoro gives a quarter of a second before and after, which would be heard as stumbling."""

SPEED: Final = (0.5, 2.0)
"""Beyond these Kokoro skips sounds, as its authors found; kokoro-onnx refuses the rest."""


RESPELT: Final = (
    ("aɪ", "I"), ("aʊ", "W"), ("eɪ", "A"), ("oʊ", "O"), ("ɔɪ", "Y"), ("dʒ", "ʤ"), ("tʃ", "ʧ"),
)  # fmt: skip
"""In every language (misaki's EspeakG2P, without its tie bars)."""

RESPELT_ENGLISH: Final = (
    ("əl", "ᵊl"), ("ɚ", "əɹ"), ("r", "ɹ"), ("ɐ", "ə"), ("ɜːɹ", "ɜɹ"), ("ɜː", "ɜɹ"), ("ɪə", "iə"), ("ː", ""), ("e", "A"),
    ("o", "ɔ"), ("ɾ", "T"), ("ʔ", "t"), ("x", "k"), ("ç", "k"),
)  # fmt: skip
"""American, in this order (misaki's EspeakFallback)."""


@dataclass(frozen=True, slots=True)
class Settings:
    """The table `engines.settings.kokoro`."""

    model: str = (
        ""  # a folder with kokoro*.onnx, vocab.json or config.json, and the voices; "": what `models pull` brings
    )
    voice: str = ""  # where nobody asks for one: the best of the language
    threads: int = 1  # of onnxruntime: on a small machine the others are the language model's


class Voices:
    """Styles by name: (phonemes, 1, 256) each, one for each number of phonemes."""

    def __init__(self, styles: Mapping[str, Audio]) -> None:
        self._styles = styles

    def __iter__(self) -> Iterator[str]:
        return iter(sorted(self._styles))

    def style(self, name: str, phonemes: int) -> Audio:
        styles = self._styles[name].reshape(-1, 1, 256)
        chosen: Audio = styles[min(phonemes, len(styles)) - 1]
        return chosen

    def best(self, language: str) -> str:
        speaks = LANGUAGES[language][1]
        able = [name for name in self if name[0] in speaks]
        return min(able, key=lambda name: (name not in BEST, name))


class Kokoro:
    """The graph and the phonemiser. Blocking; one call at a time."""

    def __init__(
        self, graph: Any, phonemise: Callable[[str, str], list[list[str]]], ids: Mapping[str, int], voices: Voices
    ) -> None:
        self._graph = graph
        self._tokens = next(found.name for found in graph.get_inputs() if found.name in ("tokens", "input_ids"))
        self._speed_type = np.int32 if "int" in _type_of(graph, "speed") else np.float32
        self._phonemise = phonemise
        self._ids = ids
        self._voices = voices

    def say(self, text: str, style: Style, listener: Listener, voice: str) -> Audio:
        speed = min(max(style.speed, SPEED[0]), SPEED[1])
        passes = [self._pass(part, speed, voice, listener) for part in self._parts(text, style.language)]
        return np.concatenate([np.zeros(0, np.float32), *passes])

    def _parts(self, text: str, language: str) -> Iterator[list[int]]:
        """Ids of all sentences together, cut where the graph would not take them."""
        with_marks = " ".join("".join(sentence) for sentence in self._phonemise(LANGUAGES[language][0], text))
        ids = [self._ids[letter] for letter in respelt(with_marks, language) if letter in self._ids]
        yield from (ids[start : start + PHONEMES] for start in range(0, len(ids), PHONEMES))

    def _pass(self, ids: list[int], speed: float, voice: str, listener: Listener) -> Audio:
        listener.check()
        fed = {
            self._tokens: np.array([[0, *ids, 0]], np.int64),
            "style": self._voices.style(voice, len(ids)).astype(np.float32),
            "speed": np.array([max(1, round(speed)) if self._speed_type is np.int32 else speed], self._speed_type),
        }
        made = np.asarray(self._graph.run(None, fed)[0], np.float32).reshape(-1)
        _, sounding = without_lead(iter([made]), round(LEAD_S * RATE))
        return np.concatenate([np.zeros(0, np.float32), *without_tail(sounding, round(TAIL_S * RATE))])


def respelt(phonemes: str, language: str) -> str:
    """espeak-ng's IPA in Kokoro's alphabet."""
    for old, new in (*RESPELT, *(RESPELT_ENGLISH if language == "en" else ())):
        phonemes = phonemes.replace(old, new)
    return phonemes


def _type_of(graph: Any, name: str) -> str:
    return next((str(found.type) for found in graph.get_inputs() if found.name == name), "")


def load(loading: Loading) -> ClauseSpeaker:
    """Raises `ConfigError`: bad_setting, unknown_setting, model_missing, model_corrupt; ImportError without piper-tts."""
    settings = settings_table.read(Settings(), loading.settings, NAME)
    folder = Path(settings.model).expanduser() if settings.model else loading.model(MODEL)
    voices = voices_in(folder)
    kokoro = Kokoro(_graph_in(folder, settings.threads), espeak(), _ids_in(folder), voices)
    languages = frozenset(language for language, (_, first) in LANGUAGES.items() if any(v[0] in first for v in voices))
    if settings.voice and settings.voice not in list(voices):
        raise ConfigError("bad_setting", f"engines.settings.kokoro: there is no voice {settings.voice!r} in {folder}")
    about = replace(ABOUT, languages=languages, voices=frozenset(voices))

    def say(text: str, style: Style, listener: Listener) -> Audio:
        return kokoro.say(text, style, listener, voice_for(style, settings.voice, voices))

    speaker = ClauseSpeaker(about, loading.lane, say, RUN_CHARS)
    speaker.warm(Style(min(languages)))
    return speaker


def voice_for(style: Style, preferred: str, voices: Voices) -> str:
    """Who is asked for, if they speak the language; else who is preferred; else the best."""
    speaks = LANGUAGES[style.language][1]
    return next((name for name in (style.voice, preferred) if name and name[0] in speaks), voices.best(style.language))


def voices_in(folder: Path) -> Voices:
    """From `voices*.npz` or `voices*.bin` (kokoro-onnx's: the same), and from one raw file each, also in `voices/` (kokoro-js's).

    Raises `ConfigError`: model_missing, model_corrupt.
    """
    styles = dict(_packed(folder.glob("voices*.*"))) | dict(
        _raw([*folder.glob("[a-z][fm]_*.bin"), *folder.glob("voices/*.bin")])
    )
    known = {name: style for name, style in styles.items() if any(name[0] in first for _, first in LANGUAGES.values())}
    if not known:
        raise ConfigError("model_missing", f"there are no voices of {', '.join(LANGUAGES)} in {folder}")
    if bad := [name for name, style in known.items() if style.size % 256 or not style.size]:
        raise ConfigError("model_corrupt", f"these voices in {folder} are no styles of 256 numbers: {', '.join(bad)}")
    return Voices(known)


def _packed(paths: Iterable[Path]) -> Iterator[tuple[str, Audio]]:
    for path in paths:
        try:
            with np.load(path, allow_pickle=False) as packed:
                yield from ((name, np.asarray(packed[name], np.float32)) for name in packed.files)
        except (OSError, ValueError) as error:
            raise ConfigError("model_corrupt", f"{path}: {error}") from error


def _raw(paths: Iterable[Path]) -> Iterator[tuple[str, Audio]]:
    for path in paths:
        yield path.stem, np.fromfile(path, "<f4")


def _graph_in(folder: Path, threads: int) -> Any:
    found = sorted(folder.glob("*.onnx"))
    if not found:
        raise ConfigError("model_missing", f"there is no kokoro*.onnx in {folder}")
    try:
        graph = onnx.session(found[0], threads)
    except Exception as error:  # onnxruntime's errors have no base of their own
        raise ConfigError("model_corrupt", f"{found[0]}: {error}") from error
    names = {given.name for given in graph.get_inputs()}
    if not ({"style", "speed"} <= names and names & {"tokens", "input_ids"}):
        raise ConfigError("model_corrupt", f"{found[0]} is no Kokoro: it takes {', '.join(sorted(names))}")
    return graph


def _ids_in(folder: Path) -> Mapping[str, int]:
    for name in ("vocab.json", "config.json"):
        if (path := folder / name).is_file():
            try:
                vocabulary: Mapping[str, int] = json.loads(path.read_text(encoding="utf-8"))["vocab"]
            except (ValueError, KeyError) as error:
                raise ConfigError("model_corrupt", f"{path}: {error!r}") from error
            return vocabulary
    raise ConfigError("model_missing", f"there is neither vocab.json nor config.json in {folder}")
