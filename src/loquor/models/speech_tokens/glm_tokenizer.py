"""GLM-4-Voice's speech tokenizer: the lower half of a Whisper encoder and a codebook (arXiv:2412.02612, section 2.1).

16 kHz speech becomes log-mel frames of 10 ms, two convolutions halve their rate, attention looks back and to the end of
its own block of frames, and the mean of four frames is named by the nearest row of the codebook: 12.5 ids a second.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from loquor.configs import require_int
from loquor.errors import ConfigError
from loquor.models.speech_tokens.log_mel import HOP_SAMPLES, SAMPLE_RATE_HZ, log_mel

PIECE_SAMPLES = 30 * SAMPLE_RATE_HZ  # longer speech is heard in pieces, each on its own
SUBSAMPLING = 2  # log-mel frames to a hidden frame
KERNEL = 3


@dataclass(frozen=True)
class GlmTokenizerConfig:
    """Shape of the encoder half, by the names of the published config.json."""

    d_model: int
    encoder_attention_heads: int
    encoder_ffn_dim: int
    num_mel_bins: int
    max_source_positions: int
    pooling_kernel_size: int
    pooling_position: int
    quantize_position: int  # layers that exist
    quantize_vocab_size: int
    quantize_causal_block_size: int  # hidden frames that see one another

    def __post_init__(self) -> None:
        require_int("tokenizer", **vars(self))
        if self.pooling_position != self.quantize_position:
            raise ConfigError(
                f"pooling after layer {self.pooling_position} and quantisation after {self.quantize_position} must meet"
            )
        if self.d_model % self.encoder_attention_heads:
            raise ConfigError(f"{self.encoder_attention_heads} heads do not divide a width of {self.d_model}")
        if self.max_source_positions < PIECE_SAMPLES // (SUBSAMPLING * HOP_SAMPLES):
            raise ConfigError(f"max_source_positions {self.max_source_positions} are less than a piece of 30 s has")

    @property
    def token_samples(self) -> int:
        """1280 samples of 16 kHz, 80 ms."""
        return HOP_SAMPLES * SUBSAMPLING * self.pooling_kernel_size


class EncoderLayer(nn.Module):
    """Pre-norm attention and feed-forward, as in Whisper: keys have no bias."""

    def __init__(self, config: GlmTokenizerConfig) -> None:
        super().__init__()
        width, self.heads = config.d_model, config.encoder_attention_heads
        self.attention_norm, self.ffn_norm = nn.LayerNorm(width), nn.LayerNorm(width)
        self.query, self.value, self.out = (nn.Linear(width, width) for _ in range(3))
        self.key = nn.Linear(width, width, bias=False)
        self.up, self.down = nn.Linear(width, config.encoder_ffn_dim), nn.Linear(config.encoder_ffn_dim, width)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """x [B, T, H], mask [T, T] true where a row may look."""
        y = self.attention_norm(x)
        q, k, v = (f(y).unflatten(-1, (self.heads, -1)).transpose(1, 2) for f in (self.query, self.key, self.value))
        x = x + self.out(F.scaled_dot_product_attention(q, k, v, attn_mask=mask).transpose(1, 2).flatten(2))
        y = x + self.down(F.gelu(self.up(self.ffn_norm(x))))
        return cast(Tensor, y)


class GlmTokenizer(nn.Module):
    """Waveform at 16 kHz to ids."""

    def __init__(self, config: GlmTokenizerConfig) -> None:
        super().__init__()
        self.config = config
        self.conv1 = nn.Conv1d(config.num_mel_bins, config.d_model, KERNEL)
        self.conv2 = nn.Conv1d(config.d_model, config.d_model, KERNEL, stride=SUBSAMPLING)
        self.positions = nn.Parameter(torch.empty(config.max_source_positions, config.d_model))
        self.layers = nn.ModuleList(EncoderLayer(config) for _ in range(config.quantize_position))
        self.codebook = nn.Parameter(torch.empty(config.quantize_vocab_size, config.d_model))

    @torch.no_grad()
    def encode(self, waveform: Tensor) -> list[int]:
        """waveform [T] at 16 kHz to ceil(T / 1280) ids, piece by piece of 30 s."""
        pieces = torch.split(waveform, PIECE_SAMPLES)
        return [i for piece in pieces for i in self.ids(self.hidden(*self.features(piece, len(pieces) > 1))).tolist()]

    def features(self, piece: Tensor, is_one_of_many: bool) -> tuple[Tensor, int]:
        """piece [T] to log-mel frames [1, M, 8 * ids], and how many of them hold sound.

        What is the last of several pieces is analysed with silence behind it, as long as its sisters; a piece alone
        ends where its last id does. This is how the reference batches, and it can be heard in the last frame.
        """
        ids = math.ceil(len(piece) / self.config.token_samples)
        length = PIECE_SAMPLES if is_one_of_many else ids * self.config.token_samples
        mel = log_mel(F.pad(piece, (0, length - len(piece)))[None], self.config.num_mel_bins)
        return mel[..., : ids * self.config.token_samples // HOP_SAMPLES], math.ceil(len(piece) / HOP_SAMPLES)

    def hidden(self, features: Tensor, sounding: int) -> Tensor:
        """features [1, M, F] of which the first `sounding` hold sound, to [1, F / 2, H]."""
        x = F.gelu(self.conv1(F.pad(features, (KERNEL - 1, 0))))
        x = F.gelu(self.conv2(F.pad(x, (KERNEL - 1, 0)))).transpose(1, 2)
        x = x + self.positions[: x.shape[1]]
        mask = self._mask(x.shape[1], math.ceil(sounding / SUBSAMPLING))
        for layer in self.layers:
            x = layer(x, mask)
        return x

    def _mask(self, frames: int, sounding: int) -> Tensor:
        """[T, T]: a frame sees all before the end of its own block, but no frame that is silence added by us."""
        place = torch.arange(frames, device=self.positions.device)
        block = self.config.quantize_causal_block_size
        end = (place // block + 1) * block
        return (place[None, :] < end[:, None]) & (place < sounding)

    def ids(self, hidden: Tensor) -> Tensor:
        """hidden [1, 4 * N, H] to [N]: the nearest rows of the codebook to the means of four."""
        means = hidden.view(-1, self.config.pooling_kernel_size, self.config.d_model).mean(1)
        closeness = means @ self.codebook.T - self.codebook.square().sum(-1) / 2
        nearest: Tensor = closeness.argmax(-1)
        return nearest
