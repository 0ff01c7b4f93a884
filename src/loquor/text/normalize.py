"""English as it is written to English as it is said: numbers, abbreviations and signs become words and a few marks.

Text is read chunk by chunk, a chunk being what stands between white space, with what was said before as the only
context, so that text may arrive word by word. Only what makes no sense alone waits for the chunk behind it (`Pairs`):
"$5" for "million", "No." for "5", "Dr." for "Smith". `loquor.text.english` reads whole texts, and looks further.
"""

import re
from collections.abc import Callable, Iterator
from re import Match
from typing import NamedTuple

from loquor.text.characters import plain
from loquor.text.numbers import cardinal, ordinal
from loquor.text.readings import (
    CURRENCIES,
    MONTHS,
    NAMED,
    NUMBER,
    SCALES,
    UNITS,
    WEEKDAYS,
    measured,
    reading,
    spelled,
)

MARKS = "?!….;:-,"  # the strongest first: of several together one is kept
# fmt: off
ABBREVIATIONS = {  # with their full stop
    "mr.": "mister", "mrs.": "missus", "ms.": "miz", "dr.": "doctor", "prof.": "professor", "jr.": "junior",
    "sr.": "senior", "vs.": "versus", "etc.": "et cetera", "e.g.": "for example", "i.e.": "that is",
    "approx.": "approximately", "dept.": "department", "inc.": "incorporated", "ltd.": "limited",
    "corp.": "corporation", "co.": "company", "ave.": "avenue", "blvd.": "boulevard", "rd.": "road", "mt.": "mount",
    "apt.": "apartment", "est.": "established", "vol.": "volume", "a.k.a.": "also known as", "ph.d.": spelled("phd"),
}
CAPITAL_ABBREVIATIONS = {  # small letters would be other words
    **{f"{month[:3]}.": month for month in MONTHS if month != "May"}, "Sept.": "September",
    **{f"{short}.": day for short, day in WEEKDAYS.items() if short not in ("Sat", "Sun")},
    "Tues.": "Tuesday", "Thur.": "Thursday", "Thurs.": "Thursday",
    "Lt.": "lieutenant", "Col.": "colonel", "Gen.": "general", "Sgt.": "sergeant", "Capt.": "captain",
    "Rev.": "reverend", "Sen.": "senator", "Gov.": "governor", "Fig.": "figure",
}
WITHOUT_STOP = {
    "vs": "versus", "Mr": "mister", "Mrs": "missus", "Ms": "miz", "Dr": "doctor", "etc": "et cetera",
    "Feb": "February", "Apr": "April", "Aug": "August", "Sept": "September", "Oct": "October", "Nov": "November",
    "Dec": "December",
}
BEFORE_NUMBERS = {
    "no": "number", "nos": "numbers", "p": "page", "pp": "pages", "vol": "volume", "ch": "chapter", "fig": "figure",
    "figs": "figures", "sec": "section", "ext": "extension", "eq": "equation", "tel": "telephone",
}
ROMAN = {
    "II": 2, "III": 3, "IV": 4, "VI": 6, "VII": 7, "VIII": 8, "IX": 9, "XI": 11, "XII": 12, "XIII": 13, "XIV": 14,
    "XV": 15, "XVI": 16, "XVIII": 18, "XIX": 19, "XX": 20,
}
ROMAN_LETTERS = {"I": 1, "V": 5, "X": 10}  # numbers only behind one of `NUMBERED`
NUMBERED = {"War", "Chapter", "Part", "Act", "Volume", "Book", "Phase", "Class", "Stage", "Section", "Article", "Level"}
RULERS = {
    "Henry", "Louis", "Elizabeth", "Charles", "George", "Edward", "James", "William", "Richard", "Philip", "Paul",
    "Pius", "Benedict", "John", "Francis", "Gregory", "Leo", "Alexander", "Nicholas", "Catherine", "Frederick",
    "Napoleon", "Ivan", "Otto", "Innocent", "Clement", "Urban", "Ramesses",
}
# fmt: on
ELISIONS = {"'em", "'bout", "'cause", "'til", "'tis", "'twas", "'n", "'round"}  # an apostrophe that is no quote
AFTER_NUMBERS = UNITS.keys() - {"in", "W", "V"}  # "5 in a row"
OPENING, CLOSING = "\"'([{<*_`|\\", "].,?!;:\"')}>*_`|\\-"
WORD = re.compile(r"'?[A-Za-z]+(?:'[A-Za-z]+)*")
DOTTED = re.compile(r"(?:[A-Za-z]\.)+[A-Za-z]")  # U.S.A., a.m.
WEB = re.compile(r"https?://|www\.|\w@\w[\w-]*\.\w")
MISSING_SPACES = re.compile(
    r"(?<=[,;:!?])(?=[A-Za-z\"'(])|(?<=\.\.)(?=[^.\s])|(?<=[a-z]{2}\.)(?=[A-Z][a-z])"
    r"|(?<=[\w.,!?])(?=[(\[{])|(?<=[)\]}])(?=\w)"
)


