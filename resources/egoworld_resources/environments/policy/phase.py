"""In which phase each env is: A our own interpreter, B an env of its own, C an image; and what C still lacks."""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from packaging.version import Version

from egoworld_resources.environments.catalog import BASE, Catalog
from egoworld_resources.environments.policy.drivers import LOADED, cuda_version, host_driver, oldest_driver
from egoworld_resources.errors import EgoworldError

RUNTIMES = ("podman", "docker", "apptainer")
TOOLKIT = ("nvidia-ctk", "nvidia-container-cli")
"""Programs of NVIDIA's container toolkit, which gives an image the host's driver."""


@dataclass(frozen=True)
class Host:
    """What of this machine decides whether an image could run: driver, container runtimes, NVIDIA's toolkit."""

    driver: str
    runtimes: tuple[str, ...]
    toolkit: bool

    @classmethod
    def of_this_machine(cls, loaded: Path = LOADED, path: str | None = None) -> Host:
        """``loaded`` and ``path`` (folders, as in PATH) say where to look."""
        present = [name for name in (*RUNTIMES, *TOOLKIT) if shutil.which(name, path=path)]
        runtimes = tuple(name for name in present if name in RUNTIMES)
        return cls(host_driver(loaded, path), runtimes, any(name in TOOLKIT for name in present))

    def summary(self) -> str:
        """One sentence on this machine."""
        driver = f"NVIDIA driver {self.driver}" if self.driver else "no NVIDIA driver on this machine"
        return f"{driver}; container runtime: {', '.join(self.runtimes) or 'none'}"


@dataclass(frozen=True)
class Phase:
    """The phase of one env. driver: the oldest that its CUDA runs on ("" without CUDA); lacks: what C waits for."""

    env: str
    phase: str
    why: str
    driver: str
    lacks: tuple[str, ...]


def phases(catalog: Catalog, names: Iterable[str], host: Host) -> list[Phase]:
    """The phase of each env, and what the driver gate for C lacks; an unreadable lock is reported there."""
    return [_phase(catalog, name, host) for name in names]


def _phase(catalog: Catalog, name: str, host: Host) -> Phase:
    env = catalog.env(name)
    whose = "its own env" if env.runs_in == name else f"the env of {env.runs_in}"
    phase, why = ("A", "our own interpreter") if env.runs_in == BASE else ("B", f"{whose}, as a subprocess")
    try:
        cuda = cuda_version(catalog.packages(name))
    except EgoworldError as error:
        return Phase(name, phase, why, "", (str(error),))
    oldest = oldest_driver(cuda)
    lacks = [*_driver_gate(cuda, oldest, host)] if cuda else []
    if not host.runtimes:
        lacks.append(f"no container runtime ({', '.join(RUNTIMES)}) on this machine")
    return Phase(name, phase, why, str(oldest or ""), tuple(lacks))


def _driver_gate(cuda: str, oldest: Version | None, host: Host) -> Iterable[str]:
    if oldest is None:
        yield f"which driver CUDA {cuda} needs is not known here"
    elif not host.driver:
        yield f"no NVIDIA driver on this machine; CUDA {cuda} needs {oldest} or newer"
    elif Version(host.driver) < oldest:
        yield f"driver {host.driver} is older than {oldest}, which CUDA {cuda} needs"
    if not host.toolkit:
        yield f"no NVIDIA container toolkit ({TOOLKIT[0]}) to give an image the driver"
