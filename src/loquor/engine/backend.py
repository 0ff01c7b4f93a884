"""Which backend runs a Realtime model: torch, which is exact and runs everywhere, or OpenVINO in eight bits."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from loquor.errors import CheckpointError, ConfigError, MissingExtra

if TYPE_CHECKING:
    from loquor.backends.openvino.backend import OpenVinoRealtime

logger = logging.getLogger(__name__)

BACKENDS = ("auto", "torch", "openvino")


@dataclass(frozen=True)
class Choice:
    """What is asked for: torch, openvino, or auto, which is openvino where the optimised model is there already.

    `progress` hears how many numbers are rounded, of how many, while an optimised model is made.
    """

    backend: str = "auto"
    progress: Callable[[int, int], None] = lambda *_: None

    def __post_init__(self) -> None:
        if self.backend not in BACKENDS:
            raise ConfigError(f"backend {self.backend!r} is unknown", hint=f"one of {', '.join(BACKENDS)}")


TORCH = Choice("torch")


def openvino_backend(folder: Path, choice: Choice, obstacle: str) -> OpenVinoRealtime | None:
    """The model in `folder` as OpenVINO runs it, or None if torch is to run it; the log says which it is, and why.

    `obstacle` names what only torch can do of what is wanted. Where openvino is asked for, ConfigError if there is one,
    MissingExtra if it is not installed, CheckpointError if eight bits are too few for this model.
    """
    if choice.backend == "openvino":
        require_openvino(obstacle)
    elif reason := _against(folder, choice, obstacle):
        logger.info("backend torch: %s", reason)
        return None
    from loquor.backends.openvino.optimised import open_optimised

    try:
        found = open_optimised(folder, choice.progress)
    except CheckpointError as error:
        if choice.backend == "openvino":
            raise
        logger.warning("backend torch: %s", error)
        return None
    torch.set_num_threads(1)  # a second pool of threads, waiting actively, would cost more than it gives
    why = "as asked" if choice.backend == "openvino" else "this model has been optimised"
    logger.info("backend openvino, eight bits: %s", why)
    return found.backend


def require_openvino(obstacle: str = "") -> None:
    """MissingExtra if OpenVINO is not installed, ConfigError if there is an obstacle."""
    if obstacle:
        raise ConfigError(f"the openvino backend does not fit: {obstacle}", hint="leave it out: torch does")
    if not find_spec("openvino"):
        raise MissingExtra("the openvino backend needs OpenVINO", hint="pip install 'loquor[fast]'")


def _against(folder: Path, choice: Choice, obstacle: str) -> str:
    """Why it is torch; empty if nothing speaks against OpenVINO."""
    if choice.backend == "torch":
        return "as asked"
    if obstacle:
        return obstacle
    if not find_spec("openvino"):
        return "OpenVINO is not installed (pip install 'loquor[fast]')"
    from loquor.backends.openvino.place import cache_folder, place_of

    has_any = any(cache_folder().glob("*.safetensors"))  # or nothing would have to be hashed
    return "" if has_any and place_of(folder).exists() else "this model has not been optimised (loquor optimize)"