Rewriting = tuple[re.Pattern[str], Callable[[Match[str]], str]]
AMOUNT = rf"(?:\bUS)?(?P<sign>[$€£¥₹])(?P<a>{NUMBER})(?:-[$€£¥₹]?(?P<b>{NUMBER}))?"
SCALE = "(?P<scale>(?i:hundred|thousand|million|billion|trillion)|[mbt]n|[kKM])"
SHORT = rf"(?P<short>(?i:{'|'.join(BEFORE_NUMBERS)}))\."
WAITING = re.compile(rf"[\"'([{{]*(?:-?{AMOUNT}|{SHORT}|Dr\.)")


def scaled_money(match: Match[str]) -> str:
    """ "$5 million" is "5 million dollars", a "$5-million deal" a "5 million dollar deal"."""
    name = CURRENCIES[match["sign"]][0 if match["hyphen"] == "-" else 1]
    last = f" to {match['b']}" if match["b"] else ""
    return f"{match['a']}{last} {SCALES.get(match['scale'].lower(), match['scale'])} {name}"


PAIRS: list[Rewriting] = [  # what two chunks are together
    (re.compile(rf"{AMOUNT}(?P<hyphen>[ -]){SCALE}\b"), scaled_money),
    (re.compile(rf"\b{SHORT} ?(?=\d)"), lambda m: f"{BEFORE_NUMBERS[m['short'].lower()]} "),
    (re.compile(r"\bDr\. (?=[A-Z]|(?:van|von|de|del|di|da|du|la|le|el|al)\b)"), lambda _: "Dr "),
]


class Chunk(NamedTuple):
    """What is read at once, and the characters of the text it stands in."""

    text: str
    start: int
    end: int


class Pairs:
    """Chunks as they are to be read: one that waits comes with the next, or if that explains nothing, alone."""

    def __init__(self) -> None:
        self.waiting: Chunk | None = None

    def push(self, chunk: Chunk) -> list[Chunk]:
        """What can be read now."""
        before = self.end()
        if before:
            both = Chunk(f"{before[0].text} {chunk.text}", before[0].start, chunk.end)
            if any(pattern.search(both.text) for pattern, _ in PAIRS):
                return [both]
        if WAITING.fullmatch(chunk.text):
            self.waiting = chunk
            return before
        return [*before, chunk]

    def end(self) -> list[Chunk]:
        """What still waits, when no more comes."""
        waiting, self.waiting = self.waiting, None
        return [waiting] if waiting else []


def chunks(text: str) -> Iterator[str]:
    """A whole text in the parts that are read at once."""
    pairs = Pairs()
    for match in re.finditer(r"\S+", text):
        yield from (chunk.text for chunk in pairs.push(Chunk(match[0], *match.span())))
    yield from (chunk.text for chunk in pairs.end())


def letter_names(letters: str) -> str:
    """ "usa" is "u s ay": a word for each letter, since "a" alone would be the article."""
    return " ".join("ay" if letter == "a" else letter for letter in letters)


