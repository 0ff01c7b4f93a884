import numpy as np
import pytest

from loquor.evaluation.prosody import Contour, PitchTracker, pace_measures, pitch_measures

RATE_HZ = 24_000


def voice(hertz, seconds=1.0):
    """A tone with the overtones of a voice, [T]."""
    t = np.arange(int(seconds * RATE_HZ)) / RATE_HZ
    return (0.1 * sum(np.sin(2 * np.pi * k * hertz * t) / k for k in range(1, 9))).astype(np.float32)


@pytest.mark.parametrize("hertz", [90, 170, 280])
def test_the_pitch_of_a_steady_voice_is_found_and_has_no_spread(hertz):
    pytest.importorskip("swift_f0")
    found = pitch_measures(PitchTracker().track(voice(hertz), RATE_HZ))
    assert found["pitch_hz"] == pytest.approx(hertz, rel=0.02)
    assert found["pitch_spread_semitones"] < 0.5


def test_noise_and_nothing_have_no_pitch():
    pytest.importorskip("swift_f0")
    tracker = PitchTracker()
    noise = 0.1 * np.random.default_rng(0).standard_normal(RATE_HZ).astype(np.float32)
    for sound in (noise, 0 * noise, noise[:0]):
        assert pitch_measures(tracker.track(sound, RATE_HZ)) == {}


def test_an_octave_up_and_down_spreads_by_its_semitones():
    hertz = np.array([100.0, 200.0, np.nan, 400.0, 200.0])
    found = pitch_measures(Contour(np.arange(5) * 0.016, hertz))
    assert found["pitch_hz"] == 200
    assert found["pitch_spread_semitones"] == pytest.approx(np.std([-12, 0, 12, 0]))


def test_pace_counts_words_between_the_first_sound_and_the_last():
    silence = np.zeros(RATE_HZ, dtype=np.float32)
    sound = np.concatenate([silence, voice(120, 1.5), silence[: RATE_HZ // 2], voice(120, 1.0), silence])
    found = pace_measures(sound, RATE_HZ, "one two three four five six")
    assert found["words_per_minute"] == pytest.approx(6 / (3 / 60), rel=0.02)
    assert found["pause_share"] == pytest.approx(0.5 / 3, abs=0.02)
    assert pace_measures(silence, RATE_HZ, "nothing") == {}
