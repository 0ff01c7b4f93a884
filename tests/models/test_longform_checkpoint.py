"""Long-form checkpoints: one model in two layouts, the tolerances published files need, and what is refused."""

from __future__ import annotations

import functools
import json
import operator
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from torch import Tensor

from loquor.checkpoints import INDEX
from loquor.errors import CheckpointError, ConfigError, LoquorError
from loquor.models import LONGFORM, family_of
from loquor.models.codec import CodecConfig
from loquor.models.longform import huggingface
from loquor.models.longform.checkpoint import (
    LAYOUTS,
    export_longform,
    layout_of,
    load_longform,
    outline_longform,
)
from loquor.models.longform.model import LongformConfig, LongformModel
from loquor.models.longform.names import Names
from loquor.nn.diffusion_head import DiffusionHeadConfig
from loquor.nn.qwen2 import Qwen2Config
from parity.exports import assert_same_tensors
from toy import randomise

WEIGHTS = "model.safetensors"
HEAD, EMBEDDING = "lm_head.weight", "model.language_model.embed_tokens.weight"
RECORDED = json.loads((Path(__file__).parent / "data" / "transformers_5_23.json").read_text(encoding="utf-8"))

JUNK = (
    st.none() | st.booleans() | st.integers(-3, 2**40) | st.floats() | st.text(max_size=3) | st.just([]) | st.just({})
)

both_layouts = pytest.mark.parametrize("layout", LAYOUTS)
both_heads = pytest.mark.parametrize("has_own_token_head", [True, False], ids=["own head", "tied"])


def small_config(has_own_token_head: bool = True) -> LongformConfig:
    """Two layers of width 16 over 40 words, codecs of two strides."""
    decoder = Qwen2Config(
        hidden_size=16,
        intermediate_size=24,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        vocab_size=40,
        max_position_embeddings=128,
    )
    strides = {"encoder_ratios": (4, 2), "encoder_n_filters": 4, "decoder_n_filters": 4}
    return LongformConfig(
        decoder=decoder,
        acoustic=CodecConfig(vae_dim=8, encoder_depths="1-0-2", **strides),
        semantic=CodecConfig(vae_dim=6, encoder_depths="1-1-1", fix_std=0.0, std_dist_type="none", **strides),
        head=DiffusionHeadConfig(hidden_size=16, latent_size=8, head_layers=2, head_ffn_ratio=2.5),
        has_own_token_head=has_own_token_head,
    )


