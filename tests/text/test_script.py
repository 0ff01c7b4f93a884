"""Scripts are read whole: every word is said by somebody, or the line that cannot be read is named."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from loquor.errors import ScriptError
from loquor.text.script import MAX_BYTES, Script, Turn, parse_script, plain_quotes, read_script, speaker_name
from loquor.text.script_tags import is_name


def said(text: str, *cast: str, source: str = "script") -> list[tuple[str, str]]:
    return [(turn.speaker, turn.text) for turn in parse_script(text, source, cast_names=cast).turns]


def read(text: str, source: str = "script", format: str | None = None) -> Script | ScriptError:
    """The script, or the error that is raised."""
    try:
        return parse_script(text, source, format)
    except ScriptError as error:
        return error


def squeezed(text: str) -> str:
    return "".join(text.split())


def is_visible(character: str) -> bool:
    return character.isprintable() and not character.isspace()


@pytest.mark.parametrize(
    ("text", "turns"),
    [
        ("Speaker 1: Hi.\nSpeaker 2: Yes?", [("Speaker 1", "Hi."), ("Speaker 2", "Yes?")]),
        ("  SPEAKER 01 :Hi.  \n\tspeaker2:  a   b ", [("Speaker 1", "Hi."), ("Speaker 2", "a   b")]),
        ("[1]: Hi.\n[ speaker 2 ] : Yes?\nSpeaker 1: No.",
         [("Speaker 1", "Hi."), ("Speaker 2", "Yes?"), ("Speaker 1", "No.")]),
        ("**Speaker 1:** Hi.\n**Speaker 2**: **Yes**", [("Speaker 1", "Hi."), ("Speaker 2", "**Yes**")]),
        ("Speaker ۱: سلام", [("Speaker 1", "سلام")]),
        ("Speaker 1：你好。\n爱丽丝：不是名字", [("Speaker 1", "你好。爱丽丝：不是名字")]),
        ("爱丽丝：你好。\n鲍勃: 好的。", [("爱丽丝", "你好。"), ("鲍勃", "好的。")]),
        ("Alice: Hi.\nDr. Smith: Yes.\nALICE: No.", [("Alice", "Hi."), ("Dr. Smith", "Yes."), ("Alice", "No.")]),
        ("alice:\n  Hi there.\n\n  And more.\nbob: Yes.", [("alice", "Hi there. And more."), ("bob", "Yes.")]),
        ("Ana: It is\n12:34 o'clock.\nhttps://a.b/c\nThe thing is: no.",
         [("Ana", "It is 12:34 o'clock. https://a.b/c The thing is: no.")]),
        ("Speaker 1: Listen.\nNote: this is text.\nAlice: as is this.",
         [("Speaker 1", "Listen. Note: this is text. Alice: as is this.")]),
        ("One line\nand another.\n\nA paragraph.",
         [("Speaker 1", "One line and another."), ("Speaker 1", "A paragraph.")]),
        ("# a comment\nAlice: Hi.\n// another\nBob: Yes.\n# a last", [("Alice", "Hi."), ("Bob", "Yes.")]),
        ("你好，\n世界。", [("Speaker 1", "你好，世界。")]),
    ],
)  # fmt: skip
def test_a_text_becomes_turns(text: str, turns: list[tuple[str, str]]) -> None:
    assert said(text) == turns


def test_names_of_the_cast_are_tags_beside_numbered_ones() -> None:
    text = "Speaker 1: Hi.\nthe old man: Yes.\nNote: text."
    assert said(text, "The Old Man") == [("Speaker 1", "Hi."), ("The Old Man", "Yes. Note: text.")]


def test_a_cast_spells_the_names_and_a_stranger_is_an_error() -> None:
    assert said("ALICE: Hi.\nalice : Yes.", "Alice", "Bob") == [("Alice", "Hi."), ("Alice", "Yes.")]
    with pytest.raises(ScriptError, match=r"^script:2: Carol is not in the cast \(Alice, Bob\)"):
        parse_script("Alice: Hi.\nCarol: Yes.", cast_names=["Alice", "Bob"])


@pytest.mark.parametrize("label", ["Alice", "bob", "Dr. Smith", "J.R. Tolkien", "Ludwig van Beethoven", "Host 2",
                                   "O’Neil", "Jean-Luc", "María José", "爱丽丝", "列奥纳多·达芬奇"])  # fmt: skip
def test_a_label_is_a_name(label: str) -> None:
    assert is_name(label)


@pytest.mark.parametrize("label", ["12", "The thing is", "one more thing", "He said, yes", "Well! Bob", "A B C D E",
                                   "“Alice", "今天我们要讨论的问题是", "", "5 Alices"])  # fmt: skip
def test_a_label_is_no_name(label: str) -> None:
    assert not is_name(label)


def test_speakers_stand_in_order_of_first_appearance() -> None:
    script = parse_script("Speaker 3: a\nSpeaker 1: b\nSpeaker 3: c\nSpeaker 2: d")
    assert script.speakers == ("Speaker 3", "Speaker 1", "Speaker 2")
    assert [speaker_name(label) for label in ("3", "speaker 03", " Ann  Lee ")] == ["Speaker 3", "Speaker 3", "Ann Lee"]


def test_pauses_and_chapters_belong_to_the_turn_behind_them() -> None:
    text = "[chapter: Welcome]\nAnn: One. [pause 300ms] Two.\n[pause]\n[Pause: 1.5 s]\nBob: Three."
    text += "\n[chapter: End: 2]\nFour."
    assert parse_script(text).turns == (
        Turn("Ann", "One.", 2, chapter="Welcome"),
        Turn("Ann", "Two.", 2, pause_before_s=0.3),
        Turn("Bob", "Three.", 5, pause_before_s=2.0),
        Turn("Bob", "Four.", 7, chapter="End: 2"),
    )


@pytest.mark.parametrize(
    ("text", "line", "problem"),
    [
        ("Speaker 1: a\nSpeaker 2:\n\nSpeaker 1: b", 2, "Speaker 2 says nothing"),
        ("Ann: a\nBob: \u200b", 2, "Bob says nothing"),
        ("Ann: a\nBob: [pause 1s]", 2, "Bob says nothing"),
        ("\nhello\nAnn: a", 2, "nobody says 'hello'"),
        ("Speaker 1: a\nSpeaker 2 - b", 2, "begins like a tag"),
        ("Speaker 1: a\nSpeaker 2 (angry): b", 2, "begins like a tag"),
        ("Speaker 1: a\nspeaker two: b", 2, "begins like a tag"),
        ("Speaker 1: a\nSpeaker: b", 2, "begins like a tag"),
        ("Speaker 1) a", 1, "begins like a tag"),
        ("Ann: a\nBob (laughing): b", 2, "a tag holds a name alone"),
        ("Ann: a [laughs] b", 1, r"\[laughs\] is no directive"),
        ("Ann: a\n[1] b", 2, r"\[1\] is no directive"),
        ("Ann: a\n[pause 500]\nb", 2, r"\[pause 500\] is no directive"),
        ("Ann: a\n[pause 61s]\nb", 2, "too long"),
        ("Ann: a [pause 1s b", 1, "square bracket .* no partner"),
        ("Ann: a pause 1s] b", 1, "square bracket .* no partner"),
        ("Ann: [chapter: x] b", 1, "line of its own"),
        ("[chapter: x]\n[chapter: y]\nAnn: b", 2, "'x' before this one is empty"),
        ("Ann: b\n[pause 1s]\n", 2, "nothing is said after"),
        ("Ann: b\r[chapter: x]", 2, "nothing is said after"),
        ("a\nb\0c", 2, r"U\+0000"),
        ("a\r\nb\r\n\ud83d", 3, r"U\+D83D"),
    ],
)
def test_a_line_that_cannot_be_read_is_named(text: str, line: int, problem: str) -> None:
    with pytest.raises(ScriptError, match=rf"^show\.txt:{line}: .*{problem}") as caught:
        parse_script(text, "show.txt")
    assert caught.value.hint


@pytest.mark.parametrize("text", ["", " \n\n", "# only a comment", "\ufeff", "[]", '{"turns": []}', "WEBVTT\n\nNOTE a"])
def test_a_script_without_words_is_an_error(text: str) -> None:
    with pytest.raises(ScriptError, match="holds no turn"):
        parse_script(text)


SAMPLE = ["Yes", "no,", "why?", "12:30", "(so)", "“oh”", "don’t", "€5", "été", "你好。", "سلام", "😀"]
WORDS = st.lists(st.sampled_from(SAMPLE), min_size=1, max_size=6)
TURNS = st.lists(st.tuples(st.sampled_from(["Ann", "Dr. Lee", "鲍勃"]), WORDS.map(" ".join)), min_size=1, max_size=8)


@given(TURNS, st.sampled_from(["\n", "\r\n", "\r", "\n\n", "\n# aside\n\n"]), st.sampled_from(["", "\ufeff"]))
def test_what_is_written_is_read_whatever_parts_the_lines(
    turns: list[tuple[str, str]], line_break: str, mark: str
) -> None:
    if not any(speaker == "Ann" for speaker, _ in turns):
        turns = [("Ann", "Hm."), *turns]
    assert said(mark + line_break.join(f"{speaker}: {text}" for speaker, text in turns)) == turns


FRAGMENTS = st.sampled_from(
    ["Speaker 1:", "speaker 2 ：", "[1]:", "Ann:", "Ann (x):", "Note:", "[pause 1s]", "[pause]", "[chapter: x]", "[x]",
     "[", "]", "#", "//", ":", "**", "12:30", "a.", "Yes", "。", "你", "\n", "\n", "\n\n", "\r", " ", "\t", "\u200b",
     "-->"]
)  # fmt: skip
SPOKEN = re.compile(r"12:30|a\.|Yes|。|你")


@settings(max_examples=400)
@given(st.lists(FRAGMENTS, max_size=14).map("".join))
def test_a_script_is_read_whole_or_not_at_all(text: str) -> None:
    script = read(text, format="text")
    if isinstance(script, ScriptError):
        assert re.match(r"script:\d+: |script holds no turn", str(script)) and script.hint
        return
    assume(set(script.speakers) <= {"Speaker 1", "Speaker 2", "Ann", "Note"})  # else a word is part of a name
    assert all(turn.text.strip() == turn.text != "" and not re.search("[\r\n]", turn.text) for turn in script.turns)
    assert [turn.line for turn in script.turns] == sorted(turn.line for turn in script.turns)

    lines = [line.strip() for line in re.split("[\r\n]", text)]
    written = SPOKEN.findall(" ".join(line for line in lines if not line.startswith(("#", "//"))))
    assert SPOKEN.findall(" ".join(turn.text for turn in script.turns)) == written


@given(st.text(st.characters(exclude_categories=["Cs", "Cc"]) | st.sampled_from("\n\r\t [:#")))
def test_plain_text_is_taken_as_it_stands(text: str) -> None:
    script = read(text, format="plain")
    if isinstance(script, ScriptError):
        assert not any(is_visible(character) for character in text)
        return
    assert script.speakers == ("Speaker 1",)
    lines = re.split("[\r\n]", text.removeprefix("\ufeff"))
    visible = "".join(line for line in lines if any(map(is_visible, line)))
    assert squeezed("".join(turn.text for turn in script.turns)) == squeezed(visible)


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        ("Ann: a\nBob: é".encode("latin-1"), r"s\.txt:2: byte 0xe9 is not UTF-8"),
        ("Ann: a".encode("utf-16"), "UTF-16"),
        (b"Ann: a\nBob: b\0", r"s\.txt:2: U\+0000"),
    ],
)
def test_a_file_that_is_no_text_is_an_error(data: bytes, problem: str, tmp_path: Path) -> None:
    path = tmp_path / "s.txt"
    path.write_bytes(data)
    with pytest.raises(ScriptError, match=problem):
        read_script(path)


def test_a_file_is_read_by_its_suffix_or_by_what_it_holds(tmp_path: Path) -> None:
    cue = "1\n00:00:01,000 --> 00:00:02,500\nAnn: Hello.\n"
    for name, text in [("a.txt", cue), ("b.SRT", cue), ("c.txt", '[{"speaker": "Ann", "text": "Hi."}]')]:
        (tmp_path / name).write_bytes(b"\xef\xbb\xbf" + text.encode())
        assert read_script(tmp_path / name).speakers[0] == "Ann"
    (tmp_path / "d").write_text("Ann: Hi.")
    assert read_script(tmp_path / "d", format="plain").turns == (Turn("Speaker 1", "Ann: Hi.", 1),)
    with pytest.raises(ScriptError, match="'docx' is no format"):
        read_script(tmp_path / "d", format="docx")


def test_a_missing_file_a_folder_and_a_huge_file_are_errors(tmp_path: Path) -> None:
    with open(tmp_path / "huge.txt", "wb") as file:
        file.truncate(50_000_000)
    for name, problem in [("none.txt", "No such file"), (".", "directory"), ("huge.txt", "larger than 2 MB")]:
        with pytest.raises(ScriptError, match=problem):
            read_script(tmp_path / name)
    with pytest.raises(ScriptError, match="larger than 2 MB"):
        parse_script("a" * (MAX_BYTES + 1))


@pytest.mark.parametrize("piece", ["[", "a: ", ". ", "**", "speaker ", "a (", "\n", "a\n\n", "Ann: b\n", "'\"("])
def test_a_script_as_long_as_allowed_is_read_in_reasonable_time(piece: str) -> None:
    found = read(piece * (100_000 // len(piece)))  # patterns that go back over the text would take minutes
    assert isinstance(found, Script) or found.hint


def test_quotes_become_plain_for_the_model() -> None:
    assert plain_quotes("“It’s ‘so’,” she said — 你") == "\"It's 'so',\" she said — 你"
