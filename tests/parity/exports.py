"""Whether two checkpoint folders hold the same tensors, byte for byte."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from loquor.checkpoints import Files


def assert_same_tensors(one: Path, other: Path) -> None:
    """The same names, shapes, types and bytes; how they are spread over files is free."""
    first, second = Files(one), Files(other)
    assert set(first.where) == set(second.where)
    for name in first.where:
        a, b = first[name], second[name]
        assert (a.shape, a.dtype) == (b.shape, b.dtype), name
        assert torch.equal(raw(a), raw(b)), f"{name} differs"


def raw(tensor: Tensor) -> Tensor:
    """The bytes of a tensor, so that not even the sign of a zero goes unseen."""
    return tensor.reshape(-1).view(torch.uint8)
