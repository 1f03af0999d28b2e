"""Voice activity with Silero VAD (v5 and later) through onnxruntime.

The model is recurrent and looks 64 samples back: each call takes those samples, the 512 new ones and the state that the
last call gave. Without the 64 samples it calls all speech silence, so they are kept here and nowhere else.
Source: https://github.com/snakers4/silero-vad (MIT).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from duologue.audio import FRAME_SAMPLES, INPUT_RATE, Audio, Frame
from duologue.engines import About, Loading, Vad, VadModel, onnx
from duologue.errors import EngineError

CONTEXT_SAMPLES = 64
STATE_SHAPE = (2, 1, 128)


class Silero:
    """The shared weights."""

    about = About(name="silero", licence="MIT", cancel="chunk")

    def __init__(self, session: Any) -> None:
        self._session = session

    def open(self) -> Vad:
        return _Detector(self._session)


class _Detector:
    """One session's memory: the recurrent state and the last 64 samples. About 0.2 ms a call."""

    def __init__(self, session: Any) -> None:
        self._session = session
        self._state = np.zeros(STATE_SHAPE, np.float32)
        self._window = np.zeros((1, CONTEXT_SAMPLES + FRAME_SAMPLES), np.float32)
        self._rate = np.array(INPUT_RATE, np.int64)

    def __call__(self, frame: Frame) -> float:
        self._window[0, :CONTEXT_SAMPLES] = self._window[0, -CONTEXT_SAMPLES:]
        self._window[0, CONTEXT_SAMPLES:] = onnx.clean(_checked(frame.samples))
        inputs = {"input": self._window, "state": self._state, "sr": self._rate}
        probability, self._state = self._session.run(None, inputs)
        return float(probability[0, 0])


def _checked(samples: Audio) -> Audio:
    if samples.shape != (FRAME_SAMPLES,):
        raise EngineError("silero", f"a frame has {FRAME_SAMPLES} samples, not {samples.shape}", retryable=False)
    return samples


def load(loading: Loading) -> VadModel:
    """Needs the packaged model `silero-vad`. Takes no lane: a call is cheaper than a change of thread.

    Raises `ConfigError`: model_missing, model_corrupt, unknown_setting, bad_setting.
    """
    model = Silero(onnx.session(loading.model("silero-vad") / "silero_vad.onnx", onnx.threads(loading, "silero")))
    model.open()(Frame(np.zeros(FRAME_SAMPLES, np.float32), 0))
    return model
