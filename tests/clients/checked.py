"""The program `duologue`, with every event of the Realtime API checked as in the tests: what some client would refuse is in the
log, after `REFUSED`."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import strict

from duologue.cli import main

REFUSED = "an event that some client would refuse:"

if __name__ == "__main__":
    strict.watch(lambda error: print(REFUSED, error, file=sys.stderr, flush=True))
    main()
