"""The rules of `speakable`: the words that are said for what a pattern of `speakable_patterns` found.

A rule never sees more than one piece of a reply; `core.clauses` keeps together what is said together.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Mapping
from datetime import date
from types import MappingProxyType
from typing import Final

from duologue.engines.speakable_patterns import LETTER
from duologue.engines.speakable_tables import (
    CENTS,
    COUNTED_WORDS,
    CURRENCIES,
    HALVES,
    NO_NOUNS,
    NUMBERED,
    PARTS,
    POWERS,
    SCALES,
    UNITS,
)
from duologue.engines.speakable_words import Words, is_feminine, parts

_FOLLOWS = re.compile(rf"\s([{LETTER}]+)")
_YEAR = re.compile(r"(?:1[1-9]|20)\d\d")
_GROUPED = re.compile(r"\d{1,3}(?:\.\d{3})+")
_ADDRESS = re.compile(r"(?:(?:[1-9]?|1\d|2[0-4])\d|25[0-5])(?:\.(?:(?:[1-9]?|1\d|2[0-4])\d|25[0-5])){3}")
_SIGNS: Final = MappingProxyType(
    {"+": "plus", "-": "minus", "−": "minus", "×": "times", "*": "times", "÷": "divided", "/": "divided", "=": "equals"}
)


def _noun(words: Words, match: re.Match[str]) -> str:
    """The word after a number, if it may be what is counted."""
    follows = _FOLLOWS.match(match.string, match.end())
    noun = follows[1] if follows else ""
    if words.language != "es":
        return noun if noun and not noun.isascii() else ""
    before = match.string[max(0, match.start() - 20) : match.start()].split()
    counts = noun and noun.islower() and noun not in NO_NOUNS and (before or [""])[-1].lower() not in COUNTED_WORDS
    return noun if counts else ""


def _date(words: Words, match: re.Match[str]) -> str:
    return words.date(date.fromisoformat(match["iso"].replace("/", "-")))


def _numeric_date(words: Words, match: re.Match[str]) -> str:
    """29/11/2026. In English, where 3/4 may be either, what cannot be told is said as numbers."""
    first, second, year = int(match["first_part"]), int(match["second_part"]), int(match["of_year"])
    if words.language == "en" and max(first, second) <= 12 and first != second:
        return f"{words.count(first)} {words.count(second)}, {words.year(year)}"
    day, month = (second, first) if second > 12 and words.language == "en" else (first, second)
    return words.date(date(year, month, day))


def _month_day(words: Words, match: re.Match[str]) -> str:
    """November 29: the English say an ordinal."""
    assert words.ordinal is not None
    return f"{words.months.get(match['named'], match['named'])} {words.ordinal(int(match['day_of']))}"


def _month(words: Words, match: re.Match[str]) -> str:
    after_a_day = match.string[max(0, match.start() - 2) : match.start() - 1].isdecimal()
    linked = "de " if words.language == "es" and after_a_day else ""
    return linked + words.months[match["month_of"] or match["month_of2"]]


def _numbered(words: Words, match: re.Match[str]) -> str:
    return f"{NUMBERED[words.language]} "


def _power(words: Words, match: re.Match[str]) -> str:
    return f" {POWERS[words.language][match.group() in ('³', '^3')]}"


def _time(words: Words, match: re.Match[str]) -> str:
    hour, minute, half = int(match["hour"]), int(match["minute"] or 0), match["half"]
    oh = "oh " if words.language == "en" and 0 < minute < 10 else ""
    minutes = oh + words.count(minute) if minute else "o'clock" if words.language == "en" and not half else ""
    return " ".join(f"{words.count(hour)} {minutes} {' '.join(half.upper()) + ' M' if half else ''}".split())


def _hour(words: Words, match: re.Match[str]) -> str:
    return f"{words.count(int(match['hour_only']))} {match['its_half'].upper()} M"


def _malay_time(words: Words, match: re.Match[str]) -> str:
    minute = int(match["malay_minute"])
    return f"{words.count(int(match['malay_hour']))} {words.count(minute) if minute else ''}".strip()


def _amount(words: Words, match: re.Match[str]) -> str:
    written, code = match["sum"] or match["sum2"], CURRENCIES[match["sign"] or match["sign2"]]
    minus = f"{words.little.minus} " if match["less"] else ""
    scale = match["scale"] or match["scale2"] or match["scale3"]
    if scale:
        scale = SCALES.get(words.language, {}).get(scale, scale)
        scale = scale.removesuffix("ు") if scale.endswith("లు") else scale
        return f"{minus}{_quantity(words, written, scale)} {scale} {words.currency(code, 2)}"
    start, last = _start(words, written)
    return f"{minus}{start}{_price(words, last.strip(' $€£¥₹RM'), code)}"


def _price(words: Words, written: str, code: str) -> str:
    whole, fraction = parts(written, words.language)
    name, cents = words.currency(code, int(whole)), CENTS.get((words.language, code), "")
    if len(fraction) not in (0, 2):
        return f"{words.number(written)} {name}"
    price = f"{words.counted(int(whole), name)} {name}"
    if not fraction or not int(fraction):
        return price
    small = words.count(int(fraction))
    if not int(whole) and cents:
        return f"{small} {cents}"
    return f"{price} {small} {cents}" if int(fraction) < 10 and cents else f"{price} {small}"


def _unit(words: Words, match: re.Match[str]) -> str:
    start, last = _start(words, match["quantity"])
    minus = f"{words.little.minus} " if match["colder"] else ""
    return f"{minus}{start}{words.unit(UNITS[match['unit_of'] or '%'], last.strip())}"


def _start(words: Words, written: str) -> tuple[str, str]:
    """What is said before the last number of a range, and that number as it is written; of one number there is no start."""
    first, dash, last = written.rpartition(_dash(written) or "–")
    return f"{words.number(first.strip())} {words.little.to} " if dash else "", last


def _dash(written: str) -> str:
    return next((dash for dash in "–-" if dash in written), "")


def _quantity(words: Words, written: str, noun: str = "") -> str:
    """A number, or a range of two; two years are read as years."""
    dash = _dash(written)
    if not dash:
        return words.number(written, noun)
    numbers = [each.strip(" $€£¥₹RM") for each in written.split(dash)]
    first, last = numbers
    years = _YEAR.fullmatch(first) and (_YEAR.fullmatch(last) or len(last) == 2)
    start = words.year(int(first)) if years else words.number(first)
    end = words.year(int(last)) if years else words.number(last)
    return f"{start} {words.little.to} {end}"


def _range(words: Words, match: re.Match[str]) -> str:
    return _quantity(words, match.group())


def _dotted(words: Words, match: re.Match[str]) -> str:
    written = match.group()
    if words.language == "es" and _GROUPED.fullmatch(written) and not _ADDRESS.fullmatch(written):
        return words.number(written, _noun(words, match))
    return f" {words.little.dot} ".join(words.digits(part) for part in written.split("."))


def _ordinal(words: Words, match: re.Match[str]) -> str:
    return words.ordinal(int(match.group()[:-2])) if words.ordinal is not None else match.group()


def _short(words: Words, match: re.Match[str]) -> str:
    return words.little.short[match.group()]


def _mail(words: Words, match: re.Match[str]) -> str:
    return match.group().replace("@", f" {words.little.at} ").replace(".", f" {words.little.dot} ")


def _phone(words: Words, match: re.Match[str]) -> str:
    plus = f"{words.little.plus} " if match.group().startswith("+") else ""
    return plus + ", ".join(words.digits(group) for group in re.findall(r"\d+", match.group()))


def _fraction(words: Words, match: re.Match[str]) -> str:
    part = unicodedata.normalize("NFKC", match["part"]).replace("⁄", "/")
    over, under = part.split("/")
    said = words.little.parts[PARTS.index(part)] if part in PARTS else ""
    between = "" if over == under or part in ("24/7", "9/11", "26/11") else words.little.over
    between = "out of" if words.language == "en" and between and under in ("5", "10", "20", "100") else between
    said = said or f"{words.count(int(over))} {between} {words.count(int(under))}"
    if words.language == "es" and said == "medio" and is_feminine(_noun(words, match)):
        said = "media"
    if not match["wholes"]:
        return said
    if part == "1/2" and (half := _and_a_half(words, int(match["wholes"]))):
        return half
    link = {"en": " and", "es": " y"}.get(words.language, "")
    return f"{words.count(int(match['wholes']))}{link} {'a half' if said == 'one half' else said}"


def _and_a_half(words: Words, number: int) -> str:
    """Where that is a word of its own."""
    said = words.count(number)
    if words.language in HALVES:
        *own, other = HALVES[words.language]
        return own[number - 1] if 1 <= number <= len(own) else f"{other} {said}"
    if words.language == "ta" and said.endswith("ு"):
        return said[:-1] + "ரை"
    return said + "న్నర" if words.language == "te" else ""


def _sign(words: Words, match: re.Match[str]) -> str:
    """Of a sum, which most voices pass over."""
    said = getattr(words.little, _SIGNS[match.group().strip()])
    before, after = match.string[max(0, match.start() - 1) : match.start()], match.string[match.end() : match.end() + 1]
    start = "" if before in ("", " ", "(") else " "
    return f"{start}{said} " if after.isalnum() or after in ("(", "√", "-", "−") else f"{start}{said}"


def _negative(words: Words, match: re.Match[str]) -> str:
    return "negatif " if words.language == "ms" else f"{words.little.minus} "


def _until(words: Words, match: re.Match[str]) -> str:
    return f" {words.little.to} "


def _decade(words: Words, match: re.Match[str]) -> str:
    """The 1990s, the '80s."""
    said = words.year(int(match["tens"]))
    return said.removesuffix("y") + "ies" if said.endswith("y") else said + "s"


