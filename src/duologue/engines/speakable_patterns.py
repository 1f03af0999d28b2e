"""What in a text is no word yet: one pattern a language, with one alternative a rule of `speakable_rules`.

Linear on any text: what repeats is possessive or bounded.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from duologue.engines.speakable_tables import CURRENCIES, SCALE_WORDS, SCALES, UNITS, Little

LETTER = r"\w\u0900-\u0963\u0966-\u0dff"
"""`\\w` and the marks of India's scripts, which are none: "కూడా" ends in a vowel sign, and is no "డా." with something before it."""

NUMBER = r"\d++(?:[.,]\d++)*+"
"""Whole or not at all: "1.5M" is no 1 before ".5M"."""


def pattern(little: Little, language: str, months: Mapping[str, str]) -> str:
    """One alternative a rule, in the order in which they are tried. A number that touches a letter ("MP3", "B2B") or a link is a
    name, and stays; of one that stands before a hyphen ("5-year", "COVID-19") it is said."""
    signs, units, short, scales = map(_any, (CURRENCIES, UNITS, little.short, SCALE_WORDS))
    free = rf"(?<![{LETTER}./:@&?])(?<![\d./:@#&?]-)"
    alone = rf"(?:(?=[²³])|(?![{LETTER}@/]|-\d|:[{LETTER}]))"
    half = r"(?:\s?(?P<half>[apAP])(?:[mM]|\.\s?[mM]\.?)(?!\w))?"
    hours = r"(?:\s?h(?:rs?)?\b\.?)?" if language == "es" else ""
    number = rf"(?:\d{{1,3}}(?:[ \u00a0\u202f]\d{{3}})++(?:,\d++)?+(?!\d)|{NUMBER})" if language == "es" else NUMBER
    span = rf"{number}(?:\s?[–-]\s?(?:[$€£¥₹]|RM)?{number}(?!\s?=))?+"
    letters = "".join(letter for letter in SCALES.get(language, {}) if letter not in ("m", "bn")) or "k"
    native = r"\u0900-\u0963\u0970-\u097f\u0b80-\u0be5\u0c00-\u0c65"
    rules = [
        r"(?:https?://|www\.)\S+",  # matched, and by no rule: left as it is
        r"(?P<mail>(?<!\S)[A-Za-z0-9._%+-]{1,64}@[A-Za-z0-9-]{1,63}(?:\.[A-Za-z0-9-]{1,63}){1,4}(?![\w@]))",
        rf"(?P<date>{free}(?P<iso>[12]\d{{3}}(?:-[01]\d-|/[01]\d/)[0-3]\d){alone})",
        rf"(?P<numeric_date>{free}(?P<first_part>\d\d?)(?P<between>[/.-])(?P<second_part>\d\d?)(?P=between)(?P<of_year>(?:19|20)\d\d){alone})",
        rf"(?P<phone>{_phones(language)}(?![\w@/]|[-.]\d))",
        *_months_pattern(language, months),
        rf"(?P<time>(?<![{LETTER}./:@&?])(?P<hour>[01]?\d|2[0-3]):(?P<minute>[0-5]\d)(?!:?\d){half}{hours}(?![{LETTER}@/]|:))",
        rf"(?P<hour_of>{free}(?P<hour_only>1[0-2]|0?[1-9])\s?(?P<its_half>[apAP])(?:[mM]|\.\s?[mM]\.?)(?![{LETTER}]))",
        rf"(?P<amount>(?P<less>(?<![^\s(])[-−])?(?<![{LETTER}])(?P<sign>{signs})\s?(?P<sum>{span})"
        rf"(?:\s(?P<scale>{scales})(?![{LETTER}])|(?P<scale2>bn|m|[{letters}])(?![{LETTER}]))?(?![A-Za-z\d@]|/\d)"
        rf"|{free}(?P<sum2>{span})(?:\s(?P<scale3>{scales}))?\s?(?P<sign2>[$€£¥₹]|(?:USD|EUR|GBP|INR|MYR|SGD|JPY)\b))",
        rf"(?P<unit>(?P<colder>(?<![^\s(])[-−])?{free}(?P<quantity>{span})\s?(?:(?P<unit_of>{units})(?![{LETTER}])|(?P<percent>%)))",
        rf"(?P<fraction>{free}(?:(?P<wholes>\d{{1,3}})\s?)?(?P<part>(?<![\d.])\d{{1,3}}/\d{{1,3}}|[½⅓⅔¼¾])(?![{LETTER}@/]|[.-]\d))",
        rf"(?P<scaled>{free}(?P<factor>\d++[.,]\d++|\d++(?=M)|\d{{2,}}+(?=[kK]))(?P<times>[{letters}])(?![{LETTER}@/-]))",
        rf"(?P<dotted>{free}\d++(?:\.\d++){{2,}}+(?![{LETTER}@/]|-\d))",
        rf"(?P<range>{free}{number}(?:-|\s?–\s?|\s-\s){number}(?!\s?[=+×÷*]){alone})",
        r"(?P<negative>(?<![^\s(\[*_])[-−](?=\d))",
        r"(?P<sign_of>(?<=[\w)²³]) [+=×÷−] (?=[\w(√−-])|(?<=[\d)]) [-*/] (?=[\d(])"
        r"|(?<=[\d)])\s?[×÷−]\s?(?=[\d(])|(?<=[\d)])[+=*](?=[\d(])"
        r"|(?<![^\s(])\+(?=\d)|(?<=\d)\+(?![\w+]))",
        r"(?P<power>(?<=[A-Za-z\d)])(?:[²³](?![²³⁰¹⁴-⁹])|\^[23](?!\d)))",
        rf"(?P<numbered>(?<![{LETTER}#])(?:N[or]\.\s?|Nº\s?|#)(?=\d))",
        r"(?P<until>(?<=%)\s?[–-]\s?(?=\d)|(?<=[\dmM.])\s?[–-]\s?(?=\d\d?(?::\d\d|\s?[apAP]\.?[mM]\b)))",
        rf"(?P<year>{free}(?:1[1-9]|20)\d\d(?![.,]\d){alone})",
        rf"(?P<number>{free}{number}{alone})",
        rf"(?P<short>(?<![{LETTER}])(?:{short}))",
    ]
    rules[-3:-3] = {
        "en": [
            rf"(?P<decade>(?<![{LETTER}./:@#&?])(?P<tens>(?:1[1-9]|20)\d0|[2-9]0)s\b)",
            rf"(?P<ordinal>{free}\d{{1,9}}(?:st|nd|rd|th)\b)",
        ],
        "es": [rf"(?P<spanish_ordinal>{free}(?P<place>\d{{1,3}})\.?(?P<gender>[ºª°]|ᵉʳ|er\b))"],
        "ms": [rf"(?P<malay_ordinal>(?<![{LETTER}])ke-(?P<rank>\d{{1,9}}){alone})"],
    }.get(language, [rf"(?P<suffixed>{free}(?P<stem>{NUMBER})-?(?P<ending>[{native}]+))"])
    if language == "ms":
        clock = r"(?P<malay_hour>1[0-2]|[1-9])\.(?P<malay_minute>[0-5]\d)(?![\d.,]\d)"
        rules.insert(
            0, rf"(?P<malay_time>{free}{clock}(?:(?<=ukul \d\.\d\d)|(?=\s(?:pagi|petang|malam|tengah hari)\b)))"
        )
    return "|".join(rules)


