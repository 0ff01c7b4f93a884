"""A phoneme model that is taught another language reads it letter by letter, however the text arrives."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loquor.errors import CheckpointError, InputError
from loquor.text.alphabets import ALPHABETS, ZERO_WIDTH_NON_JOINER
from loquor.text.languages import normalize
from loquor.text.phoneme_tokenizer import SYMBOLS, PhonemeTokenizer

ENGLISH = PhonemeTokenizer()
PERSIAN = ENGLISH.with_language("fa")


def said(text: str, tokenizer: PhonemeTokenizer = PERSIAN) -> list[str]:
    return [tokenizer.symbols[i] for i in tokenizer.encode(text)]


def test_letters_follow_the_symbols_that_every_model_has():
    assert PERSIAN.symbols[: len(SYMBOLS)] == SYMBOLS
    assert PERSIAN.vocab_size == len(SYMBOLS) + len(ALPHABETS["fa"].letters)


def test_a_word_is_its_letters_and_words_are_apart():
    assert said("سلام دنیا") == [*"سلام", " ", *"دنیا", ".", "\n"]


def test_marks_are_those_of_english():
    assert said("چرا؟ بله، نه!") == [*"چرا", "?", *"بله", ",", *"نه", "!", "\n"]


def test_figures_and_arabic_letters_are_read_as_the_normaliser_reads_them():
    assert said("كتاب ۲۱") == said("کتاب بیست و یک")


def test_western_figures_are_read_in_the_language_of_the_words_before_them():
    assert said("ساعت 7") == said("ساعت هفت")
    assert said("page 7") == said("page 7", ENGLISH)


def test_a_half_space_keeps_a_word_together():
    assert ZERO_WIDTH_NON_JOINER in said("می‌رود") and " " not in said("می‌رود")


def test_english_words_keep_their_phonemes():
    assert said("سلام Peter") == [*"سلام", " ", *said("Peter", ENGLISH)]


@given(text=st.text("سلامدنیکتب‌ ۱۲۳،؟.!a7ٔ", min_size=1, max_size=40), data=st.data())
def test_however_the_text_is_cut_the_ids_are_the_same(text, data):
    try:
        whole = PERSIAN.encode(text)
    except InputError:
        return
    places = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=5)))
    stream = PERSIAN.stream()
    ids = [t.id for a, b in zip([0, *places], [*places, len(text)], strict=True) for t in stream.push(text[a:b])]
    assert [*ids, *(t.id for t in stream.end())] == whole


def test_every_letter_of_a_normal_text_is_known():
    text = normalize("مثلاً خانهٔ مسئول، رؤیا و جزء در ژرفای ضخیم‌ترین ظرف‌ها؛ غذای آذر صبح ثریا گچ پخت!", "fa")
    letters = set(re.sub(r"[\s.،؛:؟!…«»-]", "", text))
    assert letters <= ALPHABETS["fa"].letters.keys()


@pytest.mark.parametrize("near", ALPHABETS["fa"].letters.values())
def test_a_letter_is_near_to_symbols_that_there_are(near):
    assert set(near.split()) <= set(SYMBOLS)


def test_a_tokenizer_remembers_its_languages(tmp_path):
    PERSIAN.save(tmp_path / "tokenizer.json")
    assert PhonemeTokenizer.load(tmp_path / "tokenizer.json").encode("سلام") == PERSIAN.encode("سلام")


def test_without_the_letters_there_is_nothing_to_say():
    with pytest.raises(InputError, match="nothing to say"):
        ENGLISH.encode("سلام")


def test_languages_that_do_not_fit_are_refused(tmp_path):
    with pytest.raises(InputError, match="no alphabet for 'de'"):
        ENGLISH.with_language("de")
    with pytest.raises(InputError, match="already"):
        PERSIAN.with_language("fa")
    file = tmp_path / "tokenizer.json"
    PhonemeTokenizer(SYMBOLS, ("fa",)).save(file)
    with pytest.raises(CheckpointError, match="languages"):
        PhonemeTokenizer.load(file)
