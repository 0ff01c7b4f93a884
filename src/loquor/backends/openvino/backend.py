"""A Realtime model that OpenVINO runs, one thread a pass.

States are the torch model's own, in float32 on the CPU, and OpenVINO reads them where they lie. Every matrix is in
memory once: text windows and frames go through the same graph of the upper layers.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import openvino as ov
import torch
from torch import Tensor

from loquor.backends.openvino import head, language_model
from loquor.backends.openvino.decoder import DecoderGraph
from loquor.backends.openvino.graph import Weights
from loquor.checkpoints import without_memory
from loquor.diffusion.sample import Guidance
from loquor.diffusion.solver import SolverPlan
from loquor.models.codec import StackState
from loquor.models.realtime.model import TEXT_TYPE, RealtimeConfig, RealtimeModel, RealtimeState
from loquor.nn.attention import KVCache
from loquor.nn.diffusion_head import TimeEmbedding

ONE_THREAD = {
    "INFERENCE_NUM_THREADS": 1,
    "NUM_STREAMS": 1,
    "ENABLE_CPU_PINNING": False,  # or all graphs would share one core, and the pipeline gain nothing
    "DYNAMIC_QUANTIZATION_GROUP_SIZE": "128",  # inputs of a product that are rounded to eight bits together
    "INFERENCE_PRECISION_HINT": "f32",
}


class Pass:
    """A graph that is ready to run, one run at a time."""

    def __init__(self, model: ov.Model) -> None:
        self._request = ov.Core().compile_model(model, "CPU", ONE_THREAD).create_infer_request()
        self._given: dict[str, Tensor] = {}

    def give(self, name: str, value: Tensor) -> None:
        """An input, read where it lies when the graph runs; it must be contiguous."""
        if self._given.get(name) is not value:
            self._request.set_tensor(name, ov.Tensor(value.numpy(), shared_memory=True))
            self._given[name] = value

    def run(self) -> None:
        self._request.infer(share_outputs=True)

    def result(self, name: str) -> Tensor:
        """An output, overwritten by the next run."""
        return torch.from_numpy(self._request.get_tensor(name).data)


class OpenVinoRealtime:
    """The passes of a Realtime model over the weights that `weights_of` gives."""

    def __init__(self, config: RealtimeConfig, tensors: Mapping[str, Tensor]) -> None:
        self.config = config
        self.is_pipelined = (os.cpu_count() or 1) > 1
        self._weights = weights = Weights(tensors)
        self._embedding = tensors["embedding"]
        self._text = Pass(language_model.text_model(weights, config.text, TEXT_TYPE))
        self._speech = Pass(language_model.speech_model(weights, config.speech))
        self._connector = Pass(language_model.connector(weights, config.latent_size))
        self._decoder = Pass(DecoderGraph(weights, config.codec).build())
        with without_memory(Path("a model that OpenVINO runs")):
            self._shapes = RealtimeModel(config, has_encoder=False)
        self._nobody = torch.zeros(1, 1, config.hidden_size), self.init_state().negative  # in a pass without negatives

    def init_state(self, batch: int = 1) -> RealtimeState:
        """Streams that have read and said nothing."""
        return self._shapes.init_state(batch).map(_zeros)

    def init_decoder(self, batch: int = 1) -> StackState:
        """The decoder's memory of streams that have made no sound."""
        return self._shapes.init_decoder(batch).map(_zeros)

    def sampler(self, plan: SolverPlan, is_guided: bool = True) -> LatentGraph:
        """What draws latents by `plan`, always with guidance or always without; keep it."""
        return LatentGraph(self._weights, self.config, plan, is_guided)

    def read(self, ids: Tensor, state: RealtimeState, lengths: Tensor | None = None) -> None:
        """Take a text window [B, T] into `state`; `lengths` [B] are the real tokens of each row, at least one."""
        lengths = _whole(ids) if lengths is None else lengths
        self._upper(self._lower(ids, state, lengths), lengths, state)

    def hear(
        self, latent: Tensor, state: RealtimeState, ids: Tensor | None = None, lengths: Tensor | None = None
    ) -> Tensor:
        """Feed back a spoken frame [B, D], both branches in one pass, and `ids`, where there are any, behind it in the
        same pass. Gives the end logits [B] of the frame."""
        self._connector.give("latents", latent.contiguous())
        self._connector.run()
        frame = self._connector.result("embedded")[:, None].clone()
        x, taken = frame, torch.ones(len(latent), dtype=torch.long)
        if ids is not None:
            lengths = _whole(ids) if lengths is None else lengths
            x, taken = torch.cat([frame, self._lower(ids, state, lengths)], 1), taken + lengths
        self._upper(x, taken, state, negative=frame)
        return self._speech.result("end")[:, 0, 0].clone()

    def _lower(self, ids: Tensor, state: RealtimeState, lengths: Tensor) -> Tensor:
        """The text window as inputs of the upper layers [B, T, H]."""
        self._feed(self._text, "text", self._embedding[ids].float(), state.text)
        self._text.run()
        _remember(self._text.result("text.new"), state.text, lengths)
        return self._text.result("hidden").clone()

    def _upper(self, x: Tensor, lengths: Tensor, state: RealtimeState, negative: Tensor | None = None) -> None:
        """Take inputs [B, T, H], of which `lengths` [B] are real, and one [B, 1, H] into the negative branch."""
        self._feed(self._speech, "speech", x, state.speech)
        self._feed(self._speech, "negative", *(self._nobody if negative is None else (negative, state.negative)))
        self._speech.run()
        _remember(self._speech.result("speech.new"), state.speech, lengths)
        state.condition.copy_(self._speech.result("speech.hidden")[torch.arange(len(x)), lengths - 1])
        if negative is not None:
            _remember(self._speech.result("negative.new"), state.negative, torch.ones_like(lengths))
            state.negative_condition.copy_(self._speech.result("negative.hidden")[:, 0])

    def decode(self, latents: Tensor, memory: StackState) -> Tensor:
        """Frames [B, N, D] to their samples [B, N * hop], continuing the decoder's memory."""
        self._decoder.give("latents", latents.contiguous())
        leaves = dict(memory.leaves())
        for name, leaf in leaves.items():
            self._decoder.give(name.removesuffix(".past"), leaf)
        self._decoder.run()
        for name, leaf in leaves.items():
            leaf.copy_(self._decoder.result(f"{name.removesuffix('.past')}.next"))
        return self._decoder.result("waveform").clone()

    def _feed(self, graph: Pass, name: str, x: Tensor, cache: KVCache) -> None:
        cache.reserve(int(cache.length.max()) + x.shape[1])
        graph.give(f"{name}.x", x)
        graph.give(f"{name}.length", cache.length)
        for i, layer in enumerate(cache.layers):
            graph.give(f"{name}.{i}.keys", layer.keys)
            graph.give(f"{name}.{i}.values", layer.values)


