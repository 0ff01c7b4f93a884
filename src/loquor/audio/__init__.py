"""Sound as files, streams and levels: waveforms are mono float32 [T] in [-1, 1]."""

from loquor.audio.io import read, write
from loquor.audio.level import normalize_level, sound_span
from loquor.audio.resample import StreamResampler, Waveform, resample
from loquor.audio.sink import CONTAINERS, Sink, open_sink, pcm16

__all__ = [
    "CONTAINERS",
    "Sink",
    "StreamResampler",
    "Waveform",
    "normalize_level",
    "open_sink",
    "pcm16",
    "read",
    "resample",
    "sound_span",
    "write",
]
