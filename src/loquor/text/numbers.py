"""English number words, as Americans say them: cardinals, ordinals, years, decimals, digits one by one.

Written here because the libraries that do it cost more than they save: `inflect` brings three more packages and is slow
to import, `num2words` is for forty languages and under the LGPL.
"""

import re

# fmt: off
ONES = (
    "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve",
    "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen",
)
TENS = ("", "", "twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")
THOUSANDS = ("", "thousand", "million", "billion", "trillion")
IRREGULAR_ORDINALS = {
    "one": "first", "two": "second", "three": "third", "five": "fifth", "eight": "eighth", "nine": "ninth",
    "twelve": "twelfth",
}
# fmt: on
ROMAN = re.compile(r"(?:XL|L?X{0,3})(?:IX|IV|V?I{0,3})")
ROMAN_LETTERS = {"I": 1, "V": 5, "X": 10, "L": 50}
LONGEST = 15  # digits of a number that has a name


def below_thousand(n: int) -> list[str]:
    """Words of 0 to 999; none for 0."""
    words = []
    if n >= 100:
        words += [ONES[n // 100], "hundred"]
        n %= 100
    if n >= 20:
        words.append(TENS[n // 10])
        n %= 10
    return words + [ONES[n]] * (n > 0)


def cardinal(n: int) -> str:
    """1234 is "one thousand two hundred thirty four"; n has up to 15 digits."""
    words: list[str] = []
    for thousand in THOUSANDS:
        n, group = divmod(n, 1000)
        if group:
            words = [*below_thousand(group), *([thousand] if thousand else []), *words]
    return " ".join(words) or "zero"


def ordinal(n: int) -> str:
    """21 is "twenty first"."""
    rest, _, last = cardinal(n).rpartition(" ")
    last = IRREGULAR_ORDINALS.get(last) or (last[:-1] + "ieth" if last.endswith("y") else last + "th")
    return f"{rest} {last}".strip()


def roman(numeral: str) -> int:
    """ "XIV" is 14. 0 for what is no numeral up to 89, is one letter, or would rather be a word or a size ("XL")."""
    if len(numeral) < (4 if "L" in numeral else 2) or not ROMAN.fullmatch(numeral):
        return 0
    values = [ROMAN_LETTERS[letter] for letter in numeral]
    return sum(-value if value < after else value for value, after in zip(values, [*values[1:], 0], strict=True))


def year(n: int) -> str:
    """1905 is "nineteen oh five", 2005 "two thousand five", 2025 "twenty twenty five"."""
    century, rest = divmod(n, 100)
    if (century % 10 == 0 and rest < 10) or not 10 <= century < 100:
        return cardinal(n)
    if rest == 0:
        return f"{cardinal(century)} hundred"
    return f"{cardinal(century)} {'oh ' if rest < 10 else ''}{cardinal(rest)}"


def digits(text: str) -> str:
    """ "007" is "zero zero seven"; anything but digits is skipped."""
    return " ".join(ONES[int(digit)] for digit in text if digit.isdigit())


def whole(text: str) -> str:
    """A written integer: "1,234" as a cardinal, "007" and what is very long digit by digit."""
    plain = text.replace(",", "")
    without_name = len(plain) > LONGEST or (len(plain) >= 10 and plain == text)  # ten in a row: a telephone number
    if without_name or (len(plain) > 1 and plain.startswith("0")):
        return digits(plain)
    return cardinal(int(plain))


def number(text: str) -> str:
    """A written number: "1,234.50", "-5", ".5"; four digits from 1010 to 2099 are a year."""
    if text[0] in "+-":
        return f"{'minus' if text[0] == '-' else 'plus'} {number(text[1:])}"
    before, point, after = text.partition(".")
    if not point and len(before) == 4 and before.isdigit() and 1010 <= int(before) < 2100:
        return year(int(before))
    return " ".join([*([whole(before)] if before else []), *(["point", digits(after)] if point else [])])
