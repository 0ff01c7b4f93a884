"""What a server bears: streams until deadlines are missed, batched against one at a time, thousands of requests, chaos.

    python benchmarks/serving.py [--parts streams,throughput,requests,disconnects] [--json docs/serving.json]

Each part has a `loquor serve` process of its own. An interrupted run goes on where it stopped: what the JSON file
has is not measured again, unless `--again`. `requests` proves by bytes that no piece of speech is lost, doubled or out
of order: each reply is compared with that of the same request made alone.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import platform
import statistics
from pathlib import Path
from typing import Any

import torch
import typer
from serving_client import ServerProcess
from serving_parts import BLOCK, disconnects, requests, streams, throughput

from loquor.checkpoints import write_text

ROOT = Path(__file__).resolve().parents[1]
PARTS = ("streams", "throughput", "requests", "disconnects")
COUNTED = ("requests", "broken", "other_length", "bit_equal")
ENOUGH = 2  # counts of streams with misses, then more need not be tried


class Report:
    """The JSON file, written after every row."""

    def __init__(self, path: Path, parts: list[str], is_new: bool, threads: int | None) -> None:
        self._path = path
        self.rows: dict[str, Any] = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
        for part in parts if is_new else ():
            self.rows.pop(part, None)
        cpu = {"cpu": platform.processor(), "torch": torch.__version__, "threads": threads or torch.get_num_threads()}
        self.rows["machine"] = cpu

    def of(self, part: str) -> list[dict[str, Any]]:
        return list(self.rows.get(part, []))

    def add(self, part: str, row: dict[str, Any]) -> None:
        self.rows[part] = [*self.of(part), row]
        write_text(self._path, json.dumps(self.rows, indent=1) + "\n")


async def measure_streams(options: argparse.Namespace, report: Report) -> None:
    counts = sorted(map(int, options.streams.split(",")))
    had = {row["streams"] for row in report.of("streams")}
    with ServerProcess("--slots", str(max(counts)), *options.serve, threads=options.threads) as server:
        await streams(server, 1, seconds=1)  # warm-up
        with typer.progressbar(counts, label="streams") as bar:
            for count in bar:
                if count not in had and sum(row["misses"] > 0 for row in report.of("streams")) < ENOUGH:
                    report.add("streams", await streams(server, count, options.seconds))


async def measure_throughput(options: argparse.Namespace, report: Report) -> None:
    had = len(report.of("throughput"))
    with ServerProcess("--slots", "8", *options.serve, threads=options.threads) as server:
        await throughput(server, had)  # warm-up
        with typer.progressbar(range(had, options.rounds), label="throughput") as bar:
            for number in bar:
                report.add("throughput", await throughput(server, number))


async def measure_requests(options: argparse.Namespace, report: Report) -> None:
    rows = report.of("requests")
    done, session = sum(row["requests"] for row in rows), 1 + max((row["session"] for row in rows), default=0)
    if done >= options.requests:
        return
    with (
        ServerProcess(
            "--slots", "8", "--queue", "64", "--patience", "300", *options.serve, threads=options.threads
        ) as server,
        typer.progressbar(length=options.requests - done, label="requests") as bar,
    ):
        async for row in requests(server, done, options.requests, session):
            report.add("requests", row)
            bar.update(row["requests"])


async def measure_disconnects(options: argparse.Namespace, report: Report) -> None:
    if report.of("disconnects"):
        return
    with (
        ServerProcess(
            "--slots", "8", "--queue", "64", "--patience", "300", *options.serve, threads=options.threads
        ) as server,
        typer.progressbar(length=options.disconnects, label="disconnects") as bar,
    ):
        before = server.rss_mib
        async for row in disconnects(server, options.disconnects):
            bar.update(row["disconnects"])
        report.add("disconnects", row | {"disconnects": options.disconnects, "rss_mib": [before, server.rss_mib]})


def table(report: Report) -> str:
    lines = list[str]()
    if rows := report.of("streams"):
        lines += ["| streams | pieces | too late | listeners who heard a gap | first audio, ms (95 %) | audio s/s |"]
        lines += ["|" + "---|" * 6]
        for row in rows:
            first = row["first_audio_ms"]
            lines.append(
                f"| {row['streams']} | {row['pieces']} | {row['misses']} | {row['streams_with_misses']} "
                f"| {first['median']:.0f} ({first['p95']:.0f}) | {row['audio_per_wall_s']:.1f} |"
            )
    if rows := report.of("throughput"):
        ratios = [row["ratio"] for row in rows]
        spread = f"{min(ratios):.2f} to {max(ratios):.2f}"
        lines.append(
            f"\nEight at once: {statistics.median(ratios):.2f} times as fast as one after the other ({spread})"
        )
    if rows := report.of("requests"):
        total = {name: sum(row.get(name, 0) for row in rows) for name in COUNTED}
        step = max(row.get("largest_step", 0) for row in rows)
        lines.append(
            f"\n{total['requests']} short requests: {total['broken']} broken, {total['other_length']} of another "
            f"length, {total['bit_equal']} bit-equal, largest difference {step} of 16-bit steps; memory {grown(rows)}"
        )
    for row in report.of("disconnects"):
        lines.append(
            f"\n{row['disconnects']} disconnects: {row['in_use']} slots in use and {row['queue']} waiting after "
            f"{row['free_after_s']:.2f} s; afterwards {row['speech']['bit_equal']} of {row['speech']['requests']} "
            "requests bit-equal to before"
        )
    return "\n".join(lines)


def grown(rows: list[dict[str, Any]]) -> str:
    """Of each session, from the end of its warm-up to its last block."""
    sessions = dict[int, list[float]]()
    for row in rows:
        sessions.setdefault(row["session"], []).append(row["rss_mib"])
    return ", ".join(f"{one[0]:.0f} to {one[-1]:.0f} MiB ({one[-1] / one[0] - 1:+.1%})" for one in sessions.values())


def draw(rows: list[dict[str, Any]], picture: Path) -> None:
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    counts = [row["streams"] for row in rows]
    figure, (left, right) = plt.subplots(1, 2, figsize=(8, 3), layout="constrained")
    left.plot(counts, [row["audio_per_wall_s"] for row in rows], marker="o")
    left.plot(counts, counts, lw=1, ls=":", color="gray", label="needed by so many listeners")
    left.set(xlabel="streams", ylabel="speech made, s/s", ylim=(0, None))
    left.legend()
    right.plot(counts, [100 * row["misses"] / row["pieces"] for row in rows], marker="o", color="tab:red")
    right.set(xlabel="streams", ylabel="pieces too late, %", ylim=(0, None))
    picture.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(picture)
    plt.close(figure)


async def measure(options: argparse.Namespace, report: Report) -> None:
    parts = {
        "streams": measure_streams,
        "throughput": measure_throughput,
        "requests": measure_requests,
        "disconnects": measure_disconnects,
    }
    for part in options.parts.split(","):
        await parts[part](options, report)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parts", default=",".join(PARTS))
    parser.add_argument("--streams", default="1,2,3,4,6,8,12,16,24,32", help="counts to try, until some miss deadlines")
    parser.add_argument("--seconds", type=float, default=60, help="that each count listens")
    parser.add_argument("--rounds", type=int, default=6, help="of eight at once against one at a time")
    parser.add_argument("--requests", type=int, default=10_000, help=f"short ones, in blocks of {BLOCK}")
    parser.add_argument("--disconnects", type=int, default=1000)
    parser.add_argument("--threads", type=int, help="of the server  [default: torch's own choice]")
    parser.add_argument("--serve", nargs="*", default=[], help="more options of `loquor serve`, such as -m=FOLDER")
    parser.add_argument("--again", action="store_true", help="measure these parts anew")
    parser.add_argument("--json", type=Path, default=ROOT / "docs/serving.json")
    parser.add_argument("--picture", type=Path, default=ROOT / "docs/images/serving.svg")
    options = parser.parse_args()
    report = Report(options.json, options.parts.split(","), options.again, options.threads)
    asyncio.run(measure(options, report))
    print(table(report))
    if rows := report.of("streams"):
        draw(sorted(rows, key=lambda row: int(row["streams"])), options.picture)


if __name__ == "__main__":
    main()
