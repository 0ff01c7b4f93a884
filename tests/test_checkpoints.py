"""Checkpoint folders: strict loading, one clear error for anything unsound, and writing whole or not at all."""

from __future__ import annotations

import json
import os
import resource
import runpy
import shutil
import struct
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from torch import Tensor

from loquor.checkpoints import INDEX, Files, save, write_text
from loquor.errors import CheckpointError, LoquorError
from loquor.models.realtime.checkpoint import UNREAD, export_realtime, load_realtime
from loquor.models.realtime.model import RealtimeModel
from toy import toy_config, toy_model

BENCHMARK = Path(__file__).resolve().parents[1] / "benchmarks" / "load_memory.py"
WEIGHTS = "model.safetensors"
Q, GATE = (
    "model.tts_language_model.layers.1.self_attn.q_proj.weight",
    "model.prediction_head.layers.0.ffn.gate_proj.weight",
)
CONV = "model.acoustic_tokenizer.decoder.head.conv.conv.weight"

unhurried = settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture(scope="module")
def model() -> RealtimeModel:
    return toy_model()


@pytest.fixture(scope="module")
def sound(model: RealtimeModel, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint folder; tests copy it before they break it."""
    folder = tmp_path_factory.mktemp("sound")
    export_realtime(model, folder)
    return folder


@pytest.fixture
def folder(sound: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(sound, tmp_path / "folder"))


def change_tensors(folder: Path, change: Callable[[dict[str, Tensor]], Any]) -> None:
    tensors = load_file(folder / WEIGHTS)
    change(tensors)
    save_file(tensors, folder / WEIGHTS)


def change_config(folder: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    config = json.loads((folder / "config.json").read_text())
    change(config)
    (folder / "config.json").write_text(json.dumps(config))


def assert_same(one: RealtimeModel, other: RealtimeModel) -> None:
    first, second = one.state_dict(), other.state_dict()
    assert first.keys() == second.keys()
    for name, tensor in first.items():
        assert torch.equal(tensor, second[name]), name


def refusal(folder: Path) -> LoquorError | None:
    """Why the folder cannot be loaded; whatever is no error of ours comes through."""
    try:
        load_realtime(folder)
    except LoquorError as error:
        return error
    return None


def files_in(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_model_that_was_exported_and_loaded_is_the_same(model: RealtimeModel, sound: Path) -> None:
    loaded = load_realtime(sound)
    assert_same(loaded, model)
    assert loaded.config == model.config
    assert not any(parameter.requires_grad for parameter in loaded.parameters())


@pytest.mark.parametrize("shard_bytes", [1, 5_000, 60_000])
def test_a_model_in_shards_is_the_model_in_one_file(model: RealtimeModel, tmp_path: Path, shard_bytes: int) -> None:
    export_realtime(model, tmp_path, shard_bytes=shard_bytes)
    assert (tmp_path / INDEX).exists()
    assert not (tmp_path / WEIGHTS).exists()
    assert_same(load_realtime(tmp_path), model)


def test_saving_over_shards_leaves_none_of_them(model: RealtimeModel, folder: Path) -> None:
    export_realtime(model, folder, shard_bytes=5_000)
    assert not (folder / WEIGHTS).exists()
    export_realtime(model, folder, shard_bytes=60_000)
    assert_same(load_realtime(folder), model)
    (folder / "notes.txt").write_text("mine")
    export_realtime(model, folder)
    assert set(files_in(folder)) == {WEIGHTS, "config.json", "notes.txt"}
    assert_same(load_realtime(folder), model)


def test_a_dtype_is_given_to_every_floating_tensor(sound: Path) -> None:
    loaded = load_realtime(sound, torch.bfloat16)
    assert {tensor.dtype for tensor in loaded.state_dict().values()} == {torch.bfloat16}


def test_a_file_without_encoder_makes_a_model_without_one(model: RealtimeModel, folder: Path) -> None:
    def drop(tensors: dict[str, Tensor]) -> None:
        for name in [name for name in tensors if name.startswith("model.acoustic_tokenizer.encoder.")]:
            del tensors[name]

    change_tensors(folder, drop)
    loaded = load_realtime(folder)
    assert loaded.codec.encoder is None
    kept = {name: tensor for name, tensor in model.state_dict().items() if not name.startswith("codec.encoder.")}
    assert loaded.state_dict().keys() == kept.keys()


def test_the_tensor_nobody_reads_goes_through_untouched(folder: Path, tmp_path: Path) -> None:
    unread = torch.arange(6.0).view(2, 3)
    change_tensors(folder, lambda t: t.update({UNREAD: unread}))
    export_realtime(load_realtime(folder), tmp_path / "out", source=folder)
    assert torch.equal(Files(tmp_path / "out")[UNREAD], unread)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.pop(Q), f"1 missing tensor: {Q}"),
        (lambda t: t.pop(CONV), f"1 missing tensor: {CONV}"),
        (lambda t: t.update(stranger=torch.ones(1)), "1 unexpected tensor: stranger"),
        (lambda t: t.update({"b": torch.ones(1), "a": torch.ones(1)}), "2 unexpected tensors: a, b"),
        (lambda t: t.update({Q: t[Q][:-1].clone()}), f"{Q} has shape [31, 32], config.json asks for [32, 32]"),
        (
            lambda t: t.update({GATE: t[GATE].T.contiguous()}),
            f"{GATE} has shape [32, 64], config.json asks for [64, 32]",
        ),
        (
            lambda t: t.update({CONV: t[CONV].mT.contiguous()}),
            f"{CONV} has shape [1, 7, 4], config.json asks for [1, 4, 7]",
        ),
        (lambda t: t.update({CONV: t[CONV].flatten()}), f"{CONV} has shape [28], config.json asks for [1, 4, 7]"),
        (lambda t: t.update({Q: t[Q].long()}), f"{Q} holds torch.int64, which these weights cannot be"),
        (lambda t: t.update({"model.speech_bias_factor": torch.tensor(torch.nan)}), "speech_bias_factor is not finite"),
    ],
    ids=["missing", "no conv", "stranger", "two", "short", "turned", "other layout", "flat", "integers", "unset scale"],
)
def test_a_tensor_that_does_not_fit_is_named(
    folder: Path, change: Callable[[dict[str, Tensor]], Any], message: str
) -> None:
    change_tensors(folder, change)
    with pytest.raises(CheckpointError) as error:
        load_realtime(folder)
    assert message in str(error.value)
    assert str(folder) in str(error.value)


def header(values: Any, length: int | None = None) -> bytes:
    text = values if isinstance(values, bytes) else json.dumps(values).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text


F32 = {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}
HOSTILE = {
    "empty": b"",
    "text": b"this is no checkpoint\n" * 50,
    "a header longer than the file": header({}, length=10**6),
    "a header longer than memory": header({}, length=2**63),
    "a header that is no JSON": header(b"{" * 100),
    "a deep header": header(b'{"a":' * 50_000 + b"1" + b"}" * 50_000),
    "data beyond the end": header({"a": F32 | {"data_offsets": [0, 10**12], "shape": [10**12 // 4]}}),
    "data before the start": header({"a": F32 | {"data_offsets": [-8, 0]}}) + bytes(8),
    "data in a hole": header({"a": F32 | {"data_offsets": [8, 16]}}) + bytes(16),
    "data twice": header({"a": F32, "b": F32}) + bytes(8),
    "more numbers than bytes": header({"a": F32 | {"shape": [2**32, 2**32]}}) + bytes(8),
    "a type nobody knows": header({"a": F32 | {"dtype": "F99"}}) + bytes(8),
    "a pickle": b"\x80\x04cos\nsystem\n(S'true'\ntR.",
}


@pytest.mark.parametrize("data", HOSTILE.values(), ids=HOSTILE)
def test_a_hostile_file_is_one_error_that_names_it(folder: Path, data: bytes) -> None:
    (folder / WEIGHTS).write_bytes(data)
    with pytest.raises(CheckpointError, match=r"model.safetensors is no sound safetensors file"):
        load_realtime(folder)


def test_a_folder_in_the_place_of_a_file_is_an_error(folder: Path) -> None:
    (folder / WEIGHTS).unlink()
    (folder / WEIGHTS).mkdir()
    with pytest.raises(CheckpointError, match=r"model.safetensors is no sound safetensors file"):
        load_realtime(folder)


@given(data=st.data())
@unhurried
def test_a_truncated_file_is_an_error(folder: Path, sound: Path, data: st.DataObject) -> None:
    whole = (sound / WEIGHTS).read_bytes()
    (folder / WEIGHTS).write_bytes(whole[: data.draw(st.integers(0, len(whole) - 1))])
    with pytest.raises(CheckpointError, match=r"model.safetensors"):
        load_realtime(folder)


@given(data=st.data())
@unhurried
def test_a_damaged_header_is_an_error_or_does_no_harm(folder: Path, sound: Path, data: st.DataObject) -> None:
    damaged = bytearray((sound / WEIGHTS).read_bytes())
    end = 8 + struct.unpack("<Q", damaged[:8])[0]
    for place in data.draw(st.lists(st.integers(0, end - 1), min_size=1, max_size=3)):
        damaged[place] = data.draw(st.integers(0, 255))
    (folder / WEIGHTS).write_bytes(damaged)
    assert refusal(folder) is None or str(folder) in str(refusal(folder))


@pytest.fixture
def shards(model: RealtimeModel, tmp_path: Path) -> Path:
    export_realtime(model, tmp_path / "shards", shard_bytes=60_000)
    return tmp_path / "shards"


@pytest.mark.parametrize("file", ["../outside.safetensors", "/etc/passwd", "sub/file.safetensors"])
def test_an_index_that_points_outside_the_folder_is_refused(shards: Path, file: str) -> None:
    save_file({Q: torch.zeros(32, 32)}, shards.parent / "outside.safetensors")
    index = json.loads((shards / INDEX).read_text())
    index["weight_map"][Q] = file
    (shards / INDEX).write_text(json.dumps(index))
    with pytest.raises(CheckpointError, match="points outside the folder"):
        load_realtime(shards)


@pytest.mark.parametrize("file", ["..", ".", "", "no\0file", "absent.safetensors", 7, None])
def test_an_index_that_names_no_file_is_an_error(shards: Path, file: object) -> None:
    index = json.loads((shards / INDEX).read_text())
    index["weight_map"][Q] = file
    (shards / INDEX).write_text(json.dumps(index))
    with pytest.raises(CheckpointError):
        load_realtime(shards)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"weight_map": 5}', '{"weight_map": ["a"]}', "[" * 100_000])
def test_an_index_that_is_none_is_an_error(shards: Path, text: str) -> None:
    (shards / INDEX).write_text(text)
    with pytest.raises(CheckpointError, match=r"index.json"):
        load_realtime(shards)


def test_a_shard_that_lacks_what_the_index_promises_is_an_error(shards: Path) -> None:
    index = json.loads((shards / INDEX).read_text())
    index["weight_map"]["model.promised.weight"] = index["weight_map"][Q]
    (shards / INDEX).write_text(json.dumps(index))
    with pytest.raises(CheckpointError, match=r"lacks model.promised.weight"):
        load_realtime(shards)


def test_a_missing_shard_is_an_error(shards: Path) -> None:
    file = json.loads((shards / INDEX).read_text())["weight_map"][Q]
    (shards / file).unlink()
    with pytest.raises(CheckpointError, match="does not exist") as error:
        load_realtime(shards)
    assert "all shards" in error.value.hint


@pytest.mark.parametrize("text", ["", "[]", "nonsense", "\0", '{"a": ' * 100_000])
def test_a_config_that_is_none_is_an_error(folder: Path, text: str) -> None:
    (folder / "config.json").write_text(text)
    with pytest.raises(CheckpointError, match=r"config.json"):
        load_realtime(folder)


def test_a_folder_without_anything_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"holds no model.safetensors|config.json does not exist"):
        load_realtime(tmp_path)


CHANGES = {
    "wider": lambda c: c["decoder_config"].update(hidden_size=36),
    "more heads": lambda c: c["decoder_config"].update(num_attention_heads=8),
    "more layers": lambda c: c["decoder_config"].update(num_hidden_layers=6),
    "other split": lambda c: c.update(tts_backbone_num_hidden_layers=2),
    "no lower layers": lambda c: c.update(tts_backbone_num_hidden_layers=5),
    "larger vocabulary": lambda c: c["decoder_config"].update(vocab_size=10**9),
    "other ratios": lambda c: c["acoustic_tokenizer_config"].update(encoder_ratios=[4, 2, 3]),
    "no ratios": lambda c: c["acoustic_tokenizer_config"].update(encoder_ratios=[]),
    "other latents": lambda c: c.update(acoustic_vae_dim=9),
    "no head": lambda c: c.pop("diffusion_head_config"),
    "a list for a head": lambda c: c.update(diffusion_head_config=[]),
    "endless head": lambda c: c["diffusion_head_config"].update(head_ffn_ratio=1e300),
    "infinite head": lambda c: c["diffusion_head_config"].update(head_ffn_ratio=float("inf")),
    "size as text": lambda c: c["decoder_config"].update(hidden_size="32"),
    "window as text": lambda c: c.update(text_window="5"),
    "a window of nothing": lambda c: c.update(speech_window=0),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_a_config_with_a_wrong_size_is_one_error(folder: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    change_config(folder, change)
    with pytest.raises(LoquorError) as error:
        load_realtime(folder)
    assert str(folder) in str(error.value)


def leaves(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    if isinstance(value, dict | list):
        items = value.items() if isinstance(value, dict) else enumerate(value)
        return [path, *(leaf for key, item in items for leaf in leaves(item, (*path, key)))]
    return [path]


JUNK = (
    st.none() | st.booleans() | st.integers(-3, 2**40) | st.floats() | st.text(max_size=3) | st.just([]) | st.just({})
)


@given(data=st.data())
@unhurried
def test_junk_anywhere_in_a_config_is_one_error_or_does_no_harm(folder: Path, sound: Path, data: st.DataObject) -> None:
    config = json.loads((sound / "config.json").read_text())
    path = data.draw(st.sampled_from([path for path in leaves(config) if path]))
    holder = config
    for key in path[:-1]:
        holder = holder[key]
    holder[path[-1]] = data.draw(JUNK)
    (folder / "config.json").write_text(json.dumps(config))
    assert refusal(folder) is None or str(folder) in str(refusal(folder))


@contextmanager
def disk_of(size: int) -> Iterator[None]:
    """No file may grow beyond so many bytes: the system refuses, as it does when a disk is full."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize("shard_bytes", [10**9, 30_000])
def test_a_full_disk_leaves_an_old_checkpoint_as_it_was(folder: Path, shard_bytes: int) -> None:
    before, other = files_in(folder), toy_model(seed=1)
    with disk_of(20_000), pytest.raises(CheckpointError, match="cannot write") as error:
        export_realtime(other, folder, shard_bytes=shard_bytes)
    assert files_in(folder) == before
    assert "space" in error.value.hint


def test_a_full_disk_leaves_nothing_half_written(tmp_path: Path) -> None:
    with disk_of(40_000), pytest.raises(CheckpointError, match="cannot write"):
        save(tmp_path / "new", {}, {"a": torch.zeros(9_000), "b": torch.zeros(20_000)}, shard_bytes=36_000)
    assert files_in(tmp_path) == {}
    with disk_of(100), pytest.raises(CheckpointError, match="cannot write"):
        write_text(tmp_path / "text.json", "x" * 1000)
    assert files_in(tmp_path) == {}


def test_a_folder_that_cannot_be_made_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(CheckpointError, match="cannot write"):
        save(tmp_path / "file" / "model", {}, {"a": torch.zeros(1)})
    with pytest.raises(CheckpointError, match="cannot write"):
        write_text(tmp_path / "file" / "text.json", "text")


def test_the_config_that_is_written_says_what_the_model_is(sound: Path) -> None:
    config = json.loads((sound / "config.json").read_text())
    assert config["model_type"] == "vibevoice_streaming"
    assert config["tts_backbone_num_hidden_layers"] == toy_config().speech.num_hidden_layers
    assert config["decoder_config"]["num_hidden_layers"] == 5


# Memory


DTYPE_OF = {"as it is": None, "cast": "float32"}


@pytest.fixture(scope="module")
def loads(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, float]]:
    """What loading 200 MB of bfloat16 in shards took, each in a process of its own, side by side."""
    folder = tmp_path_factory.mktemp("large")
    benchmark = SimpleNamespace(**runpy.run_path(str(BENCHMARK)))
    config = benchmark.shape(hidden=512, layers=12, vocabulary=8_000, filters=4)
    benchmark.write(folder, config, "original", shard_bytes=40_000_000)
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    running = {
        name: subprocess.Popen(benchmark.command(folder, dtype), stdout=subprocess.PIPE, env=environment)
        for name, dtype in DTYPE_OF.items()
    }
    return {name: json.loads(process.communicate()[0]) for name, process in running.items()}


@pytest.mark.skipif(sys.platform != "linux", reason="resident memory is read as Linux tells it")
@pytest.mark.parametrize("load", DTYPE_OF)
def test_loading_takes_the_memory_of_the_weights_and_hardly_more(loads: dict[str, dict[str, float]], load: str) -> None:
    took = loads[load]
    assert took["weights_mb"] > 100
    assert took["peak_at_load"] <= took["peak_in_use"] < 1.15
