"""The voices that come with a model. A Realtime voice is a record of what its model computed: it can be repeated.

The lower layers' first keys and values follow from one token each, so the tokens of a prompt are found again, and with
them everything the lower model made of the text is computed anew; of the upper model, the negative branch, which has
read one token, and the first window of text. A voice of another model, or a model that has changed since, is found out
whatever the shapes are.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import cast

import torch
from torch import Tensor

from loquor.engine.speaker import fingerprint_of
from loquor.evaluation.verification.checks import Check, difference
from loquor.evaluation.verification.steps import Step
from loquor.models.realtime.model import TEXT_TYPE, RealtimeModel
from loquor.nn.qwen2 import DecoderLayer
from loquor.voices.card import RecordingCard, read_card
from loquor.voices.catalogue import SAVED
from loquor.voices.recording import RecordedVoice
from loquor.voices.voice import Voice

TOLERANCE = 0.1  # voices are published in bfloat16, computed by other kernels
ROWS_AT_ONCE = 16384
REPEATED = "repeated by this model"


def steps(folder: Path, model: RealtimeModel | None) -> Iterator[Step]:
    """A step for each voice in the model's folder; `model` is None for one that speaks with recordings."""
    for path in sorted((folder / "voices").glob(f"*{SAVED}")):
        yield Step(f"voice {path.stem}", partial(voice, path, model))


def voice(path: Path, model: RealtimeModel | None) -> Iterator[Check]:
    """Whether a voice fits, by its card and by its contents; VoiceError if it is damaged."""
    name, card = f"voice {path.stem}", read_card(path)
    different = card.misfits(fingerprint_of(model.config) if model else None)
    if different:
        yield Check(name, "shapes", "the model's", "fail", detail="; ".join(different))
        return
    if isinstance(card, RecordingCard):
        yield Check(name, "recording", "a sound", detail=f"{RecordedVoice.open(path).seconds:.1f} s")
        return
    assert model is not None, "a prompt fits no other model"
    yield from prompt(name, Voice.open(path), model)


def prompt(name: str, opened: Voice, model: RealtimeModel) -> Iterator[Check]:
    """The prefilled prompt of a Realtime voice."""
    if not all(torch.isfinite(tensor).all() for tensor in opened.tensors.values()):
        yield Check(name, "numbers", "finite", "fail", detail="NaN or infinite numbers")
        return
    positions, context = opened.length("tts_lm"), model.config.speech.max_position_embeddings
    has_room = positions + model.config.text_window + 1 <= context
    told = f"{positions} of {context} positions"
    yield Check(name, "room to speak", "the context", "ok" if has_room else "fail", detail=told)
    lower, negative = (_repeated(model, opened, branch) for branch in ("lm", "neg_lm"))
    yield _check(name, "text_model", max(lower[0], negative[0]))
    yield _check(name, "speech_model, without a voice", negative[1])
    upper = _check(name, "speech_model, first window", lower[1])
    if upper.verdict == "fail" and negative[1] <= TOLERANCE:  # how text and speech take turns in it nobody published
        detail = "the prompt begins otherwise than ours, or the model differs"
        upper = Check(name, upper.what, upper.against, "warn", upper.difference, TOLERANCE, detail)
    yield upper


def _check(name: str, part: str, apart: float) -> Check:
    detail = (
        ""
        if apart <= TOLERANCE
        else f"{name.removeprefix('voice ')} was made by another model, or {part.partition(',')[0]} changed"
    )
    return Check(name, part, REPEATED, "ok" if apart <= TOLERANCE else "fail", apart, TOLERANCE, detail)


def _repeated(model: RealtimeModel, opened: Voice, branch: str) -> tuple[float, float]:
    """How far a branch of the lower model, and the first window of the upper one, are from what is computed now."""
    kept = {name: tensor.to(model.types.weight) for name, tensor in opened.tensors.items()}
    ids = tokens_of(model, kept[f"{branch}.value.0"])
    state = model.text_model.init_state(1)
    hidden = model.text_model(model.embedding(ids)[None], state)
    below = difference(hidden, kept[f"{branch}.last_hidden_state"])
    for i, layer in enumerate(state.layers):
        below = max(below, difference(layer.keys[:, :, : len(ids)], kept[f"{branch}.key.{i}"]))
        below = max(below, difference(layer.values[:, :, : len(ids)], kept[f"{branch}.value.{i}"]))
    window = hidden[:, : model.config.text_window]
    above = model.speech_model(window + model.types.weight[TEXT_TYPE])
    upper = f"{branch.removesuffix('lm')}tts_lm.last_hidden_state"
    return below, difference(above, kept[upper][:, : window.shape[1]])


def tokens_of(model: RealtimeModel, values: Tensor) -> Tensor:
    """The ids [P] whose embeddings give the first layer's values [1, kv_heads, P, D], as nearly as any do."""
    layer = cast(DecoderLayer, model.text_model.layers[0])
    attention = layer.attention
    size = attention.kv_heads * attention.head_dim
    weight, bias = attention.qkv.weight[-size:], attention.qkv.bias[-size:]
    wanted = values[0].transpose(0, 1).reshape(-1, size)
    nearest, found = torch.full(wanted.shape[:1], torch.inf), torch.zeros(len(wanted), dtype=torch.long)
    for start in range(0, len(model.embedding.weight), ROWS_AT_ONCE):
        rows = model.embedding.weight[start : start + ROWS_AT_ONCE]
        distances, places = torch.cdist(wanted.float(), (layer.attention_norm(rows) @ weight.T + bias).float()).min(1)
        is_nearer = distances < nearest
        nearest[is_nearer], found[is_nearer] = distances[is_nearer], places[is_nearer] + start
    return found
