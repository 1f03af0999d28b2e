"""Text made speakable in its language before a voice has it: numbers, dates, times, amounts, units, abbreviations, addresses.

`speakable` wraps any speaker. What the voice is given differs from what was written, but the words that come back are those
that were written, so that captions, history and interruptions know nothing of it. Markdown, emoji and links are `spoken`'s.

The words are CLDR's (Babel, BSD-3-Clause; unicode-rbnf, MIT) and, for numbers in Tamil, Telugu and Marathi, of which CLDR has
none or only bare forms, AI4Bharat's (indic-numtowords, MIT). Where these are not installed the voice gets the text as it is.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import aclosing
from dataclasses import dataclass, replace
from datetime import date
from functools import lru_cache
from types import MappingProxyType
from typing import Any, Final

from duologue.engines import Sound, Speaker, Style, Word
from duologue.languages import LANGUAGES

MOST_DIGITS: Final = 24
"""Of one number. What has more is a key or an attack, and is left to `spoken` to cut."""

COUNTED_DIGITS: Final = 7
"""Without separators: more digits than these are a number to dial, said one by one; and so is what begins with 0."""

CURRENCIES: Final = MappingProxyType(
    {"$": "USD", "US$": "USD", "€": "EUR", "£": "GBP", "¥": "JPY", "₹": "INR", "Rs": "INR", "Rs.": "INR", "RM": "MYR"}
)

PLAIN: Final = MappingProxyType(
    {
        ("en", "USD"): ("dollar", "dollars"),
        ("en", "GBP"): ("pound", "pounds"),
        ("en", "INR"): ("rupee", "rupees"),
        ("en", "MYR"): ("ringgit", "ringgit"),
        ("es", "USD"): ("dólar", "dólares"),
        ("ms", "MYR"): ("ringgit", "ringgit"),
        ("hi", "INR"): ("रुपया", "रुपये"),
        ("mr", "INR"): ("रुपया", "रुपये"),
        ("ta", "INR"): ("ரூபாய்", "ரூபாய்"),
        ("te", "INR"): ("రూపాయి", "రూపాయలు"),
    }
)
"""What people say where CLDR names the country, too: "5 US dollars"."""

UNITS: Final = MappingProxyType(
    {
        "%": "percent",
        "°C": "temperature-celsius",
        "°F": "temperature-fahrenheit",
        "km/h": "kilometer-per-hour",
        "km": "kilometer",
        "cm": "centimeter",
        "mm": "millimeter",
        "kg": "kilogram",
        "MB": "megabyte",
        "GB": "gigabyte",
    }
)


@dataclass(frozen=True, slots=True)
class Little:
    """The few words that no data set has: of an address, a range, a decimal, and abbreviations."""

    dot: str
    at: str
    to: str
    point: str
    short: Mapping[str, str]


LITTLE: Final = MappingProxyType(
    {
        "en": Little("dot", "at", "to", "point", {
            "Dr.": "Doctor", "Mr.": "Mister", "Mrs.": "Missus", "Prof.": "Professor", "e.g.": "for example",
            "i.e.": "that is", "etc.": "et cetera", "vs.": "versus", "approx.": "approximately",
        }),
        "es": Little("punto", "arroba", "a", "coma", {
            "Sr.": "señor", "Sra.": "señora", "Dr.": "doctor", "Dra.": "doctora", "Ud.": "usted", "Uds.": "ustedes",
            "EE. UU.": "Estados Unidos", "p. ej.": "por ejemplo", "etc.": "etcétera",
        }),
        "ms": Little("titik", "alias", "hingga", "perpuluhan", {
            "dll.": "dan lain-lain", "dsb.": "dan sebagainya", "cth.": "contohnya", "En.": "Encik", "Pn.": "Puan",
            "Dr.": "Doktor",
        }),
        "hi": Little("डॉट", "ऐट", "से", "दशमलव", {"डॉ.": "डॉक्टर", "रु.": "रुपये", "प्रो.": "प्रोफ़ेसर", "कि.मी.": "किलोमीटर"}),
        "mr": Little("डॉट", "ॲट", "ते", "दशांश", {"डॉ.": "डॉक्टर", "रु.": "रुपये", "प्रा.": "प्राध्यापक", "कि.मी.": "किलोमीटर"}),
        "ta": Little("டாட்", "அட்", "முதல்", "புள்ளி", {"ரூ.": "ரூபாய்", "டாக்.": "டாக்டர்", "கி.மீ.": "கிலோமீட்டர்"}),
        "te": Little("డాట్", "ఎట్", "నుండి", "పాయింట్", {"రూ.": "రూపాయలు", "డా.": "డాక్టర్", "కి.మీ.": "కిలోమీటర్లు"}),
    }
)  # fmt: skip


# ── What is written, and what is said for it ──────────────────────────────────────────────────────────────────────────


def rewrite(text: str, language: str) -> Iterator[tuple[str, str]]:
    """The text in parts, each with what the voice is given for it; the first halves join to the text."""
    words, at = words_of(language), 0
    if words is None:
        return (yield text, text)
    for match in words.pattern.finditer(text):
        if (said := _said(words, match)) is not None:
            yield from ([(text[at : match.start()],) * 2] if match.start() > at else [])
            yield match.group(), said
            at = match.end()
    if at < len(text):
        yield text[at:], text[at:]
    return None


def _said(words: Words, match: re.Match[str]) -> str | None:
    """None: as it is written. Numbers may be of any size and CLDR's rules are not; whatever they refuse is left to the voice."""
    if sum(map(str.isdecimal, match.group())) > MOST_DIGITS:
        return None
    try:
        return " ".join(RULES[match.lastgroup or ""](words, match).split()) or None
    except (ValueError, OverflowError, LookupError):
        return None


