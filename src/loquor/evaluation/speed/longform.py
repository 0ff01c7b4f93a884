"""How long a frame of long-form models takes, part by part: after a prompt of two voices and ten turns.

The next token is chosen and then always a frame: what random weights would rather say tells nothing of speed. The
prompt is read before a go is counted, once for all of its frames, as is each voice.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import partial
from itertools import pairwise
from pathlib import Path

import torch
from torch import Tensor

from loquor.engine.longform import PIECE, LongformBatch, LongformStream, voice_latents
from loquor.engine.request import Sampling
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
from loquor.models.codec import SAMPLE_RATE_HZ, CodecConfig
from loquor.models.longform.checkpoint import load_longform
from loquor.models.longform.model import LongformConfig, LongformModel
from loquor.models.longform.prompt import Line, SpecialIds, write_prompt
from loquor.nn.diffusion_head import DiffusionHeadConfig
from loquor.nn.qwen2 import Qwen2Config
from loquor.text.qwen_tokenizer import QwenTokenizer

VOICE_S, TURNS, TURN = 10, 10, "So this is what fifteen words of a turn look like in a script for two."
GUIDANCE, STEPS = 1.3, 10
STREAMS = (1,)
READING, VOICE = "prompt, ms/token", "voice, ms/s"
PARTS = ("language model", "token choice", "latents", "decoder", "semantic encoder", "connectors", "rest")

CODEC = CodecConfig(vae_dim=64, encoder_ratios=(8, 5, 5, 4, 2, 2), encoder_depths="3-3-3-3-3-3-8")
PUBLISHED = LongformConfig(
    decoder=Qwen2Config(
        hidden_size=1536,
        intermediate_size=8960,
        num_hidden_layers=28,
        num_attention_heads=12,
        num_key_value_heads=2,
        vocab_size=151_936,
        max_position_embeddings=65_536,
    ),
    acoustic=CODEC,
    semantic=replace(CODEC, vae_dim=128, fix_std=0.0, std_dist_type="none"),
    head=DiffusionHeadConfig(hidden_size=1536, latent_size=64),
    has_own_token_head=False,
)
THIN = replace(CODEC, encoder_depths="1-1-1-1-1-1-1", encoder_n_filters=2, decoder_n_filters=2)
TOY = replace(
    PUBLISHED,
    decoder=replace(
        PUBLISHED.decoder, hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4
    ),
    acoustic=THIN,
    semantic=replace(THIN, vae_dim=128, fix_std=0.0, std_dist_type="none"),
    head=DiffusionHeadConfig(hidden_size=32, latent_size=64, head_layers=1),
)
SHAPES = {"longform-1.5b": PUBLISHED, "longform-toy": TOY}


def bench_shape(name: str, options: Options) -> Bench:
    """A shape with random weights, in bfloat16 unless another type is wanted."""
    model = with_random_weights(partial(LongformModel, SHAPES[name]), options.dtype or torch.bfloat16)
    return _bench(model, options, {"shape": name})


def bench_folder(folder: Path, options: Options) -> Bench:
    """The model in `folder`."""
    return _bench(load_longform(folder, options.dtype), options, {"model": str(folder)})


def _bench(model: LongformModel, options: Options, what: dict[str, object]) -> Bench:
    options.require_torch(str(next(iter(what.values()))))
    runs, dtype = Runs(model, options.length), str(model.embedding.weight.dtype).removeprefix("torch.")
    title = f"torch {dtype}"
    names = names_by_streams(title, options.streams or STREAMS)
    parts = [part_figure(name) for name in PARTS]
    return Bench(
        subjects=[Subject(name, partial(runs.go, n)) for n, name in names.items()],
        claim=RTF,
        columns=[RTF, MS, CPU_MS, READING, VOICE, *parts],
        parts=parts,
        settings={
            **what,
            "parameters": sum(p.numel() for p in model.parameters()),
            "frames": options.length,
            "steps": STEPS,
            "guidance": GUIDANCE,
            "prompt tokens": len(runs.prompt),
        },
        scaling={title: names},
    )


class Speaking(LongformBatch):
    """Always goes on to the next frame; the choice is made all the same."""

    def _tokens(self, positive: Tensor) -> list[int]:
        return [self.special.frame] * len(super()._tokens(positive))


class Runs:
    """A model, and what it is made to say."""

    def __init__(self, model: LongformModel, frames: int) -> None:
        self.model, self.frames = model, frames
        tokenizer = QwenTokenizer()
        self.batch = Speaking(model, SpecialIds.of(tokenizer))
        draws = [torch.randn(VOICE_S * SAMPLE_RATE_HZ, generator=torch.Generator().manual_seed(i)) for i in range(2)]
        self.recordings: Sequence[Tensor] = [0.05 * noise for noise in draws]
        lines = [Line(i % 2, TURN) for i in range(TURNS)]
        hop = model.config.hop_samples
        self.prompt = write_prompt(tokenizer, lines, [-(-len(sound) // hop) for sound in self.recordings])

    def go(self, count: int) -> Outcome:
        """So many streams say their frames."""
        batch, watch, clock = self.batch, Watch(time.perf_counter), time.perf_counter
        batch.clear()
        began = clock()
        voices = [voice_latents(self.model, sound, seed) for seed, sound in enumerate(self.recordings)]
        voice_ms = 1000 * (clock() - began) / (len(voices) * VOICE_S)
        longest = self.frames + count * (2 + len(self.prompt) // PIECE)  # the first goes on while others are read
        sampling = Sampling(GUIDANCE, STEPS, max_new_tokens=longest)
        streams = [LongformStream(self.prompt, voices, sampling, max_length_times=longest) for _ in range(count)]
        began = clock()
        for stream in streams:
            batch.join(stream)
            while not stream.frames:
                batch.step()
        reading_ms = 1000 * (clock() - began) / (count * len(self.prompt))
        arrived, cpu = [clock()], time.process_time()
        with watched(watch, self.passes()):
            for _ in range(self.frames):
                batch.step()
                arrived.append(clock())
        cpu_ms = 1000 * (time.process_time() - cpu) / (count * self.frames)
        return self._outcome(count, arrived, watch, {CPU_MS: cpu_ms, READING: reading_ms, VOICE: voice_ms})

    def _outcome(self, count: int, arrived: Sequence[float], watch: Watch, known: dict[str, float]) -> Outcome:
        waits = [1000 * (later - earlier) for earlier, later in pairwise(arrived)]
        ms = sum(waits) / (count * self.frames)
        spent = {name: 1000 * watch.spent.get(name, 0.0) / (count * self.frames) for name in PARTS[:-1]}
        spent[PARTS[-1]] = ms - sum(spent.values())
        frame_ms = 1000 * self.model.config.hop_samples / SAMPLE_RATE_HZ
        parts = {part_figure(name): spent_ms for name, spent_ms in spent.items()}
        return Outcome({RTF: ms / frame_ms, MS: ms} | known | parts, {WAIT: waits})

    def passes(self) -> Iterable[tuple[object, str, str]]:
        """What a frame is made of, but for the rest."""
        batch, model = self.batch, self.model
        calls = ((model, "advance"), (batch, "_tokens"), (batch, "sampler"), (model, "decode"), (model, "hear"))
        return [(*call, name) for call, name in zip((*calls, (model, "embed_speech")), PARTS, strict=False)]
