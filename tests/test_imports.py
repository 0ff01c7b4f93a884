"""What starts quickly stays quick: the heavy libraries load inside the command that needs them."""

import subprocess
import sys

import pytest

HEAVY = ["torch", "numpy", "soundfile", "tokenizers", "huggingface_hub", "onnxruntime", "matplotlib", "tensorboard"]

REPORT = f"import sys; print([name for name in {HEAVY} if name in sys.modules], file=sys.stderr)"
IMPORT = f"import loquor; {REPORT}"
HELP = f"""
import sys
from loquor.cli.main import run
sys.argv = ["loquor", "--help"]
try:
    run()
finally:
    {REPORT}
"""


@pytest.mark.parametrize("program", [IMPORT, HELP], ids=["import loquor", "loquor --help"])
def test_starting_loads_no_heavy_library(program):
    path = f"import sys; sys.path[:] = {sys.path!r}\n"
    done = subprocess.run([sys.executable, "-c", path + program], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "[]\n")
