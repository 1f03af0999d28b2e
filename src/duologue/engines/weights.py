"""Weights of a few gigabytes: whether this machine can take them, and where they are: in a folder, or brought from the hub.

Shared by the engines whose libraries are heavy. Knows no model: each engine says what it needs (`Needs`).
"""

from __future__ import annotations

import os
import re
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Final

from duologue.errors import ConfigError

GB: Final = 1e9

MEMORY: Final = Path("/proc/meminfo")

SMALL: Final = 1 * GB
"""Weights up to here run on a CPU unasked: nothing that was trained to converse is so small, and of voices only quick ones."""


@dataclass(frozen=True, slots=True)
class Weights:
    """`memory_gb` of a GPU, with room to work."""

    licence: str
    download_gb: float
    memory_gb: float


@dataclass(frozen=True, slots=True)
class Place:
    folder: Path
    device: str


@dataclass(frozen=True, slots=True)
class Needs:
    """What an engine cannot do without. `packages` maps each to its versions: ">=5.3", "==4.46.1", "<81", or "" for any."""

    packages: Mapping[str, str]
    install: str
    """The command that brings them."""
    known: Mapping[str, Weights]
    patterns: Sequence[str]
    """Files of the hub's repository."""
    required: Sequence[str]
    """Files, or patterns of them, without which a folder is no model."""


def prepare(needs: Needs, model: str, revision: str, device: str, *, fetch: bool) -> Place:
    """The weights, here, and where they will run. Blocking: fetches what is missing, once it is clear that it can be used.

    Raises `ConfigError`: engine_not_installed, unknown_model, model_missing, cannot_run_here, no_network.
    """
    if lacks := list(missing_packages(needs.packages)):
        raise ConfigError("engine_not_installed", f"{', '.join(lacks)} ({needs.install})")
    folder = Path(model).expanduser()
    if folder.is_dir():
        return Place(_whole(folder, needs), chosen(device))
    if model not in needs.known:
        raise ConfigError("unknown_model", f"{model} is neither a folder nor one of: {', '.join(needs.known)}")
    weights = needs.known[model]
    cached_folder = cached(model, revision, needs.patterns)
    if faults := [*no_memory(weights, device), *(() if cached_folder else no_room(weights))]:
        raise ConfigError("cannot_run_here", f"{model} cannot run here: {'; '.join(faults)}")
    if cached_folder is None:
        if not fetch:
            told = f"{model} is not here; `duologue serve` fetches it: {weights.download_gb:g} GB, {weights.licence}"
            raise ConfigError("model_missing", told)
        cached_folder = fetched(model, revision, weights, needs.patterns)
    return Place(_whole(cached_folder, needs), chosen(device))


def _whole(folder: Path, needs: Needs) -> Path:
    if absent := [pattern for pattern in needs.required if not any(folder.glob(pattern))]:
        raise ConfigError("model_missing", f"there is no {', '.join(absent)} in {folder}")
    return folder


def missing_packages(wanted: Mapping[str, str]) -> Iterator[str]:
    """One phrase for each that is absent, or of a version that will not do."""
    for name, versions in wanted.items():
        try:
            found = version(name)
        except PackageNotFoundError:
            yield f"{name} is not installed"
        else:
            if versions and not _fits(found, versions):
                yield f"{name} {found} will not do: {versions} is needed"


def _fits(found: str, versions: str) -> bool:
    match = re.fullmatch(r"(>=|==|<)(.+)", versions)
    assert match, versions
    have, want = _numbers(found), _numbers(match[2])
    have = have[: len(want)]
    return {">=": have >= want, "==": have == want, "<": have < want}[match[1]]


def _numbers(release: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", release.split("+")[0]))


def chosen(device: str) -> str:
    import torch

    if device != "auto":
        return device
    return "cuda" if torch.cuda.is_available() else "cpu"


def no_memory(weights: Weights, device: str) -> Iterator[str]:
    """What this machine lacks, one phrase each; `device` "auto" means that a CPU would be a poor substitute for a GPU."""
    if chosen(device) != "cpu":
        yield from lacking_on_gpu(weights, chosen(device))
    elif device == "auto" and weights.download_gb * GB > SMALL:
        yield f'no CUDA GPU was found; {weights.memory_gb:g} GB of its memory are needed (device = "cpu" tries without)'
    elif memory_gb() < 2 * weights.download_gb:  # float32: CPUs count in bfloat16 slowly, or not at all
        yield f"{2 * weights.download_gb:.1f} GB of memory are needed, and {memory_gb():.1f} GB are free"


def lacking_on_gpu(weights: Weights, device: str) -> Iterator[str]:
    import torch

    if not torch.cuda.is_available():
        yield "no CUDA GPU was found"
        return
    places = range(torch.cuda.device_count()) if device == "cuda" else [torch.device(device)]
    free = sum(torch.cuda.mem_get_info(place)[0] for place in places) / GB
    if free < weights.memory_gb:
        yield f"{weights.memory_gb:g} GB of GPU memory are needed, and {free:.1f} GB are free"


def no_room(weights: Weights) -> Iterator[str]:
    from huggingface_hub.constants import HF_HUB_CACHE

    place = Path(HF_HUB_CACHE)
    while not place.exists():
        place = place.parent
    free = shutil.disk_usage(place).free / GB
    if free < weights.download_gb:
        yield f"{weights.download_gb:g} GB of disk are needed in {HF_HUB_CACHE}, and {free:.1f} GB are free"


def memory_gb() -> float:
    """That can be had without swapping: what is free, and on Linux what its caches would give back."""
    with suppress(OSError):
        if found := re.search(r"^MemAvailable:\s+(\d+) kB", MEMORY.read_text(), re.MULTILINE):
            return int(found[1]) * 1024 / GB
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / GB


def cached(model: str, revision: str, patterns: Sequence[str]) -> Path | None:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    try:
        found = snapshot_download(model, revision=revision, allow_patterns=list(patterns), local_files_only=True)
        return Path(found)
    except LocalEntryNotFoundError:
        return None


def fetched(model: str, revision: str, weights: Weights, patterns: Sequence[str]) -> Path:
    """Goes on where an interrupted one stopped; the hub's client checks each file and shows how far it is."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError

    print(f"fetching {model}: {weights.download_gb:g} GB, licence {weights.licence}", file=sys.stderr, flush=True)
    try:
        return Path(snapshot_download(model, revision=revision, allow_patterns=list(patterns)))
    except (HfHubHTTPError, OSError) as error:
        raise ConfigError("no_network", f"cannot fetch {model}: {error}") from error
