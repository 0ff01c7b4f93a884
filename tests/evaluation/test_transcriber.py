import importlib.machinery
import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest

from loquor.audio import read
from loquor.errors import MissingExtra
from loquor.evaluation import Moonshine, word_error_rate
from loquor.evaluation.transcriber import read_pieces

needs_moonshine = pytest.mark.skipif(
    not (importlib.util.find_spec("moonshine_voice") and importlib.util.find_spec("onnxruntime")),
    reason="the speech recogniser is not installed",
)


def recording() -> Path:
    """Ten seconds of Beckett, read aloud: the file comes with the recogniser."""
    spec = importlib.util.find_spec("moonshine_voice")
    return Path(spec.submodule_search_locations[0], "assets", "beckett.wav")


@needs_moonshine
@pytest.mark.parametrize("rate_hz", [16000, 24000])
def test_moonshine_hears_what_was_said_at_any_rate(rate_hz):
    said = "Ever tried. Ever failed. No matter. Try again. Fail again. Fail better."
    heard = Moonshine(threads=2).transcribe(read(recording(), rate_hz), rate_hz)
    assert word_error_rate([said], [heard]).errors == 0
    assert "moonshine_voice" not in sys.modules  # found, not imported


@needs_moonshine
def test_moonshine_answers_noise_silence_and_nothing_briefly():
    listener = Moonshine()
    noise = np.random.default_rng(0).uniform(-1, 1, 2 * 24000).astype(np.float32)
    for waveform in (noise, np.zeros_like(noise), noise[:100], noise[:0]):
        assert len(listener.transcribe(waveform, 24000).split()) <= 21  # 6.5 tokens a second and 8


def test_missing_weights_are_named_with_the_install_line(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingExtra, match="not installed") as caught:
        Moonshine()
    assert "pip install --no-deps moonshine-voice==0.0.59" in caught.value.hint


def test_a_release_without_weights_is_told_apart(monkeypatch, tmp_path):
    spec = importlib.machinery.ModuleSpec("moonshine_voice", None, is_package=True)
    spec.submodule_search_locations = [str(tmp_path)]
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: spec)
    with pytest.raises(MissingExtra, match="without its weights"):
        Moonshine()


def test_token_tables_have_empty_short_and_long_pieces():
    long = b"x" * 300
    table = b"\x00" + b"\x02hi" + bytes([300 % 128 + 128, 300 // 128]) + long + b"\x01\xff"
    assert read_pieces(table) == [b"", b"hi", long, b"\xff"]
