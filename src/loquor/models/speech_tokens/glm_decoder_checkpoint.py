"""The published folder of GLM-4-Voice's decoder: config.yaml, flow.pt and hift.pt, of which nothing is executed."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from loquor.checkpoints import Files, load, without_memory
from loquor.errors import CheckpointError
from loquor.models.speech_tokens.flow import Flow
from loquor.models.speech_tokens.flow_keys import flow_keys
from loquor.models.speech_tokens.glm_decoder import GlmDecoder
from loquor.models.speech_tokens.glm_decoder_config import read_config
from loquor.models.speech_tokens.hift import Vocoder
from loquor.models.speech_tokens.hift_keys import hift_keys
from loquor.tensor_file import TensorFile
from loquor.torch_archives import read_state_dict


class OneFile(Files):
    """The tensors of `folder`/`stem`, which is a .safetensors file or one that torch wrote."""

    def __init__(self, folder: Path, stem: str) -> None:
        found = [path for path in (folder / f"{stem}.safetensors", folder / f"{stem}.pt") if path.is_file()]
        if not found:
            raise CheckpointError(f"{folder} holds no {stem}.pt", hint="give the folder as it was published")
        self.folder = found[0]  # what messages name
        self._tensors = _tensors(found[0])
        self.where = dict.fromkeys(self._tensors, found[0].name)

    def __getitem__(self, name: str) -> Tensor:
        return self._tensors[name]

    def release(self, name: str) -> None:
        self._tensors.pop(name, None)


def _tensors(path: Path) -> dict[str, Tensor]:
    if path.suffix == ".pt":
        return read_state_dict(path)
    file = TensorFile(path)
    return {name: file.tensor(name) for name in file.headers}


def load_glm_decoder(folder: Path) -> GlmDecoder:
    """The decoder in `folder`, in float32 and strictly: a missing, unexpected or wrongly shaped tensor is a
    CheckpointError that names it."""
    flow_config, vocoder_config = read_config(folder)
    with without_memory(folder):
        flow, vocoder = Flow(flow_config), Vocoder(vocoder_config)
    load(flow, OneFile(folder, "flow"), flow_keys(flow_config), torch.float32)
    load(vocoder, OneFile(folder, "hift"), hift_keys(vocoder_config), torch.float32)
    return GlmDecoder(flow, vocoder).eval().requires_grad_(False)
