"""What `loquor doctor` looks at on the machine: interpreter, torch, processor, memory, audio formats."""

from __future__ import annotations

import os
import platform
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

from loquor.cli.checks import Check
from loquor.cli.console import in_bytes
from loquor.training.checkup.memory import available_bytes

FEATURES = ("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "amx_tile", "amx_bf16", "asimd", "bf16")
OPTIONAL = {  # what is not needed to speak: the extra that installs it, and the modules it brings
    "server": ("serve", ("fastapi", "uvicorn", "websockets", "prometheus_client", "python_multipart")),
    "wyoming": ("serve,wyoming", ("wyoming",)),
    "openvino": ("fast", ("openvino",)),
}
LITTLE_MEMORY = 2_000_000_000


def machine_checks() -> list[Check]:
    return [
        _python(),
        _torch(),
        _processor(),
        _accelerator(),
        _memory(),
        *_media(),
        *(_optional(name, *wanted) for name, wanted in OPTIONAL.items()),
        _instruments(),
        _voices_folder(),
    ]


def _python() -> Check:
    import loquor

    return Check("python", "ok", f"{platform.python_version()} on {platform.platform()}; loquor {loquor.__version__}")


def _torch() -> Check:
    import torch

    threads, processors = torch.get_num_threads(), _processors()
    detail = f"{torch.__version__}, {threads} threads, {processors:g} processors may be used"
    if threads > processors + 0.5:
        return Check(
            "torch", "warn", detail, f"threads wait for each other: set OMP_NUM_THREADS={max(int(processors), 1)}"
        )
    return Check("torch", "ok", detail)


def _processors() -> float:
    """Processors this process may use: its affinity, and the quota of its control group."""
    count = float(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1)
    quota, _, period = (_read("/sys/fs/cgroup/cpu.max") or "max 1").partition(" ")
    return min(count, int(quota) / int(period)) if quota.isdigit() else count


def _processor() -> Check:
    import torch

    capability = torch.backends.cpu.get_cpu_capability()
    known = set((_read("/proc/cpuinfo") or "").split())
    features = [name for name in FEATURES if name in known]
    detail = f"{platform.machine()}, torch uses {capability}; {' '.join(features) or 'features unknown'}"
    if capability in ("DEFAULT", "NO AVX") and platform.machine() in ("x86_64", "AMD64"):
        return Check("processor", "warn", detail, "no AVX2: expect several times slower speech")
    return Check("processor", "ok", detail)


def _accelerator() -> Check:
    import torch

    if torch.cuda.is_available():
        return Check("accelerator", "ok", ", ".join(map(torch.cuda.get_device_name, range(torch.cuda.device_count()))))
    return Check("accelerator", "ok", "none; speech is computed on the processor")


def _memory() -> Check:
    free = available_bytes()
    if free is None:
        return Check("memory", "ok", "unknown on this system")
    detail = f"{in_bytes(free)} available"
    if free < LITTLE_MEMORY:
        return Check("memory", "warn", detail, "a 0.5 billion parameter model wants 2 GB; the embedded voice 0.3 GB")
    return Check("memory", "ok", detail)


def _audio() -> Check:
    import soundfile

    from loquor.audio import CONTAINERS

    missing = [s for s, c in CONTAINERS.items() if not soundfile.check_format(c.format, c.subtype)]
    detail = f"{soundfile.__libsndfile_version__}, soundfile {soundfile.__version__}"
    if ".wav" in missing:
        return Check("audio files", "fail", f"{detail}: cannot even write .wav", "reinstall: pip install -U soundfile")
    if missing:
        return Check("audio files", "warn", f"{detail}: cannot write {', '.join(missing)}", "pip install -U soundfile")
    return Check("audio files", "ok", f"{detail}: {', '.join(CONTAINERS)}")


def _media() -> list[Check]:
    return [_audio(), _ffmpeg(), _playing()]


def _ffmpeg() -> Check:
    from loquor.audio.decode import EXTRA

    try:
        import av
    except ImportError:
        return Check("ffmpeg", "ok", "m4a, masters and chapters are not installed", f"if you want them: {EXTRA}")
    return Check("ffmpeg", "ok", f"{av.ffmpeg_version_info}, av {av.__version__}")


def _instruments() -> Check:
    """What speech is measured with: none is needed to speak."""
    from loquor.evaluation.mos import PACKAGE as PREDICTOR
    from loquor.evaluation.similarity import PACKAGE as ENCODER
    from loquor.evaluation.transcriber import PACKAGE as RECOGNISER
    from loquor.models.packaged import INSTALL_HINT
    from loquor.models.silero import PACKAGE as DETECTOR

    packages = (RECOGNISER, DETECTOR, PREDICTOR, ENCODER)
    found = [package.name for package in packages if package.is_installed]
    advice = "" if len(found) == len(packages) else f"if you want all: {INSTALL_HINT}"
    return Check("instruments", "ok", ", ".join(found) or "none is installed", advice)


def _optional(name: str, extra: str, modules: Sequence[str]) -> Check:
    missing = [module for module in modules if find_spec(module) is None]
    if missing:
        return Check(name, "ok", f"lacks {', '.join(missing)}", f"if you want it: pip install 'loquor[{extra}]'")
    return Check(name, "ok", "installed")


def _playing() -> Check:
    try:
        import sounddevice
    except ImportError:
        return Check("loudspeaker", "ok", "--play is not installed", "if you want it: pip install 'loquor[play]'")
    except OSError as error:
        return Check("loudspeaker", "warn", f"sounddevice lacks PortAudio: {error}", "apt install libportaudio2")
    try:
        device = sounddevice.query_devices(kind="output")
    except (sounddevice.PortAudioError, ValueError) as error:
        return Check("loudspeaker", "warn", f"none found: {error}", "--play needs one; -o FILE does not")
    return Check("loudspeaker", "ok", str(device["name"]))


def _voices_folder() -> Check:
    from loquor.voices.catalogue import user_voices

    folder = user_voices()
    existing = next(place for place in (folder, *folder.parents) if place.exists())
    if not existing.is_dir() or not os.access(existing, os.W_OK):
        return Check("voices folder", "warn", f"{folder} cannot be written", "set LOQUOR_VOICES to a folder of yours")
    return Check("voices folder", "ok", str(folder))


def _read(path: str) -> str | None:
    try:
        return Path(path).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError):
        return None
