"""Every figure of the project, each with the command that gives it: what has changed is measured again, then the page.

    make results                            # all that is missing, or was made by another command or of other files
    make results ONLY="embedded verify-*"   # some of it
    python benchmarks/results.py --list     # what there is, what is stale, how long it takes
    python benchmarks/results.py --page     # only docs/results.md and its pictures, of the figures there are
    python benchmarks/results.py --again performance

Results are JSON under docs/, written whole or not at all, and noted in docs/results/made.json with the commit, the day
and the machine: stopped at any point, the same command goes on from there. Nothing runs beside anything else.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import platform
import shlex
import subprocess
import sys
import time
from datetime import UTC, datetime
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import torch
from results_list import RESULTS, Result
from results_page import write_page

from loquor.checkpoints import write_text

ROOT = Path(__file__).resolve().parents[1]
MADE = ROOT / "docs/results/made.json"
LOQUOR = "import sys; from loquor.cli.main import run; sys.argv[0] = 'loquor'; run()"


def digest(result: Result) -> str:
    """A short name for the files that a result is about."""
    found = hashlib.sha256()
    for name in result.inputs:
        found.update((ROOT / name).read_bytes())
    return found.hexdigest()[:12]


def noted() -> dict[str, Any]:
    return json.loads(MADE.read_text(encoding="utf-8")) if MADE.is_file() else {}


def state(result: Result, notes: dict[str, Any]) -> str:
    """fresh; or why it has to be made: missing, another command, other files. One without a note is taken as it is."""
    if not (ROOT / result.output).is_file():
        return "missing"
    note = notes.get(result.name)
    if note is None:
        return "fresh"
    if note["command"] != result.command:
        return "another command"
    return "fresh" if note["inputs"] == digest(result) else "other files"


def arguments(command: str) -> list[str]:
    """How a command of the page is run here: with this Python, and this checkout's `loquor`."""
    program, *rest = shlex.split(command)
    return [sys.executable, *(["-c", LOQUOR] if program == "loquor" else []), *rest]


def make(result: Result) -> None:
    """Run the command; RuntimeError if it fails or prints no JSON where that is its result."""
    output, began = ROOT / result.output, time.perf_counter()
    output.parent.mkdir(parents=True, exist_ok=True)
    pipe = subprocess.PIPE if result.prints else None
    environment = os.environ | {"PYTHONPATH": str(ROOT / "src")}
    done = subprocess.run(arguments(result.command), cwd=ROOT, stdout=pipe, text=True, env=environment, check=False)
    if done.returncode:
        raise RuntimeError(f"{result.name}: exit code {done.returncode}")
    if result.prints:
        values = json.loads(done.stdout.replace(f"{ROOT}/", ""))
        write_text(output, json.dumps(values, ensure_ascii=False, indent=1) + "\n")
    if result.page:
        write_text(ROOT / result.page, (ROOT / result.leaves).read_text(encoding="utf-8"))
    note = {"command": result.command, "inputs": digest(result), "seconds": round(time.perf_counter() - began)}
    write_text(MADE, json.dumps(noted() | {result.name: note | surroundings()}, indent=1, sort_keys=True) + "\n")


def surroundings() -> dict[str, Any]:
    """When, of which source, and where."""
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    machine = f"{processor()}, {os.cpu_count()} cores, torch {torch.__version__}"
    return {"commit": commit.stdout.strip(), "day": f"{datetime.now(UTC):%Y-%m-%d}", "machine": machine}


def processor() -> str:
    """What the processor calls itself."""
    path = Path("/proc/cpuinfo")
    lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", default=[], help="such as embedded or verify-*; all if left out")
    parser.add_argument("--again", action="store_true", help="also what is fresh")
    parser.add_argument("--most-minutes", type=float, help="leave out what takes longer")
    parser.add_argument("--list", action="store_true")
    parser.add_argument("--page", action="store_true", help="run nothing")
    options = parser.parse_args()
    wanted = [r for r in RESULTS if not options.names or any(fnmatch(r.name, name) for name in options.names)]
    if not wanted:
        parser.error(f"there is none of {' '.join(options.names)}; known: {', '.join(r.name for r in RESULTS)}")
    if options.list:
        for result in wanted:
            print(f"{result.name:18} {state(result, noted()):16} about {result.minutes:g} min  {result.command}")
        return 0
    failures = []
    for result in [] if options.page else wanted:
        why = "asked for again" if options.again else state(result, noted())
        if why == "fresh" or (options.most_minutes is not None and result.minutes > options.most_minutes):
            continue
        print(f"{result.name} ({why}, about {result.minutes:g} min): {result.command}", file=sys.stderr, flush=True)
        try:
            make(result)
        except (RuntimeError, ValueError) as error:
            failures.append(str(error))
    write_page(ROOT, RESULTS, noted())
    for failure in failures:
        print(f"error: {failure}", file=sys.stderr)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
