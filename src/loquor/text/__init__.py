"""Text to token ids, whole or as it arrives, for models that read words and for the one that reads phonemes."""

from loquor.text.tokenizer import TextStream, TextTokenizer, Token, load_tokenizer

__all__ = ["TextStream", "TextTokenizer", "Token", "load_tokenizer"]
