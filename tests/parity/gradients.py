"""Gradients under published names."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import pytest
from torch import Tensor, nn

from loquor.checkpoints import Entry


def assert_gradient_norms(
    model: nn.Module, entries: Iterable[Entry], recorded: Mapping[str, float | None], count: int | None = None
) -> None:
    """The norms are the recorded ones, None where there is no gradient; `count` tensors have one, if it is given."""
    ours = {name: parameter.grad for name, parameter in model.named_parameters()}
    published: dict[str, Tensor] = {}
    for entry in entries:
        gradient = ours.get(entry.ours or "")
        if gradient is not None:
            published.update(zip(entry.theirs, entry.to_theirs(gradient), strict=True))
    for name, norm in recorded.items():
        assert (name in published) == (norm is not None), name
        if norm is not None:
            assert float(published[name].norm()) == pytest.approx(norm, rel=1e-4, abs=1e-6), name
    assert count is None or len(published) == count
