"""Reader of the published Realtime voice presets: `.pt` archives, pickles by nature, opened as plain data.

A preset holds the caches of a prefilled prompt for four branches: the lower and the upper language model, each with its
negative twin for guidance. The archive is a zip of one pickle, which says what tensors there are, and one member of raw
bfloat16 numbers for each. What a pickle may name is PRESET_GLOBALS and nothing else; none of it is imported or run.
"""

from __future__ import annotations

import io
import math
import struct
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from loquor.errors import VoiceError
from loquor.voices.pickles import Name, Record, Reference, read_pickle

MAX_BYTES = 64 * 2**20  # of a file and of its tensors; published presets have 2 to 4 MB
MAX_PICKLE_BYTES = 2**20  # 10 kB in published presets
MAX_MEMBERS = 4096
MAX_AXES = 8
ZIP_DIRECTORY_ENTRY = b"PK\x01\x02"
ZIP_ERRORS = (zipfile.BadZipFile, EOFError, NotImplementedError, OSError, RuntimeError, ValueError, struct.error)

BRANCHES = ("lm", "tts_lm", "neg_lm", "neg_tts_lm")

ORDERED_DICT = "collections OrderedDict"
STORAGE = "torch BFloat16Storage"
REBUILD_TENSOR = "torch._utils _rebuild_tensor_v2"
CACHE = "transformers.cache_utils DynamicCache"
OUTPUT = "transformers.modeling_outputs BaseModelOutputWithPast"
PRESET_GLOBALS = frozenset({ORDERED_DICT, STORAGE, REBUILD_TENSOR, CACHE, OUTPUT})


def read_preset(path: Path) -> dict[str, Tensor]:
    """A preset's tensors in bfloat16, contiguous: `<branch>.last_hidden_state` [1, P, H], `<branch>.key.<i>` and
    `<branch>.value.<i>` [1, kv_heads, P, head_dim] for branches lm, tts_lm, neg_lm, neg_tts_lm.

    VoiceError if the file is no such archive, is damaged, too large, or names anything it has no business to name.
    """
    archive = _Archive(path)
    tree = read_pickle(archive.member("data.pkl", MAX_PICKLE_BYTES), PRESET_GLOBALS, str(path))
    if not isinstance(tree, dict) or set(tree) != set(BRANCHES):
        raise archive.refusal(f"does not hold exactly {', '.join(BRANCHES)}")
    return {
        f"{branch}.{name}": tensor for branch in BRANCHES for name, tensor in _branch(tree[branch], archive).items()
    }


