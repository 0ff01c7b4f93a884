"""The synthesisers that read a corpus aloud and tell when each phone sounds: festival and flite, as programs.

festival's cmu_us_slt_arctic_hts (CMU Arctic, HTS engine; free to use and pass on) and flite's voices (BSD-like licence)
name phones alike. A piece of text becomes KEY.wav and KEY.lab, as festival writes them.
"""

from __future__ import annotations

import logging
import re
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from loquor.errors import InputError

logger = logging.getLogger(__name__)


class Synthesiser(Protocol):
    """Who reads a corpus."""

    @property
    def voice(self) -> str:
        """Its name."""

    @property
    def install(self) -> str:
        """How to get it."""

    def check(self) -> None:
        """Raises InputError unless program and voice are installed."""

    def say(self, folder: Path, pieces: Mapping[str, str]) -> None:
        """Every piece into folder/KEY.wav and folder/KEY.lab; one that cannot be said leaves no file."""


@dataclass(frozen=True)
class Festival:
    """A voice of festival; one process says all pieces."""

    voice: str

    @property
    def install(self) -> str:
        return f"apt install festival {'festvox-us-slt-hts' if 'slt' in self.voice else 'and its voice'}"

    def check(self) -> None:
        if shutil.which("festival") is None:
            raise InputError("festival, the teacher's synthesiser, is not installed", hint=self.install)
        _require_voice("festival", self, ["festival", "--batch", "(print (voice.list))"])

    def say(self, folder: Path, pieces: Mapping[str, str]) -> None:
        script = [
            f"(voice_{self.voice})",
            "(define (say text name) (let ((utt (SynthText text)))",
            '  (utt.save.wave utt (string-append name ".wav") \'riff)',
            '  (utt.save.segs utt (string-append name ".lab"))))',
            *(f'(unwind-protect (say "{piece}" "{folder / key}") nil)' for key, piece in pieces.items()),
        ]
        (folder / "say.scm").write_text("\n".join(script), encoding="ascii")
        finished = _run(["festival", "--batch", str(folder / "say.scm")])
        if finished.returncode:
            logger.warning("festival ended with status %d: %s", finished.returncode, finished.stderr[-500:])


@dataclass(frozen=True)
class Flite:
    """A voice of flite; a process says one piece."""

    voice: str

    @property
    def install(self) -> str:
        return "apt install flite"

    def check(self) -> None:
        if shutil.which("flite") is None:
            raise InputError("flite, the teacher's synthesiser, is not installed", hint=self.install)
        _require_voice("flite", self, ["flite", "-lv"])

    def say(self, folder: Path, pieces: Mapping[str, str]) -> None:
        for key, piece in pieces.items():
            sound = str(folder / f"{key}.wav")
            finished = _run(["flite", "-voice", self.voice, "-psdur", "-t", piece, "-o", sound])
            ends = re.findall(r"(\w+):([\d.]+)", finished.stdout)
            if finished.returncode == 0 and ends:
                rows = "".join(f"{end} 100 {phone}\n" for phone, end in ends)
                (folder / f"{key}.lab").write_text(f"#\n{rows}", encoding="ascii")


def _require_voice(program: str, synthesiser: Synthesiser, listing: list[str]) -> None:
    if synthesiser.voice not in re.findall(r"\w+", _run(listing).stdout):
        raise InputError(f"{program} has no voice {synthesiser.voice}", hint=synthesiser.install)


def _run(command: list[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, capture_output=True, text=True, check=False)


def synthesiser(name: str) -> Synthesiser:
    """That of a name: "festival:cmu_us_slt_arctic_hts" or "flite:rms". InputError if there is no such program."""
    program, _, voice = name.partition(":")
    kinds: dict[str, type[Festival] | type[Flite]] = {"festival": Festival, "flite": Flite}
    if program not in kinds or not voice:
        raise InputError(f"there is no synthesiser {name!r}", hint="such as festival:cmu_us_slt_arctic_hts, flite:rms")
    return kinds[program](voice)
