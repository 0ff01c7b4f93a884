"""A whole English text as it is said: `loquor.text.normalize` with a look ahead, for training texts.

What only the following words explain ("$5 million", "5 March", "No. 5", the stop of an abbreviation that also ends the
text) is written out first; then the chunks are read in order. Acronyms are written without stops ("USA", "NASA", "7 PM"
is "seven PM"), and marks stand at their words.
"""

import re
from dataclasses import dataclass
from re import Match

from loquor.text.characters import plain
from loquor.text.normalize import MARKS, PAIRS, ROMAN, ROMAN_LETTERS, SCALE, Normalizer, Rewriting, chunks
from loquor.text.numbers import ordinal
from loquor.text.readings import MONTHS, NUMBER, UNITS, grouped, measured

# fmt: off
AREAS = {"ft": "feet", "m": "meters", "km": "kilometers", "mi": "miles", "in": "inches", "yd": "yards"}
COMPARISONS = {"<": "less than", ">": "greater than", "<=": "at most", ">=": "at least"}
CODES = {"USD": "dollars", "EUR": "euros", "GBP": "pounds"}
# fmt: on
START = r"(?<![\d.,-])"  # of a number
MONTH = "|".join(MONTHS)
SHORT_MONTH = "|".join(["Sept", *(month[:3] for month in MONTHS if month != "May")])
DAY = r"(?P<day>3[01]|[12]\d|0?[1-9])"
END_OF_TEXT = re.compile(r"\.[\"')\]]*$")


def long_month(match: Match[str]) -> str:
    """ "Jan. 5" is "January 5"."""
    month = next(month for month in MONTHS if month.startswith(match["month"][:3]))
    return f"{match['before']}{month} "


def inches(match: Match[str]) -> str:
    """ "5 in." is five inches; a bare "in" only behind feet."""
    amount = match["a"] or match["rest"]
    return f"{amount} {measured(amount, 'in')}"


def day_first(match: Match[str]) -> str:
    """ "5 March" is "the fifth of March"."""
    return f"the {ordinal(int(match['day']))} of {match['month']}"


REWRITINGS: list[Rewriting] = PAIRS[:1] + [
    (re.compile(pattern), rewritten)
    for pattern, rewritten in (
        (rf"{START}(?P<a>{NUMBER} {SCALE}) (?P<code>USD|EUR|GBP)\b", lambda m: f"{m['a']} {CODES[m['code']]}"),
        (rf"(?<!\d ){START}\d{{1,3}}(?: \d{{3}}){{2,}}+(?![\d-]|[.,]\d)", lambda m: m[0].replace(" ", ",")),
        (r"(?<=\d) ?sq\.? ?(?P<unit>ft|m|km|mi|in|yd)\b\.?", lambda m: f" square {AREAS[m['unit']]}"),
        (rf"{START}(?P<a>{NUMBER}) ?in\.|(?<=ft )(?P<rest>\d\d?) in\b", inches),
        (rf"(?<=\d)(?P<unit> ?(?:{'|'.join(filter(str.isalpha, UNITS))}))\.(?= [a-z\d])", lambda m: m["unit"]),
        (r"\b(?P<h>\d\d?)[:.](?P<m>\d\d) ?(?P<half>[AaPp])\.?[Mm]\b\.?", lambda m: f"{m['h']}:{m['m']}{m['half']}m"),
        (r"(?<=\d)T(?P<clock>\d\d:\d\d)(?::\d\d(?:\.\d+)?)?Z?\b", lambda m: f" {m['clock']}"),
        (rf"(?P<before>)\b(?P<month>{SHORT_MONTH})\.? ?(?=(?:of )?\d)", long_month),
        (rf"(?P<before>\d(?:st|nd|rd|th)? (?:of )?)(?P<month>{SHORT_MONTH})\b\.?", long_month),
        (rf"\b(?:the )?{DAY}(?:st|nd|rd|th)? (?:of )?(?P<month>{MONTH})\b", day_first),
        (
            rf"\b(?P<month>{MONTH}) {DAY}-(?P<last>3[01]|[12]\d|0?[1-9])\b",
            lambda m: f"{m['month']} {ordinal(int(m['day']))} to {ordinal(int(m['last']))}",
        ),
        (r"\+\d{1,3}(?:[ .-]?\(?\d{2,4}\)?){2,5}|(?<!\d)\(?\d{3}\)? \d{3}[ .-]\d{4}(?!\d)", grouped),
        (r"(?<=\d) ?(?P<sign>[<>]=?) ?(?=\d)", lambda m: f" {COMPARISONS[m['sign']]} "),
        (r"(?<=\w )(?P<sign>[<>]=?)(?= \d)", lambda m: COMPARISONS[m["sign"]]),
        (
            r"\b(?P<verb>(?i:call|dial)(?:ed|ing)?) (?P<digits>\d{3})\b(?![-\d])",
            lambda m: " ".join([m["verb"], *m["digits"]]),
        ),
        (r"\b(?P<street>\d+ (?:[A-Z][a-z]+ )+)Dr\b\.?", lambda m: f"{m['street']}Drive"),
    )
]


@dataclass(frozen=True)
class EnglishNormalizer:
    """Gives English words in ASCII letters, the marks of `MARKS`, and single spaces."""

    def __call__(self, text: str) -> str:
        """What is said for a text; what is normal stays as it is."""
        text = plain(re.sub(r"(?<=\d)[\u00a0\u2009\u202f](?=\d{3}(?!\d))", ",", text))
        ends = END_OF_TEXT.search(text.rstrip())
        for pattern, rewritten in REWRITINGS:
            text = pattern.sub(rewritten, text)
        normalizer = Normalizer(spell=acronym)
        pieces = [piece for chunk in chunks(text) for piece in normalizer.read(chunk)]
        if ends and pieces and pieces[-1] not in MARKS:
            pieces.append(".")
        return printed(pieces)


def acronym(letters: str) -> str:
    """Capitals, or small letters apart if the capitals could be a Roman numeral."""
    capitals = letters.upper()
    return " ".join(letters) if capitals in ROMAN.keys() | ROMAN_LETTERS.keys() else capitals


def printed(pieces: list[str]) -> str:
    """Pieces with their marks at the words before them; apart where both together would be an abbreviation."""
    text, before = "", Normalizer()
    for i, piece in enumerate(pieces):
        before.said = pieces[i - 2] if i > 1 else ""
        is_apart = piece not in MARKS or piece == "-" or before.abbreviation(pieces[i - 1], piece)
        text += f" {piece}" if is_apart and text else piece
    return text
