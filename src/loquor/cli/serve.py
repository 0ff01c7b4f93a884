"""`loquor serve`: one model for many listeners, over HTTP."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from loquor.cli.console import AdapterOption, DeviceOption, ModelOption, WatermarkOption, examples
from loquor.cli.conversing import TokenizerOption
from loquor.cli.optimize import Backend, BackendOption, load_speaker

if TYPE_CHECKING:
    import socket

    from loquor.audio import Waveform
    from loquor.engine.converser import Converser
    from loquor.engine.load import AnySpeaker
    from loquor.server.service import Limits, Service
    from loquor.server.voice_store import Transcriber
    from loquor.server.wiring import Server
    from loquor.server.wyoming.listener import Listener

EXAMPLES = examples(
    "loquor serve",
    "loquor serve --host 0.0.0.0 --keys keys.json",
    "loquor serve -m ./VibeVoice-Realtime-0.5B --device cuda --slots 32",
    "loquor serve --transcriber moonshine --audit-log audit.jsonl",
    "loquor serve --host 0.0.0.0 --wyoming-port 10200",
)
FRAMING_BYTES = 1024  # of a message around what it brings

KEYS_HELP = "Ask for API keys: those of this file, which `loquor keys add` writes.  [default: anybody may ask]"
VOICES_HELP = "Where uploaded voices are kept.  [default: `server-voices` in the user's data folder]"
ALIASES_HELP = (
    'JSON of other names for voices, such as {"alloy": "en-Clara_woman"}.  '
    "[default: all of OpenAI's voices are the model's own]"
)
TRANSCRIBER_HELP = (
    "Also transcribe: moonshine, whisper:MODEL, http://HOST:PORT/v1#MODEL, or `model`, which is a VITA-Audio model "
    "served here."
)
ORIGIN_HELP = "Let pages of this origin ask (CORS), such as https://example.org; may be given again."
HOST_NAME_HELP = (
    "Answer to this name too, such as tts.local; may be given again.  [default: where nobody else can reach it and no "
    "keys are asked for, to localhost and --host; else to any]"
)
WYOMING_HELP = (
    "Also speak Wyoming, for Home Assistant, at this port of the same host; its clients have no keys.  [default: no]"
)
OPEN_WYOMING_HELP = "With --keys: let whoever reaches the Wyoming port in without one."
AUDIT_HELP = "Add a line for each synthesis to this file; - is stderr, off is nowhere."

Host = Annotated[str, typer.Option("--host", help="Where to listen; 0.0.0.0 lets other machines in.")]
Port = Annotated[int, typer.Option("--port", min=0, max=65535, help="0 takes a free one.")]
Slots = Annotated[int, typer.Option("--slots", min=1, help="Streams that speak at once.")]
Queue = Annotated[int, typer.Option("--queue", min=0, help="Requests that may wait for a slot.")]
Patience = Annotated[float, typer.Option("--patience", min=0, help="Seconds a request may wait for a slot.")]
Drain = Annotated[float, typer.Option("--drain", min=0, help="Seconds for streams to end once told to stop.")]
Characters = Annotated[int, typer.Option("--max-characters", min=1, help="Characters of one request.")]
UploadMb = Annotated[int, typer.Option("--max-upload", min=1, help="Megabytes of an uploaded recording.")]
Keys = Annotated[Path | None, typer.Option("--keys", metavar="FILE", help=KEYS_HELP)]
Voices = Annotated[Path | None, typer.Option("--voices", metavar="FOLDER", help=VOICES_HELP)]
Aliases = Annotated[Path | None, typer.Option("--voice-aliases", metavar="FILE", help=ALIASES_HELP)]
TranscriberName = Annotated[str | None, typer.Option("--transcriber", metavar="NAME", help=TRANSCRIBER_HELP)]
Origins = Annotated[list[str] | None, typer.Option("--allow-origin", metavar="URL", help=ORIGIN_HELP)]
HostNames = Annotated[list[str] | None, typer.Option("--allow-host", metavar="NAME", help=HOST_NAME_HELP)]
WyomingPort = Annotated[int | None, typer.Option("--wyoming-port", min=0, max=65535, help=WYOMING_HELP)]
OpenWyoming = Annotated[bool, typer.Option("--wyoming-without-keys", help=OPEN_WYOMING_HELP)]
AuditLog = Annotated[str, typer.Option("--audit-log", metavar="FILE", help=AUDIT_HELP)]


def register(app: typer.Typer) -> None:
    app.command(epilog=EXAMPLES)(serve)


def serve(  # noqa: PLR0913, PLR0917 - an argument for each thing an operator may choose
    model: ModelOption = None,
    adapter: AdapterOption = None,
    audio_tokenizer: TokenizerOption = None,
    device: DeviceOption = "cpu",
    backend: BackendOption = Backend.auto,
    host: Host = "127.0.0.1",
    port: Port = 8000,
    slots: Slots = 8,
    queue: Queue = 32,
    patience: Patience = 30.0,
    drain: Drain = 60.0,
    max_characters: Characters = 20_000,
    max_upload: UploadMb = 25,
    keys: Keys = None,
    voices: Voices = None,
    voice_aliases: Aliases = None,
    transcriber: TranscriberName = None,
    allow_origin: Origins = None,
    allow_host: HostNames = None,
    wyoming_port: WyomingPort = None,
    wyoming_without_keys: OpenWyoming = False,
    audit_log: AuditLog = "-",
    watermark: WatermarkOption = True,
) -> None:
    """Serve a model to many listeners.

    It speaks OpenAI's API (POST /v1/audio/speech and /v1/audio/voices; /v1/audio/transcriptions with --transcriber),
    with --wyoming-port Home Assistant's, and tells of itself at /health, /ready and /metrics. Told to stop, it takes no
    more requests, and goes when all has been said; told again, at once.
    """
    _require_extra()
    if wyoming_port is not None:
        _require_wyoming(needs_key=keys is not None and not wyoming_without_keys)
    from loquor.server.app import create_app
    from loquor.server.hosts import names_for
    from loquor.server.keys import Guard
    from loquor.server.running import Draining, bind
    from loquor.server.service import Limits
    from loquor.server.wiring import Server, warm_up

    limits = Limits(
        slots=slots, queue=queue, patience_s=patience, characters=max_characters, upload_bytes=max_upload * 10**6
    )
    guard = Guard(keys)
    with bind(host, port) as bound, _bind(host, wyoming_port) as wyoming:  # before the model is loaded
        import loquor

        speaker = load_speaker(model, device, adapter, audio_tokenizer, watermark, backend)
        service = _service(speaker, model, limits, Places(voices, voice_aliases, audit_log), transcriber)
        warm_up(speaker)
        facts = {"version": loquor.__version__}
        hosts = names_for(bound.getsockname()[0], host, allow_host or (), keys is not None)
        server = Server(service, guard, origins=tuple(allow_origin or ()), hosts=hosts, facts=facts)
        told = partial(_say_where, _addresses(host, bound, wyoming), slots, keys is not None)
        largest = max(limits.upload_bytes, limits.body_bytes) + FRAMING_BYTES
        beside = _beside(server, wyoming)
        Draining(create_app(server), service.admission, drain, told, beside, largest).run(sockets=[bound])


@dataclass(frozen=True)
class Places:
    """Files and folders an operator chose."""

    voices: Path | None
    voice_aliases: Path | None
    audit_log: str


@dataclass(frozen=True)
class ByModel:
    """A VITA-Audio model that is served, as what transcribes."""

    converser: Converser

    def transcribe(self, waveform: Waveform, sample_rate_hz: int) -> str:
        return self.converser.transcribe((waveform, sample_rate_hz))


def _service(
    speaker: AnySpeaker, model: str | None, limits: Limits, places: Places, transcriber: str | None
) -> Service:
    from loquor.configs import read_json
    from loquor.server.audit import Audit
    from loquor.server.service import Service
    from loquor.server.voice_store import VoiceStore
    from loquor.server.wiring import served_name, voice_folder

    known = {"-": Audit.to_stderr, "off": Audit.off}
    audit = known[places.audit_log]() if places.audit_log in known else Audit.to_file(Path(places.audit_log))
    ears = _transcriber(transcriber, speaker) if transcriber else None
    aliases = read_json(places.voice_aliases) if places.voice_aliases else None
    store = VoiceStore(speaker, voice_folder(places.voices), aliases, ears)
    return Service(speaker, served_name(model), store, limits, audit, ears)


def _transcriber(name: str, speaker: AnySpeaker) -> Transcriber:
    from loquor.engine.converser import Converser
    from loquor.evaluation.long_recordings import InPieces
    from loquor.evaluation.transcribers import open_transcriber

    if name != "model":
        return InPieces(open_transcriber(name))
    if not isinstance(speaker, Converser):
        raise typer.BadParameter("the model served cannot listen", param_hint="--transcriber")
    return ByModel(speaker)


def _bind(host: str, port: int | None) -> AbstractContextManager[socket.socket | None]:
    """A second port, if one is wanted."""
    from loquor.server.running import bind

    return nullcontext() if port is None else bind(host, port)


def _beside(server: Server, wyoming: socket.socket | None) -> list[Listener]:
    if wyoming is None:
        return []
    from loquor.server.wyoming.listener import Listener

    return [Listener(server, wyoming)]


def _addresses(host: str, *bound: socket.socket | None) -> list[str]:
    """Where they listen: HTTP, then Wyoming."""
    place = f"[{host}]" if ":" in host else host
    return [f"{kind}://{place}:{s.getsockname()[1]}" for kind, s in zip(("http", "tcp"), bound, strict=True) if s]


def _say_where(addresses: list[str], slots: int, needs_key: bool) -> None:
    address, *wyoming = addresses
    key = " -H 'Authorization: Bearer KEY'" if needs_key else ""
    typer.echo(f"Loquor speaks at {address} to {slots} at once; Ctrl-C stops it. Try:")
    typer.echo(
        f"curl -s {address}/v1/audio/speech{key} -H 'Content-Type: application/json' "
        '-d \'{"model": "loquor", "input": "Good morning."}\' -o speech.mp3'
    )
    for other in wyoming:
        typer.echo(f"For Home Assistant (Wyoming): {other}")


def _require_wyoming(needs_key: bool) -> None:
    from importlib.util import find_spec

    from loquor.errors import ConfigError, MissingExtra

    if needs_key:
        raise ConfigError(
            "Wyoming's clients have no keys: with --wyoming-port, whoever reaches that port could speak without one",
            hint="--wyoming-without-keys lets them; or leave out --keys or --wyoming-port",
        )
    if not find_spec("wyoming"):
        raise MissingExtra("--wyoming-port needs the wyoming package", hint="pip install 'loquor[serve,wyoming]'")


def _require_extra() -> None:
    from importlib.util import find_spec

    from loquor.errors import MissingExtra

    if not all(find_spec(name) for name in ("fastapi", "uvicorn", "python_multipart", "prometheus_client")):
        raise MissingExtra("serving needs FastAPI and uvicorn", hint="pip install 'loquor[serve]'")
