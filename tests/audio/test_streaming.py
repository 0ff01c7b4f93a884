"""Speech as bytes while it is made: every format decodes to what was said, however it was cut, and begins early."""

from __future__ import annotations

import io
import wave

import av
import numpy as np
import pytest
import soundfile

from loquor.audio.streaming import FORMATS, open_encoder
from loquor.errors import AudioError

RATE = 24_000
TIME = np.arange(2 * RATE) / RATE
SOUND = (0.3 * np.sin(2 * np.pi * 220 * TIME) * (1 + np.sin(7 * TIME)) / 2).astype(np.float32)
FRAME = 3200
LOSSLESS = ("wav", "flac", "pcm")


def encoded(name: str, cut: int = FRAME, is_whole: bool = False) -> list[bytes]:
    encoder = open_encoder(name, RATE, is_whole)
    return [*(encoder.push(SOUND[at : at + cut]) for at in range(0, len(SOUND), cut)), encoder.finish()]


def decoded(name: str, data: bytes) -> np.ndarray:
    """As FFmpeg hears it, which plays streams as browsers do."""
    if name == "pcm":
        return np.frombuffer(data, "<i2").astype(np.float32) / 32767
    with av.open(io.BytesIO(data)) as container:
        assert container.streams.audio[0].rate in (RATE, 48_000)
        converter = av.AudioResampler(format="fltp", layout="mono", rate=RATE)
        frames = [*container.decode(audio=0), None]
        return np.concatenate([part.to_ndarray()[0] for frame in frames for part in converter.resample(frame)])


def likeness(heard: np.ndarray) -> float:
    """Correlation with what was said, at the best delay of up to 0.1 s: encoders of their kind have one."""
    length = len(SOUND) - RATE // 10
    windows = (heard[delay : delay + length] for delay in range(0, RATE // 10, 4))
    return max(float(np.corrcoef(w, SOUND[: len(w)])[0, 1]) for w in windows if len(w) > RATE)


@pytest.mark.parametrize("is_whole", [False, True], ids=["streamed", "whole"])
@pytest.mark.parametrize("name", FORMATS)
def test_every_format_decodes_to_what_was_said(name: str, is_whole: bool) -> None:
    heard = decoded(name, b"".join(encoded(name, is_whole=is_whole)))
    if name in LOSSLESS:
        np.testing.assert_allclose(heard, SOUND, atol=1 / 32000)  # half a step of 16 bits, and 32768 for 32767
    else:
        assert abs(len(heard) - len(SOUND)) < 0.15 * RATE  # an encoder's delay and its last frame
        assert likeness(heard) > 0.99


@pytest.mark.parametrize("name", FORMATS)
def test_sound_leaves_within_three_frames_and_all_along(name: str) -> None:
    sizes = [len(part) for part in encoded(name)]
    assert sum(sizes[:3]) > 0.05 * sum(sizes)
    assert all(sum(sizes[at : at + 5]) > 0 for at in range(len(sizes) - 5))


@pytest.mark.parametrize("name", LOSSLESS)
def test_however_speech_is_cut_the_bytes_are_the_same(name: str) -> None:
    assert b"".join(encoded(name, cut=777)) == b"".join(encoded(name))


def test_a_whole_wav_knows_its_length_and_a_streamed_one_can_be_read_to_its_end() -> None:
    with wave.open(io.BytesIO(b"".join(encoded("wav", is_whole=True)))) as file:
        assert file.getnframes() == len(SOUND)
    with wave.open(io.BytesIO(b"".join(encoded("wav")))) as file:
        assert len(file.readframes(10**6)) == 2 * len(SOUND)


def test_a_whole_flac_knows_its_length() -> None:
    assert soundfile.info(io.BytesIO(b"".join(encoded("flac", is_whole=True)))).frames == len(SOUND)


@pytest.mark.parametrize("name", ["mp3", "opus", "flac", "wav"])
def test_a_stream_says_that_a_machine_spoke(name: str) -> None:
    assert b"AI-generated speech" in b"".join(encoded(name))


@pytest.mark.parametrize("name", FORMATS)
def test_nothing_said_is_no_failure(name: str) -> None:
    open_encoder(name, RATE).finish()


@pytest.mark.parametrize("name", FORMATS)
def test_samples_that_are_no_numbers_are_refused(name: str) -> None:
    with pytest.raises(AudioError, match="no numbers"):
        open_encoder(name, RATE).push(np.array([0.0, np.nan], dtype=np.float32))


def test_an_unknown_format_is_refused_with_the_known_ones() -> None:
    with pytest.raises(AudioError, match="there is no format 'wma'") as caught:
        open_encoder("wma", RATE)
    assert "mp3, opus, aac, flac, wav, pcm" in caught.value.hint


def test_a_rate_that_a_format_cannot_hold_is_refused() -> None:
    with pytest.raises(AudioError, match="opus cannot hold 22050 Hz"):
        open_encoder("opus", 22_050)
