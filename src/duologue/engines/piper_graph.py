"""A Piper voice (VITS) run in three parts instead of one, so that a sentence's first sound leaves before it is done.

    text     phoneme ids → how many frames each lasts, and the mean and deviation of each one's latents
    flow     latents of the prior → latents of the sound; convolutions only, so a window of it needs no more than its context
    decoder  HiFi-GAN: latents → samples, 256 a frame; likewise

The exported graph does all of it in one pass, with its noise inside. Here the parts are cut out of it by the names that
PyTorch's exporter gives (`/enc_p/`, `/dp/`, `/flow/`, `/dec/`), what lies between them is done by numpy, and all noise is an
argument. With the same noise the joined windows equal the one pass up to float rounding.

Source of the architecture: Kim et al. 2021, "Conditional Variational Autoencoder with Adversarial Learning for End-to-End
Text-to-Speech" (VITS); Kong et al. 2020, "HiFi-GAN".
"""

from __future__ import annotations

import hashlib
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import onnxruntime

from duologue.audio import Audio
from duologue.errors import ConfigError

HOP = 256
"""Samples that one frame of latents becomes."""

FLOW_CONTEXT = 32
"""Frames on each side: 4 coupling layers of 4 convolutions of width 5 reach 4 · 4 · 2 frames. Exact: no difference at all."""

DECODER_CONTEXT = 11
"""Frames on each side: conv_pre reaches 3, the first upsampling 1, the residual blocks after it 45/8, the finer stages less
than 1 together. Measured: 10 frames leave 9e-7, 8 leave 5e-4, 4 an audible 1e-2."""

FIRST_FRAMES = 28
"""The first window and the least one, 0.33 s: with the silence before speech cut off, its sound still covers the making of the
second where the machine is twice as slow as it is when idle. 24 ran dry there; each frame more costs
1.5 ms before the first sound."""

SHARE, MOST_FRAMES = 0.75, 96
"""Each window costs 22 frames of context in wasted work, so they grow to this share of the sound already given; at most 1.1 s,
because a cancelled one is run to its end."""

Parts: TypeAlias = dict[str, bytes]
Latents: TypeAlias = npt.NDArray[np.float32]  # (channels, frames)

_FORMAT = 1  # of the cache: change it with what is cut out, or with how


@dataclass(frozen=True, slots=True)
class Prosody:
    """The three scales of VITS: of the noise in the sound, of the durations, and of the noise in the durations."""

    noise: float
    length: float
    noise_w: float


class Graph:
    """The three parts, warm; stateless between calls. `threads` is onnxruntime's pool for one call."""

    def __init__(self, model: Path, threads: int = 1) -> None:
        parts = load_parts(model)
        self._text, self._flow, self._decoder = (
            _session(parts.pop(name), threads) for name in ("text", "flow", "decoder")
        )
        self._noise_input = self._text.get_inputs()[-1].name
        self._flow_inputs = [entry.name for entry in self._flow.get_inputs()]

    def plan(
        self, ids: list[int], prosody: Prosody, random: np.random.Generator
    ) -> tuple[npt.NDArray[np.int64], Latents]:
        """How many frames each id lasts, and the latents of the prior for all of them."""
        frames, mean, log_deviation = self._text.run(
            None,
            {
                "input": np.array([ids], np.int64),
                "input_lengths": np.array([len(ids)], np.int64),
                "scales": np.array([prosody.noise, prosody.length, prosody.noise_w], np.float32),
                self._noise_input: random.standard_normal((1, 2, len(ids)), np.float32),
            },
        )
        durations = frames[0, 0].astype(np.int64)
        mean, deviation = (np.repeat(part[0], durations, axis=1) for part in (mean, np.exp(log_deviation)))
        noise = random.standard_normal(mean.shape, np.float32) * np.float32(prosody.noise)
        return durations, mean + noise * deviation

    def samples(self, prior: Latents) -> Iterator[Audio]:
        """The sound, window by window; in all `HOP` samples for each frame of `prior`."""
        latents = Windowed(self._flow_window, prior, FLOW_CONTEXT)
        for start, stop in schedule(prior.shape[1]):
            before, after = max(0, start - DECODER_CONTEXT), stop + DECODER_CONTEXT
            sound = self._decode(latents.window(before, after))
            yield sound[(start - before) * HOP : (stop - before) * HOP]

    def _flow_window(self, prior: Latents) -> Latents:
        mask = np.ones((1, 1, prior.shape[1]), np.float32)
        latents: Latents = self._flow.run(None, dict(zip(self._flow_inputs, (prior[None], mask), strict=True)))[0][0]
        return latents

    def _decode(self, latents: Latents) -> Audio:
        sound: Audio = self._decoder.run(None, {self._decoder.get_inputs()[0].name: latents[None]})[0].reshape(-1)
        return np.clip(sound, -1.0, 1.0)


