"""VibeVoice Realtime: a language model cut in two, a diffusion head, a codec (arXiv:2508.19205; the Realtime release).

Lower layers read text; upper layers read the lower layers' states and the spoken latents, each marked by its type, and
give the condition from which the head samples the next latent. Text and speech take turns: `text_window` tokens are
read, `speech_window` frames spoken. The negative branch of guidance is an upper model that never saw the text.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from loquor.configs import require_int
from loquor.diffusion.sample import Sampler
from loquor.diffusion.solver import SolverPlan
from loquor.errors import ConfigError
from loquor.models.codec import Codec, CodecConfig, StackState
from loquor.models.connector import Connector, LatentScale
from loquor.nn.attention import KVCache
from loquor.nn.diffusion_head import DiffusionHead, DiffusionHeadConfig, Modulation
from loquor.nn.qwen2 import Decoder, Qwen2Config
from loquor.state import State

SPEECH_TYPE, TEXT_TYPE = 0, 1  # rows of the type embedding


@dataclass(frozen=True)
class RealtimeConfig:
    """Shape of the model, and the schedule of its windows."""

    text: Qwen2Config  # lower layers
    speech: Qwen2Config  # upper layers
    codec: CodecConfig
    head: DiffusionHeadConfig
    text_window: int = 5  # tokens read per round
    speech_window: int = 6  # frames spoken per round
    utterance_tokens: int = 0  # longer text is spoken as several utterances; 0: as long as the context allows

    def __post_init__(self) -> None:
        require_int("realtime", text_window=self.text_window, speech_window=self.speech_window)
        require_int("realtime", 0, utterance_tokens=self.utterance_tokens)
        if not self.text.hidden_size == self.speech.hidden_size == self.head.hidden_size:
            raise ConfigError("realtime: text model, speech model and diffusion head must have one hidden_size")
        if self.head.latent_size != self.codec.vae_dim:
            raise ConfigError(
                f"realtime: the head's latent_size {self.head.latent_size} is not the codec's {self.codec.vae_dim}"
            )

    @property
    def hidden_size(self) -> int:
        return self.speech.hidden_size

    @property
    def latent_size(self) -> int:
        return self.codec.vae_dim


class EndClassifier(nn.Module):
    """Says after each spoken frame whether it was the last one."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(dim, dim)
        self.fc2 = nn.Linear(dim, 1)

    def forward(self, hidden: Tensor) -> Tensor:
        """Hidden states [..., H] to logits [...]."""
        y: Tensor = self.fc2(F.relu(self.fc1(hidden)))
        return y[..., 0]


@dataclass
class RealtimeState(State):
    """What a stream carries from frame to frame, but for the sound: that is the decoder's own memory."""

    text: KVCache
    speech: KVCache
    negative: KVCache  # of the upper layers, without text
    condition: Tensor  # [B, H], the upper layers' last state
    negative_condition: Tensor  # [B, H]


class RealtimeModel(nn.Module):
    """The modules and the passes a stream is made of, the exact backend; the order of passes is the engine's."""

    is_pipelined = False  # all cores work on every pass

    def __init__(self, config: RealtimeConfig, has_encoder: bool = True) -> None:
        super().__init__()
        self.config = config
        hidden = config.hidden_size
        self.embedding = nn.Embedding(config.text.vocab_size, hidden)
        self.text_model = Decoder(config.text, final_norm=False)
        self.speech_model = Decoder(config.speech)
        self.types = nn.Embedding(2, hidden)
        self.connector = Connector(config.latent_size, hidden)
        self.head = DiffusionHead(config.head)
        self.end_classifier = EndClassifier(hidden)
        self.latent_scale = LatentScale()
        self.codec = Codec(config.codec, has_encoder=has_encoder)

    def init_state(self, batch: int = 1) -> RealtimeState:
        """Streams that have read and said nothing."""
        nothing = self.types.weight.new_zeros(batch, self.config.hidden_size)
        return RealtimeState(
            text=self.text_model.init_state(batch),
            speech=self.speech_model.init_state(batch),
            negative=self.speech_model.init_state(batch),
            condition=nothing,
            negative_condition=nothing.clone(),
        )

    def init_decoder(self, batch: int = 1) -> StackState:
        """The decoder's memory of streams that have made no sound."""
        assert self.codec.decoder is not None
        return self.codec.decoder.init_state(batch)

    def embed_text(self, ids: Tensor, state: KVCache | None = None, lengths: Tensor | None = None) -> Tensor:
        """Token ids [B, T] to inputs of the upper layers [B, T, H], continuing the lower layers' cache."""
        states = () if state is None else (state,)
        hidden: Tensor = self.text_model(self.embedding(ids), *states, lengths=lengths)
        return hidden + self.types.weight[TEXT_TYPE]

    def embed_speech(self, latents: Tensor) -> Tensor:
        """Normalised latents [..., D] to inputs of the upper layers [..., H]."""
        embedded: Tensor = self.connector(latents)
        return embedded + self.types.weight[SPEECH_TYPE]

    def read(self, ids: Tensor, state: RealtimeState, lengths: Tensor | None = None) -> None:
        """Take a text window [B, T] into `state`; `lengths` [B] are the real tokens of each row, at least one."""
        inputs = self.embed_text(ids, state.text, lengths)
        hidden = self.speech_model(inputs, state.speech, lengths=lengths)
        last = torch.full_like(ids[:, 0], ids.shape[1] - 1) if lengths is None else lengths - 1
        state.condition.copy_(hidden[torch.arange(len(ids), device=ids.device), last])

    def hear(
        self, latent: Tensor, state: RealtimeState, ids: Tensor | None = None, lengths: Tensor | None = None
    ) -> Tensor:
        """Feed back a spoken frame [B, D], both branches in one pass, and then `read` what `ids` there are. Gives the
        end logits [B] of the frame."""
        inputs = self.embed_speech(latent)[:, None]
        hidden = self.speech_model(torch.cat([inputs, inputs]), state.speech, state.negative)[:, 0]
        positive, negative = hidden.chunk(2)
        state.condition.copy_(positive)
        state.negative_condition.copy_(negative)
        logits: Tensor = self.end_classifier(positive)
        if ids is not None:
            self.read(ids, state, lengths)
        return logits

    def sampler(self, plan: SolverPlan, is_guided: bool = True) -> Sampler[Modulation]:
        """What draws latents by `plan`; keep it. Here the same does for both."""
        return Sampler(self.head, plan)

    def decode(self, latents: Tensor, memory: StackState) -> Tensor:
        """Frames [B, N, D] to their samples [B, N * hop], continuing the decoder's memory."""
        assert self.codec.decoder is not None
        audio: Tensor = self.codec.decoder(self.latent_scale.latent(latents), memory)
        return audio[:, 0]
