"""Which weights a training changes: strategies, from the most careful to the boldest.

A strategy names parts of the model by prefix; everything it does not name stays as it is. LoRA (arXiv:2106.09685) adds
to a matrix [M, N] the product of two thin ones, [M, r] and [r, N], and trains only those.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from loquor.models.outline import Part

LORA_RANK = 8
# Parts of all families: what only one has, such as `end_classifier.` or `predictors.`, the others are not asked for.
SPEECH = ("speech_model.", "connector.", "semantic_connector.", "head.", "end_classifier.", "types.")
MODULES = ("predictors.",)  # of VITA-Audio, each predicting one token further
HEARD = ("listener.projection.",)  # of VITA-Audio Plus, whose encoder never trains
TEXT = ("text_model.", "language_model.", "embedding.", "token_head.")


@dataclass(frozen=True)
class Strategy:
    """Prefixes of what trains in full, and of the matrices that get a LoRA."""

    summary: str
    full: tuple[str, ...] = ()
    lora: tuple[str, ...] = ()

    def trained(self, part: Part, rank: int = LORA_RANK) -> int:
        """How many numbers the strategy trains for `part`: its own, or those of the LoRAs beside it."""
        if not part.is_parameter:
            return 0
        if part.name.startswith(self.full):
            return part.size
        if part.name.startswith(self.lora) and all(len(shape) == 2 for shape in part.shapes):
            return sum(rank * (rows + columns) for rows, columns in part.shapes)
        return 0


STRATEGIES = {
    "none": Strategy("everything trains", full=("",)),
    "conservative": Strategy("embedding, codecs and the language model that reads text frozen", full=SPEECH),
    "lora": Strategy(
        f"LoRA of rank {LORA_RANK} on the model that speaks and head, connectors and end classifier in full",
        full=("connector.", "semantic_connector.", "end_classifier."),
        lora=("speech_model.", "language_model.", "head."),
    ),
    "modules": Strategy("VITA-Audio: only the modules that predict further tokens", full=MODULES),
    "full": Strategy(
        "only codecs, and VITA-Audio's encoder of what it hears, frozen", full=SPEECH + MODULES + HEARD + TEXT
    ),
}


def trained(strategy: Strategy, parts: Sequence[Part]) -> int:
    """How many numbers a strategy trains in a model."""
    return sum(strategy.trained(part) for part in parts)
