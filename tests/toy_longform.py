"""The whole long-form model in miniature, with Qwen's vocabulary and frames of 3200 samples.

Nothing it says means anything, but every parameter matters to every sample, and speech lasts as long as its text asks:
one attention head sees all positions alike and so measures how much of the past is speech, and the token that ends it
all is chosen once that is enough. For that four dimensions of the residual are written by the inputs and this head
alone, and weighed by the token head.
"""

from __future__ import annotations

import json
from pathlib import Path

import torch
from torch import Tensor

from loquor.models.codec import CodecConfig
from loquor.models.longform.checkpoint import export_longform
from loquor.models.longform.model import LongformConfig, LongformModel
from loquor.nn.diffusion_head import DiffusionHeadConfig
from loquor.nn.qwen2 import DecoderLayer, Qwen2Config
from loquor.text.qwen_tokenizer import QwenTokenizer
from toy import randomise

ONE, MARK, BALANCE, ENDED = range(4)  # always 1; text or speech; their balance; the last token ended a speech
NEVER, AT_ONCE = float("inf"), 0.0  # frames per token of models that never end, and that say nothing
HOP_SAMPLES = 3200
SAMPLE_RATE_HZ = 24_000


def toy_config(context: int = 65536) -> LongformConfig:
    """Two layers of width 16 over the real vocabulary, codecs of three strides, a head of two layers."""
    decoder = Qwen2Config(
        hidden_size=16,
        intermediate_size=24,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        vocab_size=QwenTokenizer().vocab_size + 7,  # published models have rows to spare
        max_position_embeddings=context,
    )
    strides = {"encoder_ratios": (20, 16, 10), "encoder_n_filters": 4, "decoder_n_filters": 4}
    return LongformConfig(
        decoder=decoder,
        acoustic=CodecConfig(vae_dim=8, encoder_depths="1-0-1-1", **strides),
        semantic=CodecConfig(vae_dim=6, encoder_depths="0-1-0-1", fix_std=0.0, std_dist_type="none", **strides),
        head=DiffusionHeadConfig(hidden_size=16, latent_size=8, head_layers=2, head_ffn_ratio=2.0),
        has_own_token_head=True,
    )


def toy_model(
    config: LongformConfig | None = None, frames_per_token: float = 0.5, breaks: bool = False, seed: int = 0
) -> LongformModel:
    """A model that is read-only, as loaded ones are.

    It says about `frames_per_token` frames for each token of its prompt, give or take some; never ends if that is
    NEVER; ends before the first frame if it is AT_ONCE. With `breaks` it ends and starts speech now and then: with seed
    1 every dozen frames, with seed 0 hardly ever.
    """
    model = LongformModel(config or toy_config())
    randomise(model, seed)
    with torch.no_grad():
        _mark_inputs(model, frames_per_token)
        _measure_balance(model)
        _choose_tokens(model, frames_per_token, breaks)
        assert model.codec.decoder is not None
        model.codec.decoder.head.weight *= 0.1
    model.latent_scale.scale.fill_(0.8)
    model.latent_scale.bias.fill_(0.1)
    return model.eval().requires_grad_(False)


def _mark_inputs(model: LongformModel, frames_per_token: float) -> None:
    """A token weighs as much against the end as `frames_per_token` frames for it; voices weigh nothing."""
    ratio = min(max(frames_per_token, 0.01), 100.0)
    embedding, tokenizer = model.embedding.weight, QwenTokenizer()
    embedding *= 4  # as long as the sum of the connectors, or the first norm would make light of speech
    embedding[:, [ONE, BALANCE, ENDED]] = torch.tensor([1.0, 0.0, 0.0])
    embedding[:, MARK] = -min(1.0, ratio)
    embedding[tokenizer.speech_end, ENDED] = 3.0
    reserved = [ONE, MARK, BALANCE, ENDED]
    for connector, one, mark in ((model.connector, 1.0, 0.0), (model.semantic_connector, 0.0, min(1.0, 1 / ratio))):
        connector.outward.weight *= 0.7
        connector.outward.weight[reserved] = 0.0
        connector.outward.bias[reserved] = torch.tensor([one, mark, 0.0, 0.0])


def _measure_balance(model: LongformModel) -> None:
    """No layer writes the reserved dimensions, but for the first head of the first layer: the mean mark so far."""
    layers = [layer for layer in model.language_model.layers if isinstance(layer, DecoderLayer)]
    for layer in layers:
        for matrix in (layer.attention.out.weight, layer.ffn.down.weight):
            matrix[[ONE, MARK, BALANCE, ENDED]] = 0.0
    attention = layers[0].attention
    width = attention.head_dim
    value = (attention.heads + attention.kv_heads) * width  # the first row that makes values
    for rows, row in ((attention.qkv.weight, torch.eye(16)[MARK]), (attention.qkv.bias, torch.tensor(0.0))):
        rows[:width] = 0.0
        rows[value] = row
    layers[0].attention_norm.weight[MARK] = 1.0
    attention.out.weight[BALANCE, 0] = 1.0


def _choose_tokens(model: LongformModel, frames_per_token: float, breaks: bool) -> None:
    """Logits of a frame are 0; the others' come from the reserved dimensions and, a little, from all the rest."""
    assert model.token_head is not None
    tokenizer, weights = QwenTokenizer(), model.token_head.weight
    never, rest = torch.tensor([-100.0, 0.0, 0.0, 0.0]), slice(4, None)
    model.language_model.norm.weight[:4] = 1.0
    weights[tokenizer.speech_diffusion] = 0.0
    for token in (tokenizer.eos, tokenizer.speech_end, tokenizer.speech_start):
        weights[token] /= weights[token, rest].norm()
        weights[token, :4] = never
    if frames_per_token == AT_ONCE:
        weights[tokenizer.eos, :4] = -never
    elif frames_per_token != NEVER:
        weights[tokenizer.eos, :4] = torch.tensor([0.0, 0.0, 20.0, 0.0])
        weights[tokenizer.eos, rest] *= 0.5
    if breaks:
        weights[tokenizer.speech_end, :4] = torch.tensor([-2.5, 0.0, 0.0, -100.0])
        weights[tokenizer.speech_start, :4] = torch.tensor([-100.0, 0.0, 0.0, 100.0])


def toy_waveform(seconds: float = 0.5, seed: int = 0) -> Tensor:
    """[T] what stands for a recording of a voice: noise at -25 dBFS, 24 kHz."""
    generator = torch.Generator().manual_seed(1000 + seed)
    noise = torch.randn(int(seconds * SAMPLE_RATE_HZ), generator=generator)
    return noise * (10 ** (-25 / 20) / noise.square().mean().sqrt())


def write_toy(
    folder: Path,
    config: LongformConfig | None = None,
    frames_per_token: float = 0.5,
    breaks: bool = False,
    seed: int = 0,
) -> Path:
    """A checkpoint folder in the original layout, with defaults; the tokenizer is Qwen's, which needs no file."""
    export_longform(toy_model(config, frames_per_token, breaks, seed), folder)
    (folder / "loquor.json").write_text(json.dumps({"guidance": 1.3, "steps": 2}), encoding="utf-8")
    return folder
