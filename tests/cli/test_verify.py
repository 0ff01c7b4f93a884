"""`loquor verify` from outside: the table, what machines get, and exit codes."""

import json
import shutil

import pytest
from safetensors.torch import load_file, save_file

import toy


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    return toy.write_toy(tmp_path_factory.mktemp("models") / "sound")


@pytest.fixture
def damaged(sound, tmp_path):
    """A model whose codec has a number that is none."""
    folder = tmp_path / "damaged"
    shutil.copytree(sound, folder)
    tensors = load_file(folder / "model.safetensors")
    tensors["model.acoustic_tokenizer.decoder.head.conv.conv.bias"][0] = float("nan")
    save_file(tensors, folder / "model.safetensors")
    return folder


def test_a_sound_model_gives_a_table_and_a_verdict(loquor, sound):
    done = loquor("verify", sound)
    assert done.code == 0, done.text
    header, *rows, verdict = done.text.splitlines()
    assert header.split()[:2] == ["verdict", "component"]
    assert any("codec.decoder" in row and "its formula in float64" in row for row in rows)
    assert "0 failed" in verdict


def test_a_damaged_model_fails_and_names_the_component(loquor, damaged):
    done = loquor("verify", damaged, "--problems")
    assert done.code == 1
    *rows, verdict = done.text.splitlines()
    assert "failed: codec.decoder" in verdict
    assert any(row.startswith("fail") and "has NaN or infinite numbers" in row for row in rows)
    assert not any(row.startswith("ok") for row in rows)


def test_json_tells_every_difference_and_tolerance(loquor, sound, damaged):
    done = loquor("verify", damaged, "--against", sound, "--json")
    assert done.code == 1
    checks = done.json["checks"]
    assert {"component", "what", "against", "verdict", "difference", "tolerance", "detail"} == set(checks[0])
    assert [c["component"] for c in checks if c["what"] == "same weights" and c["verdict"] == "fail"] == [
        "codec.decoder"
    ]
    assert json.dumps(done.json, allow_nan=False)


def test_what_is_no_model_is_an_error_in_two_lines(loquor, tmp_path):
    done = loquor("verify", tmp_path)
    assert done.code == 1
    assert done.err.startswith("error: ") and "config.json does not exist" in done.err
