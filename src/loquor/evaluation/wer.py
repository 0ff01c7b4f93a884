"""Word error rate: how many words a listener gets wrong, by the usual count and normalisation.

(substitutions + deletions + insertions) / words of the reference, over the minimum edit alignment (jiwer), after the
English normaliser of Whisper (Radford et al., arXiv:2212.04356, appendix C), which spells numbers, contractions and
British words one way. The interval is a bootstrap over sentences (Bisani and Ney, ICASSP 2004): errors come in
clusters, so counting words as independent would promise too much.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt

from loquor.errors import MissingExtra
from loquor.evaluation.statistics import ratio_interval
from loquor.evaluation.transcriber import Moonshine, Transcriber

Utterance = tuple[str, npt.NDArray[np.float32], int]  # what was to be said, waveform [T], sample rate in Hz


@dataclass(frozen=True)
class SentenceScore:
    """One sentence, compared as `reference` and `hypothesis` show it: normalised."""

    reference: str
    hypothesis: str
    words: int
    substitutions: int
    deletions: int
    insertions: int

    @property
    def errors(self) -> int:
        return self.substitutions + self.deletions + self.insertions

    @property
    def wer(self) -> float:
        return self.errors / max(self.words, 1)


@dataclass(frozen=True)
class WerReport:
    """wer and interval (95 %) are ratios, above 1 if more was heard than said; sentences stand worst first."""

    wer: float
    interval: tuple[float, float]
    words: int
    errors: int
    sentences: tuple[SentenceScore, ...]

    def as_dict(self) -> dict[str, Any]:
        """The report as JSON takes it."""
        return asdict(self)

    def __str__(self) -> str:
        low, high = self.interval
        return f"WER {self.wer:.1%} (95 %: {low:.1%} to {high:.1%}; {self.errors} errors in {self.words} words)"


def score(items: Iterable[Utterance], transcriber: Transcriber | None = None) -> WerReport:
    """The word error rate of spoken sentences (text, waveform, sample_rate_hz), heard by transcriber (Moonshine).

    Items are taken one at a time, so a generator may synthesise them on the way.
    """
    transcriber = transcriber or Moonshine()
    references: list[str] = []
    hypotheses: list[str] = []
    for text, waveform, sample_rate_hz in items:
        references.append(text)
        hypotheses.append(transcriber.transcribe(waveform, sample_rate_hz))
    return word_error_rate(references, hypotheses)


def word_error_rate(references: Sequence[str], hypotheses: Sequence[str]) -> WerReport:
    """Compares sentence by sentence. Raises ValueError if the two have different lengths or no sentence at all."""
    if not references:
        raise ValueError("no sentences to compare")
    rows = [_compare(said, heard) for said, heard in zip(references, hypotheses, strict=True)]
    words, errors = sum(row.words for row in rows), sum(row.errors for row in rows)
    rate, low, high = ratio_interval([row.errors for row in rows], [row.words for row in rows])
    worst_first = sorted(rows, key=lambda row: (-row.wer, -row.errors))
    return WerReport(rate, (low, high), words, errors, tuple(worst_first))


def _compare(said: str, heard: str) -> SentenceScore:
    normalize, align = _tools()
    reference, hypothesis = normalize(said).strip(), normalize(heard).strip()
    words = len(reference.split())
    if not reference or not hypothesis:  # jiwer wants words on both sides
        return SentenceScore(reference, hypothesis, words, 0, words, len(hypothesis.split()))
    found = align(reference, hypothesis)
    return SentenceScore(reference, hypothesis, words, found.substitutions, found.deletions, found.insertions)


@cache
def _tools() -> tuple[Callable[[str], str], Callable[[str, str], Any]]:
    """Whisper's normaliser and jiwer's alignment, imported when the first sentence comes."""
    try:
        from jiwer import process_words
        from whisper_normalizer.english import EnglishTextNormalizer
    except ImportError as error:
        message = "word error rates need jiwer and whisper-normalizer"
        raise MissingExtra(message, hint="pip install 'loquor[eval]'") from error
    return EnglishTextNormalizer(), process_words
