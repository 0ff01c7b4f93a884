"""The tokenizer of speech that VITA-Audio listens with, published by itself (see `loquor.models.speech_tokens`)."""

from __future__ import annotations

import copy
from collections.abc import Iterator

from loquor.checkpoints import Entry, Files, without_memory
from loquor.evaluation.verification.blocks import IN_BFLOAT16, narrow
from loquor.evaluation.verification.checks import NARROW, NARROW_BOUND, Check, compare
from loquor.evaluation.verification.codec import voiced
from loquor.evaluation.verification.steps import Step
from loquor.models.speech_tokens.glm_tokenizer import GlmTokenizer
from loquor.models.speech_tokens.glm_tokenizer_checkpoint import keys, read_config

SECONDS_SAMPLES = 20_000  # of 16 kHz; the last token is not whole


def blank(files: Files) -> tuple[GlmTokenizer, list[Entry]]:
    """The tokenizer without memory, and how its tensors are made."""
    config = read_config(files.folder)
    with without_memory(files.folder):
        model = GlmTokenizer(config)
    return model, keys(config)


def steps(model: GlmTokenizer, tolerance: float) -> Iterator[Step]:
    """Its layers, then ids."""
    yield Step("layers", lambda: _checks(model, tolerance))


def _checks(model: GlmTokenizer, tolerance: float) -> Iterator[Check]:
    sound = voiced(1, SECONDS_SAMPLES)[0, 0]
    features, sounding = model.features(sound, False)
    hidden = model.hidden(features.to(model.positions), sounding)
    double = copy.deepcopy(model).double().hidden(features.double(), sounding)
    yield compare("layers", "hidden states", "the same in float64", [("", hidden, double)], tolerance)
    low = narrow(model).hidden(features.to(NARROW), sounding)
    yield compare("layers", IN_BFLOAT16, "float32", [("", low, hidden)], NARROW_BOUND)
    ids, exact = model.ids(hidden).tolist(), copy.deepcopy(model).double().ids(double).tolist()
    apart = sum(a != b for a, b in zip(ids, exact, strict=True))
    told = f"{len(ids)} ids, {len(set(ids))} of them different" + (f", {apart} otherwise" if apart else "")
    yield Check("codebook", "ids", "the same in float64", "fail" if 2 * apart > len(ids) else "ok", detail=told)
