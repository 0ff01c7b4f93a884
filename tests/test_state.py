"""States: clone, select, join, put, narrow and leaves, on the state of a whole model."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from torch import Tensor

from loquor.models.realtime.model import RealtimeModel, RealtimeState
from loquor.models.realtime.prompt import voice_state
from loquor.state import State
from toy import toy_model, toy_voice

VOICES = 5  # of different lengths


@pytest.fixture(scope="module")
def model() -> RealtimeModel:
    return toy_model()


@pytest.fixture(scope="module")
def streams(model: RealtimeModel) -> list[RealtimeState]:
    """Streams of different age: voices of different length, some of which have heard a frame."""
    states = [voice_state(model, toy_voice(model, seed)) for seed in range(VOICES)]
    for state in states[::2]:
        model.hear(torch.ones(1, model.config.latent_size), state)
    return states


def meaning(state: RealtimeState) -> dict[str, Tensor]:
    """What a state says, whatever room its caches have: all leaves, of keys and values only the positions written."""
    found = {}
    for name, tensor in state.leaves():
        cache = next((c for c in ("text", "speech", "negative") if name.startswith(f"{c}.layers")), None)
        if cache is None:
            found[name] = tensor
        else:
            lengths = getattr(state, cache).length
            rows = [row[:, :length] for row, length in zip(tensor, lengths.tolist(), strict=True)]
            found |= {f"{name}[{i}]": row for i, row in enumerate(rows)}
    return found


def assert_same(one: RealtimeState, other: RealtimeState) -> None:
    first, second = meaning(one), meaning(other)
    assert set(first) == set(second)
    for name, tensor in first.items():
        assert torch.equal(tensor, second[name]), name


@given(order=st.lists(st.integers(0, VOICES - 1), min_size=1, max_size=6))
@settings(max_examples=20)
def test_streams_join_and_are_selected_again_unchanged(streams: list[RealtimeState], order: list[int]) -> None:
    batch = RealtimeState.join([streams[i] for i in order])
    assert batch.batch == len(order)
    for row, i in enumerate(order):
        assert_same(batch.select(torch.tensor([row])), streams[i])


@given(data=st.data())
@settings(max_examples=20)
def test_selecting_rows_in_any_order_is_joining_those_streams(
    streams: list[RealtimeState], data: st.DataObject
) -> None:
    rows = data.draw(st.lists(st.integers(0, VOICES - 1), min_size=1, max_size=VOICES, unique=True))
    selected = RealtimeState.join(streams).select(torch.tensor(rows))
    assert_same(selected, RealtimeState.join([streams[i] for i in rows]))


@given(data=st.data())
@settings(max_examples=20)
def test_put_writes_those_rows_and_no_other_whatever_room_the_caches_have(
    streams: list[RealtimeState], data: st.DataObject
) -> None:
    rows = data.draw(st.lists(st.integers(0, VOICES - 1), min_size=1, max_size=VOICES, unique=True))
    batch, source = RealtimeState.join(streams), RealtimeState.join([streams[(i + 1) % VOICES] for i in rows])
    grown = data.draw(st.sampled_from([[], [batch], [source], [batch, source]]))
    for state in grown:
        for cache in (state.text, state.speech, state.negative):
            cache.reserve(data.draw(st.integers(0, 300)))

    batch.put(torch.tensor(rows), source)

    for i in range(VOICES):
        assert_same(batch.select(torch.tensor([i])), streams[(i + 1) % VOICES] if i in rows else streams[i])


@given(data=st.data())
@settings(max_examples=20)
def test_a_part_that_was_changed_is_put_back_and_the_rest_is_as_it_was(
    streams: list[RealtimeState], data: st.DataObject
) -> None:
    rows = sorted(data.draw(st.sets(st.integers(0, VOICES - 1), min_size=1)))
    batch = RealtimeState.join(streams)
    with batch.part(rows) as part:
        assert part.batch == len(rows)
        assert (part is batch) == (len(rows) == VOICES)
        part.condition += 1
        part.text.reserve(part.text.capacity + 9)
        part.text.length += 9
    for i, before in enumerate(streams):
        after = batch.select(torch.tensor([i]))
        assert torch.equal(after.condition, before.condition + (i in rows))
        assert int(after.text.length) == int(before.text.length) + 9 * (i in rows)


def test_a_clone_shares_no_memory(model: RealtimeModel, streams: list[RealtimeState]) -> None:
    clone = streams[0].clone()
    before = streams[0].clone()
    model.hear(torch.zeros(1, model.config.latent_size), clone)
    assert_same(streams[0], before)
    assert int(clone.speech.length) == int(streams[0].speech.length) + 1


def test_narrow_gives_views_that_write_through(streams: list[RealtimeState]) -> None:
    batch = RealtimeState.join(streams)
    batch.narrow(2, 2).condition.fill_(7.0)
    assert (batch.condition == 7).all(1).tolist() == [False, False, True, True, False]


def test_every_tensor_has_a_name_of_its_own(streams: list[RealtimeState]) -> None:
    names = [name for name, _ in streams[0].leaves()]
    assert len(set(names)) == len(names)
    assert {"speech.layers.2.keys", "speech.length", "condition", "negative.layers.0.values"} <= set(names)


def test_a_state_that_was_saved_and_loaded_is_the_same(streams: list[RealtimeState], tmp_path: Path) -> None:
    batch = RealtimeState.join(streams)
    save_file(dict(batch.leaves()), tmp_path / "state.safetensors")

    loaded = load_file(tmp_path / "state.safetensors")
    names = iter(name for name, _ in batch.leaves())
    restored = batch.map(lambda _: loaded[next(names)])

    for (name, saved), (_, back) in zip(batch.leaves(), restored.leaves(), strict=True):
        assert saved.dtype == back.dtype
        assert torch.equal(saved, back), name


def test_casting_spares_the_lengths(streams: list[RealtimeState]) -> None:
    rough = streams[0].to(dtype=torch.bfloat16)
    kinds = {tensor.dtype for _, tensor in rough.leaves()}
    assert kinds == {torch.bfloat16, torch.int64}
    assert isinstance(rough, State)
