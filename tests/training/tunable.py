"""Models and prepared data small enough to fine-tune in a second."""

from __future__ import annotations

from pathlib import Path

import toy_longform
from loquor.training.dataset.build import prepare_dataset
from loquor.training.dataset.settings import Settings
from loquor.training.dataset.shards import Job
from loquor.training.dataset.sources import open_source
from loquor.training.finetune import FineTuner, finetune
from loquor.training.processes import Processes
from loquor.training.recipes.recipe import Recipe, read_recipe
from training.recordings import write_model, write_pairs

ITEMS = 12
QUICK = (
    "optimiser.steps=6",
    "optimiser.warmup_steps=2",
    "optimiser.learning_rate=0.01",
    "optimiser.precision=float32",
    "batch.frames=20",
    "batch.accumulation=2",
    "watch.save_every=2",
    "watch.validate_every=3",
    "watch.sample_every=0",
)


def prepare(folder: Path, family: str) -> dict[str, Path]:
    """A model of a family, and recordings encoded with its codec."""
    model = folder / "model"
    if family == "realtime":
        write_model(model)
    else:
        toy_longform.write_toy(model)
    settings = Settings(language="en", validation=0.3)
    prepare_dataset(open_source(write_pairs(folder / "pairs", ITEMS)), folder / "data", Job(model, settings))
    return {"model": model, "data": folder / "data"}


def recipe(place: dict[str, Path], name: str, out: Path, *changes: str) -> Recipe:
    """A shipped recipe made quick."""
    return read_recipe(name, [f"data={place['data']}", f"model={place['model']}", f"out={out}", *QUICK, *changes])


def tune(chosen: Recipe, stop_at: int | None = None) -> FineTuner | None:
    """A fine-tuning, or one that is killed after a step; then None."""

    class Killed(BaseException):
        pass

    def progress(step: int, loss: float) -> None:
        if step == stop_at:
            raise Killed

    try:
        return finetune(chosen, Path(chosen.model), Processes("cpu"), progress)
    except Killed:
        return None
