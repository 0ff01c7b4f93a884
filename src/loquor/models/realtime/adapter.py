"""Adapters of Realtime models: as our fine-tuning writes them, in the layout long-form adapters have."""

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
from loquor.models.realtime.checkpoint import keys
from loquor.models.realtime.model import RealtimeModel

LAYOUT = AdapterLayout(
    low_rank=(Place("language model", "", "model.tts_language_model."), DIFFUSION_HEAD),
    in_full=(ACOUSTIC_CONNECTOR, full_place("end classifier", "tts_eos_classifier", "tts_eos_classifier.")),
    foreign=("semantic_connector",),
)


def apply_adapter(model: RealtimeModel, folder: Path, strength: float = 1.0) -> AppliedAdapter:
    """Merge an adapter into `model`: see `merge_adapter`."""
    return merge_adapter(model, keys(model.config, model.codec.encoder is not None), LAYOUT, folder, strength)
