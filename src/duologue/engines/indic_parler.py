"""Indic Parler-TTS by AI4Bharat: the languages of India, in a tone that is told in words ("Jaya speaks in a gentle tone …").

Its library runs with exactly one release of transformers: 4.46.1, which no other engine here takes, so it wants an environment
of its own. It has two tokenizers: the description's is that of the text encoder, the text's own comes with the model. Its
weights must be asked for on their page first (the hub calls that gated) and a token be set, as HF_TOKEN.

Verified with the environment that ships (`places/environments.toml` and `places/pins/indic_parler.txt`): parler-tts 0.2.3,
transformers 4.46.1, torch 2.13.0, torchaudio 2.11.0, numpy 2.4.6, sentencepiece 0.2.3, protobuf 4.25.9,
descript-audio-codec-unofficial 1.0.0, descript-audiotools-unofficial 0.7.4.

https://huggingface.co/ai4bharat/indic-parler-tts, https://github.com/huggingface/parler-tts
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

import numpy as np

from duologue import prosody
from duologue.audio import Audio
from duologue.engines import About, Loading, Style
from duologue.engines import settings as settings_table
from duologue.engines.by_clause import ClauseSpeaker, Listener
from duologue.engines.weights import Needs, Place, Weights, prepare

NAME: Final = "indic_parler"
MODEL: Final = "ai4bharat/indic-parler-tts"
LICENCE: Final = "Apache-2.0"

LANGUAGES: Final = frozenset({"as", "bn", "en", "gu", "hi", "kn", "ml", "mr", "ne", "or", "sa", "sd", "ta", "te", "ur"})
"""Those of its 21 that have a code of two letters."""

RECOMMENDED: Final[Mapping[str, str]] = MappingProxyType(
    {"en": "Mary", "hi": "Divya", "mr": "Sunita", "ta": "Jaya", "te": "Lalitha"}
)
"""By the model's card: the speaker that each language came out best with."""

ABOUT: Final = About(
    name=NAME,
    licence=LICENCE,
    languages=LANGUAGES,
    voices=frozenset(RECOMMENDED.values()),
    sample_rate=44_100,
    streaming="sentence",
    emotion="description",
    cancel="token",
)

RUN_CHARS: Final = 120
"""Some 9 s of speech; longer texts lose their end."""

TOKENS_A_CHAR: Final = 14
TOKENS_LEAST: Final = 172
"""Frames, 86 a second: a bound on what a text that the model cannot end may cost, twice the time that its letters take."""

PACKAGES: Final = MappingProxyType({"parler-tts": ">=0.2.3", "transformers": "==4.46.1", "torch": ">=2.6"})
INSTALL: Final = "`duologue engines install indic_parler`"

NEEDS: Final = Needs(
    PACKAGES,
    INSTALL,
    MappingProxyType({MODEL: Weights(LICENCE, 3.8, 6.0)}),
    ("*.json", "*.model", "model*.safetensors"),
    ("config.json", "model*.safetensors", "tokenizer_config.json"),
)
DESCRIPTIONS: Final = Needs(
    PACKAGES,
    INSTALL,
    MappingProxyType({"google/flan-t5-large": Weights(LICENCE, 0.01, 0.0)}),
    ("*.json", "spiece.model"),
    ("tokenizer_config.json",),
)
"""Of the text encoder only the tokenizer: its weights are in the model."""


@dataclass(frozen=True, slots=True)
class Settings:
    """The table `engines.settings.indic_parler`."""

    model: str = MODEL  # a model of the hub, or a folder with one
    tokenizer: str = (
        ""  # of the descriptions; "": a folder "description_tokenizer" in the model, or what its text encoder is
    )
    revision: str = "main"
    device: str = "auto"
    seed: int = 1  # the same text and style give the same sound


class Parler:
    """Blocking; one call at a time."""

    def __init__(self, model: Any, texts: Any, descriptions: Any, seed: int) -> None:
        self._model = model
        self._texts = texts
        self._descriptions = descriptions
        self._seed = seed

    def say(self, text: str, style: Style, listener: Listener) -> Audio:
        """The decoding of the sound at the end cannot be stopped; a reply that nobody hears does not come so far."""
        import torch
        from transformers import StoppingCriteriaList

        speaker = style.voice or RECOMMENDED.get(style.language, "A female speaker")
        told = self._descriptions(prosody.description(style, speaker), return_tensors="pt").to(self._model.device)
        said = self._texts(text, return_tensors="pt").to(self._model.device)
        with torch.inference_mode():
            torch.manual_seed(self._seed)
            made = self._model.generate(
                input_ids=told.input_ids,
                attention_mask=told.attention_mask,
                prompt_input_ids=said.input_ids,
                prompt_attention_mask=said.attention_mask,
                do_sample=True,
                max_new_tokens=TOKENS_LEAST + TOKENS_A_CHAR * len(text),
                stopping_criteria=StoppingCriteriaList([listener.criterion]),
            )
        sound: Audio = np.asarray(made.float().cpu().numpy(), np.float32).reshape(-1)
        return sound


def load(loading: Loading) -> ClauseSpeaker:
    """Raises `ConfigError`: bad_setting, unknown_setting, engine_not_installed, unknown_model, model_missing, cannot_run_here,
    no_network.
    """
    settings = settings_table.read(Settings(), loading.settings, NAME, from_zero=frozenset({"seed"}))
    fetch = loading.fetch is not None
    place = prepare(NEEDS, settings.model, settings.revision, settings.device, fetch=fetch)
    from parler_tts import ParlerTTSForConditionalGeneration
    from transformers import AutoTokenizer

    model = ParlerTTSForConditionalGeneration.from_pretrained(place.folder, local_files_only=True)
    texts = AutoTokenizer.from_pretrained(place.folder, local_files_only=True)
    encoder = str(model.config.text_encoder._name_or_path)
    words = _description_tokenizer(settings, place, encoder, fetch)
    descriptions = AutoTokenizer.from_pretrained(words, local_files_only=True)
    parler = Parler(model.to(place.device).eval(), texts, descriptions, settings.seed)
    about = replace(ABOUT, sample_rate=int(model.config.sampling_rate))
    speaker = ClauseSpeaker(about, loading.lane, parler.say, RUN_CHARS)
    speaker.warm(Style("ta"), "ஒன்று")
    return speaker


def _description_tokenizer(settings: Settings, place: Place, encoder: str, fetch: bool) -> Path:
    beside = place.folder / "description_tokenizer"
    if not settings.tokenizer and beside.is_dir():
        return beside
    return prepare(DESCRIPTIONS, settings.tokenizer or encoder, "main", place.device, fetch=fetch).folder
