"""Small vocabularies: learned from texts, kept in tokenizer.json, and cut as the large one cuts."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer

from loquor.errors import CheckpointError, ConfigError
from loquor.models.vita.vocabulary import AudioTokens, Vocabulary, open_vocabulary, write_vocabulary
from loquor.text.own_merges import learn_merges, read_merges
from loquor.text.qwen_tokenizer import QwenTokenizer

TEXTS = ["the old boat came back to the harbour", "the rain came before the boat"] * 9
MERGES = learn_merges(TEXTS, 320)
VOCABULARY = Vocabulary(AudioTokens("toy", 5), QwenTokenizer(MERGES))


@given(text=st.text(st.characters(exclude_categories=("Cs", "Cc")), max_size=30))
def test_any_text_has_ids_and_comes_back(text: str) -> None:
    assert VOCABULARY.text(VOCABULARY.ids(text)) == VOCABULARY.tokenizer.bpe.normalizer.normalize_str(text)


def test_what_was_often_seen_is_one_piece() -> None:
    assert 256 < MERGES.get_vocab_size() <= 320
    assert len(VOCABULARY.ids("the boat")) < len("the boat") / 2
    assert len(learn_merges(TEXTS, 256).encode("the").ids) == 3, "bytes alone"
    with pytest.raises(ConfigError, match="255 pieces is too small"):
        learn_merges(TEXTS, 255)


def test_a_vocabulary_that_is_written_is_read_back_whole(tmp_path: Path) -> None:
    write_vocabulary(tmp_path, VOCABULARY)
    again = open_vocabulary(tmp_path)
    assert (again.special_ids, len(again), again.audio) == (VOCABULARY.special_ids, len(VOCABULARY), VOCABULARY.audio)
    assert again.ids("the boat <|im_start|>") == VOCABULARY.ids("the boat <|im_start|>")


def test_other_readers_of_the_file_find_the_same_ids(tmp_path: Path) -> None:
    write_vocabulary(tmp_path, VOCABULARY)
    theirs = Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    assert theirs.token_to_id("<|audio_3|>") == VOCABULARY.audio_ids([3])[0]
    assert {name: theirs.token_to_id(name) for name in VOCABULARY.special_ids} == VOCABULARY.special_ids
    assert theirs.encode("the boat").ids == VOCABULARY.ids("the boat")


def test_without_a_file_or_with_the_published_one_text_is_qwen_s(tmp_path: Path) -> None:
    assert read_merges(tmp_path) is None
    large = QwenTokenizer().bpe
    model = {"vocab": large.get_vocab(), "merges": []}
    (tmp_path / "tokenizer.json").write_text(json.dumps({"model": model}), encoding="utf-8")
    assert read_merges(tmp_path) is None


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ({"type": "WordLevel"}, "holds no byte-pair encoding"),
        ({"vocab": {"a": 0}, "merges": []}, "not bytes and then what"),
        ({"vocab": {"a": 0}, "merges": [["x"]]}, "merges that cannot be"),
        ({"vocab": {"a": 0}, "merges": [["qq", "zz"]]}, "merges that cannot be"),
    ],
)
def test_a_file_of_another_kind_is_refused(model: object, message: str, tmp_path: Path) -> None:
    (tmp_path / "tokenizer.json").write_text(json.dumps({"model": model}), encoding="utf-8")
    with pytest.raises(CheckpointError, match=message):
        read_merges(tmp_path)


@pytest.mark.parametrize("values", [{"audio_tokenizer_type": "toy"}, {"audio_tokenizer_type": 3}])
def test_a_stated_audio_tokenizer_needs_a_name_and_its_codes(values: dict[str, object], tmp_path: Path) -> None:
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(values), encoding="utf-8")
    with pytest.raises(ConfigError, match="must be a name"):
        open_vocabulary(tmp_path)


@pytest.mark.parametrize(
    ("kind", "name"), [("qwen2_mtp", "glm4voice"), ("qwen2_mtp_sensevoice", "sensevoice_glm4voice")]
)
def test_published_models_speak_as_their_kind_does_unless_they_are_named(kind: str, name: str, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"model_type": kind}), encoding="utf-8")
    assert open_vocabulary(tmp_path).audio.name == name
    assert open_vocabulary(tmp_path, "snac24khz").audio.name == "snac24khz"
