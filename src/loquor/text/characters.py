"""Any Unicode text to the few characters that English spelling needs, before numbers and abbreviations are read.

Quotes and dashes are unified, accents fall off, letters that have an English spelling get it, the rest (emoji, other
scripts, control characters) disappears. Works on a chunk without looking at its neighbours.
"""

import re
import unicodedata

# fmt: off
SPELLINGS = str.maketrans({
    **dict.fromkeys("‘’‚‛′ʼʻ`´＇", "'"), **dict.fromkeys("“”„‟″«»‹›＂", '"'),
    **dict.fromkeys("‐‑−﹣－", "-"), "‒": "–", **dict.fromkeys("—―⸺⸻", " - "),
    "²": " squared ", "³": " cubed ", "½": " 1/2", "¼": " 1/4", "¾": " 3/4", "⅓": " 1/3", "⅔": " 2/3", "⁄": "/",
    "ß": "ss", "æ": "ae", "Æ": "AE", "œ": "oe", "Œ": "OE", "ø": "o", "Ø": "O", "ł": "l", "Ł": "L", "đ": "d", "Đ": "D",
    "ð": "d", "Ð": "D", "þ": "th", "Þ": "Th", "ı": "i", "№": "number ", "º": "°", "。": ".", "、": ",", "؟": "?",
    "،": ",", "µ": "micro", "μ": "micro", "Ω": "ohm", "π": "pi",
    "√": " square root of ", "∞": " infinity ", "≤": "<=", "≥": ">=", "≠": " is not equal to ",
    "§": " section ", "±": " plus or minus ", "≈": "~", "¿": "", "¡": "", "™": "", "℠": "", "•": " ", "·": " ",
})
# fmt: on
KEPT = re.compile("[^A-Za-z0-9 .,?!;:'\"()\\[\\]{}<>@#$€£¥₹¢%^&*_+=/|\\\\~°×÷–-]")


def plain(text: str) -> str:
    """The text in ASCII letters, digits and marks, with a few signs (€£¥₹¢°×÷ and the dash between numbers, –)."""
    text = unicodedata.normalize("NFKD", text.translate(SPELLINGS)).translate(SPELLINGS)
    text = "".join(" " if character.isspace() else character for character in text)
    text = KEPT.sub("", text)
    text = re.sub(r"(?<=\d)–(?=[\d$€£¥₹])", "-", text)
    return re.sub("–|--+", " - ", text)
