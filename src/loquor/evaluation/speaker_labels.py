"""Whether recordings that bear one speaker's label sound like one speaker, by the embeddings of their voices."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from loquor.evaluation.similarity import Embeddings, parted, similarity

CLEARLY = 0.05  # so much nearer to another label; of 23 recordings of four voices none was nearer at all
TOO_ALIKE = 0.02  # a gap between labels that is none; two similar women had 0.06
UNLIKE = 0.75  # parts of a label that are two voices: those of one voice had 0.87 and more, of unlike ones 0.65
FEWEST = 3  # recordings of a label from which anything is concluded


@dataclass(frozen=True)
class Misplaced:
    """A recording that is nearer to another label's middle than to its own."""

    index: int
    nearer: str
    own: float  # similarity to the middle of the others of its label
    other: float


@dataclass(frozen=True)
class LabelFaults:
    """What is wrong; `typical` is the median similarity of a recording to the others of its label."""

    misplaced: tuple[Misplaced, ...]
    mixed: Mapping[str, tuple[float, tuple[int, ...]]]  # labels of two voices: their likeness, the smaller part
    same: tuple[tuple[str, str], ...]  # labels of one voice
    typical: float


def examine_labels(embeddings: Embeddings, labels: Sequence[str]) -> LabelFaults:
    """`embeddings` [N, 256], of length 1, of recordings with `labels`. Labels of few recordings are not judged."""
    names, label = np.unique(np.asarray(labels), return_inverse=True)
    sums = np.stack([embeddings[label == i].sum(axis=0) for i in range(len(names))])
    counts = np.bincount(label)
    rows = np.arange(len(embeddings))
    to_label = embeddings @ _of_length_1(sums).T  # [N, labels]
    to_label[rows, label] = np.sum(embeddings * _of_length_1(sums[label] - embeddings), axis=1)  # without itself
    own = to_label[rows, label].copy()
    to_label[:, counts < FEWEST] = -1.0
    same = _same(to_label, own, label, counts)
    rivals = to_label.copy()
    rivals[rows, label] = -1.0
    for a, b in same:
        rivals[label == a, b] = rivals[label == b, a] = -1.0
    nearest = rivals.argmax(axis=1)
    is_judged = (rivals.max(axis=1) > own + CLEARLY) & (counts[label] >= FEWEST)
    misplaced = [
        Misplaced(int(i), str(names[nearest[i]]), float(own[i]), float(rivals[i, nearest[i]]))
        for i in np.nonzero(is_judged)[0]
    ]
    mixed = {}
    for i, name in enumerate(names):
        found = _two_voices(embeddings, np.nonzero((label == i) & ~is_judged)[0])
        if found:
            mixed[str(name)] = found
    typical = float(np.median(own[counts[label] >= 2])) if (counts >= 2).any() else 1.0
    return LabelFaults(tuple(misplaced), mixed, tuple((str(names[a]), str(names[b])) for a, b in same), typical)


def _same(to_label: Embeddings, own: Embeddings, label: np.ndarray, counts: np.ndarray) -> list[tuple[int, int]]:
    """Pairs of labels whose recordings are as near to the other's middle as to their own."""
    judged = np.nonzero(counts >= FEWEST)[0]
    pairs = [(int(a), int(b)) for a in judged for b in judged if a < b]

    def gap(a: int, b: int) -> float:
        return float((own[label == a] - to_label[label == a, b]).mean())

    return [(a, b) for a, b in pairs if max(gap(a, b), gap(b, a)) < TOO_ALIKE]


def _two_voices(embeddings: Embeddings, rows: np.ndarray) -> tuple[float, tuple[int, ...]] | None:
    if len(rows) < FEWEST:
        return None
    middles, part = parted(embeddings[rows])
    alike = similarity(*middles)
    smaller = int(np.bincount(part, minlength=2).argmin())
    return (alike, tuple(int(i) for i in rows[part == smaller])) if alike < UNLIKE else None


def _of_length_1(vectors: Embeddings) -> Embeddings:
    lengths = np.linalg.norm(vectors, axis=-1, keepdims=True)
    return np.asarray(vectors / np.maximum(lengths, 1e-6), dtype=np.float32)
