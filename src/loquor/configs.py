"""Strict configuration: frozen dataclasses filled from a checkpoint's `config.json`.

A missing or unknown key is an error that names the file; what the published files carry without meaning is listed.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, TypeVar

from loquor.errors import CheckpointError, ConfigError

C = TypeVar("C")

# What every configuration written by the publishers' library carries, none of it about shapes or arithmetic.
HF_KEYS = frozenset(
    "_attn_implementation_autoset _name_or_path add_cross_attention architectures auto_map bad_words_ids begin_suppress_tokens "
    "bos_token_id chunk_size_feed_forward cross_attention_hidden_size decoder_start_token_id diversity_penalty "
    "do_sample dtype early_stopping encoder_no_repeat_ngram_size eos_token_id exponential_decay_length_penalty "
    "finetuning_task forced_bos_token_id forced_eos_token_id id2label initializer_range is_decoder "
    "is_encoder_decoder label2id length_penalty max_length min_length model_type no_repeat_ngram_size "
    "num_beam_groups num_beams num_return_sequences output_attentions output_hidden_states output_scores "
    "pad_token_id prefix problem_type pruned_heads remove_invalid_values repetition_penalty return_dict "
    "return_dict_in_generate sep_token_id suppress_tokens task_specific_params temperature tf_legacy_loss "
    "tie_encoder_decoder tie_word_embeddings tokenizer_class top_k top_p torch_dtype torchscript "
    "transformers_version typical_p use_bfloat16 use_cache".split()
)


def read_json(path: Path) -> dict[str, Any]:
    """The object in a JSON file; CheckpointError if there is none."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise CheckpointError(f"{path} does not exist", hint="is this a model folder?") from None
    except (OSError, ValueError) as error:
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
    try:
        return kind(**given)
    except TypeError as error:
        raise ConfigError(f"{source}: a value has the wrong type: {error}") from None
    except ConfigError as error:
        raise ConfigError(f"{source}: {error}", hint=error.hint) from None


def section(values: Mapping[str, Any], name: str, source: str) -> Mapping[str, Any]:
    """The object under `name`; ConfigError if it is missing or no object."""
    value = values.get(name)
    if not isinstance(value, Mapping):
        raise ConfigError(f"{source}: {name} must be an object, got {value!r}")
    return value


def require_int(owner: str, minimum: int = 1, **values: object) -> None:
    """ConfigError unless each value is an integer of at least `minimum`; called by `__post_init__`."""
    for name, value in values.items():
        if isinstance(value, bool) or not isinstance(value, int) or value < minimum:
            raise ConfigError(f"{owner}.{name} must be an integer of at least {minimum}, got {value!r}")


def _keys(names: list[str]) -> str:
    return ("key " if len(names) == 1 else "keys ") + ", ".join(names)
