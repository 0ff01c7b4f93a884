"""The front end of SenseVoice. Frames are compared with kaldi-native-fbank 1.23.0, whose figures are noted here."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from loquor.errors import AudioError, CheckpointError
from loquor.models.vita.speech_features import FrontEnd, joined, log_mel

RECORDED = {  # every eighth of 80 channels
    0: [12.1611, 22.8594, 13.1946, 10.5784, 10.3852, 10.2197, 10.0559, 9.8898, 9.6901, 9.5491],
    40: [12.4346, 13.3842, 14.0052, 14.1536, 17.6579, 15.8889, 14.3875, 13.7239, 13.3204, 13.079],
    96: [12.8001, 13.2791, 13.9452, 12.8074, 13.6781, 15.0507, 16.9186, 18.2121, 15.7601, 14.963],
}


def sweep() -> Tensor:
    """A tone that rises from 200 Hz by 3 kHz in a second, of amplitude 0.3."""
    time = torch.arange(15777, dtype=torch.float64) / 16000
    return (0.3 * torch.sin(2 * torch.pi * (200 + 1500 * time) * time)).float()


def statistics(shift: str, scale: str) -> str:
    return (
        "<Nnet>\n<Splice> 560 560\n[ 0 ]\n<AddShift> 560 560\n<LearnRateCoef> 0 [ "
        f"{shift} ]\n<Rescale> 560 560\n<LearnRateCoef> 0 [ {scale} ]\n</Nnet>\n"
    )


@pytest.mark.parametrize("frame", RECORDED)
def test_frames_are_kaldis(frame: int) -> None:
    torch.testing.assert_close(log_mel(sweep())[frame, ::8], torch.tensor(RECORDED[frame]), atol=2e-3, rtol=0)


def test_silence_is_the_log_of_the_smallest_step() -> None:
    assert log_mel(torch.zeros(400)).unique().tolist() == [pytest.approx(-15.9424, abs=1e-4)]


@given(samples=st.integers(400, 4000))
def test_only_whole_frames_count(samples: int) -> None:
    assert len(log_mel(torch.zeros(samples))) == 1 + (samples - 400) // 160


@given(frames=st.integers(1, 50))
def test_every_sixth_frame_stands_in_the_middle_of_its_neighbours(frames: int) -> None:
    numbers = torch.arange(frames, dtype=torch.float32)[:, None]

    rows = joined(numbers)

    assert rows.shape == (-(-frames // 6), 7)
    for i, row in enumerate(rows.tolist()):
        assert row == [float(min(max(6 * i + offset, 0), frames - 1)) for offset in range(-3, 4)]


def test_features_are_shifted_then_scaled(tmp_path: Path) -> None:
    (tmp_path / "am.mvn").write_text(statistics("-8.5 " * 560, "0.25 " * 560), encoding="utf-8")

    features = FrontEnd.load(tmp_path)(sweep())

    torch.testing.assert_close(features, (joined(log_mel(sweep())) - 8.5) * 0.25)
    assert features.shape == (17, 560)


@pytest.mark.parametrize("text", ["", statistics("1 " * 559, "1 " * 560), statistics("1 " * 559 + "x", "1 " * 560)])
def test_damaged_statistics_are_refused(text: str, tmp_path: Path) -> None:
    (tmp_path / "am.mvn").write_text(text, encoding="utf-8")

    with pytest.raises(CheckpointError, match="has no <AddShift> of 560 numbers"):
        FrontEnd.load(tmp_path)


def test_missing_statistics_are_named_with_where_to_get_them(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"cannot read .*am\.mvn") as refused:
        FrontEnd.load(tmp_path)
    assert "FunAudioLLM/SenseVoiceSmall" in refused.value.hint


@pytest.mark.parametrize("samples", [0, 399])
def test_audio_shorter_than_a_frame_is_refused(samples: int) -> None:
    with pytest.raises(AudioError, match="too short to be heard"):
        log_mel(torch.zeros(samples))
