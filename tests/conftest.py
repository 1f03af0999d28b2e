"""What tests share: where the recordings and the packaged models are, and why a test was skipped without them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

RECORDINGS = Path(os.environ.get("SPEECH_RECORDINGS", Path(__file__).parents[2] / "shared" / "speech"))


@pytest.fixture(scope="session")
def recordings() -> Path:
    """The folder of real recordings; they are under their own licences and not part of this repository."""
    if not (RECORDINGS / "manifest.tsv").exists():
        pytest.skip(f"no recordings in {RECORDINGS}: set SPEECH_RECORDINGS to run this")
    return RECORDINGS
