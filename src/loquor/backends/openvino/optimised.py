"""Optimised models on disk: made once, kept under the user's cache, and compared with torch before and after.

A file is named by a hash of the checkpoint's files and of how it was made, so another model, or another version of
this code, never meets it. With its weights it keeps what the torch model made of a short script (`probe`): whoever
opens it runs the script again, which finds damage that matters, and warms up what the first frame needs.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

from loquor.backends.openvino.backend import OpenVinoRealtime
from loquor.backends.openvino.place import place_of
from loquor.backends.openvino.probe import PASSES, errors, outcome
from loquor.backends.openvino.weights import weights_of
from loquor.checkpoints import write_atomically
from loquor.errors import CheckpointError
from loquor.models.realtime.checkpoint import load_realtime, read_config
from loquor.tensor_file import TensorFile

logger = logging.getLogger(__name__)

BOUND = 0.1  # largest error of a pass: 20 dB below what is wanted
PROBE = "probe."  # begins the names of the torch model's outcome

Progress = Callable[[int, int], None]  # numbers rounded, of how many


@dataclass(frozen=True)
class Optimised:
    """An optimised model, with its figures."""

    path: Path
    backend: OpenVinoRealtime
    errors: dict[str, float]  # of each pass, relative to torch

    @property
    def bytes(self) -> int:
        return self.path.stat().st_size


def open_optimised(folder: Path, progress: Progress = lambda *_: None) -> Optimised:
    """The model in `folder`, optimised; it is made if it is not there, or if what is there is damaged.

    CheckpointError with figures if it is further than BOUND from the torch model.
    """
    path = place_of(folder)
    if path.exists():
        try:
            return _opened(folder, path)
        except CheckpointError as error:
            logger.warning("the optimised model is made again: %s", error)
    _make(folder, path, progress)
    try:
        return _opened(folder, path)
    except CheckpointError:
        path.unlink(missing_ok=True)
        raise


def _opened(folder: Path, path: Path) -> Optimised:
    """CheckpointError if the file is damaged, or too far from the torch model."""
    file = TensorFile(path)
    tensors = {name: file.tensor(name) for name in file.headers}
    try:
        backend = OpenVinoRealtime(read_config(folder), tensors)
        given = {name: tensors[PROBE + name] for name in PASSES}
        found = errors(outcome(backend, given), given)
    except (KeyError, RuntimeError, ValueError) as error:
        raise CheckpointError(f"{path} is no optimised model: {error}") from None
    figures = ", ".join(f"{name} {error:.3f}" for name, error in found.items())
    if max(found.values()) > BOUND:
        raise CheckpointError(
            f"{path}: eight bits are too few for this model: errors relative to torch are {figures}, at most {BOUND} "
            f"is allowed",
            hint="use the torch backend, which is exact",
        )
    logger.info("errors relative to torch: %s", figures)
    for name in file.headers:
        if name != "embedding":
            file.release(name)  # the graphs have their own
    return Optimised(path, backend, found)


def _make(folder: Path, path: Path, progress: Progress) -> None:
    model = load_realtime(folder, torch.float32)
    total = sum(p.numel() for name, p in model.named_parameters() if not name.startswith("codec.encoder."))
    tensors, done = dict[str, Tensor](), 0
    for name, tensor in weights_of(model):
        tensors[name] = tensor.contiguous()
        done += 0 if name.endswith(".scale") else tensor.numel()
        progress(min(done, total), total)
    tensors |= {PROBE + name: tensor for name, tensor in outcome(model).items()}

    def write(beside: Path) -> None:
        save_file(tensors, beside)
        beside.chmod(0o644)  # safetensors lets only the owner read

    write_atomically(path, write)
