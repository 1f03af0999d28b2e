"""Chatterbox by Resemble AI: `chatterbox` speaks 23 languages and can exaggerate or hold back, `chatterbox_turbo` English only.

Turbo takes tags such as [laugh] instead: its library ignores exaggeration with a warning in its log, and is not asked for it.
Both speak in the voice of any recording that the configuration names (`clips`), and mark what they say as made by a machine
(PerTh's watermark). Without it they do not run: it is their authors' condition that it cannot be lost by accident.

The libraries stream nothing and cannot be stopped; hooks on the layer that every sound token, and every step of the decoder,
passes are what stops them. What else is worked around here: `generate` keeps its voice on the model (one call at a time, the
voice set each time), and the multilingual class leaves hooks on three layers at every call (they are taken off again) and fails
on texts of a letter or a short word (`_never_short`).

Verified with the environment that ships (`places/environments.toml` and `places/pins/chatterbox.txt`): chatterbox-tts 0.1.7
(--no-deps: it asks for torch 2.6.0, and for gradio), resemble-perth 1.0.1, setuptools below 81 (resemble-perth needs that), torch
2.13.0, torchaudio 2.11.0, transformers 5.2.0, numpy 1.26.4, librosa 0.11.0, s3tokenizer 0.3.0 (--no-deps: it wants pre-commit),
diffusers 0.29.0, conformer 0.3.2, pykakasi 2.3.0, pyloudnorm 0.2.0, omegaconf 2.4.0, safetensors 0.5.3, onnx 1.23.2. It also ran
with transformers 5.24.0 and numpy 2.4.6. Beside a CPU's torch, PyPI's torchaudio loads only without its compiled part, which
nothing here calls. spacy-pkuseg is not needed (see `_no_hub`).

https://github.com/resemble-ai/chatterbox
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final
from unittest.mock import patch

import numpy as np

from duologue import prosody
from duologue.audio import Audio
from duologue.engines import About, Loading, Style
from duologue.engines import settings as settings_table
from duologue.engines.by_clause import ClauseSpeaker, Listener
from duologue.engines.weights import Needs, Weights, prepare
from duologue.errors import ConfigError

LICENCE: Final = "MIT"
RATE: Final = 24_000

LANGUAGES: Final = (
    "ar", "da", "de", "el", "en", "es", "fi", "fr", "he", "hi", "it", "ja", "ko", "ms",
    "nl", "no", "pl", "pt", "ru", "sv", "sw", "tr",
)  # fmt: skip

ABOUT: Final = About(
    name="chatterbox",
    licence=LICENCE,
    languages=frozenset(LANGUAGES),
    sample_rate=RATE,
    streaming="sentence",
    emotion="scalar",
    cloning=True,
    cancel="token",
)
ABOUT_TURBO: Final = replace(ABOUT, name="chatterbox_turbo", languages=frozenset({"en"}), emotion="tags")

RUN_CHARS: Final = 160
"""Some 11 s of speech. The model itself ends after 1,000 tokens, which are 40 s."""

LEAST_TOKENS: Final = 4
"""Of a text with its language. Together with a start and an end the library takes more than 5: it looks at what comes before the
last 5, also where nothing does."""

LEAST_CLIP_S: Final = {"chatterbox": 1.0, "chatterbox_turbo": 5.0}
"""Of a recording to speak like: Turbo's library fails below 5 s, and a voice cannot be told from less than 1 s."""

PACKAGES: Final = MappingProxyType(
    {"chatterbox-tts": ">=0.1.7", "resemble-perth": ">=1.0", "torch": ">=2.6", "transformers": ">=5.2"}
)
INSTALL: Final = "`duologue engines install chatterbox`"

MULTILINGUAL: Final = Needs(
    PACKAGES,
    INSTALL,
    MappingProxyType({"ResembleAI/chatterbox": Weights(LICENCE, 3.3, 5.0)}),
    (
        "ve.pt",
        "t3_mtl23ls_v2.safetensors",
        "s3gen.pt",
        "grapheme_mtl_merged_expanded_v1.json",
        "conds.pt",
        "Cangjie5_TC.json",
    ),
    ("ve.pt", "t3_mtl23ls_v2.safetensors", "s3gen.pt", "grapheme_mtl_merged_expanded_v1.json"),
)
TURBO: Final = Needs(
    PACKAGES,
    INSTALL,
    MappingProxyType({"ResembleAI/chatterbox-turbo": Weights(LICENCE, 3.0, 4.0)}),
    ("*.safetensors", "*.json", "*.txt", "*.pt", "*.model"),
    ("ve.safetensors", "t3_turbo_v1.safetensors", "s3gen_meanflow.safetensors", "tokenizer_config.json"),
)


