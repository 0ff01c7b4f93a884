"""Finished takes on disk: what a killed production resumes from, and what the episode is put together from.

A folder holds `plan.json`, which says what is produced, and a safetensors file for each finished take, with what is
known about it in its header. Every file is written whole or not at all, so a production that is killed loses the take
in work and nothing else. Only the same production goes on in a folder, and then with the same result.
"""

from __future__ import annotations

import dataclasses
import json
import logging
import shutil
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from loquor.audio.provenance import today
from loquor.checkpoints import write_atomically, write_text
from loquor.engine.podcast.health import Finding
from loquor.engine.podcast.identity import Identity, differences
from loquor.errors import CheckpointError, InputError
from loquor.models.longform.prompt import Spoken

logger = logging.getLogger(__name__)

FORMAT = 1
PLAN = "plan.json"
HEADER_KEY = "loquor"


@dataclass(frozen=True)
class Facts:
    """What is known of a finished take besides its sound."""

    index: int
    samples: int
    frames: int
    seed: int
    attempts: int  # takes that were made, of which this is the best
    finish: str
    findings: tuple[Finding, ...]


@dataclass(frozen=True, eq=False)
class FinishedTake:
    """A take as it is kept."""

    facts: Facts
    waveform: Tensor = field(repr=False)  # [T] float32
    spoken: Spoken = field(repr=False)


class Journal:
    """The finished takes of one production, in a folder of their own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @classmethod
    def open(cls, folder: Path, identity: Identity, restart: bool = False) -> Self:
        """The journal in `folder`, new if there is none or with `restart`.

        InputError if the folder is no journal, or that of a production made of something else.
        """
        if folder.exists() and not (folder / PLAN).is_file() and (not folder.is_dir() or any(folder.iterdir())):
            raise InputError(f"{folder} exists and holds no production", hint="choose another output, or move it away")
        if restart and folder.exists():
            shutil.rmtree(folder)
        if (folder / PLAN).is_file():
            _require_same(folder, identity)
        else:
            plan = {"format": FORMAT, "date": today(), **dataclasses.asdict(identity)}
            write_text(folder / PLAN, json.dumps(plan, indent=1))
        return cls(folder)

    @property
    def date(self) -> str:
        """When it was begun, such as 2026-11-21; "" if that is not known."""
        return str(json.loads((self.folder / PLAN).read_text(encoding="utf-8")).get("date", ""))

    def keep(self, take: FinishedTake) -> None:
        """Writes a take; when this returns, it survives."""
        header = {"format": FORMAT, **dataclasses.asdict(take.facts)}
        tensors = {"waveform": take.waveform, "latents": take.spoken.latents, "features": take.spoken.features}
        tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
        data = save(tensors, {HEADER_KEY: json.dumps(header)})
        write_atomically(self._path(take.facts.index), lambda beside: _write(beside, data))

    def facts(self, index: int) -> Facts | None:
        """What is known of take `index`; None if it is not finished, or its file is damaged."""
        path = self._path(index)
        if not path.exists():
            return None
        try:
            with safe_open(path, framework="pt") as file:
                return _facts((file.metadata() or {})[HEADER_KEY])
        except (SafetensorError, OSError, ValueError, KeyError, TypeError) as error:
            logger.warning("%s is damaged and made again: %s", path, error)
            return None

    def waveform(self, index: int) -> Tensor:
        """[T], the sound of a finished take."""
        return self._tensors(index, "waveform")[0]

    def spoken(self, indices: Iterable[int]) -> Spoken | None:
        """What takes said, one after the other, as a prompt carries on from it; None if there are no takes."""
        parts = [Spoken(*self._tensors(index, "latents", "features")) for index in indices]
        return Spoken.join(parts) if parts else None

    def remove(self) -> None:
        """Deletes the folder and all takes."""
        shutil.rmtree(self.folder)

    def _tensors(self, index: int, *names: str) -> list[Tensor]:
        path = self._path(index)
        try:
            with safe_open(path, framework="pt") as file:
                return [file.get_tensor(name) for name in names]
        except (SafetensorError, OSError) as error:
            hint = "start again: this makes the take anew"
            raise CheckpointError(f"{path} cannot be read: {error}", hint) from None

    def _path(self, index: int) -> Path:
        return self.folder / f"take-{index:05}.safetensors"


def _write(path: Path, data: bytes) -> None:
    path.write_bytes(data)


def _require_same(folder: Path, identity: Identity) -> None:
    """InputError says in what the production in `folder` differs."""
    try:
        plan: dict[str, Any] = json.loads((folder / PLAN).read_text(encoding="utf-8"))
        if plan["format"] != FORMAT:
            raise ValueError(f"is in format {plan['format']}")
        parts, surroundings = dict(plan["parts"]), dict(plan["surroundings"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        hint = "--restart throws the finished takes away"
        raise InputError(f"{folder / PLAN} cannot be used: {error}", hint) from None
    different = differences(parts, identity.parts)
    if different:
        raise InputError(
            f"{folder} holds takes of another production: {'; '.join(different)}",
            hint="--restart throws them away and starts over, another output keeps them",
        )
    for difference in differences(surroundings, identity.surroundings):
        logger.warning("what is still to come may differ in the last bits: %s", difference)


def _facts(header: str) -> Facts:
    values = json.loads(header)
    if values.pop("format") != FORMAT:
        raise ValueError("it is in another format")
    findings = tuple(Finding(**finding) for finding in values.pop("findings"))
    return Facts(**values, findings=findings)
