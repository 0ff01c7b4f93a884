"""Streams with a listener: none is made far ahead of what is taken, and those go first who would soon hear a gap."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from loquor.engine.playback import AMPLE_S, Playback
from loquor.engine.realtime import Stream
from loquor.engine.request import Sampling
from loquor.engine.session import Session
from loquor.engine.speaker import Speaker
from loquor.errors import InputError
from loquor.voices.voice import Voice
from toy import NEVER, named_voice, toy_speaker

TEXT = "The quick brown fox jumps over the lazy dog, and sleeps. "
FAST = Sampling(steps=1)
HOP, RATE = 16, 24_000  # of the toy: a frame is less than a millisecond, so nobody is ever ahead of the clock
SLOW_RATE = 16  # at this rate a frame is a second of speech: listeners are soon far ahead


def within(seconds: float, fact: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + seconds
    while not fact() and time.monotonic() < deadline:
        time.sleep(0.002)
    return fact()


@pytest.fixture(scope="module")
def speaker() -> Speaker:
    return toy_speaker(end_bias=NEVER)


@pytest.fixture(scope="module")
def voice(speaker: Speaker) -> Voice:
    return named_voice(speaker.model)


def opened(speaker: Speaker, voice: Voice, rate_hz: int, room: int, text: str = TEXT) -> tuple[Session, Playback]:
    session, playback = speaker.session(voice, sampling=FAST), Playback(rate_hz, room)
    session.serve(playback)
    session.push(text)
    session.end()
    return session, playback


def test_a_listener_is_given_what_there_is_room_for_and_then_what_it_takes(speaker: Speaker, voice: Voice) -> None:
    expected = len(list(speaker.stream(TEXT, voice, steps=1)))
    session, playback = opened(speaker, voice, RATE, room=5)
    waiting = session._lane.events
    assert within(30, lambda: playback.is_full)
    time.sleep(0.05)
    assert waiting.qsize() == 5
    taken = 0
    while session.next_chunk() is not None:
        taken += 1
        assert waiting.qsize() <= 5
    assert taken == expected


def test_others_go_on_beside_a_stream_that_is_held(speaker: Speaker, voice: Voice) -> None:
    slow, playback = opened(speaker, voice, SLOW_RATE, room=3)
    assert within(30, lambda: playback.is_full)
    given = playback.given_s
    assert speaker.speak("Hello.", voice, steps=1).seconds > 0
    assert playback.given_s == given and playback.gaps == 0  # it is not ours to blame
    slow.cancel()


def test_who_has_enough_in_hand_sits_out_while_another_has_little(speaker: Speaker, voice: Voice) -> None:
    """Also if that other comes later."""
    ahead, rich = opened(speaker, voice, SLOW_RATE, room=10**6, text=TEXT * 20)
    assert within(30, lambda: rich.given_s > 3 * AMPLE_S)
    behind, poor = opened(speaker, voice, RATE, room=10**6)
    assert within(30, lambda: poor.given_s > 5 * HOP / RATE)
    given = rich.given_s
    assert within(30, lambda: poor.given_s > 25 * HOP / RATE)
    assert rich.given_s <= given + 1  # a step that was on its way
    for _ in behind:
        pass
    assert within(30, lambda: rich.given_s > given + 5)  # nobody is short any more
    ahead.cancel()


def test_a_stream_that_waits_for_text_keeps_nobody_waiting(speaker: Speaker, voice: Voice) -> None:
    silent = speaker.session(voice, sampling=FAST)
    silent.serve(Playback(RATE, 8))
    silent.push("Not yet")
    session, _ = opened(speaker, voice, SLOW_RATE, room=10**6)
    assert len(list(session)) > 20
    silent.cancel()


def test_a_gap_is_counted_when_a_piece_comes_after_the_last_was_played() -> None:
    playback = Playback(sample_rate_hz=10, room=4)
    playback.give(10, step_s=0.2, now=100.0)
    assert playback.in_hand_s(100.5) == pytest.approx(0.5)
    playback.give(10, step_s=0.2, now=100.9)
    assert (playback.gaps, playback.in_hand_s(101.0)) == (0, pytest.approx(1.0))
    playback.give(10, step_s=0.2, now=102.5)
    assert (playback.gaps, playback.in_hand_s(102.5)) == (1, pytest.approx(1.0))
    playback.stop_clock()
    playback.give(10, step_s=0.2, now=200.0)
    assert playback.gaps == 1
    assert (playback.given_s, playback.compute_s) == (4.0, pytest.approx(0.8))


def test_a_full_listener_is_given_more_once_half_is_taken() -> None:
    playback = Playback(RATE, room=6)
    states = []
    for waiting in (5, 6, 5, 4, 3, 2, 3, 5, 6):
        playback.fill(waiting)
        states.append(playback.is_full)
    assert states == [False, True, True, True, True, False, False, False, True]


def test_a_held_stream_can_be_cancelled(speaker: Speaker, voice: Voice) -> None:
    session, playback = opened(speaker, voice, RATE, room=2)
    assert within(30, lambda: playback.is_full)
    (stream,) = speaker._worker.batch.streams
    assert isinstance(stream, Stream) and stream.held
    session.cancel()
    assert within(30, lambda: stream.finish == "cancelled")
    with pytest.raises(InputError):
        session.push("more")
