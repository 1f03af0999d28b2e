"""duologue: talk with a language model aloud, on your own machine."""

__version__ = "0.1.0"
