"""What commands print: tables that read without colour, JSON for machines, sizes for people."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Annotated, Any

import typer

MODEL_HELP = "A model folder, or a hub repository org/name[@revision].  [default: the embedded voice]"
ADAPTER_HELP = (
    "Merge a fine-tuned adapter (LoRA) into the model, at a strength such as 0.8; may be given again.  "
    "[default strength: 1.0]"
)
AdapterOption = Annotated[list[str] | None, typer.Option("--adapter", metavar="FOLDER[@STRENGTH]", help=ADAPTER_HELP)]

DEVICE_HELP = "Where to compute: cpu, cuda, or auto (cuda if there is one)."
ModelOption = Annotated[str | None, typer.Option("-m", "--model", help=MODEL_HELP)]
DeviceOption = Annotated[str, typer.Option("--device", help=DEVICE_HELP)]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]

WATERMARK_HELP = "Mark the sound, inaudibly, as generated: `loquor watermark detect` finds it."
WatermarkOption = Annotated[bool, typer.Option("--watermark/--no-watermark", help=WATERMARK_HELP)]


def examples(*lines: str) -> str:
    """An epilog that lists commands as they are typed."""
    return "\b\nExamples:\n" + "\n".join(f"  {line}" for line in lines)


def print_json(value: Any) -> None:
    typer.echo(json.dumps(value, ensure_ascii=False, indent=2))


def print_table(header: Sequence[str], rows: Sequence[Sequence[str]], numbers: Sequence[int] = ()) -> None:
    """Columns as wide as they need; those in `numbers` stand right."""
    lines = [header, *rows]
    widths = [max(len(line[i]) for line in lines) for i in range(len(header))]
    for line in lines:
        cells = [c.rjust(w) if i in numbers else c.ljust(w) for i, (c, w) in enumerate(zip(line, widths, strict=True))]
        typer.echo("  ".join(cells).rstrip())


def in_bytes(count: int) -> str:
    """41300000 as 41.3 MB."""
    value, units = float(count), ["B", "kB", "MB", "GB", "TB"]
    while value >= 1000 and len(units) > 1:
        value, units = value / 1000, units[1:]
    return f"{value:.0f} {units[0]}" if units[0] == "B" else f"{value:.1f} {units[0]}"


def in_words(value: Any) -> str:
    """A value of a table: yes and no for truth."""
    return ("no", "yes")[value] if isinstance(value, bool) else str(value)