def small_model(config: LongformConfig | None = None) -> LongformModel:
    model = LongformModel(config or small_config())
    randomise(model, 0)
    model.latent_scale.scale.fill_(0.8)
    model.latent_scale.bias.fill_(0.1)
    return model.eval().requires_grad_(False)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A sound checkpoint with a token head of its own, in the original layout."""
    export_longform(small_model(), tmp_path / "model")
    return tmp_path / "model"


def change_tensors(folder: Path, change: Callable[[dict[str, Tensor]], Any]) -> None:
    tensors = load_file(folder / WEIGHTS)
    change(tensors)
    save_file(tensors, folder / WEIGHTS)


def change_config(folder: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    config = json.loads((folder / "config.json").read_text())
    change(config)
    (folder / "config.json").write_text(json.dumps(config))


def assert_same(one: LongformModel, other: LongformModel) -> None:
    first, second = one.state_dict(), other.state_dict()
    assert first.keys() == second.keys()
    for name, tensor in first.items():
        assert torch.equal(tensor, second[name]), name


@both_layouts
@both_heads
def test_a_model_that_was_exported_and_loaded_is_the_same(
    tmp_path: Path, layout: str, has_own_token_head: bool
) -> None:
    model = small_model(small_config(has_own_token_head))
    export_longform(model, tmp_path, layout=layout)
    loaded = load_longform(tmp_path)
    assert layout_of(tmp_path) == layout
    assert family_of(tmp_path) is LONGFORM
    assert_same(loaded, model)
    assert loaded.config.has_own_token_head == has_own_token_head
    assert not any(parameter.requires_grad for parameter in loaded.parameters())


@both_layouts
@pytest.mark.parametrize("shard_bytes", [1, 10_000])
def test_shards_hold_the_same_model(tmp_path: Path, layout: str, shard_bytes: int) -> None:
    model = small_model()
    export_longform(model, tmp_path, shard_bytes=shard_bytes, layout=layout)
    assert (tmp_path / INDEX).exists() and not (tmp_path / WEIGHTS).exists()
    assert_same(load_longform(tmp_path), model)


@both_heads
def test_there_and_back_every_tensor_has_its_bytes(tmp_path: Path, has_own_token_head: bool) -> None:
    there, hf, back = (tmp_path / name for name in ("there", "hf", "back"))
    export_longform(small_model(small_config(has_own_token_head)), there)
    export_longform(load_longform(there), hf, source=there, layout="hf")
    export_longform(load_longform(hf), back, source=hf, layout="original")
    assert_same_tensors(there, back)
    assert load_longform(back).config.decoder == small_config().decoder
    assert load_longform(back).config.head == small_config().head


def test_a_source_of_the_same_layout_keeps_its_config(folder: Path, tmp_path: Path) -> None:
    change_config(folder, lambda c: c.update(transformers_version="4.51.3"))
    export_longform(load_longform(folder), tmp_path / "out", source=folder)
    assert json.loads((tmp_path / "out" / "config.json").read_text())["transformers_version"] == "4.51.3"


@pytest.mark.parametrize(("layout", "key"), [("original", "torch_dtype"), ("hf", "dtype")])
def test_a_new_config_states_the_type_of_the_weights(folder: Path, tmp_path: Path, layout: str, key: str) -> None:
    export_longform(load_longform(folder, torch.bfloat16), tmp_path / "out", layout=layout)
    assert json.loads((tmp_path / "out" / "config.json").read_text())[key] == "bfloat16"


def test_a_folder_is_written_over_with_a_model_that_lies_in_it(folder: Path) -> None:
    before = {name: tensor.clone() for name, tensor in load_longform(folder).state_dict().items()}
    model = load_longform(folder)
    export_longform(model, folder, source=folder, layout="hf")
    after = load_longform(folder).state_dict()
    for name, tensor in model.state_dict().items():  # of which some still read the old file
        assert torch.equal(tensor, before[name]) and torch.equal(after[name], before[name]), name


# The layout of the transformers library


def write_recorded(folder: Path, has_own_token_head: bool = True) -> None:
    """What transformers saved, with other numbers."""
    generator = torch.Generator().manual_seed(0)
    tensors = {name: torch.randn(shape, generator=generator) for name, shape in RECORDED["tensors"].items()}
    if not has_own_token_head:
        del tensors[HEAD]
    tied = {"tie_word_embeddings": not has_own_token_head}
    config = RECORDED["config"] | tied | {"text_config": RECORDED["config"]["text_config"] | tied}
    folder.mkdir(exist_ok=True)
    save_file(tensors, folder / WEIGHTS)
    (folder / "config.json").write_text(json.dumps(config))


@both_heads
def test_what_transformers_saved_is_loaded_and_written_back(tmp_path: Path, has_own_token_head: bool) -> None:
    write_recorded(tmp_path / "theirs", has_own_token_head)
    model = load_longform(tmp_path / "theirs")
    assert model.config.acoustic.encoder_ratios == (4, 3, 2)
    assert (model.config.acoustic.down_depths, model.config.acoustic.up_depths) == ((1, 1, 1, 2), (2, 1, 1, 1))
    assert (model.config.acoustic.fix_std, model.config.semantic.std_dist_type) == (0.5, "none")
    assert (model.config.head.ffn_size, model.config.decoder.rope_theta) == (96, 1e6)
    export_longform(model, tmp_path / "ours", layout="hf")
    assert_same_tensors(tmp_path / "theirs", tmp_path / "ours")


def test_a_config_is_written_as_transformers_writes_it(tmp_path: Path) -> None:
    write_recorded(tmp_path)
    written = leaves(json.loads(json.dumps(huggingface.to_published(load_longform(tmp_path).config))))
    recorded = leaves(RECORDED["config"])
    different = {key: value for key, value in written.items() if (key, value) not in recorded.items()}
    assert different == {"semantic_model_config.vae_std": 0.0}  # a codec that is never sampled


def leaves(config: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """All settings by their dotted names."""
    found: dict[str, Any] = {}
    for key, value in config.items():
        found |= leaves(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value}
    return found


@given(hidden=st.integers(1, 5000), size=st.integers(1, 40_000))
def test_a_feed_forward_keeps_its_size_as_a_ratio(hidden: int, size: int) -> None:
    given_section = huggingface.HeadSection(hidden_size=hidden, latent_size=8, intermediate_size=size)
    config = DiffusionHeadConfig(hidden_size=hidden, latent_size=8, head_ffn_ratio=given_section.ffn_ratio)
    assert config.ffn_size == size


CODEC_CHANGES: dict[str, Any] = {
    "decoder_n_filters": 8,
    "decoder_ratios": (2, 4),
    "decoder_depths": "2-1-1",
    "encoder_widths": (4, 8, 12),
    "decoder_widths": (16, 8, 8),
    "mixer_layer": "conv",
    "layernorm": "LN",
    "layernorm_elementwise_affine": False,
    "conv_bias": False,
    "disable_last_norm": False,
    "layer_scale_init_value": 0.0,
    "std_dist_type": "fix",
}
HEAD_CHANGES: dict[str, Any] = {"ddpm_num_steps": 500, "ddpm_beta_schedule": "linear", "prediction_type": "epsilon"}


@pytest.mark.parametrize(("name", "value"), CODEC_CHANGES.items())
def test_a_codec_the_layout_has_no_place_for_is_not_written(tmp_path: Path, name: str, value: object) -> None:
    config = small_config()
    model = small_model(replace(config, acoustic=replace(config.acoustic, **{name: value})))
    with pytest.raises(ConfigError, match="the hf layout has no place for") as error:
        export_longform(model, tmp_path / "out", layout="hf")
    assert "acoustic codec" in str(error.value) and "original" in error.value.hint
    assert not (tmp_path / "out").exists()
    export_longform(model, tmp_path / "out", layout="original")
    assert_same(load_longform(tmp_path / "out"), model)


@pytest.mark.parametrize(("name", "value"), HEAD_CHANGES.items())
def test_a_head_the_layout_has_no_place_for_is_not_written(tmp_path: Path, name: str, value: object) -> None:
    config = small_config()
    model = small_model(replace(config, head=replace(config.head, **{name: value})))
    with pytest.raises(ConfigError, match=f"the diffusion head's {name} {value!r}"):
        export_longform(model, tmp_path / "out", layout="hf")


HF_CHANGES = {
    "unknown key": (lambda c: c.update(speakers=4), "unknown speakers"),
    "unknown codec key": (lambda c: c["audio_config"].update(dilation=2), "audio_config: unknown key dilation"),
    "missing depths": (lambda c: c["audio_config"].pop("depths"), "audio_config: missing key depths"),
    "missing size": (lambda c: c["diffusion_head_config"].pop("intermediate_size"), "missing key intermediate_size"),
    "no head": (lambda c: c.pop("diffusion_head_config"), "diffusion_head_config must be an object"),
    "other kernel": (lambda c: c["audio_config"].update(kernel_size=5), "kernel_size must be 7, as published, got 5"),
    "other activation": (lambda c: c["audio_config"].update(hidden_act="silu"), "hidden_act must be 'gelu'"),
    "bias": (lambda c: c["diffusion_head_config"].update(mlp_bias=True), "mlp_bias must be False"),
    "period": (lambda c: c["diffusion_head_config"].update(diffusion_max_period=1), "diffusion_max_period must be"),
    "size as text": (lambda c: c["text_config"].update(hidden_size="32"), "text_config: hidden_size has a value"),
    "no width": (lambda c: c["diffusion_head_config"].update(hidden_size=0), "hidden_size must be an integer"),
    "other width": (lambda c: c["diffusion_head_config"].update(hidden_size=48), "must have one hidden_size"),
    "scaled rope": (lambda c: c["text_config"]["rope_parameters"].update(rope_type="yarn"), "rope_parameters must"),
    "other model": (lambda c: c["text_config"].update(model_type="llama"), "text_config.model_type 'llama'"),
    "short depths": (lambda c: c["semantic_model_config"].update(depths=[1]), "needs 4 entries"),
    "both layouts": (lambda c: c.update(decoder_config={}), "either decoder_config or text_config"),
    "neither layout": (lambda c: c.pop("text_config"), "either decoder_config or text_config"),
}


@pytest.mark.parametrize(("change", "message"), HF_CHANGES.values(), ids=HF_CHANGES)
def test_a_config_that_does_not_fit_names_file_and_key(
    tmp_path: Path, change: Callable[[dict[str, Any]], Any], message: str
) -> None:
    write_recorded(tmp_path)
    change_config(tmp_path, change)
    with pytest.raises(ConfigError) as error:
        load_longform(tmp_path)
    assert message in str(error.value)
    assert str(tmp_path / "config.json") in str(error.value)


def test_rotary_positions_may_be_given_as_before_transformers_5(tmp_path: Path) -> None:
    write_recorded(tmp_path)
    change_config(tmp_path, lambda c: c["text_config"].pop("rope_parameters"))
    change_config(tmp_path, lambda c: c["text_config"].update(rope_theta=5e5))
    assert load_longform(tmp_path).config.decoder.rope_theta == 5e5


# What published files do in more than one way


def says(top: bool | None, decoder: bool | None) -> Callable[[dict[str, Any]], None]:
    """A config that says in these places whether the head is tied; None says nothing."""

    def change(config: dict[str, Any]) -> None:
        for section, value in ((config, top), (config.get("decoder_config") or config["text_config"], decoder)):
            section.pop("tie_word_embeddings", None)
            section.update({} if value is None else {"tie_word_embeddings": value})

    return change


@both_layouts
@pytest.mark.parametrize(
    ("top", "decoder"), [(False, None), (None, False), (False, True), (True, False), (None, None), (True, True)]
)
def test_a_head_of_its_own_is_kept_wherever_it_is_said_or_not(
    tmp_path: Path, layout: str, top: bool | None, decoder: bool | None
) -> None:
    model = small_model()
    export_longform(model, tmp_path, layout=layout)
    change_config(tmp_path, says(top, decoder))
    assert_same(load_longform(tmp_path), model)


@both_layouts
@pytest.mark.parametrize(("top", "decoder"), [(None, None), (True, None), (None, True), (True, True)])
@pytest.mark.parametrize("has_copy", [False, True])
def test_a_tied_head_may_have_a_copy_in_the_file(
    tmp_path: Path, layout: str, top: bool | None, decoder: bool | None, has_copy: bool
) -> None:
    model = small_model(small_config(has_own_token_head=False))
    export_longform(model, tmp_path, layout=layout)
    change_config(tmp_path, says(top, decoder))
    if has_copy:
        change_tensors(tmp_path, lambda t: t.update({HEAD: t[EMBEDDING].clone()}))
    loaded = load_longform(tmp_path)
    assert loaded.token_head is None
    assert loaded.token_weights is loaded.embedding.weight
    assert_same(loaded, model)


@pytest.mark.parametrize(("top", "decoder"), [(False, None), (None, False), (False, True), (True, False)])
def test_a_head_that_is_untied_in_either_place_must_be_there(
    folder: Path, top: bool | None, decoder: bool | None
) -> None:
    change_config(folder, says(top, decoder))
    change_tensors(folder, lambda t: t.pop(HEAD))
    with pytest.raises(CheckpointError, match=f"1 missing tensor: {HEAD}"):
        load_longform(folder)


def test_a_head_of_another_type_than_the_embedding_is_no_copy(folder: Path) -> None:
    change_config(folder, says(None, None))
    change_tensors(folder, lambda t: t.update({HEAD: t[EMBEDDING].bfloat16()}))
    loaded = load_longform(folder)
    assert loaded.token_head is not None and loaded.token_head.weight.dtype == torch.bfloat16


def as_published_7b(config: dict[str, Any]) -> None:
    """What the files of the larger model do otherwise."""
    config["acostic_vae_dim"] = config.pop("acoustic_vae_dim")
    says(False, None)(config)
    config["decoder_config"].update(use_mrope=False, torch_dtype="bfloat16", use_cache=True)
    config.update(torch_dtype="bfloat16", transformers_version="4.51.3", _attn_implementation_autoset=True)


def old_names(config: dict[str, Any]) -> None:
    for part in ("acoustic_tokenizer", "semantic_tokenizer", "diffusion_head"):
        config[f"{part}_config"]["model_type"] = f"vibepod_{part}"


TOLERATED = {
    "as the 7B": as_published_7b,
    "the family's old name": old_names,
    "a misspelled width that is wrong": lambda c: c.update(acostic_vae_dim=64),
    "a width in the section alone": lambda c: c.pop("acoustic_vae_dim"),
    "a width that is overruled": lambda c: c["acoustic_tokenizer_config"].update(vae_dim=64),
    "depths as a list": lambda c: c["acoustic_tokenizer_config"].update(encoder_depths=[1, 0, 2]),
    "decoder depths as a list, which nobody reads": lambda c: c["acoustic_tokenizer_config"].update(
        decoder_depths=[9, 9, 9]
    ),
    "decoder depths as text": lambda c: c["acoustic_tokenizer_config"].update(decoder_depths="2-0-1"),
    "no decoder depths": lambda c: c["acoustic_tokenizer_config"].update(decoder_depths=None),
    "decoder ratios as written": lambda c: c["acoustic_tokenizer_config"].update(decoder_ratios=[4, 2]),
    "no decoder part in the semantic section": lambda c: [
        c["semantic_tokenizer_config"].pop(key) for key in ("decoder_n_filters", "decoder_ratios", "decoder_depths")
    ],
}


@pytest.mark.parametrize("change", TOLERATED.values(), ids=TOLERATED)
def test_what_published_configs_do_makes_the_same_model(folder: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    change_config(folder, change)
    assert_same(load_longform(folder), small_model())


# Bad folders


BAD_TENSORS: dict[str, tuple[Callable[[dict[str, Tensor], Names], Any], str]] = {
    "missing": (lambda t, n: t.pop(n.bias), "1 missing tensor: model."),
    "unexpected": (lambda t, n: t.update(stranger=torch.ones(1)), "1 unexpected tensor: stranger"),
    "no embedding": (lambda t, n: t.pop(EMBEDDING), f"1 missing tensor: {EMBEDDING}"),
    "wrong shape": (lambda t, n: t.update({EMBEDDING: t[EMBEDDING][:-1].clone()}), "has shape [39, 16]"),
    "integers": (lambda t, n: t.update({EMBEDDING: t[EMBEDDING].long()}), "holds torch.int64"),
    "unset scale": (lambda t, n: t.update({n.scale: torch.tensor(torch.nan)}), "scale or bias is not finite"),
    "infinite bias": (lambda t, n: t.update({n.bias: torch.tensor(torch.inf)}), "scale or bias is not finite"),
}


@both_layouts
@pytest.mark.parametrize(("change", "message"), BAD_TENSORS.values(), ids=BAD_TENSORS)
def test_a_tensor_that_does_not_fit_is_named(
    tmp_path: Path, layout: str, change: Callable[[dict[str, Tensor], Names], Any], message: str
) -> None:
    export_longform(small_model(), tmp_path, layout=layout)
    change_tensors(tmp_path, lambda t: change(t, LAYOUTS[layout].names))
    with pytest.raises(CheckpointError) as error:
        load_longform(tmp_path)
    assert message in str(error.value) and str(tmp_path) in str(error.value)


@both_layouts
def test_config_and_tensors_of_two_layouts_are_one_clear_error(tmp_path: Path, layout: str) -> None:
    other = next(name for name in LAYOUTS if name != layout)
    export_longform(small_model(), tmp_path, layout=layout)
    export_longform(small_model(), tmp_path / "other", layout=other)
    (tmp_path / "other" / "config.json").replace(tmp_path / "config.json")
    message = f"config.json is of the {other} layout, the tensors have the names of the {layout} one"
    for read in (load_longform, outline_longform):
        with pytest.raises(CheckpointError, match=message) as error:
            read(tmp_path)
        assert "from one place" in error.value.hint


@pytest.fixture
def shards(tmp_path: Path) -> list[Path]:
    export_longform(small_model(), tmp_path / "shards", shard_bytes=10_000)
    return sorted((tmp_path / "shards").glob("model-*.safetensors"))


def test_a_missing_shard_is_an_error(shards: list[Path]) -> None:
    shards[1].unlink()
    with pytest.raises(CheckpointError, match=f"{shards[1].name} does not exist") as error:
        load_longform(shards[1].parent)
    assert "all shards" in error.value.hint


@pytest.mark.parametrize("kept", [0, 7, 100, -1])
def test_a_truncated_shard_is_an_error(shards: list[Path], kept: int) -> None:
    shards[1].write_bytes(shards[1].read_bytes()[:kept])
    with pytest.raises(CheckpointError, match=f"{shards[1].name} is no sound safetensors file"):
        load_longform(shards[1].parent)


def test_a_tensor_that_only_a_shard_knows_of_is_unexpected(shards: list[Path]) -> None:
    save_file(load_file(shards[1]) | {"stranger": torch.ones(1)}, shards[1])
    with pytest.raises(CheckpointError, match="1 unexpected tensor: stranger"):
        load_longform(shards[1].parent)


@both_layouts
@given(data=st.data())
@settings(max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_junk_in_a_config_is_one_error_or_does_no_harm(tmp_path: Path, layout: str, data: st.DataObject) -> None:
    if not (tmp_path / "config.json").exists():
        export_longform(small_model(), tmp_path, layout=layout)
        shutil.copyfile(tmp_path / "config.json", tmp_path / "sound.json")
    config = json.loads((tmp_path / "sound.json").read_text())
    *sections, key = data.draw(st.sampled_from(sorted({*config, *leaves(config)}))).split(".")
    holder = functools.reduce(operator.getitem, sections, config)
    holder[key] = data.draw(JUNK)
    (tmp_path / "config.json").write_text(json.dumps(config))
    refusal = refused(tmp_path)
    assert refusal is None or str(tmp_path) in str(refusal)


def refused(folder: Path) -> LoquorError | None:
    """Why the folder cannot be loaded; whatever is no error of ours comes through."""
    try:
        load_longform(folder)
    except LoquorError as error:
        return error
    return None
