"""What the project measures itself with."""

from loquor.evaluation.mos import OpinionPredictor, OpinionScores
from loquor.evaluation.similarity import SpeakerEncoder, similarity
from loquor.evaluation.transcriber import Moonshine, Transcriber
from loquor.evaluation.voice_activity import Activity, VoiceActivityDetector
from loquor.evaluation.wer import SentenceScore, WerReport, score, word_error_rate

__all__ = [
    "Activity",
    "Moonshine",
    "OpinionPredictor",
    "OpinionScores",
    "SentenceScore",
    "SpeakerEncoder",
    "Transcriber",
    "VoiceActivityDetector",
    "WerReport",
    "score",
    "similarity",
    "word_error_rate",
]
