"""Which model families there are, and which of them a checkpoint folder holds.

`model_type` in config.json decides; nothing is guessed from tensor names. A family's own modules are imported when
something is first done with one of its checkpoints: who speaks with one family never waits for the others.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import torch
from torch import nn

from loquor.checkpoints import Entry, Files
from loquor.configs import read_json
from loquor.errors import ConfigError
from loquor.models.adapter_choice import Adapters, adapter_choices
from loquor.models.model_types import LONGFORM_TYPE, REALTIME_TYPE, VITA_PLUS_TYPE, VITA_TYPE

if TYPE_CHECKING:
    from loquor.models.adapter import AppliedAdapter
    from loquor.models.longform.model import LongformModel
    from loquor.models.outline import Outline
    from loquor.models.realtime.model import RealtimeModel
    from loquor.models.vita.model import VitaModel

EMBEDDED = Path(__file__).parent / "embedded"  # the model that comes with the package
DTYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}

Model = TypeVar("Model", bound=nn.Module)


@dataclass(frozen=True)
class Handling(Generic[Model]):
    """What can be done with the checkpoints of a family."""

    load: Callable[[Path, torch.dtype | None], Model]
    outline: Callable[[Path], Outline]
    layout_of: Callable[[Path], str]  # which of `layouts` a folder is in
    layouts: Mapping[str, Callable[[Model, Path, Path | None, int], None]]  # how each is written
    adapt: Callable[[Model, Path, float], AppliedAdapter]
    blank: Callable[[Files], tuple[Model, list[Entry]]]  # a model without memory, and how its tensors are made
    licence: str | None = None  # of the published weights, where it forbids uses; told when they are loaded


class Family(Generic[Model]):
    """A family by its name, and what can be done with its checkpoints."""

    def __init__(self, name: str, handling: Callable[[], Handling[Model]]) -> None:
        self.name = name
        self._import = handling

    @cached_property
    def _handling(self) -> Handling[Model]:
        return self._import()

    @property
    def licence(self) -> str | None:
        return self._handling.licence

    @property
    def layouts(self) -> Mapping[str, Callable[[Model, Path, Path | None, int], None]]:
        return self._handling.layouts

    def layout_of(self, folder: Path) -> str:
        return self._handling.layout_of(folder)

    def load(self, folder: Path, dtype: torch.dtype | None) -> Model:
        return self._handling.load(folder, dtype)

    def outline(self, folder: Path) -> Outline:
        return self._handling.outline(folder)

    def blank(self, files: Files) -> tuple[Model, list[Entry]]:
        return self._handling.blank(files)

    def merge(self, model: Model, adapters: Adapters) -> list[AppliedAdapter]:
        """Merge adapters into a model that nothing speaks with yet, one after the other."""
        return [self._handling.adapt(model, choice.folder, choice.strength) for choice in adapter_choices(adapters)]


def _realtime() -> Handling[RealtimeModel]:
    from loquor.models.realtime import adapter, checkpoint

    return Handling(
        checkpoint.load_realtime,
        checkpoint.outline_realtime,
        lambda folder: "original",
        {"original": checkpoint.export_realtime},
        adapter.apply_adapter,
        checkpoint.blank,
    )


def _longform() -> Handling[LongformModel]:
    from loquor.models.longform import adapter, checkpoint

    return Handling(
        checkpoint.load_longform,
        checkpoint.outline_longform,
        checkpoint.layout_of,
        {name: partial(checkpoint.export_longform, layout=name) for name in checkpoint.LAYOUTS},
        adapter.apply_adapter,
        checkpoint.blank,
    )


def _vita() -> Handling[VitaModel]:
    from loquor.models.vita import checkpoint

    return Handling(
        checkpoint.load_vita,
        checkpoint.outline_vita,
        lambda folder: "original",
        {"original": checkpoint.export_vita},
        checkpoint.refuse_adapter,
        checkpoint.blank,
        checkpoint.LICENCE,
    )


REALTIME = Family("VibeVoice Realtime", _realtime)
LONGFORM = Family("VibeVoice long-form", _longform)
VITA = Family("VITA-Audio", _vita)
FAMILIES: dict[str, Family[Any]] = {
    REALTIME_TYPE: REALTIME,
    LONGFORM_TYPE: LONGFORM,
    VITA_TYPE: VITA,
    VITA_PLUS_TYPE: VITA,
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
