"""Codes of recordings are made once and kept."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from loquor.errors import AudioError, InputError
from loquor.models.vita.vocabulary import AudioTokens
from loquor.training.vita.code_store import CodeStore

TOKENS = AudioTokens("sensevoice_toy", 100, hears_features=True)


class Encoder:
    """Gives the same codes and counts how often it is asked."""

    def __init__(self, codes: Sequence[int] = (5, 6, 99)) -> None:
        self.codes, self.calls = codes, 0

    def __call__(self, recording: Path) -> Sequence[int]:
        self.calls += 1
        return self.codes


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    path = tmp_path / "data" / "x.wav"
    path.parent.mkdir()
    path.touch()
    return path


def test_codes_are_kept_beside_the_recording_under_the_published_name(recording: Path) -> None:
    encoder = Encoder()

    assert CodeStore(TOKENS, encoder)(recording) == (5, 6, 99)
    assert json.loads(recording.with_name("x_toy.json").read_text()) == [5, 6, 99]
    assert CodeStore(TOKENS, encoder)(recording) == (5, 6, 99) and encoder.calls == 1


def test_a_folder_of_its_own_leaves_the_data_as_it_is(recording: Path, tmp_path: Path) -> None:
    encoder = Encoder()
    store = CodeStore(TOKENS, encoder, tmp_path / "codes")

    assert [store(recording), store(recording)] == [(5, 6, 99)] * 2 and encoder.calls == 1
    assert [path.name for path in recording.parent.iterdir()] == ["x.wav"]


def test_codes_that_are_there_win_even_without_the_recording(recording: Path) -> None:
    recording.with_name("x_toy.json").write_text("[1, 2]")
    recording.unlink()

    assert CodeStore(TOKENS, Encoder())(recording) == (1, 2)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("[1, 2", "cannot read the codes"),
        ("[]", "holds no codes"),
        ("{}", "holds no codes"),
        ("[1, true]", "holds no codes"),
        ("[1.0]", "holds no codes"),
        ("[3, 100]", "holds code 100, sensevoice_toy has 100"),
        ("[-1]", "holds code -1"),
    ],
)
def test_damaged_codes_are_refused(text: str, complaint: str, recording: Path) -> None:
    recording.with_name("x_toy.json").write_text(text)

    with pytest.raises(InputError, match=complaint):
        CodeStore(TOKENS, Encoder())(recording)


def test_a_missing_recording_and_one_that_is_too_short_are_refused(recording: Path) -> None:
    with pytest.raises(AudioError, match=r"y\.wav does not exist"):
        CodeStore(TOKENS, Encoder())(recording.with_name("y.wav"))
    with pytest.raises(AudioError, match="too short"):
        CodeStore(TOKENS, Encoder(()))(recording)
    assert not recording.with_name("x_toy.json").exists()
