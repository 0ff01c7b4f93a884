"""What a finished file says of itself: title, speakers, date, chapters.

The sound is copied as it is, packet by packet, through PyAV. Chapters are ID3 CHAP frames in mp3, a chapter track in
m4a, and CHAPTERxxx comments in flac, ogg and opus (xiph.org, "Chapter Extension"); a wav has no such place that players
read. Beside the file, players of podcasts read a JSON of chapters (podcast namespace, "JSON chapters", version 1.2).
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

from loquor.audio.filters import pyav
from loquor.audio.provenance import COMMENT
from loquor.checkpoints import write_atomically, write_text
from loquor.errors import AudioError

CHAPTER_TRACKS = (".mp3", ".m4a")
CHAPTER_COMMENTS = (".flac", ".ogg", ".opus")
OPTIONS = {"fflags": "+bitexact"}  # the same bytes each time: no dates, no random stream numbers
MP3_OPTIONS = {"id3v2_version": "3"}  # older players know no ID3v2.4


@dataclass(frozen=True)
class Chapter:
    """A part of an episode; it lasts until the next one begins."""

    start_s: float
    title: str


@dataclass(frozen=True)
class Tags:
    """What players show; an empty text is left out."""

    title: str = ""
    artist: str = ""  # who speaks
    date: str = ""  # such as 2026-11-21
    comment: str = COMMENT


def can_hold_chapters(path: str | Path) -> bool:
    """Whether files with this suffix have a place for chapters."""
    return Path(path).suffix.lower() in CHAPTER_TRACKS + CHAPTER_COMMENTS


def write_tags(path: str | Path, tags: Tags, chapters: Sequence[Chapter] = ()) -> None:
    """Gives the sound file at `path` these tags and chapters, in order of time; nothing happens to it on failure.

    Raises AudioError if it is no sound file, or chapters are given for one that cannot hold them.
    """
    av = pyav()
    file = Path(os.path.realpath(path))  # a link stays, the file it points to is replaced
    if chapters and not can_hold_chapters(file):
        raise AudioError(
            f"a {file.suffix} file has no place for chapters", hint=f"{', '.join(CHAPTER_TRACKS + CHAPTER_COMMENTS)} do"
        )
    texts = {name: text for name, text in asdict(tags).items() if text}
    if file.suffix.lower() in CHAPTER_COMMENTS:
        texts |= _comments(chapters)
    try:
        write_atomically(file, lambda beside: _copy(file, beside, texts, chapters))
    except av.FFmpegError as error:
        raise AudioError(f"{path} cannot be tagged: {error.strerror}") from error


def write_chapters(path: str | Path, chapters: Sequence[Chapter]) -> None:
    """Writes the JSON of chapters that a feed links to."""
    rows = [{"startTime": round(chapter.start_s, 3), "title": chapter.title} for chapter in chapters]
    write_text(Path(path), json.dumps({"version": "1.2.0", "chapters": rows}, ensure_ascii=False, indent=1))


def _copy(source: Path, target: Path, texts: dict[str, str], chapters: Sequence[Chapter]) -> None:
    """The same packets with other words around them."""
    av = pyav()
    options = OPTIONS | (MP3_OPTIONS if target.suffix.lower() == ".mp3" else {})
    with av.open(str(source)) as given, av.open(str(target), "w", options=options) as made:
        if not given.streams.audio:
            raise AudioError(f"{source} holds no audio")
        stream = given.streams.audio[0]
        copied = made.add_stream_from_template(stream)
        made.metadata.update(texts)
        if chapters and target.suffix.lower() in CHAPTER_TRACKS:
            made.set_chapters(_track(chapters, given.duration / av.time_base))
        for packet in given.demux(stream):
            if packet.dts is not None:  # the last one only flushes
                packet.stream = copied
                made.mux(packet)


def _track(chapters: Sequence[Chapter], seconds: float) -> list[dict[str, Any]]:
    """Chapters with their ends, in milliseconds, as PyAV takes them."""
    starts = [round(1000 * chapter.start_s) for chapter in chapters]
    ends = [*starts[1:], round(1000 * seconds)]
    return [
        {"id": i, "start": start, "end": end, "time_base": Fraction(1, 1000), "metadata": {"title": chapter.title}}
        for i, (start, end, chapter) in enumerate(zip(starts, ends, chapters, strict=True))
    ]


def _comments(chapters: Sequence[Chapter]) -> dict[str, str]:
    texts = {}
    for i, chapter in enumerate(chapters):
        texts[f"CHAPTER{i:03}"] = clock(chapter.start_s)
        texts[f"CHAPTER{i:03}NAME"] = chapter.title
    return texts


def clock(seconds: float) -> str:
    """3661.5 as 01:01:01.500."""
    whole, milliseconds = divmod(round(1000 * seconds), 1000)
    return f"{whole // 3600:02}:{whole // 60 % 60:02}:{whole % 60:02}.{milliseconds:03}"
