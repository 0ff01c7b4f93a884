"""The decoding stage: where sound is made beside the other passes, every stream says what it says without that."""

from __future__ import annotations

import threading

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from loquor.engine.decoding import GROUP, group_size
from loquor.engine.realtime import MOST_TO_COME, RealtimeBatch, Stream
from loquor.engine.request import RealtimeFrame, Sampling
from loquor.models.codec import StackState
from loquor.models.realtime.model import RealtimeModel, RealtimeState
from loquor.models.realtime.prompt import voice_state
from loquor.text.tokenizer import Token
from toy import NEVER, toy_config, toy_model, toy_voice

SUM_ORDER = 1e-5  # one call for several frames or streams adds in another order than one for each


class Beside(RealtimeModel):
    """The torch model, decoding in a thread of its own, which a test can stop."""

    is_pipelined = True

    def __init__(self) -> None:
        super().__init__(toy_config())
        self.open, self.calls, self.fails = threading.Event(), list[tuple[int, int]](), False
        self.heard = list[bool]()  # whether text was read in the same pass
        self.open.set()

    def decode(self, latents: Tensor, memory: StackState) -> Tensor:
        self.open.wait()
        if self.fails:
            raise ArithmeticError("the decoder broke")
        self.calls.append((latents.shape[0], latents.shape[1]))
        return super().decode(latents, memory)

    def hear(self, latent: Tensor, state: RealtimeState, *text: Tensor | None) -> Tensor:
        self.heard.append(bool(text))
        return super().hear(latent, state, *text)


def models(end_bias: float = NEVER) -> tuple[Beside, RealtimeModel]:
    """The same weights, decoded beside and in the step."""
    plain, beside = toy_model(end_bias=end_bias), Beside()
    beside.load_state_dict(plain.state_dict())
    return beside.eval().requires_grad_(False), plain


def stream_of(model: RealtimeModel, seed: int, frames: int) -> Stream:
    """It says so many frames, as far as the limit counts them, in a voice and with noise of its own."""
    sampling = Sampling(steps=1, seed=seed, max_new_tokens=5 + frames)
    stream = Stream(voice_state(model, toy_voice(model, seed)), sampling)
    stream.feed([Token(2 + seed + i, i, i + 1) for i in range(5)])
    stream.text_closed = True
    return stream


def spoken(model: RealtimeModel, streams: dict[int, Stream]) -> dict[int, list[RealtimeFrame]]:
    """All frames, of streams that join at the step that is their key."""
    batch, said, step = RealtimeBatch(model), {key: list[RealtimeFrame]() for key in streams}, 0
    while batch.streams or step <= max(streams):
        if step in streams:
            batch.join(streams[step])
        for stream, frame in batch.step():
            next(said[key] for key, one in streams.items() if one is stream).append(frame)
        step += 1
    return said


@given(scene=st.dictionaries(st.integers(0, 9), st.integers(1, 12), min_size=1, max_size=4))
@settings(max_examples=10)
def test_sound_made_beside_the_steps_is_the_sound_made_in_them(scene: dict[int, int]) -> None:
    beside, plain = models()
    each = [{at: stream_of(model, at, frames) for at, frames in scene.items()} for model in (beside, plain)]
    found, expected = spoken(beside, each[0]), spoken(plain, each[1])
    for at in scene:
        assert each[0][at].finish == each[1][at].finish
        assert len(found[at]) == len(expected[at])
        for mine, its in zip(found[at], expected[at], strict=True):
            assert (mine.finish, mine.text_end) == (its.finish, its.text_end)
            torch.testing.assert_close(mine.waveform, its.waveform, rtol=0, atol=SUM_ORDER)


def test_a_stream_has_not_ended_before_its_last_frame_was_handed_out() -> None:
    beside, _ = models()
    batch, stream = RealtimeBatch(beside), stream_of(beside, 0, 3)
    batch.join(stream)
    handed = batch.step()
    beside.open.clear()
    handed += batch.step() + batch.step()
    assert (len(handed), stream.ending, stream.finish) == (1, None, None)  # two of them wait for their sound
    threading.Timer(0.05, beside.open.set).start()
    while batch.streams:
        assert stream.finish is None
        handed += batch.step()
    assert len(handed) == stream.frames == 4  # the one that crosses the limit is kept
    assert handed[-1][1].finish == stream.finish == "limit"


