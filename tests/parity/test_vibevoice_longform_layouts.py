"""The recorded long-form checkpoints in both layouts: no byte changes on the way, and bfloat16 stays near float32."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from loquor.errors import ConfigError
from loquor.models.longform.checkpoint import export_longform, layout_of, load_longform, outline_longform
from loquor.models.longform.model import LongformModel
from parity.exports import assert_same_tensors
from parity.goldens import Golden

CASES = ("f_longform", "g_training")

# A bfloat16 number has 8 bits, so each is off by up to 0.4 %; some ten layers, each rounding, add up to 1 to 2 % of a
# tensor's norm. A part that runs in another type, or a constant that is lost, is off by tens of per cent.
NEAR = 0.04


# What the transformers layout takes for granted (section 14.1 of the specification).
CODEC = {
    "mixer_layer": "depthwise_conv",
    "layernorm": "RMSNorm",
    "layernorm_elementwise_affine": True,
    "conv_bias": True,
    "disable_last_norm": True,
}
HEAD = {"prediction_type": "v_prediction", "ddpm_num_steps": 1000, "ddpm_beta_schedule": "cosine"}


def is_of_the_published_kind(config: dict[str, Any]) -> bool:
    """Whether the transformers layout can express a recorded config."""
    acoustic = config["acoustic_tokenizer_config"]
    depths = acoustic["encoder_depths"]
    depths = depths.split("-") if isinstance(depths, str) else depths
    facts = [
        *(
            config[f"{kind}_tokenizer_config"][name] == CODEC[name]
            for name in CODEC
            for kind in ("acoustic", "semantic")
        ),
        *(config[f"{kind}_tokenizer_config"]["layer_scale_init_value"] > 0 for kind in ("acoustic", "semantic")),
        *(config["diffusion_head_config"][name] == value for name, value in HEAD.items()),
        acoustic["std_dist_type"] == "gaussian",
        acoustic["decoder_n_filters"] == acoustic["encoder_n_filters"],
        (acoustic["decoder_ratios"] or acoustic["encoder_ratios"]) == acoustic["encoder_ratios"],
        not isinstance(acoustic["decoder_depths"], str)
        or acoustic["decoder_depths"] == "-".join(map(str, depths[::-1])),
    ]
    return all(facts)


@pytest.mark.parametrize("case", CASES)
def test_there_and_back_no_byte_changes(case: str, tmp_path: Path) -> None:
    with Golden.open("vibevoice", case, "nothing") as golden:
        hf, back = tmp_path / "hf", tmp_path / "back"
        model = load_longform(golden.folder)
        if not is_of_the_published_kind(golden.config):
            with pytest.raises(ConfigError, match="the hf layout has no place for"):
                export_longform(model, hf, source=golden.folder, layout="hf")
            return
        export_longform(model, hf, source=golden.folder, layout="hf")
        there = load_longform(hf)
        assert layout_of(hf) == "hf"
        for name, tensor in model.state_dict().items():
            assert torch.equal(tensor, there.state_dict()[name]), name
        export_longform(there, back, source=hf, layout="original")
        assert_same_tensors(golden.folder, back)


@pytest.mark.parametrize("case", CASES)
def test_an_export_as_it_is_changes_neither_tensor_nor_config(case: str, tmp_path: Path) -> None:
    with Golden.open("vibevoice", case, "nothing") as golden:
        export_longform(load_longform(golden.folder), tmp_path, source=golden.folder, shard_bytes=100_000)
        assert_same_tensors(golden.folder, tmp_path)
        assert Golden(tmp_path, {}, {}).config == golden.config


@pytest.mark.parametrize("case", CASES)
def test_the_outline_is_that_of_the_loaded_model(case: str) -> None:
    with Golden.open("vibevoice", case, "nothing") as golden:
        outline, model = outline_longform(golden.folder), load_longform(golden.folder)
        assert {part.name: part.size for part in outline.parts} == {n: t.numel() for n, t in model.state_dict().items()}


@torch.inference_mode()
def frames(model: LongformModel, golden: Golden) -> dict[str, Tensor]:
    """The voices, the prompt's states, and every pass of the recorded frames, spoken one after the other."""
    heard = [
        model.encode_voice(golden["speech_tensors"][i], std, golden["main/prefill_noise_draw"][i])
        for i, std in enumerate(golden["main/prefill_std_draw"])
    ]
    state, dtype = model.init_state(1), model.embedding.weight.dtype
    prompt = model.language_model(model.embedding(golden["input_ids"]), state.positive)
    start = torch.tensor([[golden.about["special_ids"]["speech_start"]]])
    model.language_model(model.embedding(start), state.negative)
    found = {"voices": torch.stack(heard), "prompt": prompt}
    for i, latent in enumerate(golden["main/latents"].to(dtype).split(1)):
        audio = model.decode(latent, state.decoder)
        features = model.hear(audio, state.semantic)
        inputs = model.embed_speech(latent, features)
        positive, negative = model.advance(inputs, state)
        velocity = model.head(latent, torch.tensor([500.0]), positive)
        logits = positive @ model.token_weights.T
        names = ("audio", "features", "inputs", "positive", "negative", "velocity", "logits")
        values = (audio, features, inputs, positive, negative, velocity, logits)
        found |= {f"{name}/{i}": value for name, value in zip(names, values, strict=True)}
    return found


def test_a_model_in_bfloat16_works_in_bfloat16_and_stays_near() -> None:
    with Golden.open("vibevoice", "f_longform", "nothing") as golden:
        low, full = (load_longform(golden.folder, dtype) for dtype in (torch.bfloat16, None))
        assert {tensor.dtype for tensor in low.state_dict().values()} == {torch.bfloat16}
        exact = frames(full, golden)
        for name, value in frames(low, golden).items():
            assert value.dtype == torch.bfloat16, name
            off = (value.float() - exact[name]).norm() / exact[name].norm()
            assert off < NEAR, f"{name}: {off:.3f}"
