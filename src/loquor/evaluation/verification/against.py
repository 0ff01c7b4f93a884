"""A model beside another that should be the same: after a conversion, a download, a change of the code."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor

from loquor.checkpoints import Files
from loquor.evaluation.verification.checks import Check, Pair, compare
from loquor.evaluation.verification.subject import component_of, subject_of

ROUNDING = {torch.float16: 2.0**-10, torch.bfloat16: 2.0**-7}  # of a number, where one side was cast


def same_weights(folder: Path, reference: Path) -> Iterator[Check]:
    """Every tensor by our names, whatever the layouts; equal, or but for the rounding of the narrower type."""
    mine, theirs = (_tensors(path) for path in (folder, reference))
    for component in dict.fromkeys(component_of(name) for name in (*theirs, *mine)):
        names = [name for name in theirs if component_of(name) == component]
        absent = [name for name in names if name not in mine] + [
            name for name in mine if component_of(name) == component and name not in theirs
        ]
        if absent:
            told = f"only one of the two has {absent[0]}"
            yield Check(component, "same weights", str(reference), "fail", detail=told)
            continue
        groups = defaultdict[float, list[Pair]](list)
        for name in names:
            a, b = mine[name], theirs[name]
            tolerance = 0.0 if a.dtype == b.dtype else max(ROUNDING.get(t.dtype, 0.0) for t in (a, b))
            groups[tolerance].append((name, a, b))
        for tolerance, pairs in groups.items():
            yield compare(component, "same weights", str(reference), pairs, tolerance)


def _tensors(folder: Path) -> dict[str, Tensor]:
    """The tensors of a model as the files hold them, by our names."""
    subject = subject_of(folder)
    files = Files(folder)
    _, entries = subject.blank(files)
    return {
        e.ours: e.to_ours([files[name] for name in e.theirs]) for e in entries if e.ours and e.theirs[0] in files.where
    }
