"""Reader of the files `torch.save` writes, opened as plain data: nothing a file names is imported or run.

Such a file is a zip of one pickle, which says what tensors there are, and one member of raw numbers for each storage.
A tensor is rebuilt here from its shape, strides and offset, checked against the storage it claims to lie in. Members
are stored uncompressed and no tensor is given twice, so what is read never outgrows the file.
"""

from __future__ import annotations

import io
import math
import struct
import zipfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from loquor.errors import CheckpointError, LoquorError
from loquor.pickles import Name, Record, Reference, read_pickle

MAX_PICKLE_BYTES = 2**20  # 10 kB in published voice presets, 50 kB for the adapter of a 7B model
MAX_MEMBERS = 4096
MAX_AXES = 8
PIECE_BYTES = 2**20
ZIP_ERRORS = (zipfile.BadZipFile, ArithmeticError, EOFError, OSError, RuntimeError, ValueError, struct.error)

ORDERED_DICT = "collections OrderedDict"
REBUILD_TENSOR = "torch._utils _rebuild_tensor_v2"
REBUILD_PARAMETER = "torch._utils _rebuild_parameter"  # a tensor, and whether it needs gradients
STORAGES = {
    "torch FloatStorage": torch.float32,
    "torch HalfStorage": torch.float16,
    "torch BFloat16Storage": torch.bfloat16,
}


@dataclass(frozen=True)
class Kind:
    """A kind of torch file: what it may name, how large it may be, and how one that does not fit is refused."""

    names: frozenset[str]  # as "module name"; the storages among them say which numbers it may hold
    max_bytes: int
    error: type[LoquorError]
    hint: str


STATE_DICT = Kind(
    names=frozenset({ORDERED_DICT, REBUILD_TENSOR, REBUILD_PARAMETER, *STORAGES}),
    max_bytes=4 * 2**30,  # the diffusion head of a 7B model takes 2.6 GB in float32
    error=CheckpointError,
    hint="expected the state dict of a module, as torch.save writes it",
)


def read_state_dict(path: Path) -> dict[str, Tensor]:
    """The tensors of a module by name, contiguous, in float32, float16 or bfloat16 as the file has them.

    CheckpointError if the file is no such archive, is damaged, too large, or names anything it has no business to name.
    """
    with open_archive(path, STATE_DICT) as archive:
        tree = archive.tree
        items = tree.items if isinstance(tree, Record) and tree.kind == ORDERED_DICT else tree
        if not isinstance(items, dict):
            raise archive.refusal("holds no dictionary of tensors")
        return {name: archive.tensor(record) for name, record in items.items()}


@contextmanager
def open_archive(path: Path, kind: Kind) -> Iterator[Archive]:
    """The file's pickle as a tree, and its tensors by the records of that tree; the `kind`'s error if it is none."""
    with ExitStack() as stack:
        try:
            file = stack.enter_context(_InPieces(path))
            size = file.seek(0, io.SEEK_END)
        except OSError as error:
            raise kind.error(f"{path} cannot be read: {error.strerror}") from None
        yield Archive(path, kind, file, size)


class _InPieces(io.FileIO):
    """A file that gives little at a time, so that no directory of a zip, whatever it says of itself, fills memory."""

    def read(self, size: int | None = -1) -> bytes:
        wanted = PIECE_BYTES + 1 if size is None or size < 0 else min(size, PIECE_BYTES + 1)
        data: bytes = super().read(wanted)
        if len(data) > PIECE_BYTES:
            raise ValueError(f"its directory is larger than {PIECE_BYTES} bytes")
        return data


