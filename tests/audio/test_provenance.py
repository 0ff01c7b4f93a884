import re
from pathlib import Path

import numpy as np
import pytest

from loquor.audio.io import write
from loquor.audio.provenance import COMMENT, Provenance, comment_of, today

TONE = (0.3 * np.sin(np.arange(24_000) / 10)).astype(np.float32)


def test_it_is_one_line_that_begins_as_every_file_s_does():
    comment = Provenance("org/name", "Ada\nof; London", "2026-11-21").comment
    assert comment.startswith(f"{COMMENT}; generator: Loquor")
    assert "; model: org/name; voice: Ada of, London; date: 2026-11-21; " in comment
    assert "\n" not in comment


def test_what_is_not_known_is_left_out():
    assert not re.search("model|voice", Provenance().comment)


def test_a_voice_that_is_a_recording_does_not_tell_where_it_lies():
    assert "voice: alice.wav;" in Provenance(voice="/home/alice/private/alice.wav").comment


def test_the_date_can_be_held_still(monkeypatch):
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "0")
    assert today() == Provenance().date == "1970-01-01"


@pytest.mark.parametrize("suffix", [".wav", ".flac", ".ogg", ".opus"])
def test_a_file_keeps_it_in_any_letters(tmp_path, suffix):
    comment = Provenance("model", "آوا").comment
    write(tmp_path / f"tone{suffix}", TONE, 24_000, comment)
    assert comment_of(tmp_path / f"tone{suffix}") == comment


def test_an_mp3_keeps_it_in_letters_that_its_players_can_show(tmp_path):
    write(tmp_path / "tone.mp3", TONE, 24_000, Provenance("model", "Zoé").comment)
    assert "voice: Zo?; " in comment_of(tmp_path / "tone.mp3")


def test_a_file_that_is_no_sound_says_nothing(tmp_path):
    path = tmp_path / "noise.raw"
    path.write_bytes(bytes(100))
    assert comment_of(path) == comment_of(Path(__file__)) == ""
