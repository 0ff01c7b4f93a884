"""What belongs to a model besides its weights: copied as it is."""

from __future__ import annotations

import shutil
from pathlib import Path

from loquor.checkpoints import write_atomically

BESIDE = ("*.json", "*.md", "*.mvn", "LICENSE*", "voices/*.safetensors")
WEIGHTS = ("config.json", "model.safetensors.index.json")  # the export's own


def copy_beside(folder: Path, target: Path) -> None:
    """What belongs to the model in `folder` besides its weights, as it is."""
    for pattern in BESIDE:
        for file in folder.glob(pattern):
            if file.name not in WEIGHTS:
                _copy(file, target / file.relative_to(folder))


def _copy(source: Path, target: Path) -> None:
    def write(path: Path) -> None:
        shutil.copyfile(source, path)

    write_atomically(target, write)
