"""Products are the same whichever library computes them."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from loquor.nn import linear
from loquor.nn.linear import LARGE, Linear, product

SMALL_SHAPE, LARGE_SHAPE = (40, 24), (2050, 256)


@pytest.mark.parametrize("rows", [1, 2, 11])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("shape", [SMALL_SHAPE, LARGE_SHAPE])
@pytest.mark.parametrize("has_onednn", [False, True])
def test_a_product_is_the_same_whoever_computes_it(rows, dtype, shape, has_onednn, monkeypatch):
    monkeypatch.setattr(linear, "ONEDNN", has_onednn and linear.ONEDNN)
    draw = torch.Generator().manual_seed(0)
    shapes = ((rows, shape[1]), shape, shape[:1])
    x, weight, bias = (torch.randn(*size, generator=draw).to(dtype) for size in shapes)
    with torch.no_grad():
        y = product(x, weight, bias)
    tolerance = 1e-4 if dtype is torch.float32 else 0.5  # of sums of 256 products
    torch.testing.assert_close(y.float(), x.float() @ weight.float().T + bias.float(), atol=tolerance, rtol=tolerance)


@pytest.mark.parametrize("shape", [SMALL_SHAPE, LARGE_SHAPE])
def test_a_layer_that_learns_has_gradients(shape):
    assert shape[0] * shape[1] < LARGE or shape == LARGE_SHAPE
    layer, x = Linear(shape[1], shape[0]), torch.randn(2, shape[1])
    layer(x).sum().backward()
    assert layer.weight.grad is not None
    torch.testing.assert_close(layer.weight.grad, x.sum(0).expand(shape))


def test_a_layer_is_torchs_by_another_way():
    layer, x = Linear(LARGE_SHAPE[1], LARGE_SHAPE[0]), torch.randn(3, 2, LARGE_SHAPE[1])
    with torch.no_grad():
        torch.testing.assert_close(layer(x), F.linear(x, layer.weight, layer.bias), atol=1e-5, rtol=1e-5)
