from hypothesis import given
from hypothesis import strategies as st

from loquor.evaluation import word_error_rate
from loquor.evaluation.error_rate import compare_texts, language_of_text, tokens_of

words = st.lists(st.sampled_from(["the", "cat", "sat", "on", "mats"]), max_size=8).map(" ".join)
persian = st.lists(st.sampled_from(["می", "روم", "کتاب", "ها", "نامه"]), max_size=5)


@given(words, words)
def test_english_errors_are_those_of_the_word_error_rate(said, heard):
    found = compare_texts(said, heard, "en")
    report = word_error_rate([said], [heard])
    assert (found.errors, found.tokens, found.unit) == (report.errors, report.words, "words")


@given(words, words)
def test_an_alignment_holds_both_texts_in_order(said, heard):
    pairs = compare_texts(said, heard).pairs
    assert [left for left, _ in pairs if left is not None] == tokens_of(said, "en")
    assert [right for _, right in pairs if right is not None] == tokens_of(heard, "en")


@given(persian)
def test_persian_is_compared_by_characters_whatever_the_spaces(parts):
    spaced, half, none = " ".join(parts), "\u200c".join(parts), "".join(parts)
    assert compare_texts(spaced, half, "fa").errors == compare_texts(half, none, "fa").errors == 0
    assert compare_texts(spaced, "", "fa").tokens == len(none)


def test_persian_numbers_are_what_they_are_read_as():
    assert compare_texts("۲۵ نفر", "بیست و پنج نفر", "fa-IR").errors == 0


def test_chinese_counts_characters_and_drops_marks():
    found = compare_texts("你好，世界！", "你好世间", "zh")
    assert (found.errors, found.tokens, found.pairs[-1]) == (1, 4, ("界", "间"))


def test_an_unknown_language_counts_words_without_marks_and_case():
    assert compare_texts("Guten Tag, Welt!", "guten tag welt", "de").errors == 0


def test_letters_tell_the_language():
    texts = {"Hello": "en", "سلام": "fa", "你好": "zh", "こんにちは世界": "ja", "안녕": "ko", "สวัสดี": "th", "42": "en"}
    assert {text: language_of_text(text) for text in texts} == texts
