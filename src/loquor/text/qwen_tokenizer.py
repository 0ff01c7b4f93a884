"""Qwen2.5's byte-pair encoding, as VibeVoice and VITA-Audio use it, and the same on text that is still arriving.

The merges ship in `data/` (from the Qwen2.5 release, Apache-2.0); `loquor.training.merges` made the file. Names such as
`<|vision_start|>` inside a user's text are plain text here: only a program may place special tokens.
"""

import lzma
import re
import unicodedata
from functools import lru_cache
from importlib.resources import files

from tokenizers import Encoding, Regex, Tokenizer
from tokenizers.models import BPE
from tokenizers.normalizers import NFC
from tokenizers.pre_tokenizers import ByteLevel, Sequence, Split

from loquor.text.tokenizer import TextStream, Token, readable

PIECES = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
# fmt: off
SPECIAL_NAMES = (
    "<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|object_ref_start|>", "<|object_ref_end|>", "<|box_start|>",
    "<|box_end|>", "<|quad_start|>", "<|quad_end|>", "<|vision_start|>", "<|vision_end|>", "<|vision_pad|>",
    "<|image_pad|>", "<|video_pad|>", "<tool_call>", "</tool_call>", "<|fim_prefix|>", "<|fim_middle|>",
    "<|fim_suffix|>", "<|fim_pad|>", "<|repo_name|>", "<|file_sep|>",
)
# fmt: on
PATIENCE = 256  # characters without a place to cut, after which a stream looks for one less often


def byte_letters() -> list[str]:
    """The character that stands for each of the ids 0 to 255, single bytes, in the merges (as in GPT-2)."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    return [chr(code) for code in printable] + [chr(256 + i) for i in range(256 - len(printable))]


@lru_cache(maxsize=1)
def byte_pair_encoding() -> Tokenizer:
    """The tokenizer without special tokens. An id from 256 is the number of the merge that makes it, plus 256."""
    packed = files("loquor.text").joinpath("data/qwen2_5_merges.txt.xz").read_bytes()
    merges = [(left, right) for left, right in map(str.split, lzma.decompress(packed).decode().splitlines())]
    vocabulary = {name: i for i, name in enumerate([*byte_letters(), *(left + right for left, right in merges)])}
    tokenizer = Tokenizer(BPE(vocab=vocabulary, merges=merges))
    tokenizer.normalizer = NFC()
    pieces = Split(Regex(PIECES), behavior="isolated")
    tokenizer.pre_tokenizer = Sequence([pieces, ByteLevel(add_prefix_space=False, use_regex=False)])
    return tokenizer


class QwenTokenizer:
    """The tokenizer of the models built on Qwen2.5; a small model may have other merges."""

    def __init__(self, bpe: Tokenizer | None = None) -> None:
        self.bpe = bpe or byte_pair_encoding()
        first = self.bpe.get_vocab_size()
        self.special_ids = {name: first + i for i, name in enumerate(SPECIAL_NAMES)}
        self.eos = self.special_ids["<|endoftext|>"]
        self.speech_start = self.special_ids["<|vision_start|>"]
        self.speech_end = self.special_ids["<|vision_end|>"]
        self.speech_diffusion = self.special_ids["<|vision_pad|>"]  # one latent frame
        self.image_pad = self.special_ids["<|image_pad|>"]  # padding on the left; the negative prompt of Realtime

    @property
    def vocab_size(self) -> int:
        return self.bpe.get_vocab_size() + len(SPECIAL_NAMES)

    @property
    def negative_id(self) -> int:
        return self.image_pad

    @property
    def voice_id(self) -> None:
        """None: a voice of these models begins with its transcript."""

    def ids(self, text: str, special_in_text: bool = False) -> list[int]:
        """The ids of a piece of a prompt, as it is. `special_in_text` reads special names as the reference does."""
        text = readable(text)
        if not special_in_text:
            return list(self.bpe.encode(text).ids)
        ids = []
        for part in re.split(f"({'|'.join(map(re.escape, SPECIAL_NAMES))})", text):
            ids += [self.special_ids[part]] if part in self.special_ids else self.bpe.encode(part).ids
        return ids

    def encode(self, text: str) -> list[int]:
        """The ids of a whole text in the Realtime form: without space around it, closed by a newline."""
        return self.ids(readable(text).strip() + "\n")

    def stream(self) -> TextStream:
        return QwenStream(self.bpe)


class QwenStream:
    """`QwenTokenizer.encode` on text that is still arriving: a word's ids are given when a space or mark follows it.

    The pattern looks at most one character beyond a piece, and to the end of a run of spaces. So a piece is final when
    it is followed by something that is not space; or by space, if it would stay the same with the closing newline.
    """

    def __init__(self, bpe: Tokenizer) -> None:
        self.bpe = bpe
        self.pending = ""
        self.start = 0  # where `pending` stands in the pushed text
        self.begun = False  # something but space has been pushed
        self.attempt_length = 0  # of `pending`, from which looking for a place to cut is worth it

    def push(self, text: str) -> list[Token]:
        self.pending += readable(text, self.start + len(self.pending))
        if not self.begun:
            length = len(self.pending)
            self.pending = self.pending.lstrip()
            self.start += length - len(self.pending)
            self.begun = bool(self.pending)
        if len(self.pending) < self.attempt_length:
            return []
        said = self.pending.rstrip()
        encoding = self.bpe.encode(said if said == self.pending else said + "\n")
        count, cut = final_part(encoding, said)
        tokens = self.tokens(encoding, count)
        self.pending = self.pending[cut:]
        self.start += cut
        self.attempt_length = len(self.pending) + (len(self.pending) // 8 if len(self.pending) > PATIENCE else 0)
        return tokens

    def end(self) -> list[Token]:
        self.pending = self.pending.rstrip()
        encoding = self.bpe.encode(self.pending + "\n")
        return self.tokens(encoding, len(encoding))

    def tokens(self, encoding: Encoding, count: int) -> list[Token]:
        """The first tokens of an encoding of `pending`, with their place in the pushed text."""
        last = self.start + len(self.pending)  # the newline that closes a text was not in it
        places = zip(encoding.ids[:count], encoding.offsets[:count], strict=True)
        return [Token(i, min(self.start + start, last), min(self.start + end, last)) for i, (start, end) in places]


def final_part(encoding: Encoding, said: str) -> tuple[int, int]:
    """How many tokens, from how many characters of `said`, later text cannot change: up to the last safe cut."""
    words, offsets = encoding.word_ids, encoding.offsets
    for i in range(len(words) - 1, 0, -1):
        cut = offsets[i][0]
        if words[i] != words[i - 1] and (cut == len(said) or (cut < len(said) and begins_anew(said[cut]))):
            return i, cut
    return 0, 0


def begins_anew(character: str) -> bool:
    """Whether NFC never joins this character to the one before: not a mark, not the middle or end of a syllable.

    Characters unknown to this Python may be marks in the tokenizer's newer Unicode.
    """
    if unicodedata.category(character) in {"Mn", "Mc", "Me", "Cn"}:
        return False
    return not ("\u1160" <= character <= "\u11ff" or "\U00016d63" <= character <= "\U00016d6a")  # Hangul, Kirat Rai
