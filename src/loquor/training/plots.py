"""Pictures of training curves, from what TensorBoard recorded.

python -m loquor.training.plots RUN/codec RUN/speech -o curves.png
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from loquor.errors import InputError, MissingExtra

HIDDEN = {"rate", "gradient_norm", "seconds"}  # how it learned, not what


def read_curves(run: Path) -> dict[str, tuple[list[int], list[float]]]:
    """Steps and values of each scalar of a run; where a resumed run recorded a step again, the later value counts."""
    try:
        from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    except ImportError:
        raise MissingExtra("curves are read with TensorBoard", hint="pip install 'loquor[train]'") from None
    folder = run / "curves"
    if not folder.is_dir():
        raise InputError(f"{run} has no curves", hint="give the --out folder of a training stage")
    events = EventAccumulator(str(folder))
    events.Reload()
    curves = {}
    for name in events.Tags()["scalars"]:
        values = {e.step: e.value for e in events.Scalars(name)}
        steps = sorted(values)
        curves[name] = (steps, [values[s] for s in steps])
    return curves


def plot_runs(runs: list[Path], picture: Path) -> None:
    """One row a run, one panel a loss or a measure of samples: training thin, what is looked at now and then dotted."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot

    rows = [(run.name, read_curves(run)) for run in runs]
    losses = [[n for n in curves if n not in HIDDEN and not n.startswith("valid/")] for _, curves in rows]
    columns = max(map(len, losses))
    size = (max(15, 3.75 * columns), 3 * len(rows))
    figure, axes = pyplot.subplots(len(rows), columns, figsize=size, squeeze=False)
    for panels, (title, curves), names in zip(axes, rows, losses, strict=True):
        for panel in panels[len(names) :]:
            panel.axis("off")
        for panel, name in zip(panels, names, strict=False):
            if name.startswith("samples/"):
                panel.plot(*curves[name], "o-", markersize=3, label="samples, averaged weights")
            else:
                panel.plot(*curves[name], linewidth=0.8, label="training")
            if f"valid/{name}" in curves:
                panel.plot(*curves[f"valid/{name}"], "o-", markersize=3, label="validation, averaged weights")
            panel.set(title=f"{title}: {name}", xlabel="step")
            panel.grid(alpha=0.3)
    axes[0][0].legend(fontsize="x-small")
    figure.tight_layout()
    figure.savefig(picture, dpi=110)
    pyplot.close(figure)


def main(
    runs: Annotated[list[Path], typer.Argument(help="folders of training stages")],
    output: Annotated[Path, typer.Option("-o", "--output", help="png, svg or pdf")] = Path("curves.png"),
) -> None:
    """Draw the losses of training stages."""
    plot_runs(runs, output)
    typer.echo(str(output))


if __name__ == "__main__":
    typer.run(main)
