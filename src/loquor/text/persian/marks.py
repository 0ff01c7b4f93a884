"""Words and marks of a Persian text in order: one mark at a time, quotes in pairs, spaces where a printer has them."""

import re
from collections.abc import Iterator
from itertools import groupby

from loquor.text.persian.affixes import attached, spaced
from loquor.text.persian.characters import LETTERS, VOWEL_MARKS
from loquor.text.persian.numbers import ZWNJ

MARKS = "؟!….؛:،-"  # the strongest first: of several together one is kept
OPEN, CLOSE = "«", "»"
LETTER_RUN = rf"(?:[{LETTERS}{VOWEL_MARKS}]+|[A-Za-z]+(?:'[A-Za-z]+)*)"
TOKEN = re.compile(
    rf"(?P<word>{LETTER_RUN}(?:{ZWNJ}+{LETTER_RUN})*)|(?P<ellipsis>\.{{2,}})|(?P<dash>–|--+|(?<!\S)-(?!\S))"
    r"|(?P<bracket>[()\[\]{}])|(?P<mark>[!؟.؛:،])|(?P<quote>[«»\"])"
)


def tidy(text: str, keep_vowels: bool = False) -> str:
    """The words of a text with their half-spaces, its marks and its quotes; nothing else is left.

    A bracket is a comma, a dash stands between spaces, no mark begins the text or a quote.
    """
    tokens = paired(list(tokenized(text, keep_vowels)))
    pieces: list[str] = []
    for is_words, group in groupby(tokens, key=is_word):
        run = list(group)
        pieces += attached(run, keep_vowels) if is_words else run
    return printed(marked(pieces))


def tokenized(text: str, keep_vowels: bool) -> Iterator[str]:
    """Words, marks and quotes as they come."""
    names = {"ellipsis": "…", "dash": "-", "bracket": "،"}
    for match in TOKEN.finditer(text):
        kind = match.lastgroup or ""
        token = spaced(match[0], keep_vowels) if kind == "word" else names.get(kind, match[0])
        if token:
            yield token


def is_word(token: str) -> bool:
    return token not in MARKS and token not in (OPEN, CLOSE)


def paired(tokens: list[str]) -> list[str]:
    """The tokens with quotes only around words, each opened and closed; a straight quote opens or closes."""
    opened: list[tuple[int, str]] = []
    quotes: dict[int, str] = {}
    for i, token in enumerate(tokens):
        if token == OPEN or (token == '"' and not (opened and opened[-1][1] == token)):
            opened.append((i, token))
        elif token in (CLOSE, '"') and opened:
            start, _ = opened.pop()
            if any(is_word(inside) and inside != '"' for inside in tokens[start:i]):
                quotes |= {start: OPEN, i: CLOSE}
    return [quotes.get(i, token) for i, token in enumerate(tokens) if i in quotes or token not in (OPEN, CLOSE, '"')]


def marked(pieces: list[str]) -> list[str]:
    """The pieces without marks that follow no word or another mark; the strongest of several takes their place."""
    kept: list[str] = []
    last = -1  # the place of a mark with no word behind it
    for piece in pieces:
        if piece == CLOSE and kept[-1] == "-":
            kept.pop()
            last = -1
        if piece not in MARKS:
            last = -1 if is_word(piece) else last
            kept.append(piece)
        elif last >= 0:
            kept[last] = min(kept[last], piece, key=MARKS.index)
        elif kept and kept[-1] != OPEN:
            last = len(kept)
            kept.append(piece)
    return kept


def printed(pieces: list[str]) -> str:
    """The pieces with spaces: behind a mark, around a dash, outside of quotes."""
    text = ""
    for piece in pieces:
        is_close = piece == CLOSE or (piece in MARKS and piece != "-")
        text += piece if is_close or not text or text.endswith(OPEN) else f" {piece}"
    return text
