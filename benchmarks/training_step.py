"""What a step of fine-tuning costs, against a loop that takes one utterance at a time.

    python benchmarks/training_step.py [--subjects embedded,0.5b-float32] [--rounds 3] [--threads 2] [--json FILE]

A step of the recipe realtime-lora: `batch.accumulation` batches of at most `batch.frames` frames, of utterances whose
lengths are drawn as those of a corpus of short sentences are (median 2.9 s, 95 % below 5.8 s; 14 phonemes, or 4 tokens,
a second). Ours and the naive loop take turns on the same utterances, and learn the same from them: gradients are
compared. Tokens are those of text and the frames of speech. Padding is the share of positions that hold nothing, with
batches by length and with the same number of batches drawn at random. Peak memory is that of a fresh process.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from loquor.evaluation.speed.bench import Options
from loquor.evaluation.speed.realtime import BRANCHES, model_of_shape
from loquor.models.realtime.checkpoint import keys, load_realtime
from loquor.models.realtime.model import RealtimeModel, RealtimeState
from loquor.models.realtime.prompt import prefill, voice_state
from loquor.training.finetune_realtime import Counts, Draws, Example, RealtimeTuning, collate
from loquor.training.freezing import STRATEGIES
from loquor.training.lora import add_low_rank
from loquor.training.order import Order
from loquor.training.recipes.recipe import read_recipe

EMBEDDED = Path(__file__).resolve().parents[1] / "src/loquor/models/embedded"
UTTERANCES = 400
TOKENS_A_SECOND = {"embedded": 14, "0.5b-float32": 4}
FRAMES_A_SECOND = 7.5


def subject(name: str) -> tuple[RealtimeModel, RealtimeState]:
    """The embedded voice, or random weights of the full size, in float32; and a voice of the length it is used with."""
    if name == "embedded":
        model, tokens, frames = load_realtime(EMBEDDED, torch.float32), 1, 0
    else:
        model, _ = model_of_shape("realtime-0.5b", Options(dtype=torch.float32))
        tokens, frames = BRANCHES["lm"], BRANCHES["tts_lm"] - BRANCHES["lm"]
    latents = torch.zeros(1, frames, model.config.latent_size)
    return model, voice_state(model, prefill(model, torch.arange(tokens)[None], latents, 1))


def utterances(name: str, model: Any) -> list[Example]:
    draw, generator = random.Random(0), torch.Generator().manual_seed(0)
    examples = []
    for _ in range(UTTERANCES):
        seconds = min(10.0, draw.lognormvariate(1.065, 0.42))
        ids = torch.randint(10, 100, (max(1, round(seconds * TOKENS_A_SECOND[name])),), generator=generator)
        frames = max(1, round(seconds * FRAMES_A_SECOND))
        examples.append(Example(ids, torch.randn(frames, model.config.latent_size, generator=generator)))
    return examples


class Step:
    """One optimiser step's worth of utterances, and two ways to get its gradients."""

    def __init__(self, name: str, precision: str) -> None:
        recipe = read_recipe("realtime-lora")
        self.model, voice = subject(name)
        strategy = STRATEGIES["lora"]
        for parameter_name, parameter in self.model.named_parameters():
            if parameter_name.startswith(strategy.full):
                parameter.data = parameter.data.clone()
                parameter.requires_grad_(True)
        add_low_rank(self.model, keys(self.model.config, False), strategy.lora, recipe.lora, 0)
        self.tuning = RealtimeTuning(self.model, voice, recipe.loss)  # type: ignore[arg-type]
        self.model.eval()  # without dropout, so that gradients can be compared
        self.precision = precision
        examples = utterances(name, self.model)
        frames = [len(e.latents) for e in examples]
        order = Order(frames, recipe.batch.frames, 0)
        self.batches = [[examples[i] for i in order.batch(n)] for n in range(recipe.batch.accumulation)]
        self.draws = [[self._draw(e, i) for i, e in enumerate(batch)] for batch in self.batches]
        self.counts = Counts(*(sum(v) for v in zip(*(c for c in self._each_counts()), strict=True)))
        self.tokens = sum(len(e.ids) + len(e.latents) for batch in self.batches for e in batch)
        everything = [[examples[i] for i in batch] for batch in order.epoch(0)]
        size = len(examples) / len(everything)
        shuffled = [examples[round(i * size) : round((i + 1) * size)] for i in range(len(everything))]
        self.padding = self._padding([[len(e.latents) + len(e.ids) for e in batch] for batch in everything])
        self.random_padding = self._padding([[len(e.latents) + len(e.ids) for e in batch] for batch in shuffled])

    def _draw(self, example: Example, number: int) -> Draws:
        return self.tuning.draw(example, torch.Generator().manual_seed(number))

    def _each_counts(self) -> list[tuple[float, float]]:
        counts = [collate(batch, self.model.config).counts for batch in self.batches]
        return [(c.frames, c.ends) for c in counts]

    @staticmethod
    def _padding(batches: Sequence[Sequence[int]]) -> float:
        return 1 - sum(map(sum, batches)) / sum(len(batch) * max(batch) for batch in batches)

    def ours(self) -> None:
        for batch, draws in zip(self.batches, self.draws, strict=True):
            self._backward(batch, draws)

    def naive(self) -> None:
        for batch, draws in zip(self.batches, self.draws, strict=True):
            for example, draw in zip(batch, draws, strict=True):
                self._backward([example], [draw])

    def _backward(self, batch: Sequence[Example], draws: Sequence[Draws]) -> None:
        with torch.autocast("cpu", torch.bfloat16, enabled=self.precision == "bfloat16"):
            loss = self.tuning(collate(batch, self.model.config), Draws.join(list(draws)), self.counts)["loss"]
        loss.backward()

    def gradients(self, way: str) -> torch.Tensor:
        self.model.zero_grad()
        getattr(self, way)()
        grads = [p.grad.flatten() for p in self.model.parameters() if p.grad is not None]
        return torch.cat(grads)


def peak_mib(name: str, precision: str, way: str) -> float:
    """Of a process that does nothing but one step."""
    code = f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r}); import training_step as t"
    code += f"; s = t.Step({name!r}, {precision!r}); s.{way}(); import resource"
    code += "; print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)"
    return float(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout)


def measure(name: str, precision: str, rounds: int) -> dict[str, Any]:
    step = Step(name, precision)
    a, b = step.gradients("ours"), step.gradients("naive")
    difference = float((a - b).norm() / b.norm())
    times: dict[str, list[float]] = {"ours": [], "naive": []}
    for _ in range(rounds):
        for way, values in times.items():
            step.model.zero_grad()
            began = time.perf_counter()
            getattr(step, way)()
            values.append(time.perf_counter() - began)
    ratios = [n / o for o, n in zip(times["ours"], times["naive"], strict=True)]
    ours = statistics.median(times["ours"])
    return {
        "subject": name,
        "precision": precision,
        "utterances": sum(map(len, step.batches)),
        "step s": ours,
        "tokens/s": step.tokens / ours,
        "padding": step.padding,
        "padding at random": step.random_padding,
        "naive over ours": statistics.median(ratios),
        "ratios": [min(ratios), max(ratios)],
        "peak MiB": peak_mib(name, precision, "ours"),
        "gradients differ by": difference,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--subjects", default="embedded,0.5b-float32")
    parser.add_argument("--precisions", default="float32,bfloat16")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    rows = [
        measure(name, precision, options.rounds)
        for name in options.subjects.split(",")
        for precision in options.precisions.split(",")
    ]
    for row in rows:
        print({key: round(value, 4) if isinstance(value, float) else value for key, value in row.items()})
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()
