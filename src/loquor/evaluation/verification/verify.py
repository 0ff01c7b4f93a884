"""The verification matrix: everything that can be checked of a checkpoint, in the order in which one needs the other.

First the files, then the numbers in them, then every component by itself, then all of it together. Where a model cannot
be built, the checks before tell why, and there are no others.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn

from loquor.checkpoints import Files
from loquor.errors import LoquorError
from loquor.evaluation.verification import (
    against,
    blocks,
    codec,
    files,
    longform,
    realtime,
    speech_tokens,
    vita,
    voices,
    weights,
)
from loquor.evaluation.verification.checks import TOLERANCES, Check
from loquor.evaluation.verification.steps import Step
from loquor.evaluation.verification.subject import Subject, subject_of
from loquor.evaluation.verification.tokenizer import tokenizer_checks
from loquor.models.codec import Codec
from loquor.models.longform.model import LongformModel
from loquor.models.outline import Headers
from loquor.models.realtime.model import RealtimeModel
from loquor.models.speech_tokens.glm_tokenizer import GlmTokenizer
from loquor.models.vita.model import VitaModel
from loquor.nn.diffusion_head import DiffusionHead

CONFIG, READ = "config.json", "can be read"
Report = Callable[[str, int, int], None]  # the component in work, steps done, steps in all


@dataclass(frozen=True)
class Verification:
    """What was found."""

    folder: Path
    kind: str
    checks: tuple[Check, ...]
    seconds: float

    @property
    def failed(self) -> list[Check]:
        return [check for check in self.checks if check.verdict == "fail"]

    def as_dict(self) -> dict[str, Any]:
        """As JSON takes it."""
        counts = {verdict: sum(c.verdict == verdict for c in self.checks) for verdict in ("ok", "warn", "fail")}
        facts = {"model": str(self.folder), "kind": self.kind, "seconds": round(self.seconds, 2), **counts}
        return facts | {"checks": [_finite(asdict(check)) for check in self.checks]}


def _finite(check: dict[str, Any]) -> dict[str, Any]:
    """JSON has no infinity."""
    return check | {"difference": "infinity"} if check["difference"] == float("inf") else check


@torch.no_grad()
def verify(
    folder: Path,
    dtype: torch.dtype = torch.float32,
    reference: Path | None = None,
    report: Report | None = None,
) -> Verification:
    """Check the checkpoint in `folder`, computing in `dtype`; beside `reference`, if a model it should equal is given.

    CheckpointError or ConfigError if the folder holds nothing that can be verified; whatever else is wrong is a check.
    """
    began, subject = time.perf_counter(), subject_of(folder)
    tell = report or (lambda component, done, total: None)
    found: list[Check] = []
    for step in _of_files(subject, reference):
        tell(step.component, 0, 0)
        found += _looked(step)
        if any(check.verdict == "fail" and (check.component == "config" or check.what == READ) for check in found):
            break
    if not any(check.verdict == "fail" and (check.against == CONFIG or check.what == READ) for check in found):
        found += _of_model(subject, dtype, found, tell)
    return Verification(folder, subject.kind, tuple(found), time.perf_counter() - began)


def _looked(step: Step) -> Iterator[Check]:
    """The checks of a step; an error of ours ends it as a failed one."""
    try:
        yield from step.look()
    except LoquorError as error:
        yield Check(step.component, READ, "", "fail", detail=str(error))


def _of_files(subject: Subject, reference: Path | None) -> Iterator[Step]:
    yield Step("files", partial(files.checksums, subject.folder))
    yield Step("config", lambda: _headers(subject))
    yield Step("weights", lambda: _numbers(subject))
    if reference:
        yield Step("weights", partial(against.same_weights, subject.folder, reference))


def _headers(subject: Subject) -> Iterator[Check]:
    """What config.json and the headers say."""
    try:
        headers = Headers(subject.folder)
    except LoquorError as error:
        yield Check("files", READ, CONFIG, "fail", detail=str(error))
        return
    yield files.index(subject.folder, headers)
    try:
        yield from files.tensors(subject, headers)
    except LoquorError as error:
        yield Check("config", "makes a model", CONFIG, "fail", detail=str(error))
        return
    yield Check("config", "makes a model", subject.kind)


def _numbers(subject: Subject) -> Iterable[Check]:
    opened = Files(subject.folder)
    return weights.judged(list(weights.figures_of(opened, subject.blank(opened)[1])))


def _of_model(subject: Subject, dtype: torch.dtype, before: list[Check], tell: Report) -> Iterator[Check]:
    """Components, tokenizer, voices and the whole; those whose weights are damaged need no further proof."""
    tell("loading", 0, 0)
    try:
        model = subject.load(dtype)
    except LoquorError as error:
        yield Check("config", "can be loaded", subject.kind, "fail", detail=str(error))
        return
    damaged = weights.damaged(before)
    steps = list(_steps(subject.folder, model, TOLERANCES[dtype]))
    for number, step in enumerate(steps):
        tell(step.component, number, len(steps))
        if any(name == step.component or name.startswith(f"{step.component}.") for name in damaged):
            yield Check(step.component, "is run", "", "warn", detail="not run: its weights are damaged")
            continue
        if step.component == realtime.WHOLE and damaged:
            yield Check(step.component, "is run", "", "warn", detail=f"not run: {', '.join(damaged)} is damaged")
            continue
        yield from _looked(step)
    tell("", len(steps), len(steps))


def _steps(folder: Path, model: nn.Module, tolerance: float) -> Iterator[Step]:
    if isinstance(model, RealtimeModel | LongformModel | VitaModel):
        yield Step("tokenizer", partial(tokenizer_checks, folder, model))
    if isinstance(model, RealtimeModel):
        yield from realtime.steps(model, folder, tolerance)
    elif isinstance(model, LongformModel):
        yield from longform.steps(model, folder, tolerance)
    elif isinstance(model, VitaModel):
        yield from vita.steps(model, folder, tolerance)
    elif isinstance(model, GlmTokenizer):
        yield from speech_tokens.steps(model, tolerance)
    else:
        yield from _alone(model, tolerance)
    if isinstance(model, RealtimeModel | LongformModel):
        yield from voices.steps(folder, model if isinstance(model, RealtimeModel) else None)


def _alone(model: nn.Module, tolerance: float) -> Iterator[Step]:
    """A part that is published by itself."""
    for name, part in model.named_children():
        if isinstance(part, Codec):
            yield from codec.steps(name, part, tolerance)
        elif isinstance(part, DiffusionHead):
            yield Step(name, partial(blocks.diffusion_head, name, part, tolerance))
