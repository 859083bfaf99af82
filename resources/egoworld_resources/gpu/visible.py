"""Which GPUs CUDA_VISIBLE_DEVICES leaves, read as CUDA reads it: it stops at the first entry that names none.

https://docs.nvidia.com/cuda/cuda-c-programming-guide, environment variables; MIG user guide, CUDA visible devices.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from egoworld_resources.gpu.device import Device

NAME = "CUDA_VISIBLE_DEVICES"
ORDER, BY_PCI = "CUDA_DEVICE_ORDER", "PCI_BUS_ID"
NONE = {"-1": "hides every GPU from there on", "NoDevFiles": "hides every GPU"}


@dataclass(frozen=True)
class Visible:
    """The devices that are left, each once, in the order named. notes: why entries of the variable name no device."""

    devices: tuple[Device, ...]
    notes: tuple[str, ...] = ()


def visible(found: Sequence[Device], environment: Mapping[str, str] = os.environ) -> Visible:
    """Narrow devices to those that the variable names: by number, by UUID or its beginning, or by MIG name.

    A GPU that is split by MIG means its instances.
    """
    variable = environment.get(NAME)
    if variable is None:
        return Visible(tuple(found))
    entries = [entry.strip() for entry in variable.split(",")]
    if not variable.strip():
        return Visible((), (f"{NAME} is set and empty: it hides every GPU",))
    devices: dict[Device, None] = {}
    notes: list[str] = []
    for number, entry in enumerate(entries):
        named, why = _named(entry, found, environment)
        if not named:
            rest = [one for one in entries[number + 1 :] if one]
            behind = f"; CUDA stops there, so {', '.join(rest)} is hidden too" if rest else ""
            notes += [f"{NAME}: {why}{behind}"] if entry or rest else []
            break
        if any(device in devices for device in named):
            notes.append(f"{NAME} names {entry} twice; it counts once")
        devices.update(dict.fromkeys(named))
    return Visible(tuple(devices), tuple(notes))


def _named(entry: str, found: Sequence[Device], environment: Mapping[str, str]) -> tuple[list[Device], str]:
    """The devices that one entry names, or why it names none."""
    if entry in NONE:
        return [], f"{entry} {NONE[entry]}"
    if re.fullmatch(r"\d+", entry, re.ASCII):
        return _numbered(int(entry), found, environment)
    if re.fullmatch(r"(GPU|MIG)-.+", entry):
        if found and not any(device.uuid for device in found):
            return [], f"{entry} cannot be looked up without NVML (libnvidia-ml.so.1); name the GPU by its number"
        return _by_uuid(entry, found)
    return [], f"'{entry}' is neither a number nor a UUID (GPU-..., MIG-...)"


def _numbered(number: int, found: Sequence[Device], environment: Mapping[str, str]) -> tuple[list[Device], str]:
    kinds = {device.name.partition(" MIG ")[0] for device in found}
    if len(kinds) > 1 and environment.get(ORDER) != BY_PCI:
        why = f"{number} is another GPU to CUDA, which counts the fastest first, than to nvidia-smi"
        return [], f"{why} ({', '.join(sorted(kinds))}); name it by UUID, or set {ORDER}={BY_PCI}"
    named = [device for device in found if device.index == number]
    return named, f"there is no GPU {number}"


def _by_uuid(entry: str, found: Sequence[Device]) -> tuple[list[Device], str]:
    exact = [device for device in found if entry in (device.uuid, device.old_mig_name, device.parent)]
    if exact:
        return exact, ""
    uuids = {uuid for device in found for uuid in (device.uuid, device.parent) if uuid.startswith(entry)}
    if len(uuids) > 1:
        return [], f"{entry} is the beginning of several UUIDs: {', '.join(sorted(uuids))}"
    return [device for device in found if uuids & {device.uuid, device.parent}], f"there is no {entry}"
