"""What `loquor convert` does: a checkpoint through our model and out again, in its own layout or another.

The new folder grows beside its place and moves there when it is complete.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from loquor.checkpoints import write_text
from loquor.configs import read_json
from loquor.errors import CheckpointError, ConfigError
from loquor.models import DTYPES, family_of
from loquor.training.alphabet import add_alphabet
from loquor.training.beside import copy_beside

DTYPE_KEYS = ("torch_dtype", "dtype")
FINITE_HINT = "float16 ends at 65504: try bfloat16; `loquor doctor` looks at every tensor"


def convert(  # noqa: PLR0913, PLR0917 - the command's options
    source: Path,
    target: Path,
    dtype: str | None,
    shard_bytes: int,
    adapters: Sequence[str] = (),
    layout: str | None = None,
    alphabet: str | None = None,
) -> list[Path]:
    """The model in `source`, strictly loaded and written to `target`; the files written.

    `adapters`, each `path` or `path@strength`, are merged into it. Without them and `dtype` every tensor keeps its
    bytes, without `layout` its name. `alphabet` is a language whose letters a phoneme model gets. CheckpointError if
    the source is not sound or the target cannot be written; then the target is as it was. ConfigError if the model
    cannot be written in that layout, or does not read phonemes.
    """
    family = family_of(source)
    layout = layout or family.layout_of(source)
    if layout not in family.layouts:
        raise ConfigError(
            f"there is no {layout} layout of {family.name} models", hint=f"there is: {', '.join(family.layouts)}"
        )
    model = family.load(source, DTYPES[dtype] if dtype else None)
    family.merge(model, adapters)
    tokenizer = add_alphabet(model, source, alphabet) if alphabet else None
    for name, tensor in model.state_dict().items():
        if not tensor.isfinite().all():
            raise CheckpointError(f"{source}: {name} is not finite as {dtype or tensor.dtype}", hint=FINITE_HINT)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=target.parent, prefix=f".{target.name}-") as name:
            beside = Path(name) / target.name
            copy_beside(source, beside)
            family.layouts[layout](model, beside, source, shard_bytes)
            if dtype:
                config = _with_dtype(read_json(beside / "config.json"), dtype)
                write_text(beside / "config.json", json.dumps(config, indent=1))
            if tokenizer:
                tokenizer.save(beside / "tokenizer.json")
                config = read_json(beside / "config.json")
                config["decoder_config"]["vocab_size"] = tokenizer.vocab_size
                write_text(beside / "config.json", json.dumps(config, indent=1))
            return _move(beside, target)
    except OSError as error:
        cause = error.strerror or error
        raise CheckpointError(
            f"cannot write {target}: {cause}", hint="is there space, and may you write there?"
        ) from None


def _with_dtype(values: dict[str, Any], dtype: str) -> dict[str, Any]:
    """A configuration that states the new dtype wherever it stated one."""
    changed = {key: _with_dtype(value, dtype) if isinstance(value, dict) else value for key, value in values.items()}
    return changed | {key: dtype for key in DTYPE_KEYS if values.get(key) is not None}


def _move(beside: Path, target: Path) -> list[Path]:
    """Complete files to their place; weights that an earlier model left there go."""
    names = [file.relative_to(beside) for file in sorted(beside.rglob("*")) if file.is_file()]
    for name in names:
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        (beside / name).replace(target / name)
    for stale in target.glob("model*.safetensors*"):
        if stale.relative_to(target) not in names:
            stale.unlink()
    return [target / name for name in names]
