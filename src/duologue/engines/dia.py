"""Dia-1.6B through transformers: a lively English voice for a GPU, that laughs and sighs where it is told to.

Dia was trained on English only, and its tokenizer is bytes: other languages go in without complaint and come out as noise. So
it refuses them, unless the configuration says that its checkpoint speaks them: one for Malay exists
(mesolitica/Malaysian-Dia-1.6B), but not in transformers' format, and its licence is not stated.

Verified with: torch 2.13.0, transformers 5.24.0, numpy 2.4.6, huggingface_hub 2.4.0, safetensors 0.8.0.

https://huggingface.co/docs/transformers/model_doc/dia, https://github.com/nari-labs/dia
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any, Final

import numpy as np

from duologue.audio import Audio
from duologue.engines import About, Loading, Style
from duologue.engines import settings as settings_table
from duologue.engines.by_clause import ClauseSpeaker, Listener
from duologue.engines.weights import Needs, Weights, prepare
from duologue.errors import ConfigError

NAME: Final = "dia"
MODEL: Final = "nari-labs/Dia-1.6B-0626"

ABOUT: Final = About(
    name=NAME,
    licence="Apache-2.0",
    languages=frozenset({"en"}),
    sample_rate=44_100,
    streaming="sentence",
    cancel="token",
)

RUN_CHARS: Final = 180
"""Its authors find that less than 5 s of speech sounds hurried and more than 20 s garbled: 180 letters are some 12 s."""

TOKENS_A_CHAR: Final = 12
TOKENS_LEAST: Final = 128
"""A bound on what a text that the model cannot end may cost: 86 steps are a second of sound, in which 14 letters are said;
this is twice that."""

PACKAGES: Final = MappingProxyType({"torch": ">=2.6", "transformers": ">=4.54"})

NEEDS: Final = Needs(
    packages=PACKAGES,
    install="pip install torch transformers, or `duologue engines install dia`",
    known=MappingProxyType({MODEL: Weights("Apache-2.0", 6.5, 8.0)}),
    patterns=("*.json", "model*.safetensors"),
    required=("config.json", "model*.safetensors", "preprocessor_config.json"),
)

DECODER: Final = Needs(
    packages=PACKAGES,
    install=NEEDS.install,
    known=MappingProxyType({"descript/dac_44khz": Weights("MIT", 0.31, 1.0)}),
    patterns=("*.json", "model*.safetensors"),
    required=("config.json", "model*.safetensors"),
)
"""Codes become sound by the Descript Audio Codec, a model of its own."""


@dataclass(frozen=True, slots=True)
class Settings:
    """The table `engines.settings.dia`."""

    model: str = MODEL  # a model of the hub, or a folder with one
    decoder: str = "descript/dac_44khz"  # likewise
    revision: str = "main"
    device: str = "auto"
    languages: tuple[str, ...] = ("en",)  # that the checkpoint was trained on; "ms" only for a Malay one
    licence: str = ""  # of that checkpoint, if it is another
    seed: int = 1  # the same text gives the same sound, and the same speaker
    guidance: float = 3.0  # this and the next three are its authors' own
    temperature: float = 1.8
    top_p: float = 0.9
    top_k: int = 45


class Dia:
    """Blocking; one call at a time."""

    def __init__(self, model: Any, processor: Any, settings: Settings) -> None:
        self._model = model
        self._processor = processor
        self._settings = settings

    def say(self, text: str, style: Style, listener: Listener) -> Audio:
        import torch
        from transformers import StoppingCriteriaList

        given = self._processor(text=[f"[S1] {text}"], padding=False, return_tensors="pt").to(self._model.device)
        settings = self._settings
        with torch.inference_mode():
            torch.manual_seed(settings.seed)
            codes = self._model.generate(
                **given,
                max_new_tokens=TOKENS_LEAST + TOKENS_A_CHAR * len(text),
                do_sample=True,
                guidance_scale=settings.guidance,
                temperature=settings.temperature,
                top_p=settings.top_p,
                top_k=settings.top_k,
                stopping_criteria=StoppingCriteriaList([listener.criterion]),
            )
            listener.check()
            made = self._processor.batch_decode(codes)[0]
        sound: Audio = np.asarray(made.float().cpu().numpy(), np.float32).reshape(-1)
        return sound


def load(loading: Loading) -> ClauseSpeaker:
    """Raises `ConfigError`: bad_setting, unknown_setting, engine_not_installed, unknown_model, model_missing, cannot_run_here,
    no_network.
    """
    settings = settings_table.read(Settings(), loading.settings, NAME, from_zero=frozenset({"seed"}))
    _check(settings)
    fetch = loading.fetch is not None
    place = prepare(NEEDS, settings.model, settings.revision, settings.device, fetch=fetch)
    decoder = prepare(DECODER, settings.decoder, "main", place.device, fetch=fetch)
    import torch
    from transformers import DacModel, DiaFeatureExtractor, DiaForConditionalGeneration, DiaProcessor, DiaTokenizer

    dtype = torch.float32 if place.device == "cpu" else torch.bfloat16
    only_here: dict[str, Any] = {"local_files_only": True}
    model = DiaForConditionalGeneration.from_pretrained(place.folder, dtype=dtype, use_safetensors=True, **only_here)
    sound = DacModel.from_pretrained(decoder.folder, use_safetensors=True, **only_here).to(place.device).eval()
    heard = DiaFeatureExtractor.from_pretrained(place.folder, **only_here)
    processor = DiaProcessor(heard, DiaTokenizer.from_pretrained(place.folder, **only_here), audio_tokenizer=sound)
    about = replace(
        ABOUT,
        licence=settings.licence or ABOUT.licence,
        languages=frozenset(settings.languages),
        sample_rate=int(heard.sampling_rate),
    )
    dia = Dia(model.to(place.device).eval(), processor, settings)
    speaker = ClauseSpeaker(about, loading.lane, dia.say, RUN_CHARS)
    speaker.warm(Style(min(settings.languages)))
    return speaker


def _check(settings: Settings) -> None:
    """What Dia's own checkpoint does not speak, no setting can make it speak."""
    if not settings.languages:
        raise ConfigError("bad_setting", "engines.settings.dia: languages names what the checkpoint speaks")
    if settings.model.startswith("nari-labs/") and set(settings.languages) != {"en"}:
        told = f"{settings.model} speaks English only: name a checkpoint for {', '.join(settings.languages)} as model"
        raise ConfigError("bad_setting", f"engines.settings.dia: {told}")
    if settings.model != MODEL and not settings.licence:
        raise ConfigError("bad_setting", f"engines.settings.dia: licence says under which {settings.model} stands")
