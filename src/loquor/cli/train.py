"""`loquor train`: fine-tune a model by a recipe, look at how it learns, and export it."""

from __future__ import annotations

from contextlib import nullcontext
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from loquor.cli import train_embedded
from loquor.cli.bar import Bar, Part, terminal_bar
from loquor.cli.console import examples, print_json

if TYPE_CHECKING:
    from loquor.training.finetune import FineTuner

TRAIN_EXAMPLES = examples(
    "loquor train realtime-lora data=./prepared out=./run",
    "loquor train longform-lora model=./VibeVoice-1.5B data=./prepared out=./run lora.rank=16",
    "loquor train realtime-full --show > mine.yaml",
    "loquor train vita-alignment model=./Qwen2.5-0.5B data=./talks.jsonl out=./stage1 audio.folder=./glm-tokenizer",
    "loquor train embedded out=./voice scale=0.01",
    "accelerate launch --multi_gpu $(which loquor) train mine.yaml data=./prepared out=./run",
    "accelerate launch --use_fsdp --fsdp_version 2 $(which loquor) train mine.yaml data=./prepared out=./run",
)


class Place(StrEnum):
    """What `--device` knows."""

    auto = "auto"
    cpu = "cpu"


RecipeArgument = Annotated[
    str,
    typer.Argument(
        metavar="RECIPE",
        help="realtime-lora, realtime-conservative, realtime-full, longform-lora, vita-alignment, vita-one-module, "
        "vita-ten-modules, vita-supervised, or a YAML file; or embedded.",
    ),
]
Changes = Annotated[
    list[str] | None, typer.Argument(metavar="[KEY=VALUE]...", help="What differs from the recipe.", show_default=False)
]
Show = Annotated[bool, typer.Option("--show", help="Print the whole recipe with these changes, and do nothing.")]
Device = Annotated[Place, typer.Option("--device", help="auto: CUDA if there is one.")]
Json = Annotated[bool, typer.Option("--json", help="Print what came out as JSON on stdout; with --show, the recipe.")]


def register(app: typer.Typer) -> None:
    app.command("train", epilog=TRAIN_EXAMPLES)(train)


def train(
    recipe: RecipeArgument,
    changes: Changes = None,
    show: Show = False,
    device: Device = Place.auto,
    as_json: Json = False,
) -> None:
    """Fine-tune a model on what `loquor data prepare` has made, or, with vita recipes, on conversations.

    A recipe is a small YAML file; --show prints one with all its keys, and key=value changes them. What trains is
    decided by its strategy: see `loquor inspect MODEL --freeze STRATEGY`. A run that was killed goes on when the same
    command is repeated, and ends as if it had not been. In the folder out= lie curves/ for TensorBoard, samples/,
    plots/ and, at the end, model/, which every command takes for -m, and the adapter/ of a LoRA.

    `embedded` trains a voice like the one in the package from nothing: teachers (festival, flite) read sentences, then
    come all stages, the model, its figures and its card. scale=0.01 tries everything in minutes.
    """
    from loquor.training.recipes.recipe import read_recipe, write_recipe

    if recipe == train_embedded.NAME:
        train_embedded.train_embedded(changes or (), show, as_json)
        return
    chosen = read_recipe(recipe, changes or ())
    if show:
        print_json(chosen.as_dict()) if as_json else typer.echo(write_recipe(chosen), nl=False)
        return
    from loquor.engine.load import model_folder
    from loquor.evaluation.sample_judge import SampleJudge
    from loquor.training.export import export_tuned
    from loquor.training.finetune import finetune
    from loquor.training.plots import plot_runs
    from loquor.training.processes import Processes

    processes, folder = Processes(device.value), model_folder(chosen.model or None)
    columns = Part.bar, Part.count, "steps, loss {task.fields[loss]:.4f};", Part.time_left, "left"
    with terminal_bar(*columns) if processes.is_main else nullcontext(Bar()) as bar:

        def draw(step: int, loss: float) -> None:
            bar.show("", step, chosen.optimiser.steps, loss=loss)

        tuner = finetune(chosen, folder, processes, draw, SampleJudge)
    if not processes.is_main:
        return
    (tuner.folder / "plots").mkdir(exist_ok=True)
    plot_runs([tuner.folder], tuner.folder / "plots" / "curves.png")
    outcome = _outcome(tuner, export_tuned(tuner.task, chosen, tuner.folder))
    print_json(outcome) if as_json else _tell(outcome)


def _outcome(tuner: FineTuner, folders: list[Path]) -> dict[str, Any]:
    """What came out: folders, and the last value of each curve."""
    from loquor.training.plots import read_curves

    last = {name: values[-1] for name, (_, values) in read_curves(tuner.folder).items()}

    def below(prefix: str) -> dict[str, float]:
        return {name.removeprefix(prefix): value for name, value in last.items() if name.startswith(prefix)}

    return {
        "folder": str(tuner.folder),
        **{folder.name: str(folder) for folder in folders},
        "steps": tuner.step,
        "parameters": sum(parameter.numel() for parameter in tuner.parameters.values()),
        "training": {name: last[name] for name in tuner.task.losses if name in last},
        "validation": below("valid/"),
        "samples": below("samples/"),
        **tuner.told,
    }


def _tell(outcome: dict[str, Any]) -> None:
    for name in ("model", "adapter"):
        if name in outcome:
            typer.echo(f"{name}: {outcome[name]}")
    losses = [f"{outcome[split]['loss']:.4f} in {split}" for split in ("training", "validation") if outcome[split]]
    typer.echo(f"loss after {outcome['steps']} steps: {', '.join(losses) or 'no curve tells'}")
    skipped = outcome.get("conversations", {}).get("skipped", {})
    if skipped:
        kinds = ", ".join(f"{count} {kind}" for kind, count in skipped.items())
        typer.echo(
            f"of {outcome['conversations']['seen']} conversations seen, {sum(skipped.values())} skipped: {kinds}"
        )
    if outcome["samples"]:
        measures = (f"{name} {value:.2f}" for name, value in sorted(outcome["samples"].items()))
        typer.echo(f"last samples: {', '.join(measures)}")
