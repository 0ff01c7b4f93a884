"""What a checkpoint's generation_config.json says of how it wants to be used: schedule, sampling, and ids that end."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from loquor.configs import read_json
from loquor.engine.sampling import TokenSampling
from loquor.errors import ConfigError, InputError
from loquor.models.vita.schedule import Schedule

FILE = "generation_config.json"
SAMPLED = {"temperature": 1.0, "top_k": 50, "top_p": 1.0}  # what the file's library assumes where it says nothing


@dataclass(frozen=True)
class GenerationDefaults:
    """How a model is used unless a request says otherwise."""

    schedule: Schedule
    sampling: TokenSampling
    eos: tuple[int, ...]

    @classmethod
    def read(cls, folder: Path, modules: int) -> GenerationDefaults:
        """Those of the model in `folder`, which has so many modules; ConfigError names a value that cannot be used.

        As published, greedy requests keep the repetition penalty, and a file without a schedule means one backbone
        token, then one of each module.
        """
        path = folder / FILE
        values = read_json(path) if path.exists() else {}
        names = ["repetition_penalty", *(SAMPLED if values.get("do_sample") else ())]
        given = {name: values.get(name, SAMPLED.get(name)) for name in names}
        if not values.get("do_sample"):
            given["temperature"] = 0.0
        try:
            sampling = TokenSampling(**{name: value for name, value in given.items() if value is not None})
            schedule = Schedule.of(values.get("mtp_inference_mode") or [1, modules])
        except (ConfigError, InputError) as error:
            raise ConfigError(f"{path}: {error}", hint=error.hint) from None
        return cls(schedule, sampling, _eos(values, path) or _eos(read_json(folder / "config.json"), path))


def _eos(values: Mapping[str, Any], path: Path) -> tuple[int, ...]:
    given = values.get("eos_token_id")
    ids = given if isinstance(given, list) else [] if given is None else [given]
    if not all(isinstance(i, int) and not isinstance(i, bool) and i >= 0 for i in ids):
        raise ConfigError(f"{path}: eos_token_id must be an id or a list of ids, got {given!r}")
    return tuple(ids)
