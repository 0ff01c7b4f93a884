"""Tags and chapters, read back by ffmpeg, and the sound they must not touch."""

import json

import numpy as np
import pytest
import soundfile

from loquor.audio import write
from loquor.audio.chapters import Chapter, Tags, can_hold_chapters, clock, write_chapters, write_tags
from loquor.errors import AudioError, LoquorError

av = pytest.importorskip("av", reason="tagging needs PyAV, an extra")

RATE = 24_000
CHAPTERS = [Chapter(0.0, "Vorwort: schön"), Chapter(1.25, "گفتگو"), Chapter(2.5, "End = over; #3")]
TAGS = Tags(title="Episode 7", artist="Ada, Bo", date="2026-11-21")
WITH_CHAPTERS = [".mp3", ".m4a", ".flac", ".ogg", ".opus"]


def sound(seconds=4.0):
    return (0.2 * np.random.default_rng(0).standard_normal(round(seconds * RATE))).astype(np.float32)


@pytest.fixture
def file_of(tmp_path):
    def make(suffix):
        path = tmp_path / f"episode{suffix}"
        if suffix != ".m4a":
            write(path, sound(), RATE)
            return path
        with av.open(str(path), "w") as container:
            stream = container.add_stream("aac", rate=RATE, layout="mono")
            frame = av.AudioFrame.from_ndarray(sound()[None], format="fltp", layout="mono")
            frame.sample_rate = RATE
            for packet in [*stream.encode(frame), *stream.encode(None)]:
                container.mux(packet)
        return path

    return make


def decoded(path):
    with av.open(str(path)) as container:
        return np.concatenate([frame.to_ndarray().reshape(-1) for frame in container.decode(audio=0)])


def read_back(path):
    with av.open(str(path)) as container:
        chapters = [
            (float(c["start"] * c["time_base"]), float(c["end"] * c["time_base"]), c["metadata"]["title"])
            for c in container.chapters()
        ]
        tags = {**container.metadata, **container.streams.audio[0].metadata}
        return chapters, {name.lower(): text for name, text in tags.items()}


@pytest.mark.parametrize("suffix", WITH_CHAPTERS)
def test_chapters_and_tags_are_in_the_file_and_the_sound_is_untouched(file_of, suffix):
    path = file_of(suffix)
    before = decoded(path)
    write_tags(path, TAGS, CHAPTERS)
    chapters, tags = read_back(path)
    assert [title for _, _, title in chapters] == [chapter.title for chapter in CHAPTERS]
    assert [start for start, _, _ in chapters] == [0.0, 1.25, 2.5]
    assert [end for _, end, _ in chapters] == [1.25, 2.5, pytest.approx(4.0, abs=0.05)]  # lossy formats pad
    assert tags["title"] == "Episode 7"
    assert tags["artist"] == "Ada, Bo"
    assert tags["date"].startswith("2026")
    assert tags["comment"] == "AI-generated speech (Loquor)"
    assert np.array_equal(decoded(path), before)


def test_an_mp3_has_the_frames_that_podcast_players_read(file_of):
    path = file_of(".mp3")
    write_tags(path, TAGS, CHAPTERS)
    data = path.read_bytes()
    assert data[:3] == b"ID3" and data[3] == 3
    assert data.count(b"CHAP") == 3


def test_a_wav_takes_tags_but_no_chapters(file_of):
    path = file_of(".wav")
    before = soundfile.read(path, dtype="int16")[0]
    write_tags(path, TAGS)
    assert read_back(path)[1]["title"] == "Episode 7"
    assert np.array_equal(soundfile.read(path, dtype="int16")[0], before)
    assert not can_hold_chapters(path)
    with pytest.raises(AudioError, match=r"\.wav file has no place for chapters"):
        write_tags(path, TAGS, CHAPTERS)


@pytest.mark.parametrize("suffix", [".wav", *WITH_CHAPTERS])
def test_the_same_file_is_tagged_with_the_same_bytes(file_of, suffix):
    path = file_of(suffix)
    data, made = path.read_bytes(), []
    for _ in range(2):
        path.write_bytes(data)
        write_tags(path, TAGS, CHAPTERS if can_hold_chapters(path) else ())
        made.append(path.read_bytes())
    assert made[0] == made[1] != data


def test_new_tags_replace_the_old_ones(file_of):
    path = file_of(".flac")
    write_tags(path, TAGS, CHAPTERS)
    write_tags(path, Tags(title="Again"), CHAPTERS[:1])
    chapters, tags = read_back(path)
    assert [title for _, _, title in chapters] == [CHAPTERS[0].title]
    assert (tags["title"], "artist" in tags) == ("Again", False)


def test_what_cannot_be_tagged_stays_as_it_was(tmp_path):
    path = tmp_path / "notes.mp3"
    path.write_text("not a sound")
    with pytest.raises(LoquorError):
        write_tags(path, TAGS, CHAPTERS)
    assert path.read_text() == "not a sound"
    assert list(tmp_path.iterdir()) == [path]


def test_the_json_beside_the_file_is_that_of_the_podcast_namespace(tmp_path):
    write_chapters(tmp_path / "episode.chapters.json", CHAPTERS)
    assert json.loads((tmp_path / "episode.chapters.json").read_text(encoding="utf-8")) == {
        "version": "1.2.0",
        "chapters": [
            {"startTime": 0.0, "title": "Vorwort: schön"},
            {"startTime": 1.25, "title": "گفتگو"},
            {"startTime": 2.5, "title": "End = over; #3"},
        ],
    }


def test_times_read_as_a_clock():
    assert [clock(s) for s in (0, 59.9996, 3661.5, 36000)] == [
        "00:00:00.000",
        "00:01:00.000",
        "01:01:01.500",
        "10:00:00.000",
    ]
