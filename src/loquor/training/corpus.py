"""A training corpus from nothing but packages: texts, and a synthesiser that reads them.

Besides sound it gives the end of every phone. Several sentences of an utterance are spoken one by one and joined with a
natural pause.
On disk: `shard_000.npy` (int16 [T], utterances end to end at 24 kHz) and `manifest.jsonl`, growing a shard at a time.
"""

import argparse
import json
import logging
import os
import re
import tempfile
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import soundfile

from loquor.audio.resample import resample
from loquor.errors import ConfigError, LoquorError
from loquor.models.codec import SAMPLE_RATE_HZ
from loquor.training.synthesis import Synthesiser, synthesiser
from loquor.training.texts import Sources, corpus_texts, split_of

logger = logging.getLogger(__name__)

TEACHER = "festival:cmu_us_slt_arctic_hts"
SHARD_UTTERANCES = 500
LEAD_S, TAIL_S = 0.10, 0.25  # silence kept before and after; between two sentences their sum
LEVEL_DBFS = -25.0  # RMS of an utterance, as VibeVoice normalises its audio
SILENCE = "pau"

Samples = npt.NDArray[np.float32]
Segments = list[tuple[str, float]]  # phone and its end in seconds, in order


@dataclass(frozen=True)
class Utterance:
    """One line of the manifest: where a text's sound lies and what is heard when."""

    id: str
    text: str
    split: str  # train or valid
    shard: str
    start_samples: int
    samples: int
    segments: Segments


@dataclass(frozen=True)
class CorpusProgress:
    """How far a corpus is: utterances finished of all, and the sound made so far."""

    utterances: int
    total: int
    audio_s: float


def build_corpus(
    out: Path,
    texts: Sequence[str],
    teacher: Synthesiser,
    workers: int = 2,
    progress: Callable[[CorpusProgress], None] | None = None,
) -> Path:
    """Speak `texts` into the folder `out` and return its manifest; what an earlier run finished is kept.

    Raises InputError if the teacher is not installed, ConfigError if `out` holds other texts.
    """
    teacher.check()
    out.mkdir(parents=True, exist_ok=True)
    manifest = out / "manifest.jsonl"
    done = read_manifest(manifest)
    check_same_texts(done, texts, manifest)
    finished = {u.shard for u in done}
    shards = {f"shard_{i // SHARD_UTTERANCES:03d}.npy": i for i in range(0, len(texts), SHARD_UTTERANCES)}
    with ThreadPoolExecutor(workers) as pool:
        jobs = {
            pool.submit(build_shard, out / name, texts[i : i + SHARD_UTTERANCES], i, teacher)
            for name, i in shards.items()
            if name not in finished
        }
        for job in as_completed(jobs):
            done += job.result()
            write_manifest(manifest, done)
            if progress:
                progress(CorpusProgress(len(done), len(texts), sum(u.samples for u in done) / SAMPLE_RATE_HZ))
    return manifest


def check_same_texts(done: list[Utterance], texts: Sequence[str], manifest: Path) -> None:
    """Raises ConfigError if the manifest's texts are not these: another seed or other sources made them."""
    if any(int(u.id) >= len(texts) or texts[int(u.id)] != u.text for u in done):
        raise ConfigError(f"{manifest} holds other texts", hint="repeat its seed and sources, or use a new folder")


def build_shard(path: Path, texts: Sequence[str], first: int, teacher: Synthesiser) -> list[Utterance]:
    """Speak texts into one shard file; their ids count from `first`. A text the teacher cannot say is left out."""
    spoken: list[Utterance] = []
    parts: list[npt.NDArray[np.int16]] = []
    start = 0
    with tempfile.TemporaryDirectory() as folder:
        pieces = [re.split(r"(?<=[.?!]) ", text) for text in texts]
        teacher.say(Path(folder), {f"{i}_{j}": piece for i, row in enumerate(pieces) for j, piece in enumerate(row)})
        for i, text in enumerate(texts):
            try:
                takes = [trim(*read_take(Path(folder, f"{i}_{j}"))) for j in range(len(pieces[i]))]
            except (OSError, soundfile.LibsndfileError, ValueError) as error:
                logger.warning("left out %r: %s", text, error)
                continue
            waveform, segments = join(takes)
            parts.append(np.round(at_level(waveform) * 32767).astype(np.int16))
            spoken.append(
                Utterance(f"{first + i:05d}", text, split_of(text), path.name, start, len(waveform), segments)
            )
            start += len(waveform)
    if not spoken:
        raise LoquorError(f"{teacher.voice} spoke none of the {len(texts)} texts of {path.name}", hint=teacher.install)
    partial = path.with_suffix(".tmp")
    with partial.open("wb") as file:
        np.save(file, np.concatenate(parts))
    os.replace(partial, path)
    return spoken


