"""The walls around a model runner: its env, its job's inputs and weights read-only, its output and scratch writable."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from egoworld_resources.environments.contract import contract_folder, folder_of
from egoworld_resources.sandbox.capability import capabilities, shared_capabilities
from egoworld_resources.sandbox.command import Limits, Prepared, prepared, used
from egoworld_resources.sandbox.identity import FIRST_OWN, open_to_all, own_uid
from egoworld_resources.sandbox.means import MOUNT, OWN_UID, PID
from egoworld_resources.sandbox.trees import links, trees
from egoworld_resources.sandbox.walls import Walls, same
from egoworld_runner import keeper
from egoworld_runner.job import Job

PROCESSES = 4096
MOST_MOUNTS = 64
"""bubblewrap reads the list of mounts again for each: of more than this, the folders that hold them are shown."""
CPUS = ("/sys/devices/system/cpu", "/sys/devices/system/node")
"""How many cores and memories there are: OpenMP and NUMA libraries ask."""
OF_A_GPU = ("/sys", "/etc/nvidia", "/etc/OpenCL", "/etc/vulkan", "/etc/glvnd")


@dataclass(frozen=True)
class Confinement:
    """How the runners of one job are kept apart: the means, the user to be, and the walls.

    home: where caches and settings of libraries go.
    """

    allowed: tuple[str, ...]
    uid: int | None
    walls: Walls
    memory: int | None = None

    @property
    def isolation(self) -> tuple[str, ...]:
        """The means that isolate the runner, as written in a manifest."""
        return used(self.walls, self.allowed)

    @property
    def mounted(self) -> bool:
        return MOUNT in self.allowed

    @contextmanager
    def command(self, command: Sequence[str], environment: dict[str, str]) -> Iterator[Prepared]:
        """What a keeper starts so that ``command`` runs apart."""
        own_parent = [] if PID in self.allowed else ["--parent", keeper.OWN_PID]
        limits = Limits(self.memory and self.memory + self.memory // 4, PROCESSES, open_files=None, counted_memory=True)
        with prepared([*command, *own_parent], environment, self.walls, limits, self.allowed, self.uid) as ready:
            yield ready


def confinement(
    job: Job,
    python: Path,
    work: Path,
    job_file: Path,
    *,
    gpu: bool,
    network: bool,
    memory: int | None,
    hidden: Sequence[Path] = (),
) -> Confinement:
    """How the runners of a job are kept apart here.

    work: their scratch folder; job_file: its file. As root they are a user of their own, unless something that they
    read is closed to others: then they are root's own user without rights, in a user namespace.
    """
    written = [work, *writable([Path(video.output) for video in job.videos], job_file)]
    for folder in written:
        folder.mkdir(parents=True, exist_ok=True)
        folder.chmod(
            0o755
        )  # the folder around it is closed; within the walls bubblewrap enters it, and then the runner
    shown = list(read(job, python))
    means = capabilities()
    if OWN_UID in means.allowed and not open_to_all(sample for path, _ in shown for sample in samples(path)):
        means = shared_capabilities()
    if MOUNT not in means.allowed:
        kept = tuple(name for name in means.allowed if name != OWN_UID)
        return Confinement(kept, None, Walls(cwd=str(work), network=network, as_root=True), memory)
    walls = Walls(
        read_only=[*coalesced(shown), *same(job_file)],
        writable=[str(folder) for folder in written],
        links=links(python),
        hidden=[str(path) for path in hidden],
        devices=devices() if gpu else (),
        system=(*CPUS, *(OF_A_GPU if gpu else ())),
        network=network,
        cwd=str(work),
    )
    return Confinement(means.allowed, uid_of(work) if OWN_UID in means.allowed else None, walls, memory)


def uid_of(work: Path) -> int:
    """The user for runners with this scratch folder: the one that had it before, so that it may go on in its output."""
    before = work.stat().st_uid
    return before if before >= FIRST_OWN else own_uid()


def read(job: Job, python: Path) -> Iterator[tuple[str, str]]:
    """What a runner reads: real path and where it appears."""
    env = python.absolute().parent.parent
    yield from trees(python.absolute(), env)
    yield from same(*contracts(env), job.folder)
    named = [value for value in job.params.values() if isinstance(value, str) and value.startswith("/")]
    paths = [*job.weights.values(), *(path for value in named for path in matches(value))]
    for video in job.videos:
        paths += [video.path, *([video.frames] if video.frames else []), *filter(None, video.inputs.values())]
    paths += [folder for folder in os.environ.get("LD_LIBRARY_PATH", "").split(":") if folder.startswith("/")]
    for path in dict.fromkeys(paths):
        if os.path.exists(path):  # noqa: PTH110 what is missing is the runner's to say
            yield os.path.realpath(path), path


def contracts(env: Path) -> Iterator[Path]:
    """The folders of the contract's package that an env may import: today's, and those that its .pth files name."""
    yield contract_folder()
    for file in env.glob("lib/python3*/site-packages/*.pth"):
        for line in file.read_text(encoding="utf-8", errors="replace").splitlines():
            if (folder := folder_of(line)) and (folder / "egoworld_runner").is_dir():
                yield folder / "egoworld_runner"


def matches(value: str) -> Iterator[str]:
    """The files that a parameter names; a {field} matches anything, as in ``manifest.named_files``."""
    pattern = Path(re.sub(r"\{[^}]*\}", "*", value))
    yield from (str(path) for path in pattern.parent.glob(pattern.name) if path.is_file())


def samples(path: str) -> list[str]:
    """What shows best whether others may read a file or folder: itself, and of a folder its most closed file."""
    if not os.path.isdir(path):  # noqa: PTH112
        return [path]
    files = sorted(entry.path for entry in os.scandir(path) if entry.is_file())
    return [path, *sorted(files, key=lambda file: os.stat(file).st_mode & stat.S_IROTH)[:1]]  # noqa: PTH116


def coalesced(paths: Iterable[tuple[str, str]], most: int = MOST_MOUNTS) -> list[tuple[str, str]]:
    """The same paths by few enough mounts: where too many are in folders of one kind, their folder is shown instead."""
    shown = dict.fromkeys(paths)
    while len(shown) > most:
        parents: dict[str, int] = {}
        for real, target in shown:
            if real == target:
                parents[os.path.dirname(real)] = parents.get(os.path.dirname(real), 0) + 1  # noqa: PTH120
        deepest = sorted(parents, key=lambda folder: (-folder.count("/"), -parents[folder]))
        if not deepest:
            break
        level = deepest[0].count("/")
        outer = {folder for folder in deepest if folder.count("/") == level}
        kept = [pair for pair in shown if pair[0] != pair[1] or os.path.dirname(pair[0]) not in outer]  # noqa: PTH120
        shown = dict.fromkeys([*kept, *same(*sorted(outer))])
    return list(shown)


def writable(outputs: Sequence[Path], job_file: Path) -> list[Path]:
    """The folders for what runners write: those of the videos, or the one of the scratch folder that holds them all."""
    parents = {output.parent for output in outputs}
    alone = {parent for parent in parents if parent.parent == job_file.parent}
    return sorted(alone | {output for output in outputs if output.parent not in alone})


def devices(folder: Path = Path("/dev")) -> list[str]:
    """The nodes of NVIDIA's driver, those of MIG among them."""
    return sorted(str(path) for path in folder.glob("nvidia*"))
