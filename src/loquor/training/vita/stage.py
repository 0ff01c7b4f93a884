"""The stages of VITA-Audio's training as a task of the one loop (arXiv:2505.03739, section 3.3 and its scripts).

Four stages: a language model learns the ids of speech; one prediction module is put on it and trained alone; then
further ones, begun as copies of the one before; then everything on answers to questions. Which stage it is, is in the
recipe: how many modules, what trains, how fast.
"""

from __future__ import annotations

import dataclasses
import functools
import json
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, ClassVar, cast

import torch

from loquor.audio.decode import open_decoder
from loquor.audio.io import read
from loquor.checkpoints import Entry, write_text
from loquor.configs import read_json
from loquor.errors import CheckpointError, ConfigError, InputError
from loquor.models import VITA, family_of
from loquor.models.speech_tokens.interface import SpeechTokens
from loquor.models.speech_tokens.registry import speech_tokens_kind
from loquor.models.vita.checkpoint import export_vita, keys, load_vita
from loquor.models.vita.growth import BASE_MODEL_TYPE, load_base, stored_dtype, with_modules, with_rows
from loquor.models.vita.model import VitaModel
from loquor.models.vita.speech_features import FrontEnd
from loquor.models.vita.vocabulary import Vocabulary, open_vocabulary
from loquor.training.beside import copy_beside
from loquor.training.material import Inputs, Place, Share, Task
from loquor.training.order import number_of
from loquor.training.recipes.recipe import VitaRecipe
from loquor.training.vita.code_store import CodeStore
from loquor.training.vita.feed import Ears, Feed, FeedOptions, features_of
from loquor.training.vita.lanes import Lane, tally_of
from loquor.training.vita.losses import Counts, VitaTraining, collate
from loquor.training.vita.mixture import Mixture, open_mixture
from loquor.training.vita.packing import PackedRow, Packing

GENERATION = "generation_config.json"


class VitaTask:
    """A model at the beginning of a stage."""

    nothing: ClassVar[Any] = Counts(0)

    def __init__(self, recipe: VitaRecipe, folder: Path, device: torch.device) -> None:
        """ConfigError if the folder holds no such model, or one with more modules than the stage is to have."""
        self.folder, self.recipe = folder, recipe
        self.vocabulary = open_vocabulary(folder, recipe.audio.tokenizer)
        self.model = opened(folder, self.vocabulary, recipe).to(device)
        self.training = VitaTraining(self.model, recipe.loss.crosses_samples)
        self.entries: Sequence[Entry] = keys(self.model.config)

    @property
    def losses(self) -> Sequence[str]:
        return ("loss", "main", *(f"module {k}" for k in range(self.model.config.modules)))

    def require_sound(self) -> None:
        pass

    def dtypes(self) -> dict[str, torch.dtype]:
        """That of the model the stage began with, for new tensors too."""
        return dict.fromkeys(dict(self.model.named_parameters()), stored_dtype(self.folder))

    def write(self, folder: Path) -> None:
        """As published; the ratio that text and audio were woven by becomes the schedule of generation."""
        export_vita(self.model, folder)
        copy_beside(self.folder, folder)
        path = self.folder / GENERATION
        generation = {
            **(read_json(path) if path.exists() else {}),
            "mtp_inference_mode": list(self.recipe.feed.ratio),
            "eos_token_id": list(self.vocabulary.eos),
            "pad_token_id": self.vocabulary.pad,
        }
        write_text(folder / GENERATION, json.dumps(generation, indent=1))


def opened(folder: Path, vocabulary: Vocabulary, recipe: VitaRecipe) -> VitaModel:
    """The model in `folder`, grown to what the recipe asks for, in float32 and frozen."""
    generator = torch.Generator().manual_seed(number_of(recipe.seed))
    if read_json(folder / "config.json").get("model_type") == BASE_MODEL_TYPE:
        if vocabulary.audio.hears_features:
            raise ConfigError(
                f"{folder} is a language model without ears, {vocabulary.audio.name} is for models that hear features",
                hint="start from a Plus checkpoint, or choose audio.tokenizer=glm4voice",
            )
        model = load_base(folder, torch.float32)
        if model.config.vocab_size < vocabulary.tokenizer.vocab_size:
            raise CheckpointError(
                f"{folder} has {model.config.vocab_size} rows, its text has {vocabulary.tokenizer.vocab_size} ids",
                hint="a small model brings a tokenizer.json of its own: `loquor base`",
            )
        model = with_rows(model, vocabulary.rows, generator)
    else:
        family = family_of(folder)
        if family is not VITA:
            raise ConfigError(
                f"the recipe is for {VITA.name} models and plain Qwen2 ones, {folder} is a {family.name} one",
                hint="choose another recipe, or model=",
            )
        model = load_vita(folder, torch.float32)
    if model.config.vocab_size < len(vocabulary):
        raise CheckpointError(
            f"{folder} has rows for {model.config.vocab_size} ids, with {vocabulary.audio.name} there are "
            f"{len(vocabulary)}",
            hint="name the audio tokenizer it was trained with: audio.tokenizer=",
        )
    modules = model.config.modules if recipe.modules is None else recipe.modules
    model = with_modules(model, modules, generator)
    model.config = dataclasses.replace(model.config, mtp_loss_weight=recipe.loss.modules)
    return model