def read_take(stem: Path) -> tuple[Samples, Segments]:
    """Waveform [T] at 24 kHz and segments of one spoken piece. Raises OSError or ValueError if there is none."""
    waveform, rate_hz = soundfile.read(stem.with_suffix(".wav"), dtype="float32")
    rows = stem.with_suffix(".lab").read_text(encoding="ascii").split("#\n", 1)[1].splitlines()
    segments = [(phone, float(end_s)) for end_s, _, phone in (row.split() for row in rows)]
    return resample(waveform, rate_hz, SAMPLE_RATE_HZ), segments


def trim(waveform: Samples, segments: Segments) -> tuple[Samples, Segments]:
    """The same speech with exactly LEAD_S and TAIL_S of silence around it, and segments moved along.

    Raises ValueError if the segments hold no speech.
    """
    ends_s = [0.0, *(end for _, end in segments)]
    voiced = [i for i, (phone, _) in enumerate(segments) if phone != SILENCE]
    if not voiced:
        raise ValueError("no speech in it")
    first_s, last_s = ends_s[voiced[0]], ends_s[voiced[-1] + 1]
    start, stop = round((first_s - LEAD_S) * SAMPLE_RATE_HZ), round((last_s + TAIL_S) * SAMPLE_RATE_HZ)
    missing = max(0, -start), max(0, stop - len(waveform))
    trimmed = np.pad(waveform[max(0, start) : stop], missing)
    inner = [(phone, round(end - first_s + LEAD_S, 4)) for phone, end in segments[voiced[0] : voiced[-1] + 1]]
    return trimmed, [(SILENCE, LEAD_S), *inner, (SILENCE, round(len(trimmed) / SAMPLE_RATE_HZ, 4))]


def join(takes: list[tuple[Samples, Segments]]) -> tuple[Samples, Segments]:
    """Trimmed takes one after the other; the silences that meet become one segment."""
    segments: Segments = []
    begin_s = 0.0
    for waveform, part in takes:
        segments = segments[:-1] + [(phone, round(begin_s + end, 4)) for phone, end in part]
        begin_s += len(waveform) / SAMPLE_RATE_HZ
    return np.concatenate([waveform for waveform, _ in takes]), segments


def at_level(waveform: Samples) -> Samples:
    """The waveform at LEVEL_DBFS RMS, or lower where its peak would pass 1."""
    rms = float(np.sqrt(np.mean(np.square(waveform)) + 1e-12))
    gain = 10 ** (LEVEL_DBFS / 20) / rms
    return waveform * np.float32(min(gain, 1 / max(float(np.abs(waveform).max()), 1e-6)))


def read_manifest(path: Path) -> list[Utterance]:
    """The utterances a manifest lists; none if there is no file yet."""
    if not path.exists():
        return []
    return [Utterance(**json.loads(line)) for line in path.read_text(encoding="utf-8").splitlines()]


def write_manifest(path: Path, utterances: list[Utterance]) -> None:
    """Replace the manifest in one step, so that a reader never sees half a line."""
    partial = path.with_suffix(".tmp")
    partial.write_text("".join(json.dumps(asdict(u)) + "\n" for u in utterances), encoding="utf-8")
    os.replace(partial, path)


def main() -> None:
    """`python -m loquor.training.corpus`: build a corpus from the command line."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    found = Sources.installed()
    parser = argparse.ArgumentParser(prog="python -m loquor.training.corpus", description=build_corpus.__doc__)
    parser.add_argument("--out", type=Path, required=True, help="folder for shards and manifest")
    parser.add_argument("--sentences", type=int, default=12_000, help="texts to speak (default 12000, about 9 h)")
    parser.add_argument("--teacher", default=TEACHER, help=f"who speaks: program:voice (default {TEACHER})")
    parser.add_argument("--workers", type=int, default=2, help="synthesisers at a time (default 2)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--wordnet", type=Path, default=found.wordnet, help="folder with data.noun (default: the installed)"
    )
    parser.add_argument(
        "--dictionary", type=Path, default=found.dictionary, help="CMU dictionary file (default: the installed)"
    )
    parser.add_argument("--book", type=Path, help="a text in the public domain to take sentences from")
    parser.add_argument("--held-out", type=Path, help="test sentences to stay away from, one a line")
    a = parser.parse_args()

    def report(p: CorpusProgress) -> None:
        logger.info("%d of %d utterances, %.2f h", p.utterances, p.total, p.audio_s / 3600)

    try:
        sources = Sources(a.wordnet, a.dictionary, a.book, a.held_out)
        texts = corpus_texts(sources, a.sentences, a.seed)
        build_corpus(a.out, texts, synthesiser(a.teacher), a.workers, report)
    except LoquorError as error:
        raise SystemExit(f"error: {error}\n{error.hint}") from error


if __name__ == "__main__":
    main()
