"""`loquor quantise` and `loquor base`: what VITA-Audio's training begins with, made on one machine."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile

from loquor.models.vita.vocabulary import open_vocabulary

TURNS = [("user", "Convert the speech to text.\n<|audio|>"), ("assistant", "The red book.")]
SMALL = ("--pieces", 270, "--hidden", 16, "--layers", 2, "--heads", 2, "--context", 128)
QUICK = ("optimiser.steps=2", "batch.length=96", "batch.accumulation=1", "batch.checkpointing=false")


@pytest.fixture
def talks(tmp_path):
    """Six recordings of two seconds that are written down."""
    draws, lines = np.random.default_rng(0), []
    for i in range(6):
        soundfile.write(tmp_path / f"{i}.wav", 0.1 * draws.standard_normal(48_000), 24_000)
        messages = [{"role": role, "content": content} for role, content in TURNS]
        lines.append(json.dumps({"messages": messages, "audios": [f"{i}.wav"]}))
    path = tmp_path / "talks.jsonl"
    path.write_text("\n".join(lines))
    return path


def test_from_a_codec_and_conversations_to_a_model_that_trains(loquor, toy_folder, talks):
    facts = loquor("quantise", "ids", "--data", talks, "-m", toy_folder, "--entries", 8, "--json").json
    assert {key: facts[key] for key in ("folder", "ids", "ids_per_s", "frames")} == {
        "folder": "ids",
        "ids": 16,
        "ids_per_s": 15.0,
        "frames": 6 * 15,
    }
    assert 0 < facts["variance_lost"] < 1

    made = loquor("base", "small", "--data", talks, "--audio", "ids", *SMALL, "--json").json
    vocabulary = open_vocabulary(Path("small"))
    assert made == {"folder": "small", "text": 270, "audio": 16, "ids": len(vocabulary)}
    assert len(vocabulary) == vocabulary.first_audio + 16

    done = loquor(
        "train", "vita-alignment", "model=small", f"data={talks}", "out=run", "audio.folder=ids", *QUICK, "--json"
    ).json
    assert done["conversations"]["skipped"] == {}
    assert open_vocabulary(Path("run/model")).audio.name == facts["name"]


def test_the_same_command_gives_the_same_bytes(loquor, toy_folder, talks):
    def made(out, *options):
        assert loquor("quantise", out, "--data", talks, "-m", toy_folder, "--entries", 8, *options).code == 0
        base = loquor("base", f"{out}-base", "--data", talks, "--audio", out, *SMALL, *options)
        assert base.code == 0, base.err
        return [(Path(folder) / "model.safetensors").read_bytes() for folder in (out, f"{out}-base")]

    first, again, other = made("one"), made("two"), made("three", "--seed", 1)
    assert first == again
    assert first[0] != other[0]
    assert first[1] != other[1]


def test_what_was_made_is_told_in_a_line(loquor, toy_folder, talks):
    told = loquor("quantise", "ids", "--data", talks, "-m", toy_folder, "--books", 1, "--entries", 8)
    assert told.text.startswith("ids: 8 ids, 7.5 a second; of 90 frames ")
    assert loquor("base", "small", "--data", talks, "--audio", "glm4voice", *SMALL).text == (
        "small: 270 pieces of text, 16384 ids of glm4voice\n"
    )


def test_ids_of_other_codebooks_stop_a_training(loquor, toy_folder, talks):
    for name, seed in (("ids", 0), ("others", 1)):
        loquor("quantise", name, "--data", talks, "-m", toy_folder, "--entries", 8, "--seed", seed)
    loquor("base", "small", "--data", talks, "--audio", "ids", *SMALL)
    done = loquor("train", "vita-alignment", "model=small", f"data={talks}", "out=run", "audio.folder=others", *QUICK)
    assert done.code == 1
    assert "wanted are those of 'quantised-" in done.err


def test_mistakes_are_named(loquor, toy_folder, talks):
    assert "no audio tokenizer" in loquor("base", "small", "--data", talks, "--audio", "mp3", *SMALL).err
    assert "3 heads cannot share" in loquor("base", "small", "--data", talks, "--audio", "glm4voice", "--heads", 3).err
    assert "is no quantised codec" in loquor("base", "small", "--data", talks, "--audio", toy_folder).err
    few = loquor("quantise", "ids", "--data", talks, "-m", toy_folder, "--entries", 91)
    assert (few.code, "too few for books of 91 entries" in few.err) == (1, True)
