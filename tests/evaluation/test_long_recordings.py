"""Long recordings reach a recogniser in pieces that end where nobody speaks."""

from __future__ import annotations

import importlib.util
import itertools
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from loquor.audio import read
from loquor.evaluation.long_recordings import LONGEST_S, InPieces, pieces
from loquor.evaluation.transcriber import Moonshine
from loquor.evaluation.voice_activity import Stretch
from loquor.evaluation.wer import word_error_rate

needs_instruments = pytest.mark.skipif(
    not all(importlib.util.find_spec(name) for name in ("silero_vad", "moonshine_voice", "onnxruntime")),
    reason="the recogniser or the voice activity detector is not installed",
)
gaps = st.tuples(st.floats(0.1, 5), st.floats(0.1, 50))


@given(st.lists(gaps, max_size=20))
def test_pieces_hold_all_speech_in_order_and_none_is_too_long(found: list[tuple[float, float]]) -> None:
    edges = np.cumsum([value for gap in found for value in gap]).reshape(-1, 2)
    stretches = [Stretch(start, end) for start, end in edges.tolist()]
    cut = list(pieces(stretches))
    assert all(0 < piece.end_s - piece.start_s <= LONGEST_S + 1e-9 for piece in cut)
    assert all(one.end_s <= other.start_s for one, other in itertools.pairwise(cut))
    for stretch in stretches:
        held = sum(max(0, min(p.end_s, stretch.end_s) - max(p.start_s, stretch.start_s)) for p in cut)
        assert held == pytest.approx(stretch.end_s - stretch.start_s)


def test_neighbours_are_joined_as_far_as_they_fit() -> None:
    stretches = [Stretch(0, 9), Stretch(10, 19), Stretch(19.5, 30), Stretch(31, 75)]
    assert list(pieces(stretches)) == [
        Stretch(0, 19), Stretch(19.5, 30), Stretch(31, 51), Stretch(51, 71), Stretch(71, 75)
    ]  # fmt: skip


class Counting:
    """A transcriber that says how long what it heard was."""

    def transcribe(self, waveform: np.ndarray, sample_rate_hz: int) -> str:
        return f"{len(waveform) / sample_rate_hz:.0f}"


def test_a_short_recording_is_heard_whole() -> None:
    assert InPieces(Counting()).transcribe(np.zeros(32_000, np.float32), 16_000) == "2"


@needs_instruments
def test_a_long_recording_is_written_down_to_its_end() -> None:
    (assets,) = importlib.util.find_spec("moonshine_voice").submodule_search_locations  # type: ignore[union-attr, misc]
    sound = read(Path(assets, "assets", "beckett.wav"), 16_000)  # ten seconds, read aloud
    said = "Ever tried. Ever failed. No matter. Try again. Fail again. Fail better."
    heard = InPieces(Moonshine(threads=2)).transcribe(np.tile(sound, 3), 16_000)
    assert word_error_rate([" ".join([said] * 3)], [heard]).errors <= 1
