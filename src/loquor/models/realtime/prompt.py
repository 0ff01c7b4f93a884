"""How text and speech take turns in the upper layers, and how a voice becomes a state.

The one place that knows the order of windows: generation follows it step by step, training lays it out at once.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from loquor.models.realtime.model import TEXT_TYPE, RealtimeModel, RealtimeState
from loquor.nn.attention import KVCache, LayerCache


@dataclass(frozen=True)
class Layout:
    """Positions in the upper layers' sequence."""

    text: list[int]  # of each text token
    speech: list[int]  # of each frame


def interleave(prompt: int, tokens: int, frames: int, text_window: int, speech_window: int) -> Layout:
    """`prompt` tokens first, then windows of text and speech in turn until both are used up."""
    text = list(range(prompt))
    speech: list[int] = []
    at, read, said = prompt, 0, 0
    while read < tokens or said < frames:
        window = min(text_window, tokens - read)
        text += range(at, at + window)
        at, read = at + window, read + window
        window = min(speech_window, frames - said)
        speech += range(at, at + window)
        at, said = at + window, said + window
    return Layout(text, speech)


@torch.no_grad()
def prefill(model: RealtimeModel, ids: Tensor, latents: Tensor, negative_id: int) -> dict[str, Tensor]:
    """A voice from its reference: text ids [1, P] and normalised latents [1, N, D] pushed through both models.

    The upper layers read the text, then the frames; the negative branch has seen one lone `negative_id`. Gives, for
    each branch, `<branch>.last_hidden_state` [1, P, H] and `<branch>.{key,value}.<layer>` [1, H_kv, P, D].
    """
    tensors: dict[str, Tensor] = {}
    lone = torch.full_like(ids[:, :1], negative_id)
    for branch, tokens, frames in (("", ids, latents), ("neg_", lone, latents[:, :0])):
        lower, upper = model.text_model.init_state(1), model.speech_model.init_state(1)
        hidden = model.text_model(model.embedding(tokens), lower)
        inputs = torch.cat([hidden + model.types.weight[TEXT_TYPE], model.embed_speech(frames)], 1)
        tensors |= _branch(f"{branch}lm", hidden, lower)
        tensors |= _branch(f"{branch}tts_lm", model.speech_model(inputs, upper), upper)
    return tensors


def _branch(name: str, hidden: Tensor, cache: KVCache) -> dict[str, Tensor]:
    tensors = {f"{name}.last_hidden_state": hidden}
    for i, layer in enumerate(cache.layers):
        tensors[f"{name}.key.{i}"] = layer.keys[:, :, : hidden.shape[1]].clone()
        tensors[f"{name}.value.{i}"] = layer.values[:, :, : hidden.shape[1]].clone()
    return tensors


class Stateful(Protocol):
    """A model, or whatever else runs its passes."""

    def init_state(self, batch: int = 1) -> RealtimeState: ...


def voice_state(model: Stateful, tensors: Mapping[str, Tensor]) -> RealtimeState:
    """The state a stream starts from in the voice of `tensors` (as `prefill` gives them), in the model's dtype."""
    state = model.init_state(1)
    for branch, cache in (("lm", state.text), ("tts_lm", state.speech), ("neg_tts_lm", state.negative)):
        for i, layer in enumerate(cache.layers):
            keys, values = tensors[f"{branch}.key.{i}"], tensors[f"{branch}.value.{i}"]
            cache.layers[i] = LayerCache(keys.to(layer.keys).contiguous(), values.to(layer.values).contiguous())
        cache.length.fill_(tensors[f"{branch}.last_hidden_state"].shape[1])
    state.condition.copy_(tensors["tts_lm.last_hidden_state"][:, -1])
    state.negative_condition.copy_(tensors["neg_tts_lm.last_hidden_state"][:, -1])
    return state
