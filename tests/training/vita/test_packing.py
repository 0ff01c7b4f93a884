"""Packed rows: nothing is lost, nothing is cut; the published order is compared in tests/parity/test_vita_data.py."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from loquor.errors import CapacityError
from loquor.training.vita.packing import PACKINGS, PackedRow, Packer, Packing
from loquor.training.vita.tokens import IGNORED, Example

LENGTH, PAD = 16, 7
lengths_and_sources = st.lists(st.tuples(st.integers(1, LENGTH), st.integers(0, 3)), max_size=30)


def example(number: int, length: int) -> Example:
    """An example that can be told by its ids; every third hears something."""
    is_heard = torch.zeros(length, dtype=torch.bool)
    features = (torch.full((1, 2), float(number)),) if number % 3 == 0 else ()
    is_heard[0] = bool(features)
    ids = torch.arange(length) + 1000 * (number + 1)
    return Example(ids, ids.masked_fill(torch.arange(length) < 2, IGNORED), is_heard, features)


def pack(examples: list[Example], sources: list[int], packing: Packing) -> list[PackedRow]:
    packer = Packer(LENGTH, PAD, packing)
    rows = [packer.add(e, source) for e, source in zip(examples, sources, strict=True)]
    return [*(row for row in rows if row is not None), *packer.flush()]


def unpack(row: PackedRow) -> list[tuple[list[int], list[int], list[bool]]]:
    """The examples of a row, told apart by their positions; the padding behind the last is cut off."""
    starts = [*(row.positions == 0).nonzero()[:, 0].tolist(), len(row.ids)]
    out = []
    for first, end in pairwise(starts):
        ids = [i for i in row.ids[first:end].tolist() if i != PAD]
        piece = slice(first, first + len(ids))
        out.append((ids, row.labels[piece].tolist(), row.is_heard[piece].tolist()))
    return out


@pytest.mark.parametrize("packing", PACKINGS)
@given(items=lengths_and_sources)
def test_every_example_is_in_one_row_whole(items: list[tuple[int, int]], packing: Packing) -> None:
    examples = [example(i, length) for i, (length, _) in enumerate(items)]

    rows = pack(examples, [source for _, source in items], packing)

    given_in = sorted((e.ids.tolist(), e.labels.tolist(), e.is_heard.tolist()) for e in examples)
    assert sorted(piece for row in rows for piece in unpack(row)) == given_in
    for row in rows:
        assert all(len(t) == LENGTH for t in (row.ids, row.labels, row.positions, row.is_heard))
        assert (row.labels[row.ids == PAD] == IGNORED).all()
        assert int(row.is_heard.sum()) == len(row.features)
        heard = [1000 * (int(f[0, 0]) + 1) for f in row.features]
        assert row.ids[row.is_heard].tolist() == heard, "features in the order of their places"


@given(items=lengths_and_sources)
def test_positions_count_from_0_in_every_example_and_ends_say_where_it_ends(items: list[tuple[int, int]]) -> None:
    rows = pack([example(i, length) for i, (length, _) in enumerate(items)], [0] * len(items), "source")

    for row in rows:
        starts = [0, *row.ends[:-1]]
        counted = [torch.arange(end - start) for start, end in zip(starts, row.ends, strict=True)]
        assert torch.equal(row.positions, torch.cat(counted)) and row.ends[-1] == LENGTH


@given(items=lengths_and_sources)
def test_a_row_holds_examples_of_one_source_if_asked(items: list[tuple[int, int]]) -> None:
    examples = [example(i, length) for i, (length, _) in enumerate(items)]

    for row in pack(examples, [source for _, source in items], "source"):
        numbers = [ids[0] // 1000 - 1 for ids, *_ in unpack(row)]
        assert len({items[number][1] for number in numbers}) == 1


@given(items=lengths_and_sources)
def test_one_example_a_row_is_one(items: list[tuple[int, int]]) -> None:
    examples = [example(i, length) for i, (length, _) in enumerate(items)]

    assert all(len(unpack(row)) == 1 for row in pack(examples, [0] * len(items), "none"))


@pytest.mark.parametrize("packing", PACKINGS)
def test_an_example_longer_than_a_row_is_refused_and_the_others_stay(packing: Packing) -> None:
    packer = Packer(LENGTH, PAD, packing)
    packer.add(example(1, 5))

    with pytest.raises(CapacityError, match="takes 17 positions, a row has 16"):
        packer.add(example(2, LENGTH + 1))

    assert [unpack(row)[0][0][0] for row in packer.flush()] == [2000]
    assert list(packer.flush()) == []
