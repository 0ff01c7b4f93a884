"""A Realtime model: its components, and speech from end to end (see `loquor.models.realtime`)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import cast

import torch
from torch import Tensor

from loquor.engine.realtime import RealtimeBatch, Stream
from loquor.engine.request import RealtimeFrame, Sampling
from loquor.engine.speaker import Speaker
from loquor.errors import LoquorError
from loquor.evaluation.verification import blocks, codec
from loquor.evaluation.verification.blocks import POSITIONS, ROWS, drawn, drawn_ids
from loquor.evaluation.verification.checks import Check, compare
from loquor.evaluation.verification.sound import heard
from loquor.evaluation.verification.steps import Step
from loquor.evaluation.verification.tokenizer import fitting_tokenizer
from loquor.models.realtime.model import TEXT_TYPE, RealtimeModel, RealtimeState
from loquor.models.realtime.prompt import prefill, voice_state
from loquor.text.tokenizer import TextTokenizer, Token

WHOLE = "end to end"
SENTENCE = "Good morning."
TOKENS = (8, 3)  # of two made-up texts: two windows, and one that is not full
VOICE_TOKENS, VOICE_FRAMES = 5, 4
MOST = 20  # tokens and frames of each
FEEDBACK = 100.0  # times the tolerance: each frame is made of those before it, and small differences grow


def steps(model: RealtimeModel, folder: Path, tolerance: float) -> Iterator[Step]:
    """Every component, then the whole."""
    ids = drawn_ids(model.config.text.vocab_size, ROWS, POSITIONS)

    def embedded() -> Tensor:
        return cast(Tensor, model.embedding(ids))

    yield Step("text_model", lambda: blocks.decoder("text_model", model.text_model, embedded(), tolerance))
    yield Step(
        "speech_model",
        lambda: blocks.decoder(
            "speech_model", model.speech_model, embedded() + model.types.weight[TEXT_TYPE], tolerance
        ),
    )
    yield Step("connector", lambda: blocks.connector("connector", model.connector, tolerance))
    yield Step("head", lambda: blocks.diffusion_head("head", model.head, tolerance))
    yield Step("end_classifier", lambda: blocks.end_classifier("end_classifier", model.end_classifier, tolerance))
    yield Step("latent_scale", lambda: blocks.latent_scale("latent_scale", model.latent_scale, tolerance))
    yield from codec.steps("codec", model.codec, tolerance)
    yield Step(WHOLE, lambda: speech(model, folder, FEEDBACK * tolerance))


def speech(model: RealtimeModel, folder: Path, tolerance: float) -> Iterator[Check]:
    """Two texts in one batch and alone; then a sentence, if there is a tokenizer and a voice for it."""
    voice = voice_state(model, _made_up_voice(model))
    vocabulary = model.config.text.vocab_size
    texts = [drawn_ids(vocabulary, count, seed=count).tolist() for count in TOKENS]
    together = spoken(model, voice, texts)
    alone = [spoken(model, voice, [text])[0] for text in texts]
    names = ("latent", "waveform", "condition")
    pairs = [
        (f"text {i + 1}, {name}", _stacked(a, name), _stacked(b, name))
        for i, (a, b) in enumerate(zip(together, alone, strict=True))
        for name in names
    ]
    yield compare(WHOLE, "two texts in a batch", "each alone", pairs, tolerance)
    yield heard(WHOLE, "made-up ids are spoken", _stacked(together[0], "waveform"))
    tokenizer = fitting_tokenizer(folder, model)
    if tokenizer:
        yield _sentence(model, folder, tokenizer)


def _stacked(frames: Sequence[RealtimeFrame], name: str) -> Tensor:
    return torch.stack([cast(Tensor, getattr(frame, name)).float() for frame in frames])


def _made_up_voice(model: RealtimeModel) -> dict[str, Tensor]:
    ids = drawn_ids(model.config.text.vocab_size, 1, VOICE_TOKENS, seed=1)
    latents = drawn(1, VOICE_FRAMES, model.config.latent_size).to(model.types.weight)
    return prefill(model, ids, latents, negative_id=1)


def spoken(model: RealtimeModel, voice: RealtimeState, texts: Sequence[Sequence[int]]) -> list[list[RealtimeFrame]]:
    """The frames of each text, all in one batch."""
    batch, frames = RealtimeBatch(model), list[list[RealtimeFrame]]()
    streams = []
    for ids in texts:
        stream = Stream(voice, Sampling(steps=2, seed=len(ids), max_new_tokens=MOST), text_closed=True)
        stream.feed([Token(i, 0, 0) for i in ids])
        batch.join(stream)
        streams.append(stream)
        frames.append([])
    while batch.streams:
        for stream, frame in batch.step():
            frames[streams.index(stream)].append(frame)
    return frames


def _sentence(model: RealtimeModel, folder: Path, tokenizer: TextTokenizer) -> Check:
    """Text to speech as a user has it."""
    what = f"says {SENTENCE!r}"
    try:
        said = Speaker(model, tokenizer, folder).speak(SENTENCE)
    except LoquorError as error:
        return Check(WHOLE, what, "a sound", "warn", detail=str(error))
    return heard(WHOLE, what, said.waveform, f"{said.seconds:.1f} s, ended by {said.finish}")
