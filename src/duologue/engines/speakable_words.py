"""The words of one language, for the rules of `speakable`: numbers, dates, amounts and units, by CLDR and AI4Bharat."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import date
from functools import partial
from types import MappingProxyType
from typing import Final
from unicodedata import normalize

from duologue.engines.speakable_patterns import pattern
from duologue.engines.speakable_tables import FEMININE, LITTLE, MASCULINE, PLAIN

COUNTED_DIGITS: Final = 7
"""Without separators: more digits than these are a number to dial, said one by one; and so is what begins with 0."""

HUNDREDS: Final = MappingProxyType({"hi": " सौ ", "mr": "शे ", "te": " వందల "})
"""Years before 2000 are counted in hundreds in these languages; and so may anything else be that has four digits."""


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
        self.year = self._in_hundreds if language in HUNDREDS else self.count
        if language == "en":
            self.ordinal, self.year = _english_forms()
        self.rank: Callable[[int], Mapping[str, str]] | None = None
        self._agreeing: Callable[[int], Mapping[str, str]] | None = None
        if language == "es":
            self._agreeing, self.rank = _spanish_forms()
        self._dates, self._numbers, self._units = babel.dates, babel.numbers, babel.units
        self.months = self._months()
        self.pattern = re.compile(pattern(self.little, language, self.months))
        # What babel knows of the language is read now: not in the middle of somebody's reply.
        self.unit("length-kilometer", "1")

    def number(self, written: str, noun: str = "") -> str:
        """Digits of any script, with the separators that this language's writers use; `noun` is what they count."""
        if self.language != "es" and "," in written and not _GROUPED.match(written):
            return ", ".join(self.number(each) for each in written.split(","))
        whole, fraction = parts(written, self.language)
        said = self.digits(whole) if _is_dialled(whole, written) else self.counted(int(whole), "" if fraction else noun)
        return f"{said} {self.little.point} {self.digits(fraction)}" if fraction else said

    def counted(self, number: int, noun: str) -> str:
        """A number in the form that it has before a noun."""
        said = self.count(number)
        if not noun:
            return said
        if self._agreeing is not None:
            return self._agreeing(number)[f"spellout-cardinal-{'feminine' if is_feminine(noun) else 'masculine'}"]
        if self.language in ONE and number == 1:
            return ONE[self.language]
        return said.removesuffix("ు") if said.endswith("లు") else said

    def _months(self) -> Mapping[str, str]:
        """Short for long, where the script is Latin: in others the short ones are words of their own."""
        if self.language not in ("en", "es", "ms"):
            return {}
        names = [self._dates.get_month_names(width, locale=self.language) for width in ("abbreviated", "wide")]
        return {short: names[1][month] for month, short in names[0].items()} | (
            {"Sept": "September"} if self.language == "en" else {}
        )

    def _in_hundreds(self, year: int) -> str:
        hundreds, rest = divmod(year, 100)
        if not 11 <= hundreds <= 19:
            return self.count(year)
        return f"{self.count(hundreds)}{HUNDREDS[self.language]}{self.count(rest) if rest else ''}".strip()

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
        whole, fraction = parts(written, self.language)
        value = float(f"{whole}.{fraction or 0}")
        shown = "#,##0.###"
        pattern = str(self._units.format_unit(value, unit, "long", shown, locale=self.language)).replace("/", " ")
        number = str(self._numbers.format_decimal(value, shown, locale=self.language))
        said = self.number(written, noun=pattern.replace(number, "").split()[0])
        return pattern.replace(number, said) if number in pattern else f"{said} {pattern}"


ONE: Final = MappingProxyType({"ta": "ஒரு", "te": "ఒక"})
"""Before a noun; alone it has another form."""


_GROUPED = re.compile(r"\d{1,3}(?:,\d{2,3})*,\d{3}(?!\d|,)")
"""1,234,567 and 12,34,567; what has commas otherwise ("1,2,3") is several numbers."""


def _counter(language: str) -> Callable[[int], str]:
    if language in ("ta", "te", "mr"):
        from indic_numtowords import num2words

        # Its Telugu is not composed, and its Marathi has Hindi's letter in a word of its own.
        thousand = "हजार" if language == "mr" else "हज़ार"
        return lambda number: normalize("NFC", str(num2words(number, lang=language))).replace("हज़ार", thousand)
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


def _spanish_forms() -> tuple[Callable[[int], Mapping[str, str]], Callable[[int], Mapping[str, str]]]:
    """Cardinals and ordinals, by the names of CLDR's rule sets."""
    from unicode_rbnf import FormatPurpose, RbnfEngine

    engine = RbnfEngine.for_language("es")

    def forms(number: int, purpose: FormatPurpose) -> Mapping[str, str]:
        said = engine.format_number(number, purpose).text_by_ruleset
        return {name: text.replace("\u00ad", "") for name, text in said.items()}

    return partial(forms, purpose=FormatPurpose.CARDINAL), partial(forms, purpose=FormatPurpose.ORDINAL)


def is_feminine(noun: str) -> bool:
    """Of a Spanish word, most often right."""
    if noun in MASCULINE or noun.endswith(("ista", "istas")):
        return False
    return noun in FEMININE or noun.endswith(("a", "as", "dad", "dades", "ción", "ciones", "sión", "siones", "tud"))


def parts(written: str, language: str) -> tuple[str, str]:
    """The digits before and after the decimal sign; Spanish writes 1.234,5 and 1 234,5, and in America 1,234.5."""
    written = re.sub(r"\s", "", written)
    comma_is_decimal = language == "es" and re.fullmatch(
        r"\d{1,3}(?:\.\d{3})+(?:,\d+)?|\d+,\d{1,2}|\d+,\d{4,}", written
    )
    if comma_is_decimal:
        written = written.replace(".", "").replace(",", ".")
    whole, _, fraction = written.replace(",", "").partition(".")
    return whole, fraction


def _is_dialled(whole: str, written: str) -> bool:
    return len(whole) > 1 and (whole[0] == "0" or (len(whole) > COUNTED_DIGITS and whole == written))
