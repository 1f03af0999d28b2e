"""What a voice is given to say: a text's words without Markdown, emoji and control characters, in runs of bounded length.

Models write for the eye; a phonemiser reads "**" as "asterisk asterisk". Every word keeps the text it stood for, so that
what was heard can be cut out of the original to the letter. Knows no language and no engine.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

WORD_CHARS = 48
"""A "word" longer than this is cut: no language of the table writes longer ones. What goes on in ASCII is a key, a hash or an
attack, and is not said; what goes on in another script may be one that writes no spaces, and is."""

RUN_CHARS = 200
"""The most that is synthesised at once, about 13 s of speech: bounds the cost of a cancelled run and the memory of one pass."""

SYMBOLS_SAID = frozenset("%&+=$€£¥°@<>§©")
"""Have no letter in them, and yet a voice has a word for them."""


@dataclass(frozen=True, slots=True)
class Spoken:
    """`text` as it stood, with the spaces before it; `say` what the voice is given for it, "" where it has no sound."""

    text: str
    say: str


def read(text: str) -> list[Spoken]:
    """The words of a text. Joining their `text` gives `text` back exactly, whatever is in it."""
    words: list[Spoken] = []
    for piece in _WORD.findall(text):
        if words and "\n" in piece[: -len(piece.lstrip()) or None] and not _goes_on(piece.strip()):
            words[-1] = _with_pause(words[-1])
        goes_on = bool(words) and not piece[0].isspace()
        words.append(Spoken(piece, "" if goes_on and piece.isascii() else _say(piece.strip())))
    return words


def _goes_on(word: str) -> bool:
    """It may go on the line before: not the number of an entry ("2." or, made speakable, "two.")."""
    return word[:1].islower() and not word.endswith((".", ")"))


def runs(words: Sequence[Spoken], limit: int = RUN_CHARS) -> Iterator[list[Spoken]]:
    """The words in runs of at most `limit` spoken characters, cut after punctuation where there is some in the later half."""
    run: list[Spoken] = []
    length = 0
    for word in words:
        if run and word.say and length + len(word.say) > limit:
            cut = _cut(run)
            yield run[:cut]
            run = run[cut:]
            length = len(spoken(run))
        run.append(word)
        length += len(word.say) + 1
    if run:
        yield run


def spoken(words: Sequence[Spoken]) -> str:
    """What the voice is given for a run, "" where none of it has a sound."""
    return " ".join(word.say for word in words if word.say)


def _cut(run: Sequence[Spoken]) -> int:
    for index in range(len(run), len(run) // 2, -1):
        if run[index - 1].say.endswith(_PAUSES):
            return index
    return len(run)


def _with_pause(word: Spoken) -> Spoken:
    """A new line is a pause that only the eye sees: the end of a heading, of a list's entry."""
    return Spoken(word.text, word.say + "," if word.say and not word.say.endswith(_PAUSES) else word.say)


def _say(word: str) -> str:
    if word in SYMBOLS_SAID:
        return word
    for pattern, replacement in _REWRITES:
        word = pattern.sub(replacement, word)
    word = unicodedata.normalize("NFC", _PRESENTATION.sub(_plain, word))
    word = " ".join("".join(character for character in word if _audible(character)).split())[: 2 * WORD_CHARS]
    return word if any(character.isalnum() or character in SYMBOLS_SAID for character in word) else ""


def _audible(character: str) -> bool:
    """Not a control, format, private or unassigned character, and not a picture. Joiners stay: Indic spelling needs them."""
    if character in "\u200c\u200d" or character in SYMBOLS_SAID:
        return True
    return unicodedata.category(character) not in _SILENT and not _VARIATION.match(character)


def _plain(match: re.Match[str]) -> str:
    return unicodedata.normalize("NFKC", match.group())


_WORD = re.compile(rf"\s*(?:https?://\S+|\S{{1,{WORD_CHARS}}})(?:\s+\Z)?|\s+\Z")
_PAUSES = (".", ",", ";", ":", "!", "?", "।", "॥", "。", "，", "！", "？")
_SILENT = frozenset({"Cc", "Cf", "Co", "Cs", "Cn", "So", "Sk", "Me"})
_VARIATION = re.compile("[\ufe00-\ufe0f]")
_PRESENTATION = re.compile("[\U0001d400-\U0001d7ff\uff00-\uffef]")  # 𝓗𝓮𝓵𝓵𝓸, Ｈｅｌｌｏ: letters in costume

# In this order. A link is said by its name, an address by its host; brackets, which phonemisers and SSML give a meaning,
# never reach the voice; runs of the same mark or letter are said once, or three times where it is a letter. A hyphen between a
# sign and a letter, "£-एक", ends the process, and so may a word of two scripts, "ऽvऺḱउ": espeak-ng reads beyond its memory there
# in India's languages.
_REWRITES = tuple(
    (re.compile(pattern), replacement)
    for pattern, replacement in (
        (r"\]\([^)]*\)?", ""),
        (r"https?://(?:www\.)?([^/\s?#:\])]+)\S*", r"\1"),
        (r"</?[A-Za-z][^>]*>", " "),
        (r"\*\*+|__+|~~+|`+|(?<![^\W_])[*_~]|[*_~](?![^\W_])|^#+", ""),
        (r"[\[\]{}<>|\\^]", " "),
        (r"\.{2,}|…|—|--+", ", "),
        (r"([!?,;:])\1+", r"\1"),
        (r"([^\w\s])\1{2,}", r"\1"),
        (r"([^\W\d])\1{3,}", r"\1\1\1"),
        (r"([\u0300-\u036f]{2})[\u0300-\u036f]+", r"\1"),
        (r"(?<=[^\w\s\u0900-\u0963\u0966-\u0dff])-(?=[^\x00-\x7f])", " "),
        (r"(?<=[\u0900-\u0dff])(?=[^\W\d_\u0900-\u0dff])|(?<=[^\W\d_\u0900-\u0dff])(?=[\u0900-\u0dff])", " "),
    )
)
