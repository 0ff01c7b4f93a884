"""What docs/serving.md shows works: its Python, as it stands there, against a running server."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import av
import pytest

from loquor.audio import pcm16
from loquor.engine.speaker import Speaker
from server_fixtures import Serve

GUIDE = (Path(__file__).resolve().parents[2] / "docs" / "serving.md").read_text(encoding="utf-8")
OPENAI, WEBSOCKET, ELEVENLABS = re.findall(r"```python\n(.*?)```", GUIDE, re.DOTALL)[:3]


def run(code: str, url: str, folder: Path) -> str:
    """What a program prints to stderr; it must end well."""
    code = code.replace("http://127.0.0.1:8000", url).replace("ws://127.0.0.1:8000", url.replace("http", "ws"))
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, check=False, env=os.environ
    )
    assert done.returncode == 0, done.stderr
    return done.stderr


@pytest.mark.parametrize("code", [OPENAI, ELEVENLABS], ids=["openai", "elevenlabs"])
def test_the_clients_of_others_save_a_file(serve: Serve, speaker: Speaker, tmp_path: Path, code: str) -> None:
    run(code, serve(speaker).url, tmp_path)
    with av.open(str(tmp_path / "speech.mp3"), "r") as container:
        assert sum(frame.samples for frame in container.decode(audio=0)) > 3200


def test_our_twenty_lines_hear_the_speech_and_its_words(serve: Serve, talkative: Speaker, tmp_path: Path) -> None:
    text = "Text goes in as it comes, and speech comes out."
    printed = run(WEBSOCKET, serve(talkative).url, tmp_path)
    said = talkative.speak(text).waveform.numpy()
    assert (tmp_path / "speech.pcm").read_bytes() == pcm16(said).tobytes()
    assert set(printed.split()) == set(text.replace(",", "").removesuffix(".").split())


def test_every_message_there_is_stands_in_the_table() -> None:
    from loquor.server.speech_stream.messages import KINDS

    rows = re.findall(r"^\| `([a-z.]+)` \| ([^|]*)", GUIDE, re.MULTILINE)
    sent = {kind: set(re.findall(r"`(\w+)`", fields)) for kind, fields in rows if kind in KINDS}
    assert sent == {kind: set(message.model_fields) - {"type"} for kind, message in KINDS.items()}
