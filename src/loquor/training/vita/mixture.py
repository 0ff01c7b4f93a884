"""Which conversations a stage learns from, and how often each: several files, mixed.

    dataset:
      read speech:
        ratio: 0.5           # of each file; above 1 it is gone through again
        num: 100000          # at most so many of each file
        data_paths: [train.jsonl]

is the published form. Which conversations of a file are taken, and the order of all, follow from a seed.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from loquor.errors import ConfigError, InputError, MissingExtra
from loquor.training.vita.conversations import Conversation, ConversationFile

logger = logging.getLogger(__name__)

KNOWN = {"ratio", "num", "data_paths"}
PREVIEW = "xlsx_sample_num"  # of the published files: how many rows a preview has; there is none here


@dataclass(frozen=True)
class Share:
    """What is taken of a file."""

    path: Path
    ratio: float = 1.0
    most: int | None = None

    def count(self, total: int) -> int:
        """How many of `total` conversations, counting those that come again."""
        wanted = int(total * self.ratio)
        return wanted if self.most is None else min(wanted, self.most)


def read_shares(path: Path) -> list[Share]:
    """The files a YAML names, but for those of ratio 0; paths start where it lies. ConfigError names the key."""
    try:
        import yaml
    except ImportError:
        raise MissingExtra("data sets are described in YAML", hint="pip install 'loquor[train]'") from None
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigError(f"{path} cannot be read: {' '.join(str(error).split())}") from None
    sets = values.get("dataset") if isinstance(values, Mapping) else None
    if not isinstance(sets, Mapping) or not sets or set(values) - {"dataset", PREVIEW}:
        raise ConfigError(f"{path} describes no data sets", hint="give dataset: {name: {ratio, num, data_paths}}")
    shares = [share for name, entry in sets.items() for share in _shares(entry, path, f"{path}: {name}")]
    return [share for share in shares if share.ratio > 0]


def _shares(entry: Any, path: Path, source: str) -> list[Share]:
    if not isinstance(entry, Mapping) or "data_paths" not in entry or set(entry) - KNOWN:
        raise ConfigError(f"{source} must have data_paths, and may have ratio and num")
    ratio, most, paths = entry.get("ratio", 1.0), entry.get("num"), entry["data_paths"]
    is_number = isinstance(ratio, int | float) and not isinstance(ratio, bool)
    if not is_number or not 0 <= ratio < math.inf:
        raise ConfigError(f"{source}.ratio must be a number of at least 0, got {ratio!r}")
    if most is not None and (isinstance(most, bool) or not isinstance(most, int) or most < 0):
        raise ConfigError(f"{source}.num must be a whole number, got {most!r}")
    if not isinstance(paths, list) or not all(isinstance(p, str) for p in paths):
        raise ConfigError(f"{source}.data_paths must be a list of paths")
    return [Share(path.parent / name, float(ratio), most) for name in paths]


def open_mixture(path: Path, seed: int) -> Mixture:
    """The conversations of a file, or of those that a YAML names; raises as `read_shares` and `Mixture`."""
    return Mixture(read_shares(path) if path.suffix in (".yaml", ".yml") else [Share(path)], seed)


class Mixture:
    """Conversations of several files in a mixed order; `mixture[i]` is a source and a conversation."""

    def __init__(self, shares: Sequence[Share], seed: int, root: Path | None = None) -> None:
        """Recordings are looked for from `root`, or from where their file lies.

        A missing file is a warning, as published; InputError if nothing is left, or a file cannot be read.
        """
        present = [share for share in shares if share.path.is_file()]
        for share in shares:
            if share not in present:
                logger.warning("%s does not exist: nothing is learned from it", share.path)
        self.files = [ConversationFile(share.path, root) for share in present]
        generator = torch.Generator().manual_seed(seed)
        picks = [_picked(len(f), s.count(len(f)), generator) for f, s in zip(self.files, present, strict=True)]
        sources = [torch.full_like(pick, i) for i, pick in enumerate(picks)]
        count = sum(map(len, picks))
        if not count:
            names = ", ".join(str(share.path) for share in shares) or "no file"
            raise InputError(f"there are no conversations in {names}", hint="check data_paths, ratio and num")
        order = torch.randperm(count, generator=generator)
        self._source, self._index = torch.cat(sources)[order], torch.cat(picks)[order]

    def __len__(self) -> int:
        return len(self._index)

    def source(self, number: int) -> int:
        """Which file a conversation is of."""
        return int(self._source[number])

    def __getitem__(self, number: int) -> Conversation:
        """InputError, with file and place, if it cannot be used."""
        return self.files[self.source(number)][int(self._index[number])]


def _picked(total: int, count: int, generator: torch.Generator) -> Tensor:
    """`count` of `total` in random order, each as often as any other, or once more."""
    if not total:
        return torch.zeros(0, dtype=torch.long)
    rounds = [torch.randperm(total, generator=generator) for _ in range(-(-count // total))]
    return torch.cat([torch.zeros(0, dtype=torch.long), *rounds])[:count]
