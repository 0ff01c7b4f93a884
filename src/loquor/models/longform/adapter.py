"""Adapters of long-form models: those of the community's fine-tuner, and ours."""

from __future__ import annotations

from pathlib import Path

from loquor.models.adapter import (
    ACOUSTIC_CONNECTOR,
    DIFFUSION_HEAD,
    AdapterLayout,
    AppliedAdapter,
    Place,
    full_place,
    merge_adapter,
)
from loquor.models.longform.checkpoint import keys
from loquor.models.longform.model import LongformModel

LAYOUT = AdapterLayout(
    low_rank=(Place("language model", "", "model.language_model."), DIFFUSION_HEAD),
    in_full=(ACOUSTIC_CONNECTOR, full_place("semantic connector", "semantic_connector", "model.semantic_connector.")),
    foreign=("tts_eos_classifier",),
)


def apply_adapter(model: LongformModel, folder: Path, strength: float = 1.0) -> AppliedAdapter:
    """Merge an adapter into `model`: see `merge_adapter`."""
    return merge_adapter(model, keys(model.config), LAYOUT, folder, strength)
