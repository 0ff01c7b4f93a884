"""The batch: a stream says what it would say alone, whoever joins, leaves, waits or is cancelled beside it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from loquor.engine.realtime import RUNAWAY_FACTOR, RUNAWAY_FRAMES, RealtimeBatch, Stream
from loquor.engine.request import RealtimeFrame, Sampling
from loquor.errors import CapacityError, InputError
from loquor.models.realtime.model import RealtimeModel, RealtimeState
from loquor.models.realtime.prompt import voice_state
from loquor.text.tokenizer import Token
from toy import NEVER, VOCABULARY, toy_config, toy_model, toy_voice

# Latents are around 2. The order of sums differs between batches, and what differs is fed back some 20 times: a random
# model doubles it now and then. A draw, a voice or a window taken from a neighbour would show as differences around 1.
CLOSE = 3e-2
VOICES = 3


@lru_cache
def model_of(end_bias: float, context: int = 512) -> RealtimeModel:
    return toy_model(toy_config(context), end_bias)


@lru_cache
def voice_of(model: RealtimeModel, seed: int) -> RealtimeState:
    return voice_state(model, toy_voice(model, seed))


@dataclass(frozen=True)
class Plan:
    """A stream to be: what it says and how, when it comes, how its text arrives, when it is cancelled."""

    voice: int
    sampling: Sampling
    ids: tuple[int, ...]
    joins: int  # before this step
    tokens_per_step: int  # that arrive from then on; the last of them closes the text
    cancelled_after: int | None  # frames

    def stream(self, model: RealtimeModel) -> Stream:
        return Stream(voice_of(model, self.voice), self.sampling)

    def feed(self, stream: Stream, first: int, count: int) -> None:
        """Tokens first to first + count; a token's place in the text is its number."""
        tokens = [Token(self.ids[i], i, i + 1) for i in range(first, min(first + count, len(self.ids)))]
        stream.feed(tokens)
        stream.text_closed = first + count >= len(self.ids)


plans = st.builds(
    Plan,
    voice=st.integers(0, VOICES - 1),
    sampling=st.builds(
        Sampling,
        guidance=st.sampled_from([1.0, 1.3, 2.0]),
        steps=st.integers(1, 3),
        seed=st.integers(0, 2**63 - 1),
        stochastic=st.booleans(),
        temperature=st.sampled_from([0.0, 0.7, 1.0]),
        max_new_tokens=st.integers(3, 30),
    ),
    ids=st.lists(st.integers(0, VOCABULARY - 1), min_size=1, max_size=23).map(tuple),
    joins=st.integers(0, 6),
    tokens_per_step=st.integers(1, 9),
    cancelled_after=st.none() | st.integers(0, 5),
)


def alone(model: RealtimeModel, plan: Plan) -> tuple[Stream, list[RealtimeFrame]]:
    """All text at once, in a batch of its own."""
    batch, stream, frames = RealtimeBatch(model), plan.stream(model), []
    plan.feed(stream, 0, len(plan.ids))
    batch.join(stream)
    while batch.streams:
        frames += [frame for _, frame in batch.step()]
    return stream, frames


def together(model: RealtimeModel, scene: list[Plan]) -> list[tuple[Stream, list[RealtimeFrame]]]:
    """All in one batch, as their plans have it."""
    batch = RealtimeBatch(model)
    spoken: list[tuple[Stream, list[RealtimeFrame]]] = [(plan.stream(model), []) for plan in scene]
    step = 0
    while batch.streams or step <= max(plan.joins for plan in scene):
        for plan, (stream, frames) in zip(scene, spoken, strict=True):
            if plan.joins == step:
                batch.join(stream)
            if plan.joins <= step and not stream.text_closed:
                plan.feed(stream, (step - plan.joins) * plan.tokens_per_step, plan.tokens_per_step)
            stream.cancelled = len(frames) == plan.cancelled_after and not stream.finish and plan.joins <= step
        for stream, frame in batch.step():
            next(frames for other, frames in spoken if other is stream).append(frame)
        step += 1
    assert batch.state is None
    return spoken


