"""What a fine-tuning of VibeVoice is, family by family: how an item becomes an example, and how a model is written.

The loop (`finetune`) knows a `Task`; a task knows model, tokenizer and losses.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar, Protocol

import torch

from loquor.checkpoints import SHARD_BYTES, Entry
from loquor.engine.dialogue import DialogueSpeaker
from loquor.engine.speaker import Speaker
from loquor.engine.speech import Speech
from loquor.errors import CheckpointError, ConfigError
from loquor.models import LONGFORM, REALTIME, family_of
from loquor.models.adapter import AdapterLayout
from loquor.models.longform import adapter as longform_adapter
from loquor.models.longform.checkpoint import keys as longform_keys
from loquor.models.longform.model import LongformModel
from loquor.models.longform.prompt import Line
from loquor.models.realtime import adapter as realtime_adapter
from loquor.models.realtime.checkpoint import keys as realtime_keys
from loquor.models.realtime.model import RealtimeModel
from loquor.models.realtime.prompt import voice_state
from loquor.text.qwen_tokenizer import QwenTokenizer
from loquor.text.tokenizer import load_tokenizer
from loquor.training import finetune_realtime as realtime
from loquor.training import longform, sequences
from loquor.training.beside import copy_beside
from loquor.training.dataset.encoding import SpeechCodec
from loquor.training.dataset.reader import DatasetFacts, Item
from loquor.training.dataset.records import Record
from loquor.training.material import Task
from loquor.training.recipes.options import LongformOptions, RealtimeOptions
from loquor.training.recipes.recipe import VibeVoiceRecipe
from loquor.training.sequences import Segment, drops_voice
from loquor.voices.voice import Voice

DOCTOR = "`loquor doctor train` with the same recipe says why"

Example = Any  # of the family: `realtime.Example` or `sequences.Example`


class SpeakingTask(Task, Protocol):
    """A VibeVoice model that trains on what `loquor data prepare` has made."""

    adapter: ClassVar[AdapterLayout]

    def lay_out(self, item: Item, generator: torch.Generator, is_validation: bool) -> Example:
        """The sequence of an item; in validation nothing is dropped. CapacityError if the model has no room for it."""

    def collate(self, examples: Sequence[Example]) -> Any:
        """One batch; `training.draw` draws for an example what it needs."""

    def frames(self, record: Record) -> int:
        """How many frames an item has."""

    def speak(self, text: str) -> Speech:
        """What the model, in eval mode, sounds like now; each time anew, for speakers remember parts of a head."""


class VibeVoiceTask:
    """What both families do alike with a model and the folder it came from."""

    model: Any
    folder: Path

    def require_sound(self) -> None:
        scale, bias = float(self.model.latent_scale.scale), float(self.model.latent_scale.bias)
        if not math.isfinite(scale * bias) or not scale:
            raise CheckpointError(f"the latent scale of {self.folder} is {scale:g}, its bias {bias:g}", hint=DOCTOR)

    def dtypes(self) -> dict[str, torch.dtype]:
        """Those of the model the training began with."""
        return {part.name: part.dtype for part in family_of(self.folder).outline(self.folder).parts}

    def write(self, folder: Path) -> None:
        """In the layout of the model the training began with. Voices still fit: it was after them that it trained."""
        family = family_of(self.folder)
        family.layouts[family.layout_of(self.folder)](self.model, folder, self.folder, SHARD_BYTES)
        copy_beside(self.folder, folder)


class RealtimeTask(VibeVoiceTask):
    """A Realtime model that learns to speak after the prompt of one voice."""

    losses: ClassVar[Sequence[str]] = ("loss", "diffusion", "end")
    nothing: ClassVar[Any] = realtime.Counts(0, 0)
    adapter: ClassVar[AdapterLayout] = realtime_adapter.LAYOUT

    def __init__(self, model: RealtimeModel, folder: Path, recipe: VibeVoiceRecipe) -> None:
        assert isinstance(recipe.loss, RealtimeOptions)
        self.model, self.text_drop = model, recipe.loss.text_drop
        self.folder, self.tokenizer = folder, load_tokenizer(folder)
        speaker = Speaker(model, self.tokenizer, folder)
        self.voice = Voice.open(speaker.voice_path(recipe.voice or "default"))
        self.voice.require_model(speaker.fingerprint)
        self.training = realtime.RealtimeTuning(model, voice_state(model, self.voice.tensors), recipe.loss)
        self.entries: Sequence[Entry] = realtime_keys(model.config, model.codec.encoder is not None)

    def lay_out(self, item: Item, generator: torch.Generator, is_validation: bool) -> realtime.Example:
        dropped = float(torch.rand((), generator=generator)) < self.text_drop and not is_validation
        ids = [] if dropped else self.tokenizer.encode(item.record.text)
        latents = self.model.latent_scale.normalised(item.speech.means.to(self.model.latent_scale.scale.device)).cpu()
        example = realtime.Example(torch.tensor(ids, dtype=torch.long), latents)
        self.training.require_room(example)
        return example

    def collate(self, examples: Sequence[realtime.Example]) -> realtime.RealtimeBatch:
        return realtime.collate(examples, self.model.config)

    def frames(self, record: Record) -> int:
        return record.frames

    def speak(self, text: str) -> Speech:
        return Speaker(self.model, self.tokenizer, self.folder).speak(text, self.voice)


class LongformTask(VibeVoiceTask):
    """A long-form model that learns from a script, its voices, and how they sound."""

    losses: ClassVar[Sequence[str]] = ("loss", "diffusion", "tokens")
    nothing: ClassVar[Any] = longform.Counts(0, 0)
    adapter: ClassVar[AdapterLayout] = longform_adapter.LAYOUT

    def __init__(self, model: LongformModel, folder: Path, recipe: VibeVoiceRecipe) -> None:
        assert isinstance(recipe.loss, LongformOptions)
        options = recipe.loss
        self.model, self.options, self.folder = model, options, folder
        self.tokenizer = QwenTokenizer()
        weights = longform.LongformLossWeights(options.tokens, options.diffusion, options.draws)
        self.training = longform.LongformTraining(model, weights)
        self.entries: Sequence[Entry] = longform_keys(model.config)

    def lay_out(self, item: Item, generator: torch.Generator, is_validation: bool) -> sequences.Example:
        dropped = drops_voice(self.options.voice_drop, generator) and not is_validation
        voices = [] if dropped else [self._segment(voice) for voice in item.voices]
        lines = [Line(voice, text) for voice, text in item.record.lines]
        context = self.model.config.context
        return sequences.lay_out(self.tokenizer, lines, voices, self._segment(item.speech), context)

    def _segment(self, segment: Segment) -> Segment:
        if not self.options.zero_semantics:
            return segment
        return Segment(segment.means, segment.means.new_zeros(len(segment.means), self.model.config.semantic.vae_dim))

    def collate(self, examples: Sequence[sequences.Example]) -> longform.LongformBatch:
        return longform.collate(examples, self.model.config)

    def frames(self, record: Record) -> int:
        return record.frames + sum(rows for _, rows in record.voices)

    def speak(self, text: str) -> Speech:
        return DialogueSpeaker(self.model, self.folder).speak(text)


TASKS: dict[str, tuple[str, type[RealtimeTask] | type[LongformTask]]] = {
    "realtime": (REALTIME.name, RealtimeTask),
    "longform": (LONGFORM.name, LongformTask),
}


def open_task(recipe: VibeVoiceRecipe, folder: Path, facts: DatasetFacts, device: torch.device) -> SpeakingTask:
    """The task of a recipe on the model in `folder`, in float32 on `device`, all of its weights frozen.

    ConfigError if the model is of another family, CheckpointError if the data was encoded for another kind of codec.
    """
    family, (name, kind) = family_of(folder), TASKS[recipe.family]
    if family.name != name:
        raise ConfigError(
            f"the recipe is for {name} models, {folder} is a {family.name} one", hint="choose another recipe, or model="
        )
    model = family.load(folder, torch.float32)
    require_codec(model, facts, folder)
    return kind(model.to(device), folder, recipe)


def require_codec(model: Any, facts: DatasetFacts, folder: Path) -> None:
    """CheckpointError unless the data's latents are those of the model's codec, or, if it has no encoder, may be."""
    codec = model.codec.config
    wanted = {"latents": codec.vae_dim}
    if isinstance(model, LongformModel):
        wanted["features"] = model.config.semantic.vae_dim
    hint = f"loquor data prepare SOURCE OUT --model {folder}"
    found = {name: facts.channels.get(name) for name in wanted}
    if found != wanted or facts.hop_samples != codec.hop_samples:
        raise CheckpointError(
            f"the data has {found} channels in frames of {facts.hop_samples} samples, the model {wanted} in frames of "
            f"{codec.hop_samples}",
            hint=hint,
        )
    if model.codec.encoder is not None and SpeechCodec.open(folder).fingerprint != facts.codec:
        raise CheckpointError(f"the data was encoded by another codec than that of {folder}", hint=hint)
