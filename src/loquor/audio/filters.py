"""Chains of FFmpeg's filters, through PyAV, an optional dependency.

Sound goes through as a stream of blocks [T, C], so that an hour needs no more memory than a second.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from fractions import Fraction
from itertools import chain
from typing import TYPE_CHECKING, Any

import numpy as np

from loquor.audio.decode import EXTRA
from loquor.audio.resample import Waveform
from loquor.errors import AudioError, MissingExtra

if TYPE_CHECKING:
    from av.audio.frame import AudioFrame

Blocks = Iterable[Waveform]  # [T, C] each
Step = tuple[str, dict[str, str]]  # a filter of ffmpeg and its options

FORMAT = "fltp"  # float, channel by channel
LAYOUTS = {1: "mono", 2: "stereo"}


def pyav() -> Any:
    """The library; MissingExtra if it is not installed."""
    try:
        import av
        import av.filter
    except ImportError as error:
        raise MissingExtra("this needs FFmpeg's libraries, which are not installed", hint=EXTRA) from error
    return av


def filtered(blocks: Blocks, sample_rate_hz: int, steps: Iterable[Step]) -> Iterator[AudioFrame]:
    """The frames that a chain of filters makes of blocks; AudioError if these are neither mono nor stereo."""
    av = pyav()
    rest = iter(blocks)
    first = next(rest, None)
    if first is None:
        return
    if first.shape[1] not in LAYOUTS:
        raise AudioError(f"there are {first.shape[1]} channels", hint="give mono or stereo")
    layout, clock = LAYOUTS[first.shape[1]], Fraction(1, sample_rate_hz)
    graph = av.filter.Graph()
    begin = graph.add_abuffer(sample_rate=sample_rate_hz, format=FORMAT, layout=layout, time_base=clock)
    graph.link_nodes(begin, *(graph.add(name, **options) for name, options in steps), graph.add("abuffersink"))
    graph.configure()
    done = 0
    for block in chain([first], rest):
        frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(block.T), format=FORMAT, layout=layout)
        frame.sample_rate, frame.time_base, frame.pts = sample_rate_hz, clock, done
        done += len(block)
        graph.push(frame)
        yield from _ready(graph)
    graph.push(None)
    yield from _ready(graph)


def _ready(graph: Any) -> Iterator[AudioFrame]:
    """The frames a graph has made of what was pushed so far."""
    av = pyav()
    while True:
        try:
            frame = graph.pull()
        except (av.BlockingIOError, av.EOFError):  # it wants more, or will have no more
            return
        yield frame


def block_of(frame: AudioFrame) -> Waveform:
    """The samples [T, C] of a frame in FORMAT."""
    return np.ascontiguousarray(frame.to_ndarray().T, dtype=np.float32)
