"""From latents to embeddings of the language model; shared by both VibeVoice families."""

import torch
from torch import Tensor, nn

from loquor.checkpoints import Entry, same
from loquor.nn.linear import Linear
from loquor.nn.norm import RMSNorm


class Connector(nn.Module):
    """Two linear layers with a norm between: no activation, no residual."""

    def __init__(self, in_dim: int, dim: int) -> None:
        super().__init__()
        self.inward = Linear(in_dim, dim)
        self.norm = RMSNorm(dim, eps=1e-6)
        self.outward = Linear(dim, dim)

    def forward(self, features: Tensor) -> Tensor:
        """Latents or semantic features [..., D] to embeddings [..., H]."""
        y: Tensor = self.outward(self.norm(self.inward(features)))
        return y


class LatentScale(nn.Module):
    """The affine map between the codec's latents and the space the language model and the head live in.

    normalised = (latent + bias) * scale. Both are NaN until a checkpoint or a training run provides them.
    """

    scale: Tensor
    bias: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("scale", torch.tensor(float("nan")))
        self.register_buffer("bias", torch.tensor(float("nan")))

    def normalised(self, latent: Tensor) -> Tensor:
        return (latent + self.bias) * self.scale

    def latent(self, normalised: Tensor) -> Tensor:
        return normalised / self.scale - self.bias


ConnectorNames = tuple[str, str, str]  # of inward layer, norm and outward layer
ORIGINAL: ConnectorNames = ("fc1", "norm", "fc2")
HUGGINGFACE: ConnectorNames = ("linear_1", "act", "linear_2")  # its norm stands where other models have an activation


def connector_keys(theirs: str, ours: str, names: ConnectorNames = ORIGINAL) -> list[Entry]:
    """Published names of a connector; both prefixes end in a dot."""
    inward, norm, outward = names
    pairs = ((inward, "inward"), (outward, "outward"))
    entries = [same(f"{theirs}{a}.{p}", f"{ours}{b}.{p}") for a, b in pairs for p in ("weight", "bias")]
    return [*entries, same(f"{theirs}{norm}.weight", f"{ours}norm.weight")]
