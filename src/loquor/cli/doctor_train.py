"""`loquor doctor train`: what would waste a training, found in a minute; how it is asked for and printed."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

import typer

from loquor.cli.console import JsonOption, examples, print_json
from loquor.cli.train import Changes, Device, Place, RecipeArgument
from loquor.errors import InputError

if TYPE_CHECKING:
    from loquor.training.checkup.findings import Finding

TRAIN_EXAMPLES = examples(
    "loquor doctor train realtime-lora data=./prepared",
    "loquor doctor train mine.yaml model=./base data=./prepared out=./run --json",
)
WIDTH = 17  # of the longest name


def train(
    recipe: RecipeArgument, changes: Changes = None, as_json: JsonOption = False, device: Device = Place.auto
) -> None:
    """Check a recipe, its data and its model before a training that takes hours.

    Give what you will give to `loquor train`. It looks at speakers' labels, latents and their scale, codec and rates,
    texts, what stands in both splits and the room in the context; then it takes two steps of the training, in memory
    only, and says whether everything learns that should, and how long and how much it will take. Exit code 1 if
    something is wrong.
    """
    from loquor.training.recipes.recipe import VibeVoiceRecipe, read_recipe

    chosen = read_recipe(recipe, changes or ())
    if not isinstance(chosen, VibeVoiceRecipe):
        raise InputError(
            f"doctor cannot examine recipes of the family {chosen.family} yet", hint="start with few steps"
        )
    import torch

    from loquor.cli.speaker_checks import speaker_checks
    from loquor.engine.load import device_of, model_folder
    from loquor.training.checkup.checkup import check_up

    findings: list[Finding] = []
    folder = model_folder(chosen.model or None)
    for finding in check_up(chosen, folder, torch.device(device_of(device.value)), speaker_checks):
        findings.append(finding)
        if not as_json:
            _print(finding)
    if as_json:
        print_json([asdict(finding) for finding in findings])
    else:
        counts = {verdict: sum(f.verdict == verdict for f in findings) for verdict in ("ok", "warn", "fail")}
        typer.echo(f"{counts['ok']} ok, {counts['warn']} to look at, {counts['fail']} wrong")
    if any(finding.verdict == "fail" for finding in findings):
        raise typer.Exit(1)


def _print(finding: Finding) -> None:
    """A line, and what to do below it."""
    typer.echo(f"{finding.verdict:4}  {finding.name.ljust(WIDTH)}  {finding.detail}")
    if finding.advice:
        typer.echo(f"{'':4}  {'':{WIDTH}}  -> {finding.advice}")
