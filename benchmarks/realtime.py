"""Where the time of one spoken frame goes, for the embedded voice and for a full-size Realtime-0.5B of random weights.

    python benchmarks/realtime.py [--rounds 5] [--threads 2] [--json FILE] [--subjects embedded,0.5b-float32,...]

All subjects take turns in one process, round after round; a figure is the median over rounds, a claim the median of the
per-round ratios with its range. A round is marked noisy if wall time exceeds CPU time / threads by half. Peak memory is
that of a fresh process per subject, which also measures the time to load and to the first audio.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from loquor.diffusion.noise import SeededNoise
from loquor.diffusion.sample import Guidance
from loquor.engine.realtime import RealtimeBatch, Stream
from loquor.engine.request import Sampling
from loquor.evaluation.speed.realtime import PUBLISHED
from loquor.models.realtime.model import RealtimeModel
from loquor.models.realtime.prompt import prefill, voice_state
from loquor.text.tokenizer import Token

EMBEDDED = Path(__file__).resolve().parents[1] / "src/loquor/models/embedded"
FRAME_MS = 1000 * 3200 / 24_000
PROMPT_TOKENS, PROMPT_FRAMES = 74, 177  # the length of a published preset
SUBJECTS = ("embedded", "0.5b-float32", "0.5b-bfloat16")


def build(subject: str) -> RealtimeModel:
    """The embedded voice in float32, or random weights of the full size (no download, the same arithmetic)."""
    if subject == "embedded":
        from loquor.models.realtime.checkpoint import load_realtime

        return load_realtime(EMBEDDED, torch.float32)
    torch.manual_seed(0)
    dtype = getattr(torch, subject.split("-")[1])
    torch.set_default_dtype(dtype)
    model = RealtimeModel(PUBLISHED, has_encoder=False)
    torch.set_default_dtype(torch.float32)
    model.latent_scale.scale.fill_(1.0)
    model.latent_scale.bias.fill_(0.0)
    return model.eval().requires_grad_(False)


class Subject:
    """A model in the middle of speaking, and the parts of a frame as functions."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.model = build(name)
        config = self.model.config
        self.steps = 8 if name == "embedded" else 5
        prompt = 1 if name == "embedded" else PROMPT_TOKENS
        frames = 0 if name == "embedded" else PROMPT_FRAMES
        dtype = self.model.types.weight.dtype
        ids = torch.arange(prompt)[None] % config.text.vocab_size
        latents = torch.zeros(1, frames, config.latent_size, dtype=dtype)
        self.voice = voice_state(self.model, prefill(self.model, ids, latents, 1))
        self.window = torch.arange(config.text_window)[None] % config.text.vocab_size
        self.batch = RealtimeBatch(self.model)
        self.sampler = self.batch.sampler.with_steps(self.steps, False)

    def start(self) -> None:
        self.state, self.memory = self.voice.clone(), self.model.init_decoder()
        self.latent = torch.zeros(1, self.model.config.latent_size, dtype=self.model.types.weight.dtype)

    def parts(self) -> dict[str, Callable[[], object]]:
        model, noise = self.model, SeededNoise(0).frame(0, (1, self.model.config.latent_size))

        def diffusion() -> None:
            guidance = Guidance(self.state.negative_condition, torch.tensor([1.5]))
            self.latent = self.sampler(self.state.condition, noise, guidance)

        return {
            "text window": lambda: model.read(self.window, self.state),
            "diffusion": diffusion,
            "decoder": lambda: model.decode(self.latent[:, None], self.memory),
            "speech LM": lambda: model.hear(self.latent, self.state),
        }

    @torch.no_grad()
    def round(self, frames: int) -> dict[str, float]:
        """Median ms of each part over `frames` frames, and of a whole frame with its share of a text window."""
        self.start()
        config, parts = self.model.config, self.parts()
        times: dict[str, list[float]] = {name: [] for name in parts}
        wall, cpu = time.perf_counter(), time.process_time()
        for frame in range(frames):
            for name, work in parts.items():
                if name == "text window" and frame % config.speech_window:
                    continue
                began = time.perf_counter()
                work()
                times[name].append(1000 * (time.perf_counter() - began))
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        result = {name: statistics.median(values) for name, values in times.items()}
        result["frame"] = sum(result.values()) - result["text window"] * (1 - 1 / config.speech_window)
        result["rtf"] = result["frame"] / FRAME_MS
        result["wall over cpu"] = wall / cpu * torch.get_num_threads()
        return result

    def first_audio_ms(self) -> float:
        """From text at hand to the first samples, the voice being ready."""
        stream = Stream(self.voice, Sampling(steps=self.steps))
        stream.feed([Token(int(i), 0, 0) for i in self.window[0]])
        stream.text_closed = True
        began = time.perf_counter()
        self.batch.join(stream)
        self.batch.step()
        elapsed = 1000 * (time.perf_counter() - began)
        self.batch.clear()
        return elapsed


