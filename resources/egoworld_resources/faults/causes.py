"""Which fault of the machine, of an env or of ours an exception is: what it is called, what it holds up, what to do.

Whatever is raised while an artifact is made is one of these, and no video is condemned for it. Two exceptions with the
same key have the same cause: it is reported once and retried once, however many videos wait for it.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from egoworld_resources.environments.errors import (
    BadDeclaration,
    EnvBuildFailed,
    EnvDamaged,
    IndexUnreachable,
    LockMissing,
    LockRefused,
    LockStale,
    UvMissing,
)
from egoworld_resources.errors import (
    BadConfiguration,
    BucketMissing,
    CheckRaised,
    DamagedArtifact,
    DiskFull,
    IndexAway,
    LockBusy,
    MemoryShort,
    RunnerFailed,
    StoreRefused,
    StoreUnreachable,
    UnknownName,
    speaks_of_memory,
)
from egoworld_resources.gpu import NoGpu, NvmlFailed
from egoworld_resources.weights import WeightsMissing

Reach = Literal["all", "gpu", "env", "stage", "video"]
"""What a cause holds up: every stage, those on a GPU, those of the envs or the stages that met it, or only the videos
that met it."""

ENV_FAULTS = (BadDeclaration, EnvBuildFailed, EnvDamaged, IndexUnreachable, LockMissing, LockRefused, LockStale)
SAID = 600
"""Characters of an exception's words that are kept."""


@dataclass(frozen=True)
class Work:
    """What was being done: a stage, the env that serves it, and whether that needs a GPU."""

    stage: str
    env: str
    gpu: bool = False


@dataclass(frozen=True)
class Cause:
    """A fault that does not belong to a video.

    key: the same for the same cause; title: in a few words; detail: the words of the exception; fix: what a person
    does. sure: whether one video that met it shows that others would; otherwise several in a row must meet it.
    """

    key: str
    title: str
    detail: str
    fix: str
    reach: Reach
    sure: bool = True


def cause_of(error: BaseException, work: Work) -> Cause:
    """The cause that an exception shows while some work was done."""
    key, title, fix, reach, sure = _named(error, work) or _of_ours(error, work)
    return Cause(key, title, " ".join(str(error).split())[:SAID] or type(error).__name__, fix, reach, sure)


Named = tuple[str, str, str, Reach, bool]


def _named(error: BaseException, work: Work) -> Named | None:
    """Key, title, fix, reach and certainty of what has a class of its own; None for anything else."""
    for classes, name in NAMES:
        if isinstance(error, classes):
            return name(error, work)
    return None


def _disk(error: BaseException, _work: Work) -> Named:
    folder = getattr(error, "folder", None)
    where = str(mount_of(folder) if folder else "")
    return f"disk/{where}", f"no space left on {where or 'a disk'}", f"free some: df -h {where}".strip(), "all", True


def mount_of(folder: Path) -> Path:
    """The mount point of the file system that a folder is on, or will be on."""
    folder = folder.absolute()
    while not folder.is_dir() or not os.path.ismount(folder):
        folder = folder.parent
    return folder


def _env(error: BaseException, work: Work) -> Named:
    if any(sign in str(error) for sign in ("No space left on device", "os error 28")):
        return "disk/envs", "no space left where envs are built", "free some: uv cache prune, df -h", "all", True
    fix = f"egoworld doctor; make lock ENV={work.env} when its lock or declaration is wrong"
    return f"env/{work.env}", f"env '{work.env}' cannot be used", fix, "env", True


def _stage(key: str, title: str, fix: str, *, sure: bool = True) -> Callable[[BaseException, Work], Named]:
    """A cause that holds up one stage."""

    def named(_error: BaseException, work: Work) -> Named:
        facts = {"stage": work.stage, "env": work.env}
        return f"{key}/{work.stage}/{work.env}", title.format(**facts), fix.format(**facts), "stage", sure

    return named


def _fixed(key: str, title: str, fix: str, reach: Reach) -> Callable[[BaseException, Work], Named]:
    """A cause that is the same whatever was done."""
    return lambda _error, _work: (key, title, fix, reach, True)


