"""Published tensor names of the flow decoder, and ours."""

from __future__ import annotations

from collections.abc import Iterator

from loquor.checkpoints import Entry, same
from loquor.models.speech_tokens.flow import FlowConfig

OUTER = {
    "spk_embed_affine_layer": "speaker",
    "encoder.embed.out.0": "encoder.input",
    "encoder.embed.out.1": "encoder.input_norm",
    "encoder.after_norm": "encoder.norm",
    "encoder_proj": "to_mel",
    "decoder.estimator.time_mlp.linear_1": "estimator.time_in",
    "decoder.estimator.time_mlp.linear_2": "estimator.time_out",
    "decoder.estimator.final_block.block.0": "estimator.last.conv",
    "decoder.estimator.final_block.block.1": "estimator.last.norm",
    "decoder.estimator.final_proj": "estimator.out",
}
LAYER = {
    "self_attn.linear_q": "attention.query",
    "self_attn.linear_k": "attention.key",
    "self_attn.linear_v": "attention.value",
    "self_attn.linear_out": "attention.out",
    "feed_forward.w_1": "up",
    "feed_forward.w_2": "down",
    "norm_mha": "attention_norm",
    "norm_ff": "ffn_norm",
}
LAYER_TENSORS = {
    "self_attn.linear_pos.weight": "attention.distance.weight",
    "self_attn.pos_bias_u": "attention.content_bias",
    "self_attn.pos_bias_v": "attention.distance_bias",
}
RESNET = {
    "mlp.1": "time",
    "block1.block.0": "first.conv",
    "block1.block.1": "first.norm",
    "block2.block.0": "second.conv",
    "block2.block.1": "second.norm",
    "res_conv": "around",
}
TRANSFORMER = {
    "attn1.to_out.0": "out",
    "norm1": "attention_norm",
    "norm3": "ffn_norm",
    "ff.net.0.proj": "up",
    "ff.net.2": "down",
}
TRANSFORMER_TENSORS = {f"attn1.to_{x[0]}.weight": f"{x}.weight" for x in ("query", "key", "value")}


def flow_keys(config: FlowConfig) -> list[Entry]:
    """Every tensor of flow.pt and where it goes."""
    entries = [same("input_embedding.weight", "embedding.weight"), *_modules("", "", OUTER)]
    for i in range(config.encoder.layers):
        theirs, ours = f"encoder.encoders.{i}.", f"encoder.layers.{i}."
        entries += [*_modules(theirs, ours, LAYER), *_tensors(theirs, ours, LAYER_TENSORS)]
    stages = config.regulator_stages
    for i in range(stages):
        table = {f"{3 * i}": f"convs.{i}", f"{3 * i + 1}": f"norms.{i}"}  # the third of each stage is the activation
        entries += _modules("length_regulator.model.", "regulator.", table)
    entries += _modules("length_regulator.model.", "regulator.", {f"{3 * stages}": "out"})
    return [*entries, *_estimator(config)]


def _estimator(config: FlowConfig) -> Iterator[Entry]:
    levels, middle = len(config.estimator.channels), config.estimator.mid_stages
    for way, count in (("down", levels), ("mid", middle), ("up", levels)):
        for i in range(count):
            theirs, ours = f"decoder.estimator.{way}_blocks.{i}.", f"estimator.{way}.{i}."
            yield from _modules(f"{theirs}0.", f"{ours}resnet.", RESNET)
            for j in range(config.estimator.blocks_per_stage):
                names = f"{theirs}1.{j}.", f"{ours}blocks.{j}."
                yield from (*_modules(*names, TRANSFORMER), *_tensors(*names, TRANSFORMER_TENSORS))
            if way != "mid":
                changes_rate = i < levels - 1
                yield from _modules(theirs, ours, {"2.conv" if changes_rate else "2": "to_next"})


def _modules(theirs: str, ours: str, table: dict[str, str]) -> Iterator[Entry]:
    """The weight and the bias of modules; prefixes end where the table's names begin."""
    return (same(f"{theirs}{a}.{part}", f"{ours}{b}.{part}") for a, b in table.items() for part in ("weight", "bias"))


def _tensors(theirs: str, ours: str, table: dict[str, str]) -> Iterator[Entry]:
    return (same(f"{theirs}{a}", f"{ours}{b}") for a, b in table.items())