class Conversations:
    """The conversations a recipe names: a .json or .jsonl file, or a YAML that mixes several."""

    def __init__(self, recipe: VitaRecipe) -> None:
        """InputError if there are none, or fewer than a step has batches."""
        self.recipe = recipe
        self.first = self._mixture(recipe.data, 0)
        lanes = recipe.batch.accumulation
        if len(self.first) < lanes:
            raise InputError(
                f"{recipe.data} has {len(self.first)} conversations, too few for {lanes} batches a step",
                hint=f"batch.accumulation={len(self.first)}, or more data",
            )
        is_held_out = recipe.validation and recipe.watch.validate_every
        self.held_out = self._mixture(recipe.validation, 0) if is_held_out else None
        self._places: Place = {}
        self._lanes: dict[int, tuple[Lane, Iterator[PackedRow]]] = {}
        self._again = functools.lru_cache(maxsize=2)(lambda number: self._mixture(recipe.data, number))

    def _mixture(self, data: str, number: int) -> Mixture:
        """The conversations in the order of a pass."""
        return open_mixture(Path(data).expanduser(), number_of(self.recipe.seed, number))

    def __str__(self) -> str:
        return f"{len(self.first)} conversations of {len(self.first.files)} files"

    def facts(self) -> dict[str, Any]:
        return {"files": [[file.path.name, file.path.stat().st_size] for file in self.first.files]}

    def open_task(self, folder: Path, device: torch.device) -> VitaTask:
        task = VitaTask(self.recipe, folder, device)
        length, context = self.recipe.batch.length, task.model.config.context
        if length > context:
            raise ConfigError(
                f"rows of {length} positions are longer than the context of {context}", hint=f"batch.length={context}"
            )
        return task

    def batches(self, task: Task, step: int, shares: Sequence[Share]) -> list[Inputs]:
        return [(collate([next(self._lane(cast(VitaTask, task), part)[1])]),) for part, _ in shares]

    def _lane(self, task: VitaTask, part: int) -> tuple[Lane, Iterator[PackedRow]]:
        if part not in self._lanes:

            def open_pass(number: int) -> Feed:
                return self._feed(task, self._again(number), (part, self.recipe.batch.accumulation))

            lane = Lane(open_pass, self._places.get(str(part)))
            self._lanes[part] = lane, iter(lane)
        return self._lanes[part]

    def _feed(self, task: VitaTask, mixture: Mixture, part: tuple[int, int] = (0, 1)) -> Feed:
        feeding = self.recipe.feed
        options = FeedOptions(
            self.recipe.batch.length, feeding.ratio, cast(Packing, feeding.packing), feeding.tolerated
        )
        return Feed(mixture, task.vocabulary, self._ears(task), options, part)

    def _ears(self, task: VitaTask) -> Ears:
        audio, tokens = self.recipe.audio, task.vocabulary.audio
        folder = Path(audio.folder).expanduser() if audio.folder else None
        new = Path(audio.codes).expanduser() if audio.codes else None
        codes = CodeStore(tokens, Encoder(tokens.name, folder), new)
        return Ears(codes, features_of(FrontEnd.load(task.folder)) if tokens.hears_features else None)

    def has_validation(self) -> bool:
        return self.held_out is not None

    def validation(self, task: Task) -> list[PackedRow]:
        """The first rows of what is held out."""
        return self._validation(cast(VitaTask, task))

    @functools.lru_cache(maxsize=1)  # noqa: B019 - it lives as long as the training
    def _validation(self, task: VitaTask) -> list[PackedRow]:
        assert self.held_out is not None
        return list(islice(self._feed(task, self.held_out), self.recipe.watch.validation_items))

    def validation_inputs(self, task: Task, part: PackedRow) -> Inputs:
        return (collate([part]),)

    def place(self) -> Place:
        """By the numbers of lanes."""
        return {str(part): lane.place() for part, (lane, _) in self._lanes.items()} or self._places

    def go_on(self, place: Place) -> None:
        self._places, self._lanes = place, {}

    def told(self, place: Place) -> dict[str, Any]:
        tally = tally_of(place)
        return {"conversations": {"seen": tally.seen, "skipped": dict(tally.skipped)}}


class Encoder:
    """Recordings to codes, by an audio tokenizer that is opened when the first is needed."""

    def __init__(self, name: str, folder: Path | None) -> None:
        self.name, self.folder = name, folder

    def __call__(self, recording: Path) -> list[int]:
        """InputError if there is no tokenizer to ask, AudioError if the recording cannot be read."""
        if self.folder is None:
            raise InputError(f"{recording} has no stored codes, and the recipe names no audio.folder to make them with")
        with recording.open("rb") as file:
            rate = open_decoder(recording, file).sample_rate_hz
        return self._tokens.encode(read(recording, rate), rate)

    @functools.cached_property
    def _tokens(self) -> SpeechTokens:
        kind = speech_tokens_kind(self.name)
        assert self.folder is not None
        return kind.open({next(iter(kind.parts), "codec"): self.folder})
