"""What `loquor inspect` shows: a checkpoint's modules with their sizes, and what a fine-tuning would train."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from loquor.cli.console import in_bytes, print_table
from loquor.models.outline import Outline, Part
from loquor.training.freezing import Strategy


@dataclass(frozen=True)
class Node:
    """A module and all below it."""

    name: str  # dotted; empty for the whole model
    parameters: int
    bytes: int
    dtype: str  # "mixed" if there are several
    trained: int | None  # numbers a strategy trains; None if none was asked for

    @property
    def depth(self) -> int:
        return self.name.count(".") + 1 if self.name else 0


def nodes(outline: Outline, depth: int, strategy: Strategy | None) -> list[Node]:
    """The model, then its modules in order down to `depth` levels."""
    found: dict[str, list[Part]] = {"": []}
    for part in outline.parts:
        path = part.name.split(".")[:-1]
        for level in range(min(depth, len(path)) + 1):
            found.setdefault(".".join(path[:level]), []).append(part)
    return [_node(name, parts, strategy) for name, parts in found.items()]


def _node(name: str, parts: Sequence[Part], strategy: Strategy | None) -> Node:
    dtypes = {str(part.dtype).removeprefix("torch.") for part in parts}
    return Node(
        name=name,
        parameters=sum(part.size for part in parts if part.is_parameter),
        bytes=sum(part.nbytes for part in parts),
        dtype=dtypes.pop() if len(dtypes) == 1 else "mixed",
        trained=sum(map(strategy.trained, parts)) if strategy else None,
    )


def print_tree(found: Sequence[Node], strategy: Strategy | None) -> None:
    """A table of the nodes; indented by depth."""
    header = ["module", "parameters", "bytes", "dtype"] + (["trained"] if strategy else [])
    rows = []
    for node in found:
        label = "  " * node.depth + node.name.rpartition(".")[2] if node.name else "model"
        trained = [] if node.trained is None else [f"{node.trained:,}" if node.trained else "-"]
        rows.append([label, f"{node.parameters:,}", in_bytes(node.bytes), node.dtype, *trained])
    print_table(header, rows, numbers=(1, 2, 4))


def as_dict(found: Sequence[Node]) -> list[dict[str, Any]]:
    """The nodes for `--json`."""
    return [asdict(node) for node in found]


def summary(model: Node, strategy: Strategy | None) -> str:
    """One line on what a strategy trains."""
    if strategy is None or model.trained is None:
        return ""
    share = 100 * model.trained / model.parameters
    return f"{strategy.summary}: trains {model.trained:,} numbers ({share:.1f} % of the model's size)"
