"""A long-form model: its components, and speech from end to end (see `loquor.models.longform`)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
from torch import Tensor

from loquor.engine.dialogue import DialogueSpeaker
from loquor.engine.longform import LongformBatch, LongformStream, voice_latents
from loquor.engine.request import LongformFrame, Sampling
from loquor.evaluation.verification import blocks, codec
from loquor.evaluation.verification.blocks import POSITIONS, ROWS, drawn_ids
from loquor.evaluation.verification.checks import Check, compare
from loquor.evaluation.verification.sound import heard
from loquor.evaluation.verification.steps import Step
from loquor.evaluation.verification.tokenizer import fitting_tokenizer
from loquor.models.longform.model import LongformModel
from loquor.models.longform.prompt import Prompt, SpecialIds

WHOLE = "end to end"
SENTENCE = "Speaker 1: Good morning."
TEXTS = (11, 6)  # tokens of two made-up scripts
FRAMES = 6  # of each
MOST_FRAMES = 60  # of a sentence
VOICE_FRAMES = 3
FEEDBACK = 100.0  # times the tolerance: each frame is made of those before it, and small differences grow


def steps(model: LongformModel, folder: Path, tolerance: float) -> Iterator[Step]:
    """Every component, then the whole."""
    ids = drawn_ids(model.config.decoder.vocab_size, ROWS, POSITIONS)
    yield Step(
        "language_model",
        lambda: blocks.decoder("language_model", model.language_model, model.embedding(ids), tolerance),
    )
    for name, connector in (("connector", model.connector), ("semantic_connector", model.semantic_connector)):
        yield Step(name, lambda name=name, part=connector: blocks.connector(name, part, tolerance))  # type: ignore[misc]
    yield Step("head", lambda: blocks.diffusion_head("head", model.head, tolerance))
    yield Step("latent_scale", lambda: blocks.latent_scale("latent_scale", model.latent_scale, tolerance))
    yield from codec.steps("codec", model.codec, tolerance)
    yield from codec.steps("semantic_codec", model.semantic_codec, tolerance)
    yield Step(WHOLE, lambda: speech(model, folder, FEEDBACK * tolerance))


class FramesOnly(LongformBatch):
    """Streams that choose a frame each time: what else a model would choose is not the question here."""

    def _tokens(self, positive: Tensor) -> list[int]:
        return [self.special.frame] * len(positive)


def speech(model: LongformModel, folder: Path, tolerance: float) -> Iterator[Check]:
    """Two scripts in one batch and alone; then a sentence, if there is a tokenizer for it."""
    together = spoken(model, range(len(TEXTS)))
    alone = [spoken(model, [number])[0] for number in range(len(TEXTS))]
    pairs = [
        (f"script {i + 1}, {name}", _stacked(a, name), _stacked(b, name))
        for i, (a, b) in enumerate(zip(together, alone, strict=True))
        for name in ("latent", "waveform", "features")
    ]
    yield compare(WHOLE, "two scripts in a batch", "each alone", pairs, tolerance)
    yield heard(WHOLE, "made-up ids are spoken", _stacked(together[0], "waveform"))
    if fitting_tokenizer(folder, model):
        yield _sentence(model, folder)


def _stacked(frames: Sequence[LongformFrame], name: str) -> Tensor:
    return torch.stack([getattr(frame, name).float() for frame in frames])


def spoken(model: LongformModel, numbers: Sequence[int]) -> list[list[LongformFrame]]:
    """The frames of some of the made-up scripts, all in one batch; each has a voice."""
    frame, start, end, eos = range(4)
    batch, frames, streams = FramesOnly(model, SpecialIds(start, end, frame, eos)), list[list[LongformFrame]](), []
    for number in numbers:
        ids = drawn_ids(model.config.decoder.vocab_size, VOICE_FRAMES + TEXTS[number], seed=number)
        is_voice = torch.arange(len(ids)) < VOICE_FRAMES
        sound = codec.voiced(1, VOICE_FRAMES * model.config.hop_samples)[0, 0]
        stream = LongformStream(
            Prompt(ids, is_voice),
            [voice_latents(model, sound, seed=number)],
            Sampling(steps=2, seed=number, max_new_tokens=FRAMES),
        )
        batch.join(stream)
        streams.append(stream)
        frames.append([])
    while batch.can_speak:
        for stream, one in batch.step():
            frames[streams.index(stream)].append(one)
    return frames


def _sentence(model: LongformModel, folder: Path) -> Check:
    """Text to speech as a user has it, in a voice that the model makes up."""
    what = f"says {SENTENCE!r}"
    speaker = DialogueSpeaker(model, folder)
    sound, finish = list[Tensor](), "cut off"
    for chunk in speaker.stream(SENTENCE):
        sound.append(chunk.waveform)
        if len(sound) >= MOST_FRAMES:
            break
    else:
        finish = "ended by itself"
    waveform = torch.cat(sound) if sound else torch.zeros(0)
    return heard(WHOLE, what, waveform, f"{len(waveform) / speaker.sample_rate_hz:.1f} s, {finish}")
