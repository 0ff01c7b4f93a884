"""Codebooks for the latents of a codec, fitted to recordings: what makes it a discrete tokenizer.

Book after book, each by k-means (Lloyd 1982) on what the books before leave over. Everything that is drawn follows from
a seed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from loquor.audio.io import read
from loquor.audio.level import normalize_level
from loquor.errors import ConfigError, InputError
from loquor.models import LONGFORM, family_of
from loquor.models.codec import Codec
from loquor.models.speech_tokens.quantised import SAMPLE_RATE_HZ, QuantisedCodec, QuantisedConfig, Quantiser, nearest
from loquor.training.vita.mixture import Mixture

ROUNDS = 25  # of k-means, for each book


@dataclass(frozen=True)
class FitProgress:
    """How far a fit is."""

    work: str  # recordings, then rounds
    done: int
    total: int


Progress = Callable[[FitProgress], None]


def recordings_of(mixture: Mixture) -> list[Path]:
    """The recordings of conversations, each once, in the order they come; conversations that cannot be read are left
    out. InputError if there are none."""
    found: dict[Path, None] = {}
    for number in range(len(mixture)):
        try:
            turns = mixture[number].turns
        except InputError:
            continue
        found |= dict.fromkeys(part for turn in turns for part in turn.parts if isinstance(part, Path))
    if not found:
        raise InputError("the conversations have no recordings", hint="codebooks are fitted to what is heard in them")
    return list(found)


def codec_of(folder: Path) -> Codec:
    """Both halves of the codec of the VibeVoice model in `folder`, in float32; ConfigError if it lacks one."""
    family = family_of(folder)
    model = family.load(folder, torch.float32)
    codec = getattr(model, "codec", None)
    if family is LONGFORM or not isinstance(codec, Codec):
        raise ConfigError(f"{folder} is a {family.name} model", hint="take the codec of a Realtime model")
    if codec.encoder is None:
        raise ConfigError(f"the codec of {folder} has no encoder", hint="`loquor distil` trains one")
    return codec


@dataclass(frozen=True, eq=False)
class Fitted:
    """A tokenizer, the frames it was fitted to, and the share of their variance that it loses."""

    model: QuantisedCodec
    frames: int
    left: float


def fit(codec: Codec, recordings: Sequence[Path], books: int, entries: int, seed: int, progress: Progress) -> Fitted:
    """A tokenizer of so many books, each of so many entries, that says recordings as closely as they can.

    AudioError for a recording that cannot be read, InputError if they have fewer frames than a book has entries.
    """
    model = QuantisedCodec(QuantisedConfig(codec.config, books, entries)).eval()
    model.codec = codec
    latents = torch.cat(list(_encoded(codec, recordings, progress)))
    if len(latents) < entries:
        raise InputError(
            f"{len(recordings)} recordings have {len(latents)} frames, too few for books of {entries} entries",
            hint="give more recordings, or --entries",
        )
    total = books * ROUNDS
    left = fit_books(model.quantiser, latents, seed, lambda done: progress(FitProgress("rounds", done, total)))
    return Fitted(model.requires_grad_(False), len(latents), left)


@torch.no_grad()
def _encoded(codec: Codec, recordings: Sequence[Path], progress: Progress) -> Iterator[Tensor]:
    assert codec.encoder is not None
    for number, recording in enumerate(recordings):
        waveform = normalize_level(read(recording, SAMPLE_RATE_HZ))
        yield codec.encoder(torch.from_numpy(waveform)[None, None])[0]
        progress(FitProgress("recordings", number + 1, len(recordings)))


@torch.no_grad()
def fit_books(quantiser: Quantiser, latents: Tensor, seed: int, progress: Callable[[int], None]) -> float:
    """Fill the books of a quantiser by latents [N, D]; gives the share of their variance that is left over."""
    generator = torch.Generator().manual_seed(seed)
    quantiser.mean.copy_(latents.mean(0))
    rest = latents - quantiser.mean
    whole = rest.square().sum()
    for number, book in enumerate(quantiser.books):
        for done, centres in enumerate(k_means(rest, len(book), generator), 1):
            book.copy_(centres)
            progress(number * ROUNDS + done)
        rest = rest - book[nearest(rest, book)]
    return float(rest.square().sum() / whole)


def k_means(x: Tensor, count: int, generator: torch.Generator) -> Iterator[Tensor]:
    """Centres [count, D] of x [N, D] after each round; one that nothing is near to begins anew at a row of x."""
    centres = x[torch.randperm(len(x), generator=generator)[:count]]
    for _ in range(ROUNDS):
        near = nearest(x, centres)
        sums = torch.zeros_like(centres).index_add_(0, near, x)
        sizes = torch.bincount(near, minlength=count)[:, None]
        others = x[torch.randint(len(x), (count,), generator=generator)]
        centres = torch.where(sizes > 0, sums / sizes.clamp(min=1), others)
        yield centres
