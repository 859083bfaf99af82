"""Run a job in a model env: one supervised process group, restarted past a clip that kills it."""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import IO

from egoworld_resources.disk import naming_a_full_disk
from egoworld_resources.errors import TOOK_MORE, DiskFull, MemoryShort, RunnerFailed, speaks_of_memory
from egoworld_resources.running.clip_report import shown
from egoworld_resources.running.confinement import Confinement, confinement
from egoworld_resources.running.events import Event, Lines, Unit, event_of, units_of
from egoworld_resources.sandbox import SandboxFailed
from egoworld_resources.sandbox.running import not_started
from egoworld_runner import keeper
from egoworld_runner.clip_ids import clip_id
from egoworld_runner.job import WHOLE, Job, VideoJob

OnEvent = Callable[[Event], None]

DEATHS = 3
"""Clips in a row at which a runner dies before the machine is checked as the cause."""
LAST_WORDS = "its last words: "
TERM_GRACE_S = 8.0
EXIT_PATIENCE_S = 60.0
"""Seconds that a runner whose output has ended gets for unloading its model."""
KEPT_VARIABLES = ("PATH", "HOME", "LANG", "LC_ALL", "TZ", "LD_LIBRARY_PATH")
SCRATCH_VARIABLES = ("EGOWORLD_SCRATCH", "TMPDIR", "XDG_CACHE_HOME", "XDG_CONFIG_HOME")
"""Where libraries leave caches and logs: in the scratch folder, gone with it."""
OFFLINE = {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1", "NO_ALBUMENTATIONS_UPDATE": "1"}
BY_PCI = {"CUDA_DEVICE_ORDER": "PCI_BUS_ID"}
"""Where a GPU can only be named by its number, CUDA counts as nvidia-smi and the device files do."""
LEAN = {"ARROW_DEFAULT_MEMORY_POOL": "system", "MALLOC_ARENA_MAX": "1"}
"""What a clip has freed serves the next one: Arrow's own allocator would keep it, and with an arena for each thread of
a model it would be of use to that thread alone, so that a runner grew from clip to clip."""


@dataclass(frozen=True)
class Process:
    """How to start the runner: interpreter, scratch folder, GPU, descriptors to inherit.

    silence_s: seconds without an event after which it counts as hung; memory: bytes it may have; network: whether it
    may use the machine's; hidden: folders of ours, of which it sees only what its job names.
    """

    python: Path
    scratch: Path
    gpu: str | None = None
    descriptors: Sequence[int] = ()
    silence_s: float = 900.0
    memory: int | None = None
    network: bool = False
    hidden: Sequence[Path] = ()

    @property
    def work(self) -> Path:
        """The runner's working directory, for its caches and temporary files."""
        return self.scratch / "work"

    @property
    def job(self) -> Path:
        return self.scratch / "job.json"

    @property
    def log(self) -> Path:
        """What the runner writes to its standard error."""
        return self.scratch / "runner.log"

    def opened_log(self) -> IO[bytes]:
        """The log, to write at its end."""
        flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC
        return os.fdopen(os.open(self.log, flags, 0o600), "ab")

    def last_words(self, lines: int = 5, length: int = 2000) -> str:
        """The end of the log."""
        with self.opened_log() as log:
            size = os.fstat(log.fileno()).st_size
            last = (
                os.pread(log.fileno(), length, max(0, size - length)).decode("utf-8", "replace").splitlines()[-lines:]
            )
        return f"{LAST_WORDS}{' | '.join(last)}" if last else "it printed nothing"

    def last_line(self) -> str:
        """What was written to the log last."""
        return self.last_words(lines=1).removeprefix(LAST_WORDS)

    def confinement(self, job: Job) -> Confinement:
        """How the runners of a job are kept apart here; makes the folders that they may write."""
        return confinement(
            job,
            self.python,
            self.work,
            self.job,
            gpu=self.gpu is not None,
            network=self.network,
            memory=self.memory,
            hidden=self.hidden,
        )

    def environment(self, mounted: bool = False) -> dict[str, str]:
        """Only what a model needs; no secret of ours is passed on. mounted: nobody's home is there."""
        kept = {name: os.environ[name] for name in KEPT_VARIABLES if name in os.environ}
        own = {name: str(self.work) for name in SCRATCH_VARIABLES}
        own |= {"HOME": str(self.work)} if mounted else {}
        return {**kept, **OFFLINE, **LEAN, **own, "CUDA_VISIBLE_DEVICES": self.gpu or "", **BY_PCI}


@dataclass(frozen=True)
class Ran:
    """What a job came to. loads: how often the model was loaded; deaths: why the runner died, by video and clip.

    broken: the exceptions of clips that ended with one, by clip; through: clips that were done, or that the runner
    refused saying why; isolation: the means by which the runner was kept apart.
    """

    loads: int = 0
    deaths: Mapping[Unit, str] = field(default_factory=dict["Unit", str])
    isolation: tuple[str, ...] = ()
    broken: Mapping[Unit, str] = field(default_factory=dict["Unit", str])
    through: frozenset[Unit] = frozenset()

    def then(self, later: Ran) -> Ran:
        """What the job came to after some of its clips were run again."""
        broken = {unit: why for unit, why in self.broken.items() if unit not in later.through}
        return Ran(
            self.loads + later.loads,
            {**self.deaths, **later.deaths},
            later.isolation or self.isolation,
            {**broken, **later.broken},
            self.through | later.through,
        )

    def deaths_in(self, video: str) -> dict[str, str]:
        """Why the runner died, by the clip of this video during which it did."""
        return {unit: reason for (of, unit), reason in self.deaths.items() if of == video}


def run_job(job: Job, process: Process, on_event: OnEvent) -> Ran:
    """Run every clip of a job.

    A clip during which the runner dies or falls silent is given up and the rest continues in a new process. One that
    was killed from outside, or for memory, gets a second try first: the kill may have been meant for something else,
    and what the clips before had left behind is gone.
    Raises SandboxFailed when what keeps the runner apart cannot be made, RunnerFailed when the runner cannot start,
    when the model cannot be set up, or when the job is refused, RunnerDies when it died at DEATHS clips in a row,
    DiskFull when there is no space for what it writes, and MemoryShort when the kernel killed it for memory.
    """
    loads = in_a_row = 0
    deaths: dict[Unit, str] = {}
    broken: dict[Unit, str] = {}
    through: set[Unit] = set()
    killed: set[Unit | None] = set()
    done: set[Unit] = set()
    killed_by_kernel = kills_for_memory()
    with naming_a_full_disk(process.scratch):
        confined = process.confinement(job)
    while left := without(job, deaths):
        attempt = _Attempt(left, process, confined, on_event)
        attempt.run()
        loads += attempt.loaded
        broken |= attempt.broken
        through |= attempt.through
        in_a_row = 0 if attempt.through else in_a_row
        if attempt.status == 0 and attempt.unit is None:
            break
        if attempt.disk_full:
            raise DiskFull(f"{job.stage}: {attempt.error}; free some", process.scratch.parent)
        if attempt.error and attempt.unit is None:
            raise failure(f"{job.stage}: the runner gave up: {attempt.error}")
        if (attempt.killed or attempt.over_bound) and attempt.unit not in killed:
            killed.add(attempt.unit)
            continue
        if attempt.killed and kills_for_memory() > killed_by_kernel:
            raise MemoryShort(f"{job.stage}: the kernel killed the runner twice because memory was short")
        if attempt.unit is None and attempt.done - done:
            done |= attempt.done
            continue
        if attempt.unit is None and not_started(process.last_line()):
            raise SandboxFailed(f"{job.stage}: the runner could not be run apart: {process.last_line()}")
        if attempt.unit is None:
            raise failure(f"{job.stage}: the runner {attempt.ending()} before any clip; {process.last_words()}")
        deaths[attempt.unit] = f"the runner {attempt.ending()} during this clip; {process.last_words()}"
        on_event({"event": "clip", "video": attempt.unit[0], "unit": attempt.unit[1], "state": "failed"})
        in_a_row += 1
        if in_a_row >= DEATHS:
            message = f"{job.stage}: the runner died at {in_a_row} clips in a row: {deaths[attempt.unit]}"
            raise RunnerDies(message, Ran(loads, deaths, confined.isolation, broken, frozenset(through)))
    return Ran(loads, deaths, confined.isolation, broken, frozenset(through))


def failure(message: str) -> RunnerFailed | MemoryShort:
    """What a runner that did not do its job is called, by what is known of it."""
    return MemoryShort(message) if speaks_of_memory(message) else RunnerFailed(message)


class RunnerDies(RunnerFailed):
    """The runner died at clip after clip, and none got through between. ran: what the job came to until then."""

    def __init__(self, message: str, ran: Ran) -> None:
        super().__init__(message)
        self.ran = ran


def kills_for_memory(counters: Path = Path("/proc/vmstat")) -> int:
    """How many processes the kernel has killed since it started because memory was short (proc(5): oom_kill)."""
    with contextlib.suppress(OSError, ValueError):
        for line in counters.read_text(encoding="ascii").splitlines():
            name, _, value = line.partition(" ")
            if name == "oom_kill":
                return int(value)
    return 0


def without(job: Job, units: Container[Unit]) -> Job | None:
    """The same job without these clips; None when no clip is left."""
    return choose(job, lambda unit: unit not in units)


def choose(job: Job, wanted: Callable[[Unit], bool]) -> Job | None:
    """The same job with only the clips that are wanted; None when none is. A video without any clip stays."""
    videos: list[VideoJob] = []
    for video in job.videos:
        if video.clips is None:
            videos += [video] if wanted((video.video, WHOLE)) else []
            continue
        named = ((span, clip_id(video.video, span.start_frame, span.end_frame)) for span in video.clips)
        clips = tuple(span for span, name in named if wanted((video.video, name)))
        videos += [replace(video, clips=clips)] if clips or not video.clips else []
    return replace(job, videos=tuple(videos)) if videos else None


class _Attempt:
    """One runner process from start to end."""

    def __init__(self, job: Job, process: Process, confined: Confinement, on_event: OnEvent) -> None:
        self._job = job
        self._confined = confined
        self._units = set(units_of(job))
        self._process = process
        self._on_event = on_event
        self.status = 0
        self.loaded = 0
        self.error = ""
        self.disk_full = False
        self.silent = False
        self.over_bound = False
        self.unit: Unit | None = None
        self.done: set[Unit] = set()
        self.through: set[Unit] = set()
        self.broken: dict[Unit, str] = {}

    def run(self) -> None:
        process, confined = self._process, self._confined
        with naming_a_full_disk(process.scratch):
            self._job.write(process.job)
            process.job.chmod(0o644)  # its folder is closed to others, and the runner is another user
        command = [str(process.python), "-I", "-m", "egoworld_runner", "run", "--job", str(process.job)]
        if process.memory is not None:
            command += ["--memory", str(process.memory)]
        environment = process.environment(confined.mounted)
        with process.opened_log() as log, confined.command(command, environment) as ready:
            child = subprocess.Popen(
                [sys.executable, "-I", "-S", keeper.__file__, str(os.getpid()), *ready.argv],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
                cwd=process.work,
                env=environment,
                start_new_session=True,
                pass_fds=(*process.descriptors, *ready.descriptors),
            )
            ended = False
            try:
                assert child.stdout is not None
                for event in self._events(child.stdout):
                    self._note(event)
                    self._on_event(event)
                ended = not self.silent
            finally:
                self.status = end_group(child, EXIT_PATIENCE_S if ended else 0.0)
                self.over_bound = any(group.out_of_memory() for group in ready.groups)

    def _events(self, pipe: IO[bytes]) -> Iterator[Event]:
        """The events of the runner; other lines are ignored and are no sign of life."""
        lines = Lines()
        until = time.monotonic() + self._process.silence_s
        with selectors.DefaultSelector() as selector:
            selector.register(pipe, selectors.EVENT_READ)
            while True:
                left = until - time.monotonic()
                if left <= 0 or not selector.select(left):
                    self.silent = True
                    return
                block = os.read(pipe.fileno(), 1 << 16)
                if not block:
                    return
                for line in lines.take(block):
                    if event := event_of(line, self._units):
                        until = time.monotonic() + self._process.silence_s
                        yield event

    def _note(self, event: Event) -> None:
        match event["event"]:
            case "loaded":
                self.loaded = 1
            case "start":
                self.unit = (event["video"], event["unit"])
            case "clip":
                self.unit = None
                unit = (event["video"], event["unit"])
                self.done.add(unit)
                if event["state"] == "done" or event.get("deliberate", True):
                    self.through.add(unit)
                else:
                    self.broken[unit] = shown(str(event.get("reason", "")))
            case "error":
                self.error, self.disk_full = event["reason"], event.get("disk_full", False)
            case _:
                pass

    @property
    def killed(self) -> bool:
        """Whether somebody else ended it: a person, a service manager, or the kernel when memory is short."""
        return not (self.silent or self.over_bound) and self._signal in (signal.SIGKILL, signal.SIGTERM)

    @property
    def _signal(self) -> int:
        """The signal that ended it, as a parent or as a shell reports it; 0 for none."""
        return max(-self.status, self.status - 128, 0)

    def ending(self) -> str:
        """How the process ended, in words."""
        if self.silent:
            return f"printed nothing for {self._process.silence_s:g} s and was ended"
        if self.over_bound:
            bound = f"{(self._process.memory or 0) / 1e9:g} GB"
            return f"{TOOK_MORE} the {bound} that it may have (memory_gb: raise it, or give a smaller or shorter video)"
        if self._signal in set(signal.Signals):
            name = signal.Signals(self._signal).name
            return f"was killed by {name}" + (" (is memory short?)" if name == "SIGKILL" else "")
        return f"ended with status {self.status}"


def end_group(child: subprocess.Popen[bytes], patience_s: float) -> int:
    """Give a child ``patience_s`` to end by itself, then TERM and KILL its whole group; returns its exit status."""
    _wait(child, patience_s)
    for number in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(child.pid, number)
        except ProcessLookupError:
            break
        _wait(child, TERM_GRACE_S)
    if child.stdout is not None:
        child.stdout.close()
    return child.wait()


def _wait(child: subprocess.Popen[bytes], seconds: float) -> None:
    with contextlib.suppress(subprocess.TimeoutExpired):
        child.wait(timeout=seconds)
