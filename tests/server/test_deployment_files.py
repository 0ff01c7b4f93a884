"""Dockerfile, compose file and Kubernetes manifest agree with the server they start, and with each other."""

from __future__ import annotations

import json
import re
import shlex
import tomllib
from pathlib import Path
from typing import Any

import httpx2
import pytest
import typer
import yaml

from loquor.cli.main import app
from loquor.engine.speaker import Speaker
from loquor.server.running import LAST_BYTES_S
from server_fixtures import Serve

ROOT = Path(__file__).resolve().parents[2]
PORT = 8000


def instructions(name: str) -> list[str]:
    """What the Dockerfile says after each `name`, stage by stage."""
    text = re.sub(r"\\\n", " ", (ROOT / "Dockerfile").read_text())
    return [line.removeprefix(name).strip() for line in text.splitlines() if line.startswith(f"{name} ")]


def manifest(kind: str) -> dict[str, Any]:
    (found,) = [one for one in yaml.safe_load_all((ROOT / "deploy/kubernetes.yaml").read_text()) if one["kind"] == kind]
    return dict(found)


def pod() -> dict[str, Any]:
    return dict(manifest("Deployment")["spec"]["template"]["spec"])


def compose() -> dict[str, Any]:
    return dict(yaml.safe_load((ROOT / "compose.yaml").read_text())["services"])


def entrypoint() -> list[str]:
    return list(json.loads(instructions("ENTRYPOINT")[0]))


def serve_options() -> set[str]:
    command = typer.main.get_command(app).commands["serve"]  # type: ignore[attr-defined]
    return {name for parameter in command.params for name in (*parameter.opts, *parameter.secondary_opts)}


def value_of(arguments: list[str], option: str) -> str:
    return arguments[arguments.index(option) + 1]


@pytest.mark.parametrize("place", ["Dockerfile", "compose", "Kubernetes"])
def test_they_give_options_that_the_command_has(place: str) -> None:
    own = {"Dockerfile": [], "compose": compose()["loquor"]["command"], "Kubernetes": pod()["containers"][0]["args"]}
    arguments = [*entrypoint(), *own[place]]
    assert arguments[:2] == ["loquor", "serve"]
    given = [argument for argument in arguments if argument.startswith("-")]
    assert set(given) <= serve_options() and len(set(given)) == len(given)


def test_all_mean_the_same_port() -> None:
    container = pod()["containers"][0]
    assert value_of(entrypoint(), "--port") == str(PORT) and value_of(entrypoint(), "--host") == "0.0.0.0"
    assert instructions("EXPOSE") == [str(PORT)]
    assert compose()["loquor"]["ports"] == [f"127.0.0.1:{PORT}:{PORT}"]
    assert container["ports"] == [{"name": "http", "containerPort": PORT}]
    assert manifest("Service")["spec"]["ports"][0]["targetPort"] == "http"
    (job,) = yaml.safe_load((ROOT / "deploy/prometheus.yaml").read_text())["scrape_configs"]
    assert job["static_configs"][0]["targets"] == [f"loquor:{PORT}"] and "loquor" in compose()


def test_what_they_ask_for_is_answered_without_a_key(serve: Serve, speaker: Speaker) -> None:
    """With the keys of the manifest, too, probes and Prometheus have none."""
    url = serve(speaker, keys={"ada": {}}).url
    container = pod()["containers"][0]
    paths = {container[f"{name}Probe"]["httpGet"]["path"] for name in ("startup", "liveness", "readiness")}
    (job,) = yaml.safe_load((ROOT / "deploy/prometheus.yaml").read_text())["scrape_configs"]
    check = re.search(rf"http://127.0.0.1:{PORT}(/\w+)", instructions("HEALTHCHECK")[0])
    assert check
    for path in {*paths, job["metrics_path"], check[1]}:
        assert httpx2.get(f"{url}{path}", timeout=60).status_code == 200
    assert container["readinessProbe"]["httpGet"]["path"] == "/ready"  # which is 503 while it drains


def test_they_wait_for_the_drain_before_they_kill() -> None:
    container = pod()["containers"][0]
    pause = int(container["lifecycle"]["preStop"]["exec"]["command"][1])
    drain = int(value_of(container["args"], "--drain"))
    assert pod()["terminationGracePeriodSeconds"] > pause + drain + LAST_BYTES_S
    composed = compose()["loquor"]
    grace = int(composed["stop_grace_period"].removesuffix("s"))
    assert grace > int(value_of(composed["command"], "--drain")) + LAST_BYTES_S


def test_nothing_runs_as_root_or_writes_but_to_its_data() -> None:
    user = instructions("USER")
    security = pod()["securityContext"]
    assert user == [str(security["runAsUser"])] and user != ["0"] and security["runAsNonRoot"]
    container = pod()["containers"][0]
    assert container["securityContext"]["readOnlyRootFilesystem"] and compose()["loquor"]["read_only"]
    (data,) = instructions("VOLUME")
    assert value_of(entrypoint(), "--voices").startswith(f"{data}/")
    mounts = {mount["mountPath"]: mount["name"] for mount in container["volumeMounts"]}
    assert data in mounts and set(mounts.values()) == {volume["name"] for volume in pod()["volumes"]}
    assert str(Path(value_of(container["args"], "--keys")).parent) in mounts


def test_the_image_is_built_of_what_is_here() -> None:
    sources = [source for line in instructions("COPY") if "--from" not in line for source in shlex.split(line)[:-1]]
    allowed = (ROOT / ".dockerignore").read_text().splitlines()
    assert sources and all((ROOT / source).exists() and f"!{source}" in allowed for source in sources)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert {project["readme"], *project["license-files"]} <= set(sources)
    extras = re.search(r"\.\[([\w,]+)\]", (ROOT / "Dockerfile").read_text())
    assert extras and set(extras[1].split(",")) <= set(project["optional-dependencies"])
    assert f"TORCH  ?= {instructions('ARG')[0].removeprefix('TORCH=')}" in (ROOT / "Makefile").read_text()


def test_the_parts_of_the_manifest_find_each_other() -> None:
    labels = manifest("Deployment")["spec"]["template"]["metadata"]["labels"]
    assert manifest("Deployment")["spec"]["selector"]["matchLabels"] == labels
    assert manifest("Service")["spec"]["selector"] == labels
    assert manifest("PodDisruptionBudget")["spec"]["selector"]["matchLabels"] == labels
    scaler = manifest("HorizontalPodAutoscaler")["spec"]
    assert scaler["scaleTargetRef"]["name"] == manifest("Deployment")["metadata"]["name"]
    assert "cpu" in pod()["containers"][0]["resources"]["requests"]  # of which utilisation is measured
