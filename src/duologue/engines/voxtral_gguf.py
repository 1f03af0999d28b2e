"""Voxtral as GGUF on a plain CPU or a small GPU: llama.cpp hears through the model's audio projector. No torch.

llama.cpp's own server runs inside this process and is asked in its own form, as `voxtral_http` asks any other; it listens on a
socket file in a folder that nobody else may enter. It has slots that keep what they have read; which conversation gets which is
its own affair.
"""

from __future__ import annotations

import tempfile
import weakref
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import xllamacpp

from duologue.engines import Loading, llama_server
from duologue.engines import settings as settings_table
from duologue.engines.voxtral_http import Settings as Asking
from duologue.engines.voxtral_http import VoxtralHttp
from duologue.engines.weights import GB, memory_gb
from duologue.errors import ConfigError, EngineError

SOURCE: Final = "https://huggingface.co/ggml-org/Voxtral-Mini-3B-2507-GGUF"
"""Where llama.cpp's authors keep both files."""

MEMORY_GB: Final = 8.0
"""Free, and the 3B model in 4 bits has ample room, with its projector and what conversations keep."""

TOKEN_BYTES: Final = 122_880
"""That a conversation keeps of each token: 30 layers of 8 heads of 128 keys and values, 16 bits each."""


@dataclass(frozen=True, slots=True)
class Settings:
    """The table `engines.settings.voxtral_gguf`."""

    model: str = ""  # the .gguf file of the model: 4-bit weights of the 3B one are about 2.5 GB
    projector: str = ""  # the mmproj .gguf file that belongs to it; without one it reads, but does not hear
    threads: int = 4
    gpu_layers: int = 0  # that a GPU counts; llama.cpp must be built for one
    slots: int = 2  # answers at the same time
    context: int = 4_096  # tokens a conversation may hold: 375 for each 30 s of its last turn
    max_tokens: int = 200
    temperature: float = 0.2
    language: str = ""  # of what is said, if it is known beforehand


class VoxtralGguf(VoxtralHttp):
    """`SpeechModel`; raises as `VoxtralHttp` does."""

    def __init__(self, server: Any, folder: Any, asking: Asking, path: Path) -> None:
        super().__init__(asking, socket=path)
        self.about = replace(self.about, name="voxtral_gguf")
        self.close = weakref.finalize(self, _close, [server], folder)


def load(loading: Loading) -> VoxtralGguf:
    """Raises `ConfigError`: bad_setting, unknown_setting, model_missing, cannot_run_here; `EngineError`: engine_load_failed."""
    settings = settings_table.read(Settings(), loading.settings, "voxtral_gguf", from_zero=frozenset({"gpu_layers"}))
    _check(settings)
    folder = tempfile.TemporaryDirectory(prefix="duologue-")
    path = Path(folder.name) / "llama.sock"  # a name that ends so is a socket file to llama.cpp, not a host
    try:
        server = _serve(settings, path)
    except RuntimeError as error:
        folder.cleanup()
        text = f"llama.cpp cannot load {settings.model} with {settings.projector or 'no projector'}"
        raise EngineError("voxtral_gguf", text, code="engine_load_failed", retryable=False) from error
    asking = Asking(
        base_url="http://llama.cpp/v1",
        model="voxtral",
        transcripts=False,
        language=settings.language,
        max_tokens=settings.max_tokens,
        temperature=settings.temperature,
        retries=0,
    )
    return VoxtralGguf(server, folder, asking, path)


def _check(settings: Settings) -> None:
    if not settings.model:
        text = f"fetch a model and its mmproj from {SOURCE}, and name both in engines.settings.voxtral_gguf"
        raise ConfigError("model_missing", f"voxtral_gguf has no model: {text} (model, projector)")
    paths = [Path(path).expanduser() for path in (settings.model, settings.projector) if path]
    for path in paths:
        if not path.is_file():
            raise ConfigError("model_missing", f"there is no file {path}")
    needed = (sum(path.stat().st_size for path in paths) + settings.slots * settings.context * TOKEN_BYTES) / GB
    if not settings.gpu_layers and memory_gb() < needed:
        text = f"{needed:.1f} GB of memory are needed, and {memory_gb():.1f} GB are free"
        raise ConfigError("cannot_run_here", f"{settings.model} cannot run here: {text}")


def _serve(settings: Settings, path: Path) -> Any:
    parameters = xllamacpp.CommonParams()
    parameters.model.path = str(Path(settings.model).expanduser())
    if settings.projector:
        parameters.mmproj.path = str(Path(settings.projector).expanduser())
    parameters.mmproj_use_gpu = settings.gpu_layers > 0
    parameters.n_gpu_layers = settings.gpu_layers
    parameters.n_parallel = settings.slots
    parameters.n_ctx = settings.context * settings.slots
    parameters.cpuparams.n_threads = parameters.cpuparams_batch.n_threads = settings.threads
    parameters.cache_ram_mib = 0
    parameters.verbosity = -1
    parameters.hostnames = [str(path)]
    with llama_server.signals_kept():
        server = xllamacpp.Server(parameters)
    server.handle_chat_completions({"messages": [{"role": "user", "content": "Hi"}], "max_tokens": 1})
    return server


def _close(servers: list[Any], folder: tempfile.TemporaryDirectory[str]) -> None:
    servers.clear()
    folder.cleanup()
