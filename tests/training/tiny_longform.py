"""A long-form model of which a training step takes milliseconds."""

from __future__ import annotations

from loquor.models.codec import CodecConfig
from loquor.models.longform.model import LongformConfig, LongformModel
from loquor.nn.diffusion_head import DiffusionHeadConfig
from loquor.nn.qwen2 import Qwen2Config
from toy import randomise

HOP = 6  # samples of a frame


def tiny_model(vocabulary: int, has_own_token_head: bool = False) -> LongformModel:
    """Two layers of width 16, codecs of two strides, a head of one layer; every parameter matters."""
    strides = {"encoder_ratios": (3, 2), "encoder_n_filters": 4, "decoder_n_filters": 4, "encoder_depths": "1-0-1"}
    decoder = Qwen2Config(
        hidden_size=16,
        intermediate_size=24,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        vocab_size=vocabulary,
        max_position_embeddings=512,
    )
    model = LongformModel(
        LongformConfig(
            decoder=decoder,
            acoustic=CodecConfig(vae_dim=5, **strides),
            semantic=CodecConfig(vae_dim=4, fix_std=0.0, std_dist_type="none", **strides),
            head=DiffusionHeadConfig(hidden_size=16, latent_size=5, head_layers=1, head_ffn_ratio=2.0),
            has_own_token_head=has_own_token_head,
        )
    )
    randomise(model, seed=0)
    model.latent_scale.scale.fill_(0.7)
    model.latent_scale.bias.fill_(-0.2)
    return model
