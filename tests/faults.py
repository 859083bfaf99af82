"""Random faults on the flow: ``python -m tests.faults FOLDER SEED COUNT`` prints what happened as JSON.

The flow runs again and again in processes that are killed at random moments, or find the disk full. After each of them
every live artifact is compared with that of an undisturbed run; when the flow has got through, nothing may be missing,
doubled or left behind. Then the next round begins with nothing.

Store and scratch lie on file systems of their own, small enough to be filled, where the kernel lets us mount them.
"""

from __future__ import annotations

import ctypes
import json
import os
import random
import shutil
import signal
import sys
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path

import dagster as dg
import psutil

import egoworld_assets.cli.flow  # noqa: F401  Dagster is loaded once, before the forks
from egoworld_assets.cli.app import app
from egoworld_assets.orchestration.registry import stages
from egoworld_resources.artifacts.manifest import Manifest, file_digest
from egoworld_resources.layout import Layout
from egoworld_resources.leases.locks import lock
from egoworld_resources.store.folder import FolderStore
from tests.made_graph import RUNNER, Installation
from tests.made_up import video

SLOW = RUNNER.replace("from egoworld_runner", "import time\n\nfrom egoworld_runner", 1).replace(
    "            yield tables.", "            time.sleep(0.02)\n            yield tables."
)
"""Rows take a moment, so that faults meet models in the middle of a clip."""

CLONE_NEWNS, CLONE_NEWUSER = 0x00020000, 0x10000000
MS_PRIVATE_RECURSIVE = (1 << 18) | (1 << 14)
HOME, SIZE = 1 << 30, 48 << 20
PATIENCE_S = 240.0
DELAY_S = 3.0
ROUNDS = 2
"""The flow has to get through more than once, and every kind of fault has to meet it, whatever count is asked for."""


@dataclass
class Told:
    """What happened. problems: what must never be; mounts: why no disk could be filled, or empty."""

    seed: int
    mounts: str
    faults: Counter[str] = field(default_factory=Counter[str])
    rounds: int = 0
    processes: int = 0
    undisturbed_s: float = 0.0
    seconds: float = 0.0
    problems: list[str] = field(default_factory=list[str])


class Disk:
    """A small file system of its own at a folder."""

    def __init__(self, folder: Path, size: int = SIZE) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        call("mount", b"tmpfs", bytes(folder), b"tmpfs", 0, f"size={size}".encode())

    def fill(self, leave: int) -> Callable[[], None]:
        """Take all space but some bytes; returns what gives it back. Locked, so that no sweep gives it back."""
        ballast = self.folder / "ballast"
        descriptor = os.open(ballast, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC)
        lock(descriptor)
        with suppress(OSError):
            while shutil.disk_usage(self.folder).free > leave:
                os.write(descriptor, b"x" * min(1 << 16, shutil.disk_usage(self.folder).free - leave))

        def give_back() -> None:
            ballast.unlink()
            os.close(descriptor)

        return give_back


def call(name: str, *arguments: object) -> None:
    """A system call of the C library; raises OSError."""
    libc = ctypes.CDLL(None, use_errno=True)
    if getattr(libc, name)(*arguments) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{name}: {os.strerror(number)}")


def own_mounts() -> str:
    """Let this process mount file systems that nobody else sees; why not, when the kernel refuses."""
    user, group = os.getuid(), os.getgid()
    try:
        call("unshare", CLONE_NEWNS | (CLONE_NEWUSER if user else 0))
        if user:
            Path("/proc/self/setgroups").write_text("deny")
            Path("/proc/self/uid_map").write_text(f"0 {user} 1")
            Path("/proc/self/gid_map").write_text(f"0 {group} 1")
        call("mount", b"none", b"/", None, MS_PRIVATE_RECURSIVE, None)
    except OSError as error:
        return str(error)
    return ""


