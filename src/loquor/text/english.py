"""A whole English text as it is said, by the rules of `loquor.text.normalize`, written for people: training texts.

Acronyms are written without stops ("USA", "NASA", "7 PM" is "seven PM"), marks stand at their words, and the stop of an
abbreviation that also ends the text stays.
"""

import re
from dataclasses import dataclass

from loquor.text.characters import plain
from loquor.text.normalize import MARKS, Normalizer
from loquor.text.numbers import ROMAN_LETTERS, roman
from loquor.text.phrases import phrases

END_OF_TEXT = re.compile(r"\.[\"')\]]*$")
STREET = re.compile(r"\b(?P<street>\d+ (?:[A-Z][a-z]+ )+)Dr\b\.?")


@dataclass(frozen=True)
class EnglishNormalizer:
    """Gives English words in ASCII letters, the marks of `MARKS`, and single spaces."""

    def __call__(self, text: str) -> str:
        """What is said for a text; what is normal stays as it is."""
        text = plain(re.sub(r"(?<=\d)[\u00a0\u2009\u202f](?=\d{3}(?!\d))", ",", text))
        ends = END_OF_TEXT.search(text.rstrip())
        text = STREET.sub(r"\g<street>Drive", text)
        normalizer = Normalizer(spell=acronym)
        pieces = [piece for phrase in phrases(text) for piece in normalizer.read(phrase)]
        if ends and pieces and pieces[-1] not in MARKS:
            pieces.append(".")
        return printed(pieces)


def acronym(letters: str) -> str:
    """Capitals, or small letters apart if the capitals could be a Roman numeral."""
    capitals = letters.upper()
    return " ".join(letters) if roman(capitals) or capitals in ROMAN_LETTERS else capitals


def printed(pieces: list[str]) -> str:
    """Pieces with their marks at the words before them; apart where both together would be an abbreviation."""
    text, before = "", Normalizer()
    for i, piece in enumerate(pieces):
        before.said = pieces[i - 2] if i > 1 else ""
        is_apart = piece not in MARKS or piece == "-" or before.abbreviation(pieces[i - 1], piece)
        text += f" {piece}" if is_apart and text else piece
    return text
