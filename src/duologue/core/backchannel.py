"""Is what was said over the reply a bid for the floor, or only "mm-hm"?

Pure text and numbers. Recognisers have no word for a hum: small ones write it as some unlikely short words, which the
confidence gives away.
"""

from __future__ import annotations

from duologue.core.words import bare_words

_LISTENERS_WORDS = """
mm mmm mhm mmhm mmhmm mm-hm mm-hmm hm hmm hmmm uh-huh uhhuh uhuh huh ah aha oh ooh okay ok k yeah yep yup right sure
wow nice cool great good true exactly indeed really
sí ajá vale claro ya हाँ हां हम्म अच्छा ठीक हो बरं ஆம் ம்ம் సరే అవును ఊఁ
"""
BACKCHANNELS = frozenset(_LISTENERS_WORDS.split())
"""Words that say "go on" when they stand alone, in the languages of the table."""

HUMMED = frozenset("mhu-")
"""A word of nothing but these letters is a hum, however it was written ("m", "hum", "mmhm")."""

LONGEST_WORDS = 3
DOUBTFUL = 0.4
"""Below this belief a transcript of at most `LONGEST_WORDS` words is taken for a hum. Belief is the confidence to the power of
the number of words: a recogniser makes more words of a hum than of a word, each of them unlikely.

With Moonshine none of 17 variants (speed, noise, loudness) of the one recorded hum at hand got the floor so, and one of 136
such of eight short recordings ("fifth", "five five") was doubted. A limit on the confidence alone, 0.62, missed three of the
hums and doubted two of the words.
"""


def is_backchannel(text: str, confidence: float) -> bool:
    """True for nothing, for a few listener's words, and for a short transcript its recogniser does not believe itself."""
    words = bare_words(text)
    if len(words) > LONGEST_WORDS:
        return False
    doubtful = confidence ** len(words) < DOUBTFUL
    return doubtful or all(word in BACKCHANNELS or set(word) <= HUMMED for word in words)
