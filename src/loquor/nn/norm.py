"""Root-mean-square normalisation (Zhang & Sennrich 2019, arXiv:1910.07467), for language models, codec and head."""

import torch
from torch import Tensor, nn


class RMSNorm(nn.Module):
    """x / rms(x) over the last axis, in fp32, cast back, then times the weight (if `affine`)."""

    weight: nn.Parameter | None

    def __init__(self, dim: int, eps: float = 1e-6, affine: bool = True) -> None:
        super().__init__()
        self.eps = eps
        self.weight = nn.Parameter(torch.ones(dim)) if affine else None

    def forward(self, x: Tensor) -> Tensor:
        x32 = x.float()
        y = (x32 * torch.rsqrt(x32.square().mean(-1, keepdim=True) + self.eps)).to(x.dtype)
        return y if self.weight is None else y * self.weight
