"""duologue: talk with a language model aloud, on your own machine."""

import os

__version__ = "0.1.0"

# Before anything imports numpy: a single large product would wake OpenBLAS's busy-waiting threads, which then take the cores
# from the engines for milliseconds at a time.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