class Archive:
    """The zip: members by name, tensors by record, and as many bytes of both as the file has."""

    def __init__(self, path: Path, kind: Kind, file: _InPieces, size: int) -> None:
        self.path = path
        self.kind = kind
        if size > kind.max_bytes:
            raise self.refusal(f"is larger than {kind.max_bytes} bytes")
        self._to_read = self._to_give = self._size = size
        self._last: tuple[str, Tensor] | None = None  # a storage that several tensors share is read once
        self._open(file)
        data = bytes(self._member("data.pkl", MAX_PICKLE_BYTES))
        self.tree = read_pickle(data, kind.names, str(path), kind.error)

    def refusal(self, what: str) -> LoquorError:
        return self.kind.error(f"{self.path} {what}", hint=self.kind.hint)

    def _open(self, file: _InPieces) -> None:
        try:
            self._zip = zipfile.ZipFile(file)
        except ZIP_ERRORS as error:
            file.seek(0)
            if file.read(1) == b"\x80":
                what = f"{self.path} is a bare pickle, as torch wrote them before version 1.6"
                raise self.kind.error(what, hint="save it again with a newer torch") from None
            raise self.refusal(f"is no complete torch archive ({error})") from None
        self._members = {info.filename: info for info in self._zip.infolist()}
        roots = [name for name in self._members if name.endswith("/data.pkl") and name.count("/") == 1]
        if len(self._members) > MAX_MEMBERS:
            raise self.refusal(f"has more than {MAX_MEMBERS} members")
        if len(roots) != 1:
            raise self.refusal("is a zip, but not one that torch wrote: it has no single <name>/data.pkl")
        self._root = roots[0].removesuffix("data.pkl")
        if f"{self._root}byteorder" in self._members and self._member("byteorder", 16) != b"little":
            raise self.refusal("was not written on a little-endian machine")

    def _member(self, name: str, limit: int) -> bytearray:
        """The bytes of member `name`; torch stores without compression, so they cannot swell."""
        info = self._members.get(self._root + name)
        if info is None:
            raise self.refusal(f"has no member {name}")
        if info.compress_type != zipfile.ZIP_STORED or info.file_size > limit:
            raise self.refusal(f"has a member {name} that is compressed or larger than {limit} bytes")
        data = bytearray(info.file_size)
        done = 0
        try:
            with self._zip.open(info) as member:
                while piece := member.read(PIECE_BYTES):
                    data[done : done + len(piece)] = piece
                    done += len(piece)
        except ZIP_ERRORS as error:
            raise self.refusal(f"is damaged at member {name} ({error})") from None
        return data

    def tensor(self, record: Any) -> Tensor:
        """The tensor that a rebuild record describes, copied out of its storage, bounds checked."""
        if isinstance(record, Record) and record.kind == REBUILD_PARAMETER and record.args:
            record = record.args[0]
        if not isinstance(record, Record) or record.kind != REBUILD_TENSOR or len(record.args) < 4:
            raise self.refusal("has something else where a tensor belongs")
        reference, offset, size, stride = record.args[:4]
        storage = self._storage(reference)
        if not all(isinstance(part, tuple) and all(map(self._is_size, part)) for part in (size, stride, (offset,))):
            raise self.refusal("has a tensor whose shape is no list of sizes")
        if not 0 < len(size) == len(stride) <= MAX_AXES or 0 in size:
            raise self.refusal("has a tensor without extent")
        last = offset + sum((n - 1) * step for n, step in zip(size, stride, strict=True))
        count = math.prod(size)
        if last >= len(storage) or count > len(storage):
            raise self.refusal("has a tensor that reaches past its storage")
        self._to_give -= count * storage.itemsize
        if self._to_give < 0:
            raise self.refusal(f"describes more tensors than its {self._size} bytes can hold")
        return torch.as_strided(storage, size, stride, offset).clone(memory_format=torch.contiguous_format)

    def _is_size(self, value: Any) -> bool:
        return type(value) is int and 0 <= value <= self.kind.max_bytes

    def _storage(self, reference: Any) -> Tensor:
        """The numbers [n] of a storage."""
        parts = reference.parts if isinstance(reference, Reference) else None
        if not isinstance(parts, tuple) or len(parts) != 5 or parts[0] != "storage" or not isinstance(parts[1], Name):
            raise self.refusal("has a tensor without a storage")
        _, kind, key, _, count = parts  # the fourth is the device it once lay on
        dtype = STORAGES.get(kind.text)
        if dtype is None or not isinstance(key, str) or type(count) is not int:
            raise self.refusal("has a storage without a type, a name or a size")
        if self._last and self._last[0] == key and (self._last[1].dtype, len(self._last[1])) == (dtype, count):
            return self._last[1]
        data = self._member(f"data/{key}", self._to_read)
        if not 0 < dtype.itemsize * count == len(data):
            raise self.refusal(f"has a storage {key} of {len(data)} bytes for {count} numbers")
        self._to_read -= len(data)
        numbers = np.frombuffer(data, f"<i{dtype.itemsize}").astype(f"=i{dtype.itemsize}", copy=False)
        storage = torch.from_numpy(numbers).view(dtype)
        self._last = key, storage
        return storage
