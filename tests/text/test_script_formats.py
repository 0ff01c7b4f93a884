"""Scripts in JSON and subtitles: every entry and every cue is a turn, or an error that names it."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loquor.errors import ScriptError
from loquor.text.script import Script, Turn, parse_script

TURNS = st.lists(
    st.tuples(st.sampled_from(["Ann", "dr lee", "鲍勃"]), st.sampled_from(["Yes: no.", "你好。", "“Oh” (so) 12:30"])),
    min_size=1,
    max_size=8,
)


def read(text: str, source: str) -> Script | ScriptError:
    """The script, or the error that is raised."""
    try:
        return parse_script(text, source)
    except ScriptError as error:
        return error


@given(TURNS)
def test_json_entries_are_turns(turns: list[tuple[str, str]]) -> None:
    entries = [{"speaker": speaker, "text": text} for speaker, text in turns]
    assert [(turn.speaker, turn.text) for turn in parse_script(json.dumps(entries)).turns] == turns
    script = parse_script(json.dumps({"title": " A  show ", "turns": entries}), "a.json")
    assert (script.title, [(turn.speaker, turn.text) for turn in script.turns]) == ("A show", turns)


@pytest.mark.parametrize(
    ("entry", "problem"),
    [
        ("x", "is no object"),
        ({"text": "a"}, "lacks speaker"),
        ({"speaker": "A"}, "lacks text"),
        ({"speaker": True, "text": "a"}, "the speaker true is neither"),
        ({"speaker": -1, "text": "a"}, "the speaker -1 is neither"),
        ({"speaker": 1.5, "text": "a"}, "the speaker 1.5 is neither"),
        ({"speaker": " ", "text": "a"}, "is neither"),
        ({"speaker": "A", "text": "  "}, "the text .* holds no words"),
        ({"speaker": "A", "text": ["a"]}, "the text .* holds no words"),
        ({"speaker": "A", "text": "\u200b"}, "A says nothing"),
        ({"speaker": "A", "text": "a\ud800"}, r"U\+D800"),
        ({"speaker": "A\0", "text": "a"}, r"U\+0000"),
        ({"speaker": "A", "text": "a", "mood": "sad"}, "nothing is known of 'mood'"),
        ({"speaker": "A", "text": "a", "pause": "1s"}, "pause is "),
        ({"speaker": "A", "text": "a", "pause": float("nan")}, "pause is NaN"),
        ({"speaker": "A", "text": "a", "pause": 1e9}, "seconds up to 60"),
        ({"speaker": "A", "text": "a", "start_s": 1}, "belong together"),
        ({"speaker": "A", "text": "a", "start_s": 2, "end_s": 1}, "belong together"),
        ({"speaker": "A", "text": "a [laughs]"}, r"\[laughs\] is no directive"),
    ],
)
def test_a_json_entry_that_is_no_turn_is_named(entry: object, problem: str) -> None:
    good = {"speaker": 1, "text": "Hello."}
    with pytest.raises(ScriptError, match=rf"^a\.json: entry 2: .*{problem}") as caught:
        parse_script(json.dumps([good, entry, good]), "a.json")
    assert caught.value.hint


@pytest.mark.parametrize(
    "text", ["{", "[1", "3", '"a"', "null", "{}", '{"turns": {}}', '{"turns": [], "x": 1}', '{"title": 1, "turns": []}',
             "[" * 100_000, '[{"speaker": ' + "1" * 5000 + "}]"],
)  # fmt: skip
def test_json_that_is_no_script_is_an_error(text: str) -> None:
    with pytest.raises(ScriptError, match=r"^a\.json") as caught:
        parse_script(text, "a.json")
    assert '"speaker"' in caught.value.hint


def test_json_has_pauses_chapters_times_and_line_breaks() -> None:
    entries = [
        {"speaker": 2, "text": "One\n  two.", "pause": 1, "chapter": "Start"},
        {"speaker": "speaker 2", "text": "A [pause 2s] B", "start_s": 3, "end_s": 4.5},
    ]
    assert parse_script(json.dumps(entries)).turns == (
        Turn("Speaker 2", "One two.", 1, 1.0, "Start"),
        Turn("Speaker 2", "A", 2, start_s=3.0, end_s=4.5),
        Turn("Speaker 2", "B", 2, pause_before_s=2.0, start_s=3.0, end_s=4.5),
    )


SRT = """1
00:00:01,000 --> 00:00:02,500
Ann: <i>Hello</i> there,

