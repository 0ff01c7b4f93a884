"""Persian words and marks: letters, half-spaces, punctuation, Latin words. | stands for the half-space."""

import pytest

from loquor.text.persian import PersianNormalizer
from loquor.text.persian.characters import clean
from loquor.text.persian.latin import spelled, word

# fmt: off
LETTERS = [
    ("كتاب علي", "کتاب علی"),
    ("مدرسة كبيرة", "مدرسه کبیره"),
    ("أحمد و مؤمن و رئیس و تأثیر", "احمد و مؤمن و رئیس و تأثیر"),
    ("خانۀ ما", "خانهٔ ما"),
    ("ﻻ ﷲ ﻛﺘﺎﺏ", "لا الله کتاب"),
    ("ہمیشہ ھم", "همیشه هم"),
    ("كـــتاب", "کتاب"),
    ("تهران ـ ایسنا", "تهران - ایسنا"),
    ("سلااااام", "سلام"),
    ("سلام😀دنیا ❤️", "سلام دنیا"),
    ("\u200fچپ\u200e و \u202aراست\u202c", "چپ و راست"),
    ("café ЖЖ 你好 علی", "کافه علی"),
    ("مُعَلِّمِ مَلِک", "معلمِ ملک"),
    ("کتابِ من", "کتابِ من"),
    ("مثلاً حتماً مثلًا", "مثلاً حتماً مثلاً"),
    ("رحمٰن و حتیٰ", "رحمن و حتی"),
    ("خانهٔ ما", "خانهٔ ما"),
]
HALF_SPACES = [
    ("می روم و نمی دانم و می گفتند", "می|روم و نمی|دانم و می|گفتند"),
    ("میروم، نمیدانم، میشود، نمیتوانست", "می|روم، نمی|دانم، می|شود، نمی|توانست"),
    ("میز و میدان و میوه و میلیون و میانه", "میز و میدان و میوه و میلیون و میانه"),
    ("تحقیقات میدانی", "تحقیقات میدانی"),
    ("می ناب", "می ناب"),
    ("کتاب ها، کتاب های من، کتابهایم", "کتاب|ها، کتاب|های من، کتاب|هایم"),
    ("تنها، بهای، انتهای، نهایی، منهای", "تنها، بهای، انتهای، نهایی، منهای"),
    ("آنها و اینها", "آن|ها و این|ها"),
    ("بزرگ تر، بزرگ ترین، زیبا تر، بد ترین", "بزرگ|تر، بزرگ|ترین، زیباتر، بدترین"),
    ("خسته ام، رفته اند، گفته ایم، خانه ای", "خسته|ام، رفته|اند، گفته|ایم، خانه|ای"),
    ("خانه اش، بچه هایشان، همه ی ما، خانه ی ما", "خانه|اش، بچه|هایشان، همه|ی ما، خانه|ی ما"),
    ("که ای، به ها، راه ام", "که ای، به ها، راه ام"),
    ("کار|ها و برادر|ان و گفت|و|گو", "کارها و برادران و گفت|وگو"),
    ("کتاب||ها | علی| |و", "کتاب|ها علی و"),
    ("علی |رضا", "علی رضا"),
    ("می| خواهم", "می|خواهم"),
    ("مدرسه ای ها", "مدرسه|ای|ها"),
    ("دانشجو ام", "دانشجو ام"),
]
MARKS_AND_SPACES = [
    ("سلام،خوبی ؟بله !", "سلام، خوبی؟ بله!"),
    ("چه??!! نه...باشد;خب", "چه؟ نه… باشد؛ خب"),
    ('" سلام " و “سلام” و «سلام»', "«سلام» و «سلام» و «سلام»"),
    ("«نقل «تو» در تو»", "«نقل «تو» در تو»"),
    ("«باز", "باز"),
    ("او(برادرم)آمد (دیروز).", "او، برادرم، آمد، دیروز."),
    ("رفت - آمد—باز", "رفت - آمد - باز"),
    ("علمی-تخیلی و/یا نیمه_کاره", "علمی تخیلی و یا نیمه کاره"),
    ("، . شروع", "شروع"),
    ("پایان،", "پایان،"),
    ("• یک • دو", "یک دو"),
]
LATIN = [
    ("PDF", "پی|دی|اف"),
    ("PDFها", "پی|دی|اف|ها"),
    ("PDF ها", "پی|دی|اف|ها"),
    ("CDs", "سی|دی|ها"),
    ("iPhone 15", "آیفون پانزده"),
    ("GPT-4", "جی|پی|تی چهار"),
    ("COVID-19", "کووید نوزده"),
    ("Python", "پایتون"),
    ("Wi-Fi", "وای|فای"),
    ("NASA", "ناسا"),
    ("USA", "یواس|ای"),
    ("IT", "آی|تی"),
    ("Hello World", "هلو ورلد"),
    ("station", "استیشن"),
    ("school", "اسکول"),
    ("server", "سرور"),
    ("York and War", "یورک اند وار"),
    ("Snapp", "اسنپ"),
    ("aparat", "آپارات"),
    ("divar", "دیوار"),
    ("Filimo", "فیلیمو"),
    ("MacBook", "مک|بوک"),
    ("R&D", "آر و دی"),
    ("C++", "سی پلاس پلاس"),
    ("CO2", "سی|او دو"),
    ("John's", "جانز"),
]
# fmt: on


