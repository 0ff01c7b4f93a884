from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import load_file

from loquor.audio import normalize_level, sound_span
from loquor.audio.level import level_dbfs

RECORDED = load_file(Path(__file__).parent / "data/norm.safetensors")
KINDS = sorted({name.split("/")[1] for name in RECORDED})


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("output", "target_dbfs"), [("out", -25.0), ("out_db_-20", -20.0)])
def test_levels_are_those_the_reference_gives(kind, output, target_dbfs):
    level = normalize_level(RECORDED[f"norm/{kind}/in"], target_dbfs)
    np.testing.assert_allclose(level, RECORDED[f"norm/{kind}/{output}"], rtol=0, atol=1e-6)  # fp32: order of sums


@given(st.integers(0, 2**32 - 1), st.integers(50, 3000), st.floats(1e-2, 1e3))
def test_speech_of_any_loudness_reaches_the_target_or_stops_below_full_scale(seed, length, loudness):
    waveform = (loudness * np.random.default_rng(seed).standard_normal(length)).astype(np.float32)
    levelled = normalize_level(waveform)
    rms_db = 20 * np.log10(np.sqrt(np.mean(levelled**2)))
    assert rms_db == pytest.approx(-25, abs=2e-3) or np.abs(levelled).max() == pytest.approx(1, abs=1e-3)
    assert np.abs(levelled).max() <= 1


def test_silence_and_nothing_stay_what_they_are():
    assert not normalize_level(np.zeros(100, dtype=np.float32)).any()
    assert normalize_level(np.zeros(0, dtype=np.float32)).size == 0


@given(st.integers(0, 24000), st.integers(0, 24000), st.floats(1e-4, 1))
def test_trimming_keeps_the_speech_and_little_else(before, after, loudness):
    speech = loudness * np.sin(np.arange(2400)).astype(np.float32)
    waveform = np.concatenate([np.zeros(before), speech, np.zeros(after)]).astype(np.float32)
    trimmed = waveform[slice(*sound_span(waveform, 24000, margin_s=0.0))]
    assert np.count_nonzero(trimmed) == np.count_nonzero(waveform)
    assert len(trimmed) <= len(speech) + 2 * 240  # whole blocks of 10 ms on either side
    start, end = sound_span(waveform, 24000)
    assert end - start <= len(trimmed) + 2 * 1200


@given(st.floats(-80, 0), st.integers(10, 4000))
def test_the_level_of_a_square_wave_is_its_height(dbfs, length):
    square = 10 ** (dbfs / 20) * np.where(np.arange(length) % 2, 1, -1).astype(np.float32)
    assert level_dbfs(square.astype(np.float32)) == pytest.approx(dbfs, abs=1e-3)


def test_silence_has_the_lowest_level_and_no_sound():
    for nothing in (np.zeros(0, dtype=np.float32), np.zeros(100, dtype=np.float32)):
        assert level_dbfs(nothing) == -200
        assert sound_span(nothing, 24000) == (0, 0)


@given(st.integers(0, 5000), st.integers(240, 5000), st.integers(0, 5000), st.floats(0, 0.1))
def test_sound_is_found_where_it_is_and_the_margin_stays_inside(before, length, after, margin_s):
    waveform = np.concatenate([np.zeros(before), np.ones(length), np.zeros(after)]).astype(np.float32)
    start, end = sound_span(waveform, 24000, margin_s=margin_s)
    margin = round(margin_s * 24000)
    assert max(before - 240 - margin, 0) <= start <= max(before - margin, 0)
    assert min(before + length + margin, len(waveform)) <= end <= min(before + length + 240 + margin, len(waveform))
