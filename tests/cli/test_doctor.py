"""`loquor doctor`: sound things pass, broken ones are found and named."""

import json
import shutil
import tomllib
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from loquor import Voice
from loquor.cli.conversion import convert
from loquor.cli.machine_checks import OPTIONAL, machine_checks
from loquor.models.packaged import Package
from loquor.voices.recording import RecordedVoice
from toy_longform import toy_waveform
from toy_longform import write_toy as write_longform

PYPROJECT = Path(__file__).resolve().parents[2] / "pyproject.toml"


@pytest.fixture
def broken(toy_folder, tmp_path):
    """A model folder to break."""
    return shutil.copytree(toy_folder, tmp_path / "broken")


def rewrite(folder, change):
    file = folder / "model.safetensors"
    tensors = load_file(file)
    change(tensors)
    save_file(tensors, file, metadata={"format": "pt"})


def verdicts(done):
    return {check["name"]: check["verdict"] for check in done.json}


def test_a_sound_model_passes(loquor, toy_folder):
    done = loquor("doctor", "-m", toy_folder)
    assert done.code == 0
    *lines, last = done.text.splitlines()
    assert last.endswith(", 0 failed")
    names = [line[6:].split("  ")[0] for line in lines if not line.startswith(" ")]
    assert names[:3] == ["python", "torch", "processor"]
    assert names[-2:] == ["voice Toy", "voice en-Ada_woman"]
    assert "\x1b" not in done.text


def test_every_check_has_a_name_a_verdict_and_advice_where_needed(loquor, toy_folder):
    checks = loquor("doctor", "-m", toy_folder, "--json").json
    assert all(check.keys() == {"name", "verdict", "detail", "advice"} for check in checks)
    assert {check["verdict"] for check in checks} <= {"ok", "warn"}
    assert all(check["advice"] for check in checks if check["verdict"] == "warn")


def drop_tensor(folder):
    rewrite(folder, lambda tensors: tensors.pop("model.tts_input_types.weight"))


def cut_file(folder):
    with (folder / "model.safetensors").open("r+b") as file:
        file.truncate(1000)


def poison_weights(folder):
    rewrite(folder, lambda tensors: tensors["model.acoustic_connector.fc1.weight"][0].fill_(torch.nan))


def lose_scale(folder):
    rewrite(folder, lambda tensors: tensors["model.speech_scaling_factor"].fill_(torch.nan))


def lose_tokenizer(folder):
    (folder / "tokenizer.json").unlink()


def change_rate(folder):
    (folder / "preprocessor_config.json").write_text(json.dumps({"audio_processor": {"sampling_rate": 16_000}}))


def misname_default(folder):
    (folder / "loquor.json").write_text(json.dumps({"voice": "Nobody"}))


def misspell_default(folder):
    (folder / "loquor.json").write_text(json.dumps({"guidence": 2}))


def mistype_default(folder):
    (folder / "loquor.json").write_text(json.dumps({"guidance": "high"}))


def tear_voice(folder):
    (folder / "voices" / "Toy.safetensors").write_bytes(b"torn")


def poison_voice(folder):
    file = folder / "voices" / "Toy.safetensors"
    voice = Voice.open(file)
    voice.tensors["lm.key.0"].fill_(torch.inf)
    voice.save(file)


@pytest.mark.parametrize(
    ("harm", "name"),
    [
        (drop_tensor, "files"),
        (cut_file, "files"),
        (poison_weights, "weights"),
        (lose_scale, "latent scale"),
        (lose_tokenizer, "tokenizer"),
        (change_rate, "sample rate"),
        (misname_default, "defaults"),
        (misspell_default, "defaults"),
        (mistype_default, "defaults"),
        (tear_voice, "voice Toy"),
        (poison_voice, "voice Toy"),
    ],
    ids=lambda value: value if isinstance(value, str) else value.__name__,
)
def test_what_would_break_speech_fails(loquor, broken, harm, name):
    harm(broken)
    done = loquor("doctor", "-m", broken, "--json")
    assert done.code == 1
    assert [check for check, verdict in verdicts(done).items() if verdict == "fail"] == [name]


def leave_pickle(folder):
    (folder / "pytorch_model.bin").write_bytes(b"")


def leave_adapter(folder):
    (folder / "adapter_config.json").write_text("{}")


def drop_encoder(folder):
    mine = [f"model.acoustic_tokenizer.encoder.{part}" for part in ("",)]
    rewrite(folder, lambda tensors: [tensors.pop(name) for name in [*tensors] if name.startswith(tuple(mine))])


def forget_training(folder):
    rewrite(folder, lambda tensors: tensors["model.prediction_head.final_layer.linear.weight"].zero_())


def lose_voices(folder):
    shutil.rmtree(folder / "voices")
    (folder / "loquor.json").unlink()


