"""`loquor doctor`: the checks of machine and model, in order, and how they are printed."""

from __future__ import annotations

from collections.abc import Sequence

import typer

from loquor.cli.checks import Check
from loquor.cli.machine_checks import machine_checks
from loquor.cli.model_checks import model_checks
from loquor.engine.load import model_folder
from loquor.errors import LoquorError


def examine(model: str | None) -> list[Check]:
    """Every check; those of the model stop where it cannot be read any further."""
    checks = machine_checks()
    try:
        folder = model_folder(model)
    except LoquorError as error:
        return [*checks, Check("model", "fail", str(error), error.hint)]
    return [*checks, Check("model", "ok", str(folder)), *model_checks(folder)]


def failed(checks: Sequence[Check]) -> bool:
    return any(check.verdict == "fail" for check in checks)


def print_checks(checks: Sequence[Check]) -> None:
    """One line a check, its advice below it, and a verdict at the end."""
    width = max(len(check.name) for check in checks)
    for check in checks:
        typer.echo(f"{check.verdict:4}  {check.name.ljust(width)}  {check.detail}")
        if check.advice:
            typer.echo(f"{'':4}  {'':{width}}  -> {check.advice}")
    counts = {verdict: sum(check.verdict == verdict for check in checks) for verdict in ("ok", "warn", "fail")}
    typer.echo(f"{counts['ok']} ok, {counts['warn']} to look at, {counts['fail']} failed")
