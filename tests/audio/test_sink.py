import os
import resource
import subprocess
import sys

import numpy as np
import pytest

from loquor.audio import CONTAINERS, open_sink, pcm16, read
from loquor.errors import AudioError, LoquorError

RATE_HZ = 24000
NOISE = np.random.default_rng(0).uniform(-1, 1, 10 * RATE_HZ).astype(np.float32)
every_format = pytest.mark.parametrize("suffix", CONTAINERS)


@pytest.fixture
def files_up_to_16_kb():
    """A disk that is full after 16 KB, as far as this process can see."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (16384, hard))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@every_format
def test_a_file_appears_only_when_the_block_ends(tmp_path, suffix):
    path = tmp_path / f"speech{suffix}"
    with open_sink(path, RATE_HZ) as sink:
        for chunk in np.split(NOISE, 30):
            sink.write(chunk)
            assert not path.exists()
    assert os.listdir(tmp_path) == [path.name]
    assert read(path, RATE_HZ).shape == NOISE.shape


@every_format
@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, OSError])
def test_an_exception_leaves_nothing_behind_and_passes_through(tmp_path, suffix, error):
    def speak():
        with open_sink(tmp_path / f"speech{suffix}", RATE_HZ) as sink:
            sink.write(NOISE)
            raise error("from the model")

    with pytest.raises(error, match="from the model"):
        speak()
    assert os.listdir(tmp_path) == []


@every_format
def test_a_full_disk_is_one_clear_error_and_leaves_the_old_file_alone(tmp_path, suffix, files_up_to_16_kb, capfd):
    path = tmp_path / f"speech{suffix}"
    path.write_bytes(b"what was there")

    def speak():
        with open_sink(path, RATE_HZ) as sink:
            sink.write(NOISE)

    with pytest.raises(LoquorError, match=f"cannot write .*speech{suffix}: File too large") as caught:
        speak()
    assert caught.value.hint
    assert os.listdir(tmp_path) == [path.name]
    assert path.read_bytes() == b"what was there"
    assert capfd.readouterr() == ("", "")  # nothing from inside libsndfile either


def test_a_full_disk_that_shows_only_at_the_end_is_an_error_too(tmp_path, monkeypatch):
    def replace(source, target):
        raise OSError(28, "No space left on device")

    def speak():
        with open_sink(tmp_path / "speech.wav", RATE_HZ) as sink:
            sink.write(NOISE)
            monkeypatch.setattr(os, "replace", replace)

    with pytest.raises(LoquorError, match="No space left on device") as caught:
        speak()
    assert "free some space" in caught.value.hint
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("speech", "which format"),
        ("speech.aac", "which format"),
        (".wav", "which format"),
        ("folder.wav", "no regular file"),
        ("fifo.wav", "no regular file"),
        ("absent/speech.wav", "No such file or directory"),
        ("file/speech.wav", "Not a directory"),
        ("x" * 300 + ".wav", "File name too long"),
    ],
)
def test_a_name_that_cannot_be_written_is_refused_with_the_reason(tmp_path, name, message):
    (tmp_path / "folder.wav").mkdir()
    (tmp_path / "file").touch()
    os.mkfifo(tmp_path / "fifo.wav")
    before = sorted(os.listdir(tmp_path))
    with pytest.raises(LoquorError, match=message), open_sink(tmp_path / name, RATE_HZ) as sink:
        sink.write(NOISE)
    assert sorted(os.listdir(tmp_path)) == before


@pytest.mark.parametrize(("suffix", "rate_hz"), [(".opus", 22050), (".mp3", 96000), (".wav", 0), (".ogg", -1)])
def test_a_rate_the_format_cannot_hold_is_refused(tmp_path, suffix, rate_hz):
    with pytest.raises(LoquorError), open_sink(tmp_path / f"speech{suffix}", rate_hz) as sink:
        sink.write(NOISE)
    assert os.listdir(tmp_path) == []


@every_format
def test_no_sound_at_all_makes_no_file(tmp_path, suffix):
    with pytest.raises(AudioError, match="no sound"), open_sink(tmp_path / f"speech{suffix}", RATE_HZ) as sink:
        sink.write(NOISE[:0])
    assert os.listdir(tmp_path) == []


def test_samples_that_are_no_numbers_are_never_written(tmp_path):
    with pytest.raises(AudioError, match="no numbers"), open_sink(tmp_path / "speech.wav", RATE_HZ) as sink:
        sink.write(np.array([0.0, np.nan], dtype=np.float32))
    assert os.listdir(tmp_path) == []


def test_a_link_stays_and_its_file_is_replaced(tmp_path):
    (tmp_path / "real.wav").write_bytes(b"old")
    (tmp_path / "link.wav").symlink_to("real.wav")
    with open_sink(tmp_path / "link.wav", RATE_HZ) as sink:
        sink.write(NOISE)
    assert (tmp_path / "link.wav").is_symlink()
    assert read(tmp_path / "real.wav", RATE_HZ).shape == NOISE.shape


def test_a_file_has_the_permissions_the_user_gives_new_files(tmp_path):
    with open_sink(tmp_path / "speech.wav", RATE_HZ) as sink:
        sink.write(NOISE)
    (tmp_path / "other").touch()
    assert (tmp_path / "speech.wav").stat().st_mode == (tmp_path / "other").stat().st_mode


SPEAK_FOREVER = """
import numpy as np
from loquor.audio import open_sink
from loquor.errors import LoquorError
try:
    with open_sink("-", 24000) as sink:
        while True:
            sink.write(np.full(3200, 0.5, dtype=np.float32))
except LoquorError as error:
    raise SystemExit(f"{error} ({error.hint})")
"""


def _speaker(**pipes):
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    return subprocess.Popen([sys.executable, "-c", SPEAK_FOREVER], stderr=subprocess.PIPE, env=environment, **pipes)


def test_stdout_carries_pcm_and_a_listener_who_leaves_is_no_error():
    with _speaker(stdout=subprocess.PIPE) as speaker:
        heard = speaker.stdout.read(6400)
        speaker.stdout.close()
        complaints = speaker.stderr.read()
    assert heard == pcm16(np.full(3200, 0.5, dtype=np.float32)).tobytes() == b"\x00\x40" * 3200
    assert (speaker.returncode, complaints) == (0, b"")


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="a device of Linux")
def test_stdout_into_a_full_disk_is_one_clear_error():
    with open("/dev/full", "wb") as full, _speaker(stdout=full) as speaker:
        complaints = speaker.stderr.read().decode()
    expected = "cannot write standard output: No space left on device (free some space, or write to another disk)\n"
    assert (speaker.returncode, complaints) == (1, expected)


def test_a_broken_pipe_of_the_caller_is_not_swallowed(monkeypatch):
    with pytest.raises(BrokenPipeError), open_sink("-", RATE_HZ):
        raise BrokenPipeError


def test_a_terminal_gets_a_hint_and_no_noise(monkeypatch):
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    with pytest.raises(AudioError, match="terminal") as caught, open_sink("-", RATE_HZ):
        pass
    assert "aplay -f S16_LE -r 24000" in caught.value.hint