def _whole(ids: Tensor) -> Tensor:
    """The lengths of windows [B, T] without padding."""
    return torch.full_like(ids[:, 0], ids.shape[1])


def _zeros(t: Tensor) -> Tensor:
    return torch.zeros(t.shape, dtype=t.dtype)


def _remember(new: Tensor, cache: KVCache, lengths: Tensor) -> None:
    """Write new keys and values [2 * layers, B, H_kv, T, D] behind those of each row."""
    keys, values = new.numpy().reshape(2, -1, *new.shape[1:])
    for row, start in enumerate(cache.length.tolist()):
        end = start + new.shape[3]
        for layer, k, v in zip(cache.layers, keys, values, strict=True):
            layer.keys.numpy()[row, :, start:end] = k[row]
            layer.values.numpy()[row, :, start:end] = v[row]
    cache.length += lengths


class LatentGraph:
    """A head bound to a plan, as `loquor.diffusion.sample.Sampler`, in one graph, which has guidance in it or not."""

    def __init__(self, weights: Weights, config: RealtimeConfig, plan: SolverPlan, is_guided: bool) -> None:
        times = _time_embeddings(weights, config.hidden_size, plan.timesteps)
        self._pass = Pass(head.sampler(weights, config.head, plan, times, is_guided))

    def __call__(
        self,
        condition: Tensor,
        start_noise: Tensor,
        guidance: Guidance | None = None,
        step_noise: Tensor | None = None,
    ) -> Tensor:
        """Latents [n, D] from condition [n, H], start_noise [n, D] and step_noise [N, n, D]."""
        graph = self._pass
        graph.give("noise", start_noise.contiguous())
        graph.give("conditions", torch.cat([condition, guidance.negative]) if guidance else condition)
        if guidance:
            graph.give("scale", guidance.scale.float()[:, None])
        if step_noise is not None:
            graph.give("fresh", step_noise.contiguous())
        graph.run()
        return graph.result("latents").clone()


@torch.no_grad()
def _time_embeddings(weights: Weights, hidden: int, timesteps: Tensor) -> Tensor:
    """[N] to [N, H], exactly."""
    module = TimeEmbedding(hidden)
    module.load_state_dict({f"{fc}.weight": weights.tensors[f"head.time.{fc}"] for fc in ("fc1", "fc2")}, assign=True)
    embeddings: Tensor = module(timesteps.float())
    return embeddings