class Words:
    """The words of one language. Blocking to make, some 30 ms; rewriting a clause takes well under a millisecond."""

    def __init__(self, language: str) -> None:
        import babel.dates
        import babel.numbers
        import babel.units

        self.language = language
        self.little = LITTLE[language]
        self.count = _counter(language)
        self.ordinal: Callable[[int], str] | None = None
        self.year = self.count
        if language == "en":
            self.ordinal, self.year = _english_forms()
        self._dates, self._numbers, self._units = babel.dates, babel.numbers, babel.units
        self.pattern = re.compile(_pattern(self.little))
        # What babel knows of the language is read now: not in the middle of somebody's reply.
        self.unit("length-kilometer", "1")

    def number(self, written: str) -> str:
        """Digits of any script, with the separators that this language's writers use."""
        whole, fraction = _parts(written, self.language)
        said = self.digits(whole) if _is_dialled(whole, written) else self.count(int(whole))
        return f"{said} {self.little.point} {self.digits(fraction)}" if fraction else said

    def digits(self, written: str) -> str:
        return " ".join(self.count(int(digit)) for digit in written if digit.isdecimal())

    def date(self, day: date) -> str:
        written = str(self._dates.format_date(day, "long", locale=self.language))
        year = written.replace(str(day.year), self.year(day.year))
        return re.sub(r"\d+", lambda match: (self.ordinal or self.count)(int(match.group())), year)

    def currency(self, code: str, whole: int) -> str:
        if (self.language, code) in PLAIN:
            return PLAIN[self.language, code][whole != 1]
        return str(self._numbers.get_currency_name(code, whole, locale=self.language))

    def unit(self, unit: str, written: str) -> str:
        whole, fraction = _parts(written, self.language)
        value = float(f"{whole}.{fraction or 0}")
        shown = "#,##0.###"
        pattern = str(self._units.format_unit(value, unit, "long", shown, locale=self.language))
        number = str(self._numbers.format_decimal(value, shown, locale=self.language))
        return (
            pattern.replace(number, self.number(written)) if number in pattern else f"{self.number(written)} {pattern}"
        )


@lru_cache
def words_of(language: str) -> Words | None:
    """None where the language is not one of the table, or its words are not installed."""
    try:
        return Words(language) if language in LANGUAGES else None
    except ImportError:
        return None


def _counter(language: str) -> Callable[[int], str]:
    if language in ("ta", "te", "mr"):
        from indic_numtowords import num2words

        return lambda number: str(num2words(number, lang=language))
    from unicode_rbnf import RbnfEngine

    engine = RbnfEngine.for_language(language)
    return lambda number: engine.format_number(number).text.replace("\u00ad", "")


