"""`loquor base`: a small language model that knows nothing yet, to train VITA-Audio from the beginning."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from loquor.cli.console import JsonOption, examples, print_json

Out = Annotated[Path, typer.Argument(metavar="OUT", help="The folder to write.")]
Talks = Annotated[
    Path,
    typer.Option(
        "--data", help="Conversations (.json, .jsonl, or a YAML that mixes several) to learn pieces of text from."
    ),
]
Audio = Annotated[
    str,
    typer.Option("--audio", help="What it will speak in: a name such as glm4voice, or a folder of `loquor quantise`."),
]
Pieces = Annotated[int, typer.Option("--pieces", min=256, help="Pieces of text; 256 are letters alone.")]
Hidden = Annotated[int, typer.Option("--hidden", min=8, help="Channels.")]
Layers = Annotated[int, typer.Option("--layers", min=1, help="Layers.")]
Heads = Annotated[int, typer.Option("--heads", min=1, help="Attention heads.")]
Context = Annotated[int, typer.Option("--context", min=16, help="Positions at most, of text and audio together.")]
Seed = Annotated[int, typer.Option("--seed", help="Draws other weights.")]


def register(app: typer.Typer) -> None:
    app.command(
        epilog=examples(
            "loquor base ./small --data ./talks.jsonl --audio ./tokenizer",
            "loquor base ./small --data ./talks.jsonl --audio glm4voice --pieces 4000 --hidden 512 --heads 8",
        )
    )(base)


def base(  # noqa: PLR0913, PLR0917 - a command's options
    out: Out,
    data: Talks,
    audio: Audio,
    pieces: Pieces = 2000,
    hidden: Hidden = 256,
    layers: Layers = 6,
    heads: Heads = 4,
    context: Context = 2048,
    seed: Seed = 0,
    as_json: JsonOption = False,
) -> None:
    """Write a small language model of random weights, with a vocabulary of its own.

    It has the layout of a plain Qwen2 model, pieces of text learned from the conversations, and rows for the ids of
    the audio tokenizer: `loquor train vita-alignment model=OUT` teaches it to hear and to speak.
    """
    from loquor.training.vita.base import Shape, audio_tokens, texts_of, write_base
    from loquor.training.vita.mixture import open_mixture

    texts = texts_of(open_mixture(data, seed))
    vocabulary = write_base(out, texts, audio_tokens(audio), Shape(hidden, layers, heads, context, pieces), seed)
    facts = {
        "folder": str(out),
        "text": vocabulary.tokenizer.bpe.get_vocab_size(),
        "audio": vocabulary.audio.codes,
        "ids": len(vocabulary),
    }
    if as_json:
        print_json(facts)
    else:
        typer.echo(f"{out}: {facts['text']} pieces of text, {facts['audio']} ids of {vocabulary.audio.name}")
