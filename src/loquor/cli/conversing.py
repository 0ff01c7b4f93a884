"""What commands that listen and answer have in common: the model, its audio tokenizer, and how it is to answer."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from loquor.engine.converser import Converser


class Decoding(StrEnum):
    """What `--decoding` knows; see `loquor.engine.manner`."""

    trusting = "trusting"
    verified = "verified"
    constrained = "constrained"


MODEL_HELP = "A VITA-Audio model: a folder, or a hub repository org/name[@revision]."
TOKENIZER_HELP = (
    "The folder that holds the folders of its audio tokenizer.  "
    "[default: $LOQUOR_AUDIO_TOKENIZER, else in the model's folder, beside it, or in the hub's cache]"
)
MODE_HELP = (
    "Who makes which token: vanilla (the main model all), balance, boost, turbo (the modules ever more), or numbers "
    "such as 1,10,4,10.  [default: the model's own]"
)
DECODING_HELP = (
    "trusting: what modules propose is said, as published; verified: the main model checks it, the same words as "
    "vanilla; constrained: text and audio must alternate."
)
TokenizerOption = Annotated[str | None, typer.Option("--audio-tokenizer", metavar="FOLDER", help=TOKENIZER_HELP)]
ModeOption = Annotated[str | None, typer.Option("--mode", metavar="NAME", help=MODE_HELP)]
DecodingOption = Annotated[Decoding, typer.Option("--decoding", help=DECODING_HELP)]
TEMPERATURE_HELP = "How freely tokens are drawn; 0 takes the likeliest.  [default: the model's own]"
TemperatureOption = Annotated[float | None, typer.Option("--temperature", help=TEMPERATURE_HELP)]
MOST_HELP = "Tokens of an answer, at most.  [default: what the context allows]"
MostOption = Annotated[int | None, typer.Option("--max-tokens", help=MOST_HELP)]


def open_converser(model: str, device: str, audio_tokenizer: str | None, watermark: bool = True) -> Converser:
    """The model of that name; InputError if it is of a family that cannot listen."""
    from loquor.engine.converser import Converser
    from loquor.engine.load import load, model_folder
    from loquor.errors import InputError
    from loquor.models import VITA, family_of

    family = family_of(model_folder(model))
    if family is not VITA:
        raise InputError(f"{model} is a {family.name} model, which cannot listen", hint="give a VITA-Audio model")
    converser = load(model, device, audio_tokenizer=audio_tokenizer, watermark=watermark)
    assert isinstance(converser, Converser)
    return converser


def mode_of(text: str | None) -> str | list[int] | None:
    """A mode as it is typed: a name, or numbers with commas between them."""
    numbers = (text or "").split(",")
    return [int(n) for n in numbers] if all(n.strip().isdecimal() for n in numbers) else text
