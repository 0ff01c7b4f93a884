"""How much faster than real time Realtime models speak, by backend, text windows included, alone and several at once.

Every go continues a voice, the model's own or one of the published length, and reads a window of text before every
window of speech; no stream ends by itself, whatever its weights say. Backends take turns in one process: torch with as
many threads as are asked for, OpenVINO with one for each stage, and its decoder beside the other passes where there is
more than one. A wait is the time between two pieces of a stream's sound.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from concurrent.futures import wait
from dataclasses import dataclass, field, replace
from functools import partial
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path

import torch
from torch import Tensor

from loquor.backends.interface import RealtimeBackend
from loquor.configs import read_json
from loquor.engine.backend import require_openvino
from loquor.engine.realtime import RealtimeBatch, Stream
from loquor.engine.request import Sampling
from loquor.engine.speaker import DEFAULTS_FILE, SAMPLING_DEFAULTS
from loquor.errors import ConfigError, InputError
from loquor.evaluation.speed.bench import (
    CPU_MS,
    MS,
    RTF,
    WAIT,
    Bench,
    Options,
    Watch,
    names_by_streams,
    part_figure,
    watched,
    with_random_weights,
)
from loquor.evaluation.speed.protocol import Outcome, Subject
from loquor.evaluation.speed.trace import DECODER, LANGUAGE_MODEL, LATENTS
from loquor.evaluation.speed.trace import PARTS as TRACED
from loquor.models.codec import SAMPLE_RATE_HZ, CodecConfig
from loquor.models.realtime.checkpoint import load_realtime
from loquor.models.realtime.model import RealtimeConfig, RealtimeModel, RealtimeState
from loquor.nn.diffusion_head import DiffusionHeadConfig
from loquor.nn.qwen2 import Qwen2Config
from loquor.text.tokenizer import Token
from loquor.voices.catalogue import catalogue, find_voice
from loquor.voices.voice import Voice

BRANCHES = {"lm": 74, "tts_lm": 251, "neg_tts_lm": 1}  # positions of a published voice
PUBLISHED_SAMPLING = Sampling(guidance=1.5, steps=5)
STREAMS = (1, 2, 4, 8)
FIRST = "first audio, ms"
PARTS = {"read": LANGUAGE_MODEL, "hear": LANGUAGE_MODEL, "sampler": LATENTS, "decode": DECODER}  # by what is called
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


@dataclass(frozen=True)
class Manner:
    """How a model is made to speak."""

    sampling: Sampling = PUBLISHED_SAMPLING
    voice: Mapping[str, int] = field(default_factory=lambda: BRANCHES)  # positions of its branches

    @classmethod
    def of(cls, folder: Path) -> Manner:
        """As the model in `folder` speaks if it is asked for nothing: its own voice and sampling."""
        path, voices = folder / DEFAULTS_FILE, catalogue(folder)
        own = read_json(path) if path.is_file() else {}
        sampling = replace(PUBLISHED_SAMPLING, **{name: own[name] for name in SAMPLING_DEFAULTS if name in own})
        if not voices:
            return cls(sampling)
        voice = Voice.open(find_voice(own["voice"], voices) if "voice" in own else next(iter(voices.values())))
        return cls(sampling, {branch: voice.length(branch) for branch in BRANCHES})


def bench_shape(name: str, options: Options) -> Bench:
    """A shape with random weights."""
    return _bench(*model_of_shape(name, options), options, {"shape": name})


def bench_folder(folder: Path, options: Options) -> Bench:
    """The model in `folder`."""
    return _bench(*model_in(folder, options), options, {"model": str(folder)})


def model_in(folder: Path, options: Options) -> tuple[RealtimeModel, Manner]:
    """The model in `folder`, as `loquor.load` has it on a processor: in float32 unless another type is wanted."""
    return load_realtime(folder, options.dtype or torch.float32), Manner.of(folder)


def model_of_shape(name: str, options: Options) -> tuple[RealtimeModel, Manner]:
    """One with random weights, in bfloat16 unless another type is wanted."""
    build = partial(RealtimeModel, SHAPES[name], has_encoder=False)
    return with_random_weights(build, options.dtype or torch.bfloat16), Manner()


def _bench(model: RealtimeModel, manner: Manner, options: Options, what: dict[str, object]) -> Bench:
    subjects, scaling = list[Subject](), dict[str, dict[int, str]]()
    for backend, title in titles(model, options).items():
        runs = Runs(model if backend == "torch" else optimised(model, tensors_of(model)), manner, options.length)
        scaling[title] = names_by_streams(title, options.streams or STREAMS)
        subjects += [Subject(name, partial(runs.go, n), backend) for n, name in scaling[title].items()]
    count = sum(p.numel() for name, p in model.named_parameters() if not name.startswith("codec.encoder."))
    settings = {**what, "parameters": count, "frames": options.length}
    parts = [part_figure(name) for name in TRACED]
    return Bench(
        subjects=subjects,
        claim=RTF,
        columns=[RTF, MS, CPU_MS, FIRST, *parts],
        parts=parts,
        settings={**settings, "steps": manner.sampling.steps, "guidance": manner.sampling.guidance},
        scaling=scaling,
    )


def titles(model: RealtimeModel, options: Options) -> dict[str, str]:
    """The backends that are wanted, or all there are, and how they compute; ConfigError for an unknown one."""
    chosen = options.backends or [name for name in BACKENDS if name == "torch" or find_spec(name)]
    if unknown := [name for name in chosen if name not in BACKENDS]:
        raise ConfigError(f"backend {unknown[0]!r} is unknown", hint=f"one of {', '.join(BACKENDS)}")
    dtype = str(model.types.weight.dtype).removeprefix("torch.")
    return {name: f"torch {dtype}" if name == "torch" else "openvino int8" for name in chosen}


def tensors_of(model: RealtimeModel) -> dict[str, Tensor]:
    """What OpenVINO runs it with."""
    require_openvino()
    from loquor.backends.openvino.weights import weights_of

    return {name: tensor.contiguous() for name, tensor in weights_of(model)}


def optimised(model: RealtimeModel, tensors: Mapping[str, Tensor]) -> RealtimeBackend:
    from loquor.backends.openvino.backend import OpenVinoRealtime

    return OpenVinoRealtime(model.config, tensors)


class Endless(RealtimeBatch):
    """A batch whose streams go on until they are cancelled."""

    def _ending(self, stream: Stream, end_logit: float) -> None:
        return None


class Runs:
    """A backend, and what it is made to say."""

    def __init__(self, backend: RealtimeBackend, manner: Manner, frames: int) -> None:
        self.backend, self.manner, self.frames = backend, manner, frames
        self.is_torch = isinstance(backend, RealtimeModel)
        self.batches: dict[bool, Endless] = {}
        self.voice = _voice(backend, manner.voice)
        config = backend.config
        self.windows = frames // config.speech_window + 2
        longest, context = self.windows * (config.text_window + config.speech_window), config.speech
        if (needed := manner.voice["tts_lm"] + longest) > context.max_position_embeddings:
            raise InputError(
                f"{frames} frames a go take {needed} of the context's {context.max_position_embeddings} positions",
                hint="give a smaller --length",
            )

    def go(self, count: int) -> Outcome:
        """So many streams say their frames."""
        threads = torch.get_num_threads()
        batch = self.batch(is_pipelined=threads > 1)
        if not self.is_torch:
            torch.set_num_threads(1)
        try:
            return self._go(batch, count)
        finally:
            torch.set_num_threads(threads)
            sounds = [one.sound for one in batch.said]
            batch.clear()
            wait(sounds)  # what is being decoded, or the next go would have it beside it

    def batch(self, is_pipelined: bool) -> Endless:
        if is_pipelined not in self.batches:
            if not self.is_torch:
                self.backend.is_pipelined = is_pipelined  # type: ignore[misc]
            self.batches[is_pipelined] = Endless(self.backend)
            self.batches[is_pipelined].prepare(self.manner.sampling)
        return self.batches[is_pipelined]

    def _go(self, batch: Endless, count: int) -> Outcome:
        config, watch, clock = self.backend.config, Watch(time.perf_counter), time.perf_counter
        for _ in range(count):
            batch.join(self.stream())
        began, cpu, handed = clock(), time.process_time(), 0
        arrived: dict[Stream, list[float]] = {stream: [] for stream in batch.rows}  # of pieces of its sound, in ms
        with watched(watch, self.passes(batch)):
            while handed < count * self.frames:
                frames = batch.step()
                handed += len(frames)
                for stream in {stream for stream, _ in frames}:
                    arrived[stream].append(1000 * (clock() - began))
        wall_ms, cpu_ms = 1000 * (clock() - began), 1000 * (time.process_time() - cpu)
        ms, frame_ms = wall_ms / handed, 1000 * config.codec.hop_samples / SAMPLE_RATE_HZ
        firsts = [times[0] for times in arrived.values()]
        waits = [later - earlier for times in arrived.values() for earlier, later in pairwise(times)]
        spent = {part_figure(title): 1000 * watch.spent.get(title, 0.0) / handed for title in TRACED}
        figures = {RTF: ms / frame_ms, MS: ms, CPU_MS: cpu_ms / handed, FIRST: max(firsts)}
        return Outcome(figures | spent, {FIRST: firsts, WAIT: waits})

    def stream(self) -> Stream:
        config = self.backend.config
        stream = Stream(self.voice, self.manner.sampling)
        stream.feed([Token(i % config.text.vocab_size, i, i + 1) for i in range(self.windows * config.text_window)])
        return stream

    def passes(self, batch: RealtimeBatch) -> Iterable[tuple[object, str, str]]:
        """What a frame is made of, its share of texts too. Where passes run side by side, it is more than there was."""
        return [(batch if method == "sampler" else self.backend, method, name) for method, name in PARTS.items()]


def _voice(backend: RealtimeBackend, lengths: Mapping[str, int]) -> RealtimeState:
    """As long as a voice is; what is in it changes nothing of the arithmetic."""
    state = backend.init_state()
    caches = (state.text, state.speech, state.negative)
    for cache, length in zip(caches, (lengths[branch] for branch in BRANCHES), strict=True):
        cache.reserve(length)
        cache.length.fill_(length)
    return state
