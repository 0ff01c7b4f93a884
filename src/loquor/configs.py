"""Strict configuration: frozen dataclasses filled from a checkpoint's `config.json`.

A missing or unknown key is an error that names the file; what the published files carry without meaning is listed.
"""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Collection, Mapping
from pathlib import Path
from types import UnionType
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

from loquor.errors import CheckpointError, ConfigError

C = TypeVar("C")

LARGEST = 2**24  # size of anything
MOST = 1000  # layers of anything

# What every configuration written by the publishers' library carries, none of it about shapes or arithmetic.
_HF_KEYS = """
    _attn_implementation_autoset _name_or_path add_cross_attention architectures auto_map bad_words_ids
    begin_suppress_tokens bos_token_id chunk_size_feed_forward cross_attention_hidden_size decoder_start_token_id
    diversity_penalty do_sample dtype early_stopping encoder_no_repeat_ngram_size eos_token_id
    exponential_decay_length_penalty finetuning_task forced_bos_token_id forced_eos_token_id id2label
    initializer_range is_decoder is_encoder_decoder label2id length_penalty max_length min_length model_type
    no_repeat_ngram_size num_beam_groups num_beams num_return_sequences output_attentions output_hidden_states
    output_scores pad_token_id prefix problem_type pruned_heads remove_invalid_values repetition_penalty return_dict
    return_dict_in_generate sep_token_id suppress_tokens task_specific_params temperature tf_legacy_loss
    tie_encoder_decoder tie_word_embeddings tokenizer_class top_k top_p torch_dtype torchscript transformers_version
    typical_p use_bfloat16 use_cache
"""
HF_KEYS = frozenset(_HF_KEYS.split())


def read_json(path: Path) -> dict[str, Any]:
    """The object in a JSON file; CheckpointError if there is none."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise CheckpointError(f"{path} does not exist", hint="is this a model folder?") from None
    except (OSError, ValueError, RecursionError) as error:
        raise CheckpointError(f"{path} cannot be read as JSON: {error}") from None
    if not isinstance(value, dict):
        raise CheckpointError(f"{path} holds a {type(value).__name__}, not an object")
    return value


def from_dict(kind: type[C], values: Mapping[str, Any], source: str, ignore: Collection[str] = HF_KEYS) -> C:
    """`kind` filled from `values`; lists become tuples. ConfigError names `source` and the missing or unknown keys."""
    assert dataclasses.is_dataclass(kind)
    known = {f.name: f for f in dataclasses.fields(kind)}
    unknown = sorted(set(values) - set(known) - set(ignore))
    if unknown:
        raise ConfigError(f"{source}: unknown {_keys(unknown)}", hint="was this written for another kind of model?")
    required = {n for n, f in known.items() if f.default is f.default_factory is dataclasses.MISSING}
    missing = sorted(required - set(values))
    if missing:
        raise ConfigError(f"{source}: missing {_keys(missing)}")
    given = {n: tuple(v) if isinstance(v, list) else v for n, v in values.items() if n in known}
    for name, hint in get_type_hints(kind).items():
        if name in given and not _fits(given[name], hint):
            raise ConfigError(f"{source}: {name} has a value of the wrong type: {values[name]!r}")
    try:
        return kind(**given)
    except ConfigError as error:
        raise ConfigError(f"{source}: {error}", hint=error.hint) from None


def _fits(value: object, hint: Any) -> bool:
    """Whether a value of JSON may stand in a field of that type: numbers are finite, truth values are no numbers."""
    if hint is Any:
        return True
    if get_origin(hint) is UnionType:
        return any(_fits(value, option) for option in get_args(hint))
    if get_origin(hint) is tuple:
        return isinstance(value, tuple) and all(_fits(item, get_args(hint)[0]) for item in value)
    if isinstance(value, bool):
        return hint is bool
    if hint is float:
        return isinstance(value, int) or (isinstance(value, float) and math.isfinite(value))
    return isinstance(value, hint)


def section(values: Mapping[str, Any], name: str, source: str) -> Mapping[str, Any]:
    """The object under `name`; ConfigError if it is missing or no object."""
    value = values.get(name)
    if not isinstance(value, Mapping):
        raise ConfigError(f"{source}: {name} must be an object, got {value!r}")
    return value


def require_int(owner: str, minimum: int = 1, maximum: int = LARGEST, **values: object) -> None:
    """ConfigError unless each value is an integer from `minimum` to `maximum`; called by `__post_init__`."""
    for name, value in values.items():
        if isinstance(value, bool) or not isinstance(value, int) or not minimum <= value <= maximum:
            raise ConfigError(f"{owner}.{name} must be an integer from {minimum} to {maximum}, got {value!r}")


def _keys(names: list[str]) -> str:
    return ("key " if len(names) == 1 else "keys ") + ", ".join(names)
