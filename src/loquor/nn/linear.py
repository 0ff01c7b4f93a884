"""Matrix products, each taken by the library that is fastest at it where nothing is learned.

A frame is a few rows times large matrices. In float32 on a CPU, torch rearranges all weights of such a product first,
which takes longer than reading them, up to several times; oneDNN, inside it, does not, but is slower to call.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

ONEDNN = torch._C._has_mkldnn and hasattr(torch.ops.mkldnn, "_linear_pointwise")
LARGE = 2**19  # numbers in a matrix: smaller ones stay in a cache, where rearranging costs less than the call


def product(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """x [..., D] times weight [M, D], plus bias."""
    is_large = x.dtype is torch.float32 and x.device.type == "cpu" and weight.numel() >= LARGE
    if is_large and ONEDNN and not torch.is_grad_enabled():
        y: Tensor = torch.ops.mkldnn._linear_pointwise(x, weight, bias, "none", [], "")
        return y
    return F.linear(x, weight, bias)


class Linear(nn.Linear):
    """torch's, with the faster product."""

    def forward(self, x: Tensor) -> Tensor:
        """x [..., D] to [..., M]."""
        return product(x, self.weight, self.bias)
