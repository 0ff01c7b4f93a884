"""How written things that are not plain words are read in Persian: fractions, ranges, ordinals, numbers, signs.

`READINGS` is a list of patterns with what each says, from the most particular to the bare number; each goes once over
the whole text. What they return is words and marks, so that no later pattern finds a number in it.
"""

import re
from collections.abc import Callable
from functools import partial
from re import Match

from loquor.text.persian.characters import WORD, WORD_END
from loquor.text.persian.codes import CODE_READINGS
from loquor.text.persian.dates import DATE_READINGS
from loquor.text.persian.measures import MEASURE_READINGS, MINUS, NEW, NUMBER, one_of
from loquor.text.persian.numbers import ZWNJ, cardinal, number, ordinal

# fmt: off
HONOURS = {
    "ص": "صلی الله علیه و آله", "ع": "علیه‌السلام", "س": "سلام الله علیها", "ره": "رحمت الله علیه",
    "عج": "عجل الله تعالی فرجه", "رض": "رضی الله عنه",
}
ABBREVIATIONS = {
    "ه.ش": "هجری شمسی", "ه.ق": "هجری قمری", "ق.م": "قبل از میلاد", "ب.م": "بعد از میلاد", "ق.ظ": "قبل از ظهر",
    "ب.ظ": "بعد از ظهر", "ر.ک": "رجوع کنید به",
}
ERAS = {"م": "میلادی", "ش": "شمسی", "ق": "قمری"}  # behind a year
BEFORE_NUMBERS = {"صص": "صفحات", "ص": "صفحهٔ", "ج": "جلد", "ش": "شمارهٔ", "پ": "پلاک", "ط": "طبقهٔ"}
BETWEEN_NUMBERS = {
    "+": "به علاوهٔ", "=": "مساوی", "×": "در", "x": "در", "÷": "تقسیم بر", "<": "کوچک‌تر از", ">": "بزرگ‌تر از",
    "≤": "کوچک‌تر یا مساوی", "≥": "بزرگ‌تر یا مساوی",
}
SIGN_BEFORE = {
    "+": "مثبت", "±": "مثبت و منفی", "~": "حدود", "#": "شمارهٔ", "<": "کمتر از", ">": "بیش از", "≤": "حداکثر",
    "≥": "حداقل",
}
SIGNS = {"&": "و", "+": "پلاس", "=": "مساوی", "%": "درصد", "°": "درجه", "@": "ات"}
# fmt: on
LARGEST_FRACTION = 10**6
WORD_START = rf"(?<![{WORD}{ZWNJ}.])"
STOP = r"(?:\.(?= *\S))?"  # the full stop of an abbreviation, unless it ends the text as well
ABBREVIATION = rf"{WORD_START}(?P<short>{one_of(ABBREVIATIONS)}){WORD_END}{STOP}"
ERA = rf"(?<=\d{{4}}) ?(?P<hijri>ه\.? ?)?(?P<era>[مشق]){WORD_END}{STOP}"
FRACTION = rf"{NEW}(?:(?P<whole>\d++) +(?:و +)?)?(?P<above>\d++)(?P<sign>[/⁄])(?P<below>\d++)(?![\d/])"
RANGE = rf"(?<![\d./:-]){MINUS}(?P<from>{NUMBER})(?P<sign> ?[-–] ?)(?P<to>{NUMBER})(?!\d|[-–/:]\d)"
ORDINAL = rf"(?<![\d.])(?P<n>\d{{1,15}}+)(?:(?:[ {ZWNJ}]?ا\u064f?|{ZWNJ}?)م(?P<in>ین)?|st|nd|rd|th){WORD_END}"


def fraction(match: Match[str]) -> str:
    """ "3/4" is "سه چهارم", "2 1/2" is "دو و نیم".

    Iranians also write a slash as the decimal mark: "3/14" and "5/2" are "سه ممیز چهارده" and "پنج ممیز دو".
    """
    above, below = int(match["above"][:16]), int(match["below"][:16])
    whole = number(match["whole"]) if match["whole"] else ""
    if len(match["above"]) == len(match["below"]) == 4:  # two years
        return f"{whole} {cardinal(above)} تا {cardinal(below)}"
    is_fraction = match["sign"] == "⁄" or above < below <= 10
    if not is_fraction or below == 0 or max(above, below) > LARGEST_FRACTION:
        return f"{whole} {number(match['above'] + '.' + match['below'])}"
    said = f"{cardinal(above)} {ordinal(below)}"
    return f"{whole} و {'نیم' if (above, below) == (1, 2) else said}" if whole else said


