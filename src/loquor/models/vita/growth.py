"""Models that grow between the stages of training: rows for the ids of speech, and one prediction module after another.

New rows are drawn as the transformers library draws them: from a normal distribution with the mean of the rows there
are and a billionth of their covariance (Hewitt 2021, "Initializing New Word Embeddings for Pretrained Language
Models"). New modules begin as the published training has them: the layer as a copy of the layer before, the last of the
backbone for the first module; projection and norms as copies of those before, the first with a fresh projection.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from loquor.checkpoints import Files, load, same, without_memory
from loquor.configs import HF_KEYS, from_dict, read_json
from loquor.errors import CheckpointError, ConfigError
from loquor.models.qwen2_keys import qwen2_keys
from loquor.models.vita.checkpoint import EMBEDDING, TOKEN_HEAD
from loquor.models.vita.model import VitaConfig, VitaModel
from loquor.nn.qwen2 import Qwen2Config

BASE_MODEL_TYPE = "qwen2"
PROJECTION_STD = 0.02
NEW_ROWS_SHARE = 1e-9  # of the covariance


def load_base(folder: Path, dtype: torch.dtype) -> VitaModel:
    """A plain Qwen2 language model as published, strictly, as a model of no modules that has its own token head.

    CheckpointError for a missing or unexpected tensor.
    """
    path = folder / "config.json"
    values, files = read_json(path), Files(folder)
    decoder = from_dict(Qwen2Config, values, str(path), HF_KEYS)
    is_tied = values.get("tie_word_embeddings") is True and TOKEN_HEAD not in files.where
    with without_memory(folder):
        model = VitaModel(VitaConfig(decoder, modules=0, has_own_token_head=not is_tied))
    heads = [] if is_tied else [same(TOKEN_HEAD, "token_head.weight")]
    entries = [same(EMBEDDING, "embedding.weight"), *heads, *qwen2_keys(decoder, "model.", "language_model.")]
    load(model, files, entries, dtype)
    return model.eval().requires_grad_(False)


def stored_dtype(folder: Path) -> torch.dtype:
    """The type in which a folder holds its embedding, and so the rest."""
    files = Files(folder)
    if EMBEDDING not in files.where:
        raise CheckpointError(f"{folder} holds no {EMBEDDING}", hint="is this a language model?")
    return files[EMBEDDING].dtype


def with_rows(model: VitaModel, rows: int, generator: torch.Generator) -> VitaModel:
    """The model with at least so many rows in its embedding and in a token head of its own."""
    config = model.config
    missing = max(0, rows - config.vocab_size)
    if not missing and config.has_own_token_head:
        return model
    state = dict(model.state_dict())
    state.setdefault("token_head.weight", state["embedding.weight"].clone())
    for name in ("embedding.weight", "token_head.weight"):
        state[name] = torch.cat([state[name], new_rows(state[name], missing, generator)])
    decoder = replace(config.decoder, vocab_size=config.vocab_size + missing)
    return _of(replace(config, decoder=decoder, has_own_token_head=True), state)


def new_rows(weight: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """Rows [count, H] close to the mean of `weight` [V, H], in float32."""
    mean = weight.mean(0)
    centred = weight - mean
    variances, directions = torch.linalg.eigh(centred.T @ centred / len(weight))
    drawn = torch.randn(count, len(mean), generator=generator)
    spread = directions * (NEW_ROWS_SHARE * variances.clamp(min=0)).sqrt()
    rows: Tensor = mean + drawn @ spread.T
    return rows


def with_modules(model: VitaModel, modules: int, generator: torch.Generator) -> VitaModel:
    """The model with so many modules; ConfigError if it has more."""
    config = model.config
    if modules < config.modules:
        raise ConfigError(
            f"the model has {config.modules} modules, more than the {modules} wanted",
            hint=f"modules={config.modules}, or start from an earlier stage",
        )
    if modules == config.modules:
        return model
    state = dict(model.state_dict())
    for k in range(config.modules, modules):
        before = f"predictors.{k - 1}." if k else f"language_model.layers.{config.decoder.num_hidden_layers - 1}."
        after = f"predictors.{k}." if k else f"predictors.{k}.layer."
        copies = {after + n.removeprefix(before): t.clone() for n, t in state.items() if n.startswith(before)}
        state |= copies if k else copies | dict(_first_mixing(config.hidden_size, generator))
    return _of(replace(config, modules=modules), state)


def _first_mixing(dim: int, generator: torch.Generator) -> Iterator[tuple[str, Tensor]]:
    """What the first module has besides a layer."""
    yield "predictors.0.projection.weight", PROJECTION_STD * torch.randn(dim, 2 * dim, generator=generator)
    for name in ("embedding_norm", "hidden_norm"):
        yield f"predictors.0.{name}.weight", torch.ones(dim)


def _of(config: VitaConfig, state: dict[str, Tensor]) -> VitaModel:
    """A model of these weights."""
    with torch.device("meta"):
        model = VitaModel(config)
    model.load_state_dict(state, strict=True, assign=True)
    return model.eval().requires_grad_(False)
