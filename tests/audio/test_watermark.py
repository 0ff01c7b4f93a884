import io

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from loquor.audio.resample import resample
from loquor.audio.watermark import FALSE_ALARM, Marker, detect

RATE_HZ = 24_000


def speechlike(seconds, seed=0, rate_hz=RATE_HZ):
    """A gliding pitch with harmonics and breath, in syllables with pauses."""
    t = np.arange(round(seconds * rate_hz)) / rate_hz
    rng = np.random.default_rng(seed)
    phase = 2 * np.pi * np.cumsum(130 + 30 * np.sin(2 * np.pi * 0.7 * t + seed)) / rate_hz
    voiced = sum(np.cos(k * phase + k) / k for k in range(1, 40))
    syllables = np.clip(np.sin(2 * np.pi * 2.3 * t) + 0.4, 0, 1)
    return (0.1 * syllables * (voiced + 0.3 * rng.standard_normal(len(t)))).astype(np.float32)


def marked(waveform, rate_hz=RATE_HZ):
    return Marker(rate_hz).mark(waveform)


def through(waveform, rate_hz, **encoding):
    """What a codec leaves of a waveform, and its rate."""
    buffer = io.BytesIO()
    with soundfile.SoundFile(buffer, "w", rate_hz, 1, **encoding) as file:
        file.write(np.clip(waveform, -1, 1))
    buffer.seek(0)
    return soundfile.read(buffer, dtype="float32")


SPEECH = speechlike(7)
MARKED = marked(SPEECH)


@given(cuts=st.lists(st.integers(0, 24_000), max_size=12), rate_hz=st.sampled_from([16_000, 22_050, 24_000]))
def test_however_a_stream_is_cut_it_is_marked_as_the_whole(cuts, rate_hz):
    waveform = SPEECH[:24_000]
    whole, marker = marked(waveform, rate_hz), Marker(rate_hz)
    parts = [marker.mark(part) for part in np.split(waveform, sorted(cuts))]
    np.testing.assert_allclose(np.concatenate(parts), whole, rtol=0, atol=1e-7)  # the last bit of a float


@given(at=st.integers(0, 23_999))
def test_a_marked_sample_knows_nothing_of_what_comes_after_it(at):
    other = SPEECH[:24_000].copy()
    other[at:] = 0.5
    np.testing.assert_allclose(marked(other)[:at], MARKED[:at], rtol=0, atol=1e-7)


def test_every_sample_comes_back_at_once():
    marker = Marker(RATE_HZ)
    assert [len(marker.mark(SPEECH[:n])) for n in (0, 1, 3200)] == [0, 1, 3200]


def test_channels_are_marked_alike():
    both = marked(np.stack([SPEECH, -SPEECH], axis=1))
    np.testing.assert_allclose(both, np.stack([MARKED, -MARKED], axis=1), rtol=0, atol=1e-7)


def test_marked_stems_add_up_to_a_marked_mix():
    other = speechlike(7, seed=1)
    np.testing.assert_allclose(MARKED + marked(other), marked(SPEECH + other), rtol=0, atol=1e-6)


def test_silence_stays_silent():
    assert not marked(np.zeros(RATE_HZ, dtype=np.float32)).any()


def test_the_mark_is_far_below_the_speech():
    difference = np.mean((MARKED - SPEECH) ** 2)
    assert 10 * np.log10(np.mean(SPEECH**2) / difference) > 15
    assert np.mean(MARKED**2) == pytest.approx(np.mean(SPEECH**2), rel=0.05)


def test_it_is_found_in_what_was_marked_and_in_nothing_else():
    assert detect(MARKED, RATE_HZ).present
    assert not detect(SPEECH, RATE_HZ).present


@pytest.mark.parametrize("start_s", [0.0, 0.73, 1.991])
def test_any_five_seconds_suffice(start_s):
    start = round(start_s * RATE_HZ)
    assert detect(MARKED[start : start + 5 * RATE_HZ], RATE_HZ).present


@pytest.mark.parametrize("rate_hz", [8_000, 11_025, 16_000, 22_050, 44_100, 48_000])
def test_it_is_found_at_other_rates(rate_hz):
    assert detect(resample(MARKED, RATE_HZ, rate_hz), rate_hz).present
    if rate_hz >= 16_000:
        assert detect(marked(speechlike(7, rate_hz=rate_hz), rate_hz), rate_hz).present


@pytest.mark.parametrize("gain", [0.01, 0.3, 3.0])
def test_it_is_found_at_other_levels(gain):
    assert detect(gain * MARKED, RATE_HZ).present


def test_it_is_found_in_noise():
    noise = np.random.default_rng(1).standard_normal(len(MARKED)).astype(np.float32)
    assert detect(MARKED + 0.1 * np.sqrt(np.mean(MARKED**2)) * noise, RATE_HZ).present


@pytest.mark.parametrize(
    "encoding",
    [
        {"format": "MP3", "subtype": "MPEG_LAYER_III", "bitrate_mode": "CONSTANT", "compression_level": 0.7},
        {"format": "OGG", "subtype": "OPUS", "compression_level": 0.9},
        {"format": "OGG", "subtype": "VORBIS", "compression_level": 0.7},
    ],
    ids=lambda encoding: encoding["subtype"],
)
def test_it_is_found_after_lossy_codecs(encoding):
    assert detect(*through(MARKED, RATE_HZ, **encoding)).present


def test_it_says_where_the_mark_is():
    silent = speechlike(12, seed=3)
    found = detect(np.concatenate([silent, MARKED, silent]), RATE_HZ)
    ((start, stop),) = found.spans_s
    assert 7 <= start <= 14.5
    assert 16.5 <= stop <= 24


@pytest.mark.parametrize("waveform", [np.zeros(0), np.zeros(100), np.zeros(10 * RATE_HZ)], ids=len)
def test_there_is_nothing_to_find_in_nothing(waveform):
    found = detect(waveform.astype(np.float32), RATE_HZ)
    assert (found.present, found.confidence, found.spans_s) == (False, 0.0, ())


def test_its_confidence_is_what_it_claims():
    assert detect(MARKED, RATE_HZ).confidence > 1 - FALSE_ALARM
    assert detect(SPEECH, RATE_HZ).confidence < 0.5


def test_recordings_without_it_score_as_chance_does():
    scores = [detect(speechlike(5, seed), RATE_HZ).score for seed in range(6)]
    assert max(scores) < 4.5  # 256 places are tried, so 3 is usual; 6.2 would be an alarm
