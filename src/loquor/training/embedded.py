"""The embedded voice, stage by stage: codec, latents, speech model, export. One command each, resumable.

    python -m loquor.training.embedded codec --corpus DIR --out DIR
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Annotated

import torch
import typer

from loquor.models.codec import Codec, CodecConfig
from loquor.training.codec import CodecLoss, CodecLossWeights, start_as_filterbank
from loquor.training.data import Corpus
from loquor.training.trainer import Losses, Optimisation, Trainer, step_generator

app = typer.Typer(no_args_is_help=True, add_completion=False)

CODEC = CodecConfig(
    vae_dim=64,
    encoder_ratios=(8, 5, 5),
    encoder_depths=(1, 2, 2, 1),
    decoder_depths="2-2-3-2",
    patch_samples=16,
    encoder_widths=(64, 160, 320, 384),
    decoder_widths=(384, 320, 160, 64),
    ffn_expansion=3,
    layer_scale_init_value=0.25,
)
CROP_SAMPLES = 12 * CODEC.hop_samples  # 1.6 s


@app.command()
def codec(
    corpus: Annotated[Path, typer.Option(help="folder of the synthesised corpus")],
    out: Annotated[Path, typer.Option(help="folder for the training state and curves")],
    steps: Annotated[int, typer.Option(help="optimiser steps")] = 6000,
    batch: Annotated[int, typer.Option(help="excerpts of 1.6 s a step")] = 8,
    learning_rate: float = 1e-3,
    noise: Annotated[float, typer.Option(help="std of the latent noise after its ramp")] = 0.35,
    threads: Annotated[int, typer.Option(help="CPU threads")] = 2,
) -> None:
    """Stage 1: the codec, on audio alone."""
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    model = Codec(CODEC)
    start_as_filterbank(model)
    loss = CodecLoss(CodecLossWeights(noise_end=noise))
    train, valid = Corpus(corpus), Corpus(corpus, "valid")
    options = Optimisation(steps=steps, learning_rate=learning_rate)

    def one_step(step: int, generator: torch.Generator) -> Losses:
        return loss(model, train.crop(generator, CROP_SAMPLES, batch), step, generator)

    @torch.no_grad()
    def validate() -> dict[str, float]:
        generator = step_generator(1, 0)
        losses = [loss(model, valid.crop(generator, CROP_SAMPLES, 8), steps, generator) for _ in range(4)]
        return {k: sum(float(x[k]) for x in losses) / len(losses) for k in losses[0]}

    Trainer(model, out, options).fit(one_step, validate)


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    app()
