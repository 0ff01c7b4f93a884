"""`loquor listen` and `loquor listen score`: a blind test of two systems for people, and its result."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from loquor.cli.console import JsonOption, examples, print_json
from loquor.cli.group import DefaultCommand, with_default

LISTEN_EXAMPLES = examples(
    "loquor listen before/report.json after/report.json -o test.html",
    "loquor listen ./wavs-of-one ./wavs-of-another --items 20",
    "loquor listen score test.key.json answers-*.json",
)
SCORE_EXAMPLES = examples("loquor listen score test.key.json answers-*.json")
SYSTEM_HELP = "A report.json of `loquor eval`, or a folder of recordings named by their items."

First = Annotated[Path, typer.Argument(metavar="A", help=SYSTEM_HELP)]
Second = Annotated[Path, typer.Argument(metavar="B", help="Another, on the same items.")]
Output = Annotated[Path, typer.Option("-o", "--output", help="The page; its key is written beside it.")]
Items = Annotated[int | None, typer.Option("--items", min=1, help="So many items, drawn by lot.  [default: all]")]
Seed = Annotated[int | None, typer.Option("--seed", help="Draws the same again.  [default: nobody knows the draw]")]
KeyArgument = Annotated[Path, typer.Argument(metavar="KEY", help="The .key.json beside the page.")]
Results = Annotated[list[Path], typer.Argument(metavar="ANSWERS...", help="What listeners saved.")]


def register(app: typer.Typer) -> None:
    group = typer.Typer(cls=with_default("make"), help="Let people compare two systems, blind.", add_help_option=False)
    group.command("make", cls=DefaultCommand, epilog=LISTEN_EXAMPLES)(make)
    group.command("score", epilog=SCORE_EXAMPLES)(score)
    app.add_typer(group, name="listen")


def make(
    first: First, second: Second, output: Output = Path("listen.html"), items: Items = None, seed: Seed = None
) -> None:
    """Write a page on which people compare two systems without knowing which is which.

    The page needs nothing but a browser, so it can be sent around; its key should not be. Listeners save a file of
    answers and send it back: `loquor listen score` counts them.
    """
    from loquor.evaluation.blind import write_test

    key = write_test(first, second, output, items, seed)
    place = output.with_suffix(".key.json")
    key.save(place)
    typer.echo(f"{output}: {len(key.pairs)} items; key: {place}")


def score(key: KeyArgument, answers: Results, as_json: JsonOption = False) -> None:
    """Count what listeners prefer.

    The lead goes from -1, all prefer A, to 1, all prefer B; p is the chance of one so large if nobody heard a
    difference, by a randomisation test over items.
    """
    from loquor.evaluation.blind import Key, count_answers

    found = count_answers(Key.read(key), answers)
    if as_json:
        print_json(found.as_dict())
        return
    total = sum(found.counts.values())
    typer.echo(f"A: {found.first}\nB: {found.second}")
    for name, label in (("first", "A is better"), ("second", "B is better"), ("same", "no difference")):
        typer.echo(f"{label:14} {found.counts[name]:4} of {total}  ({found.counts[name] / total:.0%})")
    lead = found.lead
    typer.echo(
        f"{found.listeners} listeners; lead of B {lead.value:+.2f} "
        f"(95 %: {lead.low:+.2f} to {lead.high:+.2f}; p {lead.p:.3f})"
    )
