"""Subtitles show every word while it is heard, in lines that can be read, and can be spoken again."""

from __future__ import annotations

from itertools import groupby, pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loquor.errors import InputError
from loquor.text.script import Script, parse_script, read_script
from loquor.text.subtitles import LINE_COLUMNS, Cue, cues_of, srt, transcript, vtt, write_subtitles

NAMES = ("Ann", "Dr. Lee", "鲍勃")
FRAGMENTS = st.sampled_from(
    ["Yes.", "and", "so", "12:30", "Note:", "Bob: said", "Speaker 2 is", "speaker one: no", "(aside)", "2024", "-->",
     "你好，世界。", "今天我们谈语音合成的问题", "か\u3099", "Pneumonoultramicroscopicsilicovolcanoconiosisindeed",
     "<ok>", "&amp;", "it’s", "“oh”", "😀", "{a, b}", "C:\\New"]
)  # fmt: skip
TEXTS = st.lists(FRAGMENTS, min_size=1, max_size=30).map(" ".join)
EPISODES = st.lists(st.tuples(st.sampled_from(NAMES), TEXTS, st.floats(0, 90)), min_size=1, max_size=6)


def episode(turns: list[tuple[str, str, float]]) -> list[Cue]:
    """Turns of these lengths one after the other."""
    cues: list[Cue] = []
    clock_s = 0.0
    for speaker, text, seconds in turns:
        cues += cues_of(text, speaker, clock_s, clock_s + seconds)
        clock_s += seconds
    return cues


def stretches(turns: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """What each speaker says before another does, without white space."""
    groups = groupby(turns, key=lambda turn: turn[0])
    return [(speaker, "".join("".join(text.split()) for _, text in group)) for speaker, group in groups]


def spoken(script: Script) -> list[tuple[str, str]]:
    return stretches([(turn.speaker, turn.text) for turn in script.turns])


def columns(line: str) -> int:
    return sum(2 if "\u3000" < character < "\uffff" else 1 for character in line)


@given(TEXTS, st.floats(0, 5000), st.floats(0, 90))
def test_cues_cover_the_text_and_the_time_without_a_gap(text: str, start_s: float, seconds: float) -> None:
    cues = cues_of(text, "Ann", start_s, start_s + seconds)
    assert "".join("".join(cue.text.split()) for cue in cues) == "".join(text.split())
    assert (cues[0].start_s, cues[-1].end_s) == (start_s, start_s + seconds)
    assert all(before.end_s == after.start_s for before, after in pairwise(cues))
    assert all(cue.start_s <= cue.end_s and cue.speaker == "Ann" for cue in cues)


@given(TEXTS)
def test_a_cue_has_one_or_two_lines_of_readable_length(text: str) -> None:
    for cue in cues_of(text, "Ann", 0, 1):
        lines = cue.text.split("\n")
        assert len(lines) <= 2
        for line in lines:
            is_bound = " " not in line or ":" in line or "peaker" in line  # a long word, or what would read as a tag
            assert line == line.strip() != ""
            assert columns(line) <= LINE_COLUMNS or is_bound


def test_a_script_without_spaces_is_cut_between_characters_but_not_before_its_marks() -> None:
    lines = [
        line
        for cue in cues_of("今天我们谈谈语音合成的问题，好吗？" * 12, "Ann", 0, 30)
        for line in cue.text.split("\n")
    ]
    assert all(columns(line) <= LINE_COLUMNS and line[0] not in "，？" for line in lines)
    assert len(lines) >= 12 * 34 / LINE_COLUMNS


def test_time_is_shared_by_characters() -> None:
    first, second = cues_of("This sentence is rather long, I am afraid. Short one.", "Ann", 10, 15)
    assert (first.text, second.text) == ("This sentence is rather long, I am afraid.", "Short one.")
    assert first.end_s == second.start_s == pytest.approx(10 + 5 * 42 / 52)


@given(EPISODES)
def test_subrip_read_as_a_script_says_the_same(turns: list[tuple[str, str, float]]) -> None:
    said = stretches([(speaker, text.replace("<ok>", "ok")) for speaker, text, _ in turns])
    cues = [Cue(cue.start_s, cue.end_s, cue.speaker, cue.text.replace("<ok>", "ok")) for cue in episode(turns)]
    found = spoken(parse_script(srt(cues), "a.srt"))
    assert [text for _, text in found] == [text for _, text in said]
    if len(said) > 1:
        assert found == said


@given(EPISODES)
def test_webvtt_and_the_transcript_read_as_scripts_say_the_same(turns: list[tuple[str, str, float]]) -> None:
    said = stretches([(speaker, text) for speaker, text, _ in turns])
    assert spoken(parse_script(vtt(episode(turns)), "a.vtt")) == said
    assert spoken(parse_script(transcript(episode(turns)), "a.json")) == said


def test_times_survive_to_the_millisecond() -> None:
    cues = [Cue(0.0004, 59.9996, "Ann", "Hello there."), Cue(3725.25, 360_000.5, "Bob", "Yes,\nindeed.")]
    assert "00:00:00,000 --> 00:01:00,000\nAnn: Hello" in srt(cues)
    assert "01:02:05.250 --> 100:00:00.500\n<v Bob>Yes,\nindeed." in vtt(cues)
    for text in (srt(cues), vtt(cues), transcript(cues)):
        turns = parse_script(text).turns
        assert [(turn.start_s, turn.end_s) for turn in turns] == [(0.0, pytest.approx(60)), (3725.25, 360_000.5)]


def test_a_name_stands_where_the_speaker_changes_and_nowhere_in_a_monologue() -> None:
    cues = [Cue(0, 1, "Ann", "One."), Cue(1, 2, "Ann", "Two."), Cue(2, 3, "Bob", "Three.")]
    assert [line for line in srt(cues).split("\n") if line.endswith(".")] == ["Ann: One.", "Two.", "Bob: Three."]
    assert "Ann" not in srt(cues[:2])
    assert "Ann: Note: this" in srt([Cue(0, 1, "Ann", "Note: this.")])  # or it would be said by Note


def test_the_suffix_names_the_kind_of_file(tmp_path: Path) -> None:
    cues = cues_of("Hello.", "Ann", 0, 1)
    for name, text in [("a.srt", srt(cues)), ("b.VTT", vtt(cues)), ("c.json", transcript(cues))]:
        write_subtitles(tmp_path / "new" / name, cues)
        assert (tmp_path / "new" / name).read_text(encoding="utf-8") == text
        assert read_script(tmp_path / "new" / name).turns[0].text == "Hello."
    with pytest.raises(InputError, match=r"a\.txt is no file of subtitles"):
        write_subtitles(tmp_path / "a.txt", cues)