def assert_same(frames: list[RealtimeFrame], expected: list[RealtimeFrame], is_cut: bool = False) -> None:
    """Where a stream was cancelled, the model may not have heard its last frame."""
    assert [f.text_end for f in frames] == [f.text_end for f in expected]
    heard = len(frames) - is_cut
    assert [f.finish for f in frames[:heard]] == [f.finish for f in expected[:heard]]
    for name in ("latent", "waveform", "condition", "negative_condition"):
        ours, theirs = ([getattr(f, name) for f in each] for each in (frames, expected))
        if ours:
            torch.testing.assert_close(torch.stack(ours), torch.stack(theirs), rtol=0, atol=CLOSE)


@given(scene=st.lists(plans, min_size=1, max_size=5))
@settings(max_examples=12)
def test_a_batch_of_many_says_what_each_says_alone(scene: list[Plan]) -> None:
    """Other voices, guidance, steps, seeds and solvers; text that comes late; joins, ends and cancels at any frame."""
    model = model_of(-4.0)
    for plan, (stream, frames) in zip(scene, together(model, scene), strict=True):
        alone_stream, expected = alone(model, plan)
        if stream.finish == "cancelled":
            assert len(frames) == plan.cancelled_after  # not one frame more
            assert_same(frames, expected[: len(frames)], is_cut=True)
        else:
            assert stream.finish == alone_stream.finish
            assert_same(frames, expected)


def plan(tokens: int = 7, **changes: object) -> Plan:
    sampling = Sampling(steps=1, max_new_tokens=None)
    whole = Plan(0, sampling, (5,) * tokens, joins=0, tokens_per_step=tokens, cancelled_after=None)
    return replace(whole, **changes)  # type: ignore[arg-type]


def test_a_stream_without_text_waits_and_the_others_go_on() -> None:
    model = model_of(NEVER)
    batch, waiting, talking = RealtimeBatch(model), plan().stream(model), plan().stream(model)
    plan().feed(talking, 0, 7)
    batch.join(waiting)
    batch.join(talking)
    for _ in range(2):
        assert [stream for stream, _ in batch.step()] == [talking]

    plan().feed(waiting, 0, 4)  # not a whole window, and more may come
    assert [stream for stream, _ in batch.step()] == [talking]
    plan().feed(waiting, 4, 1)
    assert not waiting.text_closed
    assert [stream for stream, _ in batch.step()] == [waiting]  # whose first sound goes out before all is fed back
    assert waiting.frames == 1
    assert [stream for stream, _ in batch.step()] == [talking, waiting, talking]


def test_a_batch_in_which_all_wait_has_nothing_to_do() -> None:
    model = model_of(NEVER)
    batch, stream = RealtimeBatch(model), plan().stream(model)
    assert not batch.can_speak
    batch.join(stream)
    assert not batch.can_speak
    assert batch.step() == []
    stream.text_closed = True
    assert batch.can_speak
    stream.text_closed, stream.cancelled = False, True
    assert batch.can_speak  # to let it go
    assert batch.step() == []
    assert batch.streams == []


def test_a_cancelled_stream_says_nothing_more() -> None:
    model = model_of(NEVER)
    batch, stream, other = RealtimeBatch(model), plan().stream(model), plan().stream(model)
    for each in (stream, other):
        plan().feed(each, 0, 7)
        batch.join(each)
    batch.step()
    stream.cancelled = True
    assert [each for each, _ in batch.step()] == [other]
    assert (stream.finish, stream.frames, batch.streams) == ("cancelled", 1, [other])


@pytest.mark.parametrize(
    ("allowed", "frames", "last_is_fed_back"),
    [
        (4, 0, True),
        (5, 1, False),
        (6, 2, False),
        (10, 6, False),
        (11, 6, True),
        (12, 6, True),
        (13, 7, False),
        (40, 34, False),
    ],
)
def test_the_limit_counts_text_and_frames(allowed: int, frames: int, last_is_fed_back: bool) -> None:
    """7 tokens are windows of 5 and 2, with 6 frames between. A frame that crosses the limit is kept, text is not."""
    stream, spoken = alone(model_of(NEVER), plan(7, sampling=Sampling(steps=1, max_new_tokens=allowed)))
    assert (len(spoken), stream.finish) == (frames, "limit")
    assert [f.end_logit is not None for f in spoken][-1:] == [last_is_fed_back][:frames]


