"""Chunks that make sense only together: "$5 million", "21 Nov", "Dr. Smith", "(555) 123-4567", "10 - 3 =".

A chunk, what stands between white space, waits as long as the next one could explain it (`WAITING`); what several say
together is written out (`REWRITINGS`) before words are read. Whole texts and those that arrive word by word pass here.
"""

import re
from collections.abc import Callable, Iterator
from re import Match
from typing import NamedTuple

from loquor.text.numbers import ordinal
from loquor.text.readings import CURRENCIES, MONTHS, NUMBER, SCALES, UNITS, grouped, measured

# fmt: off
BEFORE_NUMBERS = {
    "no": "number", "nos": "numbers", "p": "page", "pp": "pages", "vol": "volume", "ch": "chapter", "fig": "figure",
    "figs": "figures", "sec": "section", "ext": "extension", "eq": "equation", "tel": "telephone",
}
AREAS = {"ft": "feet", "m": "meters", "km": "kilometers", "mi": "miles", "in": "inches", "yd": "yards"}
COMPARISONS = {"<": "less than", ">": "greater than", "<=": "at most", ">=": "at least"}
CODES = {"USD": "dollars", "EUR": "euros", "GBP": "pounds"}
# fmt: on
START = r"(?<![\d.,-])"  # of a number
AMOUNT = rf"(?:\bUS)?(?P<sign>[$€£¥₹])(?P<a>{NUMBER})(?:-[$€£¥₹]?(?P<b>{NUMBER}))?"
SCALE = "(?P<scale>(?i:hundred|thousand|million|billion|trillion)|[mbt]n|[kKM])"
SHORT = rf"(?P<short>(?i:{'|'.join(BEFORE_NUMBERS)}))\."
MONTH = "|".join(MONTHS)
SHORT_MONTH = "|".join(["Sept", *(month[:3] for month in MONTHS if month != "May")])
DAY = r"(?P<day>3[01]|[12]\d|0?[1-9])(?:st|nd|rd|th)?"
UNIT = "|".join(filter(str.isalpha, UNITS))
ABROAD = r"\+\d{1,3}(?:[ .-]?\(?\d{2,4}\)?)"
TELEPHONE = (
    rf"{ABROAD}{{2,5}}|(?<!\d)(?:1 )?\(?\d{{3}}\)? \d{{3}}[ .-]\d{{4}}(?!\d)"
    rf"|(?<!\d ){START}0\d{{2,4}} \d{{3,4}}(?: \d{{3,4}})?\b"
)
WAITERS = (
    rf"-?{AMOUNT}|{SHORT}|Dr\.|(?:{SHORT_MONTH})\.?|[<>]=?",  # $5 million, No. 5, Dr. Li, Jan. 5, > 5
    rf"{DAY}(?: of)?",  # 4th of July
    rf"{NUMBER}(?: (?:[-/]|{SCALE}|- {NUMBER}|sq\.?|ft(?: \d\d?)?)| ?(?:{UNIT})\.)?",  # 10 - 3 =, 5 ft 10 in
    r"\d\d?[:.]\d\d",  # 7:30 pm
    rf"\(\d{{3}}\)|\d{{1,3}}(?: \d{{3}}){{1,4}}|0\d{{2,4}} \d{{3,4}}|\+\d{{1,3}}|{ABROAD}{{1,4}}",  # telephones
)
WAITING = re.compile(rf"[\"'([{{]*(?:{re.sub(r'[?]P<[a-z]+>', '?:', '|'.join(WAITERS))})")

Rewriting = tuple[re.Pattern[str], Callable[[Match[str]], str]]


def scaled_money(match: Match[str]) -> str:
    """ "$5 million" is "5 million dollars", a "$5-million deal" a "5 million dollar deal"."""
    name = CURRENCIES[match["sign"]][0 if match["hyphen"] == "-" else 1]
    last = f" to {match['b']}" if match["b"] else ""
    return f"{match['a']}{last} {SCALES.get(match['scale'].lower(), match['scale'])} {name}"


def long_month(match: Match[str]) -> str:
    """The month that "Jan" is short for."""
    return next(month for month in MONTHS if month.startswith(match["month"][:3]))


def clock(match: Match[str]) -> str:
    """ "10.30 p.m." is "10:30pm", which `readings` knows."""
    minute = f":{match['minute']}" if match["minute"] else ""
    return f"{match['hour']}{minute}{match['half']}m"


def inches(match: Match[str]) -> str:
    """ "10 in." and "6 ft 2 in" are inches; a bare "in" is none."""
    amount = match["a"] or match["rest"]
    return f"{amount} {measured(amount, 'in')}"


