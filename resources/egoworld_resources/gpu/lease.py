"""Leases of GPUs: one process group per GPU, by a lock that the kernel frees when the last holder is gone.

Each GPU has two files. gpu-<UUID>.lock is its own, whatever number it has to whom: in a container, after a card was
moved, with another CUDA_DEVICE_ORDER. gpu<minor>.lock is that of machines without NVML, and is taken too: it keeps out
a process that knows the GPU by its number alone. The instances of a GPU that is split by MIG share it.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from egoworld_resources.errors import LockBusy, Terminal, Transient
from egoworld_resources.gpu.device import Device
from egoworld_resources.leases.locks import open_lock, try_lock


class NoGpu(Terminal):
    """The model needs a GPU and this machine has none."""


class NvmlFailed(Transient):
    """The driver is there and does not answer as it should."""


@dataclass(frozen=True)
class Lease:
    """A held GPU, and the open descriptors that hold it.

    Hand the descriptors to the runner process too: then the GPU stays taken until that process is gone, even when
    the one that leased it was killed.
    """

    device: Device
    descriptors: tuple[int, ...]


@contextmanager
def lease(folder: Path, candidates: Sequence[Device], notes: Sequence[str] = ()) -> Iterator[Lease]:
    """Hold the first free device of ``candidates``. notes: why others are not among them.

    Raises NoGpu when there is none, LockBusy when all are taken.
    """
    if not candidates:
        why = "; ".join(notes) or "the machine has no visible NVIDIA GPU"
        raise NoGpu(f"this model env declares device = 'cuda', but {why}")
    folder.mkdir(parents=True, exist_ok=True)
    for device in candidates:
        descriptors = _held(folder, device)
        if descriptors is None:
            continue
        try:
            yield Lease(device, descriptors)
        finally:
            for descriptor in descriptors:
                os.close(descriptor)
        return
    raise LockBusy(f"all GPUs are leased ({', '.join(map(str, candidates))}); the run is tried again")


def _held(folder: Path, device: Device) -> tuple[int, ...] | None:
    """Descriptors that hold a device, or None when somebody else has it."""
    wanted = [(f"gpu{device.minor}.lock", bool(device.parent))]
    wanted += [(f"gpu-{device.uuid.replace('/', '_')}.lock", False)] if device.uuid else []
    held: list[int] = []
    for name, shared in wanted:
        held.append(open_lock(folder / name))
        if try_lock(held[-1], shared=shared):
            continue
        for descriptor in held:
            os.close(descriptor)
        return None
    return tuple(held)
