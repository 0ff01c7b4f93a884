"""What it costs that sizes are known only when a graph runs: the upper layers of Realtime-0.5B in eight bits.

    python benchmarks/graph_sizes.py [--rounds 16]

The graph with all sizes open, as it is used, takes turns with the same graph for one stream, one frame and a cache of
512 positions: one pass of both branches, random weights, one thread. Milliseconds are medians, the ratio is the median
of per-round ratios with its range. Needs the `fast` extra.
"""

from __future__ import annotations

import argparse
import time
from types import SimpleNamespace

import numpy as np
import openvino as ov
import torch

from loquor.backends.openvino.backend import Pass
from loquor.backends.openvino.graph import Weights
from loquor.backends.openvino.language_model import speech_model
from loquor.evaluation.speed.realtime import model_of_shape, tensors_of

STREAMS, FRAMES, CACHE, SPOKEN = 1, 1, 512, 250
PASSES = 4  # a round


def ready(model: ov.Model, sizes: dict[str, list[int]]) -> Pass:
    graph = Pass(model)
    for name, size in sizes.items():
        graph.give(name, torch.full(size, SPOKEN) if name.endswith("length") else torch.zeros(size))
    return graph


def pass_ms(graph: Pass) -> float:
    began = time.perf_counter()
    graph.run()
    return (time.perf_counter() - began) * 1e3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=16)
    options = parser.parse_args()
    torch.set_num_threads(1)
    model, _ = model_of_shape("realtime-0.5b", SimpleNamespace(dtype=torch.bfloat16))
    config, weights = model.config.speech, Weights(tensors_of(model))
    of_name = {
        "x": [STREAMS, FRAMES, config.hidden_size],
        "length": [STREAMS],
        "keys": [STREAMS, config.num_key_value_heads, CACHE, config.width],
        "values": [STREAMS, config.num_key_value_heads, CACHE, config.width],
    }
    graphs = {"sizes open": speech_model(weights, config), "sizes fixed": speech_model(weights, config)}
    names = [node.get_any_name() for node in graphs["sizes open"].inputs]
    sizes = {name: of_name[name.rpartition(".")[2]] for name in names}
    graphs["sizes fixed"].reshape({name: ov.PartialShape(size) for name, size in sizes.items()})
    passes = {title: ready(graph, sizes) for title, graph in graphs.items()}
    taken = dict[str, list[float]]((title, []) for title in passes)
    for _ in range(options.rounds):
        for title, graph in passes.items():
            pass_ms(graph)  # the other graph has used the caches
            taken[title].append(float(np.median([pass_ms(graph) for _ in range(PASSES)])))
    for title, times in taken.items():
        print(f"{title:12} {np.median(times):.1f} ms")
    ratios = np.divide(taken["sizes open"], taken["sizes fixed"])
    print(f"open, times fixed: {np.median(ratios):.2f} ({ratios.min():.2f} to {ratios.max():.2f})")


if __name__ == "__main__":
    main()
