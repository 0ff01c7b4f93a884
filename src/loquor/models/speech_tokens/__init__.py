"""Discrete codecs of speech behind one interface: what a speech language model hears and says as ids."""

from loquor.models.speech_tokens.interface import SpeechTokens
from loquor.models.speech_tokens.registry import KINDS, SpeechTokensKind, speech_tokens_kind

__all__ = ["KINDS", "SpeechTokens", "SpeechTokensKind", "speech_tokens_kind"]
