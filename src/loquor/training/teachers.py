"""Free synthesisers as teachers: recordings of sentences of our own making, to try a fine-tuning on for real.

    python -m loquor.training.teachers flite rms --language en --sentences 1500 --held-out 50 --out DIR

writes `DIR/recordings` and, of other sentences, `DIR/held_out`: a wav and a txt for each sentence, numbered, which is
what `loquor data prepare` reads. What is there already stays as it is. The engines run as programs of their own: flite
(BSD-like licence) and espeak-ng (GPL), of which nothing but sound gets here.
"""

import argparse
import subprocess
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path

from rich.progress import track

from loquor.checkpoints import write_atomically, write_text
from loquor.errors import InputError, LoquorError
from loquor.text.languages import normalizer
from loquor.training.sentences import everyday_sentences

Engine = Callable[[str, str, str], list[str]]  # voice, text, file -> what to run

ENGINES: dict[str, Engine] = {
    "flite": lambda voice, text, file: ["flite", "-voice", voice, "-t", text, "-o", file],
    "espeak-ng": lambda voice, text, file: ["espeak-ng", "-v", voice, "-w", file, "--", text],
}


def speak_pairs(folder: Path, sentences: Sequence[str], engine: str, voice: str, language: str) -> Iterator[Path]:
    """Speak each sentence into `folder` as 00000.wav and 00000.txt, and yield it when both are there.

    Texts are kept as they are written; the engine is given what the language's normaliser makes of them, so that text
    and sound agree however it reads numbers. InputError if the engine is not installed or cannot speak.
    """
    normalize = normalizer(language)

    def speak(number: int) -> Path:
        sound, text = folder / f"{number:05}.wav", folder / f"{number:05}.txt"
        if not text.exists():
            said = normalize(sentences[number])
            write_atomically(sound, lambda path: _run(ENGINES[engine](voice, said, str(path)), path))
            write_text(text, sentences[number] + "\n")
        return sound

    with ThreadPoolExecutor() as pool:  # the work is done by other processes
        yield from pool.map(speak, range(len(sentences)))


def _run(command: list[str], path: Path) -> None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        raise InputError(f"{command[0]} is not installed", hint=f"apt install {command[0]}") from None
    if done.returncode or not path.exists() or not path.stat().st_size:
        raise InputError(f"{command[0]} cannot speak: {done.stderr.strip() or 'it says nothing'}", hint="try its voice")


def main(arguments: Sequence[str] | None = None) -> None:
    """`python -m loquor.training.teachers`."""
    parser = argparse.ArgumentParser(prog="python -m loquor.training.teachers", description=speak_pairs.__doc__)
    parser.add_argument("engine", choices=list(ENGINES))
    parser.add_argument("voice", help="as the engine calls it")
    parser.add_argument("--language", default="en", choices=["en", "fa"], help="of the sentences (default en)")
    parser.add_argument("--sentences", type=int, default=1500, help="to learn from (default 1500, about 70 minutes)")
    parser.add_argument("--held-out", type=int, default=50, help="others, to compare with (default 50)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, required=True, help="folder to write")
    options = parser.parse_args(arguments)
    texts = list(islice(everyday_sentences(options.seed, options.language), options.held_out + options.sentences))
    parts = {"held_out": texts[: options.held_out], "recordings": texts[options.held_out :]}
    try:
        for name, sentences in parts.items():
            folder = options.out / name
            spoken = speak_pairs(folder, sentences, options.engine, options.voice, options.language)
            for _ in track(spoken, name, total=len(sentences)):
                pass
    except LoquorError as error:
        raise SystemExit(f"error: {error}\nhint: {error.hint}") from error


if __name__ == "__main__":
    main()
