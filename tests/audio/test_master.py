"""Loudness and the master, against the signals the standards give and against real use."""

import builtins
import tracemalloc

import numpy as np
import pytest
import soundfile

from loquor.audio.master import Loudness, Target, Treatment, master, measure, measure_loudness, treatment
from loquor.errors import AudioError, InputError, MissingExtra

pytest.importorskip("av", reason="measuring needs PyAV, an extra")

RATE = 24_000


def sine(level_dbfs, seconds=2.0, rate=RATE, channels=1, hz=1000.0):
    wave = 10 ** (level_dbfs / 20) * np.sin(2 * np.pi * hz * np.arange(round(seconds * rate)) / rate)
    return np.repeat(wave[:, None], channels, axis=1).astype(np.float32)


def speechlike(seconds=4.0, channels=1, seed=0):
    """Noise in syllables, with peaks far above its mean as in speech."""
    random = np.random.default_rng(seed)
    time = np.arange(round(seconds * RATE)) / RATE
    syllables = np.maximum(np.sin(2 * np.pi * 3 * time), 0) ** 4
    wave = 0.02 * syllables[:, None] * random.standard_t(4, (len(time), channels))
    return np.clip(wave, -0.99, 0.99).astype(np.float32)


def blocks(waveform, size=5000):
    return [waveform[i : i + size] for i in range(0, len(waveform), size)]


@pytest.mark.parametrize("level", [-23.0, -33.0])
def test_a_stereo_tone_reads_its_level_as_the_standard_says(level):
    # EBU Tech 3341, test cases 1 and 2: a 1 kHz sine in both channels, within 0.1 LU
    loudness = measure(blocks(sine(level, seconds=20, rate=48_000, channels=2)), 48_000)
    assert loudness.integrated_lufs == pytest.approx(level, abs=0.1)


def test_pauses_do_not_count():
    # EBU Tech 3341, case 3 in short: a tone between far quieter ones reads as the tone alone
    tone, hush = sine(-23, 20, 48_000, 2), sine(-36, 2, 48_000, 2)
    assert measure(blocks(np.concatenate([hush, tone, hush])), 48_000).integrated_lufs == pytest.approx(-23, abs=0.1)


def test_the_true_peak_lies_between_the_samples():
    # a quarter of the sample rate at 45 degrees: all samples lie 3 dB below the wave they stand for
    wave = 0.5 * np.sin(2 * np.pi * np.arange(4 * RATE) / 4 + np.pi / 4)
    wave *= np.minimum(np.arange(4 * RATE) / RATE, 1)  # faded in: a sudden start has higher peaks of its own
    wave = np.concatenate([wave[: 3 * RATE], wave[3 * RATE - 1 :: -1]])
    loudness = measure([wave[:, None].astype(np.float32)], RATE)
    assert 20 * np.log10(np.abs(wave).max()) == pytest.approx(-9.03, abs=0.01)
    assert loudness.true_peak_dbtp == pytest.approx(-6.02, abs=0.3)


def test_a_quiet_recording_without_peaks_is_only_multiplied(tmp_path):
    soundfile.write(tmp_path / "tone.wav", sine(-30), RATE, subtype="FLOAT")
    made = master(tmp_path / "tone.wav", tmp_path / "master.wav", lufs=-23)
    before, after = (soundfile.read(tmp_path / name)[0] for name in ("tone.wav", "master.wav"))
    gain = np.dot(before, after) / np.dot(before, before)
    assert np.abs(after - gain * before).max() < 2 / 32768  # 16 bit
    assert measure_loudness(tmp_path / "master.wav").integrated_lufs == pytest.approx(-23, abs=0.05)
    assert made.integrated_lufs == -23


@pytest.mark.parametrize("channels", [1, 2])
def test_peaks_in_the_way_are_turned_down_and_the_loudness_is_met(tmp_path, channels):
    soundfile.write(tmp_path / "talk.wav", speechlike(channels=channels), RATE, subtype="FLOAT")
    before = measure_loudness(tmp_path / "talk.wav")
    assert before.true_peak_dbtp + (-16 - before.integrated_lufs) > 0  # else this test tests nothing
    made = master(tmp_path / "talk.wav", tmp_path / "master.wav")
    after = measure_loudness(tmp_path / "master.wav")
    assert after.integrated_lufs == pytest.approx(-16, abs=0.2)
    assert after.true_peak_dbtp <= -1.0 + 0.01  # the meter gives three decimals of the amplitude
    assert made.integrated_lufs == pytest.approx(after.integrated_lufs, abs=0.05)
    info = soundfile.info(tmp_path / "master.wav")
    assert (info.frames, info.channels, info.samplerate) == (4 * RATE, channels, RATE)


