"""What is written of the command line can be typed: every command, in every guide, example and help text."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.main import get_command

from loquor.cli.group import DefaultCommand
from loquor.cli.main import app

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")), *sorted((ROOT / "src").rglob("*.md"))]
SCRIPTS = sorted((ROOT / "examples").glob("*.sh"))
USAGE_ERROR: Any = typer.BadParameter.__base__
LOQUOR = get_command(app)


def lines_of(text: str) -> list[str]:
    """Shell lines, whole."""
    return text.replace("\\\n", " ").splitlines()


def shown(page: Path) -> Iterator[str]:
    """The lines of a page's shell blocks, and what is quoted as code in its text."""
    text = page.read_text(encoding="utf-8")
    for kind, block in re.findall(r"^```(\w*)\n(.*?)^```", text, re.DOTALL | re.MULTILINE):
        if kind in ("sh", "bash"):
            yield from lines_of(block)
        elif kind == "console":
            yield from (line.removeprefix("$ ") for line in lines_of(block) if line.startswith("$ "))
    prose = re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE)
    yield from (quoted.replace("\n", " ") for quoted in re.findall(r"`(loquor [^`]+)`", prose))


def commands(line: str) -> Iterator[list[str]]:
    """The words of each command of a shell line, without what it sets and where it writes."""
    words = shlex.shlex(line, posix=True, punctuation_chars=True)
    words.whitespace_split = True
    command: list[str] = []
    for word in words:
        if set(word) <= set("();<>|&"):
            yield command
            command = []
        elif command or not re.fullmatch(r"\w+=.*", word):
            command.append(word.removeprefix("$here/../"))  # as our examples say where they are
    yield command


def complaint(words: list[str]) -> str:
    """What is wrong with `loquor` and these words: an unknown verb or option, or an argument too many."""
    command: Any = LOQUOR
    try:
        while verbs := getattr(command, "commands", {}):
            usual = next((verb for verb in verbs.values() if isinstance(verb, DefaultCommand)), None)
            if usual and words and words[0] not in verbs:
                command = usual
                continue
            words = parsed(command, words)
            if not words:
                return ""  # its name alone shows its help
            if words[0] not in verbs:
                return f"no such command: {words[0]}"
            command, words = verbs[words[0]], words[1:]
        words = parsed(command, words)
    except USAGE_ERROR as error:
        return str(error)
    return f"too many arguments: {words}" if words else ""


def parsed(command: Any, words: list[str]) -> list[str]:
    """What a command leaves of words: those of the command below it, or those it has no place for."""
    left: list[str] = command.make_parser(command.context_class(command)).parse_args(list(words))[1]
    return left


def stale(line: str) -> list[str]:
    """What of ours a shell line names wrongly: commands, modules, benchmarks."""
    found = []
    for words in commands(line):
        match words:
            case ["loquor", *rest] if problem := complaint(rest):
                found.append(f"{' '.join(words)}: {problem}")
            case ["python" | "python3", "-m", module, *_] if module.startswith("loquor") and not find_spec(module):
                found.append(f"there is no module {module}")
            case ["python" | "python3", file, *_] if file.startswith("benchmarks/") and not (ROOT / file).is_file():
                found.append(f"there is no {file}")
    return found


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_command_of_a_page_can_be_typed(page: Path) -> None:
    assert [problem for line in shown(page) for problem in stale(line)] == []


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.name)
def test_every_command_of_an_example_can_be_typed(script: Path) -> None:
    assert [problem for line in lines_of(script.read_text(encoding="utf-8")) for problem in stale(line)] == []


def with_examples(command: Any = LOQUOR, name: str = "loquor") -> Iterator[tuple[str, str]]:
    yield name, command.epilog or ""
    for verb, below in getattr(command, "commands", {}).items():
        yield from with_examples(below, f"{name} {verb}")


@pytest.mark.parametrize(("name", "epilog"), [*with_examples()], ids=lambda value: value if len(value) < 30 else "")
def test_every_example_of_the_help_can_be_typed(name: str, epilog: str) -> None:
    assert [problem for line in epilog.splitlines() for problem in stale(line.strip())] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_to_a_file_leads_somewhere(page: Path) -> None:
    text = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
    links = [link.partition("#")[0] for link in re.findall(r"\]\(([^)\s]+)\)", text) if "://" not in link]
    assert [link for link in links if link and not (page.parent / link).exists()] == []


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("loquor speak 'Hello.' --seed 3 | loquor watermark detect -", ""),
        ("FAST=1 loquor eval model --set a.txt && loquor eval compare a b", ""),
        ("echo hi | loquor speek -", "loquor speek -: no such command: speek"),
        ("loquor speak Hello --loud", "loquor speak Hello --loud: No such option: --loud"),
        ("loquor speak Hello there", "loquor speak Hello there: too many arguments: ['there']"),
        ("loquor voices make ada", "loquor voices make ada: no such command: make"),
        ("python -m loquor.training.nothing", "there is no module loquor.training.nothing"),
        ("python benchmarks/nothing.py --fast", "there is no benchmarks/nothing.py"),
    ],
)
def test_the_check_bites(line: str, problem: str) -> None:
    assert stale(line) == ([problem] if problem else [])
