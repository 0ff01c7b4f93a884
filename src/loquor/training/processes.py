"""The processes that train together, as the `accelerate` launcher started them, and a model cut up over them.

Either each process holds the whole model and gradients are summed once a step, or each holds a share of every tensor
and layers are put together where they are needed (Zhao et al. 2023, "PyTorch FSDP", arXiv:2304.11277; torch's
`fully_shard`). What is learned, and what is written, is the same.
"""

from __future__ import annotations

import os
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor, distribute_tensor

from loquor.errors import ConfigError, MissingExtra
from loquor.models.codec import Codec
from loquor.nn.qwen2 import DecoderLayer

FSDP, FSDP_VERSION = "ACCELERATE_USE_FSDP", "FSDP_VERSION"
FOREIGN = {"ACCELERATE_USE_DEEPSPEED": "DeepSpeed", "ACCELERATE_USE_MEGATRON_LM": "Megatron-LM"}
HINT = "accelerate launch --use_fsdp --fsdp_version 2 cuts models up, --multi_gpu keeps them whole"


class Processes:
    """The processes that train together: one, or as many as the launcher started. `device`: cpu, or what there is."""

    def __init__(self, device: str | None = None) -> None:
        self.is_cutting = _is_cutting()
        try:
            from accelerate import PartialState
        except ImportError:
            raise MissingExtra("training needs accelerate", hint="pip install 'loquor[train]'") from None
        self.state = PartialState(cpu=device == "cpu")
        self.count, self.rank = int(self.state.num_processes), int(self.state.process_index)
        self.is_cutting &= self.count > 1
        self.is_main = bool(self.state.is_main_process)
        self.device: torch.device = self.state.device

    def share(self, count: int) -> list[tuple[int, float]]:
        """Numbers below `count` that are this process's, and what each counts: 1, or 0 where another has it.

        All have equally many, as it takes all to put a layer together.
        """
        rounds = -(-count // self.count)
        return [(i % count, float(i < count)) for i in range(self.rank, rounds * self.count, self.count)]

    def sums(self, values: Any) -> Any:
        """Tensors, or lists or dictionaries of them, each added up over the processes."""
        if self.count == 1:
            return values
        from accelerate.utils import reduce

        return reduce(values, "sum")

    def merged(self, values: dict[str, Any]) -> dict[str, Any]:
        """The entries of all processes in one dictionary, of what JSON takes; all must ask."""
        if self.count == 1:
            return values
        from accelerate.utils import gather_object

        return {key: value for own in gather_object([values]) for key, value in own.items()}

    def wait(self) -> None:
        """Until all are here."""
        self.state.wait_for_everyone()

    def cut(self, module: nn.Module) -> None:
        """Leave this process its share of every tensor of `module`, on its device.

        Decoder layers are put together one by one, what is outside of them for a whole pass; codecs, which no pass of a
        training runs, stay as and where they are. Gradients are summed.
        """
        from torch.distributed.device_mesh import init_device_mesh
        from torch.distributed.fsdp import FSDPModule, fully_shard

        mesh = init_device_mesh(self.device.type, (self.count,))
        for layer in [layer for layer in module.modules() if isinstance(layer, DecoderLayer)]:
            fully_shard(layer, mesh=mesh)
        kept = {p for part in module.modules() if isinstance(part, Codec) for p in part.parameters()}
        fully_shard(module, mesh=mesh, reshard_after_forward=True, ignored_params=kept)
        for part in module.modules():
            if isinstance(part, FSDPModule):
                part.set_gradient_divide_factor(1.0)
                part.set_force_sum_reduction_for_comms(True)  # with nothing to multiply by: gloo cannot


def _is_cutting() -> bool:
    """Whether the launcher asks for FSDP; ConfigError if for something that only looks like it."""
    asked = [name for name in (FSDP, *FOREIGN) if os.environ.get(name, "").lower() in {"1", "true"}]
    for name in asked:
        if name in FOREIGN:
            raise ConfigError(f"{name} is set, but {FOREIGN[name]} is not supported", hint=HINT)
    version = os.environ.get(FSDP_VERSION, "1")
    if asked and version != "2":
        raise ConfigError(f"FSDP of version {version} is not supported", hint=HINT)
    return bool(asked)


def whole(tensor: Tensor) -> Tensor:
    """A tensor that may be cut up, put together: all processes must ask."""
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def cut_like(like: Tensor, tensor: Tensor) -> Tensor:
    """A whole tensor, on the device of `like`, and cut up if that is."""
    tensor = tensor.to(like.device)
    if not isinstance(like, DTensor):
        return tensor
    return distribute_tensor(tensor, like.device_mesh, like.placements, src_data_rank=None)
