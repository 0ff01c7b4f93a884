"""Another tempo: the pitch stays, a stream is as the whole however it is cut, and it can be marked."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from loquor.audio.tempo import Tempo
from loquor.audio.watermark import Marker, detect
from loquor.errors import InputError, MissingExtra

pytest.importorskip("libsonic", reason="the tempo extra is not installed")
RATE_HZ = 24_000


def voice(seconds, pitch_hz=160.0):
    """Syllables at one pitch, with breath."""
    t = np.arange(round(seconds * RATE_HZ)) / RATE_HZ
    voiced = sum(np.cos(2 * np.pi * k * pitch_hz * t + k) / k for k in range(1, 40))
    syllables = np.clip(np.sin(2 * np.pi * 2.3 * t) + 0.4, 0, 1)
    breath = 0.1 * np.random.default_rng(0).standard_normal(len(t))
    return (0.1 * syllables * (voiced + breath)).astype(np.float32)


def at(speed, waveform, cuts=()):
    tempo = Tempo(speed, RATE_HZ)
    ends = [0, *sorted(cuts), len(waveform)]
    pieces = [tempo.push(waveform[start:stop]) for start, stop in itertools.pairwise(ends)]
    return np.concatenate([*pieces, tempo.finish()])


def pitch_hz(waveform):
    power = np.abs(np.fft.rfft(waveform, 1 << 18)) ** 2
    hz = np.fft.rfftfreq(1 << 18, 1 / RATE_HZ)
    return hz[np.where((hz > 100) & (hz < 240), power, 0).argmax()]


VOICE = voice(3)
SHORT = VOICE[:24_000]


@given(speed=st.floats(0.25, 4), cuts=st.lists(st.integers(0, len(SHORT)), max_size=20))
def test_however_a_stream_is_cut_it_sounds_as_the_whole(speed, cuts):
    assert np.array_equal(at(speed, SHORT, cuts), at(speed, SHORT))


@pytest.mark.parametrize("speed", [0.25, 0.5, 0.9, 1.2, 2, 4])
def test_it_is_as_long_as_it_should_be_and_the_pitch_stays(speed):
    changed = at(speed, VOICE)
    assert len(changed) * speed == pytest.approx(len(VOICE), rel=0.015)  # whole periods of the voice
    assert pitch_hz(changed) == pytest.approx(160, rel=0.03)  # as fine as a short sound tells it
    assert np.std(changed) == pytest.approx(np.std(VOICE), rel=0.05)


@pytest.mark.parametrize("speed", [0.9, 1.2, 2, 4])
def test_it_lags_behind_by_less_than_fifty_milliseconds(speed):
    tempo, made = Tempo(speed, RATE_HZ), 0
    for start in range(0, len(VOICE), 3200):
        made += len(tempo.push(VOICE[start : start + 3200]))
        assert made >= (min(start + 3200, len(VOICE)) / speed) - 0.05 * RATE_HZ


def test_what_is_said_next_does_not_depend_on_what_was_said_before():
    tempo = Tempo(1.3, RATE_HZ)
    first, second = (np.concatenate([tempo.push(VOICE[:30_000]), tempo.finish()]) for _ in range(2))
    assert np.array_equal(first, second)


def test_at_its_own_speed_nothing_is_touched():
    tempo = Tempo(1, RATE_HZ)
    assert tempo.push(VOICE) is VOICE and not len(tempo.finish())


@pytest.mark.parametrize("speed", [0.25, 0.8, 1.25, 2.5])
def test_speech_that_is_marked_afterwards_is_known_and_unmarked_is_not(speed):
    changed = at(speed, voice(7 * speed))
    assert detect(Marker(RATE_HZ).mark(changed), RATE_HZ).present
    assert not detect(changed, RATE_HZ).present


@pytest.mark.parametrize("speed", [0, 0.2, 4.1, -1, float("nan"), float("inf")])
def test_a_speed_there_is_not_is_an_error(speed):
    with pytest.raises(InputError, match=r"speed must lie in 0\.25 to 4"):
        Tempo(speed, RATE_HZ)


def test_without_the_library_only_its_own_speed_is_spoken(monkeypatch):
    monkeypatch.setattr("loquor.audio.tempo.find_spec", lambda name: None)
    Tempo(1, RATE_HZ)
    with pytest.raises(MissingExtra, match="needs libsonic") as missing:
        Tempo(1.2, RATE_HZ)
    assert "loquor[tempo]" in missing.value.hint
