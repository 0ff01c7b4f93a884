"""How much memory loading a long-form checkpoint takes, as a share of its weights: one copy and hardly more.

    python benchmarks/load_memory.py [--hidden 1024] [--layers 10] [--vocabulary 60000] [--filters 16]
                                     [--shard-mb 300] [--rounds 3] [--keep-pages] [--json FILE]

Writes random bfloat16 weights in shards to a temporary folder, in both layouts, and loads each in fresh processes, as
it is and cast. `peak_at_load` is the highest resident memory while loading, `peak_in_use` that after every weight has
been read once, both above what the process held before and divided by the bytes of the loaded weights. `--keep-pages`
shows what they would be if the pages that were copied from stayed. Linux only.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from loquor.checkpoints import Files, published, save, without_memory
from loquor.models.codec import CodecConfig
from loquor.models.longform.checkpoint import LAYOUTS, keys, load_longform
from loquor.models.longform.model import LongformConfig, LongformModel
from loquor.models.registry import DTYPES
from loquor.nn.diffusion_head import DiffusionHeadConfig
from loquor.nn.qwen2 import Qwen2Config

CASES = (("original", None), ("original", "float32"), ("hf", None))


def shape(hidden: int, layers: int, vocabulary: int, filters: int) -> LongformConfig:
    """The proportions of the published 1.5B in a size of one's own."""
    decoder = Qwen2Config(
        hidden_size=hidden,
        intermediate_size=6 * hidden,
        num_hidden_layers=layers,
        num_attention_heads=8,
        num_key_value_heads=2,
        vocab_size=vocabulary,
        max_position_embeddings=65_536,
    )
    codec = {"encoder_ratios": (8, 5, 5, 4, 2, 2), "encoder_depths": "3-3-3-3-3-3-8", "encoder_n_filters": filters}
    return LongformConfig(
        decoder=decoder,
        acoustic=CodecConfig(vae_dim=64, decoder_n_filters=filters, **codec),
        semantic=CodecConfig(vae_dim=128, fix_std=0.0, std_dist_type="none", **codec),
        head=DiffusionHeadConfig(hidden_size=hidden, latent_size=64),
        has_own_token_head=False,
    )


def write(folder: Path, config: LongformConfig, layout: str, shard_bytes: int) -> None:
    """A checkpoint of random bfloat16 weights."""
    with without_memory(folder):
        model = LongformModel(config)
    generator = torch.Generator().manual_seed(0)

    def random(like: Tensor) -> Tensor:
        return torch.empty(like.shape, dtype=torch.bfloat16).uniform_(-1, 1, generator=generator)

    tensors = {name: random(t) for name, t in published(model, keys(config, LAYOUTS[layout].names)).items()}
    save(folder, LAYOUTS[layout].to_published(config), tensors, shard_bytes)


def measure(folder: Path, dtype: str | None) -> dict[str, float]:
    """Loads the checkpoint here; meant for a process that has done nothing else."""
    before = resident("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # the highest resident memory is now the present one
    started = time.perf_counter()
    model = load_longform(folder, DTYPES[dtype] if dtype else None)
    load_s, at_load = time.perf_counter() - started, resident("VmHWM")
    weights = model.state_dict().values()
    for tensor in weights:
        tensor.max()
    size = sum(tensor.nbytes for tensor in weights)
    return {
        "weights_mb": size / 1e6,
        "peak_at_load": (at_load - before) / size,
        "peak_in_use": (resident("VmHWM") - before) / size,
        "load_s": load_s,
        "load_and_read_s": time.perf_counter() - started,
    }


def resident(name: str) -> int:
    """VmRSS or VmHWM, in bytes."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith(f"{name}:"))


def command(folder: Path, dtype: str | None, keep_pages: bool = False) -> list[str]:
    """The command line of a process that measures one load."""
    words = [sys.executable, __file__, "--measure", str(folder), "--dtype", dtype or "as it is"]
    return words + (["--keep-pages"] if keep_pages else [])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in {"hidden": 1024, "layers": 10, "vocabulary": 60_000, "filters": 16}.items():
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--shard-mb", type=int, default=300)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--keep-pages", action="store_true")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--measure", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--dtype", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.keep_pages:
        Files.release = lambda self, name: None  # type: ignore[method-assign]
    if options.measure:
        print(json.dumps(measure(options.measure, options.dtype if options.dtype in DTYPES else None)))
        return
    config = shape(options.hidden, options.layers, options.vocabulary, options.filters)
    results: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as place:
        for layout in LAYOUTS:
            write(Path(place) / layout, config, layout, options.shard_mb * 1_000_000)
        for layout, dtype in CASES:
            words = command(Path(place) / layout, dtype, options.keep_pages)
            rounds = [json.loads(subprocess.check_output(words)) for _ in range(options.rounds)]
            medians = {name: round(statistics.median(r[name] for r in rounds), 3) for name in rounds[0]}
            results.append({"layout": layout, "dtype": dtype or "as it is", **medians})
            print(json.dumps(results[-1]), flush=True)
    if options.json:
        options.json.write_text(json.dumps(results, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
