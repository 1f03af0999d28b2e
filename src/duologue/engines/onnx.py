"""What the ears share: how an onnxruntime session is set up (a small, quiet, budgeted pool), and what sound it may be given.

On a small machine the ears share the cores with the language model and the voice. onnxruntime's own defaults (a thread per
core, busy waiting between calls) were measured to double the CPU time of recognition and to make it slower, not faster.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime

from duologue import config
from duologue.audio import Audio
from duologue.engines import Loading
from duologue.errors import ConfigError


def session(model: Path, threads: int = 1) -> Any:
    """An `onnxruntime.InferenceSession` on the CPU; thread-safe. Fails with onnxruntime's own exceptions."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return onnxruntime.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])


def threads(loading: Loading, engine: str) -> int:
    """`settings["threads"]`, 1 unless given: the only setting of these engines.

    Raises `ConfigError`: unknown_setting, bad_setting.
    """
    for name in loading.settings.keys() - {"threads"}:
        raise ConfigError("unknown_setting", f"{engine} has no setting {name!r}; it has: threads")
    count: int = config.convert(loading.settings.get("threads", 1), int, f"{engine}: threads")
    if count < 1:
        raise ConfigError("bad_setting", f"{engine}: threads must be 1 or more, not {count}")
    return count


def clean(samples: Audio) -> Audio:
    """A copy within -1..1, silent where a sample is no finite number: one NaN makes all of a model's output NaN, and stays
    for ever in the state of a recurrent one."""
    finite = np.nan_to_num(samples, nan=0.0, posinf=0.0, neginf=0.0)
    clipped: Audio = np.clip(finite, -1.0, 1.0)
    return clipped
