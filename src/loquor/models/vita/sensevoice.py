"""How Plus models hear: SenseVoice's encoder of speech features, and the projection of what it gives to embeddings.

The encoder is SenseVoice-Small's (FunAudioLLM, arXiv:2407.04051): layers of self-attention with a memory (SAN-M, Gao et
al. 2020, arXiv:2006.01713), a filter over time beside each attention. Four learned rows in front of the features ask
for language, event, emotion and the form of the text; they come out as embeddings too, so audio of N rows takes N + 4
positions of the prompt. Its head for transcripts is not used.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from loquor.configs import MOST, require_int
from loquor.errors import ConfigError

QUERY_ROWS = 16  # there are; models ask with these four:
QUERIES = (0, 1, 2, 15)  # language: to be found out; event; emotion; text as it is said
LONGEST_PERIOD = 10_000.0


@dataclass(frozen=True)
class SenseVoiceConfig:
    """Shape of the encoder; names are those of its published file, defaults those of SenseVoice-Small."""

    input_size: int = 560  # F, channels of a row of features
    output_size: int = 512  # D
    attention_heads: int = 4
    linear_units: int = 2048
    num_blocks: int = 50  # layers, the first of which changes the width
    tp_blocks: int = 20  # more layers, after a norm
    kernel_size: int = 11  # of the memory
    sanm_shift: int = 0  # rows the memory's window is moved back by

    def __post_init__(self) -> None:
        sizes = {"input_size": self.input_size, "output_size": self.output_size, "linear_units": self.linear_units}
        require_int("sensevoice", **sizes, attention_heads=self.attention_heads, kernel_size=self.kernel_size)
        require_int("sensevoice", 1, MOST, num_blocks=self.num_blocks)
        require_int("sensevoice", 0, MOST, tp_blocks=self.tp_blocks, sanm_shift=self.sanm_shift)
        if self.output_size % self.attention_heads or self.input_size % 2 or self.input_size < 4:
            raise ConfigError(
                f"sensevoice needs heads that divide output_size and an even input_size, got {self.attention_heads}, "
                f"{self.output_size} and {self.input_size}"
            )
        if self.past_rows >= self.kernel_size:
            raise ConfigError(
                f"sensevoice.sanm_shift {self.sanm_shift} is too large for a kernel of {self.kernel_size}"
            )

    @property
    def past_rows(self) -> int:
        """How far back the memory's window goes."""
        return (self.kernel_size - 1) // 2 + self.sanm_shift


class Norm(nn.LayerNorm):
    """Layer normalisation in fp32, cast back."""

    def forward(self, x: Tensor) -> Tensor:
        y = F.layer_norm(x.float(), self.normalized_shape, self.weight.float(), self.bias.float(), self.eps)
        return y.to(x.dtype)


class MemoryAttention(nn.Module):
    """Self-attention over all rows, plus a filter over the values: each row with its neighbours."""

    def __init__(self, dim: int, config: SenseVoiceConfig) -> None:
        super().__init__()
        size = config.output_size
        self.heads, self.past_rows = config.attention_heads, config.past_rows
        self.qkv = nn.Linear(dim, 3 * size)
        self.out = nn.Linear(size, size)
        self.memory = nn.Conv1d(size, size, config.kernel_size, groups=size, bias=False)

    def forward(self, x: Tensor, is_real: Tensor) -> Tensor:
        """x [B, T, dim] to [B, T, D]; rows that are not real [B, T] reach no other."""
        q, k, v = self.qkv(x).chunk(3, -1)
        v = v * is_real[..., None]
        split = (x.shape[0], x.shape[1], self.heads, -1)
        queries, keys, values = (t.reshape(split).transpose(1, 2) for t in (q, k, v))
        y = F.scaled_dot_product_attention(queries, keys, values, attn_mask=is_real[:, None, None])
        window = F.pad(v.transpose(1, 2), (self.past_rows, self.memory.kernel_size[0] - 1 - self.past_rows))
        memory = (self.memory(window).transpose(1, 2) + v) * is_real[..., None]
        out: Tensor = self.out(y.transpose(1, 2).flatten(2)) + memory
        return out


class EncoderLayer(nn.Module):
    """Pre-norm attention and feed-forward; a layer that changes the width has no residual around its attention."""

    def __init__(self, dim: int, config: SenseVoiceConfig) -> None:
        super().__init__()
        size = config.output_size
        self.has_residual = dim == size
        self.attention_norm = Norm(dim)
        self.attention = MemoryAttention(dim, config)
        self.ffn_norm = Norm(size)
        self.up = nn.Linear(size, config.linear_units)
        self.down = nn.Linear(config.linear_units, size)

    def forward(self, x: Tensor, is_real: Tensor) -> Tensor:
        attended = self.attention(self.attention_norm(x), is_real)
        x = x + attended if self.has_residual else attended
        y: Tensor = x + self.down(F.relu(self.up(self.ffn_norm(x))))
        return y


class SenseVoice(nn.Module):
    """Features of several audios to states of their rows."""

    def __init__(self, config: SenseVoiceConfig) -> None:
        super().__init__()
        self.config = config
        size = config.output_size
        self.queries = nn.Embedding(QUERY_ROWS, config.input_size)
        dims = [config.input_size] + [size] * (config.num_blocks - 1)
        self.layers = nn.ModuleList(EncoderLayer(dim, config) for dim in dims)
        self.norm = Norm(size)
        self.last_layers = nn.ModuleList(EncoderLayer(size, config) for _ in range(config.tp_blocks))
        self.last_norm = Norm(size)

    def forward(self, features: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """Features [N, F] of each audio to states [B, most + 4, D], and which of them are real [B, most + 4]."""
        asked = self.queries.weight[list(QUERIES)]
        rows = [torch.cat([asked, f.to(asked)]) for f in features]
        x = nn.utils.rnn.pad_sequence(rows, batch_first=True)
        lengths = torch.tensor([len(row) for row in rows], device=x.device)
        is_real = torch.arange(x.shape[1], device=x.device) < lengths[:, None]
        x = x * self.config.output_size**0.5 + _places(x)
        for layer in self.layers:
            x = layer(x, is_real)
        x = self.norm(x)
        for layer in self.last_layers:
            x = layer(x, is_real)
        return self.last_norm(x), is_real


def _places(x: Tensor) -> Tensor:
    """Sinusoids of the places 1, 2, ... of x [B, T, F], sines before cosines [T, F]."""
    half = x.shape[2] // 2
    rates = LONGEST_PERIOD ** (-torch.arange(half, dtype=torch.float32, device=x.device) / (half - 1))
    angles = torch.arange(1, x.shape[1] + 1, device=x.device)[:, None] * rates
    return torch.cat([angles.sin(), angles.cos()], -1).to(x.dtype)


class Projection(nn.Module):
    """States of the encoder to embeddings of the language model."""

    def __init__(self, size: int, hidden_size: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(size)
        self.up = nn.Linear(size, hidden_size, bias=False)
        self.out = nn.Linear(hidden_size, hidden_size, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.out(F.gelu(self.up(self.norm(x))))
        return y


class Listener(nn.Module):
    """Features of audios to embeddings, for the places a prompt keeps for them."""

    def __init__(self, config: SenseVoiceConfig, hidden_size: int) -> None:
        super().__init__()
        self.encoder = SenseVoice(config)
        self.projection = Projection(config.output_size, hidden_size)

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        """Features [N, F] of each audio, at least one, to embeddings [sum of N + 4, H], one audio after the other."""
        states, is_real = self.encoder(features)
        embeddings: Tensor = self.projection(states)[is_real]
        return embeddings
