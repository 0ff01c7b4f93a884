"""`loquor distil`: a model that could only speak learns to listen."""

import re

import pytest

from cli.conftest import toy_without_encoder
from training.recordings import write_pairs

QUICK = ("--takes", 3, "--steps", 2)


@pytest.fixture
def deaf(tmp_path):
    """A toy as the released Realtime checkpoints are; it says some seconds."""
    return toy_without_encoder(tmp_path / "deaf", end_bias=-6.0)


def test_a_model_with_its_new_encoder_makes_voices_and_prepares_data(loquor, deaf, audio, bare, tmp_path):
    done = loquor("distil", deaf, "run", *QUICK, "--recordings", audio)
    assert done.code == 0, done.err
    lines = done.text.splitlines()
    assert lines[0] == "run/model"
    names = ["latent error", "correlation", "mel distance", "mel distance of recordings"]
    assert [re.fullmatch(r"([a-z ]+): -?\d+\.\d{3}", line)[1] for line in lines[1:]] == names
    voice = ("--audio", audio, "--text", "Hello there.", "--consent", "Ada agreed")
    created = loquor("voices", "create", "ada", "--for", "realtime", "-m", "run/model", *voice)
    assert created.code == 0, created.err
    assert loquor("speak", "Good morning.", "-m", "run/model", "--voice", "ada").code == 0
    pairs = write_pairs(tmp_path / "pairs", 3)
    assert loquor("data", "prepare", pairs, "prepared", "--model", "run/model", "--language", "en").code == 0
    refused = loquor("data", "prepare", pairs, "other", "--model", deaf, "--language", "en")
    assert refused.err.rstrip().endswith(
        f"hint: released Realtime models come without: loquor distil {deaf} OUT trains one"
    )


def test_repeated_it_says_nothing_new_and_gives_the_same_figures(loquor, deaf, tmp_path):
    first = loquor("distil", deaf, "run", *QUICK, "--json")
    takes = sorted((tmp_path / "work" / "run" / "takes").iterdir())
    written = [path.stat().st_mtime_ns for path in takes]
    again = loquor("distil", deaf, "run", *QUICK, "--json")
    assert len(takes) == 3
    assert first.json == again.json
    assert first.json.keys() == {"model", "latent_error", "correlation", "mel_distance"}
    assert [path.stat().st_mtime_ns for path in takes] == written
    other = loquor("distil", deaf, "run", "--takes", 4, "--steps", 2)
    assert other.err.startswith("error: run holds another run: it differs in texts\nhint: ")


def test_own_sentences_are_said_over_and_over(loquor, deaf, tmp_path):
    (tmp_path / "texts.txt").write_text("Hello there, and good morning.\n\nIt is late.\n", encoding="utf-8")
    assert loquor("distil", deaf, "run", *QUICK, "--texts", tmp_path / "texts.txt").code == 0
    assert len(list((tmp_path / "work" / "run" / "takes").iterdir())) == 3


def test_what_cannot_be_learned_from_is_refused(loquor, deaf, toy_folder, tmp_path):
    assert "has an encoder already" in loquor("distil", toy_folder, "run", *QUICK).err
    (tmp_path / "texts.txt").write_text("\n\n", encoding="utf-8")
    nothing = loquor("distil", deaf, "run", "--texts", tmp_path / "texts.txt")
    assert (nothing.code, nothing.err.splitlines()[0]) == (1, f"error: {tmp_path / 'texts.txt'} holds no sentence")
    assert loquor("distil", deaf, "run", "--takes", 1).code == 2
    assert not (tmp_path / "work" / "run").exists()