@pytest.mark.parametrize(
    ("harm", "name"),
    [
        (leave_pickle, "pickles"),
        (leave_adapter, "adapters"),
        (drop_encoder, "encoder"),
        (forget_training, "weights"),
        (lose_voices, "voices"),
    ],
    ids=lambda value: value if isinstance(value, str) else value.__name__,
)
def test_what_would_surprise_is_a_warning(loquor, broken, harm, name):
    before = verdicts(loquor("doctor", "-m", broken, "--json"))
    harm(broken)
    done = loquor("doctor", "-m", broken, "--json")
    assert done.code == 0
    assert (before.get(name, "ok"), verdicts(done)[name]) == ("ok", "warn")


def test_instruments_that_are_missing_are_named_with_the_line_that_installs_them(loquor, toy_folder, monkeypatch):
    monkeypatch.setattr("loquor.evaluation.mos.PACKAGE", Package("speechmos", "not_there", "the predictor"))
    checks = {check["name"]: check for check in loquor("doctor", "-m", toy_folder, "--json").json}
    assert "speechmos" not in checks["instruments"]["detail"] and "silero-vad" in checks["instruments"]["detail"]
    assert "speechmos==" in checks["instruments"]["advice"]


def test_what_is_optional_is_named_with_the_extra_that_installs_it(monkeypatch):
    extras = tomllib.loads(PYPROJECT.read_text(encoding="utf-8"))["project"]["optional-dependencies"]
    assert {name for extra, _ in OPTIONAL.values() for name in extra.split(",")} <= extras.keys()
    monkeypatch.setitem(OPTIONAL, "server", ("serve", ("uvicorn", "not_there", "gone")))
    server = next(check for check in machine_checks() if check.name == "server")
    assert (server.verdict, server.detail) == ("ok", "lacks not_there, gone")
    assert server.advice == "if you want it: pip install 'loquor[serve]'"


def test_a_missing_model_fails(loquor, tmp_path):
    done = loquor("doctor", "-m", tmp_path / "gone", "--json")
    assert (done.code, verdicts(done)["model"]) == (1, "fail")


def test_threads_that_wait_for_each_other_are_seen(loquor, toy_folder, monkeypatch):
    monkeypatch.setattr(torch, "get_num_threads", lambda: 4096)
    done = loquor("doctor", "-m", toy_folder, "--json")
    assert (done.code, verdicts(done)["torch"]) == (0, "warn")


@pytest.fixture(params=["original", "hf"])
def longform(request, tmp_path):
    """A long-form model folder in either layout, to break."""
    folder = write_longform(tmp_path / "original")
    if request.param == "original":
        return folder
    convert(folder, tmp_path / "hf", None, 10**9, layout="hf")
    return tmp_path / "hf"


def save_recording(folder):
    folder.mkdir(parents=True, exist_ok=True)
    voice = RecordedVoice(name="ada", created="2026-11-21", waveform=toy_waveform(3.0))
    voice.save(folder / "ada.safetensors")


def test_a_sound_long_form_model_passes(loquor, longform):
    done = loquor("doctor", "-m", longform, "--json")
    details = {check["name"]: check["detail"] for check in done.json}
    assert done.code == 0
    assert details["files"].startswith("VibeVoice long-form, ")
    assert details["latent scale"] == "(latent + 0.1) * 0.8"
    assert verdicts(done)["encoder"] == verdicts(done)["tokenizer"] == verdicts(done)["voices"] == "ok"


@pytest.mark.parametrize(
    ("harm", "name"),
    [
        (lambda t: t.update(stranger=torch.ones(1)), "files"),
        (lambda t: [t[name].fill_(torch.nan) for name in t if name.endswith("scaling_factor")], "latent scale"),
        (lambda t: [t[name].fill_(torch.inf) for name in t if name.endswith("_head.cond_proj.weight")], "weights"),
    ],
    ids=["files", "latent scale", "weights"],
)
def test_what_would_break_a_long_form_model_is_found(loquor, longform, harm, name):
    rewrite(longform, harm)
    done = loquor("doctor", "-m", longform, "--json")
    assert done.code == 1
    assert [check for check, verdict in verdicts(done).items() if verdict == "fail"] == [name]


def test_a_voice_for_the_other_family_is_seen(loquor, longform, toy_folder, own_voices):
    save_recording(own_voices)
    shutil.copy(toy_folder / "voices" / "Toy.safetensors", own_voices / "mine.safetensors")
    realtime = loquor("doctor", "-m", toy_folder, "--json")
    assert (realtime.code, verdicts(realtime)["voice ada"], verdicts(realtime)["voice mine"]) == (0, "warn", "ok")
    done = loquor("doctor", "-m", longform, "--json")
    assert (done.code, verdicts(done)["voice ada"], verdicts(done)["voice mine"]) == (0, "ok", "warn")
    assert next(check["detail"] for check in done.json if check["name"] == "voice ada") == "3.0 s of speech"


def test_a_sample_rate_is_found_where_transformers_writes_it(loquor, longform):
    (longform / "preprocessor_config.json").write_text(json.dumps({"sampling_rate": 16_000}))
    assert verdicts(loquor("doctor", "-m", longform, "--json"))["sample rate"] == "fail"
