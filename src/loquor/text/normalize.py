"""English as it is written to English as it is said: numbers, abbreviations and signs become words and a few marks.

Text is read chunk by chunk, a chunk being what stands between white space, with what was said before as the only
context. So a chunk's reading never depends on what follows, and text may arrive word by word; the price is that
"$5 million" is "five dollars million". `loquor.text.english` reads whole texts, and gets this right.
"""

import re
from collections.abc import Callable

from loquor.text.characters import plain
from loquor.text.numbers import cardinal, ordinal
from loquor.text.readings import MONTHS, NAMED, NUMBER, UNITS, WEEKDAYS, measured, reading, spelled

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
        for part in plain(chunk).split():
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
    return " ".join(piece for chunk in text.split() for piece in normalizer.read(chunk))
