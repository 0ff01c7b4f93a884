"""The encoder of Plus models; recorded states are compared in tests/parity/test_vita_plus.py."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from loquor.checkpoints import published
from loquor.errors import CheckpointError, ConfigError
from loquor.models.vita.sensevoice import Listener, SenseVoice, SenseVoiceConfig
from loquor.models.vita.sensevoice_checkpoint import load_sensevoice, sensevoice_keys

CONFIG = SenseVoiceConfig(
    input_size=12, output_size=8, attention_heads=2, linear_units=16, num_blocks=3, tp_blocks=2, kernel_size=5
)


def features(*lengths: int) -> list[Tensor]:
    return [torch.randn(n, CONFIG.input_size, generator=torch.Generator().manual_seed(n)) for n in lengths]


def encoder() -> SenseVoice:
    torch.manual_seed(0)
    return SenseVoice(CONFIG).eval().requires_grad_(False)


@settings(max_examples=20)
@given(lengths=st.lists(st.integers(1, 20), min_size=1, max_size=4))
def test_audios_in_company_are_heard_as_alone(lengths: list[int]) -> None:
    torch.manual_seed(0)
    listener = Listener(CONFIG, 16).eval().requires_grad_(False)

    together = listener(features(*lengths))

    alone = torch.cat([listener([f]) for f in features(*lengths)])
    assert together.shape == (sum(lengths) + 4 * len(lengths), 16)
    torch.testing.assert_close(together, alone, atol=1e-5, rtol=1e-5)


def test_the_memory_window_moves_back_by_the_shift() -> None:
    shifted = SenseVoice(dataclasses.replace(CONFIG, sanm_shift=2)).requires_grad_(False)
    shifted.load_state_dict(encoder().state_dict())
    attention, still = shifted.layers[1].attention, encoder().layers[1].attention
    for part in (attention, still):
        part.qkv.bias.zero_()
    impulse = torch.zeros(1, 9, CONFIG.output_size)
    impulse[0, 4] = 1.0
    is_real = torch.ones(1, 9, dtype=torch.bool)

    moved = (attention(impulse, is_real) - still(impulse, is_real)).abs().sum(-1)[0] > 1e-6

    assert moved.nonzero()[:, 0].tolist() == [2, 3, 4, 5, 6, 7, 8], "rows 2 to 6 without, 4 to 8 with the shift"


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"attention_heads": 3}, "heads that divide output_size"),
        ({"input_size": 11}, "even input_size"),
        ({"num_blocks": 0}, "sensevoice.num_blocks must be an integer from 1"),
        ({"sanm_shift": 3}, "sanm_shift 3 is too large"),
    ],
)
def test_impossible_shapes_are_refused(change: dict[str, int], complaint: str) -> None:
    with pytest.raises(ConfigError, match=complaint):
        dataclasses.replace(CONFIG, **change)


def save(folder: Path, tensors: dict[str, Tensor]) -> None:
    torch.save(tensors, folder / "model.pt")


def test_the_published_file_is_read_without_its_head_for_transcripts(tmp_path: Path) -> None:
    model = encoder()
    head = {"ctc.ctc_lo.weight": torch.zeros(30, 8), "ctc.ctc_lo.bias": torch.zeros(30)}
    save(tmp_path, published(model, sensevoice_keys(CONFIG, "", "")) | head)

    loaded = load_sensevoice(tmp_path, CONFIG)

    for name, tensor in model.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], tensor), name


def test_a_published_file_that_lacks_a_tensor_is_refused_by_its_name(tmp_path: Path) -> None:
    tensors = published(encoder(), sensevoice_keys(CONFIG, "", ""))
    del tensors["encoder.tp_norm.bias"]
    save(tmp_path, tensors)

    with pytest.raises(CheckpointError, match=r"1 missing tensor: encoder\.tp_norm\.bias"):
        load_sensevoice(tmp_path, CONFIG)
    with pytest.raises(CheckpointError, match="holds no"):
        load_sensevoice(tmp_path / "elsewhere", CONFIG)
