"""Ids of text, marks and audio; the ids of the published tokenizers are compared in tests/parity/test_vita_data.py."""

from __future__ import annotations

import unicodedata
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loquor.errors import ConfigError, InputError
from loquor.models.vita.vocabulary import (
    PUBLISHED,
    AudioTokens,
    TextOfIds,
    Vocabulary,
    open_vocabulary,
    published_tokens,
    write_vocabulary,
)

VOCABULARY = Vocabulary(AudioTokens("toy", 12))
readable_text = st.text(st.characters(exclude_categories=("Cs", "Cc")), max_size=40)


@given(text=readable_text)
def test_text_becomes_ids_and_text_again(text: str) -> None:
    assert VOCABULARY.text(VOCABULARY.ids(text)) == unicodedata.normalize("NFC", text)


@given(text=readable_text, codes=st.lists(st.integers(0, 11)), seed=st.randoms())
def test_text_and_codes_are_told_apart_wherever_they_stand(text: str, codes: list[int], seed: object) -> None:
    words = VOCABULARY.ids(text)
    cut = len(words) // 2

    ids = [*words[:cut], *VOCABULARY.audio_span(codes), *words[cut:], VOCABULARY.turn_end]

    assert VOCABULARY.codes(ids) == codes
    assert VOCABULARY.text(ids) == VOCABULARY.text(words)


@given(text=readable_text)
def test_characters_come_as_soon_as_they_are_complete(text: str) -> None:
    stream, said = TextOfIds(VOCABULARY), ""
    for i, token in enumerate(ids := VOCABULARY.ids(text)):
        said += stream.push(token)
        whole = b"".join(VOCABULARY.bytes_of(t) for t in ids[: i + 1]).decode("utf-8", "ignore")
        assert said == whole
    assert said + stream.end() == VOCABULARY.text(ids)


def test_a_character_cut_in_two_is_shown_as_such() -> None:
    first, *_ = VOCABULARY.ids("𝄞")

    assert VOCABULARY.text([first]) == "\ufffd"


def test_ids_beyond_the_vocabulary_are_neither_text_nor_audio() -> None:
    beyond = len(VOCABULARY) + 3

    assert VOCABULARY.text([beyond]) == "" and VOCABULARY.codes([beyond]) == []


@pytest.mark.parametrize("code", [-1, 12])
def test_a_code_outside_the_codebook_is_refused(code: int) -> None:
    with pytest.raises(InputError, match=f"code {code} is outside the codebook of toy"):
        VOCABULARY.audio_ids([3, code])


def test_names_of_marks_inside_a_text_are_plain_text() -> None:
    ids = VOCABULARY.ids("<|im_end|><|audio_3|><|end_of_audio|>")

    assert max(ids) < VOCABULARY.special_ids["<|endoftext|>"]


def test_models_that_hear_features_have_one_mark_more() -> None:
    base, plus = Vocabulary(PUBLISHED["glm4voice"]), Vocabulary(PUBLISHED["sensevoice_glm4voice"])

    assert plus.first_audio == base.first_audio + 1
    assert base.context_of_audio is None and plus.context_of_audio is not None


def test_an_unknown_audio_tokenizer_is_refused() -> None:
    with pytest.raises(ConfigError, match="'mp3' is no audio tokenizer"):
        published_tokens("mp3")
    with pytest.raises(ConfigError, match="codebook of 0 codes"):
        AudioTokens("toy", 0)


def test_a_small_model_that_hears_features_is_known_by_its_tokenizer(tmp_path: Path) -> None:
    write_vocabulary(tmp_path, Vocabulary(AudioTokens("sensevoice_glm4voice", 12, hears_features=True)))
    assert open_vocabulary(tmp_path).context_of_audio is not None