class Windowed:
    """A convolutional stage made little further than it is asked for: `stage` of the whole `source`, up to rounding.

    What it makes doubles from window to window: its contexts are as wide as a first window, and are wasted work.
    """

    def __init__(self, stage: Callable[[Latents], Latents], source: Latents, context: int) -> None:
        self._stage = stage
        self._source = source
        self._context = context
        self._made: Latents = source[:, :0]

    def window(self, start: int, stop: int) -> Latents:
        """Frames start..stop, cut at the end of the source."""
        done, end = self._made.shape[1], self._source.shape[1]
        if min(stop, end) > done:
            until, before = min(max(stop, 2 * done), end), max(0, done - self._context)
            fresh = self._stage(self._source[:, before : until + self._context])
            self._made = np.concatenate([self._made, fresh[:, done - before : until - before]], axis=1)
        return self._made[:, start:stop]


def schedule(frames: int) -> Iterator[tuple[int, int]]:
    """Windows that cover 0..frames, growing; the last takes a remainder that would not be worth its own context."""
    start = 0
    while start < frames:
        stop = start + min(max(FIRST_FRAMES, int(start * SHARE)), MOST_FRAMES)
        if frames - stop < DECODER_CONTEXT:
            stop = frames
        yield start, stop
        start = stop


def load_parts(model: Path) -> Parts:
    """The parts of a voice, from the cache beside it if that is whole and of this very model and onnxruntime.

    Cutting takes seconds, reading the cache a tenth of one. Raises `ConfigError` (model_unsupported).
    """
    with model.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    cache = model.parent / f".parts-{digest[:16]}-ort{onnxruntime.__version__}-{_FORMAT}.zip"
    try:
        return _read(cache)
    except (OSError, KeyError, zipfile.BadZipFile):
        parts = {name: _optimised(part) for name, part in split(model).items()}
        with suppress(OSError):  # a store that cannot be written to costs seconds at every start, not the voice
            _write(cache, parts)
        return parts


def split(path: Path) -> Parts:
    """Cuts an exported VITS graph (ONNX) into text, flow and decoder. Raises `ConfigError` (model_unsupported)."""
    import onnx
    from onnx.utils import Extractor

    model = onnx.load(str(path))
    try:
        cuts = _cuts(model.graph)
    except (StopIteration, ValueError) as error:
        raise ConfigError("model_unsupported", "this is not a single-speaker Piper voice of the usual shape") from error
    extractor = Extractor(model)
    return {name: extractor.extract_model(*ends).SerializeToString() for name, ends in cuts.items()}


def _cuts(graph: Any) -> dict[str, tuple[list[str], list[str]]]:
    """For each part the tensors that enter and leave it. Fails with StopIteration or ValueError on an unknown graph."""

    def nodes(scope: str, kind: str = "") -> Iterator[Any]:
        return (node for node in graph.node if node.name.startswith(scope) and kind in ("", node.op_type))

    inputs = [entry.name for entry in graph.input]
    if inputs != ["input", "input_lengths", "scales"]:
        raise ValueError(f"inputs {inputs}")
    (durations,) = nodes("/", "Ceil")
    (noise,) = nodes("/dp/", "RandomNormalLike")
    *_, statistics = nodes("/enc_p/", "Split")
    prior, latents = next(nodes("/flow/")).input[0], next(nodes("/dec/")).input[0]
    (masked,) = (node for node in graph.node if latents in node.output)
    return {
        "text": ([*inputs, noise.output[0]], [durations.output[0], *statistics.output]),
        "flow": ([prior, masked.input[1]], [latents]),
        "decoder": ([latents], [graph.output[0].name]),
    }


def _optimised(part: bytes) -> bytes:
    """Fused once, so that later loads need not; only as far as the result still runs on any CPU ("extended")."""
    options = _options(threads=1)
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
    with tempfile.TemporaryDirectory() as folder:
        options.optimized_model_filepath = str(Path(folder) / "part.onnx")
        onnxruntime.InferenceSession(part, options, providers=["CPUExecutionProvider"])
        return Path(options.optimized_model_filepath).read_bytes()


def _session(part: bytes, threads: int) -> Any:
    options = _options(threads)
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL  # it has been done
    return onnxruntime.InferenceSession(part, options, providers=["CPUExecutionProvider"])


def _options(threads: int) -> Any:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return options


def _read(cache: Path) -> Parts:
    """Every byte is checked against the archive's CRC, so a flipped bit is an error and not a strange voice."""
    with zipfile.ZipFile(cache) as archive:
        return {name: archive.read(name) for name in ("text", "flow", "decoder")}


def _write(cache: Path, parts: Parts) -> None:
    """Whole or not at all: another process may be reading, and the disk may be full."""
    for old in cache.parent.glob(".parts-*.zip"):
        old.unlink()
    with tempfile.TemporaryDirectory(dir=cache.parent, prefix=".parts-") as folder:
        fresh = Path(folder) / cache.name
        with zipfile.ZipFile(fresh, "w", zipfile.ZIP_STORED) as archive:
            for part, data in parts.items():
                archive.writestr(part, data)
        fresh.replace(cache)
