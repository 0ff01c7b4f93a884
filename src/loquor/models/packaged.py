"""Weights that come inside packages of the package index: found and opened, while the packages are never imported.

Importing them would need all that they depend on, for code that is not used: `pip install --no-deps` is enough.
"""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from loquor.errors import MissingExtra

WITHOUT_DEPENDENCIES = "moonshine-voice==0.0.59 silero-vad==6.2.3 speechmos==0.0.1.1 resemblyzer==0.1.4"
INSTALL_HINT = f"pip install 'loquor[eval]' && pip install --no-deps {WITHOUT_DEPENDENCIES}"


@dataclass(frozen=True)
class Package:
    """A package with weights, and what they are for."""

    name: str  # as pip knows it
    module: str
    purpose: str  # such as "the speech recogniser"

    def file(self, *parts: str) -> Path:
        """A file of the package; MissingExtra, with the line that installs it, if there is none."""
        spec = importlib.util.find_spec(self.module)
        for location in (spec.submodule_search_locations or ()) if spec else ():
            path = Path(location, *parts)
            if path.is_file():
                return path
        found = "is installed without its weights" if spec else "is not installed"
        raise MissingExtra(f"{self.purpose} is missing: {self.name} {found}", hint=INSTALL_HINT)

    @property
    def is_installed(self) -> bool:
        return importlib.util.find_spec(self.module) is not None

    def session(self, path: Path, threads: int = 1) -> Any:
        """The model in `path`, ready to run on the CPU."""
        try:
            import onnxruntime
        except ImportError as error:
            raise MissingExtra(f"{self.purpose} needs onnxruntime", hint=INSTALL_HINT) from error
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = threads
        return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
