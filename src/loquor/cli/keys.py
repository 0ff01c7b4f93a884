"""`loquor keys`: who may use a server."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from loquor.cli.console import JsonOption, examples, print_json, print_table

app = typer.Typer(
    help="Make and remove API keys of a server.",
    no_args_is_help=True,
    epilog=examples(
        "loquor keys add ada --per-minute 60 --at-once 4",
        "loquor keys list",
        "loquor keys remove ada",
        "loquor serve --keys keys.json",
    ),
)

Name = Annotated[str, typer.Argument(help="Whose key; voices they upload belong to this name.")]
File = Annotated[Path, typer.Option("--file", help="The file of keys; only hashes are in it.")]
PerMinute = Annotated[int | None, typer.Option("--per-minute", min=1, help="Requests a minute.  [default: no limit]")]
AtOnce = Annotated[int | None, typer.Option("--at-once", min=1, help="Requests at a time.  [default: no limit]")]
DEFAULT_FILE = Path("keys.json")


@app.command(epilog=examples("loquor keys add ada", "loquor keys add demo --per-minute 10 --at-once 1"))
def add(name: Name, file: File = DEFAULT_FILE, per_minute: PerMinute = None, at_once: AtOnce = None) -> None:
    """Make a key and print it, once: it cannot be shown again.

    A running server knows it at once. A second key of the same name is another way in for the same client.
    """
    from loquor.server.keys import new_key, read_keys, save_keys

    known = read_keys(file) if file.exists() else []
    secret, key = new_key(name, per_minute, at_once)
    save_keys(file, [*known, key])
    typer.echo(secret)


@app.command("list", epilog=examples("loquor keys list", "loquor keys list --json"))
def list_keys(file: File = DEFAULT_FILE, as_json: JsonOption = False) -> None:
    """List whose keys there are."""
    from loquor.server.keys import read_keys

    header = ("name", "created", "per_minute", "at_once")
    rows = [{field: getattr(key, field) for field in header} for key in read_keys(file)]
    if as_json:
        print_json(rows)
    else:
        print_table(header, [["" if row[field] is None else str(row[field]) for field in header] for row in rows])


@app.command(epilog=examples("loquor keys remove ada"))
def remove(name: Name, file: File = DEFAULT_FILE) -> None:
    """Remove all keys of a name; a running server lets them in no more."""
    from loquor.server.keys import read_keys, remove_keys, save_keys

    save_keys(file, remove_keys(read_keys(file), name))
