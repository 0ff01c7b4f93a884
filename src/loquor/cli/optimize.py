"""`loquor optimize`, and how commands let one choose what runs a model."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from loquor.cli.bar import Part, terminal_bar
from loquor.cli.console import MODEL_HELP, examples, in_bytes, print_json

if TYPE_CHECKING:
    from loquor.engine.backend import Choice
    from loquor.engine.load import AnySpeaker

EXAMPLES = examples(
    "loquor optimize",
    "loquor optimize ./VibeVoice-Realtime-0.5B",
    "loquor optimize org/name --json",
)
BACKEND_HELP = (
    "What runs a Realtime model: torch, which is exact; openvino, in eight bits, faster on processors (loquor[fast]); "
    "auto, openvino if `loquor optimize` has made the model ready for it."
)
STAGE = "rounding to eight bits"
ENCODER, FLOAT32_BYTES = "codec.encoder.", 4  # no speech needs the encoder, so nothing is made of it


class Backend(StrEnum):
    """What `--backend` knows."""

    auto = "auto"
    torch = "torch"
    openvino = "openvino"


Checkpoint = Annotated[str | None, typer.Argument(metavar="[MODEL]", help=MODEL_HELP, show_default=False)]
Json = Annotated[bool, typer.Option("--json", help="Print the figures as JSON.")]
BackendOption = Annotated[Backend, typer.Option("--backend", help=BACKEND_HELP)]


@dataclass(frozen=True)
class Report:
    """What `--json` prints."""

    file: str
    bytes: int
    float32_bytes: int  # of the model it was made of
    errors: dict[str, float]  # of each pass, relative to torch

    def line(self) -> str:
        figures = ", ".join(f"{name} {error:.3f}" for name, error in self.errors.items())
        sizes = f"{in_bytes(self.bytes)}, in float32 {in_bytes(self.float32_bytes)}"
        return f"{self.file}: {sizes}; errors relative to torch: {figures}"


def register(app: typer.Typer) -> None:
    app.command("optimize", epilog=EXAMPLES)(optimize)


def optimize(model: Checkpoint = None, as_json: Json = False) -> None:
    """Make a Realtime model ready for OpenVINO, once: its matrices in eight bits, in your cache folder.

    What speaks, serves and talks then uses it, unless told otherwise. It is compared with the model as torch runs it,
    and refused if it is too far from that.
    """
    from loquor.engine.backend import require_openvino
    from loquor.engine.load import model_folder
    from loquor.errors import ConfigError
    from loquor.models import REALTIME, family_of

    folder = model_folder(model)
    family = family_of(folder)
    if family is not REALTIME:
        raise ConfigError(f"{folder} is a {family.name} model, which runs on torch only")
    require_openvino()
    from loquor.backends.openvino.optimised import open_optimised

    with choosing(Backend.openvino) as choice:
        found = open_optimised(folder, choice.progress)
    numbers = sum(p.size for p in family.outline(folder).parts if not p.name.startswith(ENCODER))
    report = Report(str(found.path), found.bytes, FLOAT32_BYTES * numbers, found.errors)
    if as_json:
        print_json(asdict(report))
    else:
        typer.echo(report.line())


def load_speaker(
    model: str | None,
    device: str,
    adapter: list[str] | None,
    audio_tokenizer: str | None,
    watermark: bool,
    backend: Backend,
) -> AnySpeaker:
    """`loquor.load`, with a bar while a model is made ready for its backend."""
    import loquor

    with choosing(backend) as choice:
        return loquor.load(
            model,
            device,
            adapter=adapter or (),
            audio_tokenizer=audio_tokenizer,
            watermark=watermark,
            backend=choice,
        )


@contextmanager
def choosing(backend: Backend) -> Iterator[Choice]:
    """What is asked for, with a bar while a model is made ready."""
    from loquor.engine.backend import Choice

    with terminal_bar(STAGE, Part.bar, Part.time_left) as bar:
        yield Choice(backend.value, lambda done, total: bar.show(STAGE, done, total))
