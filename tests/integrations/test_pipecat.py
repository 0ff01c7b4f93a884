"""Loquor in a real pipeline of Pipecat, from a language model's tokens to a loudspeaker that plays in real time."""

from __future__ import annotations

import asyncio
import time
import warnings
from collections.abc import Coroutine, Sequence
from typing import Any, TypeVar

import numpy as np
import pytest

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    pytest.importorskip("pipecat", reason="Pipecat is not installed: pip install 'loquor[pipecat]'")
    from pipecat.frames.frames import (
        EndFrame,
        ErrorFrame,
        Frame,
        InterruptionFrame,
        LLMFullResponseEndFrame,
        LLMFullResponseStartFrame,
        LLMTextFrame,
        OutputAudioRawFrame,
        StartFrame,
        TTSAudioRawFrame,
        TTSSpeakFrame,
        TTSStoppedFrame,
        TTSTextFrame,
        TTSUpdateSettingsFrame,
    )
    from pipecat.pipeline.pipeline import Pipeline
    from pipecat.pipeline.worker import PipelineParams, PipelineWorker
    from pipecat.processors.aggregators.llm_context import LLMContext
    from pipecat.processors.aggregators.llm_response_universal import LLMContextAggregatorPair
    from pipecat.services.tts_service import TextAggregationMode
    from pipecat.tests.utils import SleepFrame, run_test
    from pipecat.transports.base_output import BaseOutputTransport
    from pipecat.transports.base_transport import TransportParams
    from pipecat.workers.runner import WorkerRunner

    from loquor.integrations.pipecat import LoquorTTSService, LoquorTTSSettings

from loquor.audio import pcm16
from loquor.engine.speaker import Speaker
from loquor.engine.word_times import WordTimes
from loquor.errors import VoiceError
from server_fixtures import LONG, SENTENCE, within

T = TypeVar("T")
CLOSE = 330  # of 32767, as in the server's tests of sharing
RATE = PipelineParams(audio_out_sample_rate=24_000)


def run(work: Coroutine[Any, Any, T]) -> T:
    return asyncio.run(asyncio.wait_for(work, timeout=120))


def expected(speaker: Speaker, text: str) -> bytes:
    return pcm16(speaker.speak(text).waveform.numpy()).tobytes()


def turn(text: str, step: int = 4) -> list[Frame]:
    """As a language model writes it."""
    tokens = [LLMTextFrame(text[at : at + step]) for at in range(0, len(text), step)]
    return [LLMFullResponseStartFrame(), *tokens, LLMFullResponseEndFrame()]


def passed(service: LoquorTTSService, frames: Sequence[Frame], params: PipelineParams = RATE) -> list[Frame]:
    """What comes out of a pipeline of this service alone."""
    down, _ = run(run_test(service, frames_to_send=frames, pipeline_params=params, start_timeout=30))
    return list(down)


def sound(frames: Sequence[Frame]) -> bytes:
    return b"".join(frame.audio for frame in frames if isinstance(frame, TTSAudioRawFrame))


def words(frames: Sequence[Frame]) -> list[str]:
    return [frame.text for frame in frames if isinstance(frame, TTSTextFrame)]


def test_tokens_are_spoken_as_the_whole_text(speaker: Speaker) -> None:
    frames = passed(LoquorTTSService(speaker), turn(SENTENCE))
    assert sound(frames) == expected(speaker, SENTENCE)
    assert " ".join(words(frames)) == SENTENCE
    stamps = [frame.pts for frame in frames if isinstance(frame, TTSTextFrame)]
    assert all(stamps) and stamps == sorted(stamps)  # type: ignore[type-var]
    (stopped,) = (at for at, frame in enumerate(frames) if isinstance(frame, TTSStoppedFrame))
    assert not sound(frames[stopped:]) and isinstance(frames[-1], LLMFullResponseEndFrame)


def test_sentences_can_be_gathered_first(speaker: Speaker) -> None:
    service = LoquorTTSService(speaker, text_aggregation_mode=TextAggregationMode.SENTENCE)
    frames = passed(service, turn(f"{SENTENCE} And then? Good."))
    assert sound(frames) == expected(speaker, f"{SENTENCE} And then? Good. ")
    assert " ".join(words(frames)) == f"{SENTENCE} And then? Good."


def test_what_an_agent_says_of_its_own_accord_is_a_turn_too(speaker: Speaker) -> None:
    frames = passed(LoquorTTSService(speaker), [TTSSpeakFrame(SENTENCE), TTSSpeakFrame("Bye.")])
    said, whole = (
        np.frombuffer(data, "<i2") for data in (sound(frames), expected(speaker, SENTENCE) + expected(speaker, "Bye."))
    )
    assert len(said) == len(whole)
    assert np.abs(said.astype(int) - whole).max() < CLOSE  # both are in one batch: the order of sums differs


def test_a_pipeline_of_another_rate_gets_that(speaker: Speaker) -> None:
    frames = passed(LoquorTTSService(speaker), turn(SENTENCE), PipelineParams(audio_out_sample_rate=16_000))
    assert {frame.sample_rate for frame in frames if isinstance(frame, TTSAudioRawFrame)} == {16_000}
    assert len(sound(frames)) == pytest.approx(len(expected(speaker, SENTENCE)) * 2 / 3, abs=4)