@dataclass(frozen=True, slots=True)
class Settings:
    """The tables `engines.settings.chatterbox` and `engines.settings.chatterbox_turbo`."""

    model: str = ""  # a model of the hub, or a folder with one; "": the authors'
    revision: str = "main"
    device: str = "auto"
    clips: Mapping[str, Any] = field(
        default_factory=lambda: MappingProxyType({})
    )  # name of a voice = a recording of it
    voice: str = ""  # of `clips`, where nobody asks for one; "": the voice that comes with the weights
    cfg_weight: float = -1.0  # below 0: as the style asks; 0 is the authors' advice for a clip in another language
    temperature: float = 0.8  # the authors' own
    seed: int = 1  # the same text and style give the same sound


class Chatterbox:
    """Either model with the voices that it can take. Blocking; one call at a time."""

    def __init__(self, model: Any, settings: Settings, *, turbo: bool) -> None:
        self._model = model
        self._settings = settings
        self._turbo = turbo
        self._voices: dict[str, Any] = {} if model.conds is None else {"": model.conds}

    @property
    def voices(self) -> frozenset[str]:
        return frozenset(self._voices)

    def learn(self, name: str, clip: Path) -> None:
        """From a recording. Some seconds."""
        self._model.prepare_conditionals(str(clip))
        self._voices[name] = self._model.conds

    def say(self, text: str, style: Style, listener: Listener) -> Audio:
        """Without inference mode what Turbo's watermark computes is kept for ever, a megabyte for each quarter of a second."""
        import torch

        voice = self._voices[style.voice or self._settings.voice]
        self._model.conds = type(voice)(voice.t3, voice.gen)  # a copy: `generate` puts the exaggeration into it
        torch.manual_seed(self._settings.seed)
        with torch.inference_mode(), stoppable(self._model, listener), no_hooks_left(self._model):
            made = self._model.generate(self._tagged(text, style), **self._wanted(style))
        sound: Audio = made.reshape(-1).float().numpy()
        return sound

    def _tagged(self, text: str, style: Style) -> str:
        return prosody.turbo_tag(style) + text if self._turbo else text

    def _wanted(self, style: Style) -> dict[str, Any]:
        wanted: dict[str, Any] = {"temperature": self._settings.temperature}
        if not self._turbo:
            terms = prosody.chatterbox(style)
            weight = terms.cfg_weight if self._settings.cfg_weight < 0 else self._settings.cfg_weight
            wanted |= {"language_id": style.language, "exaggeration": terms.exaggeration, "cfg_weight": weight}
        return wanted


@contextmanager
def stoppable(model: Any, listener: Listener) -> Iterator[None]:
    """For one call: what nobody listens to ends at the next token of speech, or the next step of the decoder."""
    places = (model.t3.speech_emb, model.s3gen.flow.decoder.estimator)
    hooks = [place.register_forward_pre_hook(listener.check) for place in places]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


@contextmanager
def no_hooks_left(model: Any) -> Iterator[None]:
    """Version 0.1.7 leaves one on each of three layers at every call, and every later call runs them all."""
    layers = [layer.self_attn for layer in getattr(model.t3.tfmr, "layers", ())]  # Turbo's GPT-2 has none of that name
    before = [set(layer._forward_hooks) for layer in layers]
    try:
        yield
    finally:
        for layer, had in zip(layers, before, strict=True):
            for added in layer._forward_hooks.keys() - had:
                del layer._forward_hooks[added]


def load(loading: Loading) -> ClauseSpeaker:
    """The multilingual one. Raises `ConfigError`: bad_setting, unknown_setting, engine_not_installed, watermark_missing,
    unknown_model, model_missing, cannot_run_here, no_network, bad_clip.
    """
    return _load(loading, "chatterbox", MULTILINGUAL)


def load_turbo(loading: Loading) -> ClauseSpeaker:
    """Turbo. Raises what `load` raises."""
    return _load(loading, "chatterbox_turbo", TURBO)


