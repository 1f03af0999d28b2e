"""SenseVoice in place of the rules of `sound.py`: a larger model that names the feeling in a voice (`SoundModel`).

It is run by sherpa-onnx (Apache-2.0), imported only when one is made. Its weights come under a licence of their own and are
in no profile: `SenseVoice` takes the folder of an exported model as its publishers give it out, with `tokens.txt` and
`model.int8.onnx` or `model.onnx`. How well it hears has not been measured here; the adapter was run with the real library and
a model without sense.

https://k2-fsa.github.io/sherpa/onnx/sense-voice/index.html
"""

from __future__ import annotations

from pathlib import Path

from duologue.audio import INPUT_RATE, Audio
from duologue.emotion.labels import Scores
from duologue.emotion.larger import scores
from duologue.errors import ConfigError


class SenseVoice:
    """Blocking: call it off the event loop, from one thread at a time. Shared by all sessions.

    Raises `ConfigError`: model_missing, engine_missing.
    """

    def __init__(self, folder: Path, threads: int = 1) -> None:
        models = [path for name in ("model.int8.onnx", "model.onnx") if (path := folder / name).is_file()]
        tokens = folder / "tokens.txt"
        if not models or not tokens.is_file():
            raise ConfigError(
                "model_missing", f"{folder} holds no SenseVoice: model.int8.onnx or model.onnx, and tokens.txt"
            )
        try:
            from sherpa_onnx import OfflineRecognizer
        except ImportError as error:
            raise ConfigError("engine_missing", f"SenseVoice needs the package sherpa-onnx: {error}") from error
        self._model = OfflineRecognizer.from_sense_voice(model=str(models[0]), tokens=str(tokens), num_threads=threads)

    def __call__(self, audio: Audio) -> Scores:
        stream = self._model.create_stream()
        stream.accept_waveform(INPUT_RATE, audio)
        self._model.decode_stream(stream)
        return scores_of(stream.result.emotion)


def scores_of(tag: str) -> Scores:
    """Of one such as "<|HAPPY|>": it names a feeling and not how sure it is."""
    return scores({tag.strip("<|>"): 1.0})
