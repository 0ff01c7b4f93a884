"""Latents: does the model's scale fit them, and are all of them numbers? One pass over the whole set."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch

from loquor.checkpoints import Files
from loquor.models.longform.checkpoint import LAYOUTS
from loquor.models.longform.model import LongformModel
from loquor.training.checkup.findings import Case, Figure, Finding, counted, some
from loquor.training.recipes.options import LongformOptions

NEAR, FAR = 1.5, 3.0  # times the std that a model expects, 1: to be looked at, and wrong
OFF_CENTRE = 1.0  # standard deviations


@dataclass(frozen=True)
class Scan:
    """What one pass over the latents of all items has shown."""

    mean: float  # of those that are finite, not normalised
    std: float
    broken: tuple[str, ...]  # ids of items with NaN or infinity, in latents, features or voices
    still: tuple[str, ...]  # ids of items that never change
    silent_features: int  # items whose semantic features are all zero
    prints: tuple[str, ...]  # of each item's latents: the same for the same


def scan(case: Case) -> Scan:
    """CheckpointError if a shard is damaged."""
    total, squares, count = 0.0, 0.0, 0
    broken, still, prints, silent = list[str](), list[str](), list[str](), 0
    for item in case.data:
        means, features = item.speech.means, item.speech.features
        prints.append(hashlib.blake2b(means.numpy().tobytes(), digest_size=8).hexdigest())
        tensors = [means, *(voice.means for voice in item.voices), *([] if features is None else [features])]
        if not all(torch.isfinite(tensor).all() for tensor in tensors):
            broken.append(item.record.id)
            continue
        if len(means) > 1 and not (means - means[:1]).any():
            still.append(item.record.id)
        silent += features is not None and not features.any()
        exact = means.double()
        total, squares, count = total + float(exact.sum()), squares + float((exact**2).sum()), count + means.numel()
    mean = total / max(count, 1)
    std = math.sqrt(max(squares / max(count, 1) - mean**2, 0.0))
    return Scan(mean, std, tuple(broken), tuple(still), silent, tuple(prints))


def latent_scale(folder: Path) -> Iterator[Finding]:
    """As the files of a model have it: without one, some models cannot even be opened."""
    files = Files(folder)
    known = [layout.names for layout in LAYOUTS.values()]  # Realtime's names are those of the original layout
    names = next((names for names in known if names.scale in files.where and names.bias in files.where), None)
    advice = "no latent can be normalised: take the model from where it is sound, see `loquor doctor -m MODEL`"
    if names is None:
        detail = f"the files of {folder} lack {known[0].scale} or {known[0].bias}"
        yield Finding("latent scale", "fail", detail, advice)
        return
    scale, bias = float(files[names.scale]), float(files[names.bias])
    detail = f"(latent {bias:+.4g}) * {scale:.4g}"
    if math.isfinite(scale) and math.isfinite(bias) and scale != 0:
        yield Finding("latent scale", "ok", detail, figures={"scale": scale, "bias": bias})
    else:
        yield Finding("latent scale", "fail", detail, advice, {"scale": str(scale), "bias": str(bias)})


def latents(case: Case, found: Scan) -> Iterator[Finding]:
    """Numbers, and their size once normalised."""
    total = len(case.data)
    if found.broken:
        detail = f"NaN or infinity in {counted(len(found.broken), 'item')} of {total}: {some(found.broken)}"
        advice = "one of them spoils every weight: loquor data prepare --restart"
        yield Finding("latents", "fail", detail, advice, {"broken": len(found.broken)}, found.broken)
        return
    if found.still:
        detail = f"every frame is the same in {counted(len(found.still), 'item')} of {total}: {some(found.still)}"
        advice = "they hold no speech: listen to their recordings, and prepare the data again without them"
        yield Finding("latents", "fail", detail, advice, {"still": len(found.still)}, found.still)
        return
    yield _size(case, found)


def _size(case: Case, found: Scan) -> Finding:
    scale, bias = float(case.model.latent_scale.scale), float(case.model.latent_scale.bias)
    std, mean = abs(found.std * scale), (found.mean + bias) * scale
    detail = f"all finite; normalised they have std {std:.2f} and mean {mean:+.2f}"
    figures: dict[str, Figure] = {"std": round(std, 4), "mean": round(mean, 4)}
    advice = f"the model expects 1 and 0: prepare the data with the codec of {case.folder}, or mend its latent scale"
    if not 1 / FAR <= std <= FAR:
        return Finding("latents", "fail", detail, advice, figures)
    if not 1 / NEAR <= std <= NEAR or abs(mean) > OFF_CENTRE:
        return Finding("latents", "warn", detail, advice, figures)
    return Finding("latents", "ok", detail, figures=figures)


def features(case: Case, found: Scan) -> Iterator[Finding]:
    """What a long-form model hears of the meaning; a community trainer gives it zeros by mistake."""
    if not isinstance(case.model, LongformModel) or "features" not in case.data.facts.channels:
        return
    assert isinstance(case.recipe.loss, LongformOptions)
    total, name = len(case.data), "semantic features"
    figures: dict[str, Figure] = {"silent": found.silent_features}
    if found.silent_features:
        detail = f"all zero in {counted(found.silent_features, 'item')} of {total}"
        advice = "the semantic encoder did not run: loquor data prepare --restart"
        yield Finding(name, "fail", detail, advice, figures)
    elif case.recipe.loss.zero_semantics:
        advice = "only for adapters of the community's fine-tuner: loss.zero_semantics=false"
        yield Finding(name, "warn", "the recipe replaces them by zeros", advice, figures)
    else:
        yield Finding(name, "ok", f"there are some in all {counted(total, 'item')}", figures=figures)
