"""Root-mean-square normalisation (Zhang & Sennrich 2019, arXiv:1910.07467), for language models, codec and head."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class RMSNorm(nn.Module):
    """x / rms(x) over the last axis, in fp32, cast back, then times the weight (if `affine`)."""

    weight: nn.Parameter | None

    def __init__(self, dim: int, eps: float = 1e-6, affine: bool = True) -> None:
        super().__init__()
        self.eps = eps
        self.weight = nn.Parameter(torch.ones(dim)) if affine else None

    def forward(self, x: Tensor) -> Tensor:
        y = self.normalised(x)
        return y if self.weight is None else y * self.weight

    def normalised(self, x: Tensor) -> Tensor:
        """x / rms(x), not yet times the weight."""
        return F.rms_norm(x, x.shape[-1:], None, self.eps).to(x.dtype)
