"""What a training leaves: a whole model in the layout it came in, and its adapter if LoRAs were trained."""

from __future__ import annotations

from pathlib import Path
from typing import cast

from loquor.errors import CheckpointError
from loquor.models.adapter import LEVEL
from loquor.training.lora import merge_low_rank, save_adapter
from loquor.training.material import Task
from loquor.training.recipes.recipe import Recipe, VibeVoiceRecipe
from loquor.training.tasks import SpeakingTask

MODEL, ADAPTER = "model", "adapter"


def export_tuned(task: Task, recipe: Recipe, out: Path) -> list[Path]:
    """Write `out`/model and, of a LoRA, `out`/adapter; gives the folders. The LoRAs of the task's model are merged.

    Tensors get the types of the model the training began with, and what lies beside its weights is copied.
    CheckpointError if a number is not finite, or nothing can be written.
    """
    folders = [out / MODEL]
    if isinstance(recipe, VibeVoiceRecipe) and recipe.strategy == "lora":
        layout = cast(SpeakingTask, task).adapter
        save_adapter(out / ADAPTER / LEVEL, task.model, task.entries, recipe.lora, layout)
        folders.append(out / ADAPTER)
    merge_low_rank(task.model)
    dtypes = task.dtypes()
    for name, tensor in (*task.model.named_parameters(), *task.model.named_buffers()):
        tensor.data = tensor.data.cpu().to(dtypes[name])
        if not tensor.data.isfinite().all():
            raise CheckpointError(
                f"{name} is not finite as {dtypes[name]}", hint="did the loss explode? try a lower learning rate"
            )
    task.write(out / MODEL)
    return folders