class _Archive:
    """The zip: members by name, tensors by reference, and a budget of bytes for them."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.budget = MAX_BYTES
        self.storages: dict[str, Tensor] = {}
        data = self._bytes()
        try:
            self.zip = zipfile.ZipFile(io.BytesIO(data))
            self.members = {info.filename: info for info in self.zip.infolist()}
        except ZIP_ERRORS as error:
            raise self.refusal(f"is no complete torch archive ({error})") from None
        roots = [name for name in self.members if name.endswith("/data.pkl") and name.count("/") == 1]
        if len(roots) != 1:
            raise self.refusal("is a zip, but not one that torch wrote: it has no single <name>/data.pkl")
        self.root = roots[0].removesuffix("data.pkl")
        if f"{self.root}byteorder" in self.members and self.member("byteorder", 16) != b"little":
            raise self.refusal("was not written on a little-endian machine")

    def refusal(self, what: str) -> VoiceError:
        return VoiceError(f"{self.path} {what}", hint="expected a published Realtime voice preset (.pt)")

    def member(self, name: str, limit: int) -> bytes:
        """The bytes of member `name`; torch stores without compression, so they cannot swell."""
        info = self.members.get(self.root + name)
        if info is None:
            raise self.refusal(f"has no member {name}")
        if info.compress_type != zipfile.ZIP_STORED or info.file_size > limit:
            raise self.refusal(f"has a member {name} that is compressed or larger than {limit} bytes")
        try:
            data = self.zip.read(info)
        except ZIP_ERRORS as error:
            raise self.refusal(f"is damaged at member {name} ({error})") from None
        return data

    def tensor(self, record: Any) -> Tensor:
        """The tensor that a rebuild record describes, copied out of its storage, bounds checked."""
        if not isinstance(record, Record) or record.kind != REBUILD_TENSOR or len(record.args) < 4:
            raise self.refusal("has something else where a tensor belongs")
        reference, offset, size, stride = record.args[:4]
        storage = self._storage(reference)
        whole = (size, stride, (offset,))
        if not all(
            isinstance(part, tuple) and all(type(n) is int and 0 <= n <= MAX_BYTES for n in part) for part in whole
        ):
            raise self.refusal("has a tensor whose shape is no list of sizes")
        if not 0 < len(size) == len(stride) <= MAX_AXES or 0 in size:
            raise self.refusal("has a tensor without extent")
        last = offset + sum((n - 1) * step for n, step in zip(size, stride, strict=True))
        count = math.prod(size)
        if last >= len(storage) or count > len(storage):
            raise self.refusal("has a tensor that reaches past its storage")
        self.budget -= 2 * count
        if self.budget < 0:
            raise self.refusal(f"holds more than {MAX_BYTES} bytes of tensors")
        return torch.as_strided(storage, size, stride, offset).clone(memory_format=torch.contiguous_format)

    def _storage(self, reference: Any) -> Tensor:
        """The bfloat16 numbers [n] of a storage; read once, however many tensors share it."""
        parts = reference.parts if isinstance(reference, Reference) else None
        if not isinstance(parts, tuple) or len(parts) != 5 or parts[0] != "storage" or not isinstance(parts[1], Name):
            raise self.refusal("has a tensor without a storage")
        _, kind, key, _, count = parts  # the fourth is the device it once lay on
        if kind.text != STORAGE or not isinstance(key, str) or type(count) is not int:
            raise self.refusal("has a storage that is not bfloat16")
        if key not in self.storages:
            data = self.member(f"data/{key}", MAX_BYTES)
            if not 0 < 2 * count == len(data):
                raise self.refusal(f"has a storage {key} of {len(data)} bytes for {count} numbers")
            numbers = np.frombuffer(data, "<i2").astype(np.int16)
            self.storages[key] = torch.from_numpy(numbers).view(torch.bfloat16)
        return self.storages[key]

    def _bytes(self) -> bytes:
        """The whole file, small enough to hold, with a directory small enough to list."""
        try:
            with self.path.open("rb") as file:
                data = file.read(MAX_BYTES + 1)
        except OSError as error:
            raise VoiceError(f"{self.path} cannot be read: {error.strerror}") from None
        if len(data) > MAX_BYTES or data.count(ZIP_DIRECTORY_ENTRY) > MAX_MEMBERS:
            raise self.refusal(f"is larger than {MAX_BYTES} bytes or has more than {MAX_MEMBERS} members")
        return data


def _branch(output: Any, archive: _Archive) -> dict[str, Tensor]:
    """One branch's tensors: hidden states, then keys and values by layer."""
    fields = output.items if isinstance(output, Record) and output.kind == OUTPUT else {}
    cache = fields.get("past_key_values")
    state = cache.state if isinstance(cache, Record) and cache.kind == CACHE else None
    if "last_hidden_state" not in fields or not isinstance(state, dict):
        raise archive.refusal("has a branch without hidden states and a cache")
    keys, values = state.get("key_cache"), state.get("value_cache")
    if not isinstance(keys, list) or not isinstance(values, list) or len(keys) != len(values):
        raise archive.refusal("has a cache without as many keys as values")
    tensors = {"last_hidden_state": archive.tensor(fields["last_hidden_state"])}
    for i, (key, value) in enumerate(zip(keys, values, strict=True)):
        tensors[f"key.{i}"], tensors[f"value.{i}"] = archive.tensor(key), archive.tensor(value)
    return tensors
