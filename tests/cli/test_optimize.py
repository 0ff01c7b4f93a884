"""`loquor optimize`, `--backend`: made once, found again, made anew where damaged, refused where too far from torch."""

import logging
from pathlib import Path

import pytest
import torch

from loquor.engine.backend import Choice
from loquor.engine.load import load
from loquor.errors import CheckpointError, ConfigError
from toy import write_toy
from toy_longform import write_toy as write_longform

pytest.importorskip("openvino", reason="the fast extra is not installed")

from loquor.backends.openvino import optimised, place


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("LOQUOR_CACHE", str(tmp_path / "cache"))
    threads = torch.get_num_threads()  # the backend sets one, for the process
    yield tmp_path / "cache" / "openvino"
    torch.set_num_threads(threads)


@pytest.fixture
def folder(tmp_path):
    return write_toy(tmp_path / "toy")


def made(cache: Path) -> list[Path]:
    return sorted(cache.glob("*.safetensors"))


def test_a_model_is_made_ready_once_and_then_used(loquor, folder, cache, caplog):
    caplog.set_level(logging.INFO, "loquor")
    report = loquor("optimize", folder, "--json").json
    assert made(cache) == [Path(report["file"])]
    assert report["bytes"] == Path(report["file"]).stat().st_size
    assert max(report["errors"].values()) < optimised.BOUND
    first = made(cache)[0].stat()

    assert load(folder).backend.is_pipelined in (True, False)  # it has no torch model behind it
    assert "backend openvino, eight bits: this model has been optimised" in caplog.text
    assert loquor("speak", "Hello.", "-m", folder, "-o", folder / "x.wav", "--backend", "openvino").code == 0
    assert made(cache)[0].stat().st_mtime_ns == first.st_mtime_ns


def test_the_embedded_voice_takes_less_than_a_third_of_its_bytes_in_float32(loquor):
    report = loquor("optimize", "--json").json
    assert report["bytes"] < report["float32_bytes"] / 3


def test_asked_for_it_is_made_on_first_use_and_tells_how_far_it_is(folder, cache):
    heard = []
    load(folder, backend=Choice("openvino", lambda done, total: heard.append((done, total))))
    assert len(made(cache)) == 1
    assert [done for done, _ in heard] == sorted(done for done, _ in heard)
    assert heard[-1][0] > 0.9 * heard[-1][1]


@pytest.mark.parametrize("damage", ["cut short", "other numbers"])
def test_a_damaged_file_is_made_again(folder, cache, damage, caplog):
    load(folder, backend="openvino")
    path = made(cache)[0]
    whole = path.read_bytes()
    path.write_bytes(
        whole[:-100] if damage == "cut short" else whole[: len(whole) // 3] + b"\x7f" * (2 * len(whole) // 3)
    )
    load(folder)
    assert path.read_bytes() == whole
    assert "the optimised model is made again" in caplog.text


def test_a_model_that_eight_bits_are_too_few_for_is_refused_with_figures(folder, cache, monkeypatch):
    monkeypatch.setattr(optimised, "BOUND", 1e-9)
    with pytest.raises(CheckpointError, match=r"errors relative to torch are read 0\.000, draw .*at most 1e-09 is"):
        load(folder, backend="openvino")
    assert made(cache) == []


def test_where_it_is_refused_the_automatic_choice_is_torch(folder, monkeypatch, caplog):
    load(folder, backend="openvino")
    monkeypatch.setattr(optimised, "BOUND", 1e-9)
    speaker = load(folder)
    assert speaker.model is speaker.backend
    assert "backend torch: " in caplog.text


def test_another_model_in_the_same_folder_has_another_file(folder, cache):
    before = place.place_of(folder)
    assert place.place_of(folder) == before
    write_toy(folder, end_bias=-3.0)
    assert place.place_of(folder) != before


@pytest.mark.parametrize(
    ("wanted", "reason"),
    [
        ({}, "this model has not been optimised (loquor optimize)"),
        ({"backend": "torch"}, "as asked"),
        ({"dtype": "bfloat16"}, "as asked"),
    ],
    ids=str,
)
def test_the_log_says_which_backend_it_is_and_why(folder, wanted, reason, caplog):
    caplog.set_level(logging.INFO, "loquor")
    load(folder, **wanted)
    assert f"backend torch: {reason}" in caplog.messages


def test_without_openvino_it_is_torch(folder, monkeypatch, caplog):
    caplog.set_level(logging.INFO, "loquor")
    monkeypatch.setattr("loquor.engine.backend.find_spec", lambda name: None)
    load(folder)
    assert "backend torch: OpenVINO is not installed (pip install 'loquor[fast]')" in caplog.messages


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        ({"backend": "onnx"}, "backend 'onnx' is unknown"),
        ({"backend": "openvino", "dtype": "bfloat16"}, "it computes in eight bits, not in bfloat16"),
    ],
    ids=str,
)
def test_what_does_not_go_together_is_an_error(folder, wanted, message):
    with pytest.raises(ConfigError, match=message):
        load(folder, **wanted)


def test_models_of_other_families_run_on_torch_only(tmp_path, loquor):
    folder = write_longform(tmp_path / "long")
    with pytest.raises(ConfigError, match="which runs on torch only"):
        load(folder, backend="openvino")
    done = loquor("optimize", folder)
    assert (done.code, "which runs on torch only" in done.err) == (1, True)


def test_the_torch_model_is_loaded_when_a_voice_is_made(folder):
    speaker = load(folder, backend="openvino")
    speech = speaker.speak("Hello there.", steps=1)
    voice = speaker.freeze(speech, "Mine", consent="me")
    assert speaker.model is not speaker.backend
    assert speaker.speak("Hello.", voice, steps=1).latents.shape[1] == speaker.config.latent_size


def test_a_cache_can_be_read_by_others_and_need_not_be_written(folder, cache, monkeypatch):
    load(folder, backend="openvino")
    assert made(cache)[0].stat().st_mode & 0o044 == 0o044

    def refuse(*_):
        raise CheckpointError("read-only")

    (place.cache_folder() / "hashes.json").unlink()
    monkeypatch.setattr(place, "write_text", refuse)
    load(folder, backend="openvino")
    assert len(made(cache)) == 1, "found again"


@pytest.mark.parametrize("name", ["extra.safetensors", "model.safetensors.index.json"])
def test_any_file_of_weights_that_changes_makes_it_another_model(folder, name):
    before = place.place_of(folder)
    (folder / name).write_bytes(b"{}")
    assert place.place_of(folder) != before
