"""Subtitles as a script: SubRip (SRT) and WebVTT (W3C, https://www.w3.org/TR/webvtt1/) with their times.

A cue is a turn, except that a sentence which runs on into the next cue of the same speaker stays whole. Speakers come
from `<v Name>`, or else from tags as in a text script; a cue without either is said by the speaker before.

Read here and not by a library because words must not get lost: pysubs2 1.8.1, the best kept one, drops a last line that
is a number, takes a cue whose time is misspelled into the one before, and has no line numbers for errors.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterator, Sequence

from loquor.text.script_lines import read_lines
from loquor.text.script_tags import SourceLine
from loquor.text.turns import LINE_BREAK, Source, Turn

TIME = r"(?:(\d{1,4}):)?(\d{1,2}):(\d{1,2})[.,](\d{1,3})"
TIMES = re.compile(rf"\s*{TIME}\s*-->\s*{TIME}(?:\s.*)?")
VTT_ASIDES = re.compile(r"(?:NOTE|STYLE|REGION)\b")
VOICE = re.compile(r"<v(?:\.[^\s>]*)?\s+([^>]+)>")
MARKUP = re.compile(r"</?(?:b|c|font|i|lang|rt|ruby|s|u|v)\b[^<>]*>|<\d[\d:.]*>|\{\\[^{}]*\}", re.IGNORECASE)
HINT = "a cue is its number, a line such as 00:00:01,000 --> 00:00:02,500, its words and an empty line"

Numbered = tuple[int, str]  # line number and text


def read_cues(text: str, source: str, cast_names: Sequence[str]) -> tuple[Turn, ...]:
    """The turns of subtitles; ScriptError names the line that belongs to no cue, or whose times make no sense."""
    place, latest_s = Source(source), 0.0
    blocks = list(_blocks(text))
    is_vtt = bool(blocks) and blocks[0][0][1].startswith("WEBVTT")
    lines: list[SourceLine] = []
    if is_vtt:
        _require_no_times(blocks.pop(0), place)
    for block in blocks:
        if is_vtt and VTT_ASIDES.match(block[0][1]):
            continue
        times, words = _cue(block, place, is_vtt)
        start_s, end_s = _span(times, place)
        if start_s > end_s or start_s < latest_s:
            problem = "ends before it starts" if start_s > end_s else "starts before the cue above it"
            raise place.fault(times[0], f"this cue {problem}", hint="times are hours:minutes:seconds, in order")
        latest_s = start_s
        pieces = [
            piece for number, line in words for piece in _pieces(SourceLine(number, line, (start_s, end_s)), is_vtt)
        ]
        if not any(piece.text for piece in pieces):
            raise place.fault(times[0], "this cue has no words", hint="take it out")
        lines += pieces
    return read_lines(lines, place, cast_names)


def _blocks(text: str) -> Iterator[list[Numbered]]:
    """Lines that stand together, stripped."""
    block: list[Numbered] = []
    for number, line in enumerate([*LINE_BREAK.split(text), ""], 1):
        if line.strip():
            block.append((number, line.strip()))
        elif block:
            yield block
            block = []


def _cue(block: list[Numbered], place: Source, is_vtt: bool) -> tuple[Numbered, list[Numbered]]:
    """The line of times and the words of a block."""
    has_name = len(block) > 1 and (is_vtt or block[0][1].isdigit()) and not TIMES.fullmatch(block[0][1])
    times, words = block[has_name], block[has_name + 1 :]
    if not TIMES.fullmatch(times[1]):
        raise place.fault(times[0], f"{times[1][:40]!r} stands where the times of a cue should", HINT)
    _require_no_times(words, place)
    return times, words


def _require_no_times(lines: list[Numbered], place: Source) -> None:
    for number, line in lines:
        if TIMES.fullmatch(line):
            raise place.fault(number, "a cue begins without an empty line before it", HINT)


def _span(times: Numbered, place: Source) -> tuple[float, float]:
    """Start and end in seconds."""
    found = TIMES.fullmatch(times[1])
    assert found
    numbers = found.groups()
    spans = []
    for hours, minutes, seconds, fraction in (numbers[:4], numbers[4:]):
        if int(minutes) > 59 or int(seconds) > 59:
            raise place.fault(times[0], f"{times[1][:40]!r} has more than 59 minutes or seconds", HINT)
        whole = int(hours or 0) * 3600 + int(minutes) * 60 + int(seconds)
        spans.append(whole + int(fraction.ljust(3, "0")) / 1000)
    return spans[0], spans[1]


def _pieces(line: SourceLine, is_vtt: bool) -> Iterator[SourceLine]:
    """The line without markup, cut where a voice begins."""
    first, *voiced = VOICE.split(line.text)
    for speaker, words in [(None, first), *zip(voiced[::2], voiced[1::2], strict=True)]:
        plain = MARKUP.sub("", words).strip()
        name = speaker and html.unescape(speaker).strip()
        if plain or name:
            yield SourceLine(line.number, html.unescape(plain) if is_vtt else plain, line.span, name)