class Normalizer:
    """Reads the chunks of one text in order; remembers what it said last and the number or month it has just read."""

    def __init__(self, spell: Callable[[str], str] = letter_names) -> None:
        self.spell = spell  # how small letters are written that are said by their names
        self.said = ""  # the last word or mark
        self.written = ""  # the last part, if it was a number or a month

    def read(self, chunk: str) -> list[str]:
        """The words and marks of a chunk: letters and apostrophes, or one of `MARKS`, which follows a word."""
        said: list[str] = []
        text = plain(chunk)
        for pattern, rewritten in PAIRS:
            text = pattern.sub(rewritten, text)
        for part in text.split():
            for piece in [part] if WEB.search(part) else MISSING_SPACES.sub(" ", part).split():
                said += self.read_part(piece)
        return said

    def read_part(self, part: str) -> list[str]:
        """A part is marks, a core and marks; of those after the core the strongest stays, and none follows another."""
        core = part.lstrip(OPENING)
        opening, core = part[: len(part) - len(core)], core.rstrip(CLOSING)
        closing = part[len(opening) + len(core) :]
        if opening.endswith("'") and f"'{core.lower()}" in ELISIONS:
            core = f"'{core}"
        words = self.abbreviation(core, closing)
        if words:
            closing = closing.replace(".", "", 1)
        else:
            words = self.core(core)
        heard = [","] if re.search(r"[(\[{]", opening) else []
        heard += words.split() + closing_mark(closing, bool(core))
        self.written = (
            words if words in MONTHS else core if re.fullmatch(rf"{NUMBER}|\d\d?:\d\d", core) and not closing else ""
        )
        return [piece for word in heard for piece in self.in_words(word).split() if self.fits(piece)]

    def fits(self, piece: str) -> bool:
        """Whether to say it: a word always, a mark only after a word."""
        if piece in MARKS and (not self.said or self.said in MARKS):
            return False
        self.said = piece
        return True

    def abbreviation(self, core: str, closing: str) -> str:
        """The words of an abbreviation that has its full stops, or nothing."""
        if self.numeral(core):
            return ""
        if not core or not (closing_mark(closing, True) == ["."] or "." in core):
            return ""
        whole = f"{core}."
        if whole.lower() == "st.":
            return "street" if self.said[:1].isupper() else "saint"
        if whole == "Dr." and self.said[:1].isupper():
            return "drive"  # as a title it stands before a name: they are a pair
        if len(core) == 1 and core.isupper() and core != "I" and not self.said.islower():
            return core  # an initial: no sentence ends here
        words = ABBREVIATIONS.get(whole.lower()) or CAPITAL_ABBREVIATIONS.get(whole)
        return words or (spelled(core) if DOTTED.fullmatch(core) else "")

    def core(self, core: str) -> str:
        """The words of a part without its marks; a number or month before it may decide what it means."""
        if self.written in MONTHS and re.fullmatch(r"[1-9]|[12]\d|3[01]", core):
            return ordinal(int(core))
        if self.written and self.written not in MONTHS:
            if re.fullmatch("[AaPp][Mm]", core):
                return spelled(core)
            if core in AFTER_NUMBERS:
                return measured(self.written, core)
            if re.fullmatch(r"\d/\d", core):
                return f"and {reading(core)}"
        return core if WORD.fullmatch(core) else reading(core)

    def numeral(self, core: str) -> str:
        """A Roman numeral whose reading depends on the word before it, or nothing: "Henry VIII", "World War I"."""
        if self.said in RULERS and core in ROMAN:
            return f"the {ordinal(ROMAN[core])}"
        return cardinal(ROMAN_LETTERS[core]) if self.said in NUMBERED and core in ROMAN_LETTERS else ""

    def in_words(self, word: str) -> str:
        """A word or mark in its turn: letters by their names, numerals and abbreviations without stop in words."""
        if word.startswith(NAMED):
            return self.spell(word[1:])
        return self.numeral(word) or (cardinal(ROMAN[word]) if word in ROMAN else WITHOUT_STOP.get(word, word))


def closing_mark(closing: str, after_core: bool) -> list[str]:
    """The strongest of the marks; a bracket is a comma, a hyphen at the end of a word nothing."""
    marks = re.sub(r"[\])}]", ",", closing.replace("..", "…"))
    if after_core:
        marks = marks.replace("-", "")
    return [mark for mark in MARKS if mark in marks][:1]


def normalize(text: str) -> str:
    """The words and marks of a whole text, a space between any two. What is normal stays as it is."""
    normalizer = Normalizer()
    return " ".join(piece for chunk in chunks(text) for piece in normalizer.read(chunk))
