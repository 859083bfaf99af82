"""Bringing a server up part by part, taking it down in the opposite order, and saying how it is."""

from __future__ import annotations

import logging
import signal
from collections.abc import Callable, Collection, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

import psutil

from egoworld_resources.errors import Terminal
from egoworld_resources.leases.locks import locked, write_private
from egoworld_resources.s3.buckets import Buckets
from egoworld_resources.server import dagster_parts, probes, schema, supervision
from egoworld_resources.server.parts import Part, Parts
from egoworld_resources.server.ports import orphans, refuse_taken
from egoworld_resources.server.supervisor import Supervisor
from egoworld_resources.server.uploaders import settle
from egoworld_resources.settings import Settings

log = logging.getLogger(__name__)

STOP_S = 60.0
ALIVE = ("RUNNING", "STARTING", "BACKOFF")
"""States in which the supervisor sees to a part by itself."""


class PartFailed(Terminal):
    """A part was started and does not work; the others keep running."""


@dataclass(frozen=True)
class Health:
    """How one part is: its process as the supervisor sees it, and what its probe says."""

    name: str
    state: str
    pid: int
    where: str
    healthy: bool
    said: str


class Server:
    """The server whose state lies under ``<home>/production``. One caller at a time changes it."""

    def __init__(self, settings: Settings) -> None:
        self.parts = Parts(settings)
        self.folder = self.parts.folder
        self.supervisor = Supervisor(self.folder, settings.home, self.parts.tools)
        self._started_with = self.folder / "started_with"
        self._tables = self.folder / "postgres_schema"

    def up(self, only: Collection[str] = ()) -> None:
        """Start every part that does not run, or ``only`` those named, each when those that it needs are healthy.

        May be called at any time: what runs with the same settings is left alone, what runs with others is started
        again. Raises UnknownName, BadConfiguration (a setting, a taken port), ToolFailed, PartFailed.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        with self._changing():
            self.parts.prepare()
            parts = self.parts.all()
            wanted = [self.parts.one(name) for name in only] or parts
            digest = self.parts.digest
            if self.supervisor.runs() and self._last_digest() != digest:
                log.info("settings have changed: what runs is started again")
                self._stop()
            if supervision.fault(self.supervisor, self.supervisor.states(), self.folder)[1]:
                log.info("the supervisor is not the one that started every part: what runs is started again")
                self._stop()
                self.supervisor.end()
            if not self.supervisor.runs():
                self._end_orphans()
                refuse_taken(wanted, self.parts.env_file.path)
                self.supervisor.write(parts, self.parts.logs)
                self.supervisor.start()
                write_private(self._started_with, digest)
            for _, together in groupby(sorted(wanted, key=lambda part: part.step), lambda part: part.step):
                self._start(list(together))

    def down(self) -> None:
        """Stop every part, the last started first. Nothing is lost: all state is on disk."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with self._changing():
            self.parts.upgrade()
            self._stop()

    def supervision(self) -> Health | None:
        """How the supervisor is; None when there is none and none is needed: systemd or containers, or all is down."""
        states = self.supervisor.states()
        pid, wrong = supervision.fault(self.supervisor, states, self.folder)
        if not pid and not wrong:
            return None
        state, said = ("RUNNING", wrong or f"looks after {len(states)} parts") if pid else ("-", wrong)
        return Health(supervision.NAME, state, pid, str(self.supervisor.socket), healthy=not wrong, said=said)

    def health(self) -> list[Health]:
        """Ask every part at once."""
        states = self.supervisor.states()

        def ask(part: Part) -> Health:
            known = states.get(part.name)
            state, pid = (known.state, known.pid) if known else ("-", 0)  # systemd or containers may run it
            try:
                said = part.probe()
                if known and known.state not in ALIVE:
                    raise probes.Unhealthy(f"something answers ({said}), but the part is {known.state}: it is not ours")
                return Health(part.name, state, pid, part.where, healthy=True, said=said)
            except probes.Unhealthy as error:
                said = str(error) if pid else f"does not run ({error})"
                return Health(part.name, state, pid, part.where, healthy=False, said=said)

        parts = self.parts.all()
        with ThreadPoolExecutor(len(parts)) as pool:
            return list(pool.map(ask, parts))

    def _start(self, parts: list[Part]) -> None:
        """Start parts together, then wait for each."""
        for part in parts:
            if self.supervisor.states()[part.name].state in ALIVE:
                continue
            refuse_taken([part], self.parts.env_file.path)
            part.launch()  # what has to be fetched, built or made is made here, where it can be seen
            self.supervisor.start_part(part.name)
        for part in parts:
            try:
                said = self.ready(part, part.ready_s, lambda part=part: self._alive(part))
            except probes.Unhealthy as error:
                file = self.parts.logs / f"{part.name}.log"
                raise PartFailed(
                    f"{part.name} does not work: {error}\n{_tails([file, *_newest(part.own_logs)])}\n"
                    "Correct it and run make up again: what runs is left alone."
                ) from error
            log.info("%-17s %s (%s)", part.name, part.where, said)

    def ready(self, part: Part, seconds: float, alive: Callable[[], bool] = lambda: True) -> str:
        """Wait until a part is healthy, then see to what it holds: tables, buckets, limits. Raises Unhealthy."""
        said = probes.wait(part.probe, seconds, alive)
        server = self.parts.server
        if part.name == "postgres":
            self.make_tables()
        if part.name == "s3":
            Buckets(server.s3_access).make()
            if server.s3_accounts:
                settle(self.folder, server)
        if part.name == "webserver":
            dagster_parts.set_pool_limits(server.places.of("webserver"), server.pool_limits)
        return said

    def make_tables(self) -> None:
        """Make the tables that are missing, and give every role its rights on them."""
        schema.ensure(self.parts.server.postgres, self._tables)

    def migrate(self) -> None:
        """Bring the tables of an earlier version up to this one; Postgres must run, Dagster must not."""
        schema.migrate(self.parts.server.postgres, self._tables, self.parts.dagster_environment("owner"))

    def _alive(self, part: Part) -> bool:
        return self.supervisor.states()[part.name].state != "FATAL"

    def _stop(self) -> None:
        states = self.supervisor.states()
        parts = [part for part in self.parts.all() if part.name in states] if states else []
        for _, together in groupby(reversed(parts), lambda part: part.step):
            names = [part.name for part in together]
            log.info("stopping %s", ", ".join(names))
            self.supervisor.stop_parts(names)
        if states:
            self.supervisor.stop()
        self._end_orphans()

    def _end_orphans(self) -> None:
        """End parts that outlived their supervisor, the last started first."""
        found = orphans(self.folder)
        for _, together in groupby(reversed(self.parts.all()) if found else (), lambda part: part.step):
            ending = [(part, process) for part in together for process in found.pop(part.name, [])]
            for part, process in ending:
                log.info("ending %s (process %d), which has lost its supervisor", part.name, process.pid)
            end([(process, signal.Signals[f"SIG{part.stop}"]) for part, process in ending])
        # parts that an earlier version of egoworld or other settings had
        end([(process, signal.SIGTERM) for processes in found.values() for process in processes])

    def _last_digest(self) -> str:
        return self._started_with.read_text(encoding="utf-8") if self._started_with.is_file() else ""

    @contextmanager
    def _changing(self) -> Iterator[None]:
        with locked(self.folder / ".changing.lock"):
            yield


def end(processes: Iterable[tuple[psutil.Process, signal.Signals]]) -> None:
    """End processes, and what they have started, together: kindly, then surely."""
    family: list[psutil.Process] = []
    for process, number in processes:
        try:
            family += [process, *process.children(recursive=True)]
            process.send_signal(number)
        except psutil.NoSuchProcess:
            continue
    _, alive = psutil.wait_procs(family, timeout=STOP_S)
    for left in alive:
        try:
            left.kill()
        except psutil.NoSuchProcess:
            continue
    psutil.wait_procs(alive, timeout=STOP_S)


def _newest(folder: Path | None) -> list[Path]:
    files = [file for file in folder.iterdir() if file.is_file()] if folder and folder.is_dir() else []
    return sorted(files, key=lambda file: file.stat().st_mtime)[-1:]


def _tails(files: Iterable[Path]) -> str:
    texts = {file: file.read_text(encoding="utf-8", errors="replace") if file.is_file() else "" for file in files}
    return "\n".join(f"The end of {file}:\n{text[-3000:] or '(nothing)'}" for file, text in texts.items())