def half_spaced(text: str) -> str:
    return text.replace("|", "\u200c")


@pytest.mark.parametrize(("written", "said"), [*LETTERS, *HALF_SPACES, *MARKS_AND_SPACES, *LATIN])
def test_words_are_written_as_the_academy_writes_them(written, said):
    assert PersianNormalizer()(half_spaced(written)) == half_spaced(said)


@pytest.mark.parametrize(
    ("written", "kept"),
    [
        ("Hello سلام", "Hello سلام"),
        ("PDFها و PDF ها", "PDF|ها و PDF|ها"),
        ("GPT-4 و 5 km", "GPT چهار و پنج کیلومتر"),
        ("don't www.google.com", "don't google دات com"),
        ("World War II", "World War II"),
    ],
)
def test_latin_words_can_be_kept_while_numbers_are_still_read(written, kept):
    assert PersianNormalizer(latin="keep")(written) == half_spaced(kept)


@pytest.mark.parametrize(
    ("written", "kept"),
    [("مُعَلِّم", "مُعَلِّم"), ("مَلِک و مُلک", "مَلِک و مُلک"), ("َ ب ِِ", "ب"), ("بَََد", "بَد"), ("رحمٰن", "رحمٰن")],
)
def test_vowel_marks_can_be_kept_each_once_and_on_a_letter(written, kept):
    assert PersianNormalizer(vowels="all")(written) == kept


@pytest.mark.parametrize("marks", ["\u0651\u064e", "\u064b\u0654", "\u0650\u0651"])
def test_the_order_in_which_marks_were_typed_makes_no_difference(marks):
    normalizer = PersianNormalizer(vowels="all")
    assert normalizer(f"ه{marks}") == normalizer(f"ه{marks[::-1]}") == normalizer(normalizer(f"ه{marks}"))
    assert normalizer("ۀ\u064b") == normalizer(normalizer("ۀ\u064b"))


def test_presentation_forms_and_every_kind_of_digit_become_plain_ones():
    assert clean("ﺳﻼﻡ ٠١٢ ۳۴۵ ６７８ 𝟗") == "سلام 012 345 678 9"


def test_known_words_come_before_sounds_and_sounds_before_spelling():
    assert word("python") == "پایتون"  # by its sound it would be پایتان
    assert word("machine") == "مشین"  # by its letters it would be ماچین
    assert word("chaharshanbe") == spelled("chaharshanbe") == "چاهارشانبه"
