"""Scripts: a text with speakers' tags, plain text, JSON or subtitles, read into turns.

A line is never dropped silently: what cannot be read is a `ScriptError` that says where it stands and how to write it.
The published models know only "Speaker N: text" (VibeVoice, arXiv:2508.19205); how our form of it is read, and what
else a text may hold, is told in `script_lines`, the other forms in `script_json` and `script_cues`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from loquor.errors import ScriptError
from loquor.text.script_cues import read_cues
from loquor.text.script_json import read_json_script
from loquor.text.script_lines import read_paragraphs, read_tagged
from loquor.text.turns import Script, Source, Turn, speaker_name

__all__ = ["FORMATS", "Script", "Turn", "parse_script", "plain_quotes", "read_script", "speaker_name"]

FORMATS = ("text", "plain", "json", "srt", "vtt")
MAX_BYTES = 2 << 20  # some 40 hours of speech
UTF16_MARKS = (b"\xff\xfe", b"\xfe\xff")
LOOKS_LIKE = {  # how a text begins whose name does not tell its format
    "json": re.compile(r"\s*(?:\{|\[\s*[{\]])"),
    "vtt": re.compile(r"WEBVTT\b"),
    "srt": re.compile(r"\s*\d+[ \t]*\r?\n\d+:\d\d:\d\d[,.]\d+\s*-->"),
}
PLAIN_QUOTES = str.maketrans("‘’“”", "''\"\"")


def read_script(path: Path | str, format: str | None = None, cast_names: Sequence[str] = ()) -> Script:
    """The script in a UTF-8 file, with or without a byte order mark; the rest is as in `parse_script`."""
    source = str(path)
    try:
        with open(path, "rb") as file:
            data = file.read(MAX_BYTES + 1)
    except OSError as error:
        hint = "give a script: a .txt, .json, .srt or .vtt file"
        raise ScriptError(f"cannot read {source}: {error.strerror}", hint) from None
    _require_size(len(data), source)
    if data.startswith(UTF16_MARKS):
        raise ScriptError(f"{source} is UTF-16 text", hint="convert it: iconv -f utf-16 -t utf-8")
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        line, byte = 1 + data.count(b"\n", 0, error.start), data[error.start]
        hint = "save it as UTF-8, or convert it: iconv -f latin1 -t utf-8"
        raise Source(source).fault(line, f"byte {byte:#04x} is not UTF-8 text", hint) from None
    return parse_script(text, source, format, cast_names)


def parse_script(
    text: str, source: str = "script", format: str | None = None, cast_names: Sequence[str] = ()
) -> Script:
    """The turns of a script; `source` is its name in errors.

    `format` is one of `FORMATS`; without it the suffix of `source` tells, or else how the text begins. "plain" takes
    every paragraph as it stands, without tags, directives or comments. `cast_names` are speakers known by name.
    ScriptError names the line that cannot be read.
    """
    text = text.removeprefix("\ufeff")
    _require_size(len(text), source)
    Source(source).require_readable(text)
    format = format or _format(text, source)
    if format not in FORMATS:
        raise ScriptError(f"{format!r} is no format of a script", hint=f"one of {', '.join(FORMATS)}")
    if format == "json":
        script = read_json_script(text, source, cast_names)
    elif format in ("srt", "vtt"):
        script = Script(read_cues(text, source, cast_names))
    else:
        script = Script(read_paragraphs(text) if format == "plain" else read_tagged(text, source, cast_names))
    if not script.turns:
        raise ScriptError(f"{source} holds no turn", hint="write one a line: Speaker 1: Hello.")
    return script


def plain_quotes(text: str) -> str:
    """Curly quotes as a typewriter has them, for the model: the published demos do this before they make a prompt."""
    return text.translate(PLAIN_QUOTES)


def _format(text: str, source: str) -> str:
    suffix = Path(source).suffix.lower().removeprefix(".")
    if suffix in LOOKS_LIKE:
        return suffix
    return next((name for name, pattern in LOOKS_LIKE.items() if pattern.match(text)), "text")


def _require_size(size: int, source: str) -> None:
    if size > MAX_BYTES:
        message = f"{source} is larger than {MAX_BYTES >> 20} MB, the most a script may have"
        raise ScriptError(message, hint="cut it into episodes")
