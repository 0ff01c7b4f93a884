"""Subtitles of speech: SubRip (SRT), WebVTT (https://www.w3.org/TR/webvtt1/) and a JSON transcript.

A cue has at most two lines of 42 characters, the usual measure of broadcasters' guidelines; inside a take its time is
the share of its characters. All three can be read back as scripts, so no line begins with what a script would take for
a tag, unless nothing else fits.

Written here and not by a library: pysubs2 1.8.1 removes what stands in braces and takes a backslash for markup.
"""

from __future__ import annotations

import html
import json
import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path

from loquor.checkpoints import write_text
from loquor.errors import InputError
from loquor.text.script_tags import begins_like_a_tag
from loquor.text.timing import UNSPACED, joined

LINE_COLUMNS, CUE_LINES = 42, 2
WIDE = ("W", "F")  # East Asian widths of two columns
OPENING_MARKS = "「『（【〈《〔"  # end no line
BOUND_MARKS = "、。，．！？：；」』）】〉》〕ーっゃゅょッャュョ\u3099\u309a々"  # begin no line
LABEL_REACH = 100  # characters; no tag is longer
CUE_END = re.compile(r"[.!?…。！？][\"'”’)\]»」』]*$")


@dataclass(frozen=True)
class Cue:
    """Words and when they are heard; `text` has one or two lines."""

    start_s: float
    end_s: float
    speaker: str
    text: str


def cues_of(text: str, speaker: str, start_s: float, end_s: float) -> list[Cue]:
    """The cues of what `speaker` says from `start_s` to `end_s`, without a gap between them."""
    blocks = _blocks(_lines(text))
    heard = list(accumulate(sum(map(len, block)) for block in blocks))
    ends = [start_s + (end_s - start_s) * count / heard[-1] for count in heard[:-1]] + [end_s]
    starts = [start_s, *ends[:-1]]
    return [Cue(start, end, speaker, "\n".join(block)) for start, end, block in zip(starts, ends, blocks, strict=True)]


def srt(cues: Sequence[Cue]) -> str:
    """SubRip. The name stands before the words where the speaker changes, if there are several."""
    has_names = len({cue.speaker for cue in cues}) > 1 or any(begins_like_a_tag(cue.text) for cue in cues)
    blocks, speaker = [], None
    for number, cue in enumerate(cues, 1):
        is_named = has_names and (cue.speaker != speaker or begins_like_a_tag(cue.text))
        words = f"{cue.speaker}: {cue.text}" if is_named else cue.text
        blocks.append(f"{number}\n{_clock(cue.start_s, ',')} --> {_clock(cue.end_s, ',')}\n{words}\n\n")
        speaker = cue.speaker
    return "".join(blocks)


def vtt(cues: Sequence[Cue]) -> str:
    """WebVTT, every cue in its speaker's voice."""
    blocks = ["WEBVTT\n\n"]
    for cue in cues:
        name, words = html.escape(cue.speaker, quote=False), html.escape(cue.text, quote=False)
        blocks.append(f"{_clock(cue.start_s, '.')} --> {_clock(cue.end_s, '.')}\n<v {name}>{words}\n\n")
    return "".join(blocks)


def transcript(cues: Sequence[Cue]) -> str:
    """JSON: a list of {"speaker", "text", "start_s", "end_s"}, which is also a script."""
    entries = [
        {
            "speaker": cue.speaker,
            "text": joined(cue.text.split("\n")),
            "start_s": round(cue.start_s, 3),
            "end_s": round(cue.end_s, 3),
        }
        for cue in cues
    ]
    return json.dumps(entries, ensure_ascii=False, indent=1) + "\n"


WRITERS = {".srt": srt, ".vtt": vtt, ".json": transcript}


def write_subtitles(path: Path, cues: Sequence[Cue]) -> None:
    """The cues as a file of the kind that its suffix names; InputError if it names none."""
    writer = WRITERS.get(path.suffix.lower())
    if writer is None:
        raise InputError(f"{path.name} is no file of subtitles", hint=f"end its name in {', '.join(WRITERS)}")
    write_text(path, writer(cues))


def _clock(seconds: float, mark: str) -> str:
    whole, thousandths = divmod(round(seconds * 1000), 1000)
    return f"{whole // 3600:02}:{whole // 60 % 60:02}:{whole % 60:02}{mark}{thousandths:03}"


def _lines(text: str) -> list[str]:
    """The text in lines of at most `LINE_COLUMNS`; a longer word has a line of its own."""
    lines, columns = [""], 0
    for unit in _units(text):
        width = _columns(unit.rstrip())
        if lines[-1] and columns + width > LINE_COLUMNS:
            lines.append("")
            columns = 0
        lines[-1] += unit
        columns += _columns(unit)
    return [line.strip() for line in lines]


def _blocks(lines: Sequence[str]) -> list[list[str]]:
    """Lines by cue: two, or one where a sentence ends."""
    blocks: list[list[str]] = [[]]
    for line in lines:
        if len(blocks[-1]) == CUE_LINES or (blocks[-1] and CUE_END.search(blocks[-1][-1])):
            blocks.append([])
        blocks[-1].append(line)
    return blocks


def _units(text: str) -> Iterator[str]:
    """Parts of the text that stay in one line, each with the space behind it."""
    start = 0
    for place in range(1, len(text)):
        if _may_break(text, place):
            yield text[start:place]
            start = place
    yield text[start:]


def _may_break(text: str, place: int) -> bool:
    before, after = text[place - 1], text[place]
    if after.isspace():
        return False
    is_between_unspaced = (
        UNSPACED.match(before) and UNSPACED.match(after) and before not in OPENING_MARKS and after not in BOUND_MARKS
    )
    return bool(before.isspace() or is_between_unspaced) and not begins_like_a_tag(text[place : place + LABEL_REACH])


def _columns(text: str) -> int:
    return sum(2 if unicodedata.east_asian_width(character) in WIDE else 1 for character in text)
