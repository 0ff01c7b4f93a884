"""Pickles are read as data: a tree of plain records, or one error of the caller's choosing; nothing is ever run.

What hostile and broken pickles inside an archive come to is told in tests/voices/test_presets.py.
"""

from __future__ import annotations

import os
import pickle
from collections import OrderedDict
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loquor.errors import CheckpointError, LoquorError, VoiceError
from loquor.pickles import Record, read_pickle

NAMES = st.text(st.characters(codec="utf-8", categories=["L", "N"]), max_size=20)
LEAVES = st.one_of(st.none(), st.booleans(), st.integers(-(2**31), 2**31 - 1), NAMES)
TREES = st.recursive(
    LEAVES, lambda inner: st.one_of(st.lists(inner), st.tuples(inner, inner), st.dictionaries(NAMES, inner))
)


@given(tree=TREES, protocol=st.integers(2, 5))
def test_plain_data_is_read_as_python_reads_it(tree: object, protocol: int) -> None:
    assert read_pickle(pickle.dumps(tree, protocol), (), "toy") == tree


def test_a_call_becomes_a_record_of_what_would_have_been_called() -> None:
    data = pickle.dumps(OrderedDict(one=1, two=2), 2)

    record = read_pickle(data, {"collections OrderedDict"}, "toy")

    assert isinstance(record, Record)
    assert (record.kind, record.args, record.items) == ("collections OrderedDict", (), {"one": 1, "two": 2})


class Bomb:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("error", [CheckpointError, VoiceError])
def test_a_name_that_is_not_allowed_is_the_caller_s_kind_of_error(error: type[LoquorError], tmp_path: Path) -> None:
    data = pickle.dumps(Bomb(tmp_path / "trace"), 2)

    with pytest.raises(error, match=r"toy.pt: its pickle names '\w+\.mkdir', which is not allowed"):
        read_pickle(data, {"collections OrderedDict"}, "toy.pt", error)

    assert not (tmp_path / "trace").exists()
