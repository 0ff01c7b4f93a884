"""`loquor verify`: is a checkpoint whole, and does every part of it compute what it must?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from loquor.cli.bar import Part, terminal_bar
from loquor.cli.console import JsonOption, examples, print_json, print_table
from loquor.cli.operate import Dtype

if TYPE_CHECKING:
    from loquor.evaluation.verification.checks import Check
    from loquor.evaluation.verification.verify import Verification

EXAMPLES = examples(
    "loquor verify embedded",
    "loquor verify ./VibeVoice-1.5B --dtype bfloat16",
    "loquor verify ./converted --against ./VibeVoice-1.5B --json",
)
MODEL_HELP = "A model folder, a hub repository org/name[@rev], or embedded; also a codec or diffusion head by itself."

Checkpoint = Annotated[str, typer.Argument(metavar="MODEL", help=MODEL_HELP)]
Against = Annotated[
    str | None, typer.Option("--against", metavar="MODEL", help="A model whose weights it must have, in any layout.")
]
DtypeOption = Annotated[
    Dtype, typer.Option("--dtype", help="Compute in it; float32 takes 4 bytes of memory a parameter.")
]
Problems = Annotated[bool, typer.Option("--problems", help="Show only what is not ok.")]


def register(app: typer.Typer) -> None:
    app.command("verify", epilog=EXAMPLES)(verify)


def verify(
    model: Checkpoint,
    against: Against = None,
    dtype: DtypeOption = Dtype.float32,
    problems: Problems = False,
    as_json: JsonOption = False,
) -> None:
    """Run every component of a checkpoint, and compare it with what it must be equal to.

    Files, tensors and weights first; then each block against its formula in float64, streaming against offline,
    cached against uncached, a batch against its rows alone, bfloat16 against float32; then tokenizer, voices, and
    speech from end to end. Differences are shares of the largest value. Exit code 1 if a check fails.
    """
    from loquor.engine.load import model_folder
    from loquor.evaluation.verification.verify import verify as verified
    from loquor.models import DTYPES

    folder, reference = model_folder(model), model_folder(against) if against else None
    with terminal_bar(Part.bar, "{task.fields[component]}") as bar:

        def tell(component: str, done: int, total: int) -> None:
            bar.show("", done, total or None, component=component)

        found = verified(folder, DTYPES[dtype.value], reference, tell)
    if as_json:
        print_json(found.as_dict())
    else:
        _print(found, problems)
    if found.failed:
        raise typer.Exit(1)


def _print(found: Verification, problems: bool) -> None:
    """A line for each check, and a verdict at the end."""
    shown = [check for check in found.checks if not problems or check.verdict != "ok"]
    header = ("verdict", "component", "what was checked", "against", "difference", "tolerance", "detail")
    if shown:
        print_table(header, [_row(check) for check in shown], numbers=(4, 5))
    counts = {verdict: sum(c.verdict == verdict for c in found.checks) for verdict in ("ok", "warn", "fail")}
    broken = sorted({check.component for check in found.failed})
    told = f": {', '.join(broken)}" if broken else ""
    typer.echo(
        f"{found.folder} ({found.kind}): {counts['ok']} ok, {counts['warn']} to look at, "
        f"{counts['fail']} failed{told}, in {found.seconds:.1f} s"
    )


def _row(check: Check) -> tuple[str, ...]:
    numbers = ("" if value is None else f"{value:.1e}" for value in (check.difference, check.tolerance))
    return (check.verdict, check.component, check.what, check.against, *numbers, check.detail)
