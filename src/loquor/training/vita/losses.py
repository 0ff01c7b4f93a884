"""The losses of VITA-Audio: the next token for the backbone, and one token further for each module (arXiv:2505.03739).

Module k reads a sample from token k + 1 on: row i pairs the state that the stage before gave for row i with token
i + k + 1 and predicts token i + k + 2. So each stage loses the first row that is left of every sample, and samples that
are too short vanish on the way. The modules' losses are averaged and weighted as the checkpoint says.

What learns from what follows from the model. Modules of base models pass gradients on to the backbone, those of Plus
models never do; and where the token head is frozen only the modules learn, from a backbone that is left alone.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Self, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from loquor.models.vita.model import Predictor, VitaModel
from loquor.training.vita.packing import PackedRow
from loquor.training.vita.tokens import IGNORED


@dataclass(frozen=True)
class Counts:
    """What the losses of batches are means over: all of them over the same, as published."""

    labels: float

    def __add__(self, other: Counts) -> Counts:
        return Counts(self.labels + other.labels)


@dataclass(frozen=True, eq=False)
class VitaBatch:
    """Packed rows of one length."""

    ids: Tensor  # [B, T]
    labels: Tensor  # [B, T]
    positions: Tensor  # [B, T], from 0 in every sample; each row begins with one
    is_heard: Tensor  # [B, T] bool, where features stand
    features: tuple[Tensor, ...] = ()  # [N, F] of each audio, in row-major order of `is_heard`

    @property
    def counts(self) -> Counts:
        """Labels that are learned; the losses of a step are divided by their sum over its batches."""
        return Counts(float((self.labels != IGNORED).sum()))

    def to(self, device: torch.device) -> Self:
        moved = {name: getattr(self, name).to(device) for name in ("ids", "labels", "positions", "is_heard")}
        return dataclasses.replace(self, **moved, features=tuple(f.to(device) for f in self.features))


def collate(rows: Sequence[PackedRow]) -> VitaBatch:
    """One batch of rows of one length."""
    stacked = {
        name: torch.stack([getattr(r, name) for r in rows]) for name in ("ids", "labels", "positions", "is_heard")
    }
    return VitaBatch(**stacked, features=tuple(f for row in rows for f in row.features))


@dataclass(frozen=True, eq=False)
class Stage:
    """What one stage reads and gives: all samples one behind the other."""

    first: int  # position that every sample begins with
    positions: Tensor  # [N]
    labels: Tensor  # [N], of the tokens the rows read
    embedded: Tensor  # [N, H], those tokens
    hidden_in: Tensor  # [N, H], states of the stage before; of no use to the backbone
    hidden: Tensor  # [N, H]

    @property
    def starts(self) -> Tensor:
        """Where samples begin [S]."""
        return sample_starts(self.positions, self.first)


def sample_starts(positions: Tensor, first: int) -> Tensor:
    """Where samples begin [S] in positions [N] that each count up from `first`."""
    return (positions == first).nonzero()[:, 0]


def sample_lengths(positions: Tensor, first: int) -> list[int]:
    """How long the samples are whose positions [N] each count up from `first`."""
    ends = torch.tensor([len(positions)], device=positions.device)
    return torch.cat([sample_starts(positions, first), ends]).diff().tolist()


class VitaTraining(nn.Module):
    """The model and its losses."""

    def __init__(self, model: VitaModel, crosses_samples: bool = False) -> None:
        """`crosses_samples` also learns the step from one sample of a row into the next, where its labels begin early:
        the published loss does, by an oversight.
        """
        super().__init__()
        self.model, self.crosses_samples = model, crosses_samples

    def forward(self, batch: VitaBatch, over: Counts | None = None) -> dict[str, Tensor]:
        """The losses of a batch; "loss" is minimised, "main" and "module 0", ... are its parts.

        Each is a mean over its own labels, or its sum divided by `over`: give the counts of a whole step where a batch
        is a part of one.
        """
        batch = batch.to(self.model.embedding.weight.device)
        learns_main = self.model.token_weights.requires_grad
        stages = self.stages(batch)
        with nullcontext() if learns_main else torch.no_grad():
            main = next(stages)
        losses = {"main": self._loss(main, over, batch.ids.shape[1])}
        losses |= {f"module {k}": self._loss(stage, over, batch.ids.numel()) for k, stage in enumerate(stages)}
        modules = list(losses.values())[1:]
        loss = losses["main"] if learns_main else losses["main"].new_zeros(())
        if modules:
            loss = loss + self.model.config.mtp_loss_weight * torch.stack(modules).mean()
        return {"loss": loss, **losses}

    def stages(self, batch: VitaBatch) -> Iterator[Stage]:
        """The backbone, then module after module."""
        text: Tensor = self.model.embedding(batch.ids)
        inputs = text
        if batch.features:
            assert self.model.listener is not None, "features are for Plus models"
            heard: Tensor = self.model.listener(batch.features)
            inputs = text.index_put((batch.is_heard,), heard.to(text.dtype))
        flat, positions = inputs.flatten(0, 1), batch.positions.flatten()
        hidden = self._backbone(flat, positions)
        stage = Stage(0, positions, batch.labels.flatten(), text.flatten(0, 1), hidden, hidden)
        yield stage
        if self.model.listener is not None or not self.model.token_weights.requires_grad:
            stage = dataclasses.replace(stage, embedded=stage.embedded.detach(), hidden=stage.hidden.detach())
        for k in range(self.model.config.modules):
            stage = self._module(k, stage)
            yield stage

    def _backbone(self, x: Tensor, positions: Tensor) -> Tensor:
        """Inputs [N, H] of all samples to their states [N, H]."""
        decoder, packed = self.model.language_model, sample_lengths(positions, 0)
        rotation, x = decoder.rotary(positions[None], x.dtype), x[None]
        for layer in decoder.layers:
            x = layer(x, rotation, (), packed)
        hidden: Tensor = decoder.norm(x)[0]
        return hidden

    def _module(self, k: int, before: Stage) -> Stage:
        """Module k on what the stage before it leaves."""
        kept = (before.positions > k).nonzero()[:, 0]
        positions, embedded, hidden_in = before.positions[kept], before.embedded[kept], before.hidden[kept - 1]
        predictor, decoder = cast(Predictor, self.model.predictors[k]), self.model.language_model
        x, hidden = predictor.mix(embedded, hidden_in)[None], hidden_in
        if len(kept):
            rotation, packed = decoder.rotary(positions[None], x.dtype), sample_lengths(positions, k + 1)
            hidden = decoder.norm(predictor.layer(x, rotation, (), packed))[0]
        return Stage(k + 1, positions, before.labels[kept], embedded, hidden_in, hidden)

    def _loss(self, stage: Stage, over: Counts | None, row: int) -> Tensor:
        """Cross entropy of the label behind each row, whose logits alone are computed: V is large.

        A `row` is the length of rows of the batch: what comes behind one is never its continuation.
        """
        begins = stage.positions[1:] == stage.first
        if self.crosses_samples:
            begins &= (torch.arange(len(begins), device=begins.device) + 1) % row == 0
        labels = stage.labels[1:].masked_fill(begins, IGNORED)
        is_learned = labels != IGNORED
        logits = self.model.logits(stage.hidden[:-1][is_learned])
        total = F.cross_entropy(logits.float(), labels[is_learned], reduction="sum")
        return total / max(over.labels if over else int(is_learned.sum()), 1)
