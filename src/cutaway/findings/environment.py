"""Where a run took place: versions, machine, commit. Read without importing what it names."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from importlib import metadata
from pathlib import Path

from ..version import __version__

_PACKAGES = ("torch", "numpy", "scipy", "safetensors", "tokenizers")


def versions() -> dict[str, str]:
    """Versions of Cutaway, Python and the packages that the numbers come from.

    Example:
        >>> sorted(versions())[:2]
        ['cutaway', 'numpy']
    """
    found = {"cutaway": __version__, "python": platform.python_version()}
    for name in _PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def machine(device: str = "cpu") -> dict[str, str | int]:
    """The processor, how many cores this process may use, the operating system, and the GPU.

    Args:
        device: what the run computes on; for "cuda" or "cuda:1" the name of that GPU is added,
            if torch is loaded by now and sees it.

    Example:
        >>> list(machine())
        ['cpu', 'cores', 'platform']
    """
    found: dict[str, str | int] = {
        "cpu": _cpu_name(),
        "cores": _cores(),
        "platform": platform.platform(),
    }
    gpu = _gpu_name(device)
    return {**found, "gpu": gpu} if gpu else found


def git_commit() -> str | None:
    """The commit of Cutaway's own source, with "+changes" if files differ from it.

    None where Cutaway is installed rather than checked out: its version says enough there, and
    the commit of a repository that merely surrounds it would mislead.
    """
    here = Path(__file__).resolve()
    if _git(here.parent, "ls-files", "--error-unmatch", here.name) is None:
        return None
    commit = _git(here.parent, "rev-parse", "HEAD")
    if commit is None:
        return None
    return f"{commit}+changes" if _git(here.parent, "status", "--porcelain") else commit


def _git(folder: Path, *arguments: str) -> str | None:
    """What git prints, None where there is no git or it refuses."""
    try:
        done = subprocess.run(
            ("git", *arguments), cwd=folder, capture_output=True, text=True, timeout=10
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def _cpu_name() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, "") or platform.processor() or platform.machine()


def _gpu_name(device: str) -> str:
    """The name of a CUDA device, empty where there is none. Does not import torch."""
    torch = sys.modules.get("torch")
    if torch is None or not device.startswith("cuda") or not torch.cuda.is_available():
        return ""
    return str(torch.cuda.get_device_name(device))


def _cores() -> int:
    if sys.platform == "linux":
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
