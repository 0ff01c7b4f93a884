"""`loquor speak` with a long-form model: the same command, with recordings for voices and scripts for texts."""

import numpy as np
import pytest
import soundfile

from toy_longform import toy_waveform, write_toy

SCRIPT = "Speaker 1: Hello there.\nSpeaker 2: Good morning!"


@pytest.fixture(scope="module")
def longform_folder(tmp_path_factory):
    return write_toy(tmp_path_factory.mktemp("longform") / "toy", frames_per_token=0.2)


@pytest.fixture
def voice_file(tmp_path):
    """A recording that is long enough."""
    soundfile.write(tmp_path / "ada.wav", toy_waveform(3.5), 24_000)
    return tmp_path / "ada.wav"


def test_a_text_and_a_recording_become_a_file(loquor, longform_folder, voice_file):
    done = loquor("speak", "Hello there.", "-m", longform_folder, "--voice", voice_file, "--seed", "2", "--json")
    assert done.code == 0, done.err
    sound, rate = soundfile.read("speech.wav")
    assert rate == 24_000
    assert len(sound) % 3200 == 0
    assert len(sound) / rate == pytest.approx(done.json["seconds"])
    without = loquor("speak", "Hello there.", "-m", longform_folder, "--seed", "2", "-o", "-").out
    assert not np.array_equal(
        np.frombuffer(without, "<i2")[:3200], soundfile.read("speech.wav", dtype="int16")[0][:3200]
    )


def test_a_script_comes_from_argument_file_or_pipe(loquor, longform_folder, tmp_path):
    (tmp_path / "script.txt").write_text(SCRIPT, encoding="utf-8-sig")
    ways = [(SCRIPT,), ("-f", tmp_path / "script.txt"), ("-",)]
    sounds = [loquor("speak", *way, "-m", longform_folder, "-o", "-", stdin=SCRIPT.encode()).out for way in ways]
    assert len(sounds[0]) > 6400
    assert sounds.count(sounds[0]) == len(ways)


def test_one_voice_for_two_speakers_is_one_line_that_says_so(loquor, longform_folder, voice_file):
    done = loquor("speak", SCRIPT, "-m", longform_folder, "--voice", voice_file)
    assert (done.code, done.out) == (1, b"")
    assert "there is one voice for 2 speakers: Speaker 1, Speaker 2" in done.err
    assert "Traceback" not in done.err
