"""VibeVoice long-form: one language model, two codecs and a diffusion head (arXiv:2508.19205).

The language model reads voices and a script, then chooses among a few tokens: begin speech, one frame, end speech, end.
For each frame the head samples a latent from the model's state; the frame is decoded, heard again by the semantic
codec, and both descriptions of it are the next input. The negative branch of guidance hears the speech, never the text.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from loquor.errors import ConfigError
from loquor.models.codec import Codec, CodecConfig, StackState
from loquor.models.connector import Connector, LatentScale
from loquor.nn.attention import KVCache
from loquor.nn.diffusion_head import DiffusionHead, DiffusionHeadConfig
from loquor.nn.qwen2 import Decoder, Qwen2Config
from loquor.state import State

VOICE_FRAMES = 32  # encoded in one go: 4 s, in which the widest layer of the published encoder takes 50 MB


@dataclass(frozen=True)
class LongformConfig:
    """Shape of the model."""

    decoder: Qwen2Config
    acoustic: CodecConfig
    semantic: CodecConfig
    head: DiffusionHeadConfig
    has_own_token_head: bool  # False: logits come from the word embeddings

    def __post_init__(self) -> None:
        if self.decoder.hidden_size != self.head.hidden_size:
            raise ConfigError("longform: language model and diffusion head must have one hidden_size")
        if self.head.latent_size != self.acoustic.vae_dim:
            raise ConfigError(
                f"longform: the head's latent_size {self.head.latent_size} is not the codec's {self.acoustic.vae_dim}"
            )
        if self.acoustic.hop_samples != self.semantic.hop_samples:
            raise ConfigError(
                f"longform: acoustic frames have {self.acoustic.hop_samples} samples, semantic ones "
                f"{self.semantic.hop_samples}"
            )

    @property
    def hidden_size(self) -> int:
        return self.decoder.hidden_size

    @property
    def latent_size(self) -> int:
        return self.acoustic.vae_dim

    @property
    def hop_samples(self) -> int:
        return self.acoustic.hop_samples

    @property
    def context(self) -> int:
        """Positions: voices, script and frames together."""
        return self.decoder.max_position_embeddings


@dataclass
class LongformState(State):
    """Everything a script being spoken carries from step to step."""

    positive: KVCache
    negative: KVCache  # has heard the speech, not the text
    decoder: StackState  # of the acoustic codec
    semantic: StackState  # of the semantic codec's encoder


class LongformModel(nn.Module):
    """The modules and the passes a step is made of; the order of passes is the engine's."""

    def __init__(self, config: LongformConfig) -> None:
        super().__init__()
        self.config = config
        hidden = config.hidden_size
        self.embedding = nn.Embedding(config.decoder.vocab_size, hidden)
        self.language_model = Decoder(config.decoder)
        self.token_head = (
            nn.Linear(hidden, config.decoder.vocab_size, bias=False) if config.has_own_token_head else None
        )
        self.connector = Connector(config.latent_size, hidden)
        self.semantic_connector = Connector(config.semantic.vae_dim, hidden)
        self.head = DiffusionHead(config.head)
        self.latent_scale = LatentScale()
        self.codec = Codec(config.acoustic)
        self.semantic_codec = Codec(config.semantic, has_decoder=False)

    def init_state(self, batch: int = 1) -> LongformState:
        """Scripts of which nothing has been read."""
        assert self.codec.decoder is not None and self.semantic_codec.encoder is not None
        return LongformState(
            positive=self.language_model.init_state(batch),
            negative=self.language_model.init_state(batch),
            decoder=self.codec.decoder.init_state(batch),
            semantic=self.semantic_codec.encoder.init_state(batch),
        )

    @property
    def token_weights(self) -> Tensor:
        """[V, H], what a hidden state is compared with to choose a token."""
        return self.embedding.weight if self.token_head is None else self.token_head.weight

    def encode_voice(self, waveform: Tensor, scale_noise: Tensor, noise: Tensor) -> Tensor:
        """A voice [T] and normal draws ([], [ceil(T / hop), D]) to normalised latents [ceil(T / hop), D].

        Sampled, not the mean: the published prefill draws (Codec.sample). Each voice is encoded by itself and piece by
        piece: others beside it change nothing, and memory does not grow with its length.
        """
        assert self.codec.encoder is not None
        state = self.codec.encoder.init_state(1)
        pieces = torch.split(waveform.to(self.embedding.weight), VOICE_FRAMES * self.config.hop_samples)
        last = len(pieces) - 1
        means = [self.codec.encoder(piece[None, None], state, is_final=i == last) for i, piece in enumerate(pieces)]
        mean = torch.cat(means, 1)
        latents = self.codec.sample(mean, noise[None].to(mean), scale_noise[None].to(mean))
        return self.latent_scale.normalised(latents)[0]

    def embed_speech(self, latents: Tensor, features: Tensor) -> Tensor:
        """Spoken frames, normalised latents [..., D] and semantic features [..., S], to inputs [..., H]."""
        inputs: Tensor = self.connector(latents) + self.semantic_connector(features)
        return inputs

    def advance(self, inputs: Tensor, state: LongformState) -> tuple[Tensor, Tensor]:
        """One position [B, H] for both branches in one pass; gives their states [B, H] each."""
        both = torch.cat([inputs, inputs])[:, None]
        positive, negative = self.language_model(both, state.positive, state.negative)[:, 0].chunk(2)
        return positive, negative

    def decode(self, latents: Tensor, state: StackState) -> Tensor:
        """A frame [B, D] to its samples [B, hop], continuing the decoder's memory."""
        assert self.codec.decoder is not None
        audio: Tensor = self.codec.decoder(self.latent_scale.latent(latents)[:, None], state)
        return audio[:, 0]

    def hear(self, waveform: Tensor, state: StackState) -> Tensor:
        """The samples of a frame [B, hop] to its semantic features [B, S], continuing the encoder's memory."""
        assert self.semantic_codec.encoder is not None
        features: Tensor = self.semantic_codec.encoder(waveform[:, None], state)
        return features[:, 0]
