"""Normalisers behind one interface, and the examples of the guide."""

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loquor.errors import InputError
from loquor.text.languages import NORMALIZERS, normalize, normalizer

GUIDE = (Path(__file__).resolve().parents[2] / "docs" / "languages.md").read_text(encoding="utf-8")
EXAMPLES = [
    (language, *row)
    for language, section in re.findall(r"^## \w+ \(`(\w+)`\)\n(.*?)(?=^## |\Z)", GUIDE, re.DOTALL | re.MULTILINE)
    for row in re.findall(r"^\| [^|]+ \| `([^`]+)` \| `([^`]+)` \|$", section, re.MULTILINE)
]


@pytest.mark.parametrize(("language", "written", "said"), EXAMPLES)
def test_the_examples_of_the_guide_are_true(language, written, said):
    assert normalize(written, language) == said


def test_the_guide_has_examples_of_each_language():
    assert {language for language, *_ in EXAMPLES} == NORMALIZERS.keys() - {"none"}


@pytest.mark.parametrize("language", NORMALIZERS)
@given(text=st.text(max_size=40))
def test_every_normaliser_reads_any_text_and_leaves_what_it_gave(language, text):
    said = normalize(text, language)
    assert normalize(said, language) == said


def test_none_cleans_the_spaces_and_nothing_else():
    assert normalize("  Dr.\n\t5 ٤\u00a0km ", "none") == "Dr. 5 ٤ km"


@pytest.mark.parametrize("code", ["fa", "FA", "fa-IR", "fa_IR.UTF-8"])
def test_a_region_does_not_hide_the_language(code):
    assert normalizer(code) == normalizer("fa")


def test_an_unknown_language_is_refused_with_the_known_ones():
    with pytest.raises(InputError, match="no text normaliser for 'tlh'") as error:
        normalizer("tlh")
    assert all(language in error.value.hint for language in NORMALIZERS)


def test_options_reach_the_language_that_has_them_and_no_other():
    assert normalize("Hello", "fa", latin="keep") == "Hello"
    with pytest.raises(InputError, match="'en' has no option 'latin'"):
        normalizer("en", latin="keep")
    with pytest.raises(InputError, match="latin is 'maybe'"):
        normalizer("fa", latin="maybe")
