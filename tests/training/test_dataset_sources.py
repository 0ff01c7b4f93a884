"""Sources: the layouts that corpora come in, and what is said of a faulty one."""

import json

import pytest

from loquor.errors import InputError
from loquor.training.dataset.records import Dropped, RawItem
from loquor.training.dataset.sounds import SoundFile
from loquor.training.dataset.sources import LAYOUTS, open_source


def touch(*paths):
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")


def test_pairs_are_recordings_beside_their_texts(tmp_path):
    touch(tmp_path / "b.FLAC", tmp_path / "anna" / "x" / "c.mp3")
    (tmp_path / "b.txt").write_text("\ufeffGood morning.\n", encoding="utf-8")
    (tmp_path / "anna" / "x" / "c.txt").write_text("Yes.", encoding="utf-8")

    source = open_source(tmp_path)

    assert source.layout == "pairs"
    assert list(source) == [
        RawItem("b", "Good morning.\n", SoundFile(tmp_path / "b.FLAC")),
        RawItem("anna/x/c", "Yes.", SoundFile(tmp_path / "anna/x/c.mp3"), speaker="anna"),
    ]


def test_a_half_of_a_pair_is_listed_not_lost(tmp_path):
    touch(tmp_path / "a" / "alone.wav", tmp_path / "a" / "latin.wav")
    (tmp_path / "a" / "latin.txt").write_bytes("Größe".encode("latin-1"))
    (tmp_path / "a" / "only.txt").write_text("Nobody said this.", encoding="utf-8")

    dropped = list(open_source(tmp_path))

    assert all(isinstance(one, Dropped) for one in dropped)
    assert [(one.id, one.reason) for one in dropped] == [
        ("a/alone", "no-text"),
        ("a/latin", "no-text"),
        ("a/only", "no-sound"),
    ]
    assert "UTF-8" in dropped[1].detail


def test_json_lines_have_paths_relative_to_their_file(tmp_path):
    lines = [
        {"text": "One.", "audio": "a/1.wav"},
        {"text": "Two.", "audio": "2.wav", "voice_prompts": "v.wav", "speaker": "ada", "language": "en", "id": "two"},
        {"text": "Speaker 0: Hi.\nSpeaker 1: Yo.", "audio": "/x/3.wav", "voice_prompts": ["v.wav", "w.wav"]},
        {"text": None, "audio": "4.wav", "voice_prompts": None, "speaker": None},
    ]
    path = tmp_path / "list.jsonl"
    path.write_text("\n\n".join(map(json.dumps, lines)), encoding="utf-8")

    first, second, third, fourth = open_source(path)

    assert first == RawItem("a/1", "One.", SoundFile(tmp_path / "a/1.wav"))
    voice = SoundFile(tmp_path / "v.wav")
    assert second == RawItem("two", "Two.", SoundFile(tmp_path / "2.wav"), "ada", "en", (voice,))
    assert third.voices == (voice, SoundFile(tmp_path / "w.wav")) and third.sound.name == "/x/3.wav"
    assert (fourth.text, fourth.voices, fourth.speaker) == ("", (), "")


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        ("{", ":2: this is no JSON"),
        ("[1]", ":2: this is no object"),
        ('{"text": "x", "audio": "a.wav", "gender": "f"}', ":2: unknown key 'gender'"),
        ('{"text": "x"}', ":2: there is no 'audio'"),
        ('{"text": 5, "audio": "a.wav"}', ":2: text is 5"),
        ('{"text": "x", "audio": "a.wav", "voice_prompts": ["a.wav", 3]}', ":2: voice_prompts is 3"),
    ],
)
def test_a_faulty_line_of_json_is_named(tmp_path, line, fault):
    path = tmp_path / "list.jsonl"
    path.write_text('{"text": "fine", "audio": "fine.wav"}\n' + line, encoding="utf-8")
    with pytest.raises(InputError) as error:
        list(open_source(path))
    assert f"{path}{fault}" in str(error.value)


