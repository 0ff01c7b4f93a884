"""Persian number words and their inverse: cardinals, ordinals, decimals, digits one by one.

Written here: the packages that do it are under the AGPL or GPL (`num2fa`, `num2fawords`) or made for forty languages
(`num2words`, LGPL), and none of them reads its own words back.
"""

from loquor.errors import InputError

ZWNJ = "\u200c"  # the half-space
AND = " و "
# fmt: off
BELOW_TWENTY = (
    "صفر", "یک", "دو", "سه", "چهار", "پنج", "شش", "هفت", "هشت", "نه", "ده", "یازده", "دوازده", "سیزده", "چهارده",
    "پانزده", "شانزده", "هفده", "هجده", "نوزده",
)
TENS = ("", "", "بیست", "سی", "چهل", "پنجاه", "شصت", "هفتاد", "هشتاد", "نود")
HUNDREDS = ("", "صد", "دویست", "سیصد", "چهارصد", "پانصد", "ششصد", "هفتصد", "هشتصد", "نهصد")
SCALES = ("", "هزار", "میلیون", "میلیارد", "تریلیون", "کوادریلیون")
# fmt: on
VALUES = {
    **{word: n for n, word in enumerate(BELOW_TWENTY)},
    **{word: 10 * n for n, word in enumerate(TENS) if word},
    **{word: 100 * n for n, word in enumerate(HUNDREDS) if word},
}
LARGEST = 10**15  # the largest number with a name that listeners follow
LONGEST_DECIMAL = 3  # digits behind the point that are read as one number


def below_thousand(n: int) -> list[str]:
    """Words of 0 to 999, to be joined by "and"; none for 0."""
    words = [HUNDREDS[n // 100]] if n >= 100 else []
    n %= 100
    if n >= 20:
        words.append(TENS[n // 10])
        n %= 10
    return words + [BELOW_TWENTY[n]] * (n > 0)


def cardinal(n: int) -> str:
    """1403 is "هزار و چهارصد و سه"; n is 0 to `LARGEST`."""
    words: list[str] = []
    for scale in SCALES:
        n, group = divmod(n, 1000)
        if group == 1 and scale == "هزار":  # "a thousand", but "one million"
            words.insert(0, scale)
        elif group:
            words.insert(0, f"{AND.join(below_thousand(group))} {scale}".strip())
    return AND.join(words) or BELOW_TWENTY[0]


def value(words: str) -> int:
    """The number that `cardinal` says so. Raises InputError for anything else; "یک هزار", "یکصد" are understood."""
    heard = " ".join(words.replace("یکصد", "صد").replace("هیجده", "هجده").split())
    if heard == "یک هزار" or heard.startswith("یک هزار و "):
        heard = heard.removeprefix("یک ")
    total = group = 0
    for word in heard.split():
        if word in SCALES:
            total, group = total + max(group, 1) * 1000 ** SCALES.index(word), 0
        elif word != AND.strip():
            group += VALUES.get(word, LARGEST + 1)
    total += group
    if total > LARGEST or cardinal(total) != heard:
        raise InputError(f"{words!r} is no Persian number", hint=f"write it as in {cardinal(1403)}")
    return total


def ordinal(n: int) -> str:
    """23 is "بیست و سوم", 30 is "سی‌ام"."""
    words = cardinal(n)
    if words.endswith("سه"):
        return f"{words[:-1]}وم"
    return words + (f"{ZWNJ}ام" if words.endswith("سی") else "م")


def digits(text: str) -> str:
    """ "007" is "صفر صفر هفت"; more than six have a short pause after every fourth."""
    names = [BELOW_TWENTY[int(digit)] for digit in text]
    size = 4 if len(names) > 6 else 6
    return " ، ".join(" ".join(names[i : i + size]) for i in range(0, len(names), size))


def whole(text: str) -> str:
    """A run of digits: a cardinal, or digit by digit if it begins with a zero or has no name."""
    if (len(text) > 1 and text[0] == "0") or len(text) > len(str(LARGEST)) or int(text) > LARGEST:
        return digits(text)
    return cardinal(int(text))


def number(text: str) -> str:
    """ "3.14" is "سه ممیز چهارده", "3.05" is "سه ممیز صفر پنج"; up to three digits behind the point are one number."""
    before, point, after = text.partition(".")
    if not point:
        return whole(before)
    zeros = len(after) - len(after.lstrip("0"))
    if len(after) > LONGEST_DECIMAL or zeros == len(after):
        return f"{whole(before)} ممیز {' '.join(BELOW_TWENTY[int(digit)] for digit in after)}"
    return " ".join([whole(before), "ممیز", *[BELOW_TWENTY[0]] * zeros, cardinal(int(after))])
