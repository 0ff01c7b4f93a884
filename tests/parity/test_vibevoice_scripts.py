"""Golden h, its scripts: turns as the reference reads them where it reads all, and where ours differs on purpose.

The reference skips lines it does not know and keeps empty texts; we lose no line and refuse an empty turn. Its ids are
one less than the tags' numbers if no tag is 0.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from loquor.errors import ScriptError
from loquor.text.script import Script, parse_script, read_script
from parity.goldens import case_json

ABOUT = case_json("vibevoice", "h_processor")
TAGGED = re.compile(r"Speaker\s+(\d+)\s*:\s*(.*)", re.IGNORECASE)
OURS_ALONE = re.compile(r"[\[\]\r]|^(#|//)")  # directives, comments, a line break inside a line

if not ABOUT:
    pytest.skip("no golden case h_processor", allow_module_level=True)

CASES: dict[str, dict[str, Any]] = {name: case for name, case in ABOUT["cases"].items() if "script" in case}
FILES: dict[str, dict[str, Any]] = ABOUT["files"]


def lines_of(text: str) -> list[str]:
    return [line.strip() for line in text.split("\n") if line.strip()]


def is_common(line: str) -> bool:
    """Whether both read the line, and as the same turn."""
    tagged = TAGGED.fullmatch(line)
    return bool(tagged and any(c.isprintable() and not c.isspace() for c in tagged[2]) and not OURS_ALONE.search(line))


def as_the_reference_has_it(script: Script) -> list[list[Any]]:
    """Ids and texts under the published numbering."""
    numbers = [int(turn.speaker.removeprefix("Speaker ")) for turn in script.turns]
    first = 1 if min(numbers) > 0 else 0
    return [[number - first, f" {turn.text}"] for number, turn in zip(numbers, script.turns, strict=True)]


def words_of(text: str) -> str:
    return "".join(text.split())


def check_text(text: str, parsed: list[list[Any]], script: Script | ScriptError) -> None:
    """Equal if every line is common to both; else ours names a line, or has all words of all lines."""
    lines = lines_of(text)
    if all(map(is_common, lines)):
        assert isinstance(script, Script), script
        assert as_the_reference_has_it(script) == parsed
        return
    if isinstance(script, ScriptError):
        assert re.search(r":\d+: ", str(script)) and script.hint
        return
    spoken = [line for line in lines if not line.startswith(("#", "//"))]
    written = "".join(TAGGED.sub(r"\2", line) for line in spoken)
    assert words_of("".join(turn.text for turn in script.turns)) == words_of(re.sub(r"\[[^\[\]]*\]", "", written))


def read(text: str, source: str = "script") -> Script | ScriptError:
    try:
        return parse_script(text, source)
    except ScriptError as error:
        return error


@pytest.mark.parametrize("name", CASES)
def test_a_script_has_the_turns_the_reference_finds_or_more(name: str) -> None:
    case = CASES[name]
    script = read(case["script"])
    check_text(case["script"], case["parsed"], script)
    if isinstance(script, Script) and all(map(is_common, lines_of(case["script"]))):
        assert sorted({number for number, _ in as_the_reference_has_it(script)}) == case["all_speakers"]


def test_most_scripts_are_read_alike() -> None:
    alike = [name for name, case in CASES.items() if all(map(is_common, lines_of(case["script"])))]
    assert 2 * len(alike) > len(CASES)


@pytest.mark.parametrize("name", [name for name in FILES if name.endswith(".txt")])
def test_a_text_file_is_read_as_the_script_that_the_reference_makes_of_it_or_refused(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(FILES[name]["content"], encoding="utf-8")
    assert as_the_reference_has_it(parse_script(FILES[name]["script"])) == FILES[name]["parsed"]
    try:
        found: Script | ScriptError = read_script(tmp_path / name)
    except ScriptError as error:
        found = error
    check_text(FILES[name]["content"], FILES[name]["parsed"], found)


@pytest.mark.parametrize("name", [name for name in FILES if name.endswith(".json")])
def test_a_json_file_is_read_alike_once_what_the_reference_skips_is_taken_out(name: str, tmp_path: Path) -> None:
    entries = json.loads(FILES[name]["content"])
    kept = [entry for entry in entries if is_turn(entry)]
    assert as_the_reference_has_it(parse_script(json.dumps(kept))) == FILES[name]["parsed"]
    path = tmp_path / name
    path.write_text(FILES[name]["content"], encoding="utf-8")
    first_bad = next((number for number, entry in enumerate(entries, 1) if not is_ours(entry)), None)
    if first_bad is None:
        assert len(read_script(path).turns) == len(entries)
    else:
        with pytest.raises(ScriptError, match=rf"entry {first_bad}: "):
            read_script(path)


def is_turn(entry: object) -> bool:
    """Whether the reference takes it: a number for a speaker, and a text."""
    return (
        isinstance(entry, dict)
        and re.fullmatch(r"\s*\d+\s*", str(entry.get("speaker"))) is not None
        and bool(str(entry.get("text", "")).strip())
    )


def is_ours(entry: object) -> bool:
    """Whether we take it: a speaker may have a name."""
    is_whole = isinstance(entry, dict) and bool(str(entry.get("speaker", "")).strip())
    return is_whole and is_turn({**entry, "speaker": 1}) and set(entry) == {"speaker", "text"}  # type: ignore[dict-item]


def test_an_empty_turn_is_kept_by_the_reference_and_an_error_here() -> None:
    with pytest.raises(ScriptError, match=r"^script:1: Speaker 1 says nothing"):
        parse_script("Speaker 1:\nSpeaker 2: not empty")


def test_a_line_without_a_tag_is_skipped_by_the_reference_and_said_here() -> None:
    script = parse_script("Speaker 1: spoken\nthis line has no speaker\nSpeaker 2: too")
    assert [turn.text for turn in script.turns] == ["spoken this line has no speaker", "too"]


def test_text_before_the_first_tag_is_another_speaker_s_in_the_reference_and_an_error_here() -> None:
    with pytest.raises(ScriptError, match=r"^script:1: nobody says 'First plain line'"):
        parse_script("First plain line\n\nSpeaker 2: second")


@pytest.mark.parametrize("name", ABOUT["bad_scripts"])
def test_a_script_that_the_reference_refuses(name: str) -> None:
    """Empty ones are an error here as well; without any tag, one speaker says it all."""
    if name == "empty":
        with pytest.raises(ScriptError, match="holds no turn"):
            parse_script("")
    else:
        assert name == "no_speaker"
        assert parse_script("Nobody is named here.").speakers == ("Speaker 1",)
