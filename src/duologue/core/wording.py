"""Whether words want more, or are a whole question. Pure text; a few words of the languages that put theirs before the noun.

Hindi, Marathi, Tamil and Telugu put them behind it, where a sentence may end: there only fillers and "and" or "but" tell.
"""

from __future__ import annotations

import re

from duologue.core.words import bare_words

_MORE_FOLLOWS = """
a an the my your his its our their and but or because if than of to with from for be um uh er erm umm uhm
el la los las un una mi tu su y o pero porque si de del al con para por que eh este
dan atau tetapi tapi kerana jika kalau yang dengan untuk daripada kepada
और या लेकिन क्योंकि अगर आणि किंवा पण कारण மற்றும் அல்லது ஆனால் మరియు లేదా కానీ
"""
MORE_FOLLOWS = frozenset(_MORE_FOLLOWS.split())
"""Nobody ends with these, but for a listener's patience. Left out: words that end questions ("what is it for?" is rarer than
"a room for") stand here; those that end statements as often as not ("that", "so", "like") do not."""

LINKS = frozenset(["is", "are", "was", "were"])
"""Nobody ends with these either ("my account number is"), but after a pronoun ("yes, it is") or where the sentence asks for
something ("tell me where the station is")."""

PRONOUNS = frozenset(["it", "he", "she", "they", "we", "you", "that", "this", "there", "these", "those"])
ASKING = frozenset(["what", "who", "whose", "where", "how", "when", "which", "why"])

WHOLE_WORDS = 3
"""A shorter question may be a start: "What?" of "What are your opening hours?"."""

_QUESTION = re.compile(r"[?？][\"'»”)]*$")


def unfinished(text: str) -> bool:
    """More is to come, or nobody would have said the last word; a question mark means that it was the last."""
    words = bare_words(_last_sentence(text))
    if not words or _QUESTION.search(text.rstrip()):
        return False
    return words[-1] in MORE_FOLLOWS or (words[-1] in LINKS and _links(words[:-1]))


def _links(before: list[str]) -> bool:
    return bool(before) and before[-1] not in PRONOUNS and ASKING.isdisjoint(before)


def asks(text: str) -> bool:
    """A question of at least `WHOLE_WORDS`, as the recogniser writes it."""
    sentence = _last_sentence(text)
    return len(bare_words(sentence)) >= WHOLE_WORDS and bool(_QUESTION.search(sentence))


def _last_sentence(text: str) -> str:
    return re.split(r"[.!?…।？]\s+", text.strip())[-1]
