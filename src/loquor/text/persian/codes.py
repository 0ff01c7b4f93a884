"""What is read piece by piece in Persian: telephone and card numbers, codes, addresses of the web and of mail."""

import re
from re import Match

from loquor.text.persian.numbers import cardinal, digits

TLDS = "ir|com|org|net|edu|gov|io|ai|dev|app|co|me|info|tv|uk|de|fr|eu"
PATH = r"(?:[/؟#][!-~؟؛،]*[A-Za-z\d/])?"
URL = r"(?:https?://|www\.)[!-~؟؛،]*[A-Za-z\d/]"
MAIL = r"(?<![A-Za-z\d._+-])[A-Za-z\d._+-]++@[A-Za-z\d-]++(?:\.[A-Za-z\d-]++)+"
DOMAIN = rf"(?<![A-Za-z\d.@-])(?:[A-Za-z\d-]++\.){{1,5}}(?:{TLDS})(?![A-Za-z\d-]){PATH}"
SIGNS = {".": "دات", "/": "اسلش", "@": "ات", "-": "خط تیره", "_": "آندرلاین", "+": "پلاس"}

END = r"(?![\d]|-\d)"
START = r"(?<![\d+/.-])"
MOBILE = rf"{START}(09\d\d|(?:\+98|0098)[ -]?9\d\d)[ -]?(\d{{3}})[ -]?(\d\d)[ -]?(\d\d){END}"
LANDLINE = rf"{START}\(?(0[1-9]\d)\)?[ -]*(\d\d)(\d\d)[ -]?(\d\d)(\d\d){END}"
ABROAD = rf"{START}\+\d{{1,3}}(?:[ -]?\(?\d{{2,4}}\)?){{2,5}}{END}"
WITH_DASHES = rf"{START}(?:\d{{1,3}}-)?\d{{3}}-\d{{3}}-\d{{4}}{END}"
CARD = rf"{START}\d{{4}}(?:([ -])\d{{4}})(?:\1\d{{4}}){{2}}{END}"
NAMES = "کد|شماره(?:ٔ|[ \u200c]ی)?|شناسه|رمز"
OWNERS = "ملی|پستی|رهگیری|پیگیری|تخفیف|تأیید|تایید|کارت|حساب|شبا|پرونده|دانشجویی|گذرنامه|سریال"
CODE = rf"(?P<name>(?:{NAMES})(?: (?:{OWNERS}))?)(?P<between> ?:? ?)(?P<code>\d{{5,}}+)(?![.]\d)"


def address(match: Match[str]) -> str:
    """ "www.digikala.com/mag" is "digikala دات com اسلش mag"; what is asked of a page is left out."""
    name = re.sub(r"^(?:https?://)?(?:www\.)?|[؟#].*$|/[^/]*%.*$", "", match[0]).rstrip("/")
    return " ".join(SIGNS.get(part, part) for part in re.split(r"([./@_+-])", name) if part)


def telephone(match: Match[str]) -> str:
    """ "09123456789" is "صفر نهصد و دوازده ، سیصد و چهل و پنج ، شصت و هفت ، هشتاد و نه"."""
    return " ، ".join(group(part) for parts in match.groups() for part in re.findall(r"\d+", parts))


def grouped(match: Match[str]) -> str:
    """The groups that the writer made."""
    return " ، ".join(group(part) for part in re.findall(r"\d+", match[0]))


def group(part: str) -> str:
    """ "021" is "صفر بیست و یک", "7946" is "هفتاد و نه چهل و شش"."""
    zeros, rest = part[: len(part) - len(part.lstrip("0"))], part.lstrip("0")
    if len(rest) > 3:
        return f"{group(part[:2])} {group(part[2:])}"
    return " ".join([*[cardinal(0)] * len(zeros), *([cardinal(int(rest))] if rest else [])])


def card(match: Match[str]) -> str:
    """Four times four digits, one by one."""
    return " ، ".join(digits(part) for part in re.findall(r"\d+", match[0]))


CODE_READINGS = (
    (f"{MAIL}|{URL}|{DOMAIN}", address),
    (CODE, lambda match: f"{match['name']}{match['between']}{digits(match['code'])}"),
    (CARD, card),
    (MOBILE, telephone),
    (LANDLINE, telephone),
    (f"{ABROAD}|{WITH_DASHES}", grouped),
)
