"""What the two layouts of a long-form checkpoint call its parts.

The original layout is that of the first release; the other is what the transformers library (5.23) writes, known by
the `-hf` at the end of its repositories' names. They differ in names alone: every tensor has the same bytes in both.
"""

from __future__ import annotations

from dataclasses import dataclass

from loquor.models import codec_keys, connector, diffusion_head_keys
from loquor.models.codec_keys import CodecNames
from loquor.models.connector import ConnectorNames
from loquor.models.diffusion_head_keys import HeadNames

TOKEN_HEAD, EMBEDDING = "lm_head.weight", "model.language_model.embed_tokens.weight"  # in both


@dataclass(frozen=True)
class Names:
    """Prefixes end in a dot; the names inside codecs, connectors and head are beside their tables."""

    scale: str
    bias: str
    connector: str
    semantic_connector: str
    head: str
    encoder: str
    decoder: str
    semantic_encoder: str
    in_codec: CodecNames
    in_connector: ConnectorNames
    in_head: HeadNames


ORIGINAL = Names(
    scale="model.speech_scaling_factor",
    bias="model.speech_bias_factor",
    connector="model.acoustic_connector.",
    semantic_connector="model.semantic_connector.",
    head="model.prediction_head.",
    encoder="model.acoustic_tokenizer.encoder.",
    decoder="model.acoustic_tokenizer.decoder.",
    semantic_encoder="model.semantic_tokenizer.encoder.",
    in_codec=codec_keys.ORIGINAL,
    in_connector=connector.ORIGINAL,
    in_head=diffusion_head_keys.ORIGINAL,
)
HUGGINGFACE = Names(
    scale="model.latent_scaling_factor",
    bias="model.latent_bias_factor",
    connector="model.multi_modal_projector.",
    semantic_connector="model.semantic_connector.",
    head="model.diffusion_head.",
    encoder="model.audio_tower.encoder.",
    decoder="model.audio_tower.decoder.",
    semantic_encoder="model.semantic_tokenizer_encoder.",
    in_codec=codec_keys.HUGGINGFACE,
    in_connector=connector.HUGGINGFACE,
    in_head=diffusion_head_keys.HUGGINGFACE,
)
