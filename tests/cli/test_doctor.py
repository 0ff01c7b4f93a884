"""`loquor doctor`: sound things pass, broken ones are found and named."""

import json
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file

from loquor import Voice


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


def test_a_missing_model_fails(loquor, tmp_path):
    done = loquor("doctor", "-m", tmp_path / "gone", "--json")
    assert (done.code, verdicts(done)["model"]) == (1, "fail")


def test_threads_that_wait_for_each_other_are_seen(loquor, toy_folder, monkeypatch):
    monkeypatch.setattr(torch, "get_num_threads", lambda: 4096)
    done = loquor("doctor", "-m", toy_folder, "--json")
    assert (done.code, verdicts(done)["torch"]) == (0, "warn")
