"""The half-space in Persian words: می‌روم, کتاب‌ها, بزرگ‌تر, خسته‌ام, خانه‌ای, as the Academy's orthography has it.

Affixes that were written apart ("می روم") or together ("میروم", "کتابهای") get their half-space; a half-space after a
letter that never joins the next is taken away, since it is not seen there ("کار‌ها" and "کارها" look the same).
"""

import re
import unicodedata
from re import Match

from loquor.text.persian.characters import HAMZA, KASRE, LETTERS, NOT_JOINING, TANVIN, VOWEL_MARKS
from loquor.text.persian.numbers import ZWNJ

# fmt: off
PREFIXES = {"می", "نمی"}
ENDINGS = {  # behind any word
    "ها", "های", "هایی", "هایم", "هایت", "هایش", "هایمان", "هایتان", "هایشان", "هامون", "هاتون", "هاشون", "تر", "تری",
    "ترین", "ترها", "ترین‌ها",
}
ENDINGS_AFTER_HE = {"ام", "ای", "ایم", "اید", "اند", "اش", "ات", "مان", "تان", "شان", "ی"}  # a silent one
NO_HOSTS = {  # words that take no ending, though some end in ه
    "و", "که", "به", "از", "در", "با", "تا", "را", "یا", "اگر", "هم", "نه", "چه", "بله", "سه", "ده", "ای", "بر", "پس",
    "اگرچه", "گرچه", "چنانچه", "آنچه", "هرچه", "بلکه", "البته", "می", "نمی",
}
NO_VERBS = {"که", "به", "نه", "چه", "ای", "هم", "من", "این", "آن", "همه", "ده", "سه", "می", "نمی"}
STEMS = (  # of verbs that are often written "میکنم", spoken forms at the end
    "کن|شو|رو|گوی|خواه|توان|دان|آور|آی|گیر|ده|زن|بین|خور|خوان|نویس|کش|ساز|یاب|گذار|گذر|رس|دار|باش|افت|خر|فروش|مان|بر|"
    "پرس|شناس|کوش|پرداز|پذیر|نشین|اندیش|ترس|شنو|گرد|بخش|آموز|پوش|چین|دو|ریز|سپار|شمار|فرست|خوا|دون|تون|خون|مون"
)
PAST_STEMS = (
    "کرد|شد|رفت|گفت|خواست|توانست|دانست|آورد|آمد|گرفت|داد|زد|دید|خورد|خواند|نوشت|کشید|ساخت|یافت|گذاشت|گذشت|رسید|داشت|"
    "بود|افتاد|خرید|فروخت|ماند|برد|پرسید|شناخت|کوشید|پرداخت|پذیرفت|نشست|اندیشید|ترسید|شنید|گشت|بخشید|آموخت|پوشید|"
    "دوید|ریخت|فرستاد"
)
NOT_VERBS = {"میدانی", "میدانه", "میدون"}  # of the square, not "you know"
NOT_PLURAL = {  # of تنها, انتها, بها, منها, فارنهایت
    "تن", "بتن", "انت", "اشت", "منت", "فق", "سف", "ال", "بین", "پرب", "گرانب", "کمب", "خونب", "من", "عین", "مافی",
    "فارن", "شانگ",
}
# fmt: on
TOGETHER = re.compile(
    rf"(ن?می)((?:{STEMS})(?:م|ی|د|یم|ید|ند|ه|ین|ن)|(?:{PAST_STEMS})(?:م|ی|یم|ید|ند|ن)?|[شگرد](?:م|ه|یم|ین|ن)|توان)"
)
PLURAL = re.compile(rf"(?P<stem>[{LETTERS}]+[^{NOT_JOINING}])(?P<ending>ها(?:ی(?:ی|م|ت|ش|مان|تان|شان)?)?)")
SILENT_HE = re.compile(".+[^اوی]ه")
LONGEST_HOST = 40  # letters: "ها ها ها" is no word
VERB_ENDS = "میدتهنش"


def spaced(word: str, keep_vowels: bool = False) -> str:
    """A word with the vowel marks and half-spaces that it needs, or nothing.

    Without `keep_vowels`, of the marks only those stay that sound like nothing the letters show: tanvin, and ezafe at
    the end of the word.
    """
    word = re.sub(rf"(?<![{LETTERS}{VOWEL_MARKS}])[{VOWEL_MARKS}]+", "", word).strip(ZWNJ)
    word = re.sub(rf"([{LETTERS}])([{VOWEL_MARKS}]+)", lambda match: voweled(match, keep_vowels), word)
    word = re.sub(rf"([{TANVIN}])ا", r"ا\1", word)
    word = re.sub(f"{ZWNJ}+", ZWNJ, word)
    word = re.sub(rf"([{NOT_JOINING}][{VOWEL_MARKS}]*){ZWNJ}(?=[{LETTERS}])", r"\1", word)
    word = re.sub(rf"([{LETTERS}])\1{{2,}}", r"\1", word)  # سلااام
    if word.startswith("أ"):
        word = f"ا{word[1:]}"
    rest, half_space, last = word.rpartition(ZWNJ)
    plural = PLURAL.fullmatch(last)
    if plural and plural["stem"] not in NOT_PLURAL:
        word = f"{rest}{half_space}{plural['stem']}{ZWNJ}{plural['ending']}"
    first, half_space, rest = word.partition(ZWNJ)
    verb = TOGETHER.fullmatch(first)
    if verb and first not in NOT_VERBS:
        word = f"{verb[1]}{ZWNJ}{verb[2]}{half_space}{rest}"
    return word


def voweled(match: Match[str], keep_vowels: bool) -> str:
    """A letter with its marks, each once; a hamza stands over ه only, other letters have it in them."""
    letter, marks = match.groups()
    is_last = match.end() == len(match.string)
    kept = ""
    for mark in sorted(set(marks), key=unicodedata.combining):
        is_needed = mark in TANVIN or (is_last and mark in (KASRE, HAMZA))
        if (keep_vowels or is_needed) and (mark != HAMZA or letter == "ه"):
            kept += mark
    return letter + kept


def attached(words: list[str], keep_vowels: bool = False) -> list[str]:
    """The words between two marks, with what belongs together in one word."""
    while True:
        joined: list[str] = []
        for word in words:
            if joined and (takes_ending(joined[-1], word) or takes_prefix(joined[-1], word)):
                joined[-1] = spaced(f"{joined[-1]}{ZWNJ}{word}", keep_vowels)
            else:
                joined.append(word)
        if len(joined) == len(words):  # every round has fewer words, so there is a last one
            return joined
        words = joined


def takes_ending(host: str, ending: str) -> bool:
    """Whether the second word is an ending of the first."""
    ending = bare(ending)
    if bare(host) in NO_HOSTS or len(host) > LONGEST_HOST:
        return False
    return ending in ENDINGS or (ending in ENDINGS_AFTER_HE and SILENT_HE.fullmatch(host) is not None)


def takes_prefix(prefix: str, verb: str) -> bool:
    """Whether the first word is the می of the second, not the month, nor wine."""
    verb = bare(verb)
    return bare(prefix) in PREFIXES and len(verb) > 1 and verb[-1] in VERB_ENDS and verb not in NO_VERBS


def bare(word: str) -> str:
    """A word without vowel marks."""
    return re.sub(f"[{VOWEL_MARKS}]", "", word)
