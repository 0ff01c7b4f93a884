"""What a training needs of its data, whichever family it is for: batches by number, and a place to go on from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Protocol

import torch

from loquor.checkpoints import Entry

Inputs = tuple[Any, ...]  # of a task's training: a batch, and what it draws, if it draws anything
Share = tuple[int, float]  # the number of a batch, and what it counts: 1, or 0 where another process has it
Place = dict[str, Any]  # as JSON takes it


class Task(Protocol):
    """A model that trains, with everything that depends on its family."""

    model: Any
    training: Any  # called with inputs and what its losses are means over
    entries: Sequence[Entry]  # every tensor of the model and its published name
    nothing: ClassVar[Any]  # the counts of no batch, a dataclass of numbers

    @property
    def losses(self) -> Sequence[str]:
        """Their names; "loss" is minimised."""

    def require_sound(self) -> None:
        """CheckpointError if something in the model's files would make every step useless."""

    def dtypes(self) -> Mapping[str, torch.dtype]:
        """The types in which the tensors of the model are written, by our names."""

    def write(self, folder: Path) -> None:
        """Write the model, with whatever belongs to it."""


class Material(Protocol):
    """The data of a recipe, opened before its model is."""

    def facts(self) -> dict[str, Any]:
        """What tells this data from other data, as JSON takes it."""

    def __str__(self) -> str:
        """How much it is."""

    def open_task(self, folder: Path, device: torch.device) -> Task:
        """The task of the recipe on the model in `folder`, in float32 on `device`, all of its weights frozen.

        ConfigError if the model is of another family, CheckpointError if it does not fit the data.
        """

    def batches(self, task: Task, step: int, shares: Sequence[Share]) -> list[Inputs]:
        """Those of a step's batches that are this process's."""

    def has_validation(self) -> bool:
        """Whether there is anything to validate with."""

    def validation(self, task: Task) -> Sequence[Any]:
        """What the batches of a validation are made of, each time the same."""

    def validation_inputs(self, task: Task, part: Any) -> Inputs:
        """One of them."""

    def place(self) -> Place:
        """Where this process is in the data; nothing where that follows from the step."""

    def go_on(self, place: Place) -> None:
        """Take the data up again where all processes together were."""

    def told(self, place: Place) -> dict[str, Any]:
        """What is to be told about the data, at a place of all processes."""
