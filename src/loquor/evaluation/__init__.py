"""What the project measures itself with."""

from loquor.evaluation.transcriber import Moonshine, Transcriber
from loquor.evaluation.wer import SentenceScore, WerReport, score, word_error_rate

__all__ = ["Moonshine", "SentenceScore", "Transcriber", "WerReport", "score", "word_error_rate"]