def test_limited_sound_stays_where_it_was_in_time():
    waveform = speechlike()
    chosen = treatment(lambda: blocks(waveform), RATE, Target())
    assert chosen.ceiling_dbtp is not None
    limited = np.concatenate(list(chosen.apply(blocks(waveform), RATE)))[:, 0]
    shifts = [float(np.dot(waveform[100:-100, 0], limited[100 + k : len(limited) - 100 + k])) for k in range(-20, 21)]
    assert np.argmax(shifts) == 20  # no shift


def test_the_same_source_gives_the_same_bytes_however_it_is_cut(tmp_path):
    waveform = speechlike()
    chosen = treatment(lambda: blocks(waveform), RATE, Target())
    cuts = [np.concatenate(list(chosen.apply(blocks(waveform, size), RATE))) for size in (777, 20_000)]
    assert np.array_equal(*cuts)
    soundfile.write(tmp_path / "talk.wav", waveform, RATE)
    for name in ("a.mp3", "b.mp3"):
        master(tmp_path / "talk.wav", tmp_path / name)
    assert (tmp_path / "a.mp3").read_bytes() == (tmp_path / "b.mp3").read_bytes()


@pytest.mark.parametrize("suffix", ["wav", "flac", "mp3", "ogg", "opus"])
def test_a_master_says_that_a_machine_spoke(tmp_path, suffix):
    soundfile.write(tmp_path / "talk.wav", speechlike(1), RATE)
    master(tmp_path / "talk.wav", tmp_path / f"master.{suffix}", lufs=-18)
    with soundfile.SoundFile(tmp_path / f"master.{suffix}") as file:
        assert file.comment == "AI-generated speech (Loquor)"


def test_memory_does_not_grow_with_the_recording():
    def peak_bytes(seconds):
        second = speechlike(1)
        tracemalloc.start()
        chosen = Treatment(gain_db=12.0, ceiling_dbtp=-1.0, loudness=Loudness(0, 0, 0))
        measure(chosen.apply((second for _ in range(seconds)), RATE), RATE)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return peak

    peak_bytes(2)
    assert peak_bytes(40) < peak_bytes(4) + 1e6  # 36 s of samples are 3.5 MB


@pytest.mark.parametrize(
    ("waveform", "complaint"),
    [(np.zeros((RATE, 1), dtype=np.float32), "no loudness to measure"), (sine(-20, 0.2), "no loudness to measure")],
    ids=["silence", "too short"],
)
def test_what_has_no_loudness_is_an_error_and_leaves_no_file(tmp_path, waveform, complaint):
    soundfile.write(tmp_path / "talk.wav", waveform, RATE)
    with pytest.raises(AudioError, match=complaint):
        master(tmp_path / "talk.wav", tmp_path / "master.wav")
    assert [file.name for file in tmp_path.iterdir()] == ["talk.wav"]


def test_what_is_no_sound_file_is_an_error(tmp_path):
    (tmp_path / "notes.wav").write_text("not a sound")
    soundfile.write(tmp_path / "surround.wav", np.zeros((RATE, 6)), RATE)
    for name, complaint in (("gone.wav", "No such file"), ("notes.wav", "no audio"), ("surround.wav", "6 channels")):
        with pytest.raises(AudioError, match=complaint):
            measure_loudness(tmp_path / name)


def test_targets_that_are_none_are_refused():
    for wrong in ({"lufs": 3.0}, {"lufs": -90.0}, {"lufs": float("nan")}, {"true_peak_dbtp": 1.0}):
        with pytest.raises(InputError):
            Target(**wrong)


def test_without_pyav_the_error_names_the_extra(monkeypatch):
    real = builtins.__import__

    def without(name, *rest):
        if name.partition(".")[0] == "av":
            raise ImportError(name)
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(MissingExtra) as raised:
        measure([sine(-20)], RATE)
    assert "loquor[podcast]" in raised.value.hint
