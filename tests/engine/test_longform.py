"""Long-form batches: a script sounds as it would alone, whoever joins, leaves or is cancelled beside it.

And speech that carries on from other speech goes on as if it had never stopped.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from loquor.engine import longform
from loquor.engine.longform import LongformBatch, LongformStream, voice_latents
from loquor.engine.request import LongformFrame, Sampling
from loquor.errors import CapacityError
from loquor.models.longform.model import LongformModel
from loquor.models.longform.prompt import Line, SpecialIds, Spoken, write_prompt
from loquor.text.qwen_tokenizer import QwenTokenizer
from toy_longform import AT_ONCE, NEVER, toy_config, toy_model, toy_waveform

# Latents are around 2. The order of sums differs between batches, and what differs is fed back; a draw, a voice or a
# memory taken from a neighbour would show as differences around 1.
CLOSE = 1e-2
TOKENIZER = QwenTokenizer()
SPECIAL = SpecialIds.of(TOKENIZER)
START, END, FRAME, EOS = SPECIAL.start, SPECIAL.end, SPECIAL.frame, SPECIAL.eos
FAST = Sampling(steps=1)


@lru_cache
def model_of(frames_per_token: float = 0.3, breaks: bool = False, context: int = 65536) -> LongformModel:
    return toy_model(toy_config(context), frames_per_token, breaks, seed=1)


@lru_cache
def voice_of(model: LongformModel, number: int) -> torch.Tensor:
    return voice_latents(model, toy_waveform(0.3 + 0.1 * number, number), seed=0)


@dataclass(frozen=True)
class Plan:
    """A script to be: who says how much in it and how, when it comes, when it is cancelled."""

    voices: int = 1
    words: int = 3
    sampling: Sampling = FAST
    joins: int = 0  # before this step
    cancelled_at: int | None = None  # before this step

    def stream(self, model: LongformModel, **changes: object) -> LongformStream:
        voices = [voice_of(model, number) for number in range(self.voices)]
        lines = [Line(voice, "and then some " * self.words) for voice in range(max(1, self.voices))]
        prompt = write_prompt(TOKENIZER, lines, [len(voice) for voice in voices])
        return LongformStream(prompt, voices, self.sampling, **changes)  # type: ignore[arg-type]


plans = st.builds(
    Plan,
    voices=st.integers(0, 3),
    words=st.integers(0, 4),
    sampling=st.builds(
        Sampling,
        guidance=st.sampled_from([1.0, 1.3, 2.0]),
        steps=st.integers(1, 2),
        seed=st.integers(0, 2**63 - 1),
        stochastic=st.booleans(),
        max_new_tokens=st.none() | st.integers(1, 25),
    ),
    joins=st.integers(0, 8),
    cancelled_at=st.none() | st.integers(0, 15),
)


def alone(model: LongformModel, stream: LongformStream) -> list[LongformFrame]:
    batch, frames = LongformBatch(model, SPECIAL), []
    batch.join(stream)
    while batch.can_speak:
        frames += [frame for _, frame in batch.step()]
    return frames


def together(model: LongformModel, scene: list[Plan]) -> list[tuple[LongformStream, list[LongformFrame]]]:
    """All in one batch, as their plans have it."""
    batch = LongformBatch(model, SPECIAL)
    said: list[tuple[LongformStream, list[LongformFrame]]] = [(plan.stream(model), []) for plan in scene]
    step = 0
    while batch.can_speak or step <= max(plan.joins for plan in scene):
        for plan, (stream, _) in zip(scene, said, strict=True):
            if plan.joins == step:
                batch.join(stream)
            stream.cancelled = plan.cancelled_at is not None and step >= max(plan.joins, plan.cancelled_at)
        for stream, frame in batch.step():
            next(frames for other, frames in said if other is stream).append(frame)
        step += 1
    assert batch.state is None and batch.inputs is None
    return said


def assert_same(frames: list[LongformFrame], expected: list[LongformFrame], tolerance: float = CLOSE) -> None:
    assert len(frames) == len(expected)
    for name in ("latent", "waveform", "features", "condition", "negative_condition"):
        ours, theirs = ([getattr(f, name) for f in each] for each in (frames, expected))
        if ours:
            torch.testing.assert_close(torch.stack(ours), torch.stack(theirs), rtol=0, atol=tolerance)


@given(scene=st.lists(plans, min_size=2, max_size=4))
@settings(max_examples=8)
def test_a_batch_of_many_says_what_each_says_alone(scene: list[Plan]) -> None:
    """Other voices, texts, guidance, steps, seeds and limits; joins, ends, breaks and cancels at any step."""
    model = model_of(breaks=True)
    for plan, (stream, frames) in zip(scene, together(model, scene), strict=True):
        lone = plan.stream(model)
        expected = alone(model, lone)
        if stream.finish == "cancelled":
            assert lone.tokens[: len(stream.tokens)] == stream.tokens
            assert_same(frames, expected[: len(frames)])
        else:
            assert (stream.finish, stream.tokens) == (lone.finish, lone.tokens)
            assert_same(frames, expected)


# Tokens


def test_speech_ends_where_the_model_chooses_to() -> None:
    short, long = (Plan(words=words).stream(model_of()) for words in (1, 30))
    few, many = alone(model_of(), short), alone(model_of(), long)
    assert short.finish == long.finish == "end"
    assert short.tokens == [FRAME] * len(few) + [EOS]
    assert len(few) < len(many)


def test_a_model_may_end_before_it_says_anything() -> None:
    stream = Plan().stream(model_of(AT_ONCE))
    assert alone(model_of(AT_ONCE), stream) == []
    assert (stream.finish, stream.tokens, stream.frames) == ("end", [EOS], 0)


def test_speech_that_is_broken_off_begins_with_empty_memories() -> None:
    """A frame after an end has the sound of a first frame: the same latent gives the same samples and features."""
    model = model_of(NEVER, breaks=True)
    stream = Plan(sampling=Sampling(steps=1, max_new_tokens=60)).stream(model)
    frames = iter(alone(model, stream))
    begins = [True]
    for before, token in zip(stream.tokens, stream.tokens[1:], strict=False):
        begins += [before == START] if token == FRAME else []
    assert 2 <= sum(begins) < len(begins), "this seed breaks off, now and then"
    for is_first in begins:
        frame = next(frames)
        state = model.init_state()
        sound = model.decode(frame.latent[None], state.decoder)
        fresh = torch.allclose(sound[0], frame.waveform, atol=1e-5)
        heard = torch.allclose(model.hear(sound, state.semantic)[0], frame.features, atol=1e-4)
        assert (fresh and heard) == is_first


def test_the_negative_branch_hears_frames_since_the_last_start_and_nothing_else() -> None:
    """Its condition is that of a pass over what the positive branch was given where frames came of it."""
    model = model_of(NEVER, breaks=True)
    stream = Plan(sampling=Sampling(steps=1, max_new_tokens=60)).stream(model)
    frames = iter(alone(model, stream))
    heard, given = [], model.embedding(torch.tensor(START))
    for token in stream.tokens:
        if token == FRAME:
            frame = next(frames)
            heard.append(given)
            condition = model.language_model(torch.stack(heard)[None])[0, -1]
            torch.testing.assert_close(condition, frame.negative_condition, rtol=0, atol=1e-3)
            given = model.embed_speech(frame.latent, frame.features)
        else:
            heard = [] if token == START else heard
            given = model.embedding(torch.tensor(token))
    assert START in stream.tokens


def test_without_guidance_the_head_computes_one_branch(monkeypatch: pytest.MonkeyPatch) -> None:
    model, rows, predict = model_of(NEVER), list[int](), model_of(NEVER).head.predict

    def counted(noisy: torch.Tensor, modulation: tuple[torch.Tensor, ...]) -> torch.Tensor:
        rows.append(len(noisy))
        return predict(noisy, modulation)

    monkeypatch.setattr(model.head, "predict", counted)
    for guidance in (1.0, 1.3):
        alone(model, Plan(sampling=Sampling(guidance, steps=2, max_new_tokens=1)).stream(model))
    assert rows == [1, 1, 2, 2]


def test_of_two_tokens_alike_the_one_with_the_lower_id_is_chosen() -> None:
    model = toy_model(frames_per_token=NEVER)
    assert model.token_head is not None
    model.token_head.weight[[START, END, FRAME, EOS]] = 0.0
    stream = Plan().stream(model)
    alone(model, stream)
    assert stream.tokens == [min(START, END, FRAME, EOS)] == [EOS]


# Limits


@pytest.mark.parametrize("allowed", [1, 7])
def test_the_most_tokens_asked_for_is_a_limit(allowed: int) -> None:
    stream = Plan(sampling=Sampling(steps=1, max_new_tokens=allowed)).stream(model_of(NEVER))
    frames = alone(model_of(NEVER), stream)
    assert (len(frames), stream.finish) == (allowed, "limit")
    assert [f.finish for f in frames] == [None] * (allowed - 1) + ["limit"]


def test_the_prompt_s_length_is_a_limit_and_so_is_the_context() -> None:
    model = model_of(NEVER, context=70)
    by_length, by_context = Plan().stream(model, max_length_times=0.25), Plan().stream(model, max_length_times=100.0)
    prompt = len(by_length.prompt)
    assert len(alone(model, by_length)) == int(0.25 * prompt)
    assert len(alone(model, by_context)) == 70 - prompt > int(0.25 * prompt)
    unlimited = Plan(sampling=Sampling(steps=1, max_new_tokens=3)).stream(model, max_length_times=float("inf"))
    assert len(alone(model, unlimited)) == 3


def test_a_prompt_that_fills_the_context_is_refused() -> None:
    stream = Plan().stream(model_of())
    model = model_of(context=len(stream.prompt))
    batch = LongformBatch(model, SPECIAL)
    with pytest.raises(CapacityError, match=f"the prompt takes {len(stream.prompt)} of the context's"):
        batch.join(stream)
    assert not batch.streams


def test_a_cancelled_stream_says_nothing_more_and_leaves_the_others_alone() -> None:
    model = model_of(NEVER)
    batch, streams = LongformBatch(model, SPECIAL), [Plan().stream(model) for _ in range(3)]
    for stream in streams:
        batch.join(stream)
    batch.step()
    streams[1].cancelled = True
    assert [stream for stream, _ in batch.step()] == [streams[0], streams[2]]
    assert (streams[1].finish, streams[1].frames) == ("cancelled", 1)
    batch.clear()
    assert not batch.can_speak


def test_a_long_prompt_is_read_while_others_speak_and_may_be_cancelled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(longform, "PIECE", 16)
    model = model_of(NEVER)
    batch, talking, reading = LongformBatch(model, SPECIAL), Plan().stream(model), Plan(words=40).stream(model)
    batch.join(talking)
    while not batch.step():
        pass
    batch.join(reading)
    for _ in range(4):
        assert [stream for stream, _ in batch.step()] == [talking]
    reading.cancelled = True
    assert [stream for stream, _ in batch.step()] == [talking]
    assert batch.streams == [talking]


# The prompt


@pytest.mark.parametrize("piece", [1, 7, 64])
def test_a_prompt_read_in_pieces_is_a_prompt_read_at_once(piece: int, monkeypatch: pytest.MonkeyPatch) -> None:
    model, plan = model_of(), Plan(voices=2, words=4)
    spoken = Spoken(torch.randn(9, 8), torch.randn(9, 6))
    monkeypatch.setattr(longform, "PIECE", 10_000)
    expected = alone(model, plan.stream(model, spoken=spoken))
    monkeypatch.setattr(longform, "PIECE", piece)
    assert_same(alone(model, plan.stream(model, spoken=spoken)), expected)


@given(seed=st.integers(0, 2**63 - 1), said=st.integers(0, 12))
@settings(max_examples=8)
def test_speech_carried_on_goes_on_as_if_it_had_never_stopped(seed: int, said: int) -> None:
    """Prompt and the first frames, then one step: the condition, and with the same draws the latent, of the whole run.

    The sound differs: the codec's memory is not part of what is carried on.
    """
    model, plan = model_of(NEVER), Plan(sampling=Sampling(steps=1, seed=seed, max_new_tokens=said + 1))
    whole = alone(model, plan.stream(model))
    spoken = Spoken(
        torch.stack([f.latent for f in whole[:said]]) if said else torch.zeros(0, 8),
        torch.stack([f.features for f in whole[:said]]) if said else torch.zeros(0, 6),
    )
    one = replace(plan, sampling=replace(plan.sampling, max_new_tokens=1))
    (after,) = alone(model, one.stream(model, spoken=spoken, first_frame=said))
    for name in ("condition", "negative_condition", "latent"):
        torch.testing.assert_close(getattr(after, name), getattr(whole[said], name), rtol=0, atol=1e-4)


def test_the_noise_of_a_frame_follows_from_the_seed_and_its_number() -> None:
    model, plan = model_of(), Plan()
    first, second = (alone(model, plan.stream(model, first_frame=number)) for number in (0, 1))
    again = alone(model, plan.stream(model))
    assert torch.equal(first[0].latent, again[0].latent)
    assert torch.equal(first[0].condition, second[0].condition)
    assert not torch.allclose(first[0].latent, second[0].latent, atol=0.1)


def test_a_voice_is_the_same_in_every_cast_and_another_with_another_seed() -> None:
    model, sound = model_of(), toy_waveform(0.3)
    one, same, reseeded = (voice_latents(model, sound.clone(), seed) for seed in (1, 1, 2))
    assert one.shape == (3, 8), "the third frame is not full"
    assert torch.equal(one, same)
    assert not torch.allclose(one, reseeded, atol=1e-3)
    mean = model.encode_voice(sound, torch.tensor(0.0), torch.zeros(3, 8))
    other = voice_latents(model, toy_waveform(0.3, seed=1), 1) - model.encode_voice(
        toy_waveform(0.3, seed=1), torch.tensor(0.0), torch.zeros(3, 8)
    )
    assert not torch.allclose(one - mean, other, atol=1e-3), "each voice has draws of its own"


def test_caches_grow_with_what_is_said_not_with_what_could_be() -> None:
    model = model_of(NEVER)
    batch, stream = LongformBatch(model, SPECIAL), Plan(words=1).stream(model, max_length_times=1000.0)
    batch.join(stream)
    batch.step()
    assert batch.state is not None
    assert batch.state.positive.capacity == len(stream.prompt) + longform.AHEAD
    for _ in range(10):
        batch.step()
    assert batch.state.positive.capacity == len(stream.prompt) + longform.AHEAD


def test_speech_goes_on_in_rough_numbers() -> None:
    model = toy_model(frames_per_token=NEVER).bfloat16()
    frames = alone(model, Plan(voices=2, sampling=Sampling(steps=2, stochastic=True, max_new_tokens=10)).stream(model))
    assert len(frames) == 10
    assert {frame.waveform.dtype for frame in frames} == {torch.float32}
    assert all(torch.isfinite(frame.waveform).all() for frame in frames)
