"""`loquor convert embedded ./base --alphabet fa`: the same voice, which now has the letters of Persian to learn."""

import shutil
from pathlib import Path

import numpy as np
from safetensors.torch import load_file

from loquor.audio.io import read
from loquor.configs import read_json
from loquor.models import EMBEDDED
from loquor.text.alphabets import ALPHABETS

EMBEDDING = "model.language_model.embed_tokens.weight"


def test_it_speaks_as_before_and_has_a_row_for_each_letter(loquor):
    assert loquor("convert", "embedded", "base", "--alphabet", "fa").code == 0
    before, after = load_file(EMBEDDED / "model.safetensors"), load_file("base/model.safetensors")
    count = len(before[EMBEDDING])
    assert after[EMBEDDING][:count].equal(before[EMBEDDING])
    assert len(after[EMBEDDING]) == count + len(ALPHABETS["fa"].letters)
    assert read_json(Path("base", "config.json"))["decoder_config"]["vocab_size"] == len(after[EMBEDDING])
    for name, options in (("new.wav", ["-m", "base"]), ("old.wav", [])):
        assert loquor("speak", "Good morning.", "-o", name, *options).code == 0
    assert np.array_equal(*(read(Path(name), 24_000) for name in ("new.wav", "old.wav")))
    assert loquor("speak", "سلام", "-m", "base", "-o", "persian.wav").code == 0


def test_letters_are_given_once_and_only_those_there_are(loquor):
    assert "no alphabet for 'xx'" in loquor("convert", "embedded", "base", "--alphabet", "xx").err
    assert loquor("convert", "embedded", "base", "--alphabet", "fa").code == 0
    assert "has the letters of 'fa' already" in loquor("convert", "base", "again", "--alphabet", "fa").err


def test_a_model_that_reads_no_phonemes_is_refused(loquor, toy_folder):
    shutil.copytree(toy_folder, "qwen", ignore=shutil.ignore_patterns("tokenizer.json"))
    done = loquor("convert", "qwen", "base", "--alphabet", "fa")
    assert done.code == 1 and "does not read phonemes" in done.err
