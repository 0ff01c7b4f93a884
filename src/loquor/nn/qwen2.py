"""Qwen2 decoder (arXiv:2407.10671), usable whole, as a lower text model, or as an upper speech model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from loquor.configs import MOST, require_int
from loquor.errors import ConfigError
from loquor.nn.attention import Attention, KVCache, LayerCache, Positions, RotaryTable, locate
from loquor.nn.linear import Linear
from loquor.nn.norm import RMSNorm


@dataclass(frozen=True)
class Qwen2Config:
    """Shape of the decoder; field names are those of the published files."""

    hidden_size: int  # H
    intermediate_size: int
    num_hidden_layers: int
    num_attention_heads: int
    num_key_value_heads: int
    vocab_size: int
    max_position_embeddings: int
    rms_norm_eps: float = 1e-6
    rope_theta: float = 1_000_000.0
    head_dim: int | None = None
    hidden_act: str = "silu"
    attention_dropout: float = 0.0
    rope_scaling: Any = None
    use_sliding_window: bool = False
    use_mrope: bool = False
    sliding_window: int | None = None
    max_window_layers: int = 0
    layer_types: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        require_int(
            "decoder",
            hidden_size=self.hidden_size,
            intermediate_size=self.intermediate_size,
            num_attention_heads=self.num_attention_heads,
            num_key_value_heads=self.num_key_value_heads,
            vocab_size=self.vocab_size,
            max_position_embeddings=self.max_position_embeddings,
        )
        require_int("decoder", 1, MOST, num_hidden_layers=self.num_hidden_layers)
        if self.num_attention_heads % self.num_key_value_heads:
            raise ConfigError(
                f"decoder.num_attention_heads ({self.num_attention_heads}) must be a multiple of "
                f"num_key_value_heads ({self.num_key_value_heads})"
            )
        if self.width < 1 or self.width % 2 or not self.rope_theta > 0 or not self.rms_norm_eps > 0:
            raise ConfigError(
                f"decoder needs heads of an even width and positive rope_theta and rms_norm_eps, got {self.width}, "
                f"{self.rope_theta} and {self.rms_norm_eps}"
            )
        if self.hidden_act != "silu" or self.rope_scaling or self.use_sliding_window or self.use_mrope:
            raise ConfigError("decoder: only silu, plain rotary positions and full attention are Qwen2 as published")

    @property
    def width(self) -> int:
        """Channels of one head."""
        return self.head_dim or self.hidden_size // self.num_attention_heads


class GatedFeedForward(nn.Module):
    """SwiGLU (Shazeer 2020, arXiv:2002.05202); gate and up projection are one product."""

    def __init__(self, dim: int, hidden: int) -> None:
        super().__init__()
        self.gate_up = Linear(dim, 2 * hidden, bias=False)
        self.down = Linear(hidden, dim, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        gate, up = self.gate_up(x).chunk(2, -1)
        y: Tensor = self.down(F.silu(gate) * up)
        return y


class DecoderLayer(nn.Module):
    """Pre-norm attention and feed-forward, each with a residual."""

    def __init__(self, config: Qwen2Config) -> None:
        super().__init__()
        dim, heads, kv_heads = config.hidden_size, config.num_attention_heads, config.num_key_value_heads
        self.attention = Attention(dim, heads, kv_heads, config.width)
        self.ffn = GatedFeedForward(dim, config.intermediate_size)
        self.attention_norm = RMSNorm(dim, config.rms_norm_eps)
        self.ffn_norm = RMSNorm(dim, config.rms_norm_eps)

    def forward(
        self,
        x: Tensor,
        rotation: tuple[Tensor, Tensor],
        caches: Sequence[tuple[LayerCache, Positions]] = (),
        packed: Sequence[int] = (),
    ) -> Tensor:
        x = x + self.attention(self.attention_norm(x), rotation, caches, packed)
        y: Tensor = x + self.ffn(self.ffn_norm(x))
        return y


class Decoder(nn.Module):
    """A stack of decoder layers over embeddings; `final_norm` is off for a lower model that feeds another."""

    def __init__(self, config: Qwen2Config, final_norm: bool = True) -> None:
        super().__init__()
        self.config = config
        self.layers = nn.ModuleList(DecoderLayer(config) for _ in range(config.num_hidden_layers))
        self.norm = RMSNorm(config.hidden_size, config.rms_norm_eps) if final_norm else nn.Identity()
        self.rotary = RotaryTable(config.width, config.rope_theta)

    def init_state(self, batch: int, capacity: int = 0) -> KVCache:
        """An empty cache with room for `capacity` positions; it grows when needed."""
        layers = [cast(DecoderLayer, layer).attention.init_state(batch, capacity) for layer in self.layers]
        device = next(self.parameters()).device
        return KVCache(layers=layers, length=torch.zeros(batch, dtype=torch.long, device=device))

    def forward(self, x: Tensor, *states: KVCache, lengths: Tensor | None = None) -> Tensor:
        """x [B, T, H] to hidden states [B, T, H].

        Without a state the rows are whole sequences. With states each continues its rows, one state after the
        other in a single pass (say, positive and negative branch); `lengths` [B] then says how many of the T inputs
        are real in each row (all, if None): what is computed behind them is meaningless and leaves no trace.
        """
        share = self.config.num_attention_heads // self.config.num_key_value_heads
        located = [(state, locate(state, x.shape[1], share)) for state in states]
        device = x.device
        index = torch.cat([w.index for _, w in located]) if located else torch.arange(x.shape[1], device=device)[None]
        rotation = self.rotary(index, x.dtype)
        for i, layer in enumerate(self.layers):
            x = layer(x, rotation, [(state.layers[i], where) for state, where in located])
        first = 0
        for state in states:
            rows = state.length.shape[0]
            state.length += x.shape[1] if lengths is None else lengths[first : first + rows]
            first += rows
        y: Tensor = self.norm(x)
        return y