class Rounds:
    """One installation, disturbed until enough faults have met it."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.rng = random.Random(seed)
        self.installed = Installation(folder, SLOW, retry_delay_s=0.1)
        os.environ["EGOWORLD_CONFIG"] = self.installed.config
        self.layout = Layout(folder / "data")
        self.store = FolderStore(self.layout.store)
        self.log = folder / "flow.log"
        shots = ((8, 7), (12,), (5, 5, 5))
        self.paths = [video(folder / f"{number}.mp4", shots=s) for number, s in enumerate(shots)]
        self.told = Told(seed, own_mounts())
        self.disks: dict[str, Disk] = {}
        if not self.told.mounts:
            try:
                Disk(self.layout.home, HOME)
                self.disks = {"store full": Disk(self.layout.store), "scratch full": Disk(self.layout.scratch)}
            except OSError as error:
                self.told.mounts = str(error)
        self.expected: dict[tuple[str, str], str] = {}
        self.dataset: dict[str, str] = {}

    def run(self, count: int) -> Told:
        began = time.monotonic()
        self.undisturbed()
        while not (self.enough(count) or self.told.problems):
            self.disturbed()
        self.told.seconds = time.monotonic() - began
        return self.told

    def enough(self, count: int) -> bool:
        """Whether enough faults, each kind of them, have met the flow, and it has got through often enough."""
        kinds = {"runner", "keeper", "step", "everything", *self.disks}
        faults = self.told.faults
        return sum(faults.values()) >= count and kinds <= faults.keys() and self.told.rounds >= ROUNDS

    def rarest(self, *kinds: str) -> str:
        """The kind that has met the flow least; which of several, the seed decides."""
        return min(kinds, key=lambda kind: (self.told.faults[kind], self.rng.random()))

    def undisturbed(self) -> None:
        """What comes out when nothing happens."""
        began = time.monotonic()
        status = self.wait(self.start())
        self.told.undisturbed_s = time.monotonic() - began
        self.expected, self.dataset = self.live(), self.dataset_files()
        wanted = {(stage, path.stem) for stage in stages() for path in self.paths}
        if status or {(asset, key[0]) for asset, key in self.expected} != wanted:
            raise SystemExit(f"the undisturbed flow ended with {status}: {self.log.read_text()}")
        self.wipe()

    def disturbed(self) -> None:
        """One process of the flow and the faults that meet it; a new round when it has got through."""
        child = self.start()
        met = self.disturb(child)
        status = self.wait(child)
        self.survivors()
        self.compare()
        through = self.live() == self.expected
        if not met and not through:
            self.problem(f"the flow ended with {status} by itself and did not get through")
        if through and status == 0:
            self.ended_well()
            self.told.rounds += 1
            self.wipe()

    def start(self) -> int:
        """The command ``egoworld demo`` on the videos, in a process of its own."""
        self.told.processes += 1
        child = os.fork()
        if child:
            return child
        status = 70
        try:
            log = os.open(self.log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
            os.dup2(log, 1)
            os.dup2(log, 2)
            app(["demo", *map(str, self.paths)])
        except SystemExit as end:
            status = int(end.code or 0)
        except BaseException:  # noqa: BLE001 the parent judges
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            os._exit(status)

    def wait(self, child: int) -> int:
        """The exit status of a process that must end within its patience."""
        until = time.monotonic() + PATIENCE_S
        while time.monotonic() < until:
            pid, status = os.waitpid(child, os.WNOHANG)
            if pid:
                return os.waitstatus_to_exitcode(status)
            time.sleep(0.02)
        self.problem(f"the flow hangs: {self.log.read_text()[-2000:]}")
        os.kill(child, signal.SIGKILL)
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])

    def disturb(self, child: int) -> bool:
        """Meet a process with faults at random moments: a few that it survives, then a deadly one."""
        plan = [self.rarest("runner", "keeper")] if self.rng.random() < 0.6 else []
        plan += [self.rarest(*self.disks)] if self.disks and self.rng.random() < 0.6 else []
        self.rng.shuffle(plan)
        if self.rng.random() < 0.85:
            plan.append(self.rarest("step", "everything"))
        met = False
        for kind in plan:
            if not alive_for(child, self.rng.uniform(0.05, DELAY_S)):
                break
            if self.meet(child, kind):
                self.told.faults[kind] += 1
                met = True
        return met

    def meet(self, child: int, kind: str) -> bool:
        """Do one fault; whether there was anything that it could hit."""
        if kind in self.disks:
            give_back = self.disks[kind].fill(self.rng.choice([0, 8192, 65536]))
            alive_for(child, self.rng.uniform(0.3, 2.5))
            give_back()
            return True
        if kind in ("runner", "keeper"):
            return any(kill(process) for process in self.processes_of(child, kind))
        pids = [child] if kind == "step" else [child, *(p.pid for p in below(child))]
        return sum(kill_pid(pid) for pid in pids) > 0

    def processes_of(self, child: int, kind: str) -> Iterator[psutil.Process]:
        """The model's process or the keeper above it, looked for during two seconds."""
        until = time.monotonic() + 2.0
        while time.monotonic() < until and alive_for(child, 0.01):
            for process in below(child):
                with suppress(psutil.Error):
                    is_keeper = any(word.endswith("keeper.py") for word in process.cmdline())
                    is_runner = "egoworld_runner" in process.cmdline() and not is_keeper
                    if is_runner if kind == "runner" else is_keeper:
                        yield process
                        return

    def survivors(self) -> None:
        """No process of a model outlives its step by more than the keeper's grace."""
        until = time.monotonic() + 60.0
        left: list[psutil.Process] = []
        while time.monotonic() < until:
            left = [process for process in psutil.process_iter() if self.is_ours(process)]
            if not left:
                return
            time.sleep(0.05)
        self.problem(f"still running: {left}")

    def is_ours(self, process: psutil.Process) -> bool:
        with suppress(psutil.Error):
            return process.status() != psutil.STATUS_ZOMBIE and str(self.layout.scratch) in " ".join(process.cmdline())
        return False

    def manifests(self) -> Iterator[Manifest]:
        for stage in stages():
            for key in self.store.videos(stage):
                made = self.store.current(stage, key)
                if made:
                    yield made

    def live(self) -> dict[tuple[str, str], str]:
        """Data version by asset and video."""
        return {(made.asset, made.video): made.data_version for made in self.manifests()}

    def compare(self) -> None:
        """What a reader sees now: whole artifacts, and only such as an undisturbed run gives."""
        for made in self.manifests():
            for fault in self.store.verify(made):
                self.problem(fault)
            wanted = self.expected[made.asset, made.video]
            if made.data_version != wanted:
                self.problem(f"{made.asset} of {made.video} is {made.data_version}, undisturbed it is {wanted}")

    def ended_well(self) -> None:
        """After the flow got through: nothing lost, doubled or left behind, and Dagster knows of everything."""
        if self.dataset_files() != self.dataset:
            self.problem("the dataset is another")
        for kind in ("failures", "refusals", "quarantine"):
            for key, facts in self.store.records(kind):
                self.problem(f"a {kind} record of {key} is left: {facts['reason']}")
        for folder in (self.layout.scratch, self.store.incoming):
            for entry in folder.iterdir() if folder.is_dir() else ():
                self.problem(f"left behind: {entry}")
        known = {str(self.store.folder(made) / name.path) for made in self.manifests() for name in made.files}
        for path in (self.layout.store / "artifacts").rglob("*"):
            if path.is_file() and str(path) not in known and path.name not in ("manifest.json", "current.json"):
                self.problem(f"belongs to nothing: {path}")
        for made in self.manifests():
            if len([p for p in self.store.folder(made).parent.iterdir() if p.is_dir()]) != 1:
                self.problem(f"{made.asset} of {made.video} is there more than once")
        self.dagster_knows()

    def dagster_knows(self) -> None:
        with dg.DagsterInstance.from_config(str(self.layout.dagster)) as instance:
            for stage in stages():
                told = instance.get_materialized_partitions(dg.AssetKey(stage))
                lost = set(self.store.videos(stage)) - told
                if lost:
                    self.problem(f"Dagster never heard of {stage} of {sorted(lost)}")

    def dataset_files(self) -> dict[str, str]:
        """Digest of every file of the dataset."""
        root = self.layout.dataset
        return {str(p.relative_to(root)): file_digest(p) for p in sorted(root.rglob("*")) if p.is_file()}

    def wipe(self) -> None:
        """Back to nothing, the file systems kept."""
        for folder in (self.layout.store, self.layout.scratch):
            for entry in folder.iterdir() if folder.is_dir() else ():
                shutil.rmtree(entry) if entry.is_dir() else entry.unlink()
        for folder in self.layout.home.iterdir():
            if folder not in (self.layout.store, self.layout.scratch):
                shutil.rmtree(folder) if folder.is_dir() else folder.unlink()

    def problem(self, what: str) -> None:
        self.told.problems.append(what)


def alive_for(child: int, seconds: float) -> bool:
    """Whether a child still runs after some time; it is not reaped."""
    until = time.monotonic() + seconds
    while True:
        if os.waitid(os.P_PID, child, os.WEXITED | os.WNOHANG | os.WNOWAIT):
            return False
        if time.monotonic() >= until:
            return True
        time.sleep(min(0.02, max(0.0, until - time.monotonic())))


def below(pid: int) -> list[psutil.Process]:
    with suppress(psutil.Error):
        return psutil.Process(pid).children(recursive=True)
    return []


def kill(process: psutil.Process) -> bool:
    return kill_pid(process.pid)


def kill_pid(pid: int) -> bool:
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
        return True
    return False


if __name__ == "__main__":
    told = Rounds(Path(sys.argv[1]), int(sys.argv[2])).run(int(sys.argv[3]))
    print(json.dumps({**asdict(told), "faults": dict(told.faults)}, indent=2))
