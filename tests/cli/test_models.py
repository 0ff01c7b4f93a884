"""`loquor inspect` and `convert`: a model's insides, and its way out into another folder."""

import json
import shutil

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from loquor.cli.conversion import convert
from loquor.models.longform.checkpoint import load_longform
from loquor.models.realtime.checkpoint import load_realtime
from toy_longform import write_toy as write_longform


@pytest.fixture(scope="module")
def longform(tmp_path_factory):
    """A long-form model in each layout, by the layout's name."""
    folders = {layout: tmp_path_factory.mktemp("longform") / layout for layout in ("original", "hf")}
    write_longform(folders["original"])
    convert(folders["original"], folders["hf"], None, 10**9, layout="hf")
    return folders


@pytest.fixture
def copied(toy_folder, tmp_path):
    """A model folder to break."""
    return shutil.copytree(toy_folder, tmp_path / "copied")


def tensors_of(folder):
    return {
        name: tensor for file in sorted(folder.glob("model*.safetensors")) for name, tensor in load_file(file).items()
    }


def rewrite(folder, change):
    tensors = tensors_of(folder)
    change(tensors)
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})


def test_the_tree_adds_up(loquor, toy_folder):
    facts = loquor("inspect", toy_folder, "--depth", "9", "--json").json
    rows = {row["name"]: row for row in facts["modules"]}
    model = load_realtime(toy_folder)
    assert facts["family"] == "VibeVoice Realtime"
    assert rows[""]["parameters"] == sum(p.numel() for p in model.parameters())
    assert rows[""]["bytes"] == sum(t.nbytes for t in model.state_dict().values())
    for name, module in model.named_modules():
        if name in rows:
            assert rows[name]["parameters"] == sum(p.numel() for p in module.parameters())
    children = [row for name, row in rows.items() if name and "." not in name]
    assert sum(row["parameters"] for row in children) == rows[""]["parameters"]
    assert {row["dtype"] for row in rows.values()} == {"float32"}


def lora_numbers(model, rank=8):
    """Thin matrices beside every linear layer of speech model and head, as published: q, k, v, gate, up apart."""
    text = model.config.speech
    kv = text.num_key_value_heads * text.width
    pieces = {"qkv": [text.hidden_size, kv, kv], "gate_up": None}
    total = 0
    for part in (model.speech_model, model.head):
        for name, layer in part.named_modules():
            if isinstance(layer, torch.nn.Linear):
                kind = name.rpartition(".")[2]
                rows = pieces["qkv"] if kind == "qkv" else [layer.out_features]
                rows = [layer.out_features // 2] * 2 if kind == "gate_up" else rows
                total += sum(rank * (r + layer.in_features) for r in rows)
    return total


def test_a_strategy_trains_what_it_says(loquor, toy_folder):
    def trained(strategy):
        rows = loquor("inspect", toy_folder, "--freeze", strategy, "--depth", "1", "--json").json["modules"]
        return {row["name"]: row["trained"] for row in rows}

    model = load_realtime(toy_folder)
    size = {name: sum(p.numel() for p in module.parameters()) for name, module in model.named_children()}
    frozen_parts = {"none": [], "full": ["codec"], "conservative": ["codec", "text_model", "embedding"]}
    for strategy, frozen in frozen_parts.items():
        expected = {name: 0 if name in frozen else count for name, count in size.items()}
        assert trained(strategy) == expected | {"": sum(expected.values())}
    lora = trained("lora")
    assert lora["speech_model"] + lora["head"] == lora_numbers(model)
    assert (lora["connector"], lora["end_classifier"]) == (size["connector"], size["end_classifier"])
    assert lora[""] == sum(count for name, count in lora.items() if name)
    assert [lora[name] for name in ("codec", "text_model", "embedding", "types", "latent_scale")] == [0] * 5


def test_the_table_is_for_people(loquor, toy_folder):
    done = loquor("inspect", toy_folder, "--freeze", "lora", "--depth", "1")
    title, header, whole, *parts, last = done.text.splitlines()
    assert title == f"{toy_folder} (VibeVoice Realtime)"
    assert header.split() == ["module", "parameters", "bytes", "dtype", "trained"]
    assert whole.startswith("model ")
    assert [line.split()[0] for line in parts[:3]] == ["embedding", "text_model", "speech_model"]
    assert last.startswith("LoRA of rank 8 on ")
    assert "\x1b" not in done.text


def test_inspecting_reads_no_weights(loquor, copied):
    file = copied / "model.safetensors"
    with safe_open(file, "pt") as opened:
        count = len(list(opened.keys()))
    with file.open("r+b") as data:  # a sound header over a hole
        head = 8 + int.from_bytes(data.read(8), "little")
        size = data.seek(0, 2)
        data.truncate(head)
        data.truncate(size)
    done = loquor("inspect", copied, "--depth", "0")
    assert done.code == 0 and count > 0


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (["nowhere"], "there is no model folder nowhere"),
        (["./no/where"], "there is no model folder no/where"),
        (["{file}"], "{file} is a file, not a model folder"),
        (["."], "config.json does not exist"),
    ],
)
def test_what_is_no_model_is_an_error(loquor, toy_folder, arguments, error):
    file = toy_folder / "config.json"
    done = loquor("inspect", *(a.format(file=file) for a in arguments))
    assert done.code == 1
    assert done.err.startswith(f"error: {error.format(file=file)}")


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("llama", "model_type 'llama' is not supported"),
        (None, "model_type None is not supported"),
    ],
)
def test_another_family_is_an_error_that_names_what_is_supported(loquor, copied, kind, words):
    (copied / "config.json").write_text(json.dumps({"model_type": kind}))
    for command in (["inspect"], ["speak", "Hello.", "-m"]):
        done = loquor(*command, copied)
        first, second = done.err.splitlines()
        assert (done.code, words in first) == (1, True)
        families = "vibevoice_streaming (VibeVoice Realtime), vibevoice (VibeVoice long-form)"
        supported = f"{families}, qwen2_mtp (VITA-Audio), qwen2_mtp_sensevoice (VITA-Audio)"
        assert second == f"hint: supported: {supported}"


