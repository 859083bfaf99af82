"""Leases of GPUs: one process group per GPU, by flock, freed by the kernel when the last holder is gone."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from egoworld_resources.errors import LockBusy, Terminal
from egoworld_resources.locks import open_lock


class NoGpu(Terminal):
    """The model needs a GPU and this machine has none."""


@dataclass(frozen=True)
class Lease:
    """A held GPU: its index, and the open descriptor that holds it.

    Hand the descriptor to the runner process too: then the GPU stays taken until that process is gone, even when
    the one that leased it was killed.
    """

    gpu: int
    descriptor: int


def gpus(devices: Path = Path("/dev")) -> list[int]:
    """Indices of the NVIDIA GPUs of this machine, from their device files; CUDA_VISIBLE_DEVICES narrows them."""
    found = sorted(int(p.name[6:]) for p in devices.glob("nvidia[0-9]*") if p.name[6:].isdigit())
    allowed = os.environ.get("CUDA_VISIBLE_DEVICES")
    if allowed is None:
        return found
    return [gpu for gpu in found if str(gpu) in {part.strip() for part in allowed.split(",")}]


@contextmanager
def lease(folder: Path, candidates: list[int]) -> Iterator[Lease]:
    """Hold the first free GPU of ``candidates``. Raises NoGpu when there is none, LockBusy when all are taken."""
    if not candidates:
        raise NoGpu("this model env declares device = 'cuda', but the machine has no visible NVIDIA GPU")
    folder.mkdir(parents=True, exist_ok=True)
    for gpu in candidates:
        descriptor = open_lock(folder / f"gpu{gpu}.lock")
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            continue
        try:
            yield Lease(gpu, descriptor)
        finally:
            os.close(descriptor)
        return
    raise LockBusy(f"all GPUs are leased ({', '.join(map(str, candidates))}); the run is tried again")