def _scaled(words: Words, match: re.Match[str]) -> str:
    scale = SCALES[words.language].get(match["times"], "")
    return f"{words.number(match['factor'])} {scale}" if scale else match.group()


def _ending(words: Words, match: re.Match[str]) -> str:
    """5वीं, 2வது, 1947లో: an ending, or a word, written on to the digits."""
    written, ending = match["stem"], match["ending"]
    number = int(written) if written.isdecimal() else 0
    said = words.year(number) if _YEAR.fullmatch(written) else words.number(written, ending)
    if (words.language, number, ending) in FIRSTS:
        return FIRSTS[words.language, number, ending]
    if words.language == "ta" and ending in _TAMIL_ORDINALS and said.endswith("ு"):
        return said[:-1] + _TAMIL_ORDINALS[ending]
    if words.language == "ta" and ending.startswith(("ல்", "லி", "இல்", "இலி")) and said.endswith("ு"):
        return said[:-1] + "ி" + ending.removeprefix("இ")
    if words.language == "te" and ending in ("వ", "వది") and said.endswith(("ు", "ి")):
        return said[:-1] + ending
    return said + ending


def _malay_ordinal(words: Words, match: re.Match[str]) -> str:
    number = int(match["rank"])
    return "pertama" if number == 1 else f"ke{words.count(number)}"


