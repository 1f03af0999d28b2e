"""Words out of a stream of text, and whether words came back as an echo. Pure."""

from __future__ import annotations

import re

ECHO_SHARE = 0.75
"""Of the words heard, so many must come from the reply in hand for it to be its own echo."""

ECHO_WORDS = 3
"""Fewer words than this prove nothing, once they are all: people repeat a word to ask about it."""


class WordStream:
    """Gives each word as soon as the text after it shows that it is whole; spaces stay with the word before them."""

    def __init__(self) -> None:
        self._rest = ""

    def push(self, text: str) -> list[str]:
        self._rest += text
        *_, last = self._rest.rsplit(None, 1) or [""]
        whole = len(self._rest.rstrip()) - len(last.rstrip())
        words = re.findall(r"\s*\S+\s+", self._rest[:whole])
        self._rest = self._rest[sum(map(len, words)) :]
        return words

    def flush(self) -> list[str]:
        """The last word, if there is one."""
        rest, self._rest = self._rest, ""
        return [rest] if rest.strip() else []


def is_echo(heard: str, spoken: str, final: bool = True) -> bool:
    """Was the microphone hearing our own reply? Word overlap only: an echo canceller comes before this, in the client.

    While more words may come (`final` is False), the first few count as well: else each echo would have the floor before its
    third word.
    """
    words, own = bare_words(heard), set(bare_words(spoken))
    enough = ECHO_WORDS if final else 1
    return len(words) >= enough and sum(word in own for word in words) >= ECHO_SHARE * len(words)


def bare_words(text: str) -> list[str]:
    """In lower case, without the punctuation around them, in any script."""
    return [bare for word in text.lower().split() if (bare := word.strip(".,!?…;:।\"'"))]
