"""Text and audio of one answer, woven into one sequence, so that speech begins before the text is finished.

A ratio (T1, A1, T2, A2, ...) says how many ids of text and of audio, marks included, come in turn; the last pair is
repeated. It is the schedule a model generates by: text comes from the main model, audio from its prediction modules
(VITA-Audio, arXiv:2505.03739; appendix of its training scripts).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from loquor.errors import ConfigError

BOOST = (1, 10, 4, 10)  # of the published training scripts
MARKS = 2  # of a span of audio


def check_ratio(ratio: Sequence[int]) -> None:
    """ConfigError unless every text has an id and every span of audio one beside its marks."""
    text, audio = ratio[0::2], ratio[1::2]
    if not text or len(text) != len(audio) or min(text) < 1 or min(audio) <= MARKS:
        raise ConfigError(
            f"{list(ratio)} is no ratio of text to audio",
            hint=f"give pairs: ids of text (at least 1), then ids of audio with its two marks (at least {MARKS + 1})",
        )


def interleave(text: Sequence[int], audio: Sequence[int], ratio: Sequence[int], marks: tuple[int, int]) -> list[int]:
    """Ids of text and of audio, without marks, in turn; each span of audio stands between the two `marks`.

    Where one of them runs out of pieces, the last piece of the other is all the rest of it: nothing is lost, and an
    answer ends with audio. Without text it is one span; without audio, the text.
    """
    check_ratio(ratio)
    if not audio:
        return list(text)
    begin, end = marks
    texts = list(pieces(text, ratio[0::2])) or [[]]
    spans = list(pieces(audio, [count - MARKS for count in ratio[1::2]]))
    last = min(len(texts), len(spans)) - 1
    rests = ([i for piece in p[last:] for i in piece] for p in (texts, spans))
    pairs = [*zip(texts[:last], spans[:last], strict=True), tuple(rests)]
    return [i for words, sounds in pairs for i in (*words, begin, *sounds, end)]


def pieces(ids: Sequence[int], sizes: Sequence[int]) -> Iterator[list[int]]:
    """`ids` cut into pieces of the sizes in turn, the last of which is repeated."""
    at = number = 0
    while at < len(ids):
        size = sizes[min(number, len(sizes) - 1)]
        yield list(ids[at : at + size])
        at, number = at + size, number + 1
