"""A corpus as latents: encoded once, then read by every later stage."""

from __future__ import annotations

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor
from torch.nn import functional as F

from loquor.checkpoints import write_atomically
from loquor.errors import CheckpointError
from loquor.models.codec import Codec
from loquor.training.data import Corpus


def encode_corpus(
    codec: Codec, corpus: Corpus, path: Path, workers: int = 1, progress: Callable[[int], None] | None = None
) -> None:
    """The encoder's means of all utterances, fp16, one after the other, with their ids; nothing if `path` exists."""
    if path.exists():
        return
    assert codec.encoder is not None
    encoder, hop, pieces = codec.encoder, codec.config.hop_samples, list[Tensor]()

    @torch.inference_mode()
    def encode(i: int) -> Tensor:
        if workers > 1:
            torch.set_num_threads(1)
        waveform = corpus.waveform(i)
        padded = F.pad(waveform, (0, -len(waveform) % hop))  # the last frame ends in silence
        mean: Tensor = encoder(padded[None, None])
        return mean[0].half()

    with ThreadPoolExecutor(workers) as pool:
        for latents in pool.map(encode, range(len(corpus))):
            pieces.append(latents)
            if progress:
                progress(len(pieces))
    tensors = {"latents": torch.cat(pieces), "frames": torch.tensor([len(p) for p in pieces])}
    ids = json.dumps([u.id for u in corpus.utterances])
    write_atomically(path, lambda temporary: save_file(tensors, temporary, metadata={"ids": ids}))


class Latents:
    """The encoded utterances of one split, in the order of the corpus."""

    def __init__(self, path: Path, corpus: Corpus) -> None:
        with safe_open(path, framework="pt") as file:
            ids = json.loads(file.metadata()["ids"])
            self.all, frames = file.get_tensor("latents"), file.get_tensor("frames")
        if ids != [u.id for u in corpus.utterances]:
            raise CheckpointError(f"{path} was made from another corpus", hint="delete it to encode again")
        self.frames: list[int] = frames.tolist()
        self.starts: list[int] = [0, *torch.cumsum(frames, 0).tolist()]

    def __getitem__(self, index: int) -> Tensor:
        """[N, D] float32."""
        latents: Tensor = self.all[self.starts[index] : self.starts[index + 1]]
        return latents.float()

    def statistics(self) -> tuple[float, float]:
        """Mean and standard deviation of all values."""
        return float(self.all.float().mean()), float(self.all.float().std())


@torch.no_grad()
def mean_latent(codec: Codec, corpus: Corpus) -> Tensor:
    """The mean of each dimension over a corpus, [D]."""
    assert codec.encoder is not None
    return torch.cat([codec.encoder(corpus.waveform(i)[None, None])[0] for i in range(len(corpus))]).mean(0)


@torch.no_grad()
def centre(codec: Codec, mean: Tensor) -> None:
    """Shift the latent space so that `mean` [D] becomes zero; decoding what was encoded stays the same."""
    assert codec.encoder is not None and codec.decoder is not None
    head, stem = codec.encoder.head, codec.decoder.stem
    assert head.bias is not None and stem.bias is not None and not isinstance(head.bias, torch.nn.Module)
    head.bias.sub_(mean)
    stem.bias.add_(stem.weight.view(stem.weight.shape[0], -1, len(mean)).sum(1) @ mean)