def test_ljspeech_has_the_text_in_words_last(tmp_path):
    (tmp_path / "metadata.csv").write_text('LJ1|In 1985,|In nineteen "eighty five,\nLJ2|Only this.\n', encoding="utf-8")
    touch(tmp_path / "wavs" / "LJ1.wav", tmp_path / "wavs" / "LJ2.ogg")

    source = open_source(tmp_path)

    assert source.layout == "ljspeech"
    assert list(source) == [
        RawItem("LJ1", 'In nineteen "eighty five,', SoundFile(tmp_path / "wavs/LJ1.wav")),
        RawItem("LJ2", "Only this.", SoundFile(tmp_path / "wavs/LJ2.ogg")),
    ]


@pytest.mark.parametrize("line", ["LJ1", "a|b|c|d", "|text"])
def test_a_faulty_line_of_ljspeech_is_named(tmp_path, line):
    (tmp_path / "metadata.csv").write_text(f"ok|fine\n{line}\n", encoding="utf-8")
    with pytest.raises(InputError, match=r"metadata\.csv:2: \d fields"):
        list(open_source(tmp_path))


def common_voice(folder, name, *rows):
    (folder / "clips").mkdir(exist_ok=True)
    header = "client_id\tpath\tsentence\tlocale"
    (folder / name).write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")


def test_common_voice_takes_the_validated_recordings(tmp_path):
    common_voice(tmp_path, "train.tsv", "me\tno.mp3\tNo.\tde")
    common_voice(tmp_path, "validated.tsv", 'me\tc_1.mp3\t"Ja, sagte er.\tde')

    source = open_source(tmp_path)

    assert source.layout == "common-voice"
    assert list(source) == [RawItem("c_1", '"Ja, sagte er.', SoundFile(tmp_path / "clips/c_1.mp3"), "me", "de")]


@pytest.mark.parametrize("row", ["me\tc.mp3\tone two", "me\tc.mp3\tone\tde\ttoo many"])
def test_a_faulty_line_of_common_voice_is_named(tmp_path, row):
    common_voice(tmp_path, "train.tsv", "me\ta.mp3\tfine\tde", row)
    with pytest.raises(InputError, match=r"train\.tsv:3: not 4 fields"):
        list(open_source(tmp_path))


def test_a_file_that_is_not_utf_8_is_named(tmp_path):
    (tmp_path / "metadata.csv").write_bytes(b"a|fine\nb|Gr\xfc\xdfe\n")
    with pytest.raises(InputError, match=r"metadata\.csv: something after line \d is not UTF-8") as error:
        list(open_source(tmp_path))
    assert "iconv" in error.value.hint


@pytest.mark.parametrize("name", ["missing", "empty", "notes.md"])
def test_what_is_no_source_is_refused_with_what_would_be_one(tmp_path, name):
    (tmp_path / "empty").mkdir()
    (tmp_path / "notes.md").write_text("notes")
    with pytest.raises(InputError) as error:
        open_source(tmp_path / name)
    assert "folder" in error.value.hint or "pairs" in error.value.hint


def test_a_layout_can_be_named_where_a_folder_shows_another(tmp_path):
    (tmp_path / "metadata.csv").write_text("x|y\n")
    touch(tmp_path / "a.wav")
    assert open_source(tmp_path).layout == "ljspeech"
    assert open_source(tmp_path, "pairs").layout == "pairs"
    with pytest.raises(InputError) as error:
        open_source(tmp_path, "kaldi")
    assert all(layout in error.value.hint for layout in LAYOUTS)


def test_a_recording_that_changes_has_another_stamp(tmp_path):
    sound = SoundFile(tmp_path / "a.wav")
    stamps = [sound.stamp()]
    for content in (b"a", b"ab"):
        sound.path.write_bytes(content)
        stamps.append(sound.stamp())
    assert len(set(stamps)) == 3
