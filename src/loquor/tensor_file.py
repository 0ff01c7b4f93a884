"""One safetensors file in memory: tensors are views of a private mapping, and pages no longer needed are given back.

The file holds eight bytes that say how long its header is, the header in JSON, and the tensors' bytes. None of these is
read before somebody looks at the numbers, and what is written into a tensor stays in this process.
"""

from __future__ import annotations

import json
import math
import mmap
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from loquor.errors import CheckpointError

DTYPES = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "I64": torch.int64,
    "I32": torch.int32,
    "I16": torch.int16,
    "I8": torch.int8,
    "U8": torch.uint8,
    "BOOL": torch.bool,
}  # as safetensors spells them


@dataclass(frozen=True)
class Header:
    """What the file says of a tensor."""

    dtype: str
    shape: tuple[int, ...]
    start: int  # in the file
    end: int


class TensorFile:
    """The tensors of a file; CheckpointError if it is missing or not sound."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            safe_open(path, framework="pt")  # refuses whatever does not fit together
            with path.open("rb") as file:
                self._map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)
            self.headers = self._read_headers()
        except FileNotFoundError:
            raise CheckpointError(f"{path} does not exist", hint="download all shards of the checkpoint") from None
        except (SafetensorError, OSError, ValueError) as error:
            raise CheckpointError(f"{path} is no sound safetensors file: {error}", hint="download it again") from None

    def _read_headers(self) -> Mapping[str, Header]:
        first = 8 + int.from_bytes(self._map[:8], "little")
        values = json.loads(self._map[8:first])
        values.pop("__metadata__", None)
        return {
            name: Header(v["dtype"], tuple(v["shape"]), *(first + offset for offset in v["data_offsets"]))
            for name, v in values.items()
        }

    def empty(self, name: str) -> Tensor:
        """A meta tensor of the type and shape of `name`; CheckpointError if torch has no such type."""
        header = self.headers[name]
        if header.dtype not in DTYPES:
            raise CheckpointError(f"{self.path}: {name} is stored as {header.dtype}, which cannot be used")
        return torch.empty(header.shape, dtype=DTYPES[header.dtype], device="meta")

    def tensor(self, name: str) -> Tensor:
        """The tensor `name`, a view of the mapping."""
        like, start = self.empty(name), self.headers[name].start
        if not like.numel():
            return torch.empty(like.shape, dtype=like.dtype)
        return torch.frombuffer(self._map, dtype=like.dtype, count=like.numel(), offset=start).view(like.shape)

    def release(self, name: str) -> None:
        """Give back the memory of `name`'s pages, but for those it shares with neighbours. Whoever looks again reads
        the file again; what was written there is lost."""
        if hasattr(mmap, "MADV_DONTNEED"):
            header, page = self.headers[name], mmap.PAGESIZE
            start, end = math.ceil(header.start / page) * page, header.end // page * page
            if start < end:
                self._map.madvise(mmap.MADV_DONTNEED, start, end - start)