def _spanish_ordinal(words: Words, match: re.Match[str]) -> str:
    assert words.rank is not None
    form = {"ª": "feminine", "er": "masculine-adjective"}
    return words.rank(int(match["place"]))[f"spellout-ordinal-{form.get(match['gender'], 'masculine')}"]


def _year(words: Words, match: re.Match[str]) -> str:
    noun = _noun(words, match) if words.language == "es" else ""
    return words.number(match.group(), noun) if noun else words.year(int(match.group()))


def _number(words: Words, match: re.Match[str]) -> str:
    return words.number(match.group(), _noun(words, match))


FIRSTS: Final[Mapping[tuple[str, int, str], str]] = MappingProxyType(
    {("hi", 1, "ला"): "पहला", ("hi", 1, "ली"): "पहली", ("hi", 1, "ले"): "पहले", ("hi", 2, "रा"): "दूसरा"}
    | {("hi", 2, "री"): "दूसरी", ("hi", 3, "रा"): "तीसरा", ("hi", 3, "री"): "तीसरी", ("hi", 4, "था"): "चौथा"}
    | {("hi", 4, "थी"): "चौथी", ("hi", 6, "ठा"): "छठा", ("mr", 1, "ला"): "पहिला", ("mr", 1, "ली"): "पहिली"}
    | {("mr", 1, "ले"): "पहिले", ("mr", 2, "रा"): "दुसरा", ("mr", 2, "री"): "दुसरी"}
    | {("mr", 3, "रा"): "तिसरा", ("mr", 3, "री"): "तिसरी", ("mr", 4, "था"): "चौथा", ("mr", 4, "थी"): "चौथी"}
    | {("ta", 1, "வது"): "முதலாவது", ("ta", 1, "ஆவது"): "முதலாவது", ("ta", 1, "ஆம்"): "முதலாம்", ("ta", 1, "ம்"): "முதலாம்"}
    | {("te", 1, "వ"): "మొదటి", ("te", 1, "వది"): "మొదటిది"}
)

_TAMIL_ORDINALS: Final = MappingProxyType({"வது": "ாவது", "ஆவது": "ாவது", "ம்": "ாம்", "ஆம்": "ாம்"})

RULES: Final[Mapping[str, Callable[[Words, re.Match[str]], str]]] = MappingProxyType(
    {
        "mail": _mail,
        "date": _date,
        "numeric_date": _numeric_date,
        "phone": _phone,
        "month_day": _month_day,
        "month": _month,
        "numbered": _numbered,
        "power": _power,
        "time": _time,
        "hour_of": _hour,
        "malay_time": _malay_time,
        "amount": _amount,
        "unit": _unit,
        "fraction": _fraction,
        "decade": _decade,
        "ordinal": _ordinal,
        "malay_ordinal": _malay_ordinal,
        "spanish_ordinal": _spanish_ordinal,
        "scaled": _scaled,
        "dotted": _dotted,
        "range": _range,
        "negative": _negative,
        "sign_of": _sign,
        "until": _until,
        "suffixed": _ending,
        "year": _year,
        "number": _number,
        "short": _short,
    }
)
