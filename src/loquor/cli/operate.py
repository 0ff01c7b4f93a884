"""`loquor inspect`, `convert` and `doctor`: looking after models and the machine."""

from __future__ import annotations

import re
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from loquor.cli import doctor_train
from loquor.cli.console import AdapterOption, JsonOption, ModelOption, examples, print_json

INSPECT_EXAMPLES = examples(
    "loquor inspect ./VibeVoice-Realtime-0.5B",
    "loquor inspect org/name@main --depth 3",
    "loquor inspect ./model --freeze lora --json",
)
CONVERT_EXAMPLES = examples(
    "loquor convert ./model ./model-bf16 --dtype bfloat16",
    "loquor convert org/name ./model --shard-size 500MB",
    "loquor convert ./VibeVoice-1.5B ./VibeVoice-1.5B-hf --layout hf",
    "loquor convert ./VibeVoice-1.5B ./adapted --adapter ./my-lora@0.8",
    "loquor convert embedded ./base --alphabet fa",
)
DOCTOR_EXAMPLES = examples(
    "loquor doctor",
    "loquor doctor -m ./model --json",
    "loquor doctor train realtime-lora data=./prepared",
)
UNITS = {"": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "KIB": 2**10, "MIB": 2**20, "GIB": 2**30}


class Freeze(StrEnum):
    """What `--freeze` knows; the strategies themselves are in `loquor.training.freezing`."""

    none = "none"
    conservative = "conservative"
    lora = "lora"
    modules = "modules"
    full = "full"


class Dtype(StrEnum):
    """What `--dtype` knows."""

    float32 = "float32"
    float16 = "float16"
    bfloat16 = "bfloat16"


class Layout(StrEnum):
    """What `--layout` knows; which of them a family has is in `loquor.models.registry`."""

    original = "original"
    hf = "hf"


Checkpoint = Annotated[str, typer.Argument(metavar="MODEL", help="A model folder, or a hub repository org/name[@rev].")]
FreezeOption = Annotated[
    Freeze | None, typer.Option("--freeze", help="Also show how many numbers this strategy trains in each module.")
]
ALPHABET_HELP = "Give a phoneme model the letters of a language (fa), still to be taught what they sound like."
AlphabetOption = Annotated[str | None, typer.Option("--alphabet", metavar="LANGUAGE", help=ALPHABET_HELP)]
Depth = Annotated[int, typer.Option("--depth", min=0, help="Levels of modules to show.")]
Target = Annotated[Path, typer.Argument(metavar="OUT", help="The folder to write.")]
DtypeOption = Annotated[Dtype | None, typer.Option("--dtype", help="Cast the weights.  [default: as they are]")]
LayoutOption = Annotated[
    Layout | None,
    typer.Option(
        "--layout",
        help="Names of tensors and settings: original, those of the first release; hf, those of the transformers "
        "library.  [default: as they are]",
    ),
]
ShardSize = Annotated[str, typer.Option("--shard-size", help="Most bytes a file, such as 500MB or 2GB.")]
Force = Annotated[bool, typer.Option("--force", help="Write into a folder that is not empty.")]


def register(app: typer.Typer) -> None:
    app.command("inspect", epilog=INSPECT_EXAMPLES)(inspect)
    app.command("convert", epilog=CONVERT_EXAMPLES)(convert)
    patient = typer.Typer()
    patient.callback(invoke_without_command=True, epilog=DOCTOR_EXAMPLES)(doctor)
    patient.command("train", epilog=doctor_train.TRAIN_EXAMPLES)(doctor_train.train)
    app.add_typer(patient, name="doctor")


def inspect(model: Checkpoint, freeze: FreezeOption = None, depth: Depth = 2, as_json: JsonOption = False) -> None:
    """Show a model's modules, and what a fine-tuning would train.

    Parameters, bytes and dtype are read from headers only, no weights. Strategies: conservative (the language model
    that reads text, in Realtime the lower one, and codecs frozen), lora (rank 8 on attention and feed-forward matrices
    of the language model that speaks and of the head; connectors and end classifier in full), modules (of VITA-Audio,
    only what predicts further tokens), full (only codecs and encoders frozen), none (nothing frozen).
    """
    from loquor.cli.tree import as_dict, nodes, print_tree, summary
    from loquor.engine.load import model_folder
    from loquor.models import family_of
    from loquor.training.freezing import STRATEGIES

    folder = model_folder(model)
    family = family_of(folder)
    outline = family.outline(folder)
    strategy = STRATEGIES[freeze.value] if freeze else None
    found = nodes(outline, depth, strategy)
    if as_json:
        facts = {"model": str(folder), "family": family.name, "licence": family.licence}
        rest = {"freeze": freeze and freeze.value, "unread": outline.unread, "modules": as_dict(found)}
        print_json(facts | rest)
        return
    typer.echo(f"{folder} ({family.name})")
    if family.licence:
        typer.echo(f"licence: {family.licence}")
    print_tree(found, strategy)
    if strategy:
        typer.echo(summary(found[0], strategy))
    for name in outline.unread:
        typer.echo(f"in the files, but never used: {name}")


def convert(  # noqa: PLR0913, PLR0917 - a command's options
    model: Checkpoint,
    out: Target,
    dtype: DtypeOption = None,
    layout: LayoutOption = None,
    shard_size: ShardSize = "2GB",
    adapter: AdapterOption = None,
    alphabet: AlphabetOption = None,
    force: Force = False,
) -> None:
    """Write a model into another folder, as it is or in another layout, type or number of files.

    It is loaded strictly: a missing or unexpected tensor is an error. Without --dtype and --adapter every tensor keeps
    its bytes. Tokenizer, defaults and voices beside it are copied.
    """
    shard_bytes = _in_bytes(shard_size)
    from loquor.cli.conversion import convert as converted
    from loquor.engine.load import model_folder
    from loquor.errors import InputError

    if out.exists() and not out.is_dir():
        raise InputError(f"{out} is a file", hint="name a folder to write into")
    if out.is_dir() and any(out.iterdir()) and not force:
        raise InputError(f"{out} is not empty", hint="choose another folder, or --force to write into this one")
    source, chosen = model_folder(model), layout and layout.value
    for path in converted(source, out, dtype and dtype.value, shard_bytes, adapter or (), chosen, alphabet):
        typer.echo(path)


def doctor(context: typer.Context, model: ModelOption = None, as_json: JsonOption = False) -> None:
    """Check this machine and a model's files; with train, a training before it starts.

    Each check says ok, warn or fail, what it saw, and what to do. Exit code 1 if one fails.
    """
    if context.invoked_subcommand:
        if model or as_json:
            raise typer.BadParameter("options of a training stand after train; its model is model=FOLDER")
        return
    from loquor.cli.doctor import examine, failed, print_checks

    checks = examine(model)
    if as_json:
        from dataclasses import asdict

        print_json([asdict(check) for check in checks])
    else:
        print_checks(checks)
    if failed(checks):
        raise typer.Exit(1)


def _in_bytes(size: str) -> int:
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([KMG]I?B)?", size.strip(), re.IGNORECASE)
    count = int(float(match[1]) * UNITS[(match[2] or "").upper()]) if match else 0
    if count < 1:
        raise typer.BadParameter(
            f"{size!r} is no size; write 500MB, 2GB or a number of bytes", param_hint="--shard-size"
        )
    return count
