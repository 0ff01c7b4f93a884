"""Names of SenseVoice's tensors inside a Plus checkpoint and in its own file, and that file read."""

from __future__ import annotations

from pathlib import Path

import torch

from loquor.checkpoints import Entry, load, same, without_memory
from loquor.models.speech_tokens.glm_decoder_checkpoint import OneFile
from loquor.models.vita.sensevoice import SenseVoice, SenseVoiceConfig

PUBLISHED = SenseVoiceConfig()


def load_sensevoice(folder: Path, config: SenseVoiceConfig = PUBLISHED) -> SenseVoice:
    """The encoder in the folder of FunAudioLLM/SenseVoiceSmall (model.pt), where training of a Plus model starts.

    In float32 and strictly: a missing, unexpected or wrongly shaped tensor is a CheckpointError that names it.
    """
    with without_memory(folder):
        encoder = SenseVoice(config)
    load(encoder, OneFile(folder, "model"), sensevoice_keys(config, "", ""), torch.float32)
    return encoder.eval().requires_grad_(False)


def listener_keys(config: SenseVoiceConfig, theirs: str = "model.", ours: str = "listener.") -> list[Entry]:
    """Every tensor of a `Listener`; both prefixes end in a dot."""
    projection = f"{theirs}audio_projection."
    entries = sensevoice_keys(config, f"{theirs}audio_model.model.", f"{ours}encoder.")
    entries += _weight_and_bias(f"{projection}pre_proj_layernorm", f"{ours}projection.norm")
    entries += [
        same(f"{projection}mlp.0.weight", f"{ours}projection.up.weight"),
        same(f"{projection}mlp.2.weight", f"{ours}projection.out.weight"),
    ]
    return entries


def sensevoice_keys(config: SenseVoiceConfig, theirs: str, ours: str) -> list[Entry]:
    """Every tensor of SenseVoice-Small, with these prefixes; its head for transcripts is read and dropped."""
    entries = [same(f"{theirs}embed.weight", f"{ours}queries.weight")]
    names = [("encoders0.0", "layers.0")]
    names += [(f"encoders.{i}", f"layers.{i + 1}") for i in range(config.num_blocks - 1)]
    names += [(f"tp_encoders.{i}", f"last_layers.{i}") for i in range(config.tp_blocks)]
    for a, b in names:
        entries += _layer_keys(f"{theirs}encoder.{a}.", f"{ours}{b}.")
    entries += _weight_and_bias(f"{theirs}encoder.after_norm", f"{ours}norm")
    entries += _weight_and_bias(f"{theirs}encoder.tp_norm", f"{ours}last_norm")
    entries += [Entry((f"{theirs}ctc.ctc_lo.{part}",), None, optional=True) for part in ("weight", "bias")]
    return entries


def _layer_keys(theirs: str, ours: str) -> list[Entry]:
    names = {
        "norm1": "attention_norm",
        "norm2": "ffn_norm",
        "self_attn.linear_q_k_v": "attention.qkv",
        "self_attn.linear_out": "attention.out",
        "feed_forward.w_1": "up",
        "feed_forward.w_2": "down",
    }
    entries = [entry for a, b in names.items() for entry in _weight_and_bias(theirs + a, ours + b)]
    return [*entries, same(f"{theirs}self_attn.fsmn_block.weight", f"{ours}attention.memory.weight")]


def _weight_and_bias(theirs: str, ours: str) -> list[Entry]:
    return [same(f"{theirs}.{part}", f"{ours}.{part}") for part in ("weight", "bias")]
