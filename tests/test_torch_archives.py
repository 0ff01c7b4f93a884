"""State dicts that torch writes are read to the last bit, without torch's unpickler; whatever else is one error.

Archives that are broken or hostile in other ways are told of in tests/voices/test_presets.py.
"""

from __future__ import annotations

import contextlib
import io
import os
import zipfile
from collections import OrderedDict
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from loquor.errors import CheckpointError
from loquor.torch_archives import PIECE_BYTES, read_state_dict
from voices import toy_preset as toy

fuzz = settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
TENSORS = st.builds(
    lambda shape, dtype, seed: torch.randn(shape, generator=torch.Generator().manual_seed(seed)).to(dtype),
    st.lists(st.integers(1, 5), min_size=1, max_size=4),
    st.sampled_from([torch.float32, torch.float16, torch.bfloat16]),
    st.integers(0, 99),
)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "pytorch_model.bin"


def saved(file: Path, value: object) -> dict[str, Tensor]:
    torch.save(value, file)
    return read_state_dict(file)


def assert_same(actual: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    assert list(actual) == list(expected)
    for name, tensor in expected.items():
        assert (actual[name].dtype, actual[name].shape) == (tensor.dtype, tensor.shape)
        assert torch.equal(actual[name], tensor) and actual[name].is_contiguous()


@fuzz
@given(st.dictionaries(st.text(st.characters(codec="ascii", categories=["L"]), max_size=5), TENSORS, max_size=4))
def test_reading_what_torch_saved_is_identity(file: Path, tensors: dict[str, Tensor]) -> None:
    assert_same(saved(file, tensors), tensors)


def test_the_state_of_a_module_is_read_with_all_torch_writes_beside_it(file: Path) -> None:
    module = nn.Sequential(nn.Linear(3, 4), nn.LayerNorm(4))

    assert_same(saved(file, module.state_dict()), dict(module.state_dict()))


def test_parameters_are_their_tensors(file: Path) -> None:
    tensors = OrderedDict(module=torch.randn(3, 2))

    assert_same(saved(file, {name: nn.Parameter(tensor) for name, tensor in tensors.items()}), tensors)


def test_tensors_may_lie_in_one_storage_and_in_any_order_of_axes(file: Path) -> None:
    flat = torch.randn(24)
    tensors = {"first": flat[:12].view(3, 4), "second": flat[12:].view(4, 3).T}

    assert_same(saved(file, tensors), tensors)


def test_a_storage_cannot_be_given_again_and_again(file: Path) -> None:
    tensor = torch.zeros(2**16)

    with pytest.raises(CheckpointError, match="describes more tensors than its"):
        saved(file, {str(i): tensor for i in range(20)})


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({"step": torch.tensor([1])}, r"names 'torch.LongStorage', which is not allowed"),
        ({"weight": 3}, "has something else where a tensor belongs"),
        ([torch.ones(2)], "holds no dictionary of tensors"),
        (torch.ones(2), "holds no dictionary of tensors"),
        ({"weight": torch.ones(0)}, "of 0 bytes for 0 numbers"),
        ({"model": {"weight": torch.ones(2)}}, "has something else where a tensor belongs"),
        ({"weight": torch.ones(2).to_sparse()}, "which is not allowed"),
        (nn.Linear(2, 2), r"names 'torch.nn.modules.linear.Linear', which is not allowed"),
    ],
)
def test_what_is_no_state_dict_of_numbers_is_refused(file: Path, value: object, message: str) -> None:
    with pytest.raises(CheckpointError, match=message) as caught:
        saved(file, value)

    assert str(file) in str(caught.value)


class Bomb:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return os.mkdir, (str(self.path),)


def test_a_file_that_would_run_code_runs_none(file: Path, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"\.mkdir', which is not allowed"):
        saved(file, {"weight": Bomb(tmp_path / "trace")})

    assert not (tmp_path / "trace").exists()


def test_the_oldest_layout_is_refused_with_a_hint(file: Path) -> None:
    torch.save({"weight": torch.ones(2)}, file, _use_new_zipfile_serialization=False)

    with pytest.raises(CheckpointError, match=r"is a bare pickle, as torch wrote them before version 1\.6") as caught:
        read_state_dict(file)

    assert caught.value.hint == "save it again with a newer torch"


def test_a_directory_that_outgrows_its_file_s_use_is_not_listed(file: Path) -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for i in range(20):
            entry = zipfile.ZipInfo(f"toy/{i}")
            entry.comment = bytes(PIECE_BYTES // 17)
            archive.writestr(entry, b"")
    file.write_bytes(buffer.getvalue())

    with pytest.raises(CheckpointError, match="its directory is larger than"):
        read_state_dict(file)


@fuzz
@given(st.integers(0, 10_000), st.integers(0, 255))
def test_a_changed_byte_gives_tensors_or_one_clear_error(file: Path, position: int, value: int) -> None:
    torch.save({"weight": torch.ones(3, 2), "bias": torch.ones(2).half()}, file)
    data = bytearray(file.read_bytes())
    data[position % len(data)] = value
    file.write_bytes(data)

    with contextlib.suppress(CheckpointError):
        assert all(isinstance(tensor, Tensor) for tensor in read_state_dict(file).values())


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"offset": toy.number(1)}, "past its storage"),
        ({"offset": toy.number(-1)}, "no list of sizes"),
        ({"stride": toy.numbers(-1)}, "no list of sizes"),
        ({"size": toy.numbers(2**30, 2**30), "stride": toy.numbers(0, 0)}, "past its storage"),
    ],
)
def test_a_tensor_lies_inside_its_storage(file: Path, wrong: dict[str, bytes], message: str) -> None:
    storages = toy.Storages()
    sound = storages.tensor(torch.ones(4).bfloat16())
    hostile = storages.tensor(torch.ones(4).bfloat16(), **wrong)
    file.write_bytes(toy.archive(toy.program(toy.mapping(weight=sound)), storages.blobs))
    assert torch.equal(read_state_dict(file)["weight"], torch.ones(4).bfloat16())

    file.write_bytes(toy.archive(toy.program(toy.mapping(weight=sound, bias=hostile)), storages.blobs))

    with pytest.raises(CheckpointError, match=message):
        read_state_dict(file)