def test_the_context_is_a_limit_too() -> None:
    model = model_of(NEVER, context=40)
    stream, frames = alone(model, plan(tokens=5))
    voice = int(voice_of(model, 0).speech.length)
    assert stream.finish == "limit"
    assert len(frames) == 40 - voice - 5 + 1  # the last is not fed back


def test_a_voice_that_fills_the_context_is_refused() -> None:
    model = model_of(NEVER, context=int(voice_of(model_of(NEVER), 0).speech.length) + 5)
    with pytest.raises(CapacityError, match="the voice takes 7 of the context's 12 positions"):
        RealtimeBatch(model).join(plan().stream(model))


@pytest.mark.parametrize("tokens", [1, 6])
def test_an_utterance_that_will_not_end_is_ended(tokens: int) -> None:
    model = model_of(NEVER)
    stream, frames = alone(model, plan(tokens))
    windows = -(-tokens // model.config.text_window)
    assert stream.finish == frames[-1].finish == "runaway"
    assert len(frames) == RUNAWAY_FACTOR * model.config.speech_window * windows + RUNAWAY_FRAMES


def test_an_open_text_is_not_taken_for_a_runaway() -> None:
    model = model_of(NEVER)
    batch, stream = RealtimeBatch(model), plan().stream(model)
    batch.join(stream)
    for _ in range(2):
        stream.feed([Token(5, 0, 1)] * 5)
        assert sum(len(batch.step()) for _ in range(model.config.speech_window)) == model.config.speech_window
        assert batch.step() == []  # the window is said, the next is not there
    assert stream.finish is None


def test_the_end_classifier_may_end_it_before_all_is_read() -> None:
    stream, frames = alone(model_of(100.0), plan(tokens=20))
    assert (stream.finish, len(frames)) == ("end", 1)
    assert frames[0].text_end == 5  # one window


def test_speech_goes_on_in_rough_numbers() -> None:
    model = toy_model(end_bias=NEVER).bfloat16()
    _, frames = alone(model, plan(sampling=Sampling(steps=2, stochastic=True, max_new_tokens=20)))
    assert len(frames) == 14
    assert {frame.waveform.dtype for frame in frames} == {torch.float32}
    assert all(torch.isfinite(frame.waveform).all() for frame in frames)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"guidance": float("nan")}, "guidance must lie in 0 to 20, got nan"),
        ({"guidance": -1.0}, "guidance must lie in 0 to 20"),
        ({"guidance": "2"}, "guidance must lie in 0 to 20, got '2'"),
        ({"guidance": True}, "guidance must lie in 0 to 20, got True"),
        ({"steps": 0}, "steps must be a whole number from 1 to 200, got 0"),
        ({"steps": 201}, "steps must be a whole number from 1 to 200"),
        ({"steps": 2.0}, "steps must be a whole number from 1 to 200, got 2.0"),
        ({"steps": True}, "steps must be a whole number"),
        ({"temperature": -0.1}, "temperature must lie in 0 to 2, got -0.1"),
        ({"temperature": True}, "temperature must lie in 0 to 2, got True"),
        ({"temperature": float("nan")}, "temperature must lie in 0 to 2, got nan"),
        ({"seed": -1}, "seed must be a whole number from 0 to"),
        ({"seed": 2**63}, "seed must be a whole number from 0 to"),
        ({"max_new_tokens": 0}, "max_new_tokens must be a whole number from 1"),
        ({"max_new_tokens": 1.5}, "max_new_tokens must be a whole number from 1"),
    ],
    ids=str,
)
def test_sampling_that_makes_no_sense_is_refused_with_its_value(given: dict[str, object], message: str) -> None:
    with pytest.raises(InputError) as error:
        Sampling(**given)  # type: ignore[arg-type]
    assert message in str(error.value)
