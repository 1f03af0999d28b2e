"""Numbers, dates, amounts and addresses as words of their language; the words that come back are those that were written."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
import virtual
from dialogue import lineup, play
from hypothesis import given
from hypothesis import strategies as st

from duologue.app import App
from duologue.config import Config
from duologue.engines import Sound, Style
from duologue.engines.scripted import ScriptedSpeaker, ScriptedWriter
from duologue.engines.speakable import rewrite, speakable, words_of
from duologue.languages import LANGUAGES
from duologue.protocols import Configure, Type

babel = pytest.importorskip("babel")
pytest.importorskip("unicode_rbnf")
pytest.importorskip("indic_numtowords")

ANY_TEXT = st.text(alphabet=st.characters(exclude_categories=()), max_size=120)
DIGITS_AND_SIGNS = st.text(alphabet="0123456789.,:-–/%$€₹ kmRs°C@ap१௧౧", max_size=60)


def said(text: str, language: str) -> str:
    return "".join(part for _, part in rewrite(text, language))


@pytest.mark.parametrize("language", LANGUAGES)
def test_nothing_is_read_from_disk_in_the_middle_of_a_reply(language: str) -> None:
    words_of.cache_clear()
    babel.localedata._cache.clear()
    words_of(language)
    before = set(babel.localedata._cache)
    said("On 2026-03-05 at 10:30 it was 5 km for $5.99, 20%.", language)
    assert set(babel.localedata._cache) == before


@pytest.mark.parametrize(
    ("language", "text", "words"),
    [
        ("en", "On 2026-03-05 at 10:30 am", "On March fifth, twenty twenty-six at ten thirty A M"),
        ("en", "$5.99 or $1 or $5 million", "five dollars ninety-nine or one dollar or five million dollars"),
        ("en", "1,234.5 km", "one thousand two hundred thirty-four point five kilometers"),
        ("en", "50% and 20°C", "fifty percent and twenty degrees Celsius"),
        ("en", "Dr. Smith, e.g. the 21st", "Doctor Smith, for example the twenty-first"),
        ("en", "in 1984, pages 5-10", "in nineteen eighty-four, pages five to ten"),
        ("en", "call 0123456", "call zero one two three four five six"),
        ("en", "version 3.11.2 of MP3 and B2B", "version three dot one one dot two of MP3 and B2B"),
        ("en", "write a.b@example.org", "write a dot b at example dot org"),
        ("en", "see https://example.org/2026/5%", "see https://example.org/2026/5%"),
        ("en", "at 10:00, 10:05", "at ten o'clock, ten oh five"),
        ("en", "2026-02-30 is no day", "2026-02-30 is no day"),
        ("es", "El Sr. Pérez pagó 1.234,50 €", "El señor Pérez pagó mil doscientos treinta y cuatro euros cincuenta"),
        ("es", "3,5 km y 50%", "tres coma cinco kilómetros y cincuenta por ciento"),
        ("hi", "₹500, 50%", "पाँच सौ रुपये, पचास प्रतिशत"),
        ("hi", "डॉ. शर्मा २५", "डॉक्टर शर्मा पच्चीस"),
        ("ms", "RM5.50, 8%", "lima ringgit lima puluh, lapan peratus"),
        ("ta", "₹500", "ஐநூறு ரூபாய்"),
        ("te", "10", "పది"),
        ("mr", "₹500", "पाचशे रुपये"),
        ("fr", "le 5 mai", "le 5 mai"),
        ("te", "నేను కూడా. సరే", "నేను కూడా. సరే"),
        ("hi", "वह मेरे गुरु. हैं", "वह मेरे गुरु. हैं"),
        ("hi", "₹2.5 करोड़", "दो दशमलव पाँच करोड़ रुपये"),
        ("mr", "₹2.5 कोटी", "दोन दशांश पाच कोटी रुपये"),
        ("en", "-5 and −7°C", "minus five and minus seven degrees Celsius"),
        ("en", "1.5M and $1.5M, £5m, 4K", "one point five million and one point five million dollars, five million pounds, 4K"),
        ("en", "2 pm, 10:00 AM - 5 p.m.", "two P M, ten A M to five P M"),
        ("en", "9am-5pm.", "nine A M to five P M."),
        ("en", "9:00-17:30", "nine o'clock to seventeen thirty"),
        ("en", "10 - 3 = 7, 2+2=4", "ten minus three equals seven, two plus two equals four"),
        ("en", "5 × 3, 10 ÷ 2, x² + 1", "five times three, ten divided by two, x squared plus one"),
        ("en", "1/2 cup, 1 1/2 cups, ¾, 7/10, 24/7",
         "one half cup, one and a half cups, three quarters, seven out of ten, twenty-four seven"),
        ("en", "5-10°C, 10–15%, $10–$20", "five to ten degrees Celsius, ten to fifteen percent, ten to twenty dollars"),
        ("en", "1939-1945, 2024-25", "nineteen thirty-nine to nineteen forty-five, twenty twenty-four to twenty-five"),
        ("en", "the 1990s, a 5-year plan, COVID-19", "the nineteen nineties, a five-year plan, COVID-nineteen"),
        ("en", "29/11/2026, 3/4/2026", "November twenty-ninth, twenty twenty-six, three four, twenty twenty-six"),
        ("en", "Nov 29, 2026, on May 5", "November twenty-ninth, twenty twenty-six, on May fifth"),
        ("en", "call 555-123-4567", "call five five five, one two three, four five six seven"),
        ("en", "₹5 lakh, 50 USD, $0.99, S$5", "five lakh rupees, fifty dollars, ninety-nine cents, five Singapore dollars"),
        ("en", "500 ml, 3 m², 60 mph, No. 5, #1",
         "five hundred milliliters, three square meters, sixty miles per hour, number five, number one"),
        ("en", "1,2,3 and 3,5", "one, two, three and three, five"),
        ("en", "at 221B, 127.0.0.1:8080, 7B", "at 221B, one two seven dot zero dot zero dot one:8080, 7B"),
        ("en", "9/11, 100+ people, +5, $20/month",
         "nine eleven, one hundred plus people, plus five, twenty dollars/month"),
        ("es", "1 persona, 21 años, 200 casas", "una persona, veintiún años, doscientas casas"),
        ("es", "1 de enero, paso 1 abre, 1 km", "uno de enero, paso uno abre, un kilómetro"),
        ("es", "1.234.567 y 10 000 casas",
         "un millón doscientos treinta y cuatro mil quinientos sesenta y siete y diez mil casas"),
        ("es", "192.168.100.200", "uno nueve dos punto uno seis ocho punto uno cero cero punto dos cero cero"),
        ("es", "612 345 678", "seis uno dos, tres cuatro cinco, seis siete ocho"),
        ("es", "1º, 3.er, 2ª, 29 nov. 2026", "primero, tercer, segunda, veintinueve de noviembre dos mil veintiséis"),
        ("es", "1/2 taza, 20 mil €, EE.UU.", "media taza, veinte mil euros, Estados Unidos"),
        ("es", "las 14:30 h, 2:30 p. m.", "las catorce treinta, dos treinta P M"),
        ("ms", "ke-1, ke-21, pukul 8.30, 2.30 petang",
         "pertama, kedua puluh satu, pukul lapan tiga puluh, dua tiga puluh petang"),
        ("ms", "012-345 6789, RM0.50, RM10 bilion",
         "kosong satu dua, tiga empat lima, enam tujuh lapan sembilan, lima puluh sen, sepuluh bilion ringgit"),
        ("ms", "Kg. Baru, -5, 8 km/j", "Kampung Baru, negatif lima, lapan kilometer sejam"),
        ("hi", "-5, 5वीं, 1947 में, 1 1/2 कप", "माइनस पाँच, पाँचवीं, उन्नीस सौ सैंतालीस में, डेढ़ कप"),
        ("hi", "98765 43210, रु. 500, 5 किमी", "नौ आठ सात छह पाँच, चार तीन दो एक शून्य, पाँच सौ रुपये, पाँच किलोमीटर"),
        ("mr", "1ला, 5वा, 1000, 29/11/2026", "पहिला, पाचवा, एक हजार, एकोणतीस नोव्हेंबर, दोन हजार सव्वीस"),
        ("ta", "2வது, 2024-ல், ₹1, ₹5 லட்சம்", "இரண்டாவது, இரண்டாயிரத்து இருபத்து நான்கில், ஒரு ரூபாய், ஐந்து லட்சம் ரூபாய்"),
        ("te", "2వ, 2024లో, 500 మంది, ₹5 లక్షలు", "రెండవ, రెండు వేల ఇరవై నాలుగులో, ఐదు వందల మంది, ఐదు లక్షల రూపాయలు"),
    ],
)  # fmt: skip
def test_what_is_said(language: str, text: str, words: str) -> None:
    assert said(text, language) == words


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_language_says_its_dates_amounts_and_units_without_a_digit(language: str) -> None:
    text = "2026-03-05, 10:30, ₹500, $5, €7, 50%, 3 km, 20°C, 12345, 3.14, 5-10"
    assert not [character for character in said(text, language) if character.isdecimal()]


@given(ANY_TEXT | DIGITS_AND_SIGNS, st.sampled_from([*LANGUAGES, "fr"]))
def test_nothing_of_what_was_written_is_lost(text: str, language: str) -> None:
    assert "".join(part for part, _ in rewrite(text, language)) == text


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("unit", ["1", "1-", "1.", "1 ", "1/", "$1 ", "1:1", "a@", "a.", "+1 ", "²", "-", "కా"])
def test_a_long_text_without_end_is_read_in_good_time(unit: str, language: str) -> None:
    words_of(language)
    began = time.process_time()
    said(unit * (10_000 // len(unit)), language)
    assert time.process_time() - began < 2.0


def test_an_endless_number_is_left_alone() -> None:
    assert said("9" * 10_000, "en") == "9" * 10_000


def test_without_its_packages_the_voice_gets_the_text_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "unicode_rbnf", None)
    words_of.cache_clear()
    assert said("$5 on 2026-03-05", "en") == "$5 on 2026-03-05"
    words_of.cache_clear()


# ── Around a voice ────────────────────────────────────────────────────────────────────────────────────────────────────


class Recording(ScriptedSpeaker):
    def __init__(self) -> None:
        super().__init__(delay_s=0.0)
        self.given: list[str] = []

    async def speak(self, text: AsyncIterator[str], style: Style) -> AsyncIterator[Sound]:
        async def heard() -> AsyncIterator[str]:
            async for piece in text:
                self.given.append(piece)
                yield piece

        async for sound in super().speak(heard(), style):
            yield sound


def speak(voice: Recording, *pieces: str, language: str = "en") -> list[Sound]:
    async def text() -> AsyncIterator[str]:
        for piece in pieces:
            yield piece

    async def main() -> list[Sound]:
        return [sound async for sound in speakable(voice).speak(text(), Style(language))]

    return asyncio.run(main())


def test_the_voice_gets_words_and_gives_back_what_was_written() -> None:
    voice = Recording()
    sounds = speak(voice, "It costs $5.99 ", "on 2026-03-05, Dr. No.")
    assert voice.given == ["It costs five dollars ninety-nine ", "on March fifth, twenty twenty-six, Doctor No."]
    words = [word for sound in sounds for word in sound.words]
    assert "".join(word.text for word in words) == "It costs $5.99 on 2026-03-05, Dr. No."
    assert any(word.text.strip() == "$5.99" for word in words)


def test_a_number_is_heard_when_its_last_word_is() -> None:
    voice = Recording()
    sounds = speak(voice, "1,234,567 people")
    at = 0
    ends: dict[str, int] = {}
    for sound in sounds:
        ends |= {word.text.strip(): at + word.end for word in sound.words}
        at += len(sound.samples)
    assert list(ends) == ["1,234,567", "people"]
    assert ends["1,234,567"] > 0.8 * ends["people"]


@given(st.lists(ANY_TEXT | DIGITS_AND_SIGNS, max_size=3))
def test_the_words_join_to_the_text(pieces: list[str]) -> None:
    voice = Recording()
    given_back = "".join(word.text for sound in speak(voice, *pieces) for word in sound.words)
    assert given_back == "".join(pieces) or len(given_back) <= len("".join(pieces))


def test_a_wrapped_voice_says_what_it_is() -> None:
    voice = Recording()
    assert speakable(voice).about is voice.about


class Reader(ScriptedSpeaker):
    """Keeps what it was given."""

    def __init__(self) -> None:
        super().__init__()
        self.given: list[str] = []

    async def speak(self, text: AsyncIterator[str], style: Style) -> AsyncIterator[Sound]:
        self.given.append("")

        async def noted() -> AsyncIterator[str]:
            async for piece in text:
                self.given[-1] += piece
                yield piece

        async for sound in super().speak(noted(), style):
            yield sound


def test_a_client_may_have_its_text_said_as_it_is_written() -> None:
    reader = Reader()
    engines = lineup(writer=ScriptedWriter(replies=("It is 50%.",)), speakers=(speakable(reader),))
    asked = [(0.1, Type("How much?")), (4.0, Configure({"speakable": False})), (5.0, Type("How much?"))]
    play([], 9, engines=engines, commands=asked)
    assert reader.given == ["It is fifty percent.", "It is 50%."]


@pytest.mark.parametrize(("wanted", "given"), [(True, "It is fifty percent."), (False, "It is 50%.")])
def test_without_a_session_text_is_said_as_the_servers_configuration_has_it(wanted: bool, given: str) -> None:
    reader = Reader()
    config = replace(Config(), conversation=replace(Config().conversation, speakable=wanted))

    async def speak() -> None:
        async for _ in App(config, lineup(speakers=(speakable(reader),))).speak("It is 50%.", Style("en"), 16_000):
            pass

    virtual.run(speak())
    assert reader.given == [given]
