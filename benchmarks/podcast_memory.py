"""Does the memory of `loquor podcast` stay flat over an episode of ninety minutes?

    python benchmarks/podcast_memory.py [--minutes 90] [--speakers 4] [--every 2] [--picture FILE] [--json FILE]
    python benchmarks/podcast_memory.py --kill-at 45    # the same, killed in the middle: the same sha256

A script of that length, made up here, is spoken by the toy model of the tests in a process of its own, with everything
that can be asked for: stems, subtitles, master. From outside, its resident memory is sampled, and the takes on its disk
are counted. The model says nothing that means anything, but as much as a real one would, and carries on from as much.
Linux only.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import math
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from safetensors import safe_open

from loquor.models.codec import SAMPLE_RATE_HZ

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests"))

FRAMES_PER_TOKEN = 2.3  # of ordinary speech
VOICE_S = 12.0
OPENINGS = (
    "Well,",
    "You know,",
    "I think that",
    "Let us say that",
    "What I like is that",
    "On the other hand,",
    "Yes:",
)
SUBJECTS = ("the river", "our neighbour", "a good map", "the whole town", "my old teacher", "every second engine")
VERBS = ("never leaves", "often carries", "slowly changes", "hardly needs", "still remembers", "quietly replaces")
OBJECTS = ("the harbour at night", "two or three stories", "what the winter left", "a longer bridge", "the first rule")


@dataclass(frozen=True)
class Sample:
    """A look at the process."""

    elapsed_s: float
    rss_mib: float
    audio_min: float  # in finished takes
    is_assembling: bool  # all takes are finished


def write_script(path: Path, minutes: float, speakers: int) -> None:
    """A talk of that length, by the estimate that plans takes."""
    from loquor.text.timing import estimated_s

    draw, lines, seconds, turns = random.Random(0), list[str](), 0.0, 0
    while seconds < 60 * minutes or turns < speakers:
        sentences = [
            f"{draw.choice(OPENINGS)} {draw.choice(SUBJECTS)} {draw.choice(VERBS)} {draw.choice(OBJECTS)}."
            for _ in range(draw.choice((1, 2, 2, 4, 8, 20)))
        ]
        if turns % 25 == 0:
            lines.append(f"[chapter: Part {1 + turns // 25}]")
        speaker = turns if turns < speakers else draw.randrange(speakers)
        lines.append(f"Speaker {1 + speaker}: {' '.join(sentences)}")
        seconds += estimated_s(" ".join(sentences))
        turns += 1
    path.write_text("\n".join(lines), encoding="utf-8")


def prepare(folder: Path, minutes: float, speakers: int) -> None:
    """The script, the model and the voices."""
    import soundfile

    from toy_longform import toy_waveform, write_toy

    write_script(folder / "talk.txt", minutes, speakers)
    write_toy(folder / "toy", frames_per_token=FRAMES_PER_TOKEN)
    for i in range(speakers):
        soundfile.write(folder / f"{i}.wav", toy_waveform(VOICE_S, seed=i).numpy(), SAMPLE_RATE_HZ)


def start(folder: Path, speakers: int) -> subprocess.Popen[str]:
    """The command, at work in `folder`."""
    cast = ",".join(f"{i + 1}={i}.wav" for i in range(speakers))
    wanted = ["--stems", "--srt", "--chapters", "--master", "--report", "report.json", "--retakes", "0"]
    run = "from loquor.cli.main import run; run()"
    line = [sys.executable, "-c", run, "podcast", "talk.txt", "--cast", cast, "-m", "toy", "-o", "talk.flac", *wanted]
    return subprocess.Popen(line, cwd=folder, text=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)


def watch(process: subprocess.Popen[str], folder: Path, every_s: float, kill_at: float) -> list[Sample]:
    """Samples until the process ends, or is killed after so many minutes of audio."""
    from loquor.engine.podcast.plan import plan
    from loquor.text.script import read_script

    samples, began = list[Sample](), time.perf_counter()
    takes = len(plan(read_script(folder / "talk.txt")).takes)
    counted: dict[str, float] = {}
    while process.poll() is None:
        for path in sorted((folder / "talk.flac.takes").glob("take-*.safetensors")):
            counted[path.name] = counted.get(path.name) or minutes_of(path)
        rss = rss_mib(process.pid)
        if counted and rss:
            audio_min = sum(counted.values())
            samples.append(Sample(time.perf_counter() - began, rss, audio_min, len(counted) == takes))
            if audio_min >= kill_at:
                process.kill()
        time.sleep(every_s)
    return samples


def minutes_of(take: Path) -> float:
    try:
        with safe_open(take, framework="pt") as file:
            return int(json.loads(file.metadata()["loquor"])["samples"]) / SAMPLE_RATE_HZ / 60
    except OSError:  # the episode is done, and its takes are gone
        return 0.0


def rss_mib(pid: int) -> float:
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0.0
    lines = [line.split() for line in status.splitlines() if line.startswith("VmRSS:")]
    return int(lines[0][1]) / 1024 if lines else 0.0


def figures(samples: list[Sample], report: dict[str, Any]) -> dict[str, Any]:
    """What the samples come to: the medians of the first and the last quarter of the speaking, and the peaks."""
    speaking = [sample for sample in samples if not sample.is_assembling]
    quarter = max(1, len(speaking) // 4)
    parts = {"first quarter": speaking[:quarter], "last quarter": speaking[-quarter:]}
    assembling = [sample.rss_mib for sample in samples if sample.is_assembling]
    return {
        "minutes": round(report["seconds"] / 60, 2),
        "takes": len(report["takes"]),
        "elapsed_s": round(samples[-1].elapsed_s, 1),
        "median_rss_mib": {name: round(statistics.median(s.rss_mib for s in part), 1) for name, part in parts.items()},
        "peak_rss_mib": {
            "speaking": round(max(sample.rss_mib for sample in speaking), 1),
            "assembling": round(max(assembling), 1) if assembling else None,
        },
        "machine": {"threads": os.environ.get("OMP_NUM_THREADS", os.cpu_count()), "load": os.getloadavg()[0]},
        "samples": [{name: round(float(value), 2) for name, value in asdict(s).items()} for s in samples],
    }


def draw(samples: list[Sample], picture: Path) -> None:
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(figsize=(7, 3), layout="constrained")
    speaking = [sample for sample in samples if not sample.is_assembling]
    assembling = [sample for sample in samples if sample.is_assembling]
    axes.plot([s.audio_min for s in speaking], [s.rss_mib for s in speaking], lw=1, label="speaking")
    if assembling:
        axes.plot([s.audio_min for s in assembling], [s.rss_mib for s in assembling], ".", ms=3, label="assembling")
    axes.set(xlabel="minutes of finished audio", ylabel="resident memory, MiB", xlim=(0, None))
    axes.set_ylim(0, 1.15 * max(sample.rss_mib for sample in samples))
    axes.legend(loc="lower right")
    picture.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(picture, dpi=120)
    plt.close(figure)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=90)
    parser.add_argument("--speakers", type=int, default=4)
    parser.add_argument("--every", type=float, default=2, help="seconds between samples")
    parser.add_argument("--kill-at", type=float, help="minutes of audio after which it is killed and started again")
    parser.add_argument("--picture", type=Path, default=ROOT / "docs/images/podcast-memory.png")
    parser.add_argument("--json", type=Path, default=ROOT / "docs/podcast-memory.json")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        prepare(folder, options.minutes, options.speakers)
        for kill_at in filter(None, (options.kill_at, math.inf)):
            process = start(folder, options.speakers)
            samples = watch(process, folder, options.every, kill_at)
            _, err = process.communicate()
        if process.returncode:
            raise SystemExit(f"loquor podcast ended with {process.returncode}: {err}")
        report = json.loads((folder / "report.json").read_text(encoding="utf-8"))
        digest = hashlib.sha256((folder / "talk.flac").read_bytes()).hexdigest()
    found = figures(samples, report) | {"sha256": digest}
    draw(samples, options.picture)
    options.json.write_text(json.dumps(found), encoding="utf-8")
    print(json.dumps({name: value for name, value in found.items() if name != "samples"}, indent=1))


if __name__ == "__main__":
    main()
