"""Speech recognition as a measuring instrument: what does a listener understand?

`Transcriber` is the interface word error rates are measured through. `Moonshine` is the small English recogniser the
project measures with (Jeffries et al., "Moonshine: Speech Recognition for Live Transcription and Voice Commands",
arXiv:2410.15608): it runs offline on one core, and its weights come inside a package of the package index.
"""

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from loquor.audio.resample import Waveform, resample
from loquor.models.packaged import Package

PACKAGE = Package("moonshine-voice", "moonshine_voice", "the speech recogniser")


class Transcriber(Protocol):
    """Anything that writes down what it hears."""

    def transcribe(self, waveform: Waveform, sample_rate_hz: int) -> str:
        """The words of waveform, float32 [T] in [-1, 1]; an empty text where there are none."""
        ...


class Moonshine:
    """Moonshine tiny (English, 27 M parameters), decoded greedily with onnxruntime.

    Raises MissingExtra, with the line that installs them, where onnxruntime or the weights are absent.
    """

    SAMPLE_RATE_HZ = 16000
    TOKENS_PER_SECOND = 6.5  # the published limit: longer answers to so much audio are a decoder caught in a loop
    SPARE_TOKENS = 8
    SHORTEST_SAMPLES = 1600  # the encoder's strided convolutions need 895; a tenth of a second holds no word anyway
    BEGIN, END = 1, 2

    def __init__(self, threads: int = 1) -> None:
        self._encoder, self._decoder = (
            PACKAGE.session(PACKAGE.file("assets", "tiny-en", f"{part}.ort"), threads)
            for part in ("encoder_model", "decoder_model_merged")
        )
        self._pieces = read_pieces(PACKAGE.file("assets", "tiny-en", "tokenizer.bin").read_bytes())
        self._cache_inputs = [i for i in self._decoder.get_inputs() if i.name.startswith("past_key_values")]

    def transcribe(self, waveform: Waveform, sample_rate_hz: int) -> str:
        """The words of waveform, float32 [T] in [-1, 1]."""
        audio = resample(np.asarray(waveform, dtype=np.float32), sample_rate_hz, self.SAMPLE_RATE_HZ)
        if audio.size < self.SHORTEST_SAMPLES:
            return ""
        mask = np.ones((1, audio.size), dtype=np.int64)
        (heard,) = self._encoder.run(None, {"input_values": audio[None], "attention_mask": mask})
        limit = int(audio.size / self.SAMPLE_RATE_HZ * self.TOKENS_PER_SECOND) + self.SPARE_TOKENS
        return self._text(self._decode(heard, mask, limit))

    def _decode(self, heard: npt.NDArray[np.float32], mask: npt.NDArray[np.int64], limit: int) -> list[int]:
        """Up to limit token ids, each the likeliest so far; heard is [1, frames, 288], mask [1, samples]."""
        inputs: dict[str, Any] = {
            "encoder_hidden_states": heard,
            "encoder_attention_mask": mask,  # in samples: the decoder thins it out to frames itself
            "use_cache_branch": np.array([False]),
        }
        for entry in self._cache_inputs:
            inputs[entry.name] = np.zeros((1, entry.shape[1], 0, entry.shape[3]), dtype=np.float32)
        ids: list[int] = []
        token = self.BEGIN
        while len(ids) < limit:
            is_first = not ids
            inputs["input_ids"] = np.array([[token]], dtype=np.int64)
            logits, *present = self._decoder.run(None, inputs)
            token = int(logits[0, -1].argmax())
            if token == self.END:
                break
            ids.append(token)
            for entry, value in zip(self._cache_inputs, present, strict=True):
                if is_first or ".decoder." in entry.name:  # the encoder's keys are made once; later runs return none
                    inputs[entry.name] = value
            inputs["use_cache_branch"] = np.array([True])
        return ids

    def _text(self, ids: Sequence[int]) -> str:
        joined = b"".join(self._pieces[i] for i in ids if i > self.END)
        return joined.decode("utf-8", errors="replace").replace("▁", " ").strip()


def read_pieces(data: bytes) -> list[bytes]:
    """The token table of tokenizer.bin: per id a length (7 bits, or 14 low byte first) and that many bytes.

    An unused id has length 0. Word starts carry U+2581; the 256 byte tokens are their byte.
    """
    pieces: list[bytes] = []
    at = 0
    while at < len(data):
        length = data[at]
        at += 1
        if length >= 0x80:
            length += data[at] * 0x80 - 0x80
            at += 1
        pieces.append(data[at : at + length])
        at += length
    return pieces
