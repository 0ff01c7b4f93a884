"""Sessions: what is said depends on the text alone; a session can be ended, cancelled, dropped and broken at will."""

from __future__ import annotations

import asyncio
import gc
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from loquor.engine.realtime import Stream
from loquor.engine.request import Chunk, Sampling
from loquor.engine.session import Session
from loquor.engine.speaker import Speaker
from loquor.errors import CapacityError, InputError
from loquor.models.realtime.model import RealtimeModel
from loquor.voices.voice import Voice
from toy import NEVER, ToyTokenizer, named_voice, toy_config, toy_model, toy_speaker

TEXT = "The quick brown fox jumps over the lazy dog, and sleeps."
CLOSE = 1e-2  # sessions that share a batch: the order of sums differs, and what is said is fed back (see test_batch)
FAST = Sampling(steps=1)


@pytest.fixture(scope="module")
def speaker() -> Speaker:
    return toy_speaker()


@pytest.fixture(scope="module")
def voice(speaker: Speaker) -> Voice:
    return named_voice(speaker.model)


@pytest.fixture
def endless() -> Speaker:
    """Goes on for some hundred frames, to have time to be interrupted."""
    return toy_speaker(end_bias=NEVER)


def said(session: Session) -> list[Chunk]:
    session.end()
    return list(session)


def latents(chunks: list[Chunk]) -> torch.Tensor:
    return torch.cat([chunk.latents for chunk in chunks]) if chunks else torch.zeros(0, 8)


def same(one: list[Chunk], other: list[Chunk]) -> bool:
    """To the last bit: a session alone in the batch takes the same steps every time."""
    return torch.equal(latents(one), latents(other)) and [c.text_end for c in one] == [c.text_end for c in other]


