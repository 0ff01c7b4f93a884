"""Any Unicode text to the characters of Persian: one code for each letter, digit and mark, and nothing unseen.

Arabic keyboards, old fonts and neighbouring languages write a Persian letter with other codes (ي for ی, ك for ک, ة for
ه). `LETTERS` are the letters of the Academy's orthography, carriers of hamza included; every other letter of the Arabic
script becomes the nearest of them. Latin letters and a few signs stay, for the readings that follow.

`shekar` (MIT) does much of this, but asks for onnxruntime and sentencepiece (100 MB) and leaves numbers, dates and
money unread; the tables that we need fit on a screen.
"""

import re
import unicodedata
from re import Match

from loquor.text.characters import plain
from loquor.text.persian.numbers import ZWNJ

LETTERS = "ءآأؤئابپتثجچحخدذرزژسشصضطظعغفقکگلمنوهی"
NOT_JOINING = "ءآأؤادذرزژو"  # no letter after one of them is drawn joined to it
TANVIN, HAMZA, KASRE = "\u064b\u064c\u064d", "\u0654", "\u0650"
VOWEL_MARKS = f"{TANVIN}{HAMZA}{KASRE}\u064e\u064f\u0651\u0652\u0670"
WORD = f"{LETTERS}{VOWEL_MARKS}A-Za-z"  # for character classes
WORD_END = rf"(?![{WORD}{ZWNJ}])"
RIAL = "¤"  # stands for ﷼, which NFKC would spell out
MARKS = ".!؟؛:،-"
SIGNS = f"$€£¥₹₽₺¢%‰°@#&+=×÷~<>≤≥±/⁄_^|'\"()[]{{}}«»–{RIAL}"
# fmt: off
BEFORE_NFKC = str.maketrans({
    **dict.fromkeys("‘’‚‛′ʼʻ`´＇ʹ", "'"), **dict.fromkeys("“”„‟″＂", '"'), **dict.fromkeys("‹〈《「『", "«"),
    **dict.fromkeys("›〉》」』", "»"), **dict.fromkeys("‐‑−﹣－‒", "-"), **dict.fromkeys("—―⸺⸻", "–"),
    **dict.fromkeys("™℠®©¿¡", ""), "﷼": RIAL, "№": "#", "º": "°", "¬": ZWNJ, "≈": "~", "∶": ":", "∕": "/",
    "ﷺ": "(ص)", "\u066a": "%", "\u0609": "‰", "\u066b": ".", "\u066c": ",",
})
AFTER_NFKC = str.maketrans({
    **dict.fromkeys("يىےېۍێۑ", "ی"), **dict.fromkeys("كڪګڭؼ", "ک"), **dict.fromkeys("ةەھہۃۿ", "ه"),
    **dict.fromkeys("ۀۂ", f"ه{HAMZA}"), **dict.fromkeys("إٱٲٳ", "ا"), **dict.fromkeys("ۆۇۈۉۋۊۏڤ", "و"),
    "ٶ": "ؤ", "ٸ": "ئ", "ٹ": "ت", "ټ": "ت", "ڈ": "د", "ډ": "د", "ڑ": "ر", "ڕ": "ر", "ړ": "ر", "ڵ": "ل", "ں": "ن",
    "ڼ": "ن", "ڢ": "ف", "ڧ": "ق", "ښ": "ش", "ځ": "ز", "څ": "س", "ږ": "ژ",
    ";": "؛", **dict.fromkeys("?⸮", "؟"), **dict.fromkeys("\u06d4。", "."), **dict.fromkeys(",、", "،"),
})
# fmt: on
KEPT = frozenset(f"{LETTERS}{VOWEL_MARKS}{ZWNJ}{MARKS}{SIGNS}ـ")
SUPERSCRIPT = re.compile("[⁺⁻]?[⁰¹²³⁴-⁹]+")
GROUPED = re.compile(r"(?<![\d.,،])\d{1,3}(?:[,،]\d{3})++(?!\d)")  # 1,234,567
GROUPED_BY_POINTS = re.compile(
    rf"(?<![\d.])\d{{1,3}}(?:(?:\.\d{{3}}){{2,}}+(?![\d.])|(?:[./]\d{{3}})+(?=\s*(?:تومان|ریال|{RIAL})))"
)


def clean(text: str) -> str:
    """The text in `LETTERS`, `VOWEL_MARKS`, half-spaces, ASCII letters and digits, `MARKS`, `SIGNS` and spaces.

    Numbers lose the marks of their thousands, and their decimal mark is a point.
    """
    text = SUPERSCRIPT.sub(power, text.translate(BEFORE_NFKC))
    text = unicodedata.normalize("NFKC", re.sub("(?=[¼-¾⅐-⅞])", " ", text))
    text = "".join(map(kept, text.translate(BEFORE_NFKC).translate(AFTER_NFKC))).replace(f"ی{HAMZA}", "ئ")
    text = re.sub(rf"(?<![{WORD}\dـ])ـ++(?![{WORD}\d])", " – ", text).replace("ـ", "")  # a dash, or a letter drawn out
    text = GROUPED.sub(lambda match: re.sub("[,،]", "", match[0]), text)
    return GROUPED_BY_POINTS.sub(lambda match: re.sub("[./]", "", match[0]), text)


def power(match: Match[str]) -> str:
    """A raised number: a power behind a number, a Latin letter or متر, else the mark of a footnote, left out."""
    before = match.string[: match.start()][-3:]
    if not re.search(r"[A-Za-z\d]$|متر$", before):
        return ""
    return f"^{unicodedata.normalize('NFKC', match[0]).replace('−', '-')}"


def kept(character: str) -> str:
    """A character of the result; what is not seen (joiners, directions) vanishes, all else parts words."""
    if character in KEPT or (character.isascii() and character.isalnum()):
        return character
    category = unicodedata.category(character)
    if category == "Nd":
        return str(unicodedata.decimal(character))
    if category in {"Cf", "Mn", "Me"}:
        return ""
    is_latin = category[0] == "L" and unicodedata.name(character, "").startswith("LATIN")
    return "".join(filter(str.isalpha, plain(character))) if is_latin else " "
