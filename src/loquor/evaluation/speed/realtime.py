"""How much faster than real time Realtime models speak, by backend, text windows included, alone and eight at once.

Every go continues a voice of the published length and reads a window of text before every window of speech; no stream
ends by itself, whatever its weights say. Backends take turns in one process: torch with as many threads as are asked
for, OpenVINO with one for each stage, and its decoder beside the other passes where there is more than one.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import wait
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from importlib.util import find_spec
from pathlib import Path

import torch

from loquor.backends.interface import RealtimeBackend
from loquor.engine.backend import require_openvino
from loquor.engine.realtime import RealtimeBatch, Stream
from loquor.engine.request import Sampling
from loquor.errors import ConfigError
from loquor.evaluation.speed.bench import Bench, Watch, with_random_weights
from loquor.evaluation.speed.protocol import Figures, Subject
from loquor.models.codec import CodecConfig
from loquor.models.connector import LatentScale
from loquor.models.realtime.checkpoint import load_realtime
from loquor.models.realtime.model import RealtimeConfig, RealtimeModel, RealtimeState
from loquor.nn.diffusion_head import DiffusionHeadConfig
from loquor.nn.qwen2 import Qwen2Config
from loquor.text.tokenizer import Token

VOICE_TEXT, VOICE_SPEECH, VOICE_NEGATIVE = 74, 251, 1  # positions of a published voice
SAMPLING = Sampling(guidance=1.5, steps=5)
SAMPLE_RATE_HZ = 24_000
COMPANY = 8  # streams at once
RTF, MS, CPU_MS, FIRST = "rtf", "ms/frame", "cpu ms/frame", "first audio, ms"
PARTS = {"read": "text windows", "draw": "latents", "hear": "upper layers", "decode": "decoder"}
BACKENDS = ("torch", "openvino")

PUBLISHED = RealtimeConfig(
    text=(
        upper := Qwen2Config(
            hidden_size=896,
            intermediate_size=4864,
            num_hidden_layers=4,
            num_attention_heads=14,
            num_key_value_heads=2,
            vocab_size=151_936,
            max_position_embeddings=8192,
        )
    ),
    speech=replace(upper, num_hidden_layers=20),
    codec=CodecConfig(vae_dim=64, encoder_ratios=(8, 5, 5, 4, 2, 2), encoder_depths="3-3-3-3-3-3-8"),
    head=DiffusionHeadConfig(hidden_size=896, latent_size=64),
)
SMALL = replace(upper, hidden_size=32, intermediate_size=48, num_attention_heads=4, vocab_size=128)
TOY = RealtimeConfig(
    text=replace(SMALL, num_hidden_layers=1),
    speech=replace(SMALL, num_hidden_layers=2),
    codec=CodecConfig(
        vae_dim=8, encoder_ratios=(4, 2), encoder_depths="1-1-1", encoder_n_filters=4, decoder_n_filters=4
    ),
    head=DiffusionHeadConfig(hidden_size=32, latent_size=8, head_layers=1),
)
SHAPES = {"realtime-0.5b": PUBLISHED, "realtime-toy": TOY}


def bench_shape(name: str, dtype: torch.dtype | None, frames: int, backends: Sequence[str]) -> Bench:
    """A shape with random weights, in torch in bfloat16 unless another type is wanted."""
    return _bench(_random(SHAPES[name], dtype or torch.bfloat16), frames, backends, {"shape": name})


def bench_folder(folder: Path, dtype: torch.dtype | None, frames: int, backends: Sequence[str]) -> Bench:
    """The model in `folder`."""
    return _bench(load_realtime(folder, dtype), frames, backends, {"model": str(folder)})


def _random(config: RealtimeConfig, dtype: torch.dtype) -> RealtimeModel:
    def build() -> RealtimeModel:
        model = RealtimeModel(config, has_encoder=False)
        model.latent_scale = LatentScale()
        del model.latent_scale._buffers["scale"], model.latent_scale._buffers["bias"]
        return model

    model = with_random_weights(build, dtype)
    model.latent_scale.register_buffer("scale", torch.ones(()))
    model.latent_scale.register_buffer("bias", torch.zeros(()))
    return model


def _bench(model: RealtimeModel, frames: int, backends: Sequence[str], what: dict[str, object]) -> Bench:
    chosen = backends or [name for name in BACKENDS if name == "torch" or find_spec(name)]
    if unknown := [name for name in chosen if name not in BACKENDS]:
        raise ConfigError(f"backend {unknown[0]!r} is unknown", hint=f"one of {', '.join(BACKENDS)}")
    subjects = []
    dtype = str(model.types.weight.dtype).removeprefix("torch.")
    for name in chosen:
        runs = Runs(model if name == "torch" else _optimised(model), frames)
        title = f"torch {dtype}" if name == "torch" else "openvino int8"
        subjects.append(Subject(title, partial(runs.go, 1)))
        subjects.append(Subject(f"{title}, {COMPANY} streams", partial(runs.go, COMPANY)))
    count = sum(p.numel() for name, p in model.named_parameters() if not name.startswith("codec.encoder."))
    settings = {**what, "parameters": count, "frames": frames, "steps": SAMPLING.steps, "guidance": SAMPLING.guidance}
    parts = [_part(name) for name in PARTS.values()]
    return Bench(subjects=subjects, claim=RTF, columns=[RTF, MS, CPU_MS, FIRST, *parts], parts=parts, settings=settings)


def _optimised(model: RealtimeModel) -> RealtimeBackend:
    require_openvino()
    from loquor.backends.openvino.backend import OpenVinoRealtime
    from loquor.backends.openvino.weights import weights_of

    return OpenVinoRealtime(model.config, {name: t.contiguous() for name, t in weights_of(model)})


class Endless(RealtimeBatch):
    """A batch whose streams go on until they are cancelled."""

    def _ending(self, stream: Stream, end_logit: float) -> None:
        return None


class Runs:
    """A backend, and what it is made to say."""

    def __init__(self, backend: RealtimeBackend, frames: int) -> None:
        self.backend, self.frames = backend, frames
        self.is_torch = isinstance(backend, RealtimeModel)
        self.batches: dict[bool, Endless] = {}
        self.voice = _voice(backend)

    def go(self, count: int) -> Figures:
        """So many streams say their frames."""
        threads = torch.get_num_threads()
        batch = self._batch(is_pipelined=threads > 1)
        if not self.is_torch:
            torch.set_num_threads(1)
        try:
            return self._go(batch, count)
        finally:
            torch.set_num_threads(threads)
            wait([one.sound for one in batch.said])  # or the next go would have them beside it
            batch.clear()

    def _batch(self, is_pipelined: bool) -> Endless:
        if is_pipelined not in self.batches:
            if not self.is_torch:
                self.backend.is_pipelined = is_pipelined  # type: ignore[misc]
            self.batches[is_pipelined] = Endless(self.backend)
            self.batches[is_pipelined].prepare(SAMPLING)
        return self.batches[is_pipelined]

    def _go(self, batch: Endless, count: int) -> Figures:
        config, watch = self.backend.config, Watch(time.perf_counter)
        windows = self.frames // config.speech_window + 2
        for _ in range(count):
            stream = Stream(self.voice, SAMPLING)
            stream.feed([Token(i % config.text.vocab_size, i, i + 1) for i in range(windows * config.text_window)])
            batch.join(stream)
        wall, cpu = time.perf_counter(), time.process_time()
        handed = len(batch.step())
        first_ms = 1000 * (time.perf_counter() - wall)
        with _watched(self.backend, batch, watch):
            while handed < count * self.frames:
                handed += len(batch.step())
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        ms, frame_ms = 1000 * wall / handed, 1000 * config.codec.hop_samples / SAMPLE_RATE_HZ
        spent = {_part(title): 1000 * watch.spent.get(title, 0.0) / handed for title in PARTS.values()}
        return {RTF: ms / frame_ms, MS: ms, CPU_MS: 1000 * cpu / handed, FIRST: first_ms} | spent


def _voice(backend: RealtimeBackend) -> RealtimeState:
    """As long as a published one; what is in it changes nothing of the arithmetic."""
    state = backend.init_state()
    lengths = ((state.text, VOICE_TEXT), (state.speech, VOICE_SPEECH), (state.negative, VOICE_NEGATIVE))
    for cache, length in lengths:
        cache.reserve(length)
        cache.length.fill_(length)
    return state


@contextmanager
def _watched(backend: RealtimeBackend, batch: RealtimeBatch, watch: Watch) -> Iterator[None]:
    """The passes are watched; where they run side by side, their times add up to more than there was."""
    sampler = batch.sampler
    batch.sampler = watch.on(PARTS["draw"], sampler)  # type: ignore[assignment]
    methods = [name for name in PARTS if name != "draw"]
    try:
        for name in methods:
            method: Callable[..., object] = getattr(backend, name)
            object.__setattr__(backend, name, watch.on(PARTS[name], method))
        yield
    finally:
        batch.sampler = sampler
        for name in methods:
            object.__delattr__(backend, name)


def _part(name: str) -> str:
    return f"{name}, ms/frame"
