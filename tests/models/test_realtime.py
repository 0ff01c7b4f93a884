"""Training lays out at once what generation does step by step: the same windows, the same conditions."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from loquor.engine.realtime import RealtimeBatch, Stream
from loquor.engine.request import RealtimeFrame, Sampling
from loquor.errors import ConfigError
from loquor.models.realtime.model import RealtimeModel, RealtimeState
from loquor.models.realtime.prompt import interleave, prefill, voice_state
from loquor.text.tokenizer import Token
from loquor.training.realtime import Example, RealtimeLossWeights, RealtimeTraining, collate
from toy import NEGATIVE_ID, NEVER, VOCABULARY, toy_config, toy_model

CLOSE = 2e-5  # states are around 1, through five layers: only the order of sums differs


class Watched(RealtimeModel):
    """Notes where in the upper layers' sequence each token and each frame comes to stand."""

    def watch(self) -> Watched:
        self.text_at: list[int] = []
        self.speech_at: list[int] = []
        return self

    def read(self, ids: Tensor, state: RealtimeState, lengths: Tensor | None = None) -> None:
        before = int(state.speech.length)
        super().read(ids, state, lengths)
        self.text_at += range(before, int(state.speech.length))

    def hear(self, latent: Tensor, state: RealtimeState, *text: Tensor | None) -> Tensor:
        self.speech_at.append(int(state.speech.length))
        return super().hear(latent, state, *text)


def watched(text_window: int, speech_window: int) -> Watched:
    model = Watched(replace(toy_config(), text_window=text_window, speech_window=speech_window))
    model.load_state_dict(toy_model(end_bias=NEVER).state_dict())
    return model.eval().requires_grad_(False).watch()


def speak(
    model: RealtimeModel, prompt: Tensor, ids: list[int], frames: int, reference: Tensor | None = None
) -> list[RealtimeFrame]:
    """So many frames, after a prompt of text and perhaps of speech; fewer if the model ends the utterance."""
    before = torch.zeros(0, model.config.latent_size) if reference is None else reference
    tensors = prefill(model, prompt[None], before[None], NEGATIVE_ID)
    stream = Stream(voice_state(model, tensors), Sampling(steps=1, seed=frames))
    stream.feed([Token(i, 0, 0) for i in ids])
    stream.text_closed = True
    batch, spoken = Until(model, frames), []
    batch.join(stream)
    while batch.streams:
        spoken += [frame for _, frame in batch.step()]
    return spoken


class Until(RealtimeBatch):
    """Its streams end after so many frames, if the model does not end them earlier."""

    def __init__(self, model: RealtimeModel, frames: int) -> None:
        super().__init__(model)
        self.frames = frames

    def _ending(self, stream: Stream, end_logit: float) -> str | None:
        return super()._ending(stream, end_logit) or ("limit" if stream.frames == self.frames else None)


@given(
    prompt=st.integers(1, 4),
    tokens=st.integers(1, 12),
    frames=st.integers(1, 12),
    text_window=st.integers(1, 5),
    speech_window=st.integers(1, 5),
)
@settings(max_examples=20)
def test_the_layout_of_training_is_the_engine_s_order_of_windows(
    prompt: int, tokens: int, frames: int, text_window: int, speech_window: int
) -> None:
    model = watched(text_window, speech_window)
    layout = interleave(prompt, tokens, frames, text_window, speech_window)

    speak(model, torch.arange(prompt) + 2, [5] * tokens, frames)

    assert layout.text[:prompt] == list(range(prompt))
    assert layout.speech == model.speech_at
    read = len(model.text_at)  # the engine reads a window with the last frame before it
    assert layout.text[prompt : prompt + read] == model.text_at
    assert read == min(tokens, (frames // speech_window + 1) * text_window)
    assert sorted(layout.text + layout.speech) == list(range(prompt + tokens + frames))


@pytest.fixture(scope="module")
def model() -> RealtimeModel:
    return toy_model(end_bias=NEVER)


@given(
    sizes=st.lists(
        st.tuples(st.integers(1, 4), st.integers(0, 9), st.integers(1, 13), st.integers(1, 14)), min_size=1, max_size=3
    ),
    seed=st.integers(0, 99),
)
@settings(max_examples=10)
def test_training_sees_the_conditions_that_generation_sees(
    model: RealtimeModel, sizes: list[tuple[int, int, int, int]], seed: int
) -> None:
    """Given the latents that were generated, undisturbed; examples of different length, in one batch."""
    generator = torch.Generator().manual_seed(seed)
    examples, spoken = [], []
    for prompt, shown, tokens, frames in sizes:
        reference = torch.randn(shown, model.config.latent_size, generator=generator)
        ids = torch.randint(2, VOCABULARY, (prompt + tokens,), generator=generator)
        heard = speak(model, ids[:prompt], ids[prompt:].tolist(), frames, reference)
        phones = torch.zeros(frames, 4, dtype=torch.long)
        examples.append(Example(ids, prompt, torch.stack([f.latent for f in heard]), phones, reference))
        spoken.append(heard)
    training, rows = RealtimeTraining(model, 2, RealtimeLossWeights()), torch.arange(len(sizes))[:, None]

    for is_negative in (False, True):
        batch = collate(examples, model.config, [is_negative] * len(sizes), NEGATIVE_ID)
        hidden = training.hidden(batch, batch.latents)
        conditions, after = hidden[rows, batch.speech_at - 1], hidden[rows, batch.speech_at]
        for row, frames in enumerate(spoken):
            assert int(batch.is_frame[row].sum()) == len(frames)
            assert batch.is_last[row].nonzero().tolist() == [[len(frames) - 1]]
            engine = torch.stack([f.negative_condition if is_negative else f.condition for f in frames])
            torch.testing.assert_close(conditions[row, : len(frames)], engine, rtol=0, atol=CLOSE)
            if not is_negative:
                logits = model.end_classifier(after[row, : len(frames)])
                ends = torch.tensor([f.end_logit for f in frames])
                # Around -100, where fp32 has five digits behind the point.
                torch.testing.assert_close(logits, ends, rtol=0, atol=1e-4)


def test_widths_that_do_not_fit_each_other_are_refused() -> None:
    config = toy_config()
    with pytest.raises(ConfigError, match="must have one hidden_size"):
        replace(config, head=replace(config.head, hidden_size=48))
    with pytest.raises(ConfigError, match="the head's latent_size 9 is not the codec's 8"):
        replace(config, head=replace(config.head, latent_size=9))
    with pytest.raises(ConfigError, match=r"realtime.text_window must be an integer from 1"):
        replace(config, text_window=0)
