"""`loquor train embedded`: the embedded voice, from an empty folder to a model with its card."""

from __future__ import annotations

import logging
from collections.abc import Sequence

import typer

from loquor.cli.bar import Part, terminal_bar
from loquor.cli.console import print_json

NAME = "embedded"


def train_embedded(changes: Sequence[str], show: bool, as_json: bool) -> None:
    """Train the voice that `changes` describe, or show what would be trained."""
    from dataclasses import asdict

    from loquor.configs import read_json
    from loquor.evaluation.wer import score
    from loquor.training.corpus import CorpusProgress
    from loquor.training.recipes.recipe import as_yaml
    from loquor.training.whole_voice import FIGURES, read_plan, train_voice

    plan = read_plan(changes)
    if show:
        print_json(asdict(plan)) if as_json else typer.echo(as_yaml(asdict(plan)), nl=False)
        return
    training = logging.getLogger("loquor.training")
    if training.isEnabledFor(logging.WARNING):  # hours of it: a line now and then, for a log as well as a terminal
        training.setLevel(min(training.getEffectiveLevel(), logging.INFO))
    with terminal_bar(Part.bar, Part.count, "utterances,", Part.time_left, "left") as bar:

        def draw(made: CorpusProgress) -> None:
            bar.show("", made.utterances, made.total)

        model = train_voice(plan, score, lambda stage: typer.echo(stage, err=True), draw)
    figures = read_json(model.parent / FIGURES)
    if as_json:
        print_json({"model": str(model), **figures})
        return
    typer.echo(f"model: {model}, after {figures['hours']:.1f} hours")
    for voice, found in figures["voices"].items():
        ours, teacher = found["model"]["wer"], found["teacher"]["wer"]
        typer.echo(
            f"{voice}: {ours:.1%} of words misheard in {found['sentences']} sentences; its teacher: {teacher:.1%}"
        )
