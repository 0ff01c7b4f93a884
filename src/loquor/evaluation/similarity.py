"""Whether two recordings are of one speaker: the cosine between embeddings of their voices.

The encoder is an LSTM trained to tell 18,000 speakers apart (Wan et al., "Generalized end-to-end loss for speaker
verification", arXiv:1710.10467); its weights come in the package resemblyzer under the Apache 2.0 licence. It reads
40 mel bands at 16 kHz, 1.6 s at a time.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn.functional import normalize, pad

from loquor.audio.level import block_levels, is_loud, normalize_level
from loquor.audio.resample import Waveform, resample
from loquor.errors import AudioError, MissingExtra
from loquor.models.packaged import INSTALL_HINT, Package
from loquor.models.speech_tokens.log_mel import mel_filters

PACKAGE = Package("resemblyzer", "resemblyzer", "the speaker encoder")
Embedding = npt.NDArray[np.float32]  # [256], of length 1
Embeddings = npt.NDArray[np.float32]  # [N, 256], each of length 1
PARTING_ROUNDS = 10

# The weights are a pickle of torch's old format. This one file is known by its hash, so nothing of it needs to be
# interpreted: the numbers are taken from where they lie, from these bytes on one after the other.
SHA256 = "39373b86598fa3da9fcddee6142382efe09777e8d37dc9c0561f41f0070f134e"
LSTM = [f"lstm.{kind}_{part}_l{layer}" for kind in ("weight", "bias") for layer in range(3) for part in ("ih", "hh")]
PLACES = {6699: ["linear.bias"], 7731: ["linear.weight"], 269883: LSTM}


def similarity(a: Embedding, b: Embedding) -> float:
    """The cosine between two embeddings: 1 for the same sound, above 0.85 mostly one speaker, below 0.75 hardly."""
    return float(a @ b)


def similarity_of_parts(windows: Embeddings) -> float:
    """How alike the two parts are that windows [N, 256] fall into, each window going to the part it is more like.

    Two speakers, one after the other or in turns, give two unlike parts.
    """
    return similarity(*parted(windows)[0])


def parted(windows: Embeddings) -> tuple[Embeddings, npt.NDArray[np.intp]]:
    """Windows [N, 256] as two parts: their middles [2, 256], and the part of each window [N].

    Spherical 2-means, from the least alike pair.
    """
    first, second = np.unravel_index((windows @ windows.T).argmin(), (len(windows), len(windows)))
    parts = windows[[first, second]]
    for _ in range(PARTING_ROUNDS):
        belongs = (windows @ parts.T).argmax(axis=1)
        means = [windows[belongs == part].mean(axis=0) if (belongs == part).any() else parts[part] for part in (0, 1)]
        parts = np.stack([mean / np.linalg.norm(mean) for mean in means])
    return parts, (windows @ parts.T).argmax(axis=1)


class SpeakerEncoder:
    """The encoder on the CPU. MissingExtra if it is not installed."""

    SAMPLE_RATE_HZ = 16000
    LEVEL_DBFS = -30.0  # of what it was trained on
    WINDOW, HOP = 160, 80  # frames of 10 ms
    PAUSE_DB = -30.0
    SPEECH_MARGIN = 5  # blocks of 10 ms around loud ones that are kept

    def __init__(self) -> None:
        self._network = _Network()
        self._network.load_state_dict(_read_weights(PACKAGE.file("pretrained.pt"), self._network))
        self._network.eval().requires_grad_(False)

    def embed(self, waveform: Waveform, sample_rate_hz: int = 24_000) -> Embedding:
        """The voice in waveform [T], [256]; pauses do not count. AudioError if all of it is silent."""
        mean = self.windows(waveform, sample_rate_hz).mean(axis=0)
        embedding: Embedding = mean / np.linalg.norm(mean)
        return embedding

    def windows(self, waveform: Waveform, sample_rate_hz: int = 24_000) -> Embeddings:
        """The voice in each 1.6 s of waveform [T], every 0.8 s, [N, 256]; at least one. AudioError as `embed`."""
        audio = resample(waveform, sample_rate_hz, self.SAMPLE_RATE_HZ)
        if not audio.any():
            raise AudioError("silence has no speaker", hint="give at least a second of speech")
        audio = normalize_level(self._without_pauses(audio), self.LEVEL_DBFS)
        bands = mel_bands(torch.from_numpy(audio))
        bands = pad(bands, (0, 0, 0, max(0, self.WINDOW - len(bands))))
        windows = bands.unfold(0, self.WINDOW, self.HOP).transpose(1, 2)  # [N, 160, 40]
        embeddings: Embeddings = self._network(windows).numpy()
        return embeddings

    def _without_pauses(self, waveform: Waveform) -> Waveform:
        loud = is_loud(block_levels(waveform, self.SAMPLE_RATE_HZ), self.PAUSE_DB)
        near = np.convolve(loud, np.ones(2 * self.SPEECH_MARGIN + 1))
        kept = near[self.SPEECH_MARGIN : -self.SPEECH_MARGIN] > 0.5
        return waveform[np.repeat(kept, self.SAMPLE_RATE_HZ // 100)[: len(waveform)]]


class _Network(nn.Module):
    """Mel bands [B, 160, 40] to embeddings [B, 256] of length 1."""

    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(40, 256, num_layers=3, batch_first=True)
        self.linear = nn.Linear(256, 256)

    def forward(self, bands: Tensor) -> Tensor:
        _, (hidden, _) = self.lstm(bands)
        return normalize(self.linear(hidden[-1]).relu(), dim=-1)


def mel_bands(waveform: Tensor) -> Tensor:
    """The power of waveform [T] at 16 kHz in 40 mel bands, [1 + T // 160, 40]: windows of 25 ms every 10 ms."""
    window = torch.hann_window(400)
    spectrum = torch.stft(waveform, 400, 160, window=window, pad_mode="constant", return_complex=True)
    return (mel_filters(40) @ spectrum.abs() ** 2).T


def _read_weights(path: Path, network: nn.Module) -> dict[str, Tensor]:
    data = path.read_bytes()
    if hashlib.sha256(data).hexdigest() != SHA256:
        raise MissingExtra(f"{path} is not the speaker encoder of release 0.1.4", hint=INSTALL_HINT)
    shapes = {name: parameter.shape for name, parameter in network.named_parameters()}
    weights = {}
    for place, names in PLACES.items():
        at = place
        for name in names:
            count = shapes[name].numel()
            numbers = np.frombuffer(data, "<f4", count, at).astype(np.float32)
            weights[name] = torch.from_numpy(numbers).view(shapes[name])
            at += 4 * count
    return weights
