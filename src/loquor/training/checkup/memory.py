"""How much memory there is, and how much a step of training takes at its most."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import torch


def available_bytes() -> int | None:
    """What the system, and the control group of this process, still give; None where that is not told."""
    lines = (_read("/proc/meminfo") or "").splitlines()
    kilobytes = {line.partition(":")[0]: int(line.split()[1]) for line in lines if len(line.split()) > 1}
    if "MemAvailable" not in kilobytes:
        return None
    free = 1024 * kilobytes["MemAvailable"]
    limit, used = _read("/sys/fs/cgroup/memory.max"), _read("/sys/fs/cgroup/memory.current")
    if limit and used and limit.isdigit():
        free = min(free, max(int(limit) - int(used), 0))
    return free


def available_on(device: torch.device) -> int | None:
    """The same, of a device."""
    return int(torch.cuda.mem_get_info(device)[0]) if device.type == "cuda" else available_bytes()


class Peak:
    """The most memory in use since it was made; on the CPU that of the whole process."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(device)
            return
        with suppress(OSError):
            Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # the kernel forgets the peak so far

    def bytes(self) -> int | None:
        """None where the system does not tell."""
        if self.device.type == "cuda":
            return int(torch.cuda.max_memory_allocated(self.device))
        lines = (_read("/proc/self/status") or "").splitlines()
        return next((1024 * int(line.split()[1]) for line in lines if line.startswith("VmHWM:")), None)


def _read(path: str) -> str | None:
    try:
        return Path(path).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError):
        return None
