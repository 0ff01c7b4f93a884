"""A script in JSON: a list of {"speaker", "text"}, or {"title", "turns": [...]}.

A speaker is a name or a number. An entry may also have "pause" (seconds before it), "chapter" (the title of one that
begins with it), "start_s" and "end_s". Its text may hold directives as in a text script. Nothing is skipped: an entry
that is not all of this is an error, with its number counted from 1.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import Any

from loquor.errors import ScriptError
from loquor.text.script_lines import MAX_PAUSE_S, TurnBuilder, read_words
from loquor.text.script_tags import SourceLine
from loquor.text.timing import joined
from loquor.text.turns import LINE_BREAK, Names, Script, Source

ENTRY_KEYS = ("speaker", "text", "pause", "chapter", "start_s", "end_s")
EXAMPLE = '[{"speaker": "Alice", "text": "Hello."}]'


def read_json_script(text: str, source: str, cast_names: Sequence[str]) -> Script:
    """The script; ScriptError names the line that is no JSON, or the entry that is no turn."""
    title, entries = _outline(_parsed(text, source), source)
    Source(source).require_readable(title)
    names, place = Names(cast_names), Source(source, unit="entry")
    builder = TurnBuilder(place)
    for number, entry in enumerate(entries, 1):
        _read_entry(builder, _checked(entry, number, place), number, names)
    return Script(builder.end(), " ".join(title.split()) or None)


def _parsed(text: str, source: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        message, hint = f"this is no JSON: {error.msg}", f"a script is {EXAMPLE}"
        raise Source(source).fault(error.lineno, message, hint) from None
    except (ValueError, RecursionError) as error:  # a number of thousands of digits, brackets in thousands
        raise ScriptError(f"{source} cannot be read: {error}", hint=f"a script is {EXAMPLE}") from None


def _outline(value: Any, source: str) -> tuple[str, list[Any]]:
    """Title, perhaps empty, and entries."""
    if isinstance(value, list):
        return "", value
    if isinstance(value, dict) and set(value) <= {"title", "turns"}:
        title, entries = value.get("title", ""), value.get("turns")
        if isinstance(title, str) and isinstance(entries, list):
            return title, entries
    message = f"{source} is neither a list of turns nor an object with turns and perhaps a title"
    raise ScriptError(message, hint=f'write {EXAMPLE} or {{"title": "...", "turns": [...]}}')


def _checked(entry: Any, number: int, place: Source) -> dict[str, Any]:
    """The entry, if it is one; ScriptError says what is wrong with it."""

    def fault(message: str) -> ScriptError:
        return place.fault(number, message, hint=f"an entry has {', '.join(ENTRY_KEYS)}; the first two are needed")

    if not isinstance(entry, dict):
        raise fault(f"{_shown(entry)} is no object")
    if unknown := sorted(set(entry) - set(ENTRY_KEYS)):
        raise fault(f"nothing is known of {', '.join(map(repr, unknown))}")
    if missing := [key for key in ("speaker", "text") if key not in entry]:
        raise fault(f"it lacks {' and '.join(missing)}")
    speaker = entry["speaker"]
    is_number = isinstance(speaker, int) and not isinstance(speaker, bool) and speaker >= 0
    if not is_number and not (isinstance(speaker, str) and speaker.strip()):
        raise fault(f"the speaker {_shown(speaker)} is neither a name nor a number")
    for key in ("text", "chapter"):
        if key in entry and not (isinstance(entry[key], str) and entry[key].strip()):
            raise fault(f"the {key} {_shown(entry[key])} holds no words")
    for key, most in (("pause", MAX_PAUSE_S), ("start_s", math.inf), ("end_s", math.inf)):
        if key in entry and not _is_seconds(entry[key], most):
            raise fault(f"{key} is {_shown(entry[key])}, not seconds" + (f" up to {most:g}" if most < math.inf else ""))
    if ("start_s" in entry) != ("end_s" in entry) or entry.get("start_s", 0) > entry.get("end_s", 0):
        raise fault("start_s and end_s belong together, the earlier first")
    for value in entry.values():
        place.require_readable(str(value), number)
    return entry


def _read_entry(builder: TurnBuilder, entry: dict[str, Any], number: int, names: Names) -> None:
    span = (float(entry["start_s"]), float(entry["end_s"])) if "start_s" in entry else None
    line = SourceLine(number, "", span)
    builder.close()
    if "chapter" in entry:
        builder.chapter(" ".join(entry["chapter"].split()), line)
    if "pause" in entry:
        builder.pause(float(entry["pause"]), line)
    builder.begin(names.spelled(str(entry["speaker"])), line)
    read_words(builder, joined([part.strip() for part in LINE_BREAK.split(entry["text"]) if part.strip()]), line)


def _is_seconds(value: Any, most: float) -> bool:
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return is_number and math.isfinite(value) and 0 <= value <= most


def _shown(value: Any) -> str:
    shown = json.dumps(value, ensure_ascii=True)
    return shown if len(shown) <= 40 else f"{shown[:37]}..."
