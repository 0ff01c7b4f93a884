"""A small base, conversations with stored codes, and the four recipes made quick."""

from __future__ import annotations

import json
from pathlib import Path

from loquor.models.vita.vocabulary import AudioTokens
from loquor.training.export import export_tuned
from loquor.training.finetune import FineTuner, finetune
from loquor.training.processes import Processes
from loquor.training.recipes.recipe import Recipe, read_recipe
from loquor.training.vita.base import Shape, write_base

CODES = 12
SHAPE = Shape(hidden=32, layers=2, heads=2, context=128, pieces=300)
WORDS = ("red", "blue", "green", "white", "black", "brown")
QUICK = (
    "optimiser.steps=6",
    "optimiser.warmup_steps=2",
    "optimiser.learning_rate=0.01",
    "optimiser.precision=float32",
    "batch.length=96",
    "batch.checkpointing=false",
    "batch.accumulation=2",
    "watch.save_every=2",
    "watch.validate_every=3",
)


def write_talks(folder: Path, name: str = "talks", count: int = 24, bad: int = 0) -> Path:
    """Words that are read aloud and written down; the codes of a word say which it is. `bad` ones have no recording."""
    lines = []
    for i in range(count):
        word = WORDS[i % len(WORDS)]
        codes = [(len(word) * 3 + j) % CODES for j in range(6 + len(word))]
        (folder / f"{i}_toy.json").write_text(json.dumps(codes), encoding="utf-8")
        tag, place = "<|audio|>", f"{i}.wav" if i >= bad else f"gone{i}.wav"
        speak = [("user", f"Convert the text to speech.\n{word}"), ("assistant", tag)]
        write = [("user", f"Convert the speech to text.\n{tag}"), ("assistant", word)]
        messages = [{"role": role, "content": content} for role, content in (write if i % 2 else speak)]
        lines.append(json.dumps({"messages": messages, "audios": [place]}))
    path = folder / f"{name}.jsonl"
    path.write_text("\n".join(lines), encoding="utf-8")
    return path


def write_toy_base(folder: Path, shape: Shape = SHAPE) -> Path:
    write_base(folder, ["Convert the text to speech.", *WORDS] * 9, AudioTokens("toy", CODES), shape)
    return folder


def stage(name: str, model: Path, data: Path, out: Path, *changes: str) -> Recipe:
    where = [f"data={data}", f"validation={data}", f"model={model}", f"out={out}"]
    return read_recipe(f"vita-{name}", [*where, *QUICK, *changes])


def train(chosen: Recipe, stop_at: int | None = None) -> FineTuner | None:
    """A whole stage with its model written, or one that is killed after a step; then None."""

    class Killed(BaseException):
        pass

    def progress(step: int, loss: float) -> None:
        if step == stop_at:
            raise Killed

    try:
        tuner = finetune(chosen, Path(chosen.model), Processes("cpu"), progress)
    except Killed:
        return None
    export_tuned(tuner.task, chosen, tuner.folder)
    return tuner
