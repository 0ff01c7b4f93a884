"""Causal convolutions: streaming equals one-shot however a signal is cut, no output sees the future."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F

from loquor.errors import ConfigError
from loquor.models.codec_keys import blocks_outermost, channels_outermost, kernels_outermost, taps_outermost
from loquor.nn.conv import CausalConv1d, CausalConvTranspose1d, ConvState, DepthwiseCausalConv1d
from toy import randomise

EXACT = 2e-6  # outputs are around 1: only the order of sums differs


@dataclass(frozen=True)
class Kind:
    """A convolution, how many inputs make a step of it, and how many outputs a step makes."""

    conv: CausalConv1d | DepthwiseCausalConv1d | CausalConvTranspose1d
    inputs: int
    outputs: int


@st.composite
def kinds(draw: st.DrawFn) -> Kind:
    bias, width = draw(st.booleans()), draw(st.integers(1, 4))
    stride = draw(st.integers(1, 4))
    kernel = stride * draw(st.integers(1, 4))
    name = draw(st.sampled_from(["plain", "depthwise", "transposed"]))
    if name == "plain":
        kind = Kind(CausalConv1d(3, width, kernel, stride, bias), stride, 1)
    elif name == "depthwise":
        kind = Kind(DepthwiseCausalConv1d(3, kernel, bias), 1, 1)
    else:
        kind = Kind(CausalConvTranspose1d(3, width, stride, bias), 1, stride)
    randomise(kind.conv, draw(st.integers(0, 99)))
    kind.conv.requires_grad_(False)
    return kind


def signal(length: int, batch: int = 1, seed: int = 0) -> Tensor:
    return torch.randn(batch, length, 3, generator=torch.Generator().manual_seed(seed))


def cuts(steps: int) -> st.SearchStrategy[list[int]]:
    """Places to cut a signal of so many steps, its ends included; cuts may fall together."""
    return st.lists(st.integers(0, steps), max_size=5).map(lambda inner: [0, *sorted(inner), steps])


@given(kind=kinds(), data=st.data())
def test_streaming_equals_one_shot_however_the_signal_is_cut(kind: Kind, data: st.DataObject) -> None:
    steps = data.draw(st.integers(1, 12))
    x, places = signal(steps * kind.inputs, batch=2), data.draw(cuts(steps))
    state = kind.conv.init_state(2)
    pieces = [x[:, a * kind.inputs : b * kind.inputs] for a, b in pairwise(places) if a < b]
    streamed = torch.cat([kind.conv(piece, state) for piece in pieces], 1)
    torch.testing.assert_close(streamed, kind.conv(x), rtol=0, atol=EXACT)


@given(kind=kinds(), data=st.data())
def test_no_output_sees_the_future(kind: Kind, data: st.DataObject) -> None:
    steps = data.draw(st.integers(2, 10))
    now = data.draw(st.integers(1, steps - 1))
    x = signal(steps * kind.inputs)
    other = x.clone()
    other[:, now * kind.inputs :] = 1e3
    assert torch.equal(kind.conv(x)[:, : now * kind.outputs], kind.conv(other)[:, : now * kind.outputs])


@given(kind=kinds(), data=st.data())
def test_streams_join_and_leave_a_batch_unheard(kind: Kind, data: st.DataObject) -> None:
    early, later, late = (data.draw(st.integers(1, 5)) for _ in range(3))
    a, b = signal((early + later + late) * kind.inputs, seed=1), signal((later + late) * kind.inputs, seed=2)
    first, second = early * kind.inputs, (early + later) * kind.inputs

    state = kind.conv.init_state(1)
    heard = [kind.conv(a[:, :first], state)]
    both = ConvState.join([state, kind.conv.init_state(1)])  # b joins
    shared = kind.conv(torch.cat([a[:, first:second], b[:, : second - first]]), both)
    rest = both.select(torch.tensor([1]))  # a leaves
    of_b = [shared[1:], kind.conv(b[:, second - first :], rest)]

    of_a = torch.cat([*heard, shared[:1]], 1)
    torch.testing.assert_close(of_a, kind.conv(a)[:, : of_a.shape[1]], rtol=0, atol=EXACT)
    torch.testing.assert_close(torch.cat(of_b, 1), kind.conv(b), rtol=0, atol=EXACT)


@given(stride=st.integers(1, 5), taps=st.integers(1, 3), length=st.integers(1, 20), data=st.data())
def test_a_last_incomplete_block_counts_as_followed_by_silence(
    stride: int, taps: int, length: int, data: st.DataObject
) -> None:
    conv = CausalConv1d(3, 2, taps * stride, stride).requires_grad_(False)
    x = signal(length)
    whole = conv(x)
    assert whole.shape[1] == -(-length // stride)
    torch.testing.assert_close(whole, conv(F.pad(x, (0, 0, 0, -length % stride))), rtol=0, atol=EXACT)
    cut = stride * data.draw(st.integers(0, (length - 1) // stride))
    state = conv.init_state(1)
    head = [conv(x[:, :cut], state)] if cut else []
    streamed = torch.cat([*head, conv(x[:, cut:], state, is_final=True)], 1)
    torch.testing.assert_close(streamed, whole, rtol=0, atol=EXACT)


@given(stride=st.integers(1, 5), taps=st.integers(1, 3), channels=st.integers(1, 4))
@settings(max_examples=30)
def test_a_strided_convolution_is_torch_s_on_a_padded_signal(stride: int, taps: int, channels: int) -> None:
    conv = CausalConv1d(3, channels, taps * stride, stride).requires_grad_(False)
    x = signal(6 * stride, batch=2)
    weight = channels_outermost(conv.weight, 3)[0]
    padded = F.pad(x.transpose(1, 2), (conv.past_samples, 0))
    expected = F.conv1d(padded, weight, conv.bias, stride).transpose(1, 2)
    torch.testing.assert_close(conv(x), expected, rtol=0, atol=EXACT)
    assert torch.equal(taps_outermost([weight]), conv.weight)


@given(stride=st.integers(1, 5), channels=st.integers(1, 4))
@settings(max_examples=30)
def test_an_upsampler_is_torch_s_transposed_convolution_without_its_tail(stride: int, channels: int) -> None:
    conv = CausalConvTranspose1d(3, channels, stride).requires_grad_(False)
    x = signal(6, batch=2)
    weight = kernels_outermost(conv.weight, stride)[0]
    expected = F.conv_transpose1d(x.transpose(1, 2), weight, conv.bias, stride)[..., : 6 * stride].transpose(1, 2)
    torch.testing.assert_close(conv(x), expected, rtol=0, atol=EXACT)
    assert torch.equal(blocks_outermost([weight]), conv.weight)


def test_a_stream_that_goes_on_must_be_cut_at_the_stride() -> None:
    conv = CausalConv1d(3, 2, 4, stride=2)
    with pytest.raises(AssertionError, match="multiples of the stride"):
        conv(signal(3), conv.init_state(1))


def test_a_kernel_that_the_stride_does_not_divide_is_refused() -> None:
    with pytest.raises(ConfigError, match="kernel 7 needs a stride that divides it, got 2"):
        CausalConv1d(1, 1, kernel=7, stride=2)


@given(
    channels=st.integers(1, 5),
    kernel=st.integers(1, 7),
    length=st.integers(1, 20),
    bias=st.booleans(),
    dtype=st.sampled_from([torch.float32, torch.bfloat16]),
)
@settings(max_examples=40)
def test_tap_by_tap_a_depthwise_convolution_is_the_same(channels, kernel, length, bias, dtype) -> None:
    conv = DepthwiseCausalConv1d(channels, kernel, bias)
    randomise(conv, 0)
    conv, x = conv.to(dtype), torch.randn(2, length, channels, generator=torch.Generator().manual_seed(1)).to(dtype)
    learning = conv(x)
    with torch.no_grad():
        speaking = conv(x)
    assert learning.requires_grad and speaking.dtype is dtype
    torch.testing.assert_close(speaking, learning.detach(), rtol=0.02 if dtype is torch.bfloat16 else 0, atol=EXACT)