NAMES: tuple[
    tuple[type[BaseException] | tuple[type[BaseException], ...], Callable[[BaseException, Work], Named]], ...
] = (
    (DiskFull, _disk),
    (
        NvmlFailed,
        _fixed("gpu/driver", "NVIDIA's driver does not answer", "run nvidia-smi; sudo dmesg | grep NVRM", "gpu"),
    ),
    (NoGpu, _fixed("gpu/none", "no GPU", "nvidia-smi must list one; or choose an env for the CPU in [stages]", "gpu")),
    (LockBusy, _fixed("gpu/busy", "all GPUs are leased", "wait, or see who holds them: fuser -v data/leases/*", "gpu")),
    (
        IndexAway,
        _fixed(
            *("index/away", "the index of what is made cannot be used"),
            "`make ps` shows whether Postgres runs; at home egoworld fsck --reindex",
            "all",
        ),
    ),
    (StoreUnreachable, _fixed("store/away", "the store does not answer", "check S3_ENDPOINT and its server", "all")),
    (
        StoreRefused,
        _fixed("store/refused", "the store refuses our key", "check S3_ACCESS_KEY and S3_SECRET_KEY", "all"),
    ),
    (BucketMissing, _fixed("store/bucket", "a bucket is missing", "egoworld buckets makes it", "all")),
    (
        UvMissing,
        _fixed("uv", "uv cannot be run, so no env can be built", "make setup, or set uv in egoworld.toml", "env"),
    ),
    (ENV_FAULTS, _env),
    (
        WeightsMissing,
        _stage("weights", "weights of env '{env}' are missing or changed", "put them back: egoworld doctor"),
    ),
    (
        RunnerFailed,
        _stage(
            "runner",
            "the runner of {stage} (env '{env}') does not work",
            "correct its runner.py or its env; what is wrong with the env: egoworld doctor",
        ),
    ),
    (
        MemoryShort,
        _stage(
            *("memory", "memory is short at {stage}"),
            "end what takes it (free -h), or raise memory_gb where a runner may not have more",
            sure=False,  # one long video may be what takes it
        ),
    ),
    (
        (BadConfiguration, UnknownName),
        _stage("configuration", "{stage} is configured wrongly", "correct egoworld.toml or the env's pyproject.toml"),
    ),
    (
        DamagedArtifact,
        lambda _error, _work: (
            "store/damaged",
            "bytes in the store are missing or damaged",
            "egoworld fsck names them, egoworld fsck --mend lets them be made again",
            "video",
            True,
        ),
    ),
)
"""Classes of exceptions, the first that fits counts, and what they are called."""


def _of_ours(error: BaseException, work: Work) -> Named:
    """Anything else: a defect of ours, or a call that the kernel refused."""
    if isinstance(error, CheckRaised):
        title = f"the check {error.check} of {work.stage} ends with an exception"
        return f"check/{work.stage}/{error.check}", title, "this is a defect of ours: report it", "stage", False
    number = error.errno if isinstance(error, OSError) else None
    if number is not None:
        name, said = errno.errorcode.get(number, str(number)), (error.strerror if isinstance(error, OSError) else "")
        fix = "check rights, mounts and the disk: egoworld doctor; dmesg"
        return f"kernel/{name}/{work.stage}", f"{work.stage}: {said or name}", fix, "stage", False
    name = type(error).__name__
    return (
        f"defect/{work.stage}/{name}",
        f"{work.stage} ends with {name}",
        "this is a defect of ours: report it with the log of the run",
        "stage",
        False,
    )


MACHINES_WORDS = (
    "ImportError",
    "ModuleNotFoundError",
    "CUDA",
    "cuDNN",
    "CUDNN",
    "CUBLAS",
    "NVML",
    "NVIDIA driver",
    "Read-only file system",
    "Input/output error",
    "Permission denied",
    "Too many open files",
    "Resource temporarily unavailable",
    "Stale file handle",
    "No such device",
    "Transport endpoint is not connected",
)


def sounds_like_the_machine(reason: str) -> bool:
    """Whether the exception that a runner reported of a clip is of a kind that machines cause rather than videos."""
    return speaks_of_memory(reason) or any(word in reason for word in MACHINES_WORDS)


CLIPS_FAILED = "ClipsFailed"
VIDEOS_KINDS = ("Terminal", CLIPS_FAILED)
"""Kinds of failures that were, and are, recorded when a runner reported that all clips of a video failed."""
DEATH_BY_KERNEL = "the runner was killed by SIGKILL"


def is_the_videos(failure: Mapping[str, object]) -> bool:
    """Whether a recorded failure is the video's own fault. Older versions recorded faults of the machine too."""
    if str(failure.get("kind", VIDEOS_KINDS[0])) not in VIDEOS_KINDS:
        return False
    return not (failure.get("kind") == "Terminal" and str(failure.get("reason", "")).startswith(DEATH_BY_KERNEL))
