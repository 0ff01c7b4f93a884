"""GLM-4-Voice's tokenizer and decoder as one codec of speech: 12.5 ids a second in, 22.05 kHz out."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import cast

from torch import Tensor

from loquor.audio.resample import Waveform
from loquor.diffusion.noise import SeededNoise
from loquor.errors import CheckpointError
from loquor.models.speech_tokens.glm_decoder import GlmDecoder
from loquor.models.speech_tokens.glm_decoder_checkpoint import load_glm_decoder
from loquor.models.speech_tokens.glm_stream import USUAL, StreamState, WindowedDecoder, Windows
from loquor.models.speech_tokens.glm_tokenizer import GlmTokenizer
from loquor.models.speech_tokens.glm_tokenizer_checkpoint import load_glm_tokenizer
from loquor.models.speech_tokens.interface import require_some, to_rate
from loquor.models.speech_tokens.log_mel import SAMPLE_RATE_HZ
from loquor.state import State

PUBLISHED_HZ = 22050  # of the decoder, where it is not there to say so


class GlmSpeechTokens:
    """Both halves, or one; CheckpointError when the other is asked for, and if they do not fit each other."""

    def __init__(self, tokenizer: GlmTokenizer | None, decoder: GlmDecoder | None, windows: Windows = USUAL) -> None:
        self.tokenizer, self.decoder = tokenizer, decoder
        self._stream = WindowedDecoder(decoder, windows) if decoder else None
        facts = {(t.config.quantize_vocab_size, SAMPLE_RATE_HZ / t.config.token_samples) for t in [tokenizer] if t}
        facts |= {(d.flow.config.vocab_size, d.flow.config.token_rate_hz) for d in [decoder] if d}
        if len(facts) != 1:
            found = " and ".join(f"{size} ids at {rate} a second" for size, rate in sorted(facts)) or "neither"
            raise CheckpointError(f"a GLM-4-Voice tokenizer and decoder of one codebook are needed, got {found}")
        self.codebook_size, self.frame_rate_hz = facts.pop()
        self.sample_rate_hz = decoder.vocoder.config.sample_rate_hz if decoder else PUBLISHED_HZ

    @classmethod
    def open(
        cls, tokenizer: Path | None, decoder: Path | None, device: str = "cpu", windows: Windows = USUAL
    ) -> GlmSpeechTokens:
        """The published folders glm-4-voice-tokenizer and glm-4-voice-decoder; CheckpointError if one is not sound."""
        ears = load_glm_tokenizer(tokenizer).to(device) if tokenizer else None
        mouth = load_glm_decoder(decoder).to(device) if decoder else None
        return cls(ears, mouth, windows)

    def with_windows(self, windows: Windows) -> GlmSpeechTokens:
        """The same weights, streamed otherwise: `EARLY` is heard sooner."""
        return GlmSpeechTokens(self.tokenizer, self.decoder, windows)

    def encode(self, waveform: Waveform, sample_rate_hz: int) -> list[int]:
        """waveform [T], mono (the reference takes the first channel, not the mean), to ids, one for 80 ms begun."""
        if self.tokenizer is None:
            raise _absent("tokenizer", "encode speech")
        sound = to_rate(waveform, sample_rate_hz, SAMPLE_RATE_HZ)
        return self.tokenizer.encode(sound.to(self.tokenizer.positions.device))

    def init_state(self, seed: int = 0) -> StreamState:
        return self._mouth.init_state(seed)

    def decode(self, ids: Sequence[int], state: State | None = None, is_final: bool = False) -> Tensor:
        """Ids to a waveform in windows, the same whole as in portions: see `glm_stream`."""
        if state is None:
            require_some(ids)
            state, is_final = self.init_state(), True
        return self._mouth.decode(ids, cast(StreamState, state), is_final).cpu()

    def decode_whole(self, ids: Sequence[int], seed: int = 0) -> Tensor:
        """The published decoding, for what need not be heard before it ends: it sees the whole, at most two minutes."""
        if self.decoder is None:
            raise _absent("decoder", "decode ids")
        return self.decoder.decode_whole(ids, SeededNoise(seed)).cpu()

    @property
    def _mouth(self) -> WindowedDecoder:
        if self._stream is None:
            raise _absent("decoder", "decode ids")
        return self._stream


def _absent(half: str, purpose: str) -> CheckpointError:
    return CheckpointError(
        f"the GLM-4-Voice {half} is not loaded, so nothing here can {purpose}",
        hint=f"download glm-4-voice-{half} and give its folder",
    )
