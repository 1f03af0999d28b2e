"""What the machine is and how busy it was: no latency can be compared without it. Linux tells; elsewhere less is known."""

from __future__ import annotations

import os
import platform
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PROC = Path("/proc")


@dataclass(frozen=True)
class Ticks:
    """All cores together, since the machine started, in the kernel's ticks."""

    busy: int
    idle: int
    steal: int
    """Taken by the hypervisor: time in which this machine wanted to run and was not let."""

    def share(self, since: Ticks) -> dict[str, float]:
        whole = max(1, self.busy + self.idle + self.steal - since.busy - since.idle - since.steal)
        return {
            "busy": round((self.busy - since.busy) / whole, 3),
            "steal": round((self.steal - since.steal) / whole, 4),
        }


class Watched:
    """The machine from its making to `facts`."""

    def __init__(self) -> None:
        self._load = os.getloadavg()[0]
        self._ticks = ticks()

    def facts(self) -> dict[str, Any]:
        return {
            "cpu": cpu_name(),
            "cpu_count": os.cpu_count(),
            "cores_allowed": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
            "python": platform.python_version(),
            "load_before": round(self._load, 2),
            "load_after": round(os.getloadavg()[0], 2),
            **ticks().share(self._ticks),
        }


def ticks() -> Ticks:
    """All zero where there is no /proc/stat."""
    try:
        fields = [int(field) for field in (PROC / "stat").read_text().split("\n", 1)[0].split()[1:9]]
    except (OSError, ValueError):
        return Ticks(0, 0, 0)
    user, nice, system, idle, iowait, irq, softirq, steal = fields
    return Ticks(user + nice + system + irq + softirq, idle + iowait, steal)


def cpu_name() -> str:
    try:
        lines = (PROC / "cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.machine())


@dataclass(frozen=True)
class Usage:
    """One process, now."""

    cpu_s: float
    rss_mb: float
    threads: int
    descriptors: int


def usage(pid: int) -> Usage:
    """Raises `OSError` for a process that is gone, or where there is no /proc."""
    folder = PROC / str(pid)
    stat = (folder / "stat").read_text().rsplit(")", 1)[1].split()
    cpu_s = (int(stat[11]) + int(stat[12])) / os.sysconf("SC_CLK_TCK")
    rss_mb = int((folder / "statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6
    return Usage(cpu_s, rss_mb, int(stat[17]), len(os.listdir(folder / "fd")))