def _english_forms() -> tuple[Callable[[int], str], Callable[[int], str]]:
    from unicode_rbnf import FormatPurpose, RbnfEngine

    engine = RbnfEngine.for_language("en")
    return (
        lambda number: engine.format_number(number, FormatPurpose.ORDINAL).text,
        lambda number: engine.format_number(number, FormatPurpose.YEAR).text,
    )


def _parts(written: str, language: str) -> tuple[str, str]:
    """The digits before and after the decimal sign; Spanish writes 1.234,5 and 1 234,5, and in America 1,234.5."""
    comma_is_decimal = language == "es" and re.fullmatch(
        r"\d{1,3}(?:\.\d{3})+(?:,\d+)?|\d+,\d{1,2}|\d+,\d{4,}", written
    )
    if comma_is_decimal:
        written = written.replace(".", "").replace(",", ".")
    whole, _, fraction = written.replace(",", "").partition(".")
    return whole, fraction


def _is_dialled(whole: str, written: str) -> bool:
    return len(whole) > 1 and (whole[0] == "0" or (len(whole) > COUNTED_DIGITS and whole == written))


# ── The rules, in the order in which they are tried ───────────────────────────────────────────────────────────────────


def _date(words: Words, match: re.Match[str]) -> str:
    return words.date(date.fromisoformat(match.group()))


def _time(words: Words, match: re.Match[str]) -> str:
    hour, minute, half = int(match["hour"]), int(match["minute"]), match["half"]
    oh = "oh " if words.language == "en" and 0 < minute < 10 else ""
    minutes = oh + words.count(minute) if minute else "o'clock" if words.language == "en" and not half else ""
    return f"{words.count(hour)} {minutes} {' '.join(half.upper()) + ' M' if half else ''}"


def _amount(words: Words, match: re.Match[str]) -> str:
    written, sign = match["sum"] or match["sum2"], match["sign"] or match["sign2"]
    whole, fraction = _parts(written, words.language)
    name = words.currency(CURRENCIES[sign], int(whole))
    if scale := match["scale"]:
        return f"{words.number(written)} {scale} {words.currency(CURRENCIES[sign], 2)}"
    cents = f" {words.count(int(fraction))}" if len(fraction) == 2 and int(fraction) else ""
    if len(fraction) not in (0, 2):
        return f"{words.number(written)} {name}"
    return f"{words.count(int(whole))} {name}{cents}"


def _unit(words: Words, match: re.Match[str]) -> str:
    return words.unit(UNITS[match["unit_of"]], match["quantity"])


def _range(words: Words, match: re.Match[str]) -> str:
    return f"{words.number(match['first'])} {words.little.to} {words.number(match['last'])}"


def _dotted(words: Words, match: re.Match[str]) -> str:
    return f" {words.little.dot} ".join(words.digits(part) for part in match.group().split("."))


def _ordinal(words: Words, match: re.Match[str]) -> str:
    return words.ordinal(int(match.group()[:-2])) if words.ordinal is not None else match.group()


def _short(words: Words, match: re.Match[str]) -> str:
    return words.little.short[match.group()]


def _mail(words: Words, match: re.Match[str]) -> str:
    return match.group().replace("@", f" {words.little.at} ").replace(".", f" {words.little.dot} ")


def _year(words: Words, match: re.Match[str]) -> str:
    return words.year(int(match.group()))


def _number(words: Words, match: re.Match[str]) -> str:
    return words.number(match.group())


RULES: Final[Mapping[str, Callable[[Words, re.Match[str]], str]]] = MappingProxyType(
    {
        "mail": _mail,
        "short": _short,
        "date": _date,
        "time": _time,
        "amount": _amount,
        "unit": _unit,
        "ordinal": _ordinal,
        "dotted": _dotted,
        "range": _range,
        "year": _year,
        "number": _number,
    }
)

_LETTER = r"\w\u0900-\u0963\u0966-\u0dff"
"""`\\w` and the marks of India's scripts, which are none: "కూడా" ends in a vowel sign, and is no "డా." with something before it."""

_NUMBER = r"\d++(?:[.,]\d++)*+"
"""Whole or not at all: "1.5M" is no 1 before ".5M"."""


