"""English as it is written to English as it is said: numbers, abbreviations and signs become words and a few marks.

Text is read chunk by chunk, a chunk being what stands between white space, with what was said before as the only
context, so that text may arrive word by word. Only what makes no sense alone waits for the chunk behind it
(`loquor.text.phrases`). `loquor.text.english` writes whole texts, for training, by the same rules.
"""

import re
from collections.abc import Callable

from loquor.text.characters import plain
from loquor.text.numbers import ROMAN_LETTERS, cardinal, digits, ordinal, roman
from loquor.text.phrases import phrases, written_out
from loquor.text.readings import (
    CURRENCIES,
    MONTHS,
    NAMED,
    NUMBER,
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
    **{f"{short}.": day for short, day in WEEKDAYS.items() if short != "Sun"},
    "Tues.": "Tuesday", "Thur.": "Thursday", "Thurs.": "Thursday",
    "Lt.": "lieutenant", "Col.": "colonel", "Gen.": "general", "Sgt.": "sergeant", "Capt.": "captain",
    "Rev.": "reverend", "Sen.": "senator", "Gov.": "governor", "Fig.": "figure",
}
WITHOUT_STOP = {
    "vs": "versus", "Mr": "mister", "Mrs": "missus", "Ms": "miz", "Dr": "doctor", "etc": "et cetera",
    "Tues": "Tuesday", "Thurs": "Thursday",
    "Feb": "February", "Apr": "April", "Aug": "August", "Sept": "September", "Oct": "October", "Nov": "November",
    "Dec": "December",
}
NUMBERED = {  # before a Roman numeral of one letter
    "War", "Chapter", "Part", "Act", "Volume", "Book", "Phase", "Class", "Stage", "Section", "Article", "Level",
    "Scene", "Season", "Episode", "Bowl", "Type", "Figure", "Table", "Appendix", "Unit",
}
LETTERED = {"Plan", "Vitamin", "Grade", "Type", "Class", "Team", "Group", "Section", "Part", "Level", "Exhibit"}
DIALLED = {"call", "calls", "called", "calling", "dial", "dialed"}  # "911" behind one is three digits
CODED = {"code", "zip", "pin", "password", "passcode", "extension"}  # so is any number
NOT_STREETS = {"the", "in", "at", "from", "to", "of", "on", "near", "by", "and", "for", "with", "visit"}
RULERS = {
    "Henry", "Louis", "Elizabeth", "Charles", "George", "Edward", "James", "William", "Richard", "Philip", "Paul",
    "Pius", "Benedict", "John", "Francis", "Gregory", "Leo", "Alexander", "Nicholas", "Catherine", "Frederick",
    "Napoleon", "Ivan", "Otto", "Innocent", "Clement", "Urban", "Ramesses",
}
# fmt: on
ELISIONS = {"'em", "'bout", "'cause", "'til", "'tis", "'twas", "'n", "'round"}  # an apostrophe that is no quote
DAY_OF_MONTH = r"[12]\d|3[01]|0?[1-9]"
ONE_OF = {  # of what is counted: "a five dollar bill"
    "cents": "cent",
    **{many.split()[0]: one.split()[0] for one, many, *_ in (*UNITS.values(), *CURRENCIES.values())},
}
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
        self.is_counted = False  # whether it stood behind "a": a five dollar bill

    def read(self, chunk: str) -> list[str]:
        """The words and marks of a chunk: letters and apostrophes, or one of `MARKS`, which follows a word."""
        said: list[str] = []
        text = written_out(plain(chunk))
        if self.said.lower() == "the":
            text = text.removeprefix("the ")  # which a date begins with
        is_counted = self.said in {"a", "an"} if any(map(str.isdigit, text)) else self.is_counted and self.written != ""
        for part in text.split():
            for piece in [part] if WEB.search(part) else MISSING_SPACES.sub(" ", part).split():
                said += self.read_part(piece)
        self.is_counted = is_counted
        return [ONE_OF.get(piece, piece) for piece in said] if is_counted else said

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
            return "street" if self.said[:1].isupper() and self.said.lower() not in NOT_STREETS else "saint"
        if whole == "Dr." and self.said[:1].isupper():
            return "drive"  # as a title it stands before a name: they are a pair
        if len(core) == 1 and core.isupper() and core != "I" and not self.said.islower():
            return core  # an initial: no sentence ends here
        words = ABBREVIATIONS.get(whole.lower()) or CAPITAL_ABBREVIATIONS.get(whole)
        return words or (spelled(core) if DOTTED.fullmatch(core) else "")

    def core(self, core: str) -> str:
        """The words of a part without its marks; a number or month before it may decide what it means."""
        days = re.fullmatch(rf"({DAY_OF_MONTH})(?:-({DAY_OF_MONTH}))?", core) if self.written in MONTHS else None
        if days:
            return " to ".join(ordinal(int(day)) for day in days.groups() if day)
        if core.isdigit() and self.is_code(core):
            return digits(core)
        if self.written and self.written not in MONTHS:
            if re.fullmatch("[AaPp][Mm]", core):
                return spelled(core)
            if core in AFTER_NUMBERS:
                return measured(self.written, core)
            if re.fullmatch(r"\d/\d", core):
                return f"and {reading(core)}"
        return core if WORD.fullmatch(core) else reading(core)

    def is_code(self, core: str) -> bool:
        """Whether digits are said one by one because of the word before them."""
        before = self.said.lower()
        is_zip = len(core) == 5 and len(self.said) == 2 and self.said.isupper()  # CA 90210
        return is_zip or (before in CODED and len(core) > 2) or (before in DIALLED and len(core) == 3)

    def numeral(self, core: str) -> str:
        """A Roman numeral, or nothing: "Chapter IV"; "Henry VIII" and "World War I" because of the word before it."""
        if self.said in RULERS and roman(core):
            return f"the {ordinal(roman(core))}"
        if self.said in NUMBERED and core in {"I", "V", "X"}:
            return cardinal(ROMAN_LETTERS[core])
        return ""

    def is_letter(self, word: str) -> bool:
        """Whether it is the letter A and no article: "plan A", "the A team", but "A dog" and "Once Upon A Time"."""
        return word == "A" and (self.said.islower() or self.said in LETTERED)

    def in_words(self, word: str) -> str:
        """A word or mark in its turn: letters by their names, numerals and abbreviations without stop in words."""
        if word.startswith(NAMED):
            return self.spell(word[1:])
        if self.is_letter(word):
            return self.spell("a")
        return self.numeral(word) or (cardinal(roman(word)) if roman(word) else WITHOUT_STOP.get(word, word))


def closing_mark(closing: str, after_core: bool) -> list[str]:
    """The strongest of the marks; a bracket is a comma, a hyphen at the end of a word nothing."""
    marks = re.sub(r"[\])}]", ",", closing.replace("..", "…"))
    if after_core:
        marks = marks.replace("-", "")
    return [mark for mark in MARKS if mark in marks][:1]


def normalize(text: str) -> str:
    """The words and marks of a whole text, a space between any two. What is normal stays as it is."""
    normalizer = Normalizer()
    return " ".join(piece for phrase in phrases(text) for piece in normalizer.read(phrase))