def _months_pattern(language: str, months: Mapping[str, str]) -> list[str]:
    """Short months beside a number."""
    if not months:
        return []
    short = _any(short for short, long in months.items() if short != long)
    rules = [rf"(?P<month>\b(?P<month_of>{short})\b\.?(?=\s\d)|(?<=\d\s)(?P<month_of2>{short})\b\.?)"]
    if language == "en":
        day = r"(?P<day_of>[12]\d|3[01]|[1-9])(?:st|nd|rd|th)?(?![\w/:@-]|[.,]\d|\s?[%°]|\s[–-])"
        rules.insert(0, rf"(?P<month_day>\b(?P<named>{_any({*months, *months.values()})})\b\.?\s{day})")
    return rules


def _any(words: Iterable[str]) -> str:
    return "|".join(re.escape(word) for word in sorted(words, key=len, reverse=True))


def _phones(language: str) -> str:
    """Groups of digits that are dialled. Spain's begin with 6 to 9; nine digits that begin otherwise are a number."""
    free = r"(?<![\w./:@#&?=+-])"
    shapes = [
        r"\+\d{1,3}(?:[ -]\(?\d{1,5}\)?){1,5}",
        r"\(\d{2,4}\)\s?\d{3,4}[ -]\d{3,4}",
        rf"{free}(?:1-)?\d{{3}}-\d{{3}}-\d{{4}}",
        rf"{free}0\d{{1,3}}[ -]\d{{3,4}}[ -]?\d{{3,4}}",
        rf"{free}[6-9]\d{{4}} \d{{5}}",
    ]
    if language == "es":
        shapes += [rf"{free}[6-9]\d\d \d{{3}} \d{{3}}", rf"{free}[6-9]\d \d{{3}} \d\d \d\d"]
    return f"(?:{'|'.join(shapes)})"
