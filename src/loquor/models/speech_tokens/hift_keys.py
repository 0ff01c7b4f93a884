"""Published tensor names of the vocoder, and ours; weights kept as length and direction become plain ones."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from loquor.checkpoints import Entry, same
from loquor.models.speech_tokens.hift import PITCH_LAYERS, VocoderConfig


def hift_keys(config: VocoderConfig) -> list[Entry]:
    """Every tensor of hift.pt and where it goes."""
    stages, kernels = len(config.upsample_rates), len(config.kernels)
    entries = [*_normed("conv_pre", "stem"), *_normed("conv_post", "out"), *_plain("m_source.l_linear", "merge")]
    for i in range(PITCH_LAYERS):
        entries += _normed(f"f0_predictor.condnet.{2 * i}", f"pitch.convs.{i}")  # activations stand between
    entries += _plain("f0_predictor.classifier", "pitch.out")
    for i in range(stages):
        entries += _normed(f"ups.{i}", f"upsamplers.{i}")
        entries += _plain(f"source_downs.{i}", f"source_in.{i}")
        entries += _block(f"source_resblocks.{i}", f"source_blocks.{i}", len(config.source_dilations[i]))
        for j, dilations in enumerate(config.dilations):
            entries += _block(f"resblocks.{i * kernels + j}", f"blocks.{i}.{j}", len(dilations))
    return entries


def _block(theirs: str, ours: str, count: int) -> list[Entry]:
    entries: list[Entry] = []
    for i in range(count):
        for number, name in ((1, "dilated"), (2, "plain")):
            entries.append(same(f"{theirs}.activations{number}.{i}.alpha", f"{ours}.before_{name}.{i}.alpha"))
            entries += _normed(f"{theirs}.convs{number}.{i}", f"{ours}.{name}.{i}")
    return entries


def _plain(theirs: str, ours: str) -> list[Entry]:
    return [same(f"{theirs}.{part}", f"{ours}.{part}") for part in ("weight", "bias")]


def _normed(theirs: str, ours: str) -> list[Entry]:
    names = (f"{theirs}.weight_g", f"{theirs}.weight_v")
    return [Entry(names, f"{ours}.weight", joined, parted), same(f"{theirs}.bias", f"{ours}.bias")]


def joined(tensors: Sequence[Tensor]) -> Tensor:
    """Lengths [N, 1, 1] and directions [N, ...] to a weight (Salimans and Kingma 2016, arXiv:1602.07868)."""
    lengths, directions = tensors
    weight: Tensor = lengths * directions / directions.norm(dim=(1, 2), keepdim=True)
    return weight


def parted(weight: Tensor) -> list[Tensor]:
    """The inverse of `joined`: a weight is a direction of its own length."""
    return [weight.float().norm(dim=(1, 2), keepdim=True), weight]
