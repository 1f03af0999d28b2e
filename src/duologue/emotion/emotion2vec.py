"""emotion2vec+ in place of the rules of `sound.py`: a larger model that names the feeling in a voice (`SoundModel`).

It is run by FunASR's own class (MIT), imported only when one is made. Its weights come under FunASR's model licence (its
name is to be kept and its source told) and are in no profile: `Emotion2vec` takes a folder as the authors give it out, base or
large, with `config.yaml`, `tokens.txt` and `model.pt`. How well it hears has not been measured here; the adapter was run with
the real class and small random weights.

FunASR's own loader is passed by: it asks the network for newer versions, sets the process's threads, and goes on with random
weights where the file lacks some. Its import tells of every other model's missing packages, which is not worth a line.

Verified with the environment that ships (`places/environments.toml`): funasr 1.4.16 (--no-deps: it asks for modelscope,
transformers and 20 more, of which this model uses none), torch 2.13.0, numpy 2.4.6, omegaconf 2.4.0, Python 3.11.

https://github.com/ddlBoJack/emotion2vec, https://arxiv.org/abs/2312.15185
"""

from __future__ import annotations

import io
import re
from collections.abc import Mapping
from contextlib import redirect_stdout
from pathlib import Path
from types import MappingProxyType, SimpleNamespace
from typing import Any, Final

import numpy as np

from duologue.audio import Audio
from duologue.emotion.labels import Scores
from duologue.emotion.larger import scores
from duologue.engines.weights import chosen, missing_packages
from duologue.errors import ConfigError

PACKAGES: Final = MappingProxyType({"funasr": ">=1.4", "torch": ">=2.6"})

FILES: Final = ("config.yaml", "tokens.txt", "model.pt")

LEAST: Final = 1_600
"""Samples, 0.1 s: its first layers see 400 at once and fail on less, and no feeling is heard in so little."""

MOST: Final = 96_000
"""Samples, 6 s: base takes 1.3 s for them on one core (full size, random weights), and the turn's end is what is answered."""

LAYERS: Final = r"[\d\s()\[\],+*]+"
"""What the library evaluates as Python, so that nothing but numbers may stand in it."""

UNUSED: Final = "modality_encoders.AUDIO.decoder."
"""Weights that only training needs, which may be missing."""


class Emotion2vec:
    """Blocking: call it off the event loop, from one thread at a time. Shared by all sessions.

    Raises `ConfigError`: engine_not_installed, model_missing, model_unsupported.
    """

    def __init__(self, folder: Path, device: str = "auto") -> None:
        if lacks := list(missing_packages(PACKAGES)):
            raise ConfigError("engine_not_installed", f"emotion2vec: {', '.join(lacks)}")  # `placing` knows the cure
        if absent := [name for name in FILES if not (folder / name).is_file()]:
            wanted = "engines.settings.emotion2vec.folder is one of emotion2vec_plus_base or _large"
            raise ConfigError("model_missing", f"there is no {', '.join(absent)} in {folder}; {wanted}")
        self._device = chosen(device)
        self._labels = (folder / "tokens.txt").read_text(encoding="utf-8").split()
        self._model = _open(folder, len(self._labels)).to(self._device).eval()

    def __call__(self, audio: Audio) -> Scores:
        """Of the end of 16 kHz mono at any level: the model evens it out. Raises `ValueError` where it gives no number."""
        if len(audio) < LEAST:
            return scores({})
        import torch

        with torch.inference_mode():
            ((told,), _) = self._model.inference(
                [np.ascontiguousarray(audio[-MOST:], np.float32)],
                key=["turn"],
                tokenizer=SimpleNamespace(token_list=self._labels),  # all of one that it uses
                device=self._device,
                extract_embedding=False,
            )
        return scores(shares(told["labels"], told["scores"]))


def shares(labels: list[str], given: list[float]) -> Mapping[str, float]:
    """By their English names: the file says "生气/angry"."""
    return {label.rpartition("/")[2].strip("<>"): share for label, share in zip(labels, given, strict=True)}


def _open(folder: Path, labels: int) -> Any:
    with redirect_stdout(io.StringIO()):
        from funasr.models.emotion2vec.model import Emotion2vec as Model
    model = Model(model_conf=_settings(folder / "config.yaml"), vocab_size=labels)
    _fill(model, folder / "model.pt")
    return model


def _settings(path: Path) -> Any:
    from omegaconf import OmegaConf

    try:
        config: Any = OmegaConf.to_container(OmegaConf.load(path))
        settings = config["model_conf"]
        layers = settings["modalities"]["audio"]["feature_encoder_spec"]
    except Exception as error:  # of many kinds
        raise ConfigError("model_unsupported", f"{path} is not an emotion2vec's: {error!r}") from error
    if re.fullmatch(LAYERS, str(layers)) is None:
        raise ConfigError("model_unsupported", f"{path}: layers are numbers, not {layers!r}")
    return settings


def _fill(model: Any, path: Path) -> None:
    """Data only is read of the file: a pickle could run anything."""
    import torch

    try:
        weights = torch.load(path, map_location="cpu", weights_only=True)
        for within in ("state_dict", "model_state_dict", "model"):
            weights = weights.get(within, weights)
        missing, _ = model.load_state_dict(weights, strict=False)
    except Exception as error:  # of many kinds
        raise ConfigError("model_unsupported", f"{path} cannot be read: {error}") from error
    if lacks := [name for name in missing if not name.startswith(UNUSED)]:
        raise ConfigError("model_unsupported", f"{path} lacks {len(lacks)} of the model's weights, such as {lacks[0]}")
