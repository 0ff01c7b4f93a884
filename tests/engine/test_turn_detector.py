"""Turns are found in sound as it comes, and the same ones however it is cut."""

from __future__ import annotations

import importlib.util

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from loquor.audio import read
from loquor.engine.turn_detector import SpeechBegan, SpeechEnded, TurnDetector, TurnEvent
from loquor.errors import InputError
from loquor.evaluation.transcriber import PACKAGE as RECOGNISER
from loquor.models.silero import Silero, SileroState

FRAME_S = 0.032
needs_silero = pytest.mark.skipif(
    not (importlib.util.find_spec("silero_vad") and importlib.util.find_spec("onnxruntime")),
    reason="the voice activity detector is not installed",
)


class Loudness(Silero):
    """A network for which speech is what is loud, as likely as it is loud; it counts what it was shown."""

    def __init__(self) -> None:
        self.seen = 0

    def __call__(self, waveform: np.ndarray, state: SileroState | None = None) -> np.ndarray:
        self.seen += 1
        return np.abs(waveform).reshape(-1, self.FRAME).max(1)


def sound(*frames: tuple[int, float]) -> np.ndarray:
    """So many frames of such a level, one after the other."""
    return np.concatenate([np.full(count * Silero.FRAME, level, np.float32) for count, level in frames])


def events_of(waveform: np.ndarray, cuts: list[int] = [], rate_hz: int = 16_000) -> list[TurnEvent]:  # noqa: B006
    detector = TurnDetector(rate_hz, network=Loudness())
    pieces = np.split(waveform, sorted(min(cut, len(waveform)) for cut in cuts))
    return [event for piece in pieces for event in detector.push(piece)] + detector.finish()


def facts(events: list[TurnEvent]) -> list[tuple[object, ...]]:
    return [
        ("began", e.at_s) if isinstance(e, SpeechBegan) else ("ended", e.start_s, e.end_s, e.waveform.tolist())
        for e in events
    ]


def test_a_turn_begins_with_speech_and_ends_with_a_pause() -> None:
    began, ended = events_of(sound((20, 0.0), (30, 0.9), (40, 0.0)))

    assert isinstance(began, SpeechBegan) and began.at_s == pytest.approx(20 * FRAME_S)
    assert isinstance(ended, SpeechEnded)
    assert (ended.start_s, ended.end_s) == pytest.approx((20 * FRAME_S, 50 * FRAME_S))
    before, after = 8, 4  # frames of 0.25 s and 0.1 s
    assert ended.waveform.tolist() == sound((before, 0.0), (30, 0.9), (after, 0.0)).tolist()


def test_a_short_pause_and_doubt_go_on_a_click_is_nothing() -> None:
    hesitating = events_of(sound((30, 0.9), (10, 0.0), (5, 0.4), (10, 0.0), (30, 0.9), (40, 0.0)))
    assert [type(event) for event in hesitating] == [SpeechBegan, SpeechEnded]
    assert hesitating[1].end_s == pytest.approx(85 * FRAME_S)  # type: ignore[union-attr]
    assert events_of(sound((20, 0.0), (3, 0.9), (40, 0.0), (30, 0.4), (40, 0.0))) == []


def test_the_end_of_the_sound_ends_a_turn() -> None:
    events = events_of(sound((5, 0.0), (30, 0.9)))
    assert [type(event) for event in events] == [SpeechBegan, SpeechEnded]


def test_how_likely_speech_must_be_and_what_is_kept_before_it_can_be_chosen() -> None:
    detector = TurnDetector(16_000, network=Loudness(), begins=0.8, before_s=2 * FRAME_S)
    assert detector.push(sound((30, 0.7), (40, 0.0))) == []
    _, ended = detector.push(sound((30, 0.9), (10, 0.7), (40, 0.0)))
    assert isinstance(ended, SpeechEnded)
    assert ended.waveform.tolist() == sound((2, 0.0), (30, 0.9), (10, 0.7), (4, 0.0)).tolist()


def test_a_turn_can_be_cut_where_somebody_says_it_ends() -> None:
    detector = TurnDetector(16_000, network=Loudness())
    detector.push(sound((10, 0.0), (20, 0.9)))
    (ended,) = detector.cut()
    assert isinstance(ended, SpeechEnded) and ended.end_s == pytest.approx(30 * FRAME_S)
    assert detector.cut() == [] and detector.push(sound((60, 0.0))) == []


def test_nobody_is_listened_to_for_ever() -> None:
    events = events_of(sound((8000, 0.9)))
    assert [type(event) for event in events] == [SpeechBegan, SpeechEnded] * 3
    assert max(len(e.waveform) for e in events if isinstance(e, SpeechEnded)) <= 121 * 16_000


def test_what_is_forgotten_belongs_to_no_turn() -> None:
    detector = TurnDetector(16_000, network=Loudness())
    assert len(detector.push(sound((30, 0.9)))) == 1
    detector.forget()
    assert detector.push(sound((60, 0.0))) == [] and detector.finish() == []


stretches = st.lists(st.tuples(st.integers(1, 40), st.sampled_from([0.0, 0.4, 0.9])), min_size=1, max_size=8)


@given(stretches, st.lists(st.integers(0, 100_000), max_size=12))
def test_turns_do_not_depend_on_how_the_sound_is_cut(frames: list[tuple[int, float]], cuts: list[int]) -> None:
    waveform = sound(*frames)
    assert facts(events_of(waveform, cuts)) == facts(events_of(waveform))


@given(st.lists(st.integers(0, 200_000), max_size=12))
def test_nor_do_they_at_another_rate(cuts: list[int]) -> None:
    waveform = np.repeat(sound((10, 0.0), (20, 0.9), (30, 0.0), (20, 0.9), (5, 0.0)), 3)
    assert facts(events_of(waveform, cuts, 48_000)) == facts(events_of(waveform, rate_hz=48_000))


def test_a_pause_has_a_length() -> None:
    with pytest.raises(InputError, match=r"a pause of 0 s cannot end a turn"):
        TurnDetector(16_000, pause_s=0, network=Loudness())


@needs_silero
def test_silero_as_a_stream_says_what_it_says_of_the_whole() -> None:
    network = Silero()
    waveform = np.random.default_rng(0).standard_normal(40 * Silero.FRAME).astype(np.float32) * 0.1
    state = network.init_state()
    pieces = [network(frame, state) for frame in waveform.reshape(-1, Silero.FRAME)]
    np.testing.assert_allclose(np.concatenate(pieces), network(waveform), atol=1e-5)


@needs_silero
@pytest.mark.skipif(not RECOGNISER.is_installed, reason="the recording is in the recogniser's package")
def test_real_speech_is_found_at_both_ends_whatever_the_blocks() -> None:
    network, speech = Silero(), read(RECOGNISER.file("assets", "beckett.wav"), 16_000)
    pause = np.random.default_rng(0).normal(0, 1e-3, 32_000).astype(np.float32)
    waveform, found = np.concatenate([pause, speech, pause]), []
    for block in (160, 512, 4096):
        detector = TurnDetector(16_000, pause_s=1.5, network=network)
        blocks = np.split(waveform, range(block, len(waveform), block))
        found.append(facts([event for piece in blocks for event in detector.push(piece)] + detector.finish()))
    assert found[0] == found[1] == found[2]
    (_, began), (_, start, end, _) = found[0][0], found[0][-1]
    assert 1.8 < began < 3.5 and start >= began and len(waveform) / 16_000 - 5 < end < len(waveform) / 16_000 - 1.5
