"""Which model families there are, and which of them a checkpoint folder holds.

`model_type` in config.json decides; nothing is guessed from tensor names.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Generic, TypeVar

import torch
from torch import nn

from loquor.checkpoints import Entry, Files
from loquor.configs import read_json
from loquor.errors import ConfigError
from loquor.models.adapter import AdapterChoice, AppliedAdapter
from loquor.models.longform import adapter as longform_adapter
from loquor.models.longform import checkpoint as longform
from loquor.models.outline import Outline
from loquor.models.realtime import adapter as realtime_adapter
from loquor.models.realtime import checkpoint as realtime
from loquor.models.vita import checkpoint as vita

EMBEDDED = Path(__file__).parent / "embedded"  # the model that comes with the package
DTYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}

Model = TypeVar("Model", bound=nn.Module)
Adapters = str | Path | Sequence[str | Path]  # one or several, each `path` or `path@strength`


def adapter_choices(adapters: Adapters) -> list[AdapterChoice]:
    """What a user chose; InputError if a strength is no number."""
    return [AdapterChoice.parse(text) for text in ([adapters] if isinstance(adapters, str | Path) else adapters)]


@dataclass(frozen=True)
class Family(Generic[Model]):
    """What can be done with the checkpoints of a family."""

    name: str
    load: Callable[[Path, torch.dtype | None], Model]
    outline: Callable[[Path], Outline]
    layout_of: Callable[[Path], str]  # which of `layouts` a folder is in
    layouts: Mapping[str, Callable[[Model, Path, Path | None, int], None]]  # how each is written
    adapt: Callable[[Model, Path, float], AppliedAdapter]
    blank: Callable[[Files], tuple[Model, list[Entry]]]  # a model without memory, and how its tensors are made
    licence: str | None = None  # of the published weights, where it forbids uses; told when they are loaded

    def merge(self, model: Model, adapters: Adapters) -> list[AppliedAdapter]:
        """Merge adapters into a model that nothing speaks with yet, one after the other."""
        return [self.adapt(model, choice.folder, choice.strength) for choice in adapter_choices(adapters)]


REALTIME = Family(
    "VibeVoice Realtime",
    realtime.load_realtime,
    realtime.outline_realtime,
    lambda folder: "original",
    {"original": realtime.export_realtime},
    realtime_adapter.apply_adapter,
    realtime.blank,
)
LONGFORM = Family(
    "VibeVoice long-form",
    longform.load_longform,
    longform.outline_longform,
    longform.layout_of,
    {name: partial(longform.export_longform, layout=name) for name in longform.LAYOUTS},
    longform_adapter.apply_adapter,
    longform.blank,
)
VITA = Family(
    "VITA-Audio",
    vita.load_vita,
    vita.outline_vita,
    lambda folder: "original",
    {"original": vita.export_vita},
    vita.refuse_adapter,
    vita.blank,
    vita.LICENCE,
)
FAMILIES: dict[str, Family[Any]] = {
    realtime.MODEL_TYPE: REALTIME,
    longform.MODEL_TYPE: LONGFORM,
    vita.MODEL_TYPE: VITA,
    vita.PLUS_MODEL_TYPE: VITA,
}


def family_of(folder: Path) -> Family[Any]:
    """The family of the checkpoint in `folder`. CheckpointError without config.json, ConfigError for other families."""
    path = folder / "config.json"
    kind = read_json(path).get("model_type")
    family = FAMILIES.get(kind) if isinstance(kind, str) else None
    if family:
        return family
    supported = ", ".join(f"{name} ({f.name})" for name, f in FAMILIES.items())
    raise ConfigError(f"{path}: model_type {kind!r} is not supported", hint=f"supported: {supported}")
