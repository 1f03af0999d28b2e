"""Whether Voxtral can run on this machine, what is missing where it cannot, and its weights: from a folder, or from the hub.

Knows what the models need from their authors' cards and from counting their parameters; none of it was measured here.
"""

from __future__ import annotations

from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Final

from duologue.engines.weights import (
    GB,
    SMALL,
    Place,
    Weights,
    cached,
    chosen,
    fetched,
    lacking_on_gpu,
    memory_gb,
    no_room,
)
from duologue.errors import ConfigError

EXTRA: Final = "pip install 'duologue[voxtral]', or `duologue engines install voxtral`"

PACKAGES: Final = {"torch": (2, 6), "transformers": (5, 3), "mistral-common": (1, 11), "accelerate": (1, 3)}
"""The oldest that will do; transformers 5.1 and 5.2 fail at every chat prompt, and newer ones ignore an older mistral-common."""

PATTERNS: Final = ["*.json", "model*.safetensors"]
"""Of a repository; Mistral's hold the same weights a second time, as `consolidated.safetensors`."""

LIVE: Final = "mistralai/Voxtral-Mini-4B-Realtime-2602"

KNOWN: Final = {
    "mistralai/Voxtral-Mini-3B-2507": Weights("Apache-2.0", 9.4, 11.0),
    "mistralai/Voxtral-Small-24B-2507": Weights("Apache-2.0", 48.5, 55.0),
    LIVE: Weights("Apache-2.0", 8.9, 14.0),
}


def prepare(model: str, revision: str, device: str, *, fetch: bool = True) -> Place:
    """The weights, here, and where they will run. Blocking: fetches what is missing, once it is clear that it can be used.

    Raises `ConfigError`: cannot_run_here, model_missing, no_network, unknown_model.
    """
    folder = Path(model).expanduser()
    local = folder.is_dir()
    if not local and model not in KNOWN:
        raise ConfigError("unknown_model", f"{model} is neither a folder nor one of: {', '.join(KNOWN)}")
    if local and not (folder / "config.json").is_file():
        raise ConfigError("model_missing", f"there is no config.json in {folder}")
    weights = _weights_in(folder) if local else KNOWN[model]
    faults = list(lacking(weights, device))
    if not faults and not local:
        folder = _cached(model, revision) or folder
        faults = [] if folder.is_dir() else list(_no_room(weights))
    if faults:
        raise ConfigError("cannot_run_here", f"{model} cannot run here: {'; '.join(faults)}")
    if not folder.is_dir():
        if not fetch:
            text = f"{model} is not here; `duologue serve` fetches it: {weights.download_gb:g} GB, {weights.licence}"
            raise ConfigError("model_missing", text)
        folder = _fetch(model, revision, weights)
    return Place(folder, chosen(device))


def check_language(engine: str, language: str, heard: frozenset[str]) -> None:
    """Raises `ConfigError` (bad_setting) for a language that the model does not understand."""
    if language and language not in heard:
        text = (
            f"engines.settings.{engine}: {language!r} is no language that it hears; it hears {' '.join(sorted(heard))}"
        )
        raise ConfigError("bad_setting", text)


def lacking(weights: Weights, device: str) -> Iterator[str]:
    """What this machine lacks, one phrase each. Without torch nothing is known of its GPU."""
    missing = list(_missing_packages())
    if missing:
        yield f"{', '.join(missing)} ({EXTRA})"
        return
    if chosen(device) == "cpu":
        yield from _lacking_on_cpu(weights, device)
    else:
        yield from lacking_on_gpu(weights, chosen(device))


def fits(model: str) -> bool:
    """Whether this machine could run a known model on its GPU, as far as can be seen without trying."""
    return not any(lacking(KNOWN[model], "auto"))


def open_model(kind: str, place: Place) -> tuple[Any, Any]:
    """Model and processor. `kind` is a class of transformers. No file of the folder is run, pickled ones are refused."""
    import torch
    import transformers

    dtype = torch.float32 if place.device == "cpu" else torch.bfloat16
    where = {} if place.device == "cpu" else {"device_map": "auto" if place.device == "cuda" else place.device}
    made = getattr(transformers, kind)
    model = made.from_pretrained(place.folder, dtype=dtype, use_safetensors=True, local_files_only=True, **where)
    return model.eval(), transformers.AutoProcessor.from_pretrained(place.folder, local_files_only=True)


def _missing_packages() -> Iterator[str]:
    for name, oldest in PACKAGES.items():
        wanted = ".".join(map(str, oldest))
        try:
            found = version(name)
        except PackageNotFoundError:
            yield f"{name} is not installed"
        else:
            if tuple(int(part) for part in found.split(".")[:2]) < oldest:
                yield f"{name} {found} is older than {wanted}"


def _lacking_on_cpu(weights: Weights, device: str) -> Iterator[str]:
    if device == "auto" and weights.download_gb * GB > SMALL:
        yield f"no CUDA GPU was found; {weights.memory_gb:g} GB of its memory are needed"
    elif memory_gb() < 2 * weights.download_gb:  # float32: CPUs count in bfloat16 slowly, or not at all
        yield f"{2 * weights.download_gb:.1f} GB of memory are needed, and {memory_gb():.1f} GB are free"


def _weights_in(folder: Path) -> Weights:
    size = sum(path.stat().st_size for path in folder.glob("model*.safetensors")) / GB
    return Weights("", size, 1.2 * size)


def _no_room(weights: Weights) -> Iterator[str]:
    return no_room(weights)


def _cached(model: str, revision: str) -> Path | None:
    return cached(model, revision, PATTERNS)


def _fetch(model: str, revision: str, weights: Weights) -> Path:
    return fetched(model, revision, weights, PATTERNS)