def test_a_voice_there_is_not_is_told_and_the_next_turn_is_spoken(speaker: Speaker) -> None:
    with pytest.raises(VoiceError, match="there is no voice 'nobody'"):
        LoquorTTSService(speaker, settings=LoquorTTSSettings(voice="nobody"))
    change, back = (TTSUpdateSettingsFrame(delta=LoquorTTSSettings(voice=name)) for name in ("nobody", "Toy"))
    frames = [change, *turn("Hello."), SleepFrame(1), back, *turn(SENTENCE)]
    down, up = run(run_test(LoquorTTSService(speaker), frames_to_send=frames, pipeline_params=RATE, start_timeout=30))
    assert any("there is no voice 'nobody'" in frame.error for frame in up if isinstance(frame, ErrorFrame))
    assert sound(down) == expected(speaker, SENTENCE)


def test_a_turn_that_breaks_off_is_told_and_ends_and_the_next_is_spoken(
    speaker: Speaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps, step = iter(range(100)), speaker._worker.batch.step

    def breaking() -> object:
        if next(steps) == 3:
            raise RuntimeError("out of memory")
        return step()

    monkeypatch.setattr(speaker._worker.batch, "step", breaking)
    frames = [*turn(LONG), SleepFrame(1), *turn(SENTENCE)]
    down, up = run(run_test(LoquorTTSService(speaker), frames_to_send=frames, pipeline_params=RATE, start_timeout=30))
    assert any("out of memory" in frame.error for frame in up if isinstance(frame, ErrorFrame))
    first = next(at for at, frame in enumerate(down) if isinstance(frame, TTSStoppedFrame))
    assert sound(down[first:]) == expected(speaker, SENTENCE)


def heard_until(speaker: Speaker, played_s: float) -> int:
    """Characters of `LONG` that are heard after so many seconds."""
    times = WordTimes(speaker.sample_rate_hz)
    times.push(LONG)
    for chunk in speaker.stream(LONG):
        times.hear(chunk)
        if chunk.end_s > played_s + 1:
            break
    return times.heard_until(played_s)


class Loudspeaker(BaseOutputTransport):
    """Plays in real time, and writes down what it played."""

    def __init__(self) -> None:
        super().__init__(TransportParams(audio_out_enabled=True, audio_out_end_silence_secs=0))
        self.played = bytearray()

    async def start(self, frame: StartFrame) -> None:
        await super().start(frame)
        await self.set_transport_ready(frame)

    async def write_audio_frame(self, frame: OutputAudioRawFrame) -> bool:
        self.played += frame.audio
        await asyncio.sleep(len(frame.audio) / 2 / frame.sample_rate)
        return True


def test_of_an_interrupted_turn_the_context_keeps_what_was_heard(paced: Speaker) -> None:
    """The engine falls silent at once, and speaks on in the next turn without anything made anew."""
    context = LLMContext()
    service, loudspeaker = LoquorTTSService(paced), Loudspeaker()
    assistant = LLMContextAggregatorPair(context).assistant()
    worker = PipelineWorker(Pipeline([service, loudspeaker, assistant]), params=RATE, cancel_on_idle_timeout=False)
    silent_after_s = heard_s = 60.0

    async def talk() -> None:
        nonlocal silent_after_s, heard_s
        for frame in turn(LONG):
            await worker.queue_frame(frame)
        while len(loudspeaker.played) < 2 * 24_000:
            await asyncio.sleep(0.01)
        heard_s = len(loudspeaker.played) / 2 / 24_000
        await worker.queue_frame(InterruptionFrame())
        started = time.monotonic()
        while paced._worker.batch.streams and time.monotonic() < started + 20:
            await asyncio.sleep(0.01)
        silent_after_s = time.monotonic() - started
        for frame in turn("Yes."):
            await worker.queue_frame(frame)
        await worker.queue_frame(EndFrame())

    async def both() -> None:
        runner = WorkerRunner()
        await runner.add_workers(worker)
        await asyncio.gather(runner.run(), talk())

    run(both())
    assert silent_after_s < 0.5  # a frame, and what a loaded machine takes to notice
    interrupted, whole = [message["content"] for message in context.messages]
    assert LONG.startswith(interrupted) and whole == "Yes."
    assert heard_until(paced, heard_s - 0.3) <= len(interrupted) <= heard_until(paced, heard_s + 1.0)


def test_a_pipeline_that_is_cancelled_leaves_nothing_speaking(paced: Speaker) -> None:
    worker = PipelineWorker(Pipeline([LoquorTTSService(paced), Loudspeaker()]), params=RATE)

    async def talk() -> None:
        for frame in turn(LONG):
            await worker.queue_frame(frame)
        while not paced._worker.batch.streams:
            await asyncio.sleep(0.01)
        await worker.cancel()

    async def both() -> None:
        runner = WorkerRunner()
        await runner.add_workers(worker)
        await asyncio.gather(runner.run(), talk())

    run(both())
    assert within(5, lambda: not paced._worker.batch.streams)
