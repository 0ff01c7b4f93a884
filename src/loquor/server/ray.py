"""The same server on a Ray cluster: replicas that come and go with the load, behind one address.

    serve run loquor.server.ray:app slots=16 max_replicas=4

Every replica is a whole server with a model of its own, so every protocol is there. A request that carries a session
id (header x-session-id) goes to the replica its id hashes to, others to the one of two with less to do. What is lost
with a replica is told by `ray_proxy`.
"""

from __future__ import annotations

import os
import random
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from ray import serve
from ray.serve.config import AutoscalingConfig, RequestRouterConfig
from ray.serve.experimental.consistent_hash_router import ConsistentHashRouter

from loquor.errors import ConfigError

VARIABLE = "LOQUOR_RAY_"  # and a setting's name: LOQUOR_RAY_SLOTS
NAME = "loquor"
RANKS = 2  # replicas that are asked which has less to do

# Read by the proxies of a cluster that is started from here. Those of a running one have it from their own environment.
os.environ.setdefault("RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH", "loquor.server.ray_proxy:middlewares")


class Settings(BaseModel):
    """What an operator may choose, as `name=value` after the application's name, or in the environment."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    model: str | None = Field(None, description="As in `loquor serve -m`, at the same path on every node.")
    slots: int = Field(8, ge=1, description="Streams of a replica that speak at once.")
    queue: int = Field(8, ge=0, description="Requests that may wait for one of them.")
    patience_s: float = Field(30.0, ge=0, description="That a request may wait.")
    connections: int = Field(256, ge=1, description="Of a replica, idle WebSockets included.")
    drain_s: float = Field(60.0, ge=0, description="For streams to end when a replica is taken away.")
    min_replicas: int = Field(1, ge=1)
    max_replicas: int = Field(4, ge=1)
    cpus: float = Field(1.0, gt=0, description="Cores of a replica.")
    gpus: float = Field(0.0, ge=0, description="GPUs of a replica; it then computes there.")
    keys: Path | None = Field(None, description="As in `loquor serve --keys`; each replica counts for itself.")
    voices: Path | None = Field(None, description="Where uploaded voices are kept: a folder that all nodes share.")
    watermark: bool = True


def settings(given: Mapping[str, str], environment: Mapping[str, str]) -> Settings:
    """What was given, else what the environment says, else the default; ConfigError for what cannot be."""
    named = {name: environment[VARIABLE + name.upper()] for name in Settings.model_fields if _is_in(environment, name)}
    try:
        chosen = Settings.model_validate({**named, **given})
    except ValidationError as error:
        first = error.errors()[0]
        raise ConfigError(
            f"{'.'.join(map(str, first['loc']))}: {first['msg']}, got {first['input']!r}",
            hint=f"there are {', '.join(Settings.model_fields)}",
        ) from None
    if chosen.min_replicas > chosen.max_replicas:
        raise ConfigError(f"min_replicas {chosen.min_replicas} is more than max_replicas {chosen.max_replicas}")
    return chosen


def _is_in(environment: Mapping[str, str], name: str) -> bool:
    return VARIABLE + name.upper() in environment


class SessionRouter(ConsistentHashRouter):
    """Requests of one session to one replica, while it is there; all others to the less busy of two."""

    async def choose_replicas(self, candidate_replicas: list[Any], pending_request: Any = None) -> list[list[Any]]:
        if pending_request is None or pending_request.metadata.session_id:
            ranks: list[list[Any]] = await super().choose_replicas(candidate_replicas, pending_request)
            return ranks
        pending_request.routing_context.should_backoff = True
        return [random.sample(candidate_replicas, min(RANKS, len(candidate_replicas)))]


def app(given: dict[str, str]) -> serve.Application:
    """The application, for `serve run` and for the configuration file of `serve deploy`."""
    chosen = settings(given, os.environ)
    router: Any = SessionRouter

    def build() -> Any:
        return _replica(chosen)

    replica: Any = serve.deployment(
        serve.ingress(build)(),
        name=NAME,
        max_ongoing_requests=chosen.connections,
        graceful_shutdown_timeout_s=chosen.drain_s,
        ray_actor_options={"num_cpus": chosen.cpus, "num_gpus": chosen.gpus},
        request_router_config=RequestRouterConfig(request_router_class=router),
        autoscaling_config=AutoscalingConfig(
            min_replicas=chosen.min_replicas, max_replicas=chosen.max_replicas, target_ongoing_requests=chosen.slots
        ),
    )
    application: serve.Application = replica.bind()
    return application


def _replica(chosen: Settings) -> Any:
    """A server, in a process that Ray made for it: an application as `loquor serve` has it."""
    import torch

    from loquor.engine.load import load
    from loquor.server.app import create_app
    from loquor.server.audit import Audit
    from loquor.server.keys import Guard
    from loquor.server.service import Limits, Service
    from loquor.server.voice_store import VoiceStore
    from loquor.server.wiring import Server, served_name, voice_folder, warm_up

    torch.set_num_threads(max(1, int(chosen.cpus)))
    speaker = load(chosen.model, "cuda" if chosen.gpus else "cpu", watermark=chosen.watermark)
    warm_up(speaker)
    store = VoiceStore(speaker, voice_folder(chosen.voices))
    limits = Limits(slots=chosen.slots, queue=chosen.queue, patience_s=chosen.patience_s)
    service = Service(speaker, served_name(chosen.model), store, limits, Audit.to_stderr())
    facts = {"version": version("loquor"), "replica": serve.get_replica_context().replica_id.unique_id}
    return create_app(Server(service, Guard(chosen.keys), facts=facts))
