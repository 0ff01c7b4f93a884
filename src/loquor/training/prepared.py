"""The batches of a VibeVoice training, from what `loquor data prepare` has made.

Which items a batch has, and what each of them draws, follows from numbers alone, so there is no place to remember.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import torch

from loquor.training.dataset.indexing import ITEMS
from loquor.training.dataset.reader import Dataset, length_buckets
from loquor.training.material import Inputs, Place, Share, Task
from loquor.training.order import Order, number_of
from loquor.training.recipes.recipe import VibeVoiceRecipe
from loquor.training.tasks import SpeakingTask, open_task

VALIDATION = -1  # the step whose draws validation makes, each time the same


class Prepared:
    """The splits of a prepared set; `held_out` is None if the set has none, or nobody asks for it."""

    def __init__(self, recipe: VibeVoiceRecipe) -> None:
        """CheckpointError or InputError if the folder holds no such set."""
        self.recipe = recipe
        folder = Path(recipe.data).expanduser()
        whole, self.data = Dataset(folder, None), Dataset(folder)
        has_validation = recipe.watch.validate_every and len(whole) > len(self.data)
        self.held_out = Dataset(folder, "validation") if has_validation else None
        self._order: Order | None = None  # of the batches, when a task tells how long items are

    def __str__(self) -> str:
        return f"{len(self.data)} items, {self.data.hours:.2f} hours"

    def facts(self) -> dict[str, Any]:
        items = (self.data.folder / ITEMS).read_bytes()
        return {"items": hashlib.blake2b(items, digest_size=8).hexdigest()}

    def open_task(self, folder: Path, device: torch.device) -> SpeakingTask:
        return open_task(self.recipe, folder, self.data.facts, device)

    def batches(self, task: Task, step: int, shares: Sequence[Share]) -> list[Inputs]:
        task, first = cast(SpeakingTask, task), step * self.recipe.batch.accumulation
        if self._order is None:
            frames = [task.frames(record) for record in self.data.records]
            self._order = Order(frames, self.recipe.batch.frames, self.recipe.seed)
        return [self._inputs(task, self.data, self._order.batch(first + part), step) for part, _ in shares]

    def has_validation(self) -> bool:
        return self.held_out is not None

    def validation(self, task: Task) -> list[list[int]]:
        """The first items of the validation split, batch by batch."""
        assert self.held_out is not None
        records = self.held_out.records[: self.recipe.watch.validation_items]
        frames = [cast(SpeakingTask, task).frames(record) for record in records]
        return list(length_buckets(frames, self.recipe.batch.frames, epoch_seed=0))

    def validation_inputs(self, task: Task, part: list[int]) -> Inputs:
        assert self.held_out is not None
        return self._inputs(cast(SpeakingTask, task), self.held_out, part, VALIDATION)

    def _inputs(self, task: SpeakingTask, data: Dataset, items: Sequence[int], step: int) -> Inputs:
        examples, draws = [], []
        for item in items:
            generator = torch.Generator().manual_seed(number_of(self.recipe.seed, step, item))
            example = task.lay_out(data[item], generator, step == VALIDATION)
            examples.append(example)
            draws.append(task.training.draw(example, generator))
        return task.collate(examples), type(draws[0]).join(draws)

    def place(self) -> Place:
        return {}

    def go_on(self, place: Place) -> None:
        pass

    def told(self, place: Place) -> dict[str, Any]:
        return {}
