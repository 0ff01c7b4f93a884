"""Samples on the way: what a model that trains sounds like, kept to be listened to, and judged.

The judge comes from outside: instruments that measure speech stand beside the training, not below it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor

from loquor.audio.resample import Waveform
from loquor.errors import LoquorError
from loquor.models.codec import Codec
from loquor.training.dataset.reader import Dataset, Item
from loquor.training.tasks import SpeakingTask

logger = logging.getLogger(__name__)

SAMPLES = "samples"
REFERENCES = 4  # recordings that samples are compared with
Judge = Callable[[Sequence[tuple[str, Waveform]]], Mapping[str, float]]  # of texts and how they were said, 24 kHz
Judging = Callable[[Sequence[Waveform], bool], Judge]  # by recordings of the speakers, and whether all speak English


class Samples:
    """The texts that are spoken, and what they are compared with: some recordings of `data`."""

    def __init__(self, texts: Sequence[str], folder: Path, data: Dataset, judging: Judging | None) -> None:
        self.texts, self.folder, self.data, self.judging = texts, folder / SAMPLES, data, judging
        self._judge: Judge | None = None

    def take(self, task: SpeakingTask, step: int) -> dict[str, float]:
        """Write what the model says now; gives what it is judged. One that cannot speak yet goes on learning."""
        spoken = []
        for number, text in enumerate(self.texts):
            try:
                speech = task.speak(text)
                self.folder.mkdir(exist_ok=True)
                speech.save(self.folder / f"step-{step:06}-{number}.wav")
            except LoquorError as error:
                logger.warning("step %d: no sample of %r: %s", step, text, error)
                continue
            spoken.append((text, speech.waveform.numpy()))
        if self.judging is None or not spoken:
            return {}
        self._judge = self._judge or self.judging(self._references(task), self._is_english)
        return {f"{SAMPLES}/{name}": value for name, value in self._judge(spoken).items()}

    @property
    def _is_english(self) -> bool:
        return all(record.language.lower().partition("-")[0] == "en" for record in self.data.records)

    def _references(self, task: SpeakingTask) -> list[Waveform]:
        """Recordings as they were, or, if the data was prepared without their sound, as the codec has them."""
        sounds = []
        for i, record in enumerate(self.data.records[:REFERENCES]):
            has_sound = record.first_sample is not None
            sounds.append(self.data.waveform(i) if has_sound else decoded(task.model.codec, self.data[i]))
        return [sound.numpy() for sound in sounds]


@torch.no_grad()
def decoded(codec: Codec, item: Item) -> Tensor:
    """The waveform [T] of an item's speech."""
    assert codec.decoder is not None, "every model that speaks has one"
    device = next(codec.decoder.parameters()).device
    audio: Tensor = codec.decoder(item.speech.means[None].to(device))
    return audio.flatten()[: item.record.samples].cpu()
