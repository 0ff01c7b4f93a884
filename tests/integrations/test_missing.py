"""A plug-in whose framework is missing says which extra brings it."""

from __future__ import annotations

import sys
from importlib import import_module

import pytest

from loquor.errors import MissingExtra


@pytest.mark.parametrize("framework", ["livekit", "pipecat"])
def test_the_extra_is_named(framework: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == framework]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, framework, None)
    monkeypatch.delitem(sys.modules, f"loquor.integrations.{framework}", raising=False)
    with pytest.raises(MissingExtra) as told:
        import_module(f"loquor.integrations.{framework}")
    assert told.value.hint == f"pip install 'loquor[{framework}]'"