2
00:00:02,600 --> 00:00:04,000 X1:10
how are
you?

3
00:01:00,000 --> 00:01:01,25
{\\an8}It was in
2024
Bob: Yes.
"""


def test_cues_are_turns_with_times_and_a_sentence_stays_whole() -> None:
    assert parse_script(SRT).turns == (
        Turn("Ann", "Hello there, how are you?", 3, start_s=1.0, end_s=4.0),
        Turn("Ann", "It was in 2024", 12, start_s=60.0, end_s=61.25),
        Turn("Bob", "Yes.", 14, start_s=60.0, end_s=61.25),
    )
    assert parse_script(SRT.replace("\n", "\r\n"), "a.srt") == parse_script(SRT)


def test_a_sentence_does_not_go_on_after_a_long_silence() -> None:
    late = SRT.replace("00:00:02,600", "00:00:03,600")
    assert [turn.text for turn in parse_script(late).turns][:2] == ["Hello there,", "how are you?"]


def test_webvtt_names_its_voices() -> None:
    text = """WEBVTT - a show

NOTE
Nobody: says this

intro
00:01.000 --> 00:02.000 align:left
<v.loud Ann Lee>Salt &amp; <c.x>pepper</c></v> <v Bob>Note: yes.

01:00:03.000 --> 01:00:04.000
And <00:03.500>again.
"""
    assert parse_script(text).turns == (
        Turn("Ann Lee", "Salt & pepper", 8, start_s=1.0, end_s=2.0),
        Turn("Bob", "Note: yes.", 8, start_s=1.0, end_s=2.0),
        Turn("Bob", "And again.", 11, start_s=3603.0, end_s=3604.0),
    )


@pytest.mark.parametrize(
    ("old", "new", "line", "problem"),
    [
        ("00:00:02,600", "00:00:0x,600", 6, "stands where the times"),
        ("00:00:02,600", "00:61:02,600", 6, "more than 59"),
        ("00:00:02,600", "00:00:05,600", 6, "ends before it starts"),
        ("00:01:00,000", "00:00:02,000", 11, "starts before the cue above"),
        ("you?\n\n3\n", "you?\n", 9, "without an empty line"),
        ("how are\n", "how are\n\n", 9, "stands where the times"),
        ("how are\nyou?\n", "<i></i>\n", 6, "no words"),
        ("how are\nyou?\n", "", 6, "no words"),
        ("how are", "[Music]", 7, "no directive"),
        ("Ann: <i>Hello</i>", "Hello", 3, "nobody says"),
        ("1\n00:00:01", "Subtitles by me\n\n1\n00:00:01", 1, "stands where the times"),
    ],
)
def test_subtitles_that_cannot_be_read_are_named(old: str, new: str, line: int, problem: str) -> None:
    assert old in SRT
    with pytest.raises(ScriptError, match=rf"^a\.srt:{line}: .*{problem}") as caught:
        parse_script(SRT.replace(old, new), "a.srt")
    assert caught.value.hint


def test_a_webvtt_cue_inside_the_header_is_not_lost() -> None:
    with pytest.raises(ScriptError, match=r"^script:2: a cue begins without an empty line"):
        parse_script("WEBVTT\n00:01.000 --> 00:02.000\nHi.\n\n00:02.000 --> 00:03.000\nYes.")


@given(
    st.lists(
        st.sampled_from([*SRT.split("\n"), "WEBVTT", "NOTE x", "", "<v Ann>", "</v>", "[", "-->", "{\\"]), max_size=12
    )
)
def test_no_subtitles_break_the_reader(lines: list[str]) -> None:
    for name in ("a.srt", "a.vtt"):
        found = read("\n".join(lines), name)
        assert found.turns if isinstance(found, Script) else str(found).startswith(name)
