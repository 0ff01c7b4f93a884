"""How long a text takes to say, roughly, from its characters alone: for plans and for noticing speech that ran away.

150 words a minute is the usual figure for English read aloud; a word and its space have 5.7 characters on average,
which makes 14 a second. Mandarin is read at 240 to 270 characters a minute. Kana are morae, said at 7 to 8 a second.
A digit is spelled with four to five letters ("2024", twenty twenty-four).
"""

from __future__ import annotations

import re

HAN = "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003fffd"
KANA = "\u3040-\u30ff\u31f0-\u31ff\uff66-\uff9f"
HANGUL = "\u1100-\u11ff\u3130-\u318f\uac00-\ud7af"
WIDE_MARKS = "\u3000-\u303f\uff01-\uff60"
UNSPACED = re.compile(f"[{HAN}{KANA}{WIDE_MARKS}]")  # what is written without spaces between words

CHARACTERS_PER_S = 14.0  # of an alphabet, spaces and marks included
FASTER_THAN_LETTERS = (  # per second, of characters that are said faster or slower than letters
    (re.compile(f"[{HAN}{HANGUL}]+"), 4.5),
    (re.compile(f"[{KANA}]+"), 7.5),
    (re.compile(r"\d+"), 3.0),
)
WORD = re.compile(f"[{HAN}{KANA}]|[^\\W{HAN}{KANA}]+(?:['’.,-][^\\W{HAN}{KANA}]+)*")


def estimated_s(text: str) -> float:
    """Seconds of speech at a usual pace. Cutting a text does not change the sum."""
    seconds, others = 0.0, len(text)
    for kind, per_s in FASTER_THAN_LETTERS:
        count = sum(map(len, kind.findall(text)))
        seconds += count / per_s
        others -= count
    return seconds + others / CHARACTERS_PER_S


def word_count(text: str) -> int:
    """Words between spaces and marks; where words are written without spaces, every character is one."""
    return len(WORD.findall(text))


def joined(lines: list[str]) -> str:
    """Lines as one: with a space between, except where the script has no spaces between words."""
    text = ""
    for line in lines:
        needs_no_space = text and line and UNSPACED.match(text[-1]) and UNSPACED.match(line)
        text += line if not text or needs_no_space else f" {line}"
    return text
