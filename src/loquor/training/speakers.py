"""Who a model with many voices learns from: corpora of speakers, and the same corpora at other speeds.

A recording played at another speed is another speaker, of another pitch and with a vocal tract of another length; from
a few teachers a model so hears a continuum of voices, and learns to take the voice from what it is shown of it. What
it is shown, the reference, is the end of another utterance of the same speaker at the same speed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from loquor.engine.voice_making import REFERENCE_FRAMES, Reference
from loquor.models.codec import SAMPLE_RATE_HZ, Codec
from loquor.text.phoneme_tokenizer import VOICES, PhonemeTokenizer
from loquor.training.data import Corpus
from loquor.training.latents import Latents, encode_corpus
from loquor.training.realtime import Example, phone_slots

SPEEDS = (0.78, 0.84, 0.9, 1.1, 1.18, 1.26)  # each utterance is heard as it is, and at one of these
SHORTEST_REFERENCE = 6  # frames; the longest is what a voice may have
WITHOUT_REFERENCE = 0.05  # share of the examples: a voice may be no more than its token


@dataclass(frozen=True)
class Speaker:
    """One corpus at one speed."""

    corpus: Path
    speed: float = 1.0

    @property
    def name(self) -> str:
        return self.corpus.name if self.speed == 1 else f"{self.corpus.name}@{self.speed:g}"

    def utterances(self, split: str) -> Corpus:
        """Those of this speaker, as they sound."""
        whole = Corpus(self.corpus, split)
        if self.speed == 1:
            return whole
        mine = SPEEDS.index(self.speed)  # of a corpus smaller than that, one that others have as well
        return whole.bent(self.speed, range(mine, len(whole), len(SPEEDS)) or [mine % len(whole)])


def speakers(corpora: Sequence[Path]) -> list[Speaker]:
    """Every corpus at every speed."""
    return [Speaker(corpus, speed) for corpus in corpora for speed in (1.0, *SPEEDS)]


def encode_speakers(
    codec: Codec,
    everyone: Sequence[Speaker],
    split: str,
    out: Path,
    workers: int,
    report: Callable[[int], Callable[[int], None]],
) -> None:
    """Latents of everybody's utterances into `out`, a file for each speaker; what is there stays."""
    for speaker in everyone:
        utterances = speaker.utterances(split)
        encode_corpus(codec, utterances, latents_file(out, speaker, split), workers, report(len(utterances)))


def latents_file(out: Path, speaker: Speaker, split: str) -> Path:
    return out / f"{speaker.name}.{split}.safetensors"


def reference_of(speaker: Speaker, latents: Path, facts: Mapping[str, float]) -> Reference:
    """What a preset of this speaker is made of: the first utterance held out from training that is long enough."""
    corpus = speaker.utterances("valid")
    held_out = Latents(latents_file(latents, speaker, "valid"), corpus)
    chosen = next(i for i, frames in enumerate(held_out.frames) if frames >= REFERENCE_FRAMES)
    return Reference(corpus.utterances[chosen].text, (held_out[chosen] - facts["mean"]) / facts["std"])


class Examples:
    """Utterances of a split, of all speakers, ready to be laid out; tokens and phones are computed once."""

    def __init__(self, everyone: Sequence[Speaker], latents: Path, split: str, facts: Mapping[str, object]) -> None:
        tokenizer = PhonemeTokenizer()
        index = {phone: i for i, phone in enumerate(facts["phones"])}  # type: ignore[arg-type, var-annotated]
        self.negative_id, voice = tokenizer.negative_id, tokenizer.ids[VOICES[0]]
        self.mean, self.std = facts["mean"], facts["std"]
        self.latents: list[Latents] = []
        self.at: list[tuple[int, int]] = []  # speaker and utterance
        self.ids: list[Tensor] = []
        self.slots: list[Tensor] = []
        for number, speaker in enumerate(everyone):
            corpus = speaker.utterances(split)
            self.latents.append(Latents(latents_file(latents, speaker, split), corpus))
            self.at += [(number, i) for i in range(len(corpus))]
            self.ids += [torch.tensor([voice, *tokenizer.encode(u.text)]) for u in corpus.utterances]
            frame_s = 3200 / SAMPLE_RATE_HZ
            self.slots += [
                phone_slots(u.segments, frames, frame_s, index)
                for u, frames in zip(corpus.utterances, self.latents[-1].frames, strict=True)
            ]

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def frames(self) -> list[int]:
        return [self.latents[speaker].frames[i] for speaker, i in self.at]

    def example(self, number: int, generator: torch.Generator) -> Example:
        """An utterance behind a reference that is drawn."""
        speaker, i = self.at[number]
        return Example(
            self.ids[number],
            1,
            self._normalised(speaker, i),
            self.slots[number],
            self._reference(speaker, i, generator),
        )

    def _reference(self, speaker: int, spoken: int, generator: torch.Generator) -> Tensor:
        latents, least, most = self.latents[speaker], SHORTEST_REFERENCE, REFERENCE_FRAMES
        draws = torch.rand(3, generator=generator).tolist()
        other = int(draws[0] * len(latents.frames))
        if draws[1] < WITHOUT_REFERENCE or other == spoken:
            return self._normalised(speaker, spoken)[:0]
        return self._normalised(speaker, other)[-round(least + draws[2] * (most - least)) :]

    def _normalised(self, speaker: int, i: int) -> Tensor:
        return (self.latents[speaker][i] - self.mean) / self.std  # type: ignore[operator]
