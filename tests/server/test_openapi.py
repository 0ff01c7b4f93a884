"""The OpenAPI document is true: programs made from it may send what it allows, and are answered as it says.

Schemathesis sends a running server what the document permits and what it forbids, and holds every answer against it.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx2
import pytest

from loquor.audio.resample import Waveform
from loquor.engine.speaker import Speaker
from loquor.server.service import Limits
from server_fixtures import Running, Serve

ROUTES = ("speech", "elevenlabs", "microsoft", "voices", "transcriptions", "operations")  # tags

SETTINGS = """
# No schema can say which names are known, that a text can be spoken, or that a file is a recording.
[checks.positive_data_acceptance]
expected-statuses = [200, 400, 404]
"""

HOOKS = """
import schemathesis

@schemathesis.hook.apply_to(path="/v1/audio/speech")
def map_body(context, body):
    if isinstance(body, dict) and isinstance(body.get("model"), str):
        body["model"] = "toy"  # else most requests end at the model's name
        if isinstance(body.get("voice"), str) and len(body["voice"]) % 2:
            body["voice"] = "default"
    return body

@schemathesis.hook
def map_case(context, case):
    if not case.path.startswith("/v1/text-to-speech/"):
        return case
    if len(str(case.path_parameters["voice_id"])) % 2:
        case.path_parameters["voice_id"] = "default"
    if isinstance(case.body, dict) and isinstance(case.body.get("model_id"), str):
        case.body["model_id"] = "eleven_flash_v2_5"
    return case
"""


class Deaf:
    """Hears the same whatever is said."""

    def transcribe(self, waveform: Waveform, sample_rate_hz: int) -> str:
        return "What was that?"


def document(running: Running) -> dict[str, Any]:
    return dict(httpx2.get(f"{running.url}/openapi.json", timeout=60).json())


def findings(running: Running, folder: Path, *options: str) -> str:
    """What Schemathesis finds; empty if nothing."""
    (folder / "hooks.py").write_text(HOOKS)
    (folder / "schemathesis.toml").write_text(SETTINGS)
    tags = [f"--include-tag={tag}" for tag in ROUTES]
    command = [sys.executable, "-m", "schemathesis.cli", f"--config-file={folder}/schemathesis.toml", "run"]
    command += [f"{running.url}/openapi.json", "--checks=all", "--seed=1", "--continue-on-failure", "--no-color", *tags]
    environment = {**os.environ, "SCHEMATHESIS_HOOKS": "hooks", "PYTHONPATH": str(folder)}
    done = subprocess.run(
        [*command, *options], cwd=folder, env=environment, capture_output=True, text=True, check=False, timeout=900
    )
    return "" if done.returncode == 0 else done.stdout + done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("has_keys", [False, True], ids=["open", "keys"])
def test_schemathesis_finds_nothing(serve: Serve, speaker: Speaker, tmp_path: Path, has_keys: bool) -> None:
    pytest.importorskip("schemathesis")
    running = serve(speaker, Limits(patience_s=300), keys={"ada": {}} if has_keys else None, transcriber=Deaf())
    key = [f"--header=Authorization: Bearer {running.keys['ada']}"] if has_keys else []
    assert not findings(running, tmp_path, "--phases=coverage,fuzzing", "--max-examples=50", *key)


def test_every_error_is_documented_as_it_is_told(serve: Serve, speaker: Speaker) -> None:
    """FastAPI would add that fields that do not fit are a 422: here they are a 400."""
    described = document(serve(speaker))
    answers = described["paths"]["/v1/audio/speech"]["post"]["responses"]
    assert set(answers) == {"200", "400", "401", "404", "413", "429", "501", "503"}
    schema = answers["400"]["content"]["application/json"]["schema"]
    assert schema == {"$ref": "#/components/schemas/ErrorBody"} and "ErrorBody" in described["components"]["schemas"]
    assert "Retry-After" in answers["503"]["headers"] and "422" not in str(described)


def test_routes_that_ask_for_a_key_say_so_where_there_are_keys(serve: Serve, speaker: Speaker) -> None:
    closed, opened = (document(serve(speaker, keys=keys)) for keys in ({"ada": {}}, None))
    assert closed["paths"]["/v1/audio/speech"]["post"]["security"] == [{"key": []}]
    assert "security" not in closed["paths"]["/health"]["get"]
    assert "security" not in str(opened)


def test_only_a_server_that_can_transcribe_documents_it(serve: Serve, speaker: Speaker) -> None:
    paths = [document(serve(speaker, transcriber=ears))["paths"] for ears in (None, Deaf())]
    assert ["/v1/audio/transcriptions" in each for each in paths] == [False, True]


def test_a_wrong_method_is_told_all_the_right_ones(serve: Serve, speaker: Speaker) -> None:
    reply = httpx2.put(f"{serve(speaker).url}/v1/audio/voices", timeout=60)
    assert reply.status_code == 405 and reply.headers["allow"] == "GET, POST"