def _load(loading: Loading, name: str, needs: Needs) -> ClauseSpeaker:
    settings = settings_table.read(Settings(), loading.settings, name, from_zero=frozenset({"seed"}))
    _check_clips(settings, name)
    model_name = settings.model or next(iter(needs.known))
    place = prepare(needs, model_name, settings.revision, settings.device, fetch=loading.fetch is not None)
    _check_watermark()
    turbo = name == "chatterbox_turbo"
    with _no_hub():
        model, languages = _open(place.folder, place.device, turbo=turbo)
    chatterbox = Chatterbox(model, settings, turbo=turbo)
    for voice, clip in settings.clips.items():
        chatterbox.learn(voice, Path(str(clip)).expanduser())
    if settings.voice not in chatterbox.voices:
        told = f"{place.folder} brings no voice of its own: name a recording in `clips`, and it as `voice`"
        raise ConfigError("model_missing", f"engines.settings.{name}: {told}")
    about = replace(ABOUT_TURBO if turbo else ABOUT, languages=languages, voices=chatterbox.voices - {""})
    speaker = ClauseSpeaker(about, loading.lane, chatterbox.say, RUN_CHARS)
    speaker.warm(Style("en"))
    return speaker


def _open(folder: Path, device: str, *, turbo: bool) -> tuple[Any, frozenset[str]]:
    if turbo:
        from chatterbox.tts_turbo import ChatterboxTurboTTS

        model = ChatterboxTurboTTS.from_local(folder, device)
        model.norm_loudness = _in_float32(model.norm_loudness)
        return model, frozenset({"en"})
    from chatterbox.mtl_tts import ChatterboxMultilingualTTS

    languages = frozenset(ChatterboxMultilingualTTS.get_supported_languages()) - {"zh"}
    model = ChatterboxMultilingualTTS.from_local(folder, device)
    model.tokenizer.text_to_tokens = _never_short(model.tokenizer)
    return model, languages


def _never_short(tokenizer: Any) -> Callable[..., Any]:
    """Some one-word texts ("Yes.") are too short for the library's watch over the alignment, which then fails: they are
    followed by spaces."""
    from torch.nn.functional import pad

    tokens_of, space = tokenizer.text_to_tokens, tokenizer.tokenizer.token_to_id("[SPACE]")

    def tokens(*given: Any, **named: Any) -> Any:
        found = tokens_of(*given, **named)
        return pad(found, (0, max(0, LEAST_TOKENS - found.shape[-1])), value=space)

    return tokens


def _in_float32(louder: Callable[..., Any]) -> Callable[..., Any]:
    """With numpy 2 Turbo's library makes a clip's samples float64 when it sets its loudness, and then fails on them."""
    return lambda *given, **named: np.asarray(louder(*given, **named), np.float32)


def _check_watermark() -> None:
    """resemble-perth hides that it could not be imported: with setuptools 81 or later its class is None."""
    import perth

    if perth.PerthImplicitWatermarker is None:
        told = "the watermark of resemble-perth cannot be loaded; it needs setuptools below 81: pip install 'setuptools<81'"
        raise ConfigError("watermark_missing", told)


@contextmanager
def _no_hub() -> Iterator[None]:
    """Nothing is fetched that nobody asked for. The multilingual tokenizer asks the hub for a table of Chinese, and waits half a
    minute where there is none; its spacy-pkuseg loads a model from GitHub, and fails where there is none. Without either it
    goes on without Chinese, which is not one of ours."""
    from huggingface_hub import constants

    with patch.object(constants, "HF_HUB_OFFLINE", True), patch.dict(sys.modules, {"spacy_pkuseg": None}):
        yield


def _check_clips(settings: Settings, name: str) -> None:
    """Before anything heavy is loaded."""
    import soundfile

    if settings.voice and settings.voice not in settings.clips:
        raise ConfigError("bad_setting", f"engines.settings.{name}: voice {settings.voice!r} is not one of `clips`")
    for voice, clip in settings.clips.items():
        path = Path(str(clip)).expanduser()
        try:
            samples, rate = soundfile.read(path, dtype="float32", always_2d=True)
        except (OSError, soundfile.SoundFileError) as error:
            raise ConfigError("bad_clip", f"engines.settings.{name}: clips.{voice}: {error}") from error
        if len(samples) / rate <= LEAST_CLIP_S[name]:
            told = f"{len(samples) / rate:.1f} s long; more than {LEAST_CLIP_S[name]:g} s are needed"
            raise ConfigError("bad_clip", f"engines.settings.{name}: clips.{voice}: {path} is {told}")
        if not np.abs(samples).max() > 0.001:
            raise ConfigError("bad_clip", f"engines.settings.{name}: clips.{voice}: {path} is silent")
