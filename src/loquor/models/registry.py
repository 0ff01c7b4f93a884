"""Which model families there are, and which of them a checkpoint folder holds.

`model_type` in config.json decides; nothing is guessed from tensor names.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch

from loquor.configs import read_json
from loquor.errors import ConfigError
from loquor.models.outline import Outline
from loquor.models.realtime.checkpoint import MODEL_TYPE, export_realtime, load_realtime, outline_realtime
from loquor.models.realtime.model import RealtimeModel

EMBEDDED = Path(__file__).parent / "embedded"  # the model that comes with the package
DTYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}


@dataclass(frozen=True)
class Family:
    """What can be done with the checkpoints of a family."""

    name: str
    load: Callable[[Path, torch.dtype | None], RealtimeModel]
    outline: Callable[[Path], Outline]
    export: Callable[[RealtimeModel, Path, Path | None, int], None]


FAMILIES = {MODEL_TYPE: Family("VibeVoice Realtime", load_realtime, outline_realtime, export_realtime)}
NOT_YET = {
    "vibevoice": "VibeVoice long-form",
    "qwen2_mtp": "VITA-Audio",
    "qwen2_mtp_sensevoice": "VITA-Audio Plus",
}


def family_of(folder: Path) -> Family:
    """The family of the checkpoint in `folder`. CheckpointError without config.json, ConfigError for other families."""
    path = folder / "config.json"
    kind = read_json(path).get("model_type")
    family = FAMILIES.get(kind) if isinstance(kind, str) else None
    if family:
        return family
    known = f" ({NOT_YET[kind]})" if isinstance(kind, str) and kind in NOT_YET else ""
    supported = ", ".join(f"{name} ({f.name})" for name, f in FAMILIES.items())
    raise ConfigError(f"{path}: model_type {kind!r}{known} is not supported", hint=f"supported: {supported}")
