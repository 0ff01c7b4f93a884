"""Spoken questions, judged by containment: an answer is right if it contains every word of a reference.

Words are looked for as parts of the answer, so "paris" is found in "parisian". If no reference is found, their number
words are tried as digits ("twelve" as "12"), if all of them can be. This is how the published tables on Llama
Questions, TriviaQA and Web Questions were counted.
"""

from __future__ import annotations

import string
from collections.abc import Sequence

SPACES = str.maketrans(dict.fromkeys(set(string.punctuation) - {"'"}, " "))
_NAMES = "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen"
_TENS = "twenty thirty forty fifty sixty seventy eighty ninety"
SMALL = {name: value for value, name in enumerate(f"{_NAMES} seventeen eighteen nineteen".split())}
TENS = {name: 10 * value for value, name in enumerate(_TENS.split(), start=2)}
LARGE = {"thousand": 10**3, "million": 10**6, "billion": 10**9}
HUNDRED = "hundred"


def is_contained(answer: str, references: Sequence[str]) -> bool:
    """Whether `answer` is right by one of `references`."""
    wanted = [reference.translate(SPACES).lower().strip() for reference in references]
    if _contains(answer, wanted):
        return True
    digits = [in_digits(reference) for reference in wanted]
    return None not in digits and _contains(answer, [d for d in digits if d is not None])


def containment(answers: Sequence[str], references: Sequence[Sequence[str]]) -> float:
    """The share of answers that are right; no answer at all is given as "" and is wrong.

    Raises ValueError if the two have different lengths or there is no answer.
    """
    if not answers:
        raise ValueError("no answers to judge")
    verdicts = [is_contained(answer, wanted) for answer, wanted in zip(answers, references, strict=True)]
    return sum(verdicts) / len(verdicts)


def _contains(answer: str, references: Sequence[str]) -> bool:
    said = answer.lower()
    return any(all(word in said for word in reference.split(" ")) for reference in references)


def in_digits(text: str) -> str | None:
    """The one number that the number words of a lower-case text spell, or its digits; None if there is none.

    Other words are passed over: "twelve apostles" is 12. Words that spell no single number ("nineteen forty five") give
    None.
    """
    if text.isdigit():
        return str(int(text))
    words = [w for w in text.replace("-", " ").split() if w in SMALL or w in TENS or w in LARGE or w == HUNDRED]
    if not words:
        return None
    total, ceiling = 0, 10**12
    while words:
        cut = next((i for i, word in enumerate(words) if word in LARGE), len(words))
        unit = LARGE[words[cut]] if cut < len(words) else 1
        below = _below_thousand(words[:cut]) if cut or unit == 1 else 1  # "million" alone is one of them
        if below is None or unit >= ceiling:
            return None
        total, ceiling, words = total + below * unit, unit, words[cut + 1 :]
    return str(total)


def _below_thousand(words: list[str]) -> int | None:
    """ "two hundred five", "hundred five", "twenty one", "five" """
    hundreds = 0
    if HUNDRED in words:
        at = words.index(HUNDRED)
        before, words = words[:at], words[at + 1 :]
        if len(before) > 1 or (before and before[0] not in SMALL):
            return None
        hundreds = 100 * SMALL[before[0]] if before else 100
    match words:
        case []:
            return hundreds or None
        case [word]:
            return hundreds + (SMALL | TENS)[word] if word != HUNDRED else None
        case [tens, ones] if tens in TENS and 0 < SMALL.get(ones, 0) < 10:
            return hundreds + TENS[tens] + SMALL[ones]
    return None
