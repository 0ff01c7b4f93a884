"""What holds for every text that the Persian normaliser reads."""

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loquor.errors import InputError
from loquor.text.persian import PersianNormalizer
from loquor.text.persian.characters import LETTERS, VOWEL_MARKS

PIECES = """
می نمی ها های تر ترین ام ای اند ی ه رفته خسته کتاب کتابها میروم میدانی روم خانه و که به از ساعت ماه شماره کد ساله
۱۲ 12 ۱۴۰۳/۰۵/۱۲ ۱۴:۳۰ 3.14 ۳٫۱۴ ۱٬۰۰۰ ۱/۲ ½ ² ٪ % $ € ﷼ تومان ت م مین ش ق ه.ش ق.م ص (ص) ۰۹۱۲۳۴۵۶۷۸۹ +۹۸
- – — ... . ، ؛ : ؟ ! « » " ' ( ) [ ] km °C PDF iPhone don't II x a http://a.ir/b a@b.com # @ & + = / _ ~ < > ^ ×
ﻻ ﷲ ﷺ ك ي ة ۀ أ إ ؤ ئ ء ـ ـــ 😀 你 Ж é ¬
"""
UNSEEN = ["\u0654", "\u064b", "\u064e", "\u0650", "\u0651", "\u0670", "\u200b", "\u200d", "\u200e", "\u202b", "\ufeff"]
SPACES = ["\u00a0", "\u200c", "\u200c\u200c", "\u200c ", " \u200c", " ", " ", " ", "\n"]
FRAGMENTS = st.sampled_from([*PIECES.split(), *UNSEEN, *SPACES])
PERSIAN = st.text(alphabet=LETTERS + VOWEL_MARKS + '\u200c\u200c   .،؟«»-"۰۱۲۳۴۵۶۷۸۹٫٬/:', max_size=30)
TEXTS = st.one_of(
    st.lists(FRAGMENTS, max_size=12).map("".join),
    st.lists(FRAGMENTS, max_size=12).map(" ".join),
    PERSIAN,
    st.text(max_size=30),
)
NORMALIZERS = [PersianNormalizer(latin, vowels) for latin in ("transliterate", "keep") for vowels in ("needed", "all")]


@pytest.mark.parametrize("normalizer", NORMALIZERS, ids=str)
@settings(max_examples=150, deadline=None)
@given(TEXTS)
def test_what_is_normal_stays_as_it_is(normalizer, text):
    assert normalizer(normalizer(text)) == normalizer(text)


@pytest.mark.parametrize("normalizer", NORMALIZERS, ids=str)
@settings(max_examples=100, deadline=None)
@given(TEXTS)
def test_only_letters_marks_and_single_spaces_are_left(normalizer, text):
    latin = "A-Za-z'" if normalizer.latin == "keep" else ""
    said = normalizer(text)
    assert re.fullmatch(f"[{LETTERS}{VOWEL_MARKS}{latin}\u200c «»؟!….؛:،-]*", said)
    assert not re.search(r"^ |  | $|[؟!….؛:،-] ?[؟!….؛:،]|« | »", said)


@settings(max_examples=150, deadline=None)
@given(TEXTS)
def test_a_half_space_stands_between_two_letters_and_alone(text):
    said = PersianNormalizer(vowels="all")(text)
    assert not re.search(rf"(?<![{LETTERS}{VOWEL_MARKS}])\u200c|\u200c(?![{LETTERS}])", said)
    assert not re.search(r"[اآأدذرزژو]\u200c", said)  # not seen there


@settings(max_examples=150, deadline=None)
@given(TEXTS)
def test_quotes_come_in_pairs(text):
    depth = 0
    for character in PersianNormalizer()(text):
        depth += (character == "«") - (character == "»")
        assert depth >= 0
    assert depth == 0


RUNS = ["7", "7,", "٬7", ".", "a.", "-", "(", "1/", "@a.", "a@", "/", "$", "7-", "7:", "7 ", "می ", "ها ", "\u200c"]


@pytest.mark.parametrize("run", [*RUNS, "«", '"', "ـ", "ساعت ", "09", "کد ", "+98 ", "1.", "0 ", "7م", "²"])
def test_a_very_long_run_is_read_in_reasonable_time(run):
    PersianNormalizer()(run * 5000)  # patterns that go back over the text would take minutes


@pytest.mark.parametrize("options", [{"latin": "drop"}, {"vowels": "none"}])
def test_an_unknown_way_to_normalise_is_refused_with_the_known_ones(options):
    with pytest.raises(InputError) as error:
        PersianNormalizer(**options)
    assert "it is one of" in error.value.hint