def test_a_missing_tensor_is_named_by_every_command(loquor, copied, tmp_path):
    rewrite(copied, lambda tensors: tensors.pop("tts_eos_classifier.fc2.bias"))
    for arguments in (["inspect", copied], ["convert", copied, tmp_path / "out"], ["speak", "Hi.", "-m", copied]):
        done = loquor(*arguments)
        assert (done.code, "1 missing tensor: tts_eos_classifier.fc2.bias" in done.err) == (1, True)
    assert not (tmp_path / "out").exists()


def test_conversion_keeps_every_byte(loquor, toy_folder, tmp_path):
    done = loquor("convert", toy_folder, tmp_path / "out")
    assert done.code == 0
    old, new = tensors_of(toy_folder), tensors_of(tmp_path / "out")
    assert old.keys() == new.keys()
    assert all(old[name].dtype == new[name].dtype and torch.equal(old[name], new[name]) for name in old)
    for name in ("config.json", "tokenizer.json", "loquor.json"):
        assert json.loads((tmp_path / "out" / name).read_text()) == json.loads((toy_folder / name).read_text())
    assert [line.rpartition("/")[2] for line in done.text.splitlines()].count("model.safetensors") == 1
    assert sorted(tmp_path.glob(".*")) == []
    assert loquor("speak", "Hello.", "-m", tmp_path / "out").code == 0


def test_what_lies_beside_the_weights_comes_along(loquor, copied, tmp_path):
    for name in ("README.md", "LICENSE.txt", "am.mvn"):
        (copied / name).write_text(f"our {name}")
    (copied / "letter.txt").write_text("mine")
    assert loquor("convert", copied, tmp_path / "out").code == 0
    beside = {str(file.relative_to(copied)): file.read_bytes() for file in copied.rglob("*") if file.is_file()}
    for name in ("letter.txt", "config.json", "model.safetensors"):
        del beside[name]
    assert all((tmp_path / "out" / name).read_bytes() == text for name, text in beside.items())
    assert "voices/Toy.safetensors" in beside and not (tmp_path / "out" / "letter.txt").exists()


def test_conversion_casts_and_cuts(loquor, copied, tmp_path):
    config = json.loads((copied / "config.json").read_text()) | {"torch_dtype": "float32"}
    (copied / "config.json").write_text(json.dumps(config))
    out = tmp_path / "out"
    assert loquor("convert", copied, out, "--dtype", "bfloat16", "--shard-size", "50kB").code == 0
    shards = sorted(out.glob("model-*-of-*.safetensors"))
    assert len(shards) > 1 and (out / "model.safetensors.index.json").exists()
    assert {tensor.dtype for tensor in tensors_of(out).values()} == {torch.bfloat16}
    assert json.loads((out / "config.json").read_text())["torch_dtype"] == "bfloat16"
    assert loquor("inspect", out, "--depth", "0", "--json").json["modules"][0]["dtype"] == "bfloat16"
    assert loquor("convert", out, out, "--force").code == 0  # onto itself, in one piece
    assert [file.name for file in out.glob("model*")] == ["model.safetensors"]


