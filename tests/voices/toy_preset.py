"""A published preset in small, written byte by byte: a torch zip archive around a pickle of protocol 2."""

from __future__ import annotations

import io
import pickle
import struct
import zipfile
from dataclasses import dataclass, field

import torch
from torch import Tensor

from loquor.torch_archives import ORDERED_DICT, REBUILD_TENSOR
from loquor.voices.presets import CACHE, OUTPUT, STORAGE

LAYERS = {"lm": 1, "tts_lm": 2, "neg_lm": 1, "neg_tts_lm": 2}
POSITIONS = {"lm": 3, "tts_lm": 5, "neg_lm": 1, "neg_tts_lm": 1}
HEADS, WIDTH, HIDDEN = 2, 4, 8


def text(value: str) -> bytes:
    data = value.encode()
    return pickle.BINUNICODE + struct.pack("<I", len(data)) + data


def number(value: int) -> bytes:
    return pickle.BININT + struct.pack("<i", value)


def group(*items: bytes) -> bytes:
    return pickle.MARK + b"".join(items) + pickle.TUPLE


def numbers(*values: int) -> bytes:
    return group(*map(number, values))


def listed(*items: bytes) -> bytes:
    return pickle.EMPTY_LIST + pickle.MARK + b"".join(items) + pickle.APPENDS


def name(words: str) -> bytes:
    module, attribute = words.split(" ")
    return pickle.GLOBAL + f"{module}\n{attribute}\n".encode()


def items(**values: bytes) -> bytes:
    return pickle.MARK + b"".join(text(key) + value for key, value in values.items()) + pickle.SETITEMS


def mapping(**values: bytes) -> bytes:
    return pickle.EMPTY_DICT + items(**values)


def program(value: bytes) -> bytes:
    return pickle.PROTO + b"\x02" + value + pickle.STOP


@dataclass
class Storages:
    """Raw numbers by key, and the pickle of tensors that lie in them."""

    blobs: list[bytes] = field(default_factory=list)

    def tensor(self, values: Tensor, *, stored: Tensor | None = None, **wrong: bytes) -> bytes:
        """`values`, lying in memory like `stored`; `wrong` replaces parts of its description."""
        stored = values if stored is None else stored
        key = str(len(self.blobs))
        self.blobs.append(stored.contiguous().view(torch.int16).numpy().astype("<i2").tobytes())
        storage = group(text("storage"), name(STORAGE), text(key), text("cuda:0"), number(stored.numel()))
        parts = {
            "storage": storage + pickle.BINPERSID,
            "offset": number(0),
            "size": numbers(*values.shape),
            "stride": numbers(*values.stride()),
            "requires_grad": pickle.NEWFALSE,
            "hooks": name(ORDERED_DICT) + pickle.EMPTY_TUPLE + pickle.REDUCE,
        }
        return name(REBUILD_TENSOR) + group(*(parts | wrong).values()) + pickle.REDUCE


def toy_tensors() -> dict[str, Tensor]:
    """What a reader must find, in published order."""
    generator, tensors = torch.Generator().manual_seed(0), {}
    for branch, layers in LAYERS.items():
        positions = POSITIONS[branch]
        tensors[f"{branch}.last_hidden_state"] = torch.randn(1, positions, HIDDEN, generator=generator).bfloat16()
        for i in range(layers):
            for part in ("key", "value"):
                shape = (1, HEADS, positions, WIDTH)
                tensors[f"{branch}.{part}.{i}"] = torch.randn(shape, generator=generator).bfloat16()
    return tensors


def branch_pickle(branch: str, tensors: dict[str, Tensor], storages: Storages) -> bytes:
    hidden = storages.tensor(tensors[f"{branch}.last_hidden_state"])
    caches: dict[str, list[bytes]] = {"key": [], "value": []}
    for part, cache in caches.items():
        for i in range(LAYERS[branch]):
            tensor = tensors[f"{branch}.{part}.{i}"]
            stored = tensor.transpose(1, 2).contiguous()  # as published: positions before heads
            cache.append(storages.tensor(stored.transpose(1, 2), stored=stored))
    state = mapping(
        _seen_tokens=number(POSITIONS[branch]), key_cache=listed(*caches["key"]), value_cache=listed(*caches["value"])
    )
    cache = name(CACHE) + pickle.EMPTY_TUPLE + pickle.NEWOBJ + state + pickle.BUILD
    made = name(OUTPUT) + group(hidden, cache, pickle.NONE, pickle.NONE) + pickle.REDUCE
    return made + items(last_hidden_state=hidden, past_key_values=cache)


def toy_parts() -> tuple[bytes, list[bytes]]:
    """The pickle and the storages of the toy preset."""
    storages, tensors = Storages(), toy_tensors()
    branches = {branch: branch_pickle(branch, tensors, storages) for branch in LAYERS}
    return program(mapping(**branches)), storages.blobs


def archive(data: bytes, blobs: list[bytes], compression: int = zipfile.ZIP_STORED, **members: bytes) -> bytes:
    """The zip around a pickle and its storages."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as file:
        file.writestr("toy/data.pkl", data)
        for member, content in ({"byteorder": b"little"} | members).items():
            file.writestr(f"toy/{member}", content)
        for i, blob in enumerate(blobs):
            file.writestr(f"toy/data/{i}", blob)
    return buffer.getvalue()


def toy_preset() -> bytes:
    return archive(*toy_parts())
