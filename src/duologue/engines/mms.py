"""MMS-TTS: plain voices for over a thousand languages, one small model each; those of duologue's languages are listed here.

Its weights are for non-commercial use only (CC-BY-NC-4.0), so that no profile and no default ever chooses it. It speaks in real
time on a CPU. It writes no numbers: what it is given must be spelt out before (`engines.speakable` does).

Verified with: torch 2.13.0, transformers 5.24.0, numpy 2.4.6, huggingface_hub 2.4.0, safetensors 0.8.0.

https://huggingface.co/docs/transformers/model_doc/vits, https://huggingface.co/facebook/mms-tts
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

import numpy as np

from duologue import prosody
from duologue.audio import Audio
from duologue.engines import About, Loading, Style
from duologue.engines import settings as settings_table
from duologue.engines.by_clause import ClauseSpeaker, Listener
from duologue.engines.weights import Needs, Weights, prepare
from duologue.errors import ConfigError

NAME: Final = "mms"
LICENCE: Final = "CC-BY-NC-4.0"
RATE: Final = 16_000

CODES: Final[Mapping[str, str]] = MappingProxyType(
    {"en": "eng", "hi": "hin", "es": "spa", "ms": "zlm", "ta": "tam", "te": "tel", "mr": "mar"}
)
"""ISO 639-3, as the models are named: Malay is zlm (and "mal" is Malayalam)."""

ABOUT: Final = About(
    name=NAME,
    licence=LICENCE,
    languages=frozenset(CODES),
    sample_rate=RATE,
    streaming="sentence",
    emotion="scalar",
    cancel="sentence",
)

RUN_CHARS: Final = 120
"""Some 8 s of speech: a pass cannot be stopped, and costs about a third of that on two cores (full size, random weights)."""

SEED: Final = 1
"""Of the voice's noise: the same text and style give the same samples."""

NEEDS: Final = Needs(
    packages=MappingProxyType({"torch": ">=2.6", "transformers": ">=4.33"}),
    install="pip install torch transformers, or `duologue engines install mms`",
    known=MappingProxyType({f"facebook/mms-tts-{code}": Weights(LICENCE, 0.15, 1.0) for code in CODES.values()}),
    patterns=("*.json", "model*.safetensors"),
    required=("config.json", "vocab.json", "model*.safetensors"),
)


@dataclass(frozen=True, slots=True)
class Settings:
    """The table `engines.settings.mms`."""

    non_commercial: bool = False  # whoever sets it says that this server is no business: the licence of the weights
    languages: tuple[str, ...] = ("ta", "te", "mr", "ms")  # those that hardly any other voice speaks; 145 MB each
    models: Mapping[str, Any] = field(
        default_factory=lambda: MappingProxyType({})
    )  # language = folder, instead of the hub's
    revision: str = "main"  # of the hub's models
    device: str = "auto"


class Voice:
    """One language's model and tokenizer."""

    def __init__(self, model: Any, tokenizer: Any) -> None:
        self._model = model
        self._tokenizer = tokenizer

    def say(self, text: str, style: Style, listener: Listener) -> Audio:
        """Nothing for a text of which the model knows no letter: it would fail on it."""
        import torch

        ids = self._tokenizer(text, return_tensors="pt")["input_ids"]
        if not self._letters(ids):
            return np.zeros(0, np.float32)
        terms = prosody.vits(style)
        self._model.speaking_rate = style.speed / terms.length
        self._model.noise_scale = self._model.config.noise_scale * terms.noise
        with torch.inference_mode():
            torch.manual_seed(SEED)
            made = self._model(input_ids=ids.to(self._model.device)).waveform[0]
        sound: Audio = made.float().cpu().numpy()
        return sound

    def _letters(self, ids: Any) -> int:
        """How many of them are not the blanks that stand between letters."""
        return int((ids != self._tokenizer.pad_token_id).sum()) if ids.numel() else 0


def load(loading: Loading) -> ClauseSpeaker:
    """Raises `ConfigError`: bad_setting, unknown_setting, licence_not_accepted, engine_not_installed, model_missing,
    cannot_run_here, no_network, model_unsupported.
    """
    settings = settings_table.read(Settings(), loading.settings, NAME)
    if not settings.non_commercial:
        told = f"the weights of MMS-TTS are under {LICENCE}: set engines.settings.mms.non_commercial = true where that fits"
        raise ConfigError("licence_not_accepted", told)
    if unknown := (set(settings.languages) | settings.models.keys()) - CODES.keys():
        raise ConfigError(
            "bad_setting", f"engines.settings.mms: no {', '.join(sorted(unknown))}; there are: {', '.join(CODES)}"
        )
    languages = tuple(dict.fromkeys((*settings.models, *(() if settings.models else settings.languages))))
    voices = {language: _voice(settings, language, loading.fetch is not None) for language in languages}
    about = replace(ABOUT, languages=frozenset(languages))

    def say(text: str, style: Style, listener: Listener) -> Audio:
        return voices[style.language].say(text, style, listener)

    speaker = ClauseSpeaker(about, loading.lane, say, RUN_CHARS)
    for language in languages:
        speaker.warm(Style(language), _WARM[language])
    return speaker


def _voice(settings: Settings, language: str, fetch: bool) -> Voice:
    name = str(settings.models.get(language) or f"facebook/mms-tts-{CODES[language]}")
    place = prepare(NEEDS, name, settings.revision, settings.device, fetch=fetch)
    from transformers import VitsModel, VitsTokenizer

    tokenizer = VitsTokenizer.from_pretrained(place.folder, local_files_only=True)
    _check(place.folder, tokenizer)
    model = VitsModel.from_pretrained(place.folder, local_files_only=True, use_safetensors=True)
    return Voice(model.to(place.device).eval(), tokenizer)


def _check(folder: Path, tokenizer: Any) -> None:
    """Some languages' models read Latin letters only, made by a Perl program; none of ours does."""
    if getattr(tokenizer, "is_uroman", False):
        raise ConfigError("model_unsupported", f"{folder} wants its text romanised by uroman, which is not done here")


_WARM: Final = {"en": "one", "hi": "एक", "es": "uno", "ms": "satu", "ta": "ஒன்று", "te": "ఒకటి", "mr": "एक"}