def _pattern(little: Little) -> str:
    """One alternative a rule. A number that touches a letter ("MP3", "B2B") or a link is a name, and stays."""
    signs = "|".join(re.escape(sign) for sign in sorted(CURRENCIES, key=len, reverse=True))
    units = "|".join(re.escape(unit) for unit in sorted(UNITS, key=len, reverse=True))
    short = "|".join(re.escape(word) for word in sorted(little.short, key=len, reverse=True))
    free, alone = rf"(?<![{_LETTER}./:@#=&?-])", rf"(?![{_LETTER}@/]|[-:][{_LETTER}])"
    return "|".join(
        (
            r"(?:https?://|www\.)\S+",  # matched, and by no rule: left as it is
            r"(?P<mail>(?<!\S)[A-Za-z0-9._%+-]{1,64}@[A-Za-z0-9-]{1,63}(?:\.[A-Za-z0-9-]{1,63}){1,4}(?![\w@]))",
            rf"(?P<short>(?<![{_LETTER}])(?:{short}))",
            rf"(?P<date>{free}[12]\d{{3}}-[01]\d-[0-3]\d{alone})",
            rf"(?P<time>{free}(?P<hour>[01]?\d|2[0-3]):(?P<minute>[0-5]\d)(?:\s?(?P<half>[ap])\.?m\b\.?)?{alone})",
            rf"(?P<amount>(?<!\w)(?P<sign>{signs})\s?(?P<sum>{_NUMBER})(?:\s(?P<scale>thousand|million|billion|trillion|millones|mil|juta|ribu|लाख|करोड़|कोटी)(?![{_LETTER}]))?{alone}"
            rf"|{free}(?P<sum2>{_NUMBER})\s?(?P<sign2>[$€£¥₹]))",
            rf"(?P<unit>{free}(?P<quantity>{_NUMBER})\s?(?P<unit_of>{units})(?![{_LETTER}]))",
            rf"(?P<ordinal>{free}\d{{1,9}}(?:st|nd|rd|th)\b)",
            rf"(?P<dotted>{free}\d+(?:\.\d+){{2,}}{alone})",
            rf"(?P<range>{free}(?P<first>{_NUMBER})\s?[–-]\s?(?P<last>{_NUMBER}){alone})",
            rf"(?P<year>{free}(?:1[1-9]|20)\d\d(?![.,]\d){alone})",
            rf"(?P<number>{free}{_NUMBER}{alone})",
        )
    )


# ── Around a voice ────────────────────────────────────────────────────────────────────────────────────────────────────


def speakable(speaker: Speaker) -> Speaker:
    return _Speakable(speaker)


def as_written(speaker: Speaker) -> Speaker:
    """The same voice, given what is written."""
    return speaker.bare if isinstance(speaker, _Speakable) else speaker


class _Speakable:
    def __init__(self, speaker: Speaker) -> None:
        self.about = speaker.about
        self.bare = speaker

    def close(self) -> None:
        getattr(self.bare, "close", lambda: None)()

    async def speak(self, text: AsyncIterator[str], style: Style) -> AsyncIterator[Sound]:
        given = _Given()
        sounds: Any = self.bare.speak(given.of(text, style.language), style)
        async with aclosing(sounds):
            async for sound in sounds:
                yield replace(sound, words=tuple(given.back(sound.words)))


class _Given:
    """What the voice was given and has not yet said."""

    def __init__(self) -> None:
        self._parts: deque[tuple[str, str]] = deque()

    async def of(self, text: AsyncIterator[str], language: str) -> AsyncIterator[str]:
        async for piece in text:
            parts = list(rewrite(piece, language))
            self._parts.extend(parts)
            yield "".join(said for _, said in parts)

    def back(self, words: tuple[Word, ...]) -> Iterator[Word]:
        """The words as they were written; one that was rewritten comes back when the last word of it is said."""
        for word in words:
            if written := "".join(self._take(len(word.text))):
                yield Word(written, word.end)

    def _take(self, count: int) -> Iterator[str]:
        while count and self._parts:
            written, said = self._parts.popleft()
            taken, count = min(count, len(said)), max(0, count - len(said))
            if written == said:
                yield written[:taken]
                written = written[taken:]
            elif taken == len(said):
                yield written
            if taken < len(said):
                self._parts.appendleft((written, said[taken:]))
