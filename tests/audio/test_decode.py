"""What libsndfile cannot read FFmpeg can, and it looks at nothing but the file it is given."""

import importlib.util

import numpy as np
import pytest

from loquor.audio import read, resample, write
from loquor.audio.io import Section
from loquor.errors import AudioError, MissingExtra

av = pytest.importorskip("av", reason="pip install 'loquor[podcast]'")

RATE_HZ = 24000
CONTAINERS = [("m4a", "aac"), ("aac", "aac"), ("mka", "aac"), ("mov", "pcm_s16le"), ("webm", "opus"), ("wma", "wmav2")]


def tones(seconds=2.0, rate_hz=48000):
    """A tone that rises from 200 to 900 Hz: every moment differs from every other."""
    t = np.arange(round(seconds * rate_hz)) / rate_hz
    return (0.4 * np.sin(2 * np.pi * (200 + 350 / seconds * t) * t)).astype(np.float32)


def encode(path, codec, waveform, rate_hz=48000, layout="stereo"):
    """A file as a phone or a browser writes it; every channel has the same."""
    channels = {"mono": 1, "stereo": 2}[layout]
    with av.open(str(path), "w") as container:
        stream = container.add_stream(
            "libopus" if codec == "opus" else codec, rate=rate_hz, layout=layout, bit_rate=96_000
        )
        frame = av.AudioFrame.from_ndarray(np.stack([waveform] * channels), format="fltp", layout=layout)
        frame.sample_rate, frame.pts = rate_hz, 0
        resampler = av.AudioResampler(stream.format, layout, rate_hz, frame_size=stream.frame_size or None)
        for piece in [*resampler.resample(frame), *resampler.resample(None), None]:
            container.mux(stream.encode(piece))
    return path


def alike(heard, said):
    """The correlation of two waveforms at the best shift within 0.1 s: encoders put some silence before."""
    length = min(len(heard), len(said))
    spectra = [np.fft.rfft(x[:length], 2 * length) for x in (heard, said)]
    correlation = np.fft.irfft(spectra[0] * spectra[1].conj())
    near = np.r_[correlation[: RATE_HZ // 10], correlation[-RATE_HZ // 10 :]]
    return near.max() / np.sqrt(np.sum(heard[:length] ** 2) * np.sum(said[:length] ** 2))


@pytest.mark.parametrize(("suffix", "codec"), CONTAINERS)
def test_what_phones_and_browsers_record_is_read(tmp_path, suffix, codec):
    path = encode(tmp_path / f"tones.{suffix}", codec, tones())
    heard = read(path, RATE_HZ)
    assert heard.dtype == np.float32
    assert len(heard) == pytest.approx(2 * RATE_HZ, abs=0.1 * RATE_HZ)
    assert alike(heard, resample(tones(), 48000, RATE_HZ)) > 0.95  # wma loses its first 20 ms


def test_channels_are_averaged_and_the_rate_is_the_one_asked_for(tmp_path):
    mono = encode(tmp_path / "mono.mov", "pcm_s16le", tones(rate_hz=8000), 8000, "mono")
    stereo = encode(tmp_path / "stereo.mov", "pcm_s16le", tones(rate_hz=8000), 8000, "stereo")
    np.testing.assert_allclose(read(mono, RATE_HZ), read(stereo, RATE_HZ), atol=1e-6)
    assert read(stereo, RATE_HZ).shape == (2 * RATE_HZ,)


@pytest.mark.parametrize(("start_s", "end_s"), [(0.0, 0.5), (0.7, 1.1), (1.5, None)])
@pytest.mark.parametrize("suffix", ["wav", "mov"])
def test_a_section_is_what_the_whole_has_there(tmp_path, suffix, start_s, end_s):
    path = tmp_path / f"tones.{suffix}"
    said = tones(rate_hz=RATE_HZ)
    if suffix == "wav":
        write(path, said, RATE_HZ)
    else:
        encode(path, "pcm_s16le", said, RATE_HZ, "mono")
    whole = read(path, RATE_HZ)
    section = read(path, RATE_HZ, section=Section(start_s, end_s))
    np.testing.assert_array_equal(section, whole[round(start_s * RATE_HZ) : end_s and round(end_s * RATE_HZ)])


def test_a_file_longer_than_allowed_is_refused_wherever_it_is_read(tmp_path):
    path = encode(tmp_path / "tones.m4a", "aac", tones())
    with pytest.raises(AudioError, match=r"longer than 1 s"):
        read(path, RATE_HZ, longest_s=1)
    assert len(read(path, RATE_HZ, longest_s=1, section=Section(0.5, 1.5))) == RATE_HZ


@pytest.mark.parametrize(("playlist", "name"), [("hls", "list.m3u8"), ("concat", "innocent.m4a")])
def test_a_playlist_given_as_audio_opens_nothing_it_names(tmp_path, playlist, name):
    secret = encode(tmp_path / "secret.aac", "aac", tones())
    texts = {
        "hls": f"#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:10,\n{secret}\n#EXT-X-ENDLIST\n",
        "concat": f"ffconcat version 1.0\nfile {secret.name}\n",
    }
    path = tmp_path / name
    path.write_text(texts[playlist])
    with pytest.raises(AudioError, match="holds no audio"):
        read(path, RATE_HZ)


def test_a_film_without_sound_is_told_apart(tmp_path):
    path = tmp_path / "silent.mov"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=10)
        stream.width = stream.height = 32
        stream.pix_fmt = "yuv420p"
        picture = av.VideoFrame.from_ndarray(np.zeros((32, 32, 3), dtype=np.uint8), format="rgb24")
        for frame in (picture, None):
            container.mux(stream.encode(frame))
    with pytest.raises(AudioError, match="has no sound track"):
        read(path, RATE_HZ)


def test_a_damaged_file_gives_sound_or_one_clear_error(tmp_path):
    good = encode(tmp_path / "good.m4a", "aac", tones()).read_bytes()
    damaged = tmp_path / "damaged.m4a"
    rng = np.random.default_rng(0)
    for _ in range(30):
        data = bytearray(good[: rng.integers(20, len(good) + 1)])
        for at in rng.integers(0, len(data), 8):
            data[at] = rng.integers(256)
        damaged.write_bytes(data)
        try:
            heard = read(damaged, RATE_HZ, longest_s=60)
        except AudioError:
            continue
        assert np.isfinite(heard).all()


@pytest.mark.parametrize(("suffix", "codec"), [("m4a", "aac"), ("aac", "aac"), ("webm", "opus"), ("wma", "wmav2")])
def test_without_the_extra_its_files_name_the_install_line(tmp_path, monkeypatch, suffix, codec):
    path = encode(tmp_path / f"tones.{suffix}", codec, tones())
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingExtra, match="which is not installed") as caught:
        read(path, RATE_HZ)
    assert "pip install 'loquor[podcast]'" in caught.value.hint


def test_without_the_extra_a_text_is_still_no_audio(tmp_path, monkeypatch):
    (tmp_path / "text.wav").write_text("This is no sound.\n" * 100)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(AudioError, match="holds no audio that can be read") as caught:
        read(tmp_path / "text.wav", RATE_HZ)
    assert "m4a" in caught.value.hint
