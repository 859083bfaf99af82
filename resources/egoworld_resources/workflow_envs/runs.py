"""Code that is running below one folder, no matter who started it: limits for all of it, and stopping it early.

<base>/.runs/door             lock: who begins, ends or looks, one at a time
<base>/.runs/<mark>           what runs, as JSON; locked while it does, by the process that waits for it
<base>/.runs/<mark>.stop      who asked to stop it

Files and locks rather than memory: two services, commands and runs of Dagster share the machine and see each other.
"""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Generator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any
from uuid import uuid4

from egoworld_resources.leases.locks import lock, lock_within, locked, try_lock
from egoworld_resources.workflow_envs.actors import Actor
from egoworld_resources.workflow_envs.errors import RunCancelled, RunIdTaken, TooManyRuns
from egoworld_resources.workflow_envs.keys import EnvKey

STOP = ".stop"
POLL_S = 0.05
"""How often a run that waits for room looks whether there is some, and whether it is to stop."""


@dataclass(frozen=True)
class CodeRun:
    """One run. parts: of the key of its env; mark, began: its file and when it began (monotonic clock), once it has."""

    id: str
    parts: tuple[str, str, str]
    actor: str
    origin: str
    timeout_s: float
    memory_bytes: int
    mark: str = ""
    began: float = 0.0

    @property
    def seconds(self) -> float:
        """How long it has run."""
        return max(0.0, time.monotonic() - self.began)

    @property
    def left_s(self) -> float:
        """Seconds that it may still take."""
        return max(0.0, self.timeout_s - self.seconds)

    def belongs_to(self, actor: Actor) -> bool:
        """Whether the same token, user or part of the server started it."""
        return (self.actor, _kind(self.origin)) == (actor.name, _kind(actor.origin))


class Stop:
    """Ends a run early; the caller keeps it and gives the reason when it stops the run."""

    def __init__(self) -> None:
        self.why = ""

    def end(self, why: str) -> None:
        """The first reason counts."""
        self.why = self.why or why

    def is_set(self) -> bool:
        return bool(self.why)


class StopByFile(Stop):
    """A stop that another process may ask for too, by a file."""

    def __init__(self, file: Path, own: Stop | None) -> None:
        super().__init__()
        self._file = file
        self._own = own

    def is_set(self) -> bool:
        if not self.why and self._own is not None and self._own.is_set():
            self.end(self._own.why)
        if not self.why:
            with suppress(FileNotFoundError):
                self.end(self._file.read_text(encoding="utf-8") or "somebody asked to stop it")
        return bool(self.why)


class Runs:
    """The runs below ``folder``: at most ``most`` at once, with at most ``memory_bytes`` together."""

    def __init__(self, folder: Path, most: int, memory_bytes: int) -> None:
        self.folder = folder
        self.most = most
        self.memory_bytes = memory_bytes

    @contextmanager
    def admitted(self, run: CodeRun, wait_s: float, stop: Stop | None = None) -> Generator[Stop]:
        """A run counts while the context lasts; yields what ends it early.

        Raises TooManyRuns when there is no room within ``wait_s``, RunIdTaken, RunCancelled when it is stopped first.
        """
        file, held = self._enter(run, wait_s, stop)
        file_of_stop = file.with_name(f"{file.name}{STOP}")
        try:
            yield StopByFile(file_of_stop, stop)
        finally:
            with self._door():
                file.unlink(missing_ok=True)
                file_of_stop.unlink(missing_ok=True)
            os.close(held)

    def running(self, key: EnvKey | None = None) -> list[CodeRun]:
        """What runs now, the oldest first; of one env or of all."""
        with self._door():
            found = self._held()
        return [run for run in found if key is None or run.parts == key.parts]

    def ask(self, run: CodeRun, why: str) -> bool:
        """Ask a run to stop; False if it has ended, or was already asked to."""
        with self._door():
            if not any(one.mark == run.mark for one in self._held()):
                return False
            try:
                with (self.folder / f"{run.mark}{STOP}").open("x", encoding="utf-8") as file:
                    file.write(why)
            except FileExistsError:
                return False
        return True

    def is_asked(self, run: CodeRun) -> bool:
        """Whether somebody asked a run to stop."""
        return (self.folder / f"{run.mark}{STOP}").exists()

    def ended(self, run: CodeRun, wait_s: float) -> bool:
        """Whether a run has ended within that time, its end written down."""
        try:
            held = os.open(self.folder / run.mark, os.O_RDONLY)
        except FileNotFoundError:
            return True
        try:
            return lock_within(held, wait_s, shared=True)
        finally:
            os.close(held)

    def _enter(self, run: CodeRun, wait_s: float, stop: Stop | None) -> tuple[Path, int]:
        until = time.monotonic() + wait_s
        while True:
            with self._door():
                others = self._held()
                if any((one.parts, one.id) == (run.parts, run.id) for one in others):
                    raise RunIdTaken(run.id)
                if self._room(run, others):
                    return self._begin(run)
            if stop is not None and stop.is_set():
                raise RunCancelled(f"the run ended before it began: {stop.why}")
            if time.monotonic() >= until:
                soonest = min((one.left_s for one in others), default=1.0)
                raise TooManyRuns(len(others), self.most, self.memory_bytes, max(1, math.ceil(soonest)))
            time.sleep(POLL_S)

    def _room(self, run: CodeRun, others: list[CodeRun]) -> bool:
        memory = sum(one.memory_bytes for one in others) + run.memory_bytes
        return len(others) < self.most and (memory <= self.memory_bytes or not others)

    def _begin(self, run: CodeRun) -> tuple[Path, int]:
        file = self.folder / uuid4().hex
        held = os.open(file, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            lock(held)
            os.write(held, json.dumps(asdict(replace(run, mark=file.name, began=time.monotonic()))).encode())
        except OSError:
            file.unlink()
            os.close(held)
            raise
        return file, held

    def _held(self) -> list[CodeRun]:
        """What runs; what a process that died left is removed. The caller holds the door."""
        found: list[CodeRun] = []
        for file in self.folder.iterdir():
            if file.suffix == STOP or file.name == "door":
                continue
            if _dead(file):
                file.unlink(missing_ok=True)
                file.with_name(f"{file.name}{STOP}").unlink(missing_ok=True)
                continue
            known: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
            workflow_id, node_id, version_id = known.pop("parts")
            found.append(CodeRun(parts=(workflow_id, node_id, version_id), **known))
        return sorted(found, key=lambda run: run.began)

    @contextmanager
    def _door(self) -> Generator[None]:
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with locked(self.folder / "door"):
            yield


def _dead(file: Path) -> bool:
    descriptor = os.open(file, os.O_RDONLY)
    try:
        return try_lock(descriptor, shared=True)
    finally:
        os.close(descriptor)


def _kind(origin: str) -> str:
    """ "http", "cli" or "run" (of Dagster): a token is not the user of the same name."""
    return origin.partition(" ")[0]