def dashed(match: Match[str]) -> str:
    """ "10 - 3 =" is a difference, "5 - 10" a range, "10 - 3" neither."""
    first, second, after = match["a"], match["b"], match["after"]
    if after:
        return f"{first} minus {second}{after}"
    return f"{first}-{second}" if float(first.replace(",", "")) < float(second.replace(",", "")) else match[0]


REWRITINGS: list[Rewriting] = [
    (re.compile(pattern), rewritten)
    for pattern, rewritten in (
        (rf"{AMOUNT}(?P<hyphen>[ -]){SCALE}\b", scaled_money),
        (rf"{START}(?P<a>{NUMBER} {SCALE}) (?P<code>USD|EUR|GBP)\b", lambda m: f"{m['a']} {CODES[m['code']]}"),
        (rf"\b{SHORT} ?(?=\d)", lambda m: f"{BEFORE_NUMBERS[m['short'].lower()]} "),
        (r"\bDr\. (?=[A-Z]|(?:van|von|de|del|di|da|du|la|le|el|al)\b)", lambda _: "Dr "),
        (TELEPHONE, grouped),
        (rf"{START}\d{{1,3}}(?: \d{{3}}){{2,}}+(?![\d-]|[.,]\d)", lambda m: m[0].replace(" ", ",")),
        (rf"{START}(?P<hour>\d\d?)(?:[:.](?P<minute>\d\d))? ?(?P<half>[AaPp])(?:\.[Mm]\b\.?|[Mm]\b)", clock),
        (r"(?<=\d)T(?P<clock>\d\d:\d\d)(?::\d\d(?:\.\d+)?)?Z?\b", lambda m: f" {m['clock']}"),
        (
            rf"{START}{DAY} (?:of )?(?P<month>{MONTH}|{SHORT_MONTH})\b\.?",
            lambda m: f"the {ordinal(int(m['day']))} of {long_month(m)}",
        ),
        (rf"\b(?P<month>{SHORT_MONTH})\.? ?(?=\d)", lambda m: f"{long_month(m)} "),
        (r"(?<=\d) ?sq\.? ?(?P<unit>ft|m|km|mi|in|yd)\b\.?", lambda m: f" square {AREAS[m['unit']]}"),
        (rf"{START}(?P<a>{NUMBER}) ?in(?=\.)|(?<=ft )(?P<rest>\d\d?) in\b", inches),
        (rf"(?<=\d)(?P<unit> ?(?:{UNIT}|inch|inches))\. (?=[a-z\d])", lambda m: f"{m['unit']} "),
        (rf"{START}(?P<a>{NUMBER}) - (?P<b>{NUMBER})(?P<after> =|\?)?", dashed),
        (rf"{START}(?P<a>{NUMBER}) / (?P<b>{NUMBER})", lambda m: f"{m['a']} divided by {m['b']}"),
        (r"(?<![\w<])<3(?![\w.,])", lambda _: "love"),
        (r"(?P<sign>[<>]=?) ?(?=-?\d)", lambda m: f" {COMPARISONS[m['sign']]} "),
    )
]


class Chunk(NamedTuple):
    """What is read at once, and the characters of the text it stands in."""

    text: str
    start: int
    end: int


class Phrases:
    """Chunks as they are to be read: those that belong together as one, any other alone."""

    def __init__(self) -> None:
        self.waiting: Chunk | None = None

    def push(self, chunk: Chunk) -> list[Chunk]:
        """What can be read now."""
        before = self.waiting
        if before:
            both = Chunk(f"{before.text} {chunk.text}", before.start, chunk.end)
            if WAITING.fullmatch(both.text):
                self.waiting = both
                return []
            if belong_together(both.text, len(before.text)):
                self.waiting = None
                return [both]
        self.waiting = chunk if WAITING.fullmatch(chunk.text) else None
        return [*([before] if before else []), *([] if self.waiting else [chunk])]

    def end(self) -> list[Chunk]:
        """What still waits, when no more comes."""
        waiting, self.waiting = self.waiting, None
        return [waiting] if waiting else []


def belong_together(text: str, space: int) -> bool:
    """Whether something is written with what stands before this space and what stands behind it."""
    return any(m.start() <= space < m.end() for pattern, _ in REWRITINGS for m in pattern.finditer(text))


def phrases(text: str) -> Iterator[str]:
    """A whole text in the parts that are read at once."""
    waiting = Phrases()
    for match in re.finditer(r"\S+", text):
        yield from (chunk.text for chunk in waiting.push(Chunk(match[0], *match.span())))
    yield from (chunk.text for chunk in waiting.end())


def written_out(phrase: str) -> str:
    """A phrase, of plain characters, with what its chunks say together in words."""
    for pattern, rewritten in REWRITINGS:
        phrase = pattern.sub(rewritten, phrase)
    return phrase
