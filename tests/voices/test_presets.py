"""Published presets are opened as data: every tensor exact, every hostile or broken file one clear error."""

from __future__ import annotations

import contextlib
import os
import pickle
import pickletools
import sys
import types
import zipfile
from collections import OrderedDict
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor

from loquor.errors import VoiceError
from loquor.pickles import MAX_OPCODES
from loquor.torch_archives import MAX_MEMBERS
from loquor.voices.presets import MAX_BYTES, PRESET_GLOBALS, read_preset
from voices import toy_preset as toy

fuzz = settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
TOY = toy.toy_preset()
TOY_PICKLE, TOY_BLOBS = toy.toy_parts()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "en-Toy_woman.pt"


def read(file: Path, data: bytes) -> dict[str, Tensor]:
    file.write_bytes(data)
    return read_preset(file)


def read_or_refuse(file: Path, data: bytes) -> None:
    """Whatever the bytes, tensors or a VoiceError."""
    with contextlib.suppress(VoiceError):
        read(file, data)


def test_a_preset_is_read_whole_and_exactly(file: Path) -> None:
    tensors, expected = read(file, TOY), toy.toy_tensors()

    assert set(tensors) == set(expected)
    for name, tensor in expected.items():
        assert tensors[name].dtype == torch.bfloat16
        assert tensors[name].is_contiguous()
        assert torch.equal(tensors[name], tensor)


def test_what_torch_itself_writes_is_read(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    caches, outputs = types.ModuleType("transformers.cache_utils"), types.ModuleType("transformers.modeling_outputs")
    caches.DynamicCache = type("DynamicCache", (), {"__module__": caches.__name__})
    outputs.BaseModelOutputWithPast = type("BaseModelOutputWithPast", (OrderedDict,), {"__module__": outputs.__name__})
    for module in (types.ModuleType("transformers"), caches, outputs):
        monkeypatch.setitem(sys.modules, module.__name__, module)
    expected, preset = toy.toy_tensors(), {}
    for branch, layers in toy.LAYERS.items():
        cache = caches.DynamicCache()
        cache.key_cache = [expected[f"{branch}.key.{i}"] for i in range(layers)]
        cache.value_cache = [expected[f"{branch}.value.{i}"] for i in range(layers)]
        hidden = expected[f"{branch}.last_hidden_state"]
        preset[branch] = outputs.BaseModelOutputWithPast(last_hidden_state=hidden, past_key_values=cache)
    torch.save(preset, file)

    tensors = read_preset(file)

    assert all(torch.equal(tensors[name], tensor) for name, tensor in expected.items())


class Bomb:
    """Calls a function when unpickled by Python."""

    def __init__(self, function: object, *args: object) -> None:
        self.call = function, args

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return self.call


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize(
    ("function", "shown"), [(os.system, f"{os.system.__module__}.system"), (eval, "builtin"), (exec, "builtin")]
)
def test_a_file_that_would_run_code_is_refused_by_name_and_runs_nothing(
    file: Path, tmp_path: Path, function: object, shown: str, protocol: int
) -> None:
    trace = tmp_path / "trace"
    command = f"touch {trace}" if function is os.system else f"open({str(trace)!r}, 'w').close()"
    data = pickle.dumps(Bomb(function, command), protocol)

    with pytest.raises(VoiceError, match=shown):
        read(file, toy.archive(data, []))

    assert not trace.exists()


@pytest.mark.parametrize(
    "opcodes",
    [
        toy.name("os system"),
        toy.name("posix system"),
        toy.name("builtins eval"),
        toy.name("torch FloatStorage"),
        toy.name("collections OrderedDict.fromkeys"),
        toy.text("os") + toy.text("system") + pickle.STACK_GLOBAL,
        pickle.MARK + pickle.INST + b"os\nsystem\n",
    ],
)
def test_any_other_name_is_refused_and_shown(file: Path, opcodes: bytes) -> None:
    with pytest.raises(VoiceError, match=r"names '[\w.]+', which is not allowed") as caught:
        read(file, toy.archive(toy.program(opcodes), []))

    assert any(shown in str(caught.value) for shown in ("os.system", "posix", "eval", "FloatStorage", "fromkeys"))


@pytest.mark.parametrize("allowed", sorted(PRESET_GLOBALS))
def test_allowed_names_stay_words(file: Path, allowed: str) -> None:
    called = toy.name(allowed) + toy.group(toy.text("ls")) + pickle.REDUCE

    with pytest.raises(VoiceError, match="does not hold exactly lm"):
        read(file, toy.archive(toy.program(called), []))


@fuzz
@given(st.binary(max_size=300))
def test_random_bytes_are_refused(file: Path, data: bytes) -> None:
    with pytest.raises(VoiceError):
        read(file, data)


@fuzz
@given(st.integers(0, len(TOY) - 1))
def test_a_truncated_file_is_refused(file: Path, length: int) -> None:
    with pytest.raises(VoiceError, match="en-Toy_woman"):
        read(file, TOY[:length])


@fuzz
@given(st.integers(0, 8 * len(TOY) - 1))
def test_a_flipped_bit_gives_tensors_or_one_clear_error(file: Path, bit: int) -> None:
    data = bytearray(TOY)
    data[bit // 8] ^= 1 << bit % 8

    read_or_refuse(file, bytes(data))


@fuzz
@given(st.lists(st.tuples(st.integers(0, len(TOY_PICKLE) - 1), st.integers(0, 255)), min_size=1, max_size=4))
def test_a_changed_pickle_gives_tensors_or_one_clear_error(file: Path, changes: list[tuple[int, int]]) -> None:
    data = bytearray(TOY_PICKLE)  # behind a correct checksum, unlike a flipped bit
    for position, value in changes:
        data[position] = value

    read_or_refuse(file, toy.archive(bytes(data), TOY_BLOBS))


OPCODES = [opcode.code.encode("latin-1") for opcode in pickletools.opcodes]
FRAGMENTS = st.sampled_from([*OPCODES, *map(toy.name, sorted(PRESET_GLOBALS)), toy.number(3), toy.text("lm")])


@fuzz
@given(st.lists(FRAGMENTS, max_size=40))
def test_any_sequence_of_opcodes_gives_tensors_or_one_clear_error(file: Path, fragments: list[bytes]) -> None:
    read_or_refuse(file, toy.archive(toy.program(b"".join(fragments)), TOY_BLOBS))


def with_hidden_state(**wrong: bytes) -> bytes:
    """The toy preset with one tensor described wrongly."""
    storages, tensors = toy.Storages(), toy.toy_tensors()
    branches = {branch: toy.branch_pickle(branch, tensors, storages) for branch in toy.LAYERS}
    hidden = storages.tensor(tensors["lm.last_hidden_state"], **wrong)
    branches["lm"] += toy.items(last_hidden_state=hidden)
    return toy.archive(toy.program(toy.mapping(**branches)), storages.blobs)


SHARED = toy.group(
    toy.text("storage"), toy.name("torch BFloat16Storage"), toy.text("0"), toy.text("cpu"), toy.number(99)
)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"offset": toy.number(1)}, "past its storage"),
        ({"offset": toy.number(-1)}, "no list of sizes"),
        ({"size": toy.numbers(1, 4, 8)}, "past its storage"),
        ({"size": toy.numbers(1, -3, 8)}, "no list of sizes"),
        ({"size": toy.numbers(1, 0, 8)}, "without extent"),
        ({"size": toy.numbers(), "stride": toy.numbers()}, "without extent"),
        ({"size": toy.numbers(1, 3)}, "without extent"),
        ({"size": toy.numbers(*[1] * 9), "stride": toy.numbers(*[1] * 9)}, "without extent"),
        ({"size": toy.text("24")}, "no list of sizes"),
        ({"size": toy.numbers(2**20, 2**20), "stride": toy.numbers(0, 0)}, "past its storage"),  # 2 TB out of 2 bytes
        ({"stride": toy.numbers(24, 8, 2**26)}, "past its storage"),
        ({"storage": toy.text("storage")}, "without a storage"),
        ({"storage": SHARED + pickle.BINPERSID}, "for 99 numbers"),
    ],
)
def test_a_tensor_must_lie_inside_its_storage(file: Path, wrong: dict[str, bytes], message: str) -> None:
    assert "lm.last_hidden_state" in read(file, with_hidden_state())

    with pytest.raises(VoiceError, match=message):
        read(file, with_hidden_state(**wrong))


