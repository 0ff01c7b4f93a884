"""A VITA-Audio model, base or Plus: backbone, prediction modules, what hears, and tokens from end to end."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import cast

import torch
from torch import Tensor

from loquor.engine.interleaved import InterleavedBatch
from loquor.engine.interleaved_stream import InterleavedStream
from loquor.engine.sampling import TokenSampling
from loquor.evaluation.verification import blocks, plain
from loquor.evaluation.verification.blocks import (
    ALONE,
    CUTS,
    IN_BFLOAT16,
    POSITIONS,
    ROWS,
    WHOLE,
    drawn,
    drawn_ids,
    narrow,
)
from loquor.evaluation.verification.checks import NARROW, NARROW_BOUND, Check, compare
from loquor.evaluation.verification.steps import Step
from loquor.models.vita.model import Predictor, VitaModel
from loquor.models.vita.schedule import BOOST, VANILLA, Schedule
from loquor.models.vita.sensevoice import Listener
from loquor.nn.ragged import Feed

END_TO_END = "end to end"
PROMPTS = (9, 5)  # ids of two requests
NEW_TOKENS = 24
AUDIO_ROWS = (17, 9)  # rows of features of two audios


def steps(model: VitaModel, folder: Path, tolerance: float) -> Iterator[Step]:
    """Every component, then the whole."""
    ids = drawn_ids(model.config.vocab_size, ROWS, POSITIONS)
    name = "language_model"
    yield Step(name, lambda: blocks.decoder(name, model.language_model, model.embedding(ids), tolerance))
    yield Step(name, lambda: iter([cached(model, ids, -1, tolerance)]))
    for module in range(model.config.modules):
        yield Step(f"predictors.{module}", partial(predictor, model, module, ids, tolerance))
    if model.listener is not None:
        listener = model.listener
        yield Step("listener", lambda: listening(listener, tolerance))
    yield Step(END_TO_END, lambda: generation(model))


def predictor(model: VitaModel, module: int, ids: Tensor, tolerance: float) -> Iterator[Check]:
    """A module's mixing of hidden states and embeddings, its layer, and both on the cache that generation uses."""
    name, part = f"predictors.{module}", cast(Predictor, model.predictors[module])
    embedded = model.embedding(ids)
    hidden = drawn(*embedded.shape, seed=module).to(embedded)
    mixed = part.mix(embedded, hidden)
    plainly = plain.linear(
        part.projection,
        torch.cat([plain.norm(part.embedding_norm, embedded), plain.norm(part.hidden_norm, hidden)], -1),
    )
    yield compare(name, "mixing", blocks.FORMULA, [("", mixed, plainly)], tolerance)
    yield from blocks.decoder_layers(name, [part.layer], model.language_model, mixed, tolerance, first=module + 1)
    yield cached(model, ids, module, tolerance)


def cached(model: VitaModel, ids: Tensor, module: int, tolerance: float) -> Check:
    """The backbone (-1) or a module in the slots of a cache, in pieces, two requests at once, against all at once."""
    name = "language_model" if module < 0 else f"predictors.{module}"
    embedded = model.embedding(ids)
    hidden = drawn(*embedded.shape, seed=module).to(embedded)
    whole = model(embedded) if module < 0 else model.predict(module, embedded, hidden)
    caches, done, pieces = model.init_caches(ROWS, POSITIONS), 0, list[Tensor]()
    for count in CUTS:
        where = model.plan([Feed(slot, done, count) for slot in range(ROWS)])
        new, old = (t[:, done : done + count].reshape(-1, t.shape[-1]) for t in (embedded, hidden))
        out = model.read(new, where, caches) if module < 0 else model.predict_on(module, new, old, where, caches)
        pieces.append(out.view(ROWS, count, -1))
        done += count
    return compare(name, "in slots of a cache", WHOLE, [("", torch.cat(pieces, 1), whole)], tolerance)


def listening(listener: Listener, tolerance: float) -> Iterator[Check]:
    """Features of two audios of different length."""
    size, dtype = listener.encoder.config.input_size, listener.projection.out.weight.dtype
    audios = [drawn(rows, size, seed=rows).to(dtype) for rows in AUDIO_ROWS]
    together, alone = listener(audios), torch.cat([listener([audio]) for audio in audios])
    yield compare("listener", "in a batch", ALONE, [("", together, alone)], tolerance)
    double = copy.deepcopy(listener).double()([audio.double() for audio in audios])
    yield compare("listener", "embeddings", "the same in float64", [("", together, double)], tolerance)
    low = narrow(listener)([audio.to(NARROW) for audio in audios])
    yield compare("listener", IN_BFLOAT16, "float32", [("", low, together)], NARROW_BOUND)


def generation(model: VitaModel) -> Iterator[Check]:
    """Greedy tokens: in a batch and alone, and with the modules' proposals checked as without modules."""
    prompts = [drawn_ids(model.config.vocab_size, count, seed=count) for count in PROMPTS]
    alone = [_said(model, [prompt], BOOST)[0] for prompt in prompts]
    yield _same("two requests in a batch", "each alone", _said(model, prompts, BOOST), alone)
    if model.config.modules:
        backbone = _said(model, prompts, VANILLA)
        verified = _said(model, prompts, BOOST, is_verified=True)
        yield _same("checked proposals of the modules", "the backbone alone", verified, backbone)


def _said(
    model: VitaModel, prompts: Sequence[Tensor], schedule: Schedule, is_verified: bool = False
) -> list[list[int]]:
    batch = InterleavedBatch(model)
    sampling = TokenSampling(max_new_tokens=NEW_TOKENS)
    streams = [InterleavedStream(prompt, schedule, sampling, is_verified=is_verified) for prompt in prompts]
    for stream in streams:
        batch.join(stream)
    while batch.can_speak:
        batch.step()
    return [stream.tokens for stream in streams]


def _same(what: str, against: str, found: list[list[int]], wanted: list[list[int]]) -> Check:
    """Tokens are the same or they are not."""
    for number, (a, b) in enumerate(zip(found, wanted, strict=True), 1):
        if a != b:
            place = next((i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))
            return Check(END_TO_END, what, against, "fail", detail=f"request {number}, token {place + 1} differs")
    return Check(END_TO_END, what, against, detail=f"{sum(map(len, wanted))} tokens")
