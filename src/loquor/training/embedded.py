"""The embedded voice, stage by stage; `loquor train embedded` runs all of them. One command each, resumable:

    python -m loquor.training.corpus   --out CORPUS
    python -m loquor.training.embedded codec   --corpus CORPUS --out RUN/codec
    python -m loquor.training.embedded latents --corpus CORPUS --codec RUN/codec --out RUN/latents
    python -m loquor.training.embedded speech  --corpus CORPUS --latents RUN/latents --out RUN/speech
    python -m loquor.training.embedded decoder --corpus CORPUS --latents RUN/latents --out RUN/decoder
    python -m loquor.training.embedded export  --corpus CORPUS --latents RUN/latents --decoder RUN/decoder \\
        --speech RUN/speech --out MODEL

Every stage hears more speakers with `--other CORPUS`, once for each, always in the same order.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from safetensors.torch import load_file, save_file
from torch import nn

from loquor.checkpoints import write_atomically, write_text
from loquor.configs import read_json
from loquor.engine.voice_making import make_voice
from loquor.models.codec import Codec, CodecConfig
from loquor.models.realtime.checkpoint import export_realtime
from loquor.models.realtime.model import RealtimeConfig, RealtimeModel
from loquor.nn.diffusion_head import DiffusionHeadConfig
from loquor.nn.qwen2 import Qwen2Config
from loquor.text.phoneme_tokenizer import PhonemeTokenizer
from loquor.training.codec import CodecLoss, CodecLossWeights, balance, start_as_filterbank
from loquor.training.data import Corpus, Voices
from loquor.training.latents import Latents, centre, mean_latent
from loquor.training.realtime import RealtimeLossWeights, RealtimeTraining, collate
from loquor.training.speakers import Examples, Speaker, encode_speakers, latents_file, reference_of, speakers
from loquor.training.trainer import Losses, Optimisation, Trainer, batches_by_length, step_generator
from loquor.voices.card import Card

logger = logging.getLogger(__name__)
app = typer.Typer(no_args_is_help=True, add_completion=False, help="Train the embedded voice.")

CODEC = CodecConfig(
    vae_dim=64,
    encoder_ratios=(8, 5, 5),
    encoder_depths=(1, 2, 2, 1),
    decoder_depths="2-2-3-2",
    patch_samples=16,
    encoder_widths=(64, 160, 320, 384),
    decoder_widths=(384, 320, 160, 64),
    ffn_expansion=3,
    layer_scale_init_value=0.1,
)
CROP_SAMPLES = 12 * CODEC.hop_samples  # 1.6 s
DECODER = Qwen2Config(
    hidden_size=256,
    intermediate_size=704,
    num_hidden_layers=3,
    num_attention_heads=4,
    num_key_value_heads=2,
    vocab_size=PhonemeTokenizer().vocab_size,
    max_position_embeddings=1024,
    rope_theta=10_000.0,
)
MODEL = RealtimeConfig(
    text=DECODER,
    speech=replace(DECODER, num_hidden_layers=6),
    codec=CODEC,
    head=DiffusionHeadConfig(hidden_size=256, latent_size=64, head_layers=3),
    text_window=20,  # phonemes; speech of the corpus never outruns 20 of them per 6 frames
    speech_window=6,
    utterance_tokens=13,  # so much text in bytes / 3: what the corpus has no longer examples of is cut
)
LOUDER = 10 ** (4 / 20)  # what is heard, than what was learned from: the level of the corpora is a quiet one
DEFAULTS = {"guidance": 2.0, "steps": 8, "temperature": 0.7}
NEGATIVE_SHARE = 0.1  # of the rows, which train the negative branch
PRESETS = (  # name and origin, of the first corpora
    ("en-Clara_woman", "festival's cmu_us_slt_arctic_hts, a synthetic voice"),
    ("en-Martin_man", "flite's cmu_us_rms, a synthetic voice"),
)

Folder = Annotated[Path, typer.Option(help="folder of the earlier stage, or to write to")]
Workers = Annotated[int, typer.Option(help="parts of a batch computed side by side, a core each")]
Steps = Annotated[int, typer.Option(help="optimiser steps")]
Others = Annotated[list[Path] | None, typer.Option(help="corpus of another speaker, to hear as well; may be repeated")]
Start = Annotated[Path | None, typer.Option(help="folder of an earlier training of this stage, to go on from")]


@app.command()
def codec(  # noqa: PLR0913, PLR0917 - a command's options
    corpus: Folder,
    out: Folder,
    steps: Steps = 3000,
    batch: int = 8,
    workers: Workers = 2,
    other: Others = None,
    start: Start = None,
) -> None:
    """Stage 1: the codec, on audio alone."""
    torch.manual_seed(0)
    model, corpora = Codec(CODEC), [corpus, *(other or ())]
    if start:
        _load_average(model, start)
    else:
        start_as_filterbank(model)
        balance(model, _audio(corpora).crop(step_generator(2, 0), CROP_SAMPLES, batch))
    _train_codec(model, corpora, out, Optimisation(steps=steps, workers=workers), batch)


@app.command()
def decoder(  # noqa: PLR0913, PLR0917 - a command's options
    corpus: Folder,
    latents: Folder,
    out: Folder,
    steps: Steps = 4000,
    batch: int = 8,
    workers: Workers = 2,
    other: Others = None,
    start: Start = None,
) -> None:
    """Stage 2b, beside stage 3 or after it: more steps for the decoder alone; the latents stay what they are."""
    model = Codec(CODEC)
    _load_codec(model, latents, start)
    assert model.encoder is not None and model.decoder is not None
    model.encoder.requires_grad_(False)
    model.decoder.requires_grad_(True)
    options = Optimisation(steps=steps, learning_rate=6e-4, workers=workers)
    _train_codec(model, [corpus, *(other or ())], out, options, batch, noise_steps=1)


@app.command()
def latents(corpus: Folder, codec: Folder, out: Folder, other: Others = None, workers: Workers = 2) -> None:
    """Stage 2: every utterance of every speaker through the encoder, once; the codec is centred on what comes out."""
    model, everyone = Codec(CODEC), speakers([corpus, *(other or ())])
    _load_average(model, codec)
    model.eval()
    out.mkdir(parents=True, exist_ok=True)
    centre(model, torch.stack([mean_latent(model, s.utterances("valid")) for s in everyone]).mean(0))
    write_atomically(out / "codec.safetensors", lambda path: save_file(model.state_dict(), path))
    for split in ("valid", "train"):
        encode_speakers(model, everyone, split, out, workers, _report)
    seen = [s.utterances("train") for s in everyone]
    values = torch.cat([Latents(latents_file(out, s, "train"), u).all for s, u in zip(everyone, seen, strict=True)])
    mean, std = float(values.float().mean()), float(values.float().std())
    phones = sorted({phone for c in seen for u in c.utterances for phone, _ in u.segments})
    write_text(out / "facts.json", json.dumps({"mean": mean, "std": std, "phones": phones}))


@app.command()
def speech(  # noqa: PLR0913, PLR0917 - a command's options
    corpus: Folder,
    latents: Folder,
    out: Folder,
    other: Others = None,
    steps: Steps = 12_000,
    batch: int = 16,
    workers: Workers = 2,
    start: Start = None,
) -> None:
    """Stage 3: language model, diffusion head and end classifier, on latents."""
    torch.manual_seed(0)
    facts, everyone = read_json(latents / "facts.json"), speakers([corpus, *(other or ())])
    train, valid = (Examples(everyone, latents, split, facts) for split in ("train", "valid"))
    training = _training(facts)
    if start:
        _load_average(training, start)
    order = _Order(train.frames, batch)

    def one_step(step: int, part: int, generator: torch.Generator) -> Losses:
        chosen = order.batch(step)[part::workers]
        negative = (torch.rand(len(chosen), generator=generator) < NEGATIVE_SHARE).tolist()
        examples = [train.example(i, generator) for i in chosen]
        return dict(training(collate(examples, MODEL, negative, train.negative_id), generator))

    @torch.no_grad()
    def validate() -> dict[str, float]:
        generator = step_generator(1, 0)
        chosen = list(range(0, len(valid), max(1, len(valid) // 96)))
        groups = [[valid.example(i, generator) for i in chosen[at : at + 16]] for at in range(0, len(chosen), 16)]
        batches = [collate(group, MODEL, [False] * len(group), valid.negative_id) for group in groups]
        return _mean([training(b, generator) for b in batches])

    options = Optimisation(steps=steps, warmup_steps=200, weight_decay=0.05, workers=workers)
    Trainer(training, out, options).fit(one_step, validate)


@app.command()
def export(  # noqa: PLR0913, PLR0917 - a command's options
    corpus: Folder,
    latents: Folder,
    speech: Folder,
    out: Folder,
    other: Others = None,
    decoder: Annotated[Path | None, typer.Option(help="folder of stage 2b, if it ran")] = None,
    dtype: str = "float16",
) -> None:
    """Stage 4: the averaged weights as a checkpoint in the published layout, with tokenizer, voices and defaults."""
    facts = read_json(latents / "facts.json")
    training = _training(facts)
    trainer = Trainer(training, speech, Optimisation(steps=1))
    trainer.resume()
    model = training.model
    _load_codec(model.codec, latents, decoder)
    assert model.codec.decoder is not None
    for parameter in model.codec.decoder.head.parameters():
        parameter.data *= LOUDER
    with trainer.averaged():
        model.eval().requires_grad_(False).to(getattr(torch, dtype))
        export_realtime(model, out)
    tokenizer = PhonemeTokenizer()
    tokenizer.save(out / "tokenizer.json")
    (out / "voices").mkdir(exist_ok=True)
    for (name, source), speaker in zip(PRESETS, [corpus, *(other or ())], strict=False):
        card = Card(name=name, language="en", consent="a synthetic voice", source=source)
        voice = make_voice(model, tokenizer, reference_of(Speaker(speaker), latents, facts), card)
        voice.save(out / "voices" / f"{name}.safetensors")
    write_text(out / "loquor.json", json.dumps({"voice": PRESETS[0][0], **DEFAULTS}))


def _load_average(model: nn.Module, folder: Path) -> None:
    """The averaged weights of an earlier training into `model`."""
    trainer = Trainer(model, folder, Optimisation(steps=1))
    trainer.resume()
    for name, parameter in trainer.parameters.items():
        parameter.data.copy_(trainer.ema[name])


def _load_codec(codec: Codec, latents: Path, decoder: Path | None) -> None:
    """What made the latents, and the decoder of a stage 2b, if it ran."""
    codec.load_state_dict(load_file(latents / "codec.safetensors"))
    if decoder:
        _load_decoder(codec, decoder)


def _load_decoder(codec: Codec, folder: Path) -> None:
    """The averaged weights of stage 2b into `codec`."""
    assert codec.decoder is not None
    codec.requires_grad_(False)
    codec.decoder.requires_grad_(True)
    trainer = Trainer(codec, folder, Optimisation(steps=1))
    trainer.resume()
    for name, parameter in trainer.parameters.items():
        parameter.data.copy_(trainer.ema[name])
    codec.decoder.requires_grad_(False)


def _train_codec(
    model: Codec,
    corpora: Sequence[Path],
    out: Path,
    options: Optimisation,
    batch: int,
    noise_steps: int = 2000,
) -> None:
    loss, train = CodecLoss(CodecLossWeights(noise_steps=noise_steps)), _audio(corpora)
    valid = [Corpus(corpus, "valid") for corpus in corpora]

    def one_step(step: int, part: int, generator: torch.Generator) -> Losses:
        waveform = train.crop(generator, CROP_SAMPLES, batch // options.workers)
        return dict(loss(model, waveform, step, generator))

    @torch.no_grad()
    def validate() -> dict[str, float]:
        generator = step_generator(1, 0)
        crops = [corpus.crop(generator, CROP_SAMPLES, 8) for corpus in valid for _ in range(max(1, 4 // len(valid)))]
        return _mean([loss(model, crop, options.steps, generator) for crop in crops])

    Trainer(model, out, options).fit(one_step, validate)


def _audio(corpora: Sequence[Path]) -> Corpus | Voices:
    """What a codec hears: one speaker, or many and some more."""
    heard = [Corpus(folder) for folder in corpora]
    return Voices(heard) if len(heard) > 1 else heard[0]


class _Order:
    """Which utterances a step sees: every one once an epoch, in batches of similar length."""

    def __init__(self, lengths: list[int], batch: int) -> None:
        self.steps = -(-len(lengths) // batch)
        self.epoch = lru_cache(maxsize=2)(lambda epoch: list(batches_by_length(lengths, batch, epoch)))

    def batch(self, step: int) -> list[int]:
        epoch, at = divmod(step, self.steps)
        return self.epoch(epoch)[at]


def _training(facts: dict[str, Any]) -> RealtimeTraining:
    """The model to train; the codec is frozen and the scale of the latents known."""
    model = RealtimeModel(MODEL)
    model.latent_scale.scale.fill_(1 / facts["std"])
    model.latent_scale.bias.fill_(-facts["mean"])
    model.codec.requires_grad_(False)
    return RealtimeTraining(model, len(facts["phones"]), RealtimeLossWeights())


def _mean(losses: list[Losses]) -> dict[str, float]:
    return {k: sum(float(x[k]) for x in losses) / len(losses) for k in losses[0]}


def _report(total: int) -> Callable[[int], None]:
    def report(done: int) -> None:
        if done % 1000 == 0 or done == total:
            logger.info("%d of %d utterances encoded", done, total)

    return report


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    app()
