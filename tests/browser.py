"""A real browser, where there is one: Debian's package chromium, or $CHROMIUM."""

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest

CHROMIUM = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"),
    *("--disable-background-networking", "--disable-component-update", "--mute-audio", "--window-size=1000,800"),
)
needs_browser = pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium: apt-get install chromium")


def opened(page: Path, script: str = "", budget_ms: int = 5000) -> str:
    """A page as it stands after its scripts, and after `script`, which may write into `document.title`."""
    assert CHROMIUM
    text = page.read_text(encoding="utf-8").replace("</body>", f"<script>{script}</script></body>")
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder, "page.html")
        copy.write_text(text, encoding="utf-8")
        profile = f"--user-data-dir={folder}/profile"
        command = [CHROMIUM, *FLAGS, profile, f"--virtual-time-budget={budget_ms}", "--dump-dom", copy.as_uri()]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    return done.stdout


def title_of(dom: str) -> str:
    return dom.partition("<title>")[2].partition("</title>")[0].replace("&quot;", '"').strip()
