"""The one-way floors of the package: a file imports its own part or a lower floor, never a sibling, never upward."""

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[1] / "src" / "loquor"
FLOORS = [
    # one part: its files may use each other
    {"errors", "state", "configs", "checkpoints", "tensor_file", "pickles", "torch_archives", "workers"},
    {"nn", "diffusion", "audio", "text"},
    {"models"},
    {"voices", "backends"},
    {"engine"},
    {"training", "evaluation", "server", "integrations"},
    {"__init__"},  # the public names
    {"cli"},
]
FLOOR_OF = {part: floor for floor, parts in enumerate(FLOORS) for part in parts}
FOUNDATION = 0


def imported(file: Path) -> list[tuple[int, str]]:
    """(line, dotted name below `loquor`) of every import of the package, wherever in the file it stands."""
    here = ["loquor", *file.relative_to(PACKAGE).parts[:-1]]
    found = []
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"), str(file))):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = ".".join(here[: len(here) - node.level + 1]) if node.level else ""
            module = ".".join(filter(None, [base, node.module]))
            names = [f"{module}.{alias.name}" for alias in node.names]  # `from loquor import nn` names a part as well
        else:
            continue
        found += [(node.lineno, name) for name in names if name.split(".")[0] == "loquor"]
    return found


def part_of(name: str) -> str:
    """The part a dotted name belongs to: loquor.nn.conv.ConvState is of nn, loquor.Speaker of the public names."""
    _, part, *_ = [*name.split("."), "__init__"]
    is_part = (PACKAGE / part).is_dir() or (PACKAGE / f"{part}.py").is_file()
    return part if is_part else "__init__"


def faults(file: Path) -> list[str]:
    part = file.relative_to(PACKAGE).parts[0].removesuffix(".py")
    if part not in FLOOR_OF:
        return [f"{file}:1 {part} stands on no floor: add it to FLOORS"]
    found = []
    for line, name in imported(file):
        other = part_of(name)
        is_lower = FLOOR_OF.get(other, len(FLOORS)) < FLOOR_OF[part]
        is_own = other == part or FLOOR_OF.get(other) == FLOOR_OF[part] == FOUNDATION
        if not (is_lower or is_own):
            found.append(f"{file}:{line} {part} imports {name}, which stands beside or above it")
    return found


def test_imports_go_down_only():
    found = [fault for file in sorted(PACKAGE.rglob("*.py")) for fault in faults(file)]
    assert not found, "\n" + "\n".join(found)


@pytest.mark.parametrize(
    ("name", "part"),
    [
        ("loquor.nn.conv.ConvState", "nn"),
        ("loquor.errors.AudioError", "errors"),
        ("loquor", "__init__"),
        ("loquor.Speaker", "__init__"),
    ],
)
def test_the_rule_knows_whose_a_name_is(name, part):
    assert part_of(name) == part


@pytest.mark.parametrize(
    ("place", "line", "is_fault"),
    [
        ("nn/new.py", "from loquor.errors import ConfigError", False),
        ("nn/new.py", "from loquor.nn.conv import ConvState", False),
        ("nn/new.py", "from loquor.diffusion import sample", True),
        ("nn/new.py", "def late():\n    import loquor.models.codec", True),
        ("models/tiny/new.py", "from ..codec import Codec", False),
        ("models/tiny/new.py", "from ...voices import voice", True),
        ("training/new.py", "from loquor import evaluation", True),
        ("engine/new.py", "from loquor import Speaker", True),
        ("cli/new.py", "import loquor", False),
        ("attic/new.py", "", True),
    ],
)
def test_the_rule_bites(place, line, is_fault, tmp_path, monkeypatch):
    for folder in ("nn", "diffusion", "models/tiny", "voices", "training", "evaluation", "engine", "cli", "attic"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "errors.py").touch()
    (tmp_path / place).write_text(line, encoding="utf-8")
    monkeypatch.setitem(globals(), "PACKAGE", tmp_path)
    assert bool(faults(tmp_path / place)) is is_fault
