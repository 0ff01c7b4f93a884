"""The mark from outside: put on by `loquor speak` and `loquor podcast`, found by `loquor watermark detect`."""

import numpy as np
import pytest
import soundfile

from loquor.audio import read, write
from loquor.audio.watermark import Marker


@pytest.fixture
def long_speech(loquor, talkative):
    """Ten seconds of a toy, as `speak` writes them."""

    def speak(name, *options):
        text = "one two three four five six seven eight nine ten eleven twelve"
        done = loquor("speak", text, "-m", talkative, "-o", name, "--steps", 1, *options)
        assert done.code == 0, done.err
        return done

    return speak


def test_what_was_spoken_is_found_and_tells_what_made_it(loquor, long_speech):
    long_speech("speech.opus")
    found = loquor("watermark", "detect", "speech.opus")
    assert found.code == 0
    assert found.text.splitlines()[0].startswith("speech.opus: has Loquor's watermark: it is generated speech (score ")
    assert "its file says: AI-generated speech (Loquor); " in found.text
    assert "model: talkative; " in found.text


def test_it_can_be_left_out_which_is_told_once_and_the_file_says_it_all_the_same(loquor, long_speech):
    done = long_speech("speech.wav", "--no-watermark")
    assert done.err.count("the watermark is off") == 1
    found = loquor("watermark", "detect", "speech.wav")
    assert found.code == 3
    assert "no watermark found" in found.text
    assert "AI-generated speech" in found.text


def test_machines_read_the_same(loquor, tmp_path):
    noise = 0.1 * np.random.default_rng(0).standard_normal(6 * 24_000).astype(np.float32)
    write(tmp_path / "a.flac", Marker(24_000).mark(noise), 24_000)
    found = loquor("watermark", "detect", tmp_path / "a.flac", "--json")
    assert found.code == 0
    assert found.json["present"] and found.json["confidence"] > 0.999999
    assert found.json["spans_s"] == [[0.0, pytest.approx(6, abs=0.1)]]
    assert found.json["comment"] == "AI-generated speech (Loquor)"


def test_what_cannot_be_read_is_an_error_and_not_an_answer(loquor, tmp_path):
    (tmp_path / "note.wav").write_text("no sound")
    assert loquor("watermark", "detect", tmp_path / "note.wav").code == 1
    assert loquor("watermark", "detect", tmp_path / "missing.wav").code == 1
    assert loquor("watermark", "detect").code == 2


def test_sound_on_stdout_is_marked_too(loquor, talkative, long_speech):
    streamed = np.frombuffer(long_speech("-").out, dtype="<i2").astype(np.float32) / 32767
    long_speech("file.wav")
    np.testing.assert_allclose(read("file.wav", 24_000), streamed, rtol=0, atol=2 / 32767)
    soundfile.write("streamed.wav", streamed, 24_000)
    assert loquor("watermark", "detect", "streamed.wav").code == 0
