"""Money and measures in Persian: "$5.50", "۱۰-۲۰٪", "۵۰ km/h", with the amount before or after its sign."""

import re
from collections.abc import Iterable
from re import Match

from loquor.text.persian.characters import RIAL, WORD, WORD_END
from loquor.text.persian.numbers import AND, ZWNJ, cardinal, number

# fmt: off
CURRENCIES = {  # one, one hundredth
    "$": ("دلار", "سنت"), "€": ("یورو", "سنت"), "£": ("پوند", "پنی"), "¥": ("ین", ""), "₹": ("روپیه", ""),
    "₽": ("روبل", ""), "₺": ("لیر", ""), "¢": ("سنت", ""), RIAL: ("ریال", ""), "USD": ("دلار", "سنت"),
    "EUR": ("یورو", "سنت"), "GBP": ("پوند", "پنی"), "IRR": ("ریال", ""), "IRT": ("تومان", ""), "AED": ("درهم", ""),
}
SCALES = {
    **{scale: scale for scale in ("هزار", "میلیون", "میلیارد", "تریلیون")},
    "k": "هزار", "K": "هزار", "m": "میلیون", "M": "میلیون", "B": "میلیارد", "bn": "میلیارد",
    "million": "میلیون", "billion": "میلیارد",
}
UNITS = {
    "mm": "میلی‌متر", "cm": "سانتی‌متر", "m": "متر", "km": "کیلومتر", "in": "اینچ", "ft": "فوت", "mi": "مایل",
    "mg": "میلی‌گرم", "g": "گرم", "gr": "گرم", "kg": "کیلوگرم", "lb": "پوند", "oz": "اونس", "ml": "میلی‌لیتر",
    "mL": "میلی‌لیتر", "cc": "سی‌سی", "l": "لیتر", "ms": "میلی‌ثانیه", "s": "ثانیه", "sec": "ثانیه", "min": "دقیقه",
    "h": "ساعت", "hr": "ساعت", "km/h": "کیلومتر بر ساعت", "m/s": "متر بر ثانیه", "m/s^2": "متر بر مجذور ثانیه",
    "mph": "مایل بر ساعت", "Hz": "هرتز", "kHz": "کیلوهرتز", "MHz": "مگاهرتز", "GHz": "گیگاهرتز", "KB": "کیلوبایت",
    "kB": "کیلوبایت", "MB": "مگابایت", "GB": "گیگابایت", "TB": "ترابایت", "MB/s": "مگابایت بر ثانیه",
    "Mbps": "مگابیت بر ثانیه", "Gbps": "گیگابیت بر ثانیه", "kW": "کیلووات", "MW": "مگاوات", "kWh": "کیلووات‌ساعت",
    "mA": "میلی‌آمپر", "mAh": "میلی‌آمپرساعت", "Pa": "پاسکال", "dB": "دسی‌بل", "fps": "فریم بر ثانیه", "px": "پیکسل",
    "m^2": "متر مربع", "m2": "متر مربع", "m^3": "متر مکعب", "m3": "متر مکعب", "km^2": "کیلومتر مربع",
    "km2": "کیلومتر مربع", "cm^2": "سانتی‌متر مربع", "cm^3": "سانتی‌متر مکعب", "°C": "درجهٔ سانتی‌گراد",
    "°F": "درجهٔ فارنهایت", "°": "درجه", "%": "درصد", "‰": "در هزار",
}
CAPITALS = {"L": "لیتر", "W": "وات", "V": "ولت", "A": "آمپر", "B": "بایت"}  # right behind the number only
# fmt: on


def one_of(words: Iterable[str]) -> str:
    """A pattern for one of the words, the longest that fits."""
    return "|".join(re.escape(word) for word in sorted(words, key=len, reverse=True))


NEW = r"(?<![\d./:])"  # the number begins here
NUMBER = r"\d++(?:\.\d++)?"
AMOUNT = r"\d++(?:[./]\d++)?"  # beside a unit a slash is a decimal mark
MINUS = rf"(?P<minus>(?<![{WORD}\d){ZWNJ}-])-)?"
SIGN = one_of(sign for sign in CURRENCIES if len(sign) == 1)
CODE = one_of(code for code in CURRENCIES if len(code) > 1)
SCALE = rf"(?: ?(?P<scale>{one_of(SCALES)})(?![{WORD}]))?"
MONEY_AFTER_SIGN = (
    rf"{MINUS}(?:US)?(?P<sign>{SIGN}|(?<![A-Za-z])(?:{CODE})(?= ?\d)) ?"
    rf"(?P<from>{AMOUNT})(?: ?[-–] ?(?P=sign)?(?P<to>{AMOUNT}))?{SCALE}"
)
RANGE = rf"{NEW}{MINUS}(?P<from>{AMOUNT})(?: ?[-–] ?(?P<to>{AMOUNT}))?"
MONEY = rf"{RANGE}{SCALE} ?(?P<sign>{one_of(CURRENCIES)})(?![A-Za-z])"
MEASURE = rf"{RANGE}(?: ?(?P<unit>{one_of(UNITS)})|(?P<capital>{one_of(CAPITALS)}))(?![A-Za-z\d^])"
PERCENT = rf"(?<!\d)(?<!\d )%(?P<minus>)(?P<from>{AMOUNT})(?: ?[-–] ?(?P<to>{AMOUNT}))?"
TOMAN = rf"(?<=\d)(?: ?(?P<scale>هزار|میلیون|میلیارد) ?)?ت{WORD_END}"
COUNTED = "درصد|هزار|میلی|تریل|متر|کیلو|لیتر|تومان|دلار|یورو|برابر|ریشتر|از "  # behind a decimal, not a fraction
WITH_SLASH = rf"{NEW}{MINUS}(?P<from>\d++/\d++)(?P<to>)(?= ?(?:{COUNTED}))"


def amount(match: Match[str]) -> str:
    """The number or range of a match, "-2/5" as a decimal."""
    said = " تا ".join(number(match[end].replace("/", ".")) for end in ("from", "to") if match[end])
    return f"منفی {said}" if match["minus"] else said


def money(match: Match[str]) -> str:
    """ "$5.50" is "پنج دلار و پنجاه سنت", "$5 میلیون" is "پنج میلیون دلار"."""
    whole, hundredth = CURRENCIES[match["sign"]]
    before, _, after = match["from"].partition(".")
    if hundredth and len(after) == 2 and not match["to"] and not match["scale"]:
        parts = [f"{number(n)} {name}" for n, name in ((before, whole), (after.lstrip("0"), hundredth)) if n.strip("0")]
        return ("منفی " if match["minus"] else "") + (AND.join(parts) or f"{cardinal(0)} {whole}")
    return " ".join(filter(None, [amount(match), SCALES.get(match["scale"], ""), whole]))


def measure(match: Match[str]) -> str:
    """ "5 km" is "پنج کیلومتر"."""
    return f"{amount(match)} {UNITS[match['unit']] if match['unit'] else CAPITALS[match['capital']]}"


MEASURE_READINGS = (
    (MONEY_AFTER_SIGN, money),
    (MONEY, money),
    (TOMAN, lambda match: f"{match['scale'] or ''} تومان"),
    (MEASURE, measure),
    (PERCENT, lambda match: f"{amount(match)} درصد"),
    (WITH_SLASH, amount),
)
