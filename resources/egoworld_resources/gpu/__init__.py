"""GPUs of this machine: which exist, which we may use, and who holds which."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from egoworld_resources.gpu.device import Device
from egoworld_resources.gpu.lease import Lease, NoGpu, NvmlFailed, lease
from egoworld_resources.gpu.visible import Visible, visible

__all__ = ["Device", "Lease", "NoGpu", "NvmlFailed", "Visible", "found_devices", "gpus", "lease", "leased", "visible"]


def found_devices() -> list[Device]:
    """All GPUs of this machine in PCI order, each with MIG as its instances. Raises NvmlFailed."""
    from egoworld_resources.gpu import nvml  # its binding takes a while to load, and most commands do not need it

    return nvml.found_devices()


def gpus() -> tuple[Device, ...]:
    """Those that CUDA_VISIBLE_DEVICES leaves us. Raises NvmlFailed."""
    return visible(found_devices()).devices


@contextmanager
def leased(folder: Path) -> Iterator[Lease]:
    """Hold one of the GPUs that CUDA_VISIBLE_DEVICES leaves us. Raises NoGpu, NvmlFailed, LockBusy."""
    left = visible(found_devices())
    with lease(folder, left.devices, left.notes) as held:
        yield held
