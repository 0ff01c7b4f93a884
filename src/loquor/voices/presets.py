"""Reader of the published Realtime voice presets: `.pt` archives, pickles by nature, opened as plain data.

A preset holds the caches of a prefilled prompt for four branches: the lower and the upper language model, each with its
negative twin for guidance. What its pickle may name is PRESET_GLOBALS and nothing else; none of it is imported or run.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch import Tensor

from loquor.errors import VoiceError
from loquor.pickles import Record
from loquor.torch_archives import ORDERED_DICT, REBUILD_TENSOR, Archive, Kind, open_archive

MAX_BYTES = 64 * 2**20  # published presets have 2 to 4 MB

BRANCHES = ("lm", "tts_lm", "neg_lm", "neg_tts_lm")

STORAGE = "torch BFloat16Storage"
CACHE = "transformers.cache_utils DynamicCache"
OUTPUT = "transformers.modeling_outputs BaseModelOutputWithPast"
PRESET_GLOBALS = frozenset({ORDERED_DICT, STORAGE, REBUILD_TENSOR, CACHE, OUTPUT})
PRESET = Kind(PRESET_GLOBALS, MAX_BYTES, VoiceError, hint="expected a published Realtime voice preset (.pt)")


def read_preset(path: Path) -> dict[str, Tensor]:
    """A preset's tensors in bfloat16, contiguous: `<branch>.last_hidden_state` [1, P, H], `<branch>.key.<i>` and
    `<branch>.value.<i>` [1, kv_heads, P, head_dim] for branches lm, tts_lm, neg_lm, neg_tts_lm.

    VoiceError if the file is no such archive, is damaged, too large, or names anything it has no business to name.
    """
    with open_archive(path, PRESET) as archive:
        tree = archive.tree
        if not isinstance(tree, dict) or set(tree) != set(BRANCHES):
            raise archive.refusal(f"does not hold exactly {', '.join(BRANCHES)}")
        return {
            f"{branch}.{name}": tensor for branch in BRANCHES for name, tensor in _branch(tree[branch], archive).items()
        }


def _branch(output: Any, archive: Archive) -> dict[str, Tensor]:
    """One branch's tensors: hidden states, then keys and values by layer."""
    fields = output.items if isinstance(output, Record) and output.kind == OUTPUT else {}
    cache = fields.get("past_key_values")
    state = cache.state if isinstance(cache, Record) and cache.kind == CACHE else None
    if "last_hidden_state" not in fields or not isinstance(state, dict):
        raise archive.refusal("has a branch without hidden states and a cache")
    keys, values = state.get("key_cache"), state.get("value_cache")
    if not isinstance(keys, list) or not isinstance(values, list) or len(keys) != len(values):
        raise archive.refusal("has a cache without as many keys as values")
    tensors = {"last_hidden_state": archive.tensor(fields["last_hidden_state"])}
    for i, (key, value) in enumerate(zip(keys, values, strict=True)):
        tensors[f"key.{i}"], tensors[f"value.{i}"] = archive.tensor(key), archive.tensor(value)
    return tensors