def test_a_first_frame_is_handed_out_by_the_step_that_says_it_and_fed_back_in_the_next() -> None:
    beside, _ = models(end_bias=100.0)  # an utterance of one frame
    batch, stream = RealtimeBatch(beside), stream_of(beside, 0, 3)
    batch.join(stream)
    ((one, frame),) = batch.step()
    assert (one, beside.calls, beside.heard) == (stream, [(1, 1)], [])
    assert (frame.finish, stream.finish, batch.can_speak) == (None, None, True)
    assert batch.step() == []
    assert (frame.finish, stream.finish, beside.heard) == ("end", "end", [False])


def test_a_text_window_is_read_in_the_pass_that_feeds_the_last_frame_before_it_back() -> None:
    beside, _ = models()
    batch, stream = RealtimeBatch(beside), stream_of(beside, 0, 20)
    stream.feed([Token(9, 5, 6)])
    batch.join(stream)
    while batch.streams:
        batch.step()
    window = beside.config.speech_window
    assert beside.heard[: window + 1] == [False] * (window - 1) + [True, False]
    assert not any(beside.heard[window:])  # all has been read


@given(decoded=st.integers(0, 200), streams=st.integers(1, 9))
def test_a_group_is_no_more_than_a_third_of_what_was_heard_and_streams_share_it(decoded: int, streams: int) -> None:
    size = group_size(decoded, streams)
    assert size == 1 or (3 * size <= decoded and size * streams <= GROUP)
    assert group_size(decoded + 1, streams) >= size >= group_size(decoded, streams + 1)


def test_a_group_grows_until_it_is_whole() -> None:
    assert [group_size(n, 1) for n in (0, 5, 6, 11, 12, 500)] == [1, 1, 2, 2, GROUP, GROUP]


def test_frames_are_decoded_in_groups_where_nothing_runs_beside_the_steps_too() -> None:
    beside, plain = models()
    beside.is_pipelined = False
    found, expected = (spoken(model, {0: stream_of(model, 0, 30)})[0] for model in (beside, plain))
    assert [count for _, count in beside.calls] == [1] * 6 + [2] * 3 + [GROUP] * 4 + [3]  # what is left at the end
    mine, its = (torch.stack([f.waveform for f in frames]) for frames in (found, expected))
    torch.testing.assert_close(mine, its, rtol=0, atol=SUM_ORDER)


def test_later_frames_that_wait_are_decoded_in_groups_and_never_too_many_wait() -> None:
    beside, _ = models()
    batch, stream = RealtimeBatch(beside), stream_of(beside, 0, 20)
    batch.join(stream)
    batch.step()
    beside.open.clear()
    for _ in range(MOST_TO_COME - 1):
        assert batch.step() == []
    threading.Timer(0.05, beside.open.set).start()
    assert batch.step()  # it waits until some are through
    assert stream.frames == MOST_TO_COME + 1
    while batch.streams:
        batch.step()
    assert max(count for _, count in beside.calls) == GROUP
    assert sum(rows * count for rows, count in beside.calls) == stream.frames


def test_a_cancelled_stream_leaves_at_most_a_group_to_be_decoded() -> None:
    beside, _ = models()
    batch, stream = RealtimeBatch(beside), stream_of(beside, 0, 20)
    batch.join(stream)
    batch.step()
    beside.open.clear()
    for _ in range(MOST_TO_COME - 1):
        batch.step()
    stream.cancelled = True
    assert batch.step() == []
    assert (batch.streams, stream.finish, batch.can_speak) == ([], "cancelled", False)
    beside.open.set()
    other = stream_of(beside, 1, 1)
    batch.join(other)
    batch.step()  # its sound comes behind what was still being decoded
    assert sum(rows * count for rows, count in beside.calls) <= 1 + GROUP + 1


def test_what_breaks_in_the_decoder_is_raised_by_a_step() -> None:
    beside, _ = models()
    batch = RealtimeBatch(beside)
    batch.join(stream_of(beside, 0, 3))
    beside.fails = True
    with pytest.raises(ArithmeticError, match="the decoder broke"):
        batch.step()
    batch.clear()
    assert not batch.can_speak
