"""A stream that is held for some steps says afterwards what it would have said, in every family of models."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from typing import Any

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from loquor.engine.interleaved import InterleavedBatch
from loquor.engine.interleaved_stream import InterleavedStream
from loquor.engine.longform import LongformBatch, LongformStream, voice_latents
from loquor.engine.realtime import RealtimeBatch, Stream
from loquor.engine.request import Sampling
from loquor.engine.sampling import TokenSampling
from loquor.models.longform.prompt import Line, SpecialIds, write_prompt
from loquor.models.realtime.prompt import voice_state
from loquor.text.qwen_tokenizer import QwenTokenizer
from loquor.text.tokenizer import Token
from toy import toy_model, toy_voice
from toy_longform import toy_config as longform_config
from toy_longform import toy_model as longform_model
from toy_longform import toy_waveform
from toy_vita import toy_vita

CLOSE = 1e-2  # of latents around 2: the order of sums differs between batches (see test_batch)
REALTIME, LONGFORM, VITA = toy_model(), longform_model(longform_config(), 0.3, seed=1), toy_vita()
TOKENIZER = QwenTokenizer()
SPECIAL = SpecialIds.of(TOKENIZER)
VOICE = voice_latents(LONGFORM, toy_waveform(0.3, 0), seed=0)

moments = st.lists(st.sets(st.integers(0, 2)), min_size=4, max_size=30)  # who is held, step by step; then nobody


def spoken(batch: Any, streams: Sequence[Any], held: Sequence[set[int]] = ()) -> list[list[Any]]:
    """What each says, held as `held` has it."""
    said: list[list[Any]] = [[] for _ in streams]
    for stream in streams:
        batch.join(stream)
    step = 0
    while batch.streams:
        for i, stream in enumerate(streams):
            stream.held = bool(said[i]) and step < len(held) and i in held[step]  # who has said nothing never is
        before = [len(pieces) for pieces in said]
        if batch.can_speak:
            for stream, piece in batch.step():
                said[next(i for i, each in enumerate(streams) if each is stream)].append(piece)
        for stream, pieces, count in zip(streams, said, before, strict=True):
            assert not (stream.held and len(pieces) > count)
        step += 1
    return said


def assert_same(ours: list[list[Any]], theirs: list[list[Any]]) -> None:
    for mine, other in zip(ours, theirs, strict=True):
        assert len(mine) == len(other)
        for one, two in zip(mine, other, strict=True):
            torch.testing.assert_close(one.latent, two.latent, rtol=0, atol=CLOSE)


def realtime_streams() -> list[Stream]:
    streams = [Stream(voice_state(REALTIME, toy_voice(REALTIME, n)), Sampling(steps=1, seed=n)) for n in range(3)]
    for number, stream in enumerate(streams):
        stream.feed([Token(5 + i, i, i + 1) for i in range(6 + number)])
        stream.text_closed = True
    return streams


def longform_streams() -> list[LongformStream]:
    prompts = [write_prompt(TOKENIZER, [Line(0, "and then some " * words)], [len(VOICE)]) for words in (1, 2, 3)]
    return [LongformStream(prompt, [VOICE], Sampling(steps=1, seed=n)) for n, prompt in enumerate(prompts)]


def vita_streams() -> list[InterleavedStream]:
    sampling = TokenSampling(max_new_tokens=20)
    return [InterleavedStream(torch.arange(3 + number), sampling=sampling) for number in range(3)]


@given(held=moments)
@settings(max_examples=4)
def test_a_realtime_stream(held: list[set[int]]) -> None:
    expected = spoken(RealtimeBatch(REALTIME), realtime_streams())
    assert_same(spoken(RealtimeBatch(REALTIME), realtime_streams(), held), expected)


@given(held=moments)
@settings(max_examples=4)
def test_a_long_form_stream(held: list[set[int]]) -> None:
    expected = spoken(LongformBatch(LONGFORM, SPECIAL), longform_streams())
    assert_same(spoken(LongformBatch(LONGFORM, SPECIAL), longform_streams(), held), expected)


@given(held=moments)
@settings(max_examples=4)
def test_a_reply(held: list[set[int]]) -> None:
    expected = [[*chain(*said)] for said in spoken(InterleavedBatch(VITA), vita_streams())]
    ours = [[*chain(*said)] for said in spoken(InterleavedBatch(VITA), vita_streams(), held)]
    assert ours == expected


def test_one_that_is_held_and_cancelled_is_let_go() -> None:
    for batch, streams in (
        (RealtimeBatch(REALTIME), realtime_streams()),
        (LongformBatch(LONGFORM, SPECIAL), longform_streams()),
        (InterleavedBatch(VITA), vita_streams()),
    ):
        first: Any = streams[0]
        batch.join(first)  # type: ignore[attr-defined]
        for _ in range(3):
            batch.step()  # type: ignore[attr-defined]
        first.held = True
        assert not batch.can_speak  # type: ignore[attr-defined]
        first.cancelled = True
        assert batch.can_speak  # type: ignore[attr-defined]
        batch.step()  # type: ignore[attr-defined]
        assert first.finish == "cancelled" and not batch.streams  # type: ignore[attr-defined]
