"""The GPUs of this machine by NVML, the library that comes with NVIDIA's driver; without it, by their device files."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pynvml as nvml

from egoworld_resources.gpu.device import Device
from egoworld_resources.gpu.lease import NvmlFailed

NOT_THERE = (nvml.NVML_ERROR_LIBRARY_NOT_FOUND, nvml.NVML_ERROR_DRIVER_NOT_LOADED)
"""No driver: then device files decide, if there are any."""

NO_MIG = (nvml.NVML_ERROR_NOT_SUPPORTED, nvml.NVML_ERROR_NOT_FOUND, nvml.NVML_ERROR_FUNCTION_NOT_FOUND)


def found_devices(devices: Path = Path("/dev")) -> list[Device]:
    """All GPUs in PCI order, each with MIG as its instances; CUDA_VISIBLE_DEVICES is ignored. Raises NvmlFailed."""
    try:
        with _initialised():
            return [device for index in range(int(nvml.nvmlDeviceGetCount())) for device in _of(index)]
    except nvml.NVMLError as error:
        if error.value in NOT_THERE:  # pyright: ignore[reportAttributeAccessIssue] set in NVMLError.__new__
            return by_device_files(devices)
        raise NvmlFailed(
            f"NVIDIA's driver does not answer ({error}); run nvidia-smi by hand; after an upgrade restart the machine"
        ) from error


def by_device_files(devices: Path) -> list[Device]:
    """The GPUs that have a device file, without their UUIDs."""
    numbers = sorted(int(path.name[6:]) for path in devices.glob("nvidia[0-9]*") if path.name[6:].isdigit())
    return [Device(number, number) for number in numbers]


@contextmanager
def _initialised() -> Iterator[None]:
    nvml.nvmlInit()
    try:
        yield
    finally:
        nvml.nvmlShutdown()


def _of(index: int) -> Iterator[Device]:
    """A GPU, or its MIG instances when it is split; one that is split into none gives nothing to run on."""
    handle: Any = nvml.nvmlDeviceGetHandleByIndex(index)
    minor, uuid, name = (
        ask(handle) for ask in (nvml.nvmlDeviceGetMinorNumber, nvml.nvmlDeviceGetUUID, nvml.nvmlDeviceGetName)
    )
    if not _unless(NO_MIG, lambda: nvml.nvmlDeviceGetMigMode(handle)[0], 0):
        yield Device(index, int(minor), str(uuid), str(name))
        return
    for number in range(int(nvml.nvmlDeviceGetMaxMigDeviceCount(handle))):
        part = _unless(NO_MIG, lambda number=number: nvml.nvmlDeviceGetMigDeviceHandleByIndex(handle, number), None)
        if part is not None:
            ids = f"{nvml.nvmlDeviceGetGpuInstanceId(part)}/{nvml.nvmlDeviceGetComputeInstanceId(part)}"
            own = str(nvml.nvmlDeviceGetUUID(part))
            yield Device(index, int(minor), own, str(nvml.nvmlDeviceGetName(part)), parent=str(uuid), instance=ids)


def _unless(errors: tuple[int, ...], ask: Callable[[], Any], otherwise: Any) -> Any:
    try:
        return ask()
    except nvml.NVMLError as error:
        if error.value not in errors:  # pyright: ignore[reportAttributeAccessIssue] set in NVMLError.__new__
            raise
        return otherwise
