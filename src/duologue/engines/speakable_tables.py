"""The words that no data set has, for `speakable`: currencies as people name them, signs of sums, abbreviations.

Written by hand for this project, and not checked by native speakers.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

CURRENCIES: Final = MappingProxyType(
    {"$": "USD", "US$": "USD", "€": "EUR", "£": "GBP", "¥": "JPY", "₹": "INR", "Rs": "INR", "Rs.": "INR", "RM": "MYR"}
    | {"रु.": "INR", "रू.": "INR", "ரூ.": "INR", "రూ.": "INR"}
    | {code: code for code in ("USD", "EUR", "GBP", "INR", "MYR", "SGD", "JPY")}
    | {"S$": "SGD", "A$": "AUD", "C$": "CAD"}
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
        "km²": "square-kilometer",
        "m²": "square-meter",
        "m³": "cubic-meter",
        "m/s": "meter-per-second",
        "mph": "mile-per-hour",
        "km": "kilometer",
        "cm": "centimeter",
        "mm": "millimeter",
        "kg": "kilogram",
        "MB": "megabyte",
        "GB": "gigabyte",
        "TB": "terabyte",
        "KB": "kilobyte",
        "m": "meter",
        "g": "gram",
        "mg": "milligram",
        "ml": "milliliter",
        "mL": "milliliter",
        "L": "liter",
        "ft": "foot",
        "lb": "pound",
        "lbs": "pound",
        "oz": "ounce",
        "Hz": "hertz",
        "MHz": "megahertz",
        "GHz": "gigahertz",
        "W": "watt",
        "kW": "kilowatt",
        "kWh": "kilowatt-hour",
        "°": "degree",
        "km/j": "kilometer-per-hour",
        "किमी/घंटा": "kilometer-per-hour",
        "किमी/घंटे": "kilometer-per-hour",
        "किमी/तास": "kilometer-per-hour",
        "किमी": "kilometer",
        "किग्रा": "kilogram",
        "கிமீ": "kilometer",
        "கி.மீ.": "kilometer",
        "కిమీ": "kilometer",
        "కి.మీ.": "kilometer",
    }
)


CENTS: Final = MappingProxyType(
    {
        ("en", "USD"): "cents",
        ("en", "EUR"): "cents",
        ("en", "GBP"): "pence",
        ("en", "INR"): "paise",
        ("en", "MYR"): "sen",
        ("es", "USD"): "centavos",
        ("es", "EUR"): "céntimos",
        ("ms", "MYR"): "sen",
        ("ms", "USD"): "sen",
        ("hi", "INR"): "पैसे",
        ("mr", "INR"): "पैसे",
        ("ta", "INR"): "பைசா",
        ("te", "INR"): "పైసలు",
    }
)
"""Named where there is nothing else ("$0.99"), and where below ten they would be taken for tenths ("$5.05")."""

SCALES: Final[Mapping[str, Mapping[str, str]]] = MappingProxyType(
    {
        "en": {"k": "thousand", "K": "thousand", "M": "million", "B": "billion", "T": "trillion"}
        | {"bn": "billion", "m": "million"},
        "es": {"k": "mil", "K": "mil", "M": "millones"},
        "ms": {"k": "ribu", "K": "ribu", "M": "juta", "B": "bilion"},
    }
)
"""What letters behind a number mean; "m" and "bn" only of money. Elsewhere they are said as they stand."""

SCALE_WORDS: Final = (
    *("thousand", "million", "billion", "trillion", "lakh", "lakhs", "crore", "crores", "millones", "millón", "mil"),
    *("juta", "ribu", "bilion", "लाख", "करोड़", "हज़ार", "हजार", "अरब", "कोटी", "லட்சம்", "கோடி", "ஆயிரம்"),
    *("లక్షలు", "లక్షల", "లక్ష", "కోట్లు", "కోట్ల", "కోటి", "వేలు", "వేల"),
)
"""Said before the currency: "five million dollars", not "five dollars million"."""


@dataclass(frozen=True, slots=True)
class Little:
    """Of an address, a range, a decimal, a sum, and abbreviations. `parts` are a half, a third, two thirds, a quarter, three
    quarters; other fractions are said with `over`."""

    dot: str
    at: str
    to: str
    point: str
    plus: str
    minus: str
    times: str
    divided: str
    equals: str
    over: str
    parts: tuple[str, str, str, str, str]
    short: Mapping[str, str]


LITTLE: Final = MappingProxyType(
    {
        "en": Little("dot", "at", "to", "point", "plus", "minus", "times", "divided by", "equals", "over",
            ("one half", "one third", "two thirds", "one quarter", "three quarters"), {
            "Dr.": "Doctor", "Mr.": "Mister", "Mrs.": "Missus", "Prof.": "Professor", "e.g.": "for example",
            "i.e.": "that is", "etc.": "et cetera", "vs.": "versus", "approx.": "approximately", "w/o": "without", "w/": "with",
        }),
        "es": Little("punto", "arroba", "a", "coma", "más", "menos", "por", "entre", "es igual a", "sobre",
            ("medio", "un tercio", "dos tercios", "un cuarto", "tres cuartos"), {
            "Sr.": "señor", "Sra.": "señora", "Srta.": "señorita", "Dr.": "doctor", "Dra.": "doctora", "Ud.": "usted",
            "Uds.": "ustedes", "EE. UU.": "Estados Unidos", "EE.UU.": "Estados Unidos", "EE.\u00a0UU.": "Estados Unidos",
            "p. ej.": "por ejemplo", "p.ej.": "por ejemplo", "P. ej.": "por ejemplo", "etc.": "etcétera",
            "aprox.": "aproximadamente", "pág.": "página", "págs.": "páginas", "núm.": "número", "n.º": "número",
            "Avda.": "avenida", "Av.": "avenida", "tel.": "teléfono", "Tel.": "teléfono",
        }),
        "ms": Little("titik", "alias", "hingga", "perpuluhan", "tambah", "tolak", "darab", "bahagi", "sama dengan", "per",
            ("setengah", "satu pertiga", "dua pertiga", "suku", "tiga suku"), {
            "dll.": "dan lain-lain", "dsb.": "dan sebagainya", "cth.": "contohnya", "En.": "Encik", "Pn.": "Puan",
            "Dr.": "Doktor", "Prof.": "Profesor", "Jln.": "Jalan", "Kg.": "Kampung", "Bil.": "bilangan", "Tn.": "Tuan",
            "Hj.": "Haji", "Sdn. Bhd.": "Sendirian Berhad", "Bhd.": "Berhad", "s.a.w.": "sallallahu alaihi wasallam",
        }),
        "hi": Little("डॉट", "ऐट", "से", "दशमलव", "प्लस", "माइनस", "गुणा", "भाग", "बराबर", "बटा",
            ("आधा", "एक तिहाई", "दो तिहाई", "एक चौथाई", "तीन चौथाई"), {
            "डॉ.": "डॉक्टर", "रु.": "रुपये", "प्रो.": "प्रोफ़ेसर", "कि.मी.": "किलोमीटर", "पं.": "पंडित", "नं.": "नंबर",
            "ई.पू.": "ईसा पूर्व", "कि.ग्रा.": "किलोग्राम", "से.मी.": "सेंटीमीटर",
        }),
        "mr": Little("डॉट", "ॲट", "ते", "दशांश", "अधिक", "उणे", "गुणिले", "भागिले", "बरोबर", "छेद",
            ("अर्धा", "एक तृतीयांश", "दोन तृतीयांश", "पाव", "पाऊण"), {
            "डॉ.": "डॉक्टर", "रु.": "रुपये", "प्रा.": "प्राध्यापक", "कि.मी.": "किलोमीटर", "इ.स.": "इसवी सन",
            "उदा.": "उदाहरणार्थ", "कि.ग्रॅ.": "किलोग्रॅम", "सें.मी.": "सेंटीमीटर",
        }),
        "ta": Little("டாட்", "அட்", "முதல்", "புள்ளி", "கூட்டல்", "மைனஸ்", "பெருக்கல்", "வகுத்தல்", "சமம்", "பை",
            ("அரை", "மூன்றில் ஒரு பங்கு", "மூன்றில் இரண்டு பங்கு", "கால்", "முக்கால்"), {
            "ரூ.": "ரூபாய்", "டாக்.": "டாக்டர்", "டாக்டர்.": "டாக்டர்", "திரு.": "திரு", "திருமதி.": "திருமதி",
            "கி.மீ.": "கிலோமீட்டர்", "செ.மீ.": "சென்டிமீட்டர்", "எ.கா.": "எடுத்துக்காட்டாக", "கி.பி.": "கிறிஸ்துவுக்குப் பின்",
            "கி.மு.": "கிறிஸ்துவுக்கு முன்",
        }),
        "te": Little("డాట్", "ఎట్", "నుండి", "పాయింట్", "ప్లస్", "మైనస్", "ఇంటూ", "భాగించు", "సమానం", "బై",
            ("అర", "మూడింట ఒక వంతు", "మూడింట రెండు వంతులు", "పావు", "ముప్పావు"), {
            "రూ.": "రూపాయలు", "డా.": "డాక్టర్", "శ్రీ.": "శ్రీ", "కి.మీ.": "కిలోమీటర్లు", "సెం.మీ.": "సెంటీమీటర్లు",
            "ఉదా.": "ఉదాహరణకు", "క్రీ.శ.": "క్రీస్తు శకం", "క్రీ.పూ.": "క్రీస్తు పూర్వం",
        }),
    }
)  # fmt: skip

PARTS: Final = ("1/2", "1/3", "2/3", "1/4", "3/4")
"""In the order of `Little.parts`."""

NUMBERED: Final = MappingProxyType(
    {"en": "number", "es": "número", "ms": "nombor", "hi": "नंबर", "mr": "क्रमांक", "ta": "எண்", "te": "నంబర్"}
)
"""For "No. 5" and "#5"."""

POWERS: Final = MappingProxyType(
    {
        "en": ("squared", "cubed"),
        "es": ("al cuadrado", "al cubo"),
        "ms": ("kuasa dua", "kuasa tiga"),
        "hi": ("का वर्ग", "का घन"),
        "mr": ("चा वर्ग", "चा घन"),
        "ta": ("ஸ்கொயர்", "கியூப்"),
        "te": ("స్క్వేర్", "క్యూబ్"),
    }
)

HALVES: Final = MappingProxyType({"hi": ("डेढ़", "ढाई", "साढ़े"), "mr": ("दीड", "अडीच", "साडे")})
"""One and a half, two and a half, and what stands before the number for all others."""

FEMININE: Final = frozenset(
    {"vez", "veces", "noche", "noches", "tarde", "tardes", "mujer", "mujeres", "parte", "partes", "clase", "clases"}
    | {"calle", "calles", "llave", "llaves", "flor", "flores", "imagen", "imágenes", "torre", "torres", "mano", "manos"}
    | {"sede", "sedes", "frase", "frases", "base", "bases", "serie", "series", "gente"}
)
MASCULINE: Final = frozenset(
    {"día", "días", "mapa", "mapas", "planeta", "planetas", "problema", "problemas", "programa", "programas", "tema"}
    | {"temas", "sistema", "sistemas", "idioma", "idiomas", "poema", "poemas", "síntoma", "síntomas"}
)
NO_NOUNS: Final = frozenset(
    {
        "de",
        "del",
        "y",
        "e",
        "o",
        "u",
        "a",
        "al",
        "en",
        "es",
        "son",
        "por",
        "para",
        "con",
        "que",
        "más",
        "menos",
        "se",
        "no",
    }
    | {
        "la",
        "el",
        "los",
        "las",
        "un",
        "una",
        "entre",
        "como",
        "si",
        "ni",
        "era",
        "fue",
        "hasta",
        "desde",
        "sobre",
        "sin",
    }
    | {"pero", "porque", "mientras", "cuando"}
)
"""Spanish: words that tell their gender otherwise than by their ending, and what is not counted by the number before it."""

COUNTED_WORDS: Final = frozenset(
    {
        "opción",
        "paso",
        "capítulo",
        "número",
        "página",
        "nivel",
        "ejemplo",
        "parte",
        "fase",
        "lección",
        "día",
        "pregunta",
    }
    | {"nota", "tema", "versión"}
)
"""Spanish: a number after these names one of them ("paso 1 abre"), and counts nothing."""
