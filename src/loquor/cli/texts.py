"""Where the text to speak comes from: an argument, a file, or a pipe that is read as it fills.

Whatever is not UTF-8 text is refused with the place where it stops being that.
"""

from __future__ import annotations

import codecs
import os
import sys
from collections.abc import Iterator

from loquor.errors import InputError

PIPE_BYTES = 1 << 16
UTF16_MARKS = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


def argument_text(text: str) -> str:
    """A text typed on the command line; InputError if the shell passed bytes that are not UTF-8."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise InputError(f"the text is not UTF-8 at character {error.start + 1}", hint="use a UTF-8 locale") from None
    return text


def file_text(path: str) -> str:
    """A whole text file."""
    try:
        with open(path, "rb") as file:
            data = file.read()
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}", hint="-f wants a UTF-8 text file") from None
    return "".join(_decoded(iter([data]), path))


def piped_text() -> Iterator[str]:
    """Standard input piece by piece, each as soon as it is there."""
    descriptor = sys.stdin.fileno()
    return _decoded(iter(lambda: os.read(descriptor, PIPE_BYTES), b""), "standard input")


def typed_lines() -> Iterator[str]:
    """Lines from standard input that say something; on a terminal, with a sign that we wait."""
    is_terminal = sys.stdin.isatty()
    while True:
        if is_terminal:
            print("> ", end="", file=sys.stderr, flush=True)
        line = sys.stdin.readline()
        if not line:
            return
        if line.strip():
            yield line.strip()


def _decoded(pieces: Iterator[bytes], source: str) -> Iterator[str]:
    """Bytes to text, characters that straddle two pieces included; a byte order mark is dropped."""
    decoder = codecs.getincrementaldecoder("utf-8-sig")()
    done = 0
    for piece in pieces:
        if done == 0 and piece.startswith(UTF16_MARKS):
            raise InputError(f"{source} is UTF-16 text", hint="convert it: iconv -f utf-16 -t utf-8")
        if b"\0" in piece:
            raise InputError(f"{source} is no text: it has a zero byte at {done + piece.index(0)}")
        yield _decode(decoder, piece, done, source)
        done += len(piece)
    yield _decode(decoder, b"", done, source)


def _decode(decoder: codecs.IncrementalDecoder, piece: bytes, done: int, source: str) -> str:
    held = len(decoder.getstate()[0])  # the start of a character, from the piece before
    try:
        return decoder.decode(piece, final=not piece)
    except UnicodeDecodeError as error:
        place = max(done - held + error.start, 0)
        hint = "save it as UTF-8, or convert it: iconv -f latin1 -t utf-8"
        raise InputError(
            f"{source} is not UTF-8 text: byte {error.object[error.start]:#04x} at {place}", hint
        ) from None
