"""docs/results.md: every figure has its command, the page is what the figures say, and what is stale is known."""

import importlib
import json
import shlex
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import typer.main

from loquor.cli.main import app

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture
def modules(monkeypatch):
    """The scripts behind `make results`."""
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    names = ("results", "results_list", "results_page", "results_tables")
    return SimpleNamespace(**{name: importlib.import_module(name) for name in names})


def test_the_page_is_what_the_figures_make(modules):
    results = modules.results_list.RESULTS
    figures = {r.name: json.loads((ROOT / r.output).read_text()) for r in results if (ROOT / r.output).is_file()}
    page = modules.results_page.page(results, figures, modules.results.noted())
    assert page == (ROOT / "docs/results.md").read_text(encoding="utf-8"), "run: python benchmarks/results.py --page"


def test_every_result_has_a_name_of_its_own_and_a_command_that_exists(modules):
    verbs = typer.main.get_command(app).commands
    results = modules.results_list.RESULTS
    assert len({result.name for result in results}) == len({result.output for result in results}) == len(results)
    for result in results:
        program, what, *_ = shlex.split(result.command)
        assert what in verbs if program == "loquor" else (ROOT / what).is_file(), result.command
        assert all((ROOT / name).is_file() for name in result.inputs), result.name


@pytest.mark.parametrize("script", sorted(path.stem for path in (ROOT / "benchmarks").glob("*.py")))
def test_every_script_finds_what_it_imports(script, modules):
    importlib.import_module(script)


@pytest.fixture
def runner(modules, tmp_path, monkeypatch):
    """The runner in an empty checkout, and a result of its own."""
    (tmp_path / "input.txt").write_text("one")
    (tmp_path / "measure.py").write_text("import json; print(json.dumps({'value': open('input.txt').read()}))")
    monkeypatch.setattr(modules.results, "ROOT", tmp_path)
    monkeypatch.setattr(modules.results, "MADE", tmp_path / "made.json")
    result = replace(
        modules.results_list.RESULTS[0],
        name="mine",
        command="python measure.py",
        output="docs/mine.json",
        inputs=("input.txt",),
        page="",
    )
    return modules.results, result


def test_a_result_is_made_once_and_again_when_its_files_or_its_command_change(runner, tmp_path):
    results, mine = runner
    assert results.state(mine, results.noted()) == "missing"
    results.make(mine)
    assert json.loads((tmp_path / "docs/mine.json").read_text()) == {"value": "one"}
    assert results.state(mine, results.noted()) == "fresh"
    (tmp_path / "input.txt").write_text("two")
    assert results.state(mine, results.noted()) == "other files"
    assert results.state(replace(mine, command="python other.py"), results.noted()) == "another command"


@pytest.mark.parametrize("program", ["import sys; sys.exit(3)", "print('no JSON')"])
def test_a_command_that_fails_leaves_the_figures_as_they_were(runner, tmp_path, program):
    results, mine = runner
    results.make(mine)
    (tmp_path / "measure.py").write_text(program)
    with pytest.raises((RuntimeError, ValueError)):
        results.make(mine)
    assert json.loads((tmp_path / "docs/mine.json").read_text()) == {"value": "one"}


def test_a_failed_check_is_seen_in_the_table(modules):
    check = {"component": "head", "what": "velocity", "against": "its formula", "detail": "layers.1"}
    sound = check | {"verdict": "ok", "difference": 1e-7, "tolerance": 1e-4}
    broken = check | {"verdict": "fail", "difference": "infinity", "tolerance": 1e-4}
    lines = modules.results_tables.verification({"ok": 1, "warn": 0, "fail": 1, "checks": [sound, broken]})
    assert lines[0] == "1 checks ok, 0 to look at, 1 failed."
    assert "| head | fail | 2 | inf (1e-04) |" in lines[-1]


def test_speeds_stand_beside_those_they_are_compared_with(modules):
    def facts(rate, times):
        figures = {"tokens/s": {"median": rate, "low": rate, "high": rate}, "rest, ms/token": {"median": 1.0}}
        return {"figures": figures, "ratios": {"tokens/s": {"median": times, "low": times, "high": times}}}

    subjects = {"vanilla": facts(10.0, 1.0), "boost": facts(25.0, 2.5)}
    measurement = {"threads": 1, "rounds": 5, "was_quiet": True, "subjects": subjects}
    lines = modules.results_tables.bench({"measurements": [measurement]})
    assert lines[0] == "1 thread, 5 rounds:"
    assert lines[-1] == "| boost | 25 | 2.50 (2.50 to 2.50) |"


def test_streams_and_waits_stand_beside_speeds(modules):
    def facts(rtf, times):
        percentiles = {"wait, ms": {"p50": 1.0, "p95": 20.4, "p99": 300.0, "count": 9}}
        spread = {"median": times, "low": times, "high": times}
        return {"figures": {"rtf": {"median": rtf}}, "ratios": {"rtf": spread}, "percentiles": percentiles}

    subjects = {"torch": facts(1.5, 1.0), "torch, 8 streams": facts(0.5, 0.333)}
    measurement = {"threads": 2, "rounds": 5, "was_quiet": False, "subjects": subjects}
    peaks = {"torch": 800.4, "torch, 8 streams": 900.0}
    lines = modules.results_tables.bench({"claim": "rtf", "peak MiB": peaks, "measurements": [measurement]})
    assert lines[0] == "2 threads, 5 rounds; none was quiet:"
    assert lines[2] == "|  | rtf | wait, ms, p50 / p95 / p99 | peak, MiB | rtf, times torch |"
    assert lines[-1] == "| torch, 8 streams | 0.5 | 1 / 20 / 300 | 900 | 0.33 (0.33 to 0.33) |"


def test_a_frame_is_shown_beside_what_its_weights_take(modules):
    part = {
        "ms": 40.0,
        "bound, ms": 10.0,
        "weights, MB": 300.0,
        "operators, ms": {"mm": 35.0, "between operators": 5.0},
    }
    lines = modules.results_tables.frame({"torch": {"frames": 6, "bandwidth, GB/s": 30.0, "parts": {"decoder": part}}})
    assert lines[2] == "| torch | decoder | 40.0 | 10.0 | 4.0 | mm 35.0 | 5.0 |"


def test_a_bound_that_is_missed_is_seen_in_the_table(modules):
    row = {"name": "wer", "first": 0.1, "second": 0.13, "difference": 0.03, "low": 0.0, "high": 0.06}
    bounds = {"wer": {"bound": 0.01, "holds": False, "sure": False}}
    lines = modules.results_tables.int8_quality({"sentences": 100, "contrasts": [row], "bounds": bounds})
    assert lines[-1] == "| Word error rate | 10.0 | 13.0 | 3.0 (0.0 to 6.0) | 1.0: missed |"
