"""How many tokens a second the schedules of VITA-Audio give, and how soon the first span of audio is there.

    python benchmarks/vita.py [--rounds 5] [--tokens 56] [--threads 2] [--dtypes bfloat16,float32] [--json FILE]

The shape is Qwen2.5-0.5B with ten modules and the published vocabulary, the weights are random (no download, the same
arithmetic). Every schedule takes its turn, round after round in one process, trusting (all rows of the token head) and
constrained (where audio is said, the rows of audio and marks only). A figure is the median over rounds, a claim the
median of the ratios within each round, with its range. First audio: from a prompt at hand to the last id of the first
span (0.64 s in Boost and Turbo), which the audio decoder then needs.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import time
from pathlib import Path
from typing import Any

import torch

from loquor.engine.alternation import Alternation, AudioIds
from loquor.engine.interleaved import InterleavedBatch
from loquor.engine.interleaved_stream import InterleavedStream
from loquor.engine.sampling import TokenSampling
from loquor.models.vita.model import VitaConfig, VitaModel
from loquor.models.vita.schedule import SCHEDULES, VANILLA
from loquor.nn.qwen2 import Qwen2Config

MODULES, PROMPT_TOKENS, FIRST_SPAN = 10, 32, 11  # a text token, then begin, eight codes and end
AUDIO = AudioIds(begin=151_674, end=151_675, first=151_685, count=16_384)
MODES = {"trusting": None, "constrained": Alternation(AUDIO)}


def build(dtype: torch.dtype) -> VitaModel:
    decoder = Qwen2Config(
        hidden_size=896,
        intermediate_size=4864,
        num_hidden_layers=24,
        num_attention_heads=14,
        num_key_value_heads=2,
        vocab_size=168_072,
        max_position_embeddings=32_768,
    )
    torch.manual_seed(0)
    torch.set_default_dtype(dtype)
    model = VitaModel(VitaConfig(decoder, MODULES, has_own_token_head=True))
    torch.set_default_dtype(torch.float32)
    return model.eval().requires_grad_(False)


def run(batch: InterleavedBatch, name: str, mode: str, tokens: int) -> tuple[float, float]:
    """Tokens a second after the first backbone pass and the modules' first reading, and ms to the first span."""
    sampling = TokenSampling(max_new_tokens=tokens + FIRST_SPAN)
    prompt = torch.arange(PROMPT_TOKENS)
    stream = InterleavedStream(prompt, SCHEDULES[name], sampling, grammar=MODES[mode] if name != "vanilla" else None)
    began = time.perf_counter()
    batch.join(stream)
    while len(stream.tokens) < FIRST_SPAN:
        batch.step()
    first = time.perf_counter()
    while batch.can_speak:
        batch.step()
    return tokens / (time.perf_counter() - first), 1000 * (first - began)


def measure(dtype: str, rounds: int, tokens: int) -> dict[str, Any]:
    batch = InterleavedBatch(build(getattr(torch, dtype)), audio=AUDIO)
    cases = [("vanilla", "trusting"), *((n, m) for m in MODES for n in SCHEDULES if SCHEDULES[n] != VANILLA)]
    runs: dict[tuple[str, str], list[tuple[float, float]]] = {case: [] for case in cases}
    for case in cases:
        run(batch, *case, tokens=14)  # warm-up
    for _ in range(rounds):
        for case in cases:
            runs[case].append(run(batch, *case, tokens=tokens))
    base = [rate for rate, _ in runs[cases[0]]]
    figures = {}
    for (name, mode), found in runs.items():
        ratios = [rate / plain for (rate, _), plain in zip(found, base, strict=True)]
        figures[f"{name}, {mode}"] = {
            "tokens_per_s": statistics.median(rate for rate, _ in found),
            "ratio": [statistics.median(ratios), min(ratios), max(ratios)],
            "first_audio_ms": statistics.median(ms for _, ms in found),
        }
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--tokens", type=int, default=56, help="per run, after the first span")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--dtypes", default="bfloat16,float32")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    result: dict[str, Any] = {
        "machine": {"cpu": platform.processor(), "torch": torch.__version__, "load": os.getloadavg()[0]}
    }
    for dtype in options.dtypes.split(","):
        result[dtype] = measure(dtype, options.rounds, options.tokens)
        print(f"| {dtype} | tokens/s | times vanilla | first span ms |\n|---|---|---|---|")
        for name, f in result[dtype].items():
            middle, low, high = f["ratio"]
            rate, first = f["tokens_per_s"], f["first_audio_ms"]
            print(f"| {name} | {rate:.2f} | {middle:.2f} ({low:.2f} to {high:.2f}) | {first:.0f} |", flush=True)
    if options.json:
        options.json.write_text(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