def span(match: Match[str]) -> str:
    """ "5-10" is "پنج تا ده"; what does not go up is the score of a game, "3-1" is "سه بر یک", or no range at all."""
    first, last = match["from"], match["to"]
    goes_up = float(first) < float(last)
    if not goes_up and (" " in match["sign"] or match["minus"]):
        return match[0]
    is_score = not goes_up and len(first) <= 2
    return f"{'منفی ' if match['minus'] else ''}{number(first)} {'بر' if is_score else 'تا'} {number(last)}"


def in_order(match: Match[str]) -> str:
    """ "21ام" is "بیست و یکم", "5مین" is "پنجمین"."""
    return ordinal(int(match["n"])) + (match["in"] or "")


def version(match: Match[str]) -> str:
    """ "3.11.2" is "سه نقطه یازده نقطه دو"."""
    return " نقطه ".join(number(part) for part in match[0].split("."))


def table(words: dict[str, str], group: str | int = 0) -> Callable[[Match[str]], str]:
    """Says what a table has for a match."""
    return lambda match: words[match[group]]


def signed(match: Match[str]) -> str:
    """ "-5" is "منفی پنج"."""
    return f"{'منفی ' if match['minus'] else ''}{number(match['n'])}"


READINGS = [
    (re.compile(pattern), say)
    for pattern, say in (
        (rf"\((?P<honour>{one_of(HONOURS)})\)", table(HONOURS, "honour")),
        *CODE_READINGS,
        *DATE_READINGS,
        (ERA, lambda match: ("هجری " if match["hijri"] else "") + ERAS[match["era"]]),
        (ABBREVIATION, table(ABBREVIATIONS, "short")),
        (rf"{WORD_START}(?P<word>{one_of(BEFORE_NUMBERS)})\.? ?(?=\d)", table(BEFORE_NUMBERS, "word")),
        (rf"(?<=\d) ?(?P<sign>[{''.join(BETWEEN_NUMBERS)}]) ?(?=-?\d)", table(BETWEEN_NUMBERS, "sign")),
        *MEASURE_READINGS,
        (r"(?<=متر)\^(?P<power>[23])", lambda match: "مربع" if match["power"] == "2" else "مکعب"),
        (r"\^(?P<minus>-)?(?P<n>\d+)", lambda match: f"به توان {signed(match)}"),
        (FRACTION, fraction),
        (rf"{NEW}\d++(?:\.\d++){{2,}}", version),
        (
            rf"{NEW}(?P<from>\d++):(?P<to>\d++)(?!:?\d)",
            lambda match: f"{number(match['from'])} به {number(match['to'])}",
        ),
        (ORDINAL, in_order),
        (RANGE, span),
        (rf"{NEW}(?P<n>{NUMBER})\+(?![{WORD}\d+])", lambda match: f"مثبت {number(match['n'])}"),
        (rf"(?P<sign>[{''.join(SIGN_BEFORE)}]) ?(?=-?\d)", table(SIGN_BEFORE, "sign")),
        (r"(?<!\S)\.(?P<after>\d++)", lambda match: number(f"0.{match['after']}")),
        (rf"{MINUS}(?P<n>{NUMBER})(?:-(?=[{WORD}\d]))?", signed),
        (rf"[{''.join(SIGNS)}]", table(SIGNS)),
    )
]


def read(text: str) -> str:
    """A clean text without digits and signs: words in Persian and Latin letters, marks, brackets and quotes."""
    for pattern, say in READINGS:
        text = pattern.sub(partial(apart, say), text)
    return text


def apart(say: Callable[[Match[str]], str], match: Match[str]) -> str:
    """What is said with space around it; a half-space behind stays, so that an ending stays with its number."""
    said = say(match)
    if said == match[0]:
        return said
    return f" {said}" if match.string[match.end() : match.end() + 1] == ZWNJ else f" {said} "
