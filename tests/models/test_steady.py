"""What a CUDA graph could record: sampling, decoding and feeding back wait for no host and keep their memory."""

from __future__ import annotations

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from loquor.diffusion.sample import Guidance
from loquor.diffusion.solver import SolverConfig, solver_plan
from toy import toy_model

HOST_WAITS = {"aten::_local_scalar_dense", "aten::is_nonzero", "aten::nonzero", "aten::equal"}


class Recorder(TorchDispatchMode):
    """The names of all operations, in order."""

    def __init__(self):
        super().__init__()
        self.names = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.names.append(func.name().partition(".")[0])
        return func(*args, **(kwargs or {}))


def recorded(work):
    with torch.no_grad(), Recorder() as recorder:
        work()
    return recorder.names


def parts(model):
    """What computes a frame's sound and next input, by name, on tensors that are there already."""
    rows, hidden, size = 2, model.config.hidden_size, model.config.latent_size
    head = model.config.head
    config = SolverConfig(beta_schedule=head.ddpm_beta_schedule, prediction_type=head.prediction_type)
    sampler, guidance = (
        model.sampler(solver_plan(config, 5)),
        Guidance(torch.randn(rows, hidden), torch.full((rows,), 2)),
    )
    condition, noise, memory = torch.randn(rows, hidden), torch.randn(rows, size), model.init_decoder(rows)
    return {
        "sampling": lambda: sampler(condition, noise, guidance),
        "decoding": lambda: model.decode(noise[:, None], memory),
        "feeding back": lambda: model.embed_speech(noise),
    }


@pytest.mark.parametrize("part", ["sampling", "decoding", "feeding back"])
def test_a_frame_asks_the_host_for_no_number(part):
    names = recorded(parts(toy_model())[part])
    assert names and not HOST_WAITS & set(names)


@pytest.mark.parametrize("part", ["sampling", "decoding", "feeding back"])
def test_every_frame_is_the_same_operations(part):
    work = parts(toy_model())[part]
    assert recorded(work) == recorded(work)


def test_the_decoders_memory_stays_where_it_is():
    model = toy_model()
    memory = model.init_decoder(1)
    before = {name: tensor.data_ptr() for name, tensor in memory.leaves()}
    with torch.no_grad():
        for _ in range(3):
            model.decode(torch.randn(1, 1, model.config.latent_size), memory)
    assert {name: tensor.data_ptr() for name, tensor in memory.leaves()} == before


def test_caches_with_room_stay_where_they_are():
    model = toy_model()
    state = model.init_state(1)
    for cache in (state.speech, state.negative):
        cache.reserve(8)
    before = {name: tensor.data_ptr() for name, tensor in state.leaves()}
    with torch.no_grad():
        for _ in range(3):
            model.hear(torch.randn(1, model.config.latent_size), state)
    assert {name: tensor.data_ptr() for name, tensor in state.leaves()} == before
