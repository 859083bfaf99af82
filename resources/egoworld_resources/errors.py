"""What can go wrong outside a model. Errors of one system lie beside it; this is the whole tree.

EgoworldError
├── Transient              trying again may help; Dagster retries it
│   ├── NvmlFailed         NVIDIA's driver is there and does not answer (gpu)
│   ├── LockBusy           another process holds the lease or lock
│   ├── DiskFull           no space left where something is to be written
│   ├── StoreUnreachable   the S3 server does not answer as it should
│   ├── IndexAway          the database of what is made does not answer, or cannot be written
│   ├── SandboxFailed      a program could not be run apart (sandbox)
│   ├── HubUnreachable     a hub of models does not answer, stalls or breaks off (weights)
│   └── IndexUnreachable   the package index does not answer (environments)
├── FabricError            envs of workflows: each with a code and an HTTP status (workflow_envs/errors.py)
└── Terminal               trying again gives the same; the message says what to do
    ├── BadConfiguration   a setting is wrong
    │   ├── BucketMissing  the S3 server has no bucket of that name
    │   ├── BadDeclaration, LockMissing, LockStale   a model env's folder or lock is wrong (environments)
    │   └── InvalidOptions of the sample renderer (sample)
    ├── UnknownName        an asset, stage, env or video that does not exist; lists those that do
    ├── DamagedArtifact    stored bytes are not those that the manifest names
    ├── StoreRefused       the S3 server knows our key and does not allow this
    ├── CannotReproduce    what made an artifact is not here any more (reproduce)
    ├── RunnerFailed       the runner process ended without doing its job
    ├── MemoryShort        the same for want of memory: of the machine's, or of what a runner may have
    ├── Refused            a file cannot become a video (arrivals)
    ├── NoGpu              the model needs a GPU and there is none (gpu)
    ├── WeightsMissing     a weights file is absent or another (weights)
    ├── WeightsRefused     a model is not taken in: its files are not those promised (weights)
    ├── LockRefused, EnvBuildFailed, EnvDamaged   (environments)
    └── BadSource, LicenceRefused                 (dataset)

What is raised while an artifact is made is a fault of the machine, of an env or of ours, whichever class it has: it is
never held against a video (causes). A video fails by what the runner reports of its clips, and by checks.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any


class EgoworldError(Exception):
    """Root of the tree. The message says what happened, to what, and what to do; ``details`` are facts for programs."""

    details: Mapping[str, Any] = MappingProxyType({})


class Transient(EgoworldError):
    """Trying again may help."""


class LockBusy(Transient):
    """Another process holds what is needed."""


class DiskFull(Transient):
    """No space is left where something is to be written; nothing half-written stays."""

    def __init__(self, message: str, folder: Path | None = None) -> None:
        super().__init__(message)
        self.folder = folder


class StoreUnreachable(Transient):
    """The S3 server does not answer, or not as it should."""


class IndexAway(Transient):
    """The database of what is made does not answer, or cannot be written."""


class Terminal(EgoworldError):
    """Trying again gives the same result."""


class BadConfiguration(Terminal):
    """A setting is wrong; the message names it and where it came from."""


class BucketMissing(BadConfiguration):
    """The S3 server has no bucket of that name."""


class UnknownName(Terminal):
    """A name that nothing has."""

    def __init__(self, kind: str, name: str, known: Iterable[str]) -> None:
        listed = ", ".join(sorted(known)) or "none"
        super().__init__(f"unknown {kind} '{name}'; known: {listed}")
        self.kind = kind


class DamagedArtifact(Terminal):
    """Stored bytes differ from their manifest."""


class StoreRefused(Terminal):
    """The S3 server does not allow it with our key."""


class RunnerFailed(Terminal):
    """A runner process ended without doing its job."""


class MemoryShort(Terminal):
    """There is no memory for a runner, of the machine's or of what it may have.

    It is not tried again at once: each try may cost another process its life.
    """


TOOK_MORE = "took more memory than"
MEMORY_WORDS = (TOOK_MORE, "not enough memory", "MemoryError", "Cannot allocate memory", "std::bad_alloc")
"""How we, the contract, Python, the kernel and C++ say that there was no more."""


def speaks_of_memory(reason: str) -> bool:
    """Whether a runner, or one of its clips, ended for want of memory."""
    return any(word in reason for word in MEMORY_WORDS)


class CheckRaised(Exception):
    """A check of a stage ended with an exception instead of a verdict."""

    def __init__(self, check: str, error: Exception) -> None:
        super().__init__(f"the check {check} ended with {type(error).__name__}: {error}")
        self.check = check
