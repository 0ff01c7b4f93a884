"""One item of a source made ready: sound at 24 kHz without offset, trimmed and levelled, and the words said in it.

A function of the item and the settings alone, so that any worker on any machine makes the same of it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from sentencex import segment

from loquor.audio.level import block_levels, level_dbfs, normalize_level, sound_span
from loquor.audio.resample import Waveform
from loquor.errors import AudioError
from loquor.models.codec import SAMPLE_RATE_HZ
from loquor.text.timing import estimated_s
from loquor.training.dataset.records import LONGEST_READ_S, Dropped, Line, RawItem, Record, Sound, Unfit
from loquor.training.dataset.settings import SPLITS, Settings
from loquor.training.dataset.splitting import quiet_db, split
from loquor.training.dataset.wording import Wording, reader, wording
from loquor.training.dataset.writing import language_code
from loquor.voices.cleaning import SILENT_DBFS, is_clipped

MARGIN_S = 0.1  # of silence kept before the first and after the last sound
CLIPPED_DB = 1.0  # 840 clean utterances had 1.14 and more; cut off by 12 dB, none had 0.9
FAR_OFF = 3.0  # times beyond the limits of pace: then a long recording is not worth splitting

TranscriptCheck = Callable[[Waveform, str], tuple[float, str]]  # waveform at 24 kHz, text; word error rate, words heard


@dataclass(frozen=True, eq=False)
class Piece:
    """An item, or a part of one that was too long, ready to be encoded."""

    record: Record  # all but its place in a shard
    waveform: Waveform  # [T]


@dataclass(frozen=True)
class Outcome:
    """What became of an item."""

    pieces: tuple[Piece, ...] = ()
    dropped: tuple[Dropped, ...] = ()


@dataclass(frozen=True, eq=False)
class Stretch:
    """A part of a recording, and what is said in it."""

    id: str
    written: str
    said: tuple[Line, ...]
    start: int  # samples, in the recording
    waveform: Waveform


def prepare(item: RawItem, settings: Settings, check: TranscriptCheck | None = None) -> Outcome:
    """The pieces of an item that can be used, and why others cannot."""
    language = item.language or settings.language
    try:
        words = wording(item.text, language, not settings.as_written, "script" in settings.allow)
        waveform = recorded(item.sound)
        if is_clipped(waveform, CLIPPED_DB) and "clipped" not in settings.allow:
            raise Unfit("clipped", "its loudest moments are cut off at one height")
        stretches = _stretches(item.id, waveform, words, settings, language)
    except Unfit as unfit:
        return Outcome(dropped=(unfit.dropping(item.id),))
    pieces, dropped = list[Piece](), list[Dropped]()
    for stretch in stretches:
        try:
            pieces.append(_piece(stretch, item, settings, check))
        except Unfit as unfit:
            dropped.append(unfit.dropping(stretch.id))
    return Outcome(tuple(pieces), tuple(dropped))


def recorded(sound: Sound) -> Waveform:
    """[T] at 24 kHz, without offset; Unfit if it cannot be read, is silent or endless."""
    try:
        waveform = sound.waveform()
    except AudioError as error:
        raise Unfit("unreadable", str(error)) from None
    seconds = len(waveform) / SAMPLE_RATE_HZ
    if seconds > LONGEST_READ_S:
        raise Unfit("too-long", f"more than {LONGEST_READ_S:g} s: cut it into sentences first", seconds=seconds)
    centred = waveform - waveform.mean(dtype=np.float64).astype(np.float32)
    loudest = level_dbfs(block_levels(centred, SAMPLE_RATE_HZ).max(keepdims=True))
    if loudest < SILENT_DBFS:
        raise Unfit("silent", f"nothing in it is louder than {SILENT_DBFS:g} dBFS", loudest_dbfs=loudest)
    return np.asarray(centred)


def _stretches(name: str, waveform: Waveform, words: Wording, settings: Settings, language: str) -> list[Stretch]:
    """The whole recording, or the parts of one that is too long; Unfit if it cannot be split."""
    written = _as_text(words.written)
    start, end = _sound_span(waveform)
    seconds = (end - start) / SAMPLE_RATE_HZ
    if seconds <= settings.longest_s:
        return [Stretch(name, written, words.said, 0, waveform)]
    fault = f"{seconds:.1f} s of sound"
    if words.voices > 1 or len(words.written) > 1:
        raise Unfit("too-long", f"{fault} of several turns, which are not split", seconds=seconds)
    say = reader("none" if settings.as_written else language)
    sentences = [text for text in segment(language_code(language) or "en", written) if say(text).strip()]
    said = [say(text) for text in sentences]
    expected = [estimated_s(text) for text in said]
    _require_pace(sum(expected) / seconds, settings.slowest / FAR_OFF, settings.fastest * FAR_OFF)
    parts = split(waveform[start:end], expected, settings.longest_s)
    if parts is None:
        detail = f"{fault}, and no pauses that surely are ends of its {len(sentences)} sentences"
        raise Unfit("too-long", detail, seconds=seconds)
    return [
        Stretch(
            f"{name}#{number}",
            "".join(sentences[part.first : part.last]).strip(),
            ((0, " ".join(said[part.first : part.last])),),
            start + part.start,
            waveform[start + part.start : start + part.end],
        )
        for number, part in enumerate(parts, 1)
    ]


def _piece(stretch: Stretch, item: RawItem, settings: Settings, check: TranscriptCheck | None) -> Piece:
    first, last = _sound_span(stretch.waveform)
    seconds, margin = (last - first) / SAMPLE_RATE_HZ, round(MARGIN_S * SAMPLE_RATE_HZ)
    if seconds < settings.shortest_s:
        raise Unfit("too-short", f"{seconds:.2f} s of sound", seconds=seconds)
    pace = sum(estimated_s(text) for _, text in stretch.said) / seconds
    _require_pace(pace, settings.slowest, settings.fastest)
    start, end = max(first - margin, 0), min(last + margin, len(stretch.waveform))
    waveform = stretch.waveform[start:end]
    level = settings.level_dbfs
    levelled = waveform if level is None else normalize_level(waveform, level)
    language = item.language or settings.language
    wer, heard = _transcript(levelled, stretch.said, check if language_code(language) in ("", "en") else None, settings)
    speaker = item.speaker or settings.speaker
    record = Record(
        id=stretch.id,
        lines=stretch.said,
        written=stretch.written,
        speaker=speaker,
        language=language,
        split=split_of(_as_text(stretch.said), speaker, settings),
        source=item.sound.name,
        start_s=round((stretch.start + start) / SAMPLE_RATE_HZ, 3),
        end_s=round((stretch.start + end) / SAMPLE_RATE_HZ, 3),
        level_dbfs=round(level_dbfs(waveform), 1),
        pace=round(pace, 2),
        wer=wer,
        heard=heard,
        sound=_hash(np.round(waveform * 32767).astype("<i2").tobytes()),
        samples=len(waveform),
    )
    return Piece(record, levelled)


def _sound_span(waveform: Waveform) -> tuple[int, int]:
    return sound_span(waveform, SAMPLE_RATE_HZ, quiet_db(waveform), margin_s=0.0)


def _require_pace(pace: float, slowest: float, fastest: float) -> None:
    if not slowest <= pace <= fastest:
        raise Unfit("pace", f"its text would usually take {pace:.2f} times as long as its sound", pace=pace)


def _transcript(
    waveform: Waveform, said: tuple[Line, ...], check: TranscriptCheck | None, settings: Settings
) -> tuple[float | None, str | None]:
    if check is None:
        return None, None
    wer, heard = check(waveform, " ".join(text for _, text in said))
    if wer > settings.most_wer:
        raise Unfit("transcript", f"heard: {heard!r}", wer=wer)
    return round(wer, 3), heard


def split_of(text: str, speaker: str, settings: Settings) -> str:
    """Train or validation, by nothing but the words (or the speaker, where one is known and that is wanted).

    So a sentence never stands on both sides, however often and by whomever it is said, and an item keeps its side when
    others come or go.
    """
    key = "".join(character for character in text.casefold() if character.isalnum())
    if settings.split_by == "speaker" and speaker:
        key = speaker
    share = int(_hash(key.encode(errors="backslashreplace")), 16) / 2**64
    return SPLITS[share < settings.validation]


def _as_text(lines: tuple[Line, ...]) -> str:
    return "\n".join(f"Speaker {voice}: {text}" for voice, text in lines) if len(lines) > 1 else lines[0][1]


def _hash(data: bytes) -> str:
    return hashlib.blake2b(data, digest_size=8).hexdigest()
