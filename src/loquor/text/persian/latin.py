"""Words in Latin letters, written in Persian letters as Iranians would: "Python" is پایتون, "PDF" پی‌دی‌اف.

Known words come from a short list, other English words by their sound (the dictionary of `loquor.text.phonemes`), the
rest, mostly Persian names in Latin letters (Digikala, Snapp), by their spelling. Short vowels inside a word are not
written, as in Persian.
"""

import re

from loquor.text.persian.characters import LETTERS
from loquor.text.persian.numbers import ZWNJ, cardinal, ordinal
from loquor.text.phonemes import Phonemes, dictionary_entry, spelled_out

# fmt: off
LETTER_NAMES = dict(zip("abcdefghijklmnopqrstuvwxyz", (
    "ای", "بی", "سی", "دی", "ای", "اف", "جی", "اچ", "آی", "جی", "کی", "ال", "ام", "ان", "او", "پی", "کیو", "آر", "اس",
    "تی", "یو", "وی", "دبلیو", "ایکس", "وای", "زد",
), strict=True))
KNOWN = {
    "ai": "ای‌آی", "amazon": "آمازون", "android": "اندروید", "app": "اپ", "apple": "اپل", "asus": "ایسوس",
    "bitcoin": "بیت‌کوین", "bluetooth": "بلوتوث", "bmw": "ب‌ام‌و", "cafe": "کافه", "camera": "کمرا", "cd": "سی‌دی",
    "chatgpt": "چت‌جی‌پی‌تی", "chrome": "کروم", "com": "کام", "computer": "کامپیوتر", "covid": "کووید",
    "data": "دیتا", "digikala": "دیجی‌کالا", "digital": "دیجیتال", "edu": "ای‌دی‌یو", "email": "ایمیل",
    "excel": "اکسل", "facebook": "فیسبوک", "fifa": "فیفا", "firefox": "فایرفاکس", "github": "گیت‌هاب",
    "gmail": "جی‌میل", "google": "گوگل", "hotel": "هتل", "instagram": "اینستاگرام", "intel": "اینتل",
    "internet": "اینترنت", "io": "آی‌او", "ios": "آی‌اواس", "ipad": "آی‌پد", "iphone": "آیفون", "ir": "آی‌آر",
    "iran": "ایران", "java": "جاوا", "javascript": "جاوااسکریپت", "laptop": "لپ‌تاپ",
    "led": "ال‌ای‌دی", "linkedin": "لینکدین", "linux": "لینوکس", "mac": "مک", "microsoft": "مایکروسافت",
    "mobile": "موبایل", "model": "مدل", "nasa": "ناسا", "nato": "ناتو", "net": "نت", "netflix": "نتفلیکس",
    "ok": "اوکی", "online": "آنلاین", "opec": "اوپک", "org": "اورگ", "photoshop": "فتوشاپ", "pin": "پین",
    "playstation": "پلی‌استیشن", "podcast": "پادکست", "python": "پایتون", "radio": "رادیو", "ram": "رم",
    "samsung": "سامسونگ", "sim": "سیم", "site": "سایت", "skype": "اسکایپ", "sms": "اس‌ام‌اس", "spotify": "اسپاتیفای",
    "taxi": "تاکسی", "tehran": "تهران", "telegram": "تلگرام", "tesla": "تسلا", "the": "د", "tiktok": "تیک‌تاک",
    "tv": "تی‌وی", "twitter": "توییتر", "uefa": "یوفا", "unesco": "یونسکو", "unicef": "یونیسف", "usb": "یواس‌بی",
    "video": "ویدیو", "vip": "وی‌آی‌پی", "vpn": "وی‌پی‌ان", "web": "وب", "whatsapp": "واتس‌اپ", "wifi": "وای‌فای",
    "wikipedia": "ویکی‌پدیا", "windows": "ویندوز", "xbox": "ایکس‌باکس", "youtube": "یوتیوب",
}
ROMAN = {
    "II": 2, "III": 3, "IV": 4, "VI": 6, "VII": 7, "VIII": 8, "IX": 9, "XI": 11, "XII": 12, "XIII": 13, "XIV": 14,
    "XV": 15, "XVI": 16, "XVII": 17, "XVIII": 18, "XIX": 19, "XX": 20, "XXI": 21,
}
CONSONANTS = {
    "B": "ب", "CH": "چ", "D": "د", "DH": "د", "F": "ف", "G": "گ", "HH": "ه", "JH": "ج", "K": "ک", "L": "ل", "M": "م",
    "N": "ن", "NG": "نگ", "P": "پ", "R": "ر", "S": "س", "SH": "ش", "T": "ت", "TH": "ت", "V": "و", "W": "و", "Y": "ی",
    "Z": "ز", "ZH": "ژ",
}
VOWELS = {  # at the beginning of a word, after another vowel, elsewhere
    "AA": ("آ", "آ", "ا"), "AE": ("ا", "ا", ""), "AH": ("ا", "ا", ""), "AO": ("آ", "آ", "ا"), "AW": ("آو", "ئو", "او"),
    "AY": ("آی", "ای", "ای"), "EH": ("ا", "ئ", ""), "ER": ("ار", "ر", "ر"), "EY": ("ای", "ئی", "ی"),
    "IH": ("ای", "ئی", "ی"), "IY": ("ای", "ئی", "ی"), "OW": ("او", "و", "و"), "OY": ("اوی", "وی", "وی"),
    "UH": ("او", "و", "و"), "UW": ("او", "و", "و"),
}
SPELLINGS = {  # of words that are not English, the longer first
    "sch": "ش", "tch": "چ", "sh": "ش", "ch": "چ", "kh": "خ", "gh": "ق", "zh": "ژ", "ph": "ف", "th": "ت", "ck": "ک",
    "qu": "کو", "oo": "و", "ou": "و", "ee": "ی", "ei": "ی", "ai": "ای", "ay": "ای", "ow": "و", "aw": "او", "ew": "یو",
    "a": "ا", "b": "ب", "c": "ک", "d": "د", "e": "", "f": "ف", "g": "گ", "h": "ه", "i": "ی", "j": "ج", "k": "ک",
    "l": "ل", "m": "م", "n": "ن", "o": "و", "p": "پ", "q": "ق", "r": "ر", "s": "س", "t": "ت", "u": "و", "v": "و",
    "w": "و", "x": "کس", "y": "ی", "z": "ز",
}
# fmt: on
SPELLING = re.compile("|".join(sorted(SPELLINGS, key=len, reverse=True)))
LATIN = re.compile(r"[A-Za-z]+(?:['-][A-Za-z]+)*")
PARTS = re.compile("[A-Z]{2,}s?(?![a-z])|[A-Z]?[a-z]+|[A-Z]+(?=[A-Z][a-z]|$)|[A-Z]")  # of ChatGPT, MacBook, PDFs
LONGEST_ACRONYM = 5


