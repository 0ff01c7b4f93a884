"""VITA-Audio in miniature: random weights of sensible scale, a vocabulary of text, marks and a few codes."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import cast

import torch

from loquor.engine.alternation import AudioIds
from loquor.models.vita.checkpoint import export_vita
from loquor.models.vita.model import Predictor, VitaConfig, VitaModel
from loquor.nn.qwen2 import Qwen2Config
from toy import randomise

EOS, BEGIN, END, FIRST_AUDIO, CODES = 1, 20, 21, 24, 12
VOCABULARY = 40  # the last rows belong to nothing, as in padded published matrices
AUDIO = AudioIds(BEGIN, END, FIRST_AUDIO, CODES)


def toy_vita_config(modules: int = 4, context: int = 512, has_own_token_head: bool = True) -> VitaConfig:
    decoder = Qwen2Config(
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        vocab_size=VOCABULARY,
        max_position_embeddings=context,
    )
    return VitaConfig(decoder, modules, has_own_token_head)


def toy_vita(seed: int = 0, config: VitaConfig | None = None) -> VitaModel:
    """A model that is read-only, as loaded ones are."""
    model = VitaModel(config or toy_vita_config())
    randomise(model, seed)
    return model.eval().requires_grad_(False)


def agreeing_vita(seed: int = 0, discord: float = 0.02, config: VitaConfig | None = None) -> VitaModel:
    """A model whose modules often choose as its backbone would, the more often the less `discord` there is.

    What either predicts hangs on the last token, through its embedding, and a little on everything else.
    """
    model = toy_vita(seed, config)
    dim = model.config.hidden_size
    model.embedding.weight.mul_(6)  # beside which what layers add is small
    model.token_weights.mul_(2)  # so that choices are clear
    for name, parameter in model.named_parameters():
        if name.endswith(("attention.out.weight", "ffn.down.weight", "projection.weight")):
            parameter.mul_(discord)
    for predictor in cast(Iterable[Predictor], model.predictors):
        predictor.projection.weight[:, :dim] += torch.eye(dim)
        predictor.embedding_norm.weight.fill_(1.0)
    return model


def write_toy_vita(folder: Path, model: VitaModel | None = None) -> Path:
    """A checkpoint folder as published."""
    export_vita(model or toy_vita(), folder)
    generation = {"mtp_inference_mode": [1, 4, 2, 3], "repetition_penalty": 1.05, "eos_token_id": [EOS]}
    (folder / "generation_config.json").write_text(json.dumps(generation), encoding="utf-8")
    return folder
