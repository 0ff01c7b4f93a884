"""Everything that `loquor doctor train` looks at, in order: what is wrong further up spares what comes below."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import torch

from loquor.errors import CheckpointError, ConfigError, InputError, LoquorError
from loquor.models import family_of
from loquor.training.checkup import cost, facts, latents, leakage, step, text, voices
from loquor.training.checkup.findings import Case, Finding, attempt, failure, some
from loquor.training.dataset.reader import Dataset
from loquor.training.recipes.recipe import VibeVoiceRecipe
from loquor.training.tasks import TASKS, SpeakingTask

HARMLESS = ("speakers", "pace", "leakage", "durations")  # when wrong, a step can be taken all the same
PACKAGES = ("accelerate", "tensorboard", "matplotlib", "yaml")
Listen = Callable[[Case], Iterable[Finding]]  # what speakers sound like; the instrument is no part of training


def check_up(recipe: VibeVoiceRecipe, folder: Path, device: torch.device, listen: Listen) -> Iterator[Finding]:
    """Each finding as soon as there is one. Nothing is written but below the system's temporary folder."""
    yield from packages()
    try:
        data, train = _open_data(recipe)
    except LoquorError as error:
        yield failure("data", error)
        return
    scale = list(attempt("model", lambda: latents.latent_scale(folder)))
    yield from scale
    if any(finding.verdict == "fail" for finding in scale):
        return
    try:
        case = Case(recipe, folder, _open_model(recipe, folder), data, train)
    except LoquorError as error:
        yield failure("model", error)
        return
    yield from _examine(case, device, listen)


def packages() -> Iterator[Finding]:
    """Those a training asks for late: curves are drawn when it has ended."""
    missing = [name for name in PACKAGES if importlib.util.find_spec(name) is None]
    if missing:
        yield Finding("packages", "fail", f"missing: {', '.join(missing)}", "pip install 'loquor[train]'")
    else:
        yield Finding("packages", "ok", ", ".join(PACKAGES))


def _open_data(recipe: VibeVoiceRecipe) -> tuple[Dataset, Dataset]:
    """Both splits, and that which is trained on; InputError if there is nothing in it."""
    if not recipe.data:
        raise InputError("the recipe does not say data", hint="add data=./prepared")
    folder = Path(recipe.data).expanduser()
    return Dataset(folder, None), Dataset(folder)


def _open_model(recipe: VibeVoiceRecipe, folder: Path) -> Any:
    """ConfigError if it is of another family, CheckpointError if it is damaged."""
    family, (wanted, _) = family_of(folder), TASKS[recipe.family]
    if family.name != wanted:
        message = f"the recipe is for {wanted} models, {folder} is a {family.name} one"
        raise ConfigError(message, hint="choose another recipe, or model=")
    model = family.load(folder, torch.float32)
    sick = [name for name, parameter in model.named_parameters() if not torch.isfinite(parameter).all()]
    if sick:
        raise CheckpointError(f"NaN or infinite numbers in {some(sick)}", hint="download or export the model again")
    return model


def _examine(case: Case, device: torch.device, listen: Listen) -> Iterator[Finding]:
    count = sum(parameter.numel() for parameter in case.model.parameters())
    yield Finding("model", "ok", f"{family_of(case.folder).name} in {case.folder}, {count:,} numbers")
    faults = 0
    for finding in _without_steps(case, listen):
        faults += finding.verdict == "fail" and finding.name not in HARMLESS
        yield finding
    if faults:
        yield Finding("step", "warn", "not tried", "mend what failed above, and ask again")
    else:
        yield from attempt("step", lambda: _with_steps(case, device, count))


def _without_steps(case: Case, listen: Listen) -> Iterator[Finding]:
    """What is found without training."""
    yield from facts.sizes(case)
    yield from attempt("codec", lambda: facts.codec(case))
    yield from attempt("sample rate", lambda: facts.rates(case))
    yield from facts.levels(case)
    yield from facts.paces(case)
    try:
        scan = latents.scan(case)
    except LoquorError as error:
        yield failure("latents", error)
    else:
        yield from latents.latents(case, scan)
        yield from latents.features(case, scan)
        yield from leakage.leakage(case, scan.prints)
    yield from _texts(case)
    yield from attempt("speakers", lambda: listen(case))


def _texts(case: Case) -> Iterator[Finding]:
    """Texts, the voice, and whether there is room for both."""
    tokenizer, prompt = text.tokenizer_of(case), 0
    readings = [text.read(tokenizer, record.text) for record in case.data.records]
    yield from text.texts(case, tokenizer, readings)
    yield from text.tokens(case, readings)
    if case.recipe.family == "longform":
        yield from voices.prompts(case)
    else:
        try:
            voice = voices.open_voice(case, tokenizer)
        except LoquorError as error:
            yield failure("voice", error)
            return
        prompt = voice.length("tts_lm")
        yield from voices.prompt(case, voice)
    yield from text.room(case, tokenizer, readings, prompt)


def _with_steps(case: Case, device: torch.device, count: int) -> Iterator[Finding]:
    short = list(cost.memory_before(case, device))
    if short:
        yield from short
        return
    _, kind = TASKS[case.recipe.family]
    task: SpeakingTask = kind(case.model.to(device), case.folder, case.recipe)
    try:
        found = step.rehearse(task, case.recipe, case.train, device)
    except torch.OutOfMemoryError as error:
        advice = "less batch.frames with more batch.accumulation, batch.checkpointing=true, or strategy=lora"
        yield Finding("memory", "fail", f"a step does not fit: {str(error).splitlines()[0]}", advice)
        return
    yield from step.what_trains(found, case.recipe, count)
    yield from step.how_it_learns(found)
    yield from cost.passes(case, task)
    yield from cost.hours(case, task, found)
    yield from cost.memory(found, device)
    yield from cost.disk(case, found)
