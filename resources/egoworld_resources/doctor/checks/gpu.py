"""GPUs, their driver, and whether PyTorch can use them; judged only when a model in force runs on one."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator, Mapping

from packaging.version import Version

from egoworld_resources.doctor.finding import Finding, Subject, check, fault, not_needed, ok, warning
from egoworld_resources.doctor.installed import interpreter
from egoworld_resources.doctor.subprocess_with_timeout import ask
from egoworld_resources.environments.catalog import ModelEnv
from egoworld_resources.environments.policy.drivers import OLDEST_DRIVER, cuda_version
from egoworld_resources.errors import EgoworldError
from egoworld_resources.gpu import NvmlFailed, found_devices, visible

NO_STAGE = "no stage in force uses a GPU"
ASK_DRIVER = ("--query-gpu=driver_version,name", "--format=csv,noheader")
INSTALL = "install NVIDIA's driver (Debian: sudo apt-get install nvidia-driver) and restart the machine"
NAMES = "name GPUs in CUDA_VISIBLE_DEVICES by number, GPU-... or MIG-... (nvidia-smi -L lists them), or unset it"
ASKS_TORCH = "import torch; print(torch.cuda.is_available(), torch.cuda.device_count(), torch.version.cuda)"


def on_gpu(subject: Subject) -> list[ModelEnv]:
    """The envs in force with a model that runs on a GPU."""
    found = {
        m.env for stage, m in subject.models().items() if m.device == "cuda" and stage not in subject.settings.on_cpu
    }
    return [subject.catalog.env(name) for name in sorted(found)]


@check("GPU")
def devices(subject: Subject) -> Iterator[Finding]:
    """The GPUs that leases are given out for, and what of CUDA_VISIBLE_DEVICES names none."""
    envs = on_gpu(subject)
    if not envs:
        yield not_needed("devices", NO_STAGE)
        return
    try:
        left = visible(found_devices())
    except NvmlFailed as error:
        yield fault("devices", str(error), "sudo dmesg | grep NVRM says what it lacks")
        return
    if not left.devices:
        needing = ", ".join(env.name for env in envs)
        fix = f"{INSTALL}; in a container pass the GPUs on; or choose another env under [stages]"
        why = "; ".join(left.notes) or "there is no NVIDIA GPU"
        yield fault("devices", f"{why}; {needing} runs on a GPU", f"{NAMES}; {fix}" if left.notes else fix)
        return
    for note in left.notes:
        yield warning("CUDA_VISIBLE_DEVICES", note, NAMES)
    for device in left.devices:
        yield ok("devices", str(device))
    if not left.devices[0].uuid:
        fix = "install the library of the driver (Debian: libnvidia-ml1), in a container the utility capability"
        yield warning("NVML", "libnvidia-ml.so.1 is missing: GPUs are leased by device file, not by UUID", fix)


@check("NVIDIA driver")
def driver(subject: Subject) -> Iterator[Finding]:
    """The driver, by nvidia-smi, against the CUDA of each lock."""
    envs = on_gpu(subject)
    if not envs:
        yield not_needed("nvidia-smi", NO_STAGE)
        return
    program = shutil.which("nvidia-smi")
    if program is None:
        yield fault("nvidia-smi", "not on PATH", INSTALL)
        return
    answer = ask([program, *ASK_DRIVER], min(20.0, subject.patience_s))
    version, _, name = answer.out.partition("\n")[0].partition(",")
    if answer.status is None:
        yield fault("nvidia-smi", answer.ending, "the driver hangs (sudo dmesg | grep NVRM): restart the machine")
    elif answer.status != 0 or not re.fullmatch(r"\d+(\.\d+)*", version.strip()):
        said = answer.ending if answer.status else f"printed {answer.words!r}"
        yield fault("nvidia-smi", said, f"sudo modprobe nvidia, and run nvidia-smi by hand; else {INSTALL}")
    else:
        yield ok("nvidia-smi", f"driver {version.strip()}, {name.strip()}")
        for env in envs:
            yield _fits(subject, env, Version(version.strip()))


def _fits(subject: Subject, env: ModelEnv, found: Version) -> Finding:
    try:
        cuda = cuda_of(subject.catalog.packages(env.name))
    except EgoworldError as error:
        return fault(env.name, str(error), f"make lock ENV={env.name}")
    if cuda is None or cuda not in OLDEST_DRIVER:
        what = "names no CUDA" if cuda is None else f"has CUDA {cuda}, whose oldest driver is not known here"
        fix = "compare with NVIDIA's table of CUDA compatibility, or lock a build for CUDA 12 or 13"
        return warning(env.name, f"its lock {what}", fix)
    oldest = OLDEST_DRIVER[cuda]
    if found < oldest:
        fix = f"upgrade NVIDIA's driver to {oldest} or newer, or lock {env.name} with packages for an older CUDA"
        return fault(env.name, f"its lock has CUDA {cuda}, which needs driver {oldest}; this is {found}", fix)
    return ok(env.name, f"CUDA {cuda} runs from driver {oldest} on")


def cuda_of(packages: Mapping[str, str]) -> int | None:
    """The major version of CUDA of a lock: from its runtime package, else from torch's local version (+cu124)."""
    answer = cuda_version(packages)
    return Version(answer).major if answer else None


@check("torch.cuda")
def torch_cuda(subject: Subject) -> Iterator[Finding]:
    """Whether PyTorch sees a GPU, asked in the env's own interpreter."""
    envs = on_gpu(subject)
    if not envs:
        yield not_needed("is_available", NO_STAGE)
    for env in envs:
        try:
            with_torch = "torch" in subject.catalog.packages(env.name)
        except EgoworldError as error:
            yield fault(env.name, str(error), f"make lock ENV={env.name}")
            continue
        python = interpreter(subject, env)
        if not with_torch:
            yield not_needed(env.name, "its lock has no torch")
        elif python is None:
            yield warning(env.name, "cannot be asked: the env is not built yet", "make envs, then run this again")
        else:
            answer = ask([python, "-I", "-c", ASKS_TORCH], subject.patience_s)
            if answer.status == 0 and answer.out.startswith("True"):
                _, count, cuda = answer.out.split()
                yield ok(env.name, f"{count} GPU, CUDA {cuda}")
            else:
                said = "is False" if answer.status == 0 else answer.ending
                fix = "see the checks of GPU and driver; then ask by hand: " + f"{python} -c '{ASKS_TORCH}'"
                yield fault(env.name, f"torch.cuda.is_available() {said}", fix)
