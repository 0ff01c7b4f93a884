"""How long a frame of a long-form model takes, part by part, and how much memory it needs: the shape of the published
1.5B model with random weights, speaking after a prompt of two voices of 10 s and 150 words.

    python benchmarks/longform.py --frames 10 --threads 2 --json longform.json
    python benchmarks/longform.py --toy
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from loquor.checkpoints import without_memory
from loquor.engine.longform import LongformBatch, LongformStream, voice_latents
from loquor.engine.request import Sampling
from loquor.models import DTYPES
from loquor.models.codec import CodecConfig
from loquor.models.longform.model import LongformConfig, LongformModel
from loquor.models.longform.prompt import Line, SpecialIds, write_prompt
from loquor.nn.diffusion_head import DiffusionHeadConfig
from loquor.nn.qwen2 import Qwen2Config
from loquor.text.qwen_tokenizer import QwenTokenizer

SAMPLE_RATE_HZ = 24_000
VOICE_S, TURNS, TURN = 10, 10, "So this is what fifteen words of a turn look like in a script for two."
RATIOS = (8, 5, 5, 4, 2, 2)


def config(is_toy: bool) -> LongformConfig:
    """The published 1.5B model's shape, or the same with fewer and thinner layers."""
    hidden, layers, filters, depths = (64, 2, 2, "1-1-1-1-1-1-1") if is_toy else (1536, 28, 32, "3-3-3-3-3-3-8")
    decoder = Qwen2Config(
        hidden_size=hidden,
        intermediate_size=96 if is_toy else 8960,
        num_hidden_layers=layers,
        num_attention_heads=4 if is_toy else 12,
        num_key_value_heads=2,
        vocab_size=151_936,
        max_position_embeddings=65_536,
    )
    codec = {"encoder_ratios": RATIOS, "encoder_depths": depths, "encoder_n_filters": filters}
    return LongformConfig(
        decoder=decoder,
        acoustic=CodecConfig(vae_dim=64, decoder_n_filters=filters, **codec),
        semantic=CodecConfig(vae_dim=128, fix_std=0.0, std_dist_type="none", **codec),
        head=DiffusionHeadConfig(hidden_size=hidden, latent_size=64),
        has_own_token_head=False,
    )


@torch.no_grad()
def random_model(shape: LongformConfig, dtype: torch.dtype) -> LongformModel:
    """Weights drawn where they will stay: no tensor is ever in memory twice."""
    with without_memory(Path("benchmark")):
        model = LongformModel(shape).to(dtype)
    model = model.to_empty(device="cpu")
    generator = torch.Generator().manual_seed(0)
    for name, parameter in model.named_parameters():
        if parameter.dim() > 1:
            parameter.normal_(0, parameter[0].numel() ** -0.5, generator=generator)
        else:
            parameter.fill_(1.0 if "norm" in name else 0.1)
    model.latent_scale.scale.fill_(0.2)
    model.latent_scale.bias.fill_(0.0)
    return model.eval().requires_grad_(False)


class Watch:
    """Milliseconds spent in named calls."""

    def __init__(self) -> None:
        self.times: dict[str, list[float]] = {}

    def on(self, name: str, work: Callable[..., Any]) -> Callable[..., Any]:
        def watched(*arguments: Any) -> Any:
            began = time.perf_counter()
            result = work(*arguments)
            self.times.setdefault(name, []).append(1000 * (time.perf_counter() - began))
            return result

        return watched

    def median(self, name: str) -> float:
        return statistics.median(self.times[name])


class SpeakingBatch(LongformBatch):
    """Always goes on to the next frame: what random weights would choose says nothing. The choice is made all the
    same."""

    def _tokens(self, positive: torch.Tensor) -> list[int]:
        return [self.special.frame] * len(super()._tokens(positive))


def watched_batch(model: LongformModel, watch: Watch) -> LongformBatch:
    batch = SpeakingBatch(model, SpecialIds.of(QwenTokenizer()))
    for owner, method, name in (
        (batch, "_tokens", "token choice"),
        (batch, "sampler", "diffusion"),
        (model, "advance", "language model"),
        (model, "decode", "acoustic decoder"),
        (model, "hear", "semantic encoder"),
        (model, "embed_speech", "connectors"),
    ):
        setattr(owner, method, watch.on(name, getattr(owner, method)))
    return batch


def measure(model: LongformModel, frames: int, steps: int) -> dict[str, Any]:
    watch, tokenizer = Watch(), QwenTokenizer()
    encode, voices = watch.on("voice", voice_latents), []
    for seed in range(2):
        noise = torch.randn(VOICE_S * SAMPLE_RATE_HZ, generator=torch.Generator().manual_seed(seed))
        voices.append(encode(model, 0.05 * noise, seed))
    prompt = write_prompt(tokenizer, [Line(i % 2, TURN) for i in range(TURNS)], [len(voice) for voice in voices])
    batch = watched_batch(model, watch)
    stream = LongformStream(prompt, voices, Sampling(1.3, steps, max_new_tokens=frames + 2))
    batch.join(stream)
    began = time.perf_counter()
    while not stream.frames:
        batch.step()
    first_s = time.perf_counter() - began
    watch.times = {"voice": watch.times["voice"]}  # the first frame warms up
    step = watch.on("step", batch.step)
    for _ in range(frames):
        step()
    parts = {name: watch.median(name) for name in watch.times if name not in ("step", "voice")}
    whole = watch.median("step")
    return {
        "ms per frame": {**parts, "rest": whole - sum(parts.values()), "whole": whole},
        "rtf": whole / (1000 * model.config.hop_samples / SAMPLE_RATE_HZ),
        "first frame after reading, s": first_s,
        "reading, ms per token": 1000 * first_s / len(prompt),
        "voice, ms per second": watch.median("voice") / VOICE_S,
        "prompt tokens": len(prompt),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, default=10)
    parser.add_argument("--steps", type=int, default=10, help="solver steps per frame")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--dtype", choices=list(DTYPES), default="bfloat16")
    parser.add_argument("--toy", action="store_true", help="a tiny model, to try the benchmark itself")
    parser.add_argument("--json", type=Path, help="also write the figures here")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    began = time.perf_counter()
    model = random_model(config(options.toy), DTYPES[options.dtype])
    made_s = time.perf_counter() - began
    weights = sum(p.nbytes for p in model.parameters())
    result = {
        "machine": {"cpu": platform.processor(), "torch": torch.__version__, "load": os.getloadavg()[0]},
        "options": {"frames": options.frames, "steps": options.steps, "threads": options.threads}
        | {"dtype": options.dtype},
        "parameters": sum(p.numel() for p in model.parameters()),
        "weights MiB": weights / 2**20,
        "weights drawn in s": made_s,
        **measure(model, options.frames, options.steps),
        "peak RSS MiB": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }
    print(json.dumps(result, indent=1))
    if options.json:
        options.json.write_text(json.dumps(result, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