def transliterated(text: str) -> str:
    """The text with its Latin words in Persian letters and its Roman numerals in words."""
    text = re.sub(rf"(?<=[{LETTERS}] )(?:{'|'.join(ROMAN)})(?![A-Za-z'])", lambda match: ordinal(ROMAN[match[0]]), text)
    return LATIN.sub(lambda match: word(match[0]), text)


def word(latin: str) -> str:
    """One word of Latin letters, apostrophes and hyphens."""
    known = KNOWN.get(latin.lower().replace("-", ""))
    if known:
        return known
    if "-" in latin:
        return " ".join(map(word, latin.split("-")))
    if latin in ROMAN:
        return cardinal(ROMAN[latin])
    return acronym(latin) or pronounced(latin)


def acronym(latin: str) -> str:
    """The names of the letters of a word that is read so, its plural with ها; nothing for other words."""
    if is_acronym(latin):
        return ZWNJ.join(LETTER_NAMES[letter] for letter in latin.lower())
    if len(latin) > 2 and latin.endswith("s") and latin[:-1].isupper() and is_acronym(latin[:-1]):
        return f"{acronym(latin[:-1])}{ZWNJ}ها"
    return ""


def is_acronym(latin: str) -> bool:
    """Whether it is a single letter, short and in capitals, or pronounced in the dictionary as its letters are."""
    if len(latin) == 1 or not latin.isalpha():
        return latin.isalpha()
    entry = dictionary_entry(latin.lower())
    if entry and without_stress(entry) == without_stress(spelled_out(latin)):
        return True
    return latin.isupper() and (len(latin) < 4 or (not entry and len(latin) <= LONGEST_ACRONYM))


def without_stress(phonemes: Phonemes) -> list[str]:
    return [phoneme.rstrip("012") for phoneme in phonemes]


def pronounced(latin: str) -> str:
    """A word like MacBook by its parts, an English one by its sound, others by their letters."""
    parts = PARTS.findall(latin)
    if len(parts) > 1 and latin.isalpha():
        return ZWNJ.join(map(word, parts))
    entry = dictionary_entry(latin.lower())
    return sounded(entry) if entry else spelled(latin.lower())


def sounded(phonemes: Phonemes) -> str:
    """An English word by its sound; a stressed or final AH is written."""
    sounds = without_stress(phonemes)
    letters = "ا" if sounds[0] == "S" and len(sounds) > 1 and sounds[1] in CONSONANTS else ""
    before = ""
    for i, sound in enumerate(sounds):
        after = sounds[i + 1] if i + 1 < len(sounds) else ""
        if sound in CONSONANTS:
            letters += "ن" if sound == "NG" and after in {"K", "G"} else CONSONANTS[sound]
        elif sound == "AO" and after == "R" and before != "W":  # York, but War
            letters += VOWELS["OW"][bool(letters)]
        elif sound == "AH" and before and (not after or phonemes[i] == "AH1"):
            letters += "ا"
        else:
            letters += VOWELS[sound][0 if not before else 1 if before in VOWELS else 2]
        before = sound
    return letters


def spelled(lower: str) -> str:
    """A word that is not English by its letters: "aparat" is آپارات, "snapp" اسنپ."""
    lower = re.sub(r"([b-df-hj-np-tv-z])\1+", r"\1", lower.replace("'", ""))
    lower = re.sub("c(?=[eiy])", "s", lower)
    letters = SPELLING.sub(lambda match: SPELLINGS[match[0]], lower)
    first = {"a": "آ", "o": "او", "u": "او", "i": "ای", "e": "ا"}.get(lower[:1], "")
    if first:
        letters = first + letters[lower[0] != "e" :]
    elif re.match("s[^aeiou]", lower) and not lower.startswith("sh"):
        letters = f"ا{letters}"
    return f"{letters}ه" if re.search("[^aeiou]e$", lower) else letters
