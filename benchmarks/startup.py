"""How long one waits from the start of a process to its first sample, and how much of that is `import torch`.

    python benchmarks/startup.py [--rounds 7] [--text TEXT] [--model FOLDER] [--threads N] [--json FILE]

Fresh processes take turns: python alone, python that imports torch, and `loquor speak`, whose sound comes through a
pipe. The clock runs from before a process is made until its first byte arrives. Processor time is that of all its
threads until then; where other programs have the processor it tells more than the clock. Everything is warm: one round
before the first is not counted. Linux only.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

FIGURES = ("wall s", "processor s", "peak MiB")
CRY = "import os; os.write(1, b'.')"
LOQUOR = "from loquor.cli.main import run; run()"  # what the command does


def commands(text: str, model: str | None) -> dict[str, list[str]]:
    """What takes turns, each writing to stdout as soon as it is ready."""
    speak = [sys.executable, "-c", LOQUOR, "-q", "speak", text, "-o", "-"]
    return {
        "python": [sys.executable, "-c", CRY],
        "import torch": [sys.executable, "-c", f"import torch; {CRY}"],
        "loquor speak": speak + (["-m", model] if model else []),
    }


def first_byte(command: Sequence[str], environment: Mapping[str, str]) -> dict[str, float]:
    """Figures of a process when its first byte is there."""
    began = time.perf_counter()
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=dict(environment)) as process:
        assert process.stdout
        assert os.read(process.stdout.fileno(), 1), f"{command} wrote nothing"
        wall = time.perf_counter() - began
        place = Path(f"/proc/{process.pid}")
        threads = [(task / "schedstat").read_text() for task in (place / "task").iterdir()]
        status = (place / "status").read_text().splitlines()
        process.stdout.read()
    peak = next(int(line.split()[1]) for line in status if line.startswith("VmHWM:"))
    return dict(zip(FIGURES, (wall, sum(int(t.split()[0]) for t in threads) / 1e9, peak / 1024), strict=True))


def measure(found: Mapping[str, Sequence[str]], rounds: int, threads: int) -> dict[str, list[dict[str, float]]]:
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads)}
    runs: dict[str, list[dict[str, float]]] = {name: [] for name in found}
    for number in range(rounds + 1):
        for name, command in found.items():
            figures = first_byte(command, environment)
            if number:
                runs[name].append(figures)
    return runs


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--text", default="Good morning.")
    parser.add_argument("--model", help="a model folder; without it, the embedded voice")
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    load = os.getloadavg()[0]
    runs = measure(commands(options.text, options.model), options.rounds, options.threads)
    print("| | " + " | ".join((*FIGURES, "times `import torch`, processor s")) + " |")
    print("|" + "---|" * (len(FIGURES) + 2))
    for name, rounds in runs.items():
        cells = [f"{statistics.median(r[figure] for r in rounds):.2f}" for figure in FIGURES]
        pairs = zip(rounds, runs["import torch"], strict=True)
        ratios = sorted(mine["processor s"] / bare["processor s"] for mine, bare in pairs)
        spread = f"{statistics.median(ratios):.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f})"
        print(f"| {name} | {' | '.join(cells)} | {spread} |")
    print(f"load before: {load:.1f}, {options.rounds} rounds, {options.threads} threads")
    if options.json:
        facts = {"load": load, "threads": options.threads, "runs": runs}
        options.json.write_text(json.dumps(facts, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