def fresh(name: str, threads: int) -> dict[str, float]:
    """Load time, first audio and peak memory of a process of its own."""
    command = [sys.executable, __file__, "--fresh", name, "--threads", str(threads)]
    return dict(json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout))


def fresh_here(name: str) -> None:
    began = time.perf_counter()
    subject = Subject(name)
    loaded = time.perf_counter() - began
    first = [subject.first_audio_ms() for _ in range(5)]
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"load_s": loaded, "first_audio_ms": statistics.median(first), "peak_mib": peak}))


def measure(names: list[str], rounds: int, frames: int, threads: int) -> dict[str, Any]:
    figures: dict[str, Any] = {name: {"fresh": fresh(name, threads)} for name in names}
    subjects = [Subject(name) for name in names]
    for subject in subjects:
        subject.round(frames=6)  # warm-up
    runs: dict[str, list[dict[str, float]]] = {name: [] for name in names}
    for _ in range(rounds):
        for subject in subjects:
            runs[subject.name].append(subject.round(frames))
    for name in names:
        figures[name]["parts"] = {k: statistics.median(r[k] for r in runs[name]) for k in runs[name][0]}
        figures[name]["range"] = {
            k: [min(r[k] for r in runs[name]), max(r[k] for r in runs[name])] for k in runs[name][0]
        }
    first = names[0]
    ratios = {n: [a["rtf"] / b["rtf"] for a, b in zip(runs[n], runs[first], strict=True)] for n in names[1:]}
    figures["ratios of rtf"] = {f"{n} / {first}": [statistics.median(v), min(v), max(v)] for n, v in ratios.items()}
    machine = {"cpu": platform.processor(), "torch": torch.__version__, "threads": threads, "load": os.getloadavg()[0]}
    return {"machine": machine, "rounds": rounds, "frames": frames, "figures": figures}


def table(result: dict[str, Any], names: list[str]) -> str:
    parts = ("text window", "speech LM", "diffusion", "decoder", "frame", "rtf")
    head = "| | " + " | ".join((*parts, "first audio ms", "load s", "peak MiB")) + " |"
    rows = [head, "|" + "---|" * (len(parts) + 4)]
    for name in names:
        f = result["figures"][name]
        cells = [f"{f['parts'][p]:.2f}" for p in parts]
        cells += [f"{f['fresh'][k]:.1f}" for k in ("first_audio_ms", "load_s", "peak_mib")]
        rows.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--frames", type=int, default=12, help="frames per round, a multiple of 6")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--subjects", default=",".join(SUBJECTS))
    parser.add_argument("--json", type=Path)
    parser.add_argument("--fresh", help=argparse.SUPPRESS)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    if options.fresh:
        return fresh_here(options.fresh)
    names = options.subjects.split(",")
    result = measure(names, options.rounds, options.frames, options.threads)
    print(table(result, names))
    for name, (middle, low, high) in result["figures"]["ratios of rtf"].items():
        print(f"rtf {name}: {middle:.2f} ({low:.2f} to {high:.2f})")
    if options.json:
        options.json.write_text(json.dumps(result, indent=1))
    return None


if __name__ == "__main__":
    main()