def within(seconds: float, fact: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + seconds
    while not fact() and time.monotonic() < deadline:
        time.sleep(0.005)
    return fact()


# What is said


TEXTS = st.text(st.sampled_from("ab .,!\n\u2014é日😀"), max_size=40)


@given(text=TEXTS, data=st.data())
@settings(max_examples=15)
def test_however_text_is_cut_the_same_is_said(speaker: Speaker, voice: Voice, text: str, data: st.DataObject) -> None:
    places = sorted({0, len(text), *data.draw(st.lists(st.integers(0, len(text)), max_size=6))})
    at_once, in_pieces = (speaker.session(voice, sampling=FAST) for _ in range(2))
    at_once.push(text)
    expected = said(at_once)
    for a, b in pairwise(places):
        in_pieces.push(text[a:b])
    assert same(said(in_pieces), expected)
    assert bool(expected) == bool(text.strip())


@pytest.mark.parametrize(
    "pieces",
    [list(TEXT), [f"{word} " for word in TEXT.split()], [TEXT]],
    ids=["characters", "words", "all at once"],
)
def test_the_same_is_said_while_text_is_still_being_pushed(speaker: Speaker, voice: Voice, pieces: list[str]) -> None:
    """Speech is taken between the pieces, so windows are read as soon as they are full."""
    expected = speaker.speak(TEXT, voice, steps=1)
    session, chunks = speaker.session(voice, sampling=FAST), []
    for piece in pieces:
        session.push(piece)
        while not session._lane.events.empty():
            chunks.append(session.next_chunk())
    assert torch.equal(latents(chunks + said(session)), expected.latents)


def test_speech_starts_before_the_text_is_complete(speaker: Speaker, voice: Voice) -> None:
    with speaker.session(voice, sampling=FAST) as session:
        session.push(TEXT[:30])
        chunk = session.next_chunk()
        assert chunk is not None
        assert 0 < chunk.text_end <= 30


def test_flush_makes_an_utterance(speaker: Speaker, voice: Voice) -> None:
    alone, as_one = (
        speaker.speak(text, voice, steps=1).latents for text in ("Good morning.", "Good morning. Good night.")
    )
    session = speaker.session(voice, sampling=FAST)
    session.push("Good morning.")
    session.flush()
    session.flush()  # nothing to flush
    first = [session.next_chunk() for _ in alone]
    session.push(" Good night.")
    chunks = first + said(session)

    assert torch.equal(latents(first), alone)
    assert not torch.equal(latents(chunks), as_one)
    assert chunks[-1].text_end == len("Good morning. Good night.")
    times = [time for chunk in chunks for time in (chunk.start_s, chunk.end_s)]
    assert times == pytest.approx(sorted(times))
    assert times[-1] == pytest.approx(len(chunks) * speaker.frame_s)


def test_the_second_utterance_has_noise_of_its_own(speaker: Speaker, voice: Voice) -> None:
    session = speaker.session(voice, sampling=FAST)
    for _ in range(2):
        session.push("Same words.")
        session.flush()
    chunks = said(session)
    half = len(speaker.speak("Same words.", voice, steps=1).latents)
    assert not torch.equal(chunks[0].latents, chunks[half].latents)


@pytest.mark.parametrize("text", ["", " \n\t ", "\0\x07"])
def test_a_session_that_is_ended_without_words_says_nothing(speaker: Speaker, voice: Voice, text: str) -> None:
    session = speaker.session(voice)
    session.push(text)
    session.flush()
    assert said(session) == []
    assert session.finish is None
    assert session.next_chunk() is None  # and says so again


def test_a_lower_temperature_draws_frames_that_differ_less_from_seed_to_seed(speaker: Speaker, voice: Voice) -> None:
    def first_frames(temperature: float) -> torch.Tensor:
        latents = []
        for seed in range(8):
            with speaker.session(voice, sampling=Sampling(seed=seed, temperature=temperature)) as session:
                session.push(TEXT)
                session.end()
                latents.append(next(iter(session)).latents[0])
        return torch.stack(latents)

    spread = [float(first_frames(temperature).std(0).mean()) for temperature in (1.0, 0.5, 0.0)]
    assert spread[0] > 1.1 * spread[1] > 0 and spread[2] == pytest.approx(0, abs=1e-5)


def test_guidance_steps_and_seed_are_the_session_s_own(speaker: Speaker, voice: Voice) -> None:
    says = [{"guidance": 1.0}, {"guidance": 2.0}, {"steps": 3}, {"seed": 7}]
    spoken = [speaker.speak(TEXT, voice, **{"guidance": 1.5, "steps": 2, "seed": 1} | each).latents for each in says]
    again = speaker.speak(TEXT, voice, guidance=1.5, steps=2, seed=7).latents
    assert torch.equal(spoken[3], again)
    assert len({tuple(latents[0].tolist()) for latents in spoken}) == len(says)


# The end of it


def test_text_after_the_end_is_refused(speaker: Speaker, voice: Voice) -> None:
    for stop in (Session.end, Session.cancel):
        session = speaker.session(voice)
        stop(session)
        with pytest.raises(InputError, match="after the session's end"):
            session.push("More.")
        session.flush()  # and what means nothing any more does no harm
        session.end()
        session.cancel()


@pytest.mark.parametrize("text", [None, 5, b"bytes", ["list"]])
def test_what_is_no_string_is_refused(speaker: Speaker, voice: Voice, text: Any) -> None:
    with speaker.session(voice) as session, pytest.raises(InputError, match="text must be a string, got"):
        session.push(text)


def test_half_a_character_is_refused_and_the_session_goes_on(speaker: Speaker, voice: Voice) -> None:
    expected = speaker.speak(TEXT, voice, steps=1).latents
    session = speaker.session(voice, sampling=FAST)
    session.push(TEXT[:20])
    with pytest.raises(InputError, match=r"character 22 of the text is half of a surrogate pair \(U\+D83D\)"):
        session.push("ab\ud83dcd")
    session.push(TEXT[20:])
    assert torch.equal(latents(said(session)), expected)


def test_cancel_from_another_thread_stops_within_one_frame(endless: Speaker) -> None:
    session = endless.session(named_voice(endless.model), sampling=FAST)
    session.push(TEXT)
    stream = session._lane.waiting[0]
    session.end()
    for _ in range(3):
        session.next_chunk()
    frames_then = []

    def cancel() -> None:
        session.cancel()
        frames_then.append(stream.frames)

    thread = threading.Thread(target=cancel)
    thread.start()
    rest = list(session)
    thread.join()
    assert stream.frames <= frames_then[0] + 1
    assert 3 + len(rest) <= stream.frames
    assert session.finish == stream.finish == "cancelled"


def test_a_session_left_by_an_exception_is_cancelled_and_one_left_in_peace_is_ended(endless: Speaker) -> None:
    voice = named_voice(endless.model)
    session = endless.session(voice)
    session.push(TEXT)
    with pytest.raises(ZeroDivisionError), session:
        raise ZeroDivisionError
    list(session)
    assert session.finish == "cancelled"
    with endless.session(voice, sampling=Sampling(steps=1, max_new_tokens=9)) as session:
        session.push("Hello.")
    assert len(list(session)) > 0
    assert session.finish == "limit"


def test_finish_tells_of_the_first_utterance_that_did_not_end_by_itself(speaker: Speaker, voice: Voice) -> None:
    lane, state = speaker._worker.open(), speaker._voice(voice)[1]
    for finish, told in (("end", "end"), ("limit", "limit"), ("runaway", "limit"), ("end", "limit")):
        lane.waiting.append(Stream(state, FAST, finish=finish))
        lane.notify()
        assert within(30, lambda: not lane.waiting)
        assert lane.finish == told
    lane.cancel()


def test_a_limit_that_is_reached_while_reading_is_told_too(endless: Speaker) -> None:
    """No frame carries the news: the last window of text does not fit after the frames of the one before."""
    session = endless.session(named_voice(endless.model), sampling=Sampling(steps=1, max_new_tokens=12))
    session.push(TEXT)
    assert len(said(session)) == 6
    assert session.finish == "limit"


def test_the_worker_s_thread_ends_with_the_last_session_and_starts_with_the_next(
    speaker: Speaker, voice: Voice
) -> None:
    for _ in range(3):
        speaker.speak("Oh.", voice, steps=1)
        assert within(30, lambda: speaker._worker.thread is None)
        assert speaker._worker.lanes == speaker._worker.batch.streams == []


def test_a_session_that_waits_for_text_costs_nothing(
    speaker: Speaker, voice: Voice, monkeypatch: pytest.MonkeyPatch
) -> None:
    batch, steps = speaker._worker.batch, []
    step = batch.step
    monkeypatch.setattr(batch, "step", lambda: [steps.append(1), step()][1])
    with speaker.session(voice) as session:
        session.push("Hel")
        assert within(30, lambda: len(batch.streams) == 1)
        time.sleep(0.05)
        assert not steps
        session.cancel()


def test_a_dropped_session_frees_its_place(endless: Speaker) -> None:
    session = endless.session(named_voice(endless.model), sampling=FAST)
    session.push(TEXT)
    session.next_chunk()
    del session
    gc.collect()
    assert within(30, lambda: endless._worker.thread is None)
    assert endless._worker.batch.streams == []


def test_a_dropped_iterator_frees_its_place(endless: Speaker) -> None:
    for _ in endless.stream(TEXT, named_voice(endless.model)):
        break
    assert within(30, lambda: endless._worker.thread is None)
    pieces = iter(lambda: TEXT, None)  # for ever
    stream = endless.stream(pieces, named_voice(endless.model))
    next(stream)
    stream.close()  # type: ignore[attr-defined]
    assert within(30, lambda: endless._worker.thread is None)
    endless.stream(TEXT, named_voice(endless.model))  # never started
    gc.collect()
    assert within(30, lambda: endless._worker.thread is None)


# In company


def test_sessions_in_parallel_threads_say_what_they_say_alone(speaker: Speaker) -> None:
    voices = [named_voice(speaker.model, f"Toy{i}", i) for i in range(4)]
    says = [{"steps": 1 + i % 2, "seed": i, "guidance": 1.0 + 0.3 * i} for i in range(4)]
    expected = [speaker.speak(TEXT[i:], v, **kw) for i, (v, kw) in enumerate(zip(voices, says, strict=True))]
    with ThreadPoolExecutor(4) as pool:
        futures = [pool.submit(speaker.speak, TEXT[i:], voices[i], **says[i]) for i in range(4)]
        for future, alone in zip(futures, expected, strict=True):
            together = future.result()
            torch.testing.assert_close(together.latents, alone.latents, rtol=0, atol=CLOSE)
            torch.testing.assert_close(together.waveform, alone.waveform, rtol=0, atol=CLOSE)


def test_many_threads_may_push_into_one_session(speaker: Speaker, voice: Voice) -> None:
    session = speaker.session(voice, sampling=FAST)
    threads = [threading.Thread(target=lambda: [session.push("ab ") for _ in range(20)]) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert torch.equal(latents(said(session)), speaker.speak("ab " * 80, voice, steps=1).latents)


def test_two_threads_that_take_chunks_share_them_and_both_hear_the_end(speaker: Speaker, voice: Voice) -> None:
    session = speaker.session(voice, sampling=FAST)
    with ThreadPoolExecutor(2) as pool:
        takers = [pool.submit(list, session) for _ in range(2)]
        session.push(TEXT)
        session.end()
        count = sum(len(taker.result()) for taker in takers)
    assert count == len(speaker.speak(TEXT, voice, steps=1).latents)


def test_what_breaks_generation_reaches_every_session_in_the_batch_and_the_next_one_is_well(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    speaker = toy_speaker()
    voice, idle = named_voice(speaker.model), speaker.session(named_voice(speaker.model), sampling=FAST)
    sessions = [speaker.session(voice, sampling=FAST) for _ in range(2)]
    with monkeypatch.context() as broken:
        broken.setattr(RealtimeModel, "hear", _out_of_order)
        for session in sessions:
            session.push(TEXT)
        for session in sessions:
            with pytest.raises(ArithmeticError, match="out of order"):
                list(session)
            assert session.next_chunk() is None
        assert within(30, lambda: not speaker._worker.batch.streams)
    idle.push(TEXT)  # it had nothing in the batch that broke
    assert torch.equal(latents(said(idle)), speaker.speak(TEXT, voice, steps=1).latents)


def _out_of_order(*_: object) -> None:
    raise ArithmeticError("out of order")


def test_a_voice_that_fills_the_context_concerns_its_own_session_only() -> None:
    model = toy_model(toy_config(context=12))
    speaker = Speaker(model, ToyTokenizer())  # type: ignore[arg-type]
    short, long = named_voice(model, "short", 0), named_voice(model, "long", 5)
    assert (short.length("tts_lm"), long.length("tts_lm")) == (7, 10)
    with pytest.raises(CapacityError, match="takes 10 of the context's 12 positions"):
        speaker.speak("Hi.", long)
    with pytest.raises(CapacityError):
        speaker.speak("Hi.", short)


def test_what_breaks_while_pieces_are_taken_is_raised_where_chunks_are_taken(endless: Speaker) -> None:
    def pieces() -> Iterator[str]:
        yield TEXT
        raise LookupError("the language model hung up")

    with pytest.raises(LookupError, match="hung up"):
        list(endless.stream(pieces(), named_voice(endless.model)))
    with pytest.raises(InputError, match="text must be a string, got int"):
        list(endless.stream(["good", 5], named_voice(endless.model)))  # type: ignore[list-item]


# The twin for coroutines


async def arriving(text: str) -> AsyncIterator[str]:
    for character in text:
        await asyncio.sleep(0)
        yield character


def test_coroutines_hear_the_same(speaker: Speaker, voice: Voice) -> None:
    async def both() -> tuple[torch.Tensor, list[Chunk], list[Chunk]]:
        speech = await speaker.speak_async(TEXT, voice, steps=1)
        whole = [chunk async for chunk in speaker.stream_async(TEXT, voice, steps=1)]
        pieces = [chunk async for chunk in speaker.stream_async(arriving(TEXT), voice, steps=1)]
        return speech.latents, whole, pieces

    expected = speaker.speak(TEXT, voice, steps=1).latents
    for heard in (lambda r: r[0], lambda r: latents(r[1]), lambda r: latents(r[2])):
        assert torch.equal(heard(asyncio.run(both())), expected)


def test_more_coroutines_than_threads_may_wait_for_chunks(speaker: Speaker, voice: Voice) -> None:
    """Each waits for speech while its text arrives; if waiting took a thread, no text would ever get through."""

    async def one() -> int:
        return len([chunk async for chunk in speaker.stream_async(arriving("Hi."), voice, steps=1)])

    async def many() -> list[int]:
        asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(2))
        return await asyncio.gather(*(one() for _ in range(12)))

    assert set(asyncio.run(many())) == {len(speaker.speak("Hi.", voice, steps=1).latents)}


def test_a_coroutine_that_is_cancelled_cancels_its_speech(endless: Speaker) -> None:
    voice = named_voice(endless.model)

    async def speak() -> None:
        speaking = asyncio.create_task(endless.speak_async(TEXT, voice))
        while not endless._worker.batch.streams:
            await asyncio.sleep(0.01)
        speaking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await speaking

    async def listen() -> None:
        stream = endless.stream_async(arriving(TEXT), voice)
        await anext(stream)
        await stream.aclose()  # type: ignore[attr-defined]

    for each in (speak, listen):
        asyncio.run(each())
        assert within(30, lambda: endless._worker.thread is None)


def test_what_breaks_while_pieces_arrive_is_raised_where_chunks_are_taken(endless: Speaker) -> None:
    async def pieces() -> AsyncIterator[str]:
        yield TEXT
        raise LookupError("the language model hung up")

    async def listen(text: Any) -> None:
        async for _ in endless.stream_async(text, named_voice(endless.model)):
            pass

    with pytest.raises(LookupError, match="hung up"):
        asyncio.run(listen(pieces()))
    with pytest.raises(InputError, match="text must be a string or come as an asynchronous iterator, got int"):
        asyncio.run(listen(5))
    with pytest.raises(InputError, match="the text is empty"):
        asyncio.run(listen(" "))


def test_what_breaks_generation_reaches_a_coroutine(endless: Speaker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(RealtimeModel, "hear", _out_of_order)

    async def listen() -> None:
        async for _ in endless.stream_async(arriving(TEXT), named_voice(endless.model)):
            pass

    with pytest.raises(ArithmeticError, match="out of order"):
        asyncio.run(listen())


def test_a_loop_that_is_gone_does_not_stop_the_worker(endless: Speaker) -> None:
    session = endless.session(named_voice(endless.model), sampling=Sampling(steps=1, max_new_tokens=30))
    session.push(TEXT)

    async def first() -> None:
        async for _ in session:
            return

    asyncio.run(first())  # the loop is closed while the worker goes on
    assert len(said(session)) > 10
