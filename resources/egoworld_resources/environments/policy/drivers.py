"""NVIDIA's driver: the oldest that the CUDA of a lock runs on, and the one of this machine."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

from packaging.version import Version

from egoworld_resources.programs.environment import environment_of

OLDEST_DRIVER = {11: Version("450"), 12: Version("525"), 13: Version("580")}
"""Driver by major version of CUDA: docs.nvidia.com/deploy/cuda-compatibility/minor-version-compatibility.html"""

LOADED = Path("/proc/driver/nvidia/version")
"""Written by the kernel module while it is loaded; a container sees the host's."""


def cuda_version(packages: Mapping[str, str]) -> str:
    """The CUDA of a lock: from its runtime package ("12.8.90"), else from torch's local version ("12.4"); "" if none.

    packages: name to version, as the lock has them.
    """
    for name, version in packages.items():
        if re.fullmatch(r"nvidia-cuda-runtime(-cu\d+)?", name):
            return version
    local = re.fullmatch(r"cu(\d+)(\d)", Version(packages.get("torch", "0")).local or "")
    return f"{local[1]}.{local[2]}" if local else ""


def oldest_driver(cuda: str) -> Version | None:
    """The oldest driver that a version of CUDA runs on, or None where that is not known here."""
    return OLDEST_DRIVER.get(Version(cuda).major) if cuda else None


def host_driver(loaded: Path = LOADED, path: str | None = None) -> str:
    """The version of the driver that this machine's kernel has loaded, as it writes it; "" when it has none.

    Where /proc does not show it (some sandboxes hide it) nvidia-smi is used, found on ``path`` (default: PATH).
    """
    try:
        text = loaded.read_text(encoding="utf-8")
    except OSError:
        program = shutil.which("nvidia-smi", path=path)
        text = f"Kernel Module {_queried(program)} " if program else ""
    found = re.search(r"Kernel Module.*?\s(\d+(?:\.\d+)+)\s", text)
    return found[1] if found else ""


def _queried(program: str) -> str:
    command = [program, "--query-gpu=driver_version", "--format=csv,noheader"]
    try:
        done = subprocess.run(command, env=environment_of(), capture_output=True, text=True, check=False, timeout=20)
    except (OSError, subprocess.TimeoutExpired):
        return ""  # a driver that does not answer counts as absent
    return done.stdout.partition("\n")[0].strip() if done.returncode == 0 else ""