def test_one_storage_used_again_and_again_cannot_fill_the_memory(file: Path) -> None:
    storages = toy.Storages()
    megabyte = storages.tensor(torch.zeros(2**19, dtype=torch.bfloat16))
    again = toy.listed(megabyte + pickle.BINPUT + b"\x00", *[pickle.BINGET + b"\x00"] * 500)
    cache = toy.name(toy.CACHE) + pickle.EMPTY_TUPLE + pickle.NEWOBJ
    cache += toy.mapping(key_cache=again, value_cache=again) + pickle.BUILD
    output = toy.name(toy.OUTPUT) + pickle.EMPTY_TUPLE + pickle.REDUCE
    output += toy.items(last_hidden_state=megabyte, past_key_values=cache)
    data = toy.program(toy.mapping(**dict.fromkeys(toy.LAYERS, output)))

    with pytest.raises(VoiceError, match="describes more tensors than its"):
        read(file, toy.archive(data, storages.blobs))


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (toy.archive(TOY_PICKLE, TOY_BLOBS, zipfile.ZIP_DEFLATED), "compressed"),
        (toy.archive(TOY_PICKLE, TOY_BLOBS[:-1]), "has no member data/"),
        (toy.archive(TOY_PICKLE, TOY_BLOBS, byteorder=b"big"), "little-endian"),
        (toy.archive(TOY_PICKLE, [b"", *TOY_BLOBS[1:]]), "storage 0 of 0 bytes"),
        (toy.archive(toy.program(toy.mapping(lm=pickle.NONE)), []), "does not hold exactly"),
        (toy.archive(TOY_PICKLE, TOY_BLOBS, **{f"extra/{i}": b"" for i in range(MAX_MEMBERS)}), "members"),
        (toy.archive(pickle.NONE * (MAX_OPCODES + 1), []), "opcodes"),
        (toy.archive(bytes(2**21), []), "larger than"),
        (TOY + bytes(MAX_BYTES), "larger than"),
        (toy.archive(toy.program(pickle.EMPTY_TUPLE + pickle.TUPLE1 * 150_000), []), "does not hold exactly"),
        (
            toy.archive(
                toy.program(
                    pickle.EMPTY_DICT + pickle.EMPTY_TUPLE + pickle.TUPLE1 * 150_000 + pickle.NONE + pickle.SETITEM
                ),
                [],
            ),
            "text for keys",  # hashing such a key overflows the stack of Python's own unpickler
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_an_unreasonable_archive_is_refused(file: Path, data: bytes, message: str) -> None:
    with pytest.raises(VoiceError, match=message):
        read(file, data)


def test_a_missing_file_is_a_voice_error(tmp_path: Path) -> None:
    with pytest.raises(VoiceError, match="No such file"):
        read_preset(tmp_path / "nobody.pt")
