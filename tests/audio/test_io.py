import os

import numpy as np
import pytest
import soundfile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from loquor.audio import CONTAINERS, read, resample, write
from loquor.audio.io import Section
from loquor.audio.provenance import COMMENT
from loquor.errors import AudioError

RATE_HZ = 24000
TONE = (0.3 * np.sin(2 * np.pi * 440 * np.arange(RATE_HZ) / RATE_HZ)).astype(np.float32)
on_one_folder = settings(suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.mark.parametrize("suffix", CONTAINERS)
def test_every_format_is_read_back_as_it_was_written(tmp_path, suffix):
    path = tmp_path / f"tone{suffix}"
    write(path, TONE, RATE_HZ)
    heard = read(path, RATE_HZ)
    assert heard.dtype == np.float32
    assert heard.shape == TONE.shape
    tolerance = 2.0**-15 if CONTAINERS[suffix].is_lossless else 0.06  # 16 bit, or what a lossy codec does to a tone
    middle = slice(RATE_HZ // 20, -RATE_HZ // 20)
    assert np.abs(heard - TONE)[middle].max() < tolerance


@pytest.mark.parametrize("suffix", CONTAINERS)
def test_every_file_says_that_a_machine_spoke(tmp_path, suffix):
    path = tmp_path / f"tone{suffix}"
    write(path, TONE, RATE_HZ)
    with soundfile.SoundFile(path) as file:
        assert file.comment == COMMENT
        assert (file.format, file.subtype) == (CONTAINERS[suffix].format, CONTAINERS[suffix].subtype)


def test_channels_are_averaged_and_the_rate_is_the_one_asked_for(tmp_path):
    stereo = np.stack([TONE, -TONE / 3], axis=1)
    soundfile.write(tmp_path / "stereo.flac", stereo, RATE_HZ)
    heard = read(tmp_path / "stereo.flac", RATE_HZ)
    np.testing.assert_allclose(heard, TONE / 3, atol=2.0**-15)
    assert read(tmp_path / "stereo.flac", 16000).shape == (16000,)


def test_a_long_file_is_resampled_across_blocks_without_a_seam(tmp_path):
    noise = np.random.default_rng(0).uniform(-1, 1, 150_000).astype(np.float32)
    soundfile.write(tmp_path / "noise.wav", noise, 44100, subtype="FLOAT")
    np.testing.assert_array_equal(read(tmp_path / "noise.wav", RATE_HZ), resample(noise, 44100, RATE_HZ))


@on_one_folder
@given(st.lists(st.floats(-2, 2, width=32), min_size=1, max_size=300))
def test_a_wav_holds_any_samples_to_16_bit_and_clips_the_rest(tmp_path, samples):
    waveform = np.array(samples, dtype=np.float32)
    write(tmp_path / "any.wav", waveform, RATE_HZ)
    np.testing.assert_allclose(read(tmp_path / "any.wav", RATE_HZ), np.clip(waveform, -1, 1), atol=1.6 / 32768)


def _no_audio(folder, kind):
    path = folder / f"{kind}.wav"
    if kind == "folder":
        path.mkdir()
    elif kind == "text":
        path.write_text("This is no sound.\n" * 100)
    elif kind == "zero bytes":
        path.touch()
    elif kind == "pipe":
        os.mkfifo(path)
    elif kind == "header only":
        soundfile.write(path, TONE[:0], RATE_HZ)
    elif kind == "not a number":
        soundfile.write(path, np.where(np.arange(RATE_HZ) == 12000, np.nan, TONE), RATE_HZ, subtype="FLOAT")
    elif kind == "too slow":
        soundfile.write(path, TONE, 4)
    return path


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("absent", "does not exist"),
        ("folder", "is no file"),
        ("pipe", "is no file"),
        ("text", "holds no audio"),
        ("zero bytes", "holds no audio"),
        ("header only", "it has no samples"),
        ("not a number", "no number at 0.50 s"),
        ("too slow", "claims a sample rate of 4 Hz"),
    ],
)
def test_a_file_without_sound_is_one_clear_error(tmp_path, kind, message):
    path = _no_audio(tmp_path, kind)
    with pytest.raises(AudioError, match=message) as caught:
        read(path, RATE_HZ)
    assert str(path) in str(caught.value)


def test_a_headerless_file_is_refused_and_told_how_to_convert(tmp_path):
    (tmp_path / "speech.raw").write_bytes(bytes(1000))
    with pytest.raises(AudioError, match="holds no audio") as caught:
        read(tmp_path / "speech.raw", RATE_HZ)
    assert "ffmpeg" in caught.value.hint


def test_a_file_longer_than_allowed_is_refused(tmp_path):
    write(tmp_path / "second.wav", TONE, RATE_HZ)
    assert read(tmp_path / "second.wav", RATE_HZ, longest_s=1.0).shape == TONE.shape
    with pytest.raises(AudioError, match=r"longer than 0\.5 s"):
        read(tmp_path / "second.wav", RATE_HZ, longest_s=0.5)


@on_one_folder
@given(st.sampled_from(list(CONTAINERS)), st.binary(max_size=60), st.integers(0, 2000), st.booleans())
def test_damaged_files_give_sound_or_one_clear_error(tmp_path, suffix, junk, at, is_cut):
    good = tmp_path / f"good{suffix}"
    if not good.exists():
        write(good, TONE[:6000], RATE_HZ)
    data = good.read_bytes()
    damaged = tmp_path / f"damaged{suffix}"
    damaged.write_bytes(data[:at] + junk + (b"" if is_cut else data[at + len(junk) :]))
    try:
        heard = read(damaged, RATE_HZ, longest_s=60)
    except AudioError:
        return
    assert np.isfinite(heard).all()


@on_one_folder
@given(st.floats(0, 0.99), st.floats(0.01, 2))
def test_a_section_is_what_the_whole_has_there(tmp_path, start_s, length_s):
    path = tmp_path / "second.wav"
    if not path.exists():
        soundfile.write(path, TONE, RATE_HZ, subtype="FLOAT")
    section = read(path, RATE_HZ, section=Section(start_s, start_s + length_s))
    np.testing.assert_array_equal(section, TONE[round(start_s * RATE_HZ) : round((start_s + length_s) * RATE_HZ)])


@pytest.mark.parametrize(("start_s", "end_s"), [(-1, None), (2, 1), (1, 1), (0, float("inf")), (float("nan"), 2)])
def test_a_section_without_time_in_it_is_refused(start_s, end_s):
    with pytest.raises(AudioError, match="a section cannot go from"):
        Section(start_s, end_s)


def test_a_section_behind_the_end_is_refused(tmp_path):
    write(tmp_path / "second.wav", TONE, RATE_HZ)
    with pytest.raises(AudioError, match="ends before 7 s"):
        read(tmp_path / "second.wav", RATE_HZ, section=Section(7))


def test_a_section_of_a_long_recording_does_not_count_what_lies_outside(tmp_path):
    write(tmp_path / "second.wav", TONE, RATE_HZ)
    assert len(read(tmp_path / "second.wav", RATE_HZ, longest_s=0.5, section=Section(0.4, 0.9))) == RATE_HZ // 2
    with pytest.raises(AudioError, match=r"longer than 0\.5 s"):
        read(tmp_path / "second.wav", RATE_HZ, longest_s=0.5, section=Section(0.4))