def test_a_number_too_large_for_the_dtype_is_an_error(loquor, copied, tmp_path):
    rewrite(copied, lambda tensors: tensors["model.tts_input_types.weight"].fill_(1e6))
    done = loquor("convert", copied, tmp_path / "out", "--dtype", "float16")
    assert (done.code, "types.weight is not finite as float16" in done.err) == (1, True)
    assert not (tmp_path / "out").exists()


def test_conversion_does_not_write_over_things(loquor, toy_folder, tmp_path):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "letter.txt").write_text("mine")
    done = loquor("convert", toy_folder, tmp_path / "full")
    assert (done.code, done.err.splitlines()[0]) == (1, f"error: {tmp_path / 'full'} is not empty")
    done = loquor("convert", toy_folder, tmp_path / "full" / "letter.txt")
    assert (done.code, done.err.splitlines()[0]) == (1, f"error: {tmp_path / 'full' / 'letter.txt'} is a file")
    assert loquor("convert", toy_folder, tmp_path / "full", "--force").code == 0
    assert (tmp_path / "full" / "letter.txt").read_text() == "mine"


@pytest.mark.parametrize("size", ["", "0", "much", "-1GB", "1 parsec"])
def test_a_shard_size_must_be_one(loquor, toy_folder, tmp_path, size):
    assert loquor("convert", toy_folder, tmp_path / "out", f"--shard-size={size}").code == 2


@pytest.mark.parametrize("layout", ["original", "hf"])
def test_a_long_form_model_is_shown_in_either_layout(loquor, longform, layout):
    facts = loquor("inspect", longform[layout], "--freeze", "lora", "--depth", "1", "--json").json
    model = load_longform(longform[layout])
    rows = {row["name"]: row for row in facts["modules"]}
    assert (facts["family"], facts["unread"]) == ("VibeVoice long-form", [])
    for name, module in model.named_children():
        assert rows[name]["parameters"] == sum(p.numel() for p in module.parameters())


def test_a_strategy_knows_the_parts_of_a_long_form_model(loquor, longform):
    def trained(strategy):
        rows = loquor("inspect", longform["hf"], "--freeze", strategy, "--depth", "1", "--json").json["modules"]
        return {row["name"]: row["trained"] == row["parameters"] for row in rows if row["trained"] and row["name"]}

    connectors, text = {"connector", "semantic_connector"}, {"language_model", "embedding", "token_head"}
    assert trained("none").keys() == {*connectors, *text, "head", "codec", "semantic_codec"}
    assert trained("full") == dict.fromkeys({*connectors, *text, "head"}, True)
    assert trained("conservative") == dict.fromkeys({*connectors, "head"}, True)
    assert trained("lora") == dict.fromkeys(connectors, True) | {"language_model": False, "head": False}


def test_conversion_goes_to_the_other_layout_and_back(loquor, longform, tmp_path):
    there, back = tmp_path / "there", tmp_path / "back"
    assert loquor("convert", longform["original"], there, "--layout", "hf").code == 0
    assert tensors_of(there).keys() == tensors_of(longform["hf"]).keys() != tensors_of(longform["original"]).keys()
    assert "text_config" in json.loads((there / "config.json").read_text())
    assert (there / "loquor.json").read_bytes() == (longform["original"] / "loquor.json").read_bytes()
    assert loquor("convert", there, back, "--layout", "original").code == 0
    old, new = tensors_of(longform["original"]), tensors_of(back)
    assert old.keys() == new.keys()
    assert all(torch.equal(old[name], new[name]) for name in old)


@pytest.mark.parametrize("layout", ["original", "hf"])
def test_without_a_word_conversion_keeps_the_layout(loquor, longform, tmp_path, layout):
    out = tmp_path / "out"
    assert loquor("convert", longform[layout], out, "--dtype", "bfloat16").code == 0
    assert tensors_of(out).keys() == tensors_of(longform[layout]).keys()
    assert loquor("convert", out, out, "--force", "--layout", "original").code == 0  # onto itself
    assert tensors_of(out).keys() == tensors_of(longform["original"]).keys()
    dtypes = {tensor.dtype for tensor in load_longform(out).state_dict().values()}
    assert dtypes == {torch.bfloat16}


def test_realtime_has_one_layout(loquor, toy_folder, tmp_path):
    done = loquor("convert", toy_folder, tmp_path / "out", "--layout", "hf")
    assert (done.code, done.err.splitlines()) == (
        1,
        ["error: there is no hf layout of VibeVoice Realtime models", "hint: there is: original"],
    )
    assert loquor("convert", toy_folder, tmp_path / "out", "--layout", "original").code == 0
    assert loquor("convert", toy_folder, tmp_path / "out", "--layout", "gguf").code == 2
