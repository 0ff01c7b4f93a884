"""One safetensors file in memory: what it holds, and what giving back its pages does not change."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file

from loquor.errors import CheckpointError
from loquor.tensor_file import DTYPES, TensorFile

PAGE = 4096


@given(data=st.data())
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_every_tensor_comes_back_also_after_its_pages_were_given_up(tmp_path: Path, data: st.DataObject) -> None:
    """Of any type and shape, empty ones and scalars too, the numbers of all of them."""
    shapes = st.lists(st.integers(0, 40), max_size=3)
    kinds = data.draw(st.lists(st.tuples(st.sampled_from([*DTYPES.values()]), shapes), min_size=1, max_size=8))
    tensors = {f"{i}": torch.randint(0, 2, shape).to(dtype) for i, (dtype, shape) in enumerate(kinds)}
    save_file(tensors, tmp_path / "file.safetensors", metadata={"format": "pt"})
    file = TensorFile(tmp_path / "file.safetensors")
    assert file.headers.keys() == tensors.keys()
    held = {name: file.tensor(name) for name in tensors}
    for name in data.draw(st.lists(st.sampled_from(sorted(tensors)))):
        file.release(name)
    for name, tensor in tensors.items():
        for again in (held[name], file.tensor(name)):
            assert (again.dtype, again.shape) == (tensor.dtype, tensor.shape)
            assert torch.equal(again, tensor)
        assert (file.empty(name).dtype, file.empty(name).shape) == (tensor.dtype, tensor.shape)


def test_what_is_written_into_a_tensor_stays_here_and_outlasts_the_release_of_its_neighbours(tmp_path: Path) -> None:
    path = tmp_path / "file.safetensors"
    tensors = {name: torch.ones(5 * PAGE // 4 + 3) for name in "abc"}
    save_file(tensors, path)
    before, file = path.read_bytes(), TensorFile(path)
    middle = file.tensor("b").fill_(2)
    file.release("a")
    file.release("c")
    assert (middle == 2).all()
    assert path.read_bytes() == before
    assert torch.equal(TensorFile(path).tensor("b"), tensors["b"])


def test_tensors_outlast_the_file_they_are_of(tmp_path: Path) -> None:
    path = tmp_path / "file.safetensors"
    save_file({"a": torch.ones(PAGE)}, path)
    tensor = TensorFile(path).tensor("a")
    path.unlink()
    assert (tensor == 1).all()


def test_a_type_torch_would_misread_is_an_error_when_it_is_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "file.safetensors"
    header = json.dumps({"a": {"dtype": "F8_E4M3", "shape": [8], "data_offsets": [0, 8]}}).encode()
    path.write_bytes(struct.pack("<Q", len(header)) + header + bytes(8))
    file = TensorFile(path)
    for read in (file.tensor, file.empty):
        with pytest.raises(CheckpointError, match="a is stored as F8_E4M3, which cannot be used"):
            read("a")
