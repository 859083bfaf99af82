"""What Prometheus scrapes: arrivals, runs, stages, what stopped and why, bytes, the backlog and its cost."""

from __future__ import annotations

import socket
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

import dagster as dg
from prometheus_client import CollectorRegistry, make_wsgi_app
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from egoworld_assets.orchestration.registry import stages
from egoworld_assets.planning.plan import plan_of
from egoworld_assets.planning.totals import total
from egoworld_assets.serving.artifact_files import free
from egoworld_resources.errors import EgoworldError
from egoworld_resources.making.views import Group, View, view_of
from egoworld_resources.making.workbench import Workbench
from egoworld_resources.server.backup.last import last_backup
from egoworld_resources.sockets import listening

LOOPBACK = "127.0.0.1"
KEPT_S = 30.0
SHARE = 10
"""A scan is repeated after this multiple of its duration: scanning a large store takes a tenth of one core at most."""
CONDITIONS = ("fresh", "stale", "missing", "failed", "quarantined", "blocked")
METRICS: dict[str, tuple[str, tuple[str, ...]]] = {
    "egoworld_arrivals": ("Files that arrived: taken as videos, duplicates of one, refused.", ("outcome",)),
    "egoworld_last_arrival_timestamp_seconds": ("When the newest video arrived.", ()),
    "egoworld_source_bytes": ("Bytes of the videos as they arrived.", ()),
    "egoworld_runs": ("Dagster runs that are known, by status.", ("status",)),
    "egoworld_artifacts": ("Videos by stage and the state of its artifact.", ("stage", "state")),
    "egoworld_stage_seconds": ("Seconds that making the live artifacts took.", ("stage",)),
    "egoworld_stage_rows": ("Rows in the live artifacts.", ("stage",)),
    "egoworld_stage_bytes": ("Bytes of the live artifacts; old versions are not counted.", ("stage",)),
    "egoworld_failures": ("Videos that failed now, by the kind of error.", ("stage", "kind")),
    "egoworld_quarantined": ("Videos in quarantine now, by the check that they did not pass.", ("stage", "check")),
    "egoworld_backlog_steps": ("What a refresh would make; possible: only if its input changes.", ("stage", "when")),
    "egoworld_backlog_seconds": ("What that takes by past runs, one step after the other.", ("bound",)),
    "egoworld_backlog_unpriced_steps": ("Steps of the backlog whose cost is not known.", ()),
    "egoworld_last_backup_timestamp_seconds": ("When the newest backup was begun; nothing while there is none.", ()),
    "egoworld_scan_timestamp_seconds": ("When the store was last looked through.", ()),
    "egoworld_scan_seconds": ("How long that took.", ()),
}
"""Every metric: its description, and its labels. Values of labels are names in our code, never words of a runner."""

Sample = tuple[tuple[str, ...], float]


@dataclass
class Scan:
    """One look at the whole store: samples by metric, by values of its labels."""

    found: dict[str, Counter[tuple[str, ...]]] = field(default_factory=lambda: defaultdict(Counter))

    def add(self, name: str, value: float = 1, *labels: str) -> None:
        self.found[name][labels] += value  # pyright: ignore[reportArgumentType] (a Counter of seconds)


def scan(bench: Workbench) -> Scan:
    """Look through what is made. What is counted is what there is now, so numbers may go down."""
    began = time.monotonic()
    result = Scan()
    for outcome, kind in (("duplicate", "duplicates"), ("refused", "refusals")):
        result.add("egoworld_arrivals", sum(1 for _ in bench.store.records(kind)), outcome)
    result.add("egoworld_arrivals", 0, "taken")
    view = view_of(bench, list(stages().values()), None)
    count(view, result)
    backlog = plan_of(bench, list(stages().values()), view)
    for step in backlog.steps:
        result.add("egoworld_backlog_steps", 1, step.asset, "certain" if step.certain else "possible")
    cost = total(backlog, backlog.steps)
    result.add("egoworld_backlog_seconds", cost.seconds_certain, "at_least")
    result.add("egoworld_backlog_seconds", cost.seconds, "at_most")
    result.add("egoworld_backlog_unpriced_steps", cost.unknown)
    backup = last_backup(bench.layout.server)
    if backup:
        result.add("egoworld_last_backup_timestamp_seconds", backup.made_at.timestamp())
    result.add("egoworld_scan_timestamp_seconds", time.time())
    result.add("egoworld_scan_seconds", time.monotonic() - began)
    return result


def count(view: View, result: Scan) -> None:
    """The videos, the states of their artifacts, what these hold, and why some stopped."""
    arrived = view.arrivals()
    result.add("egoworld_arrivals", arrived.videos, "taken")
    if arrived.videos:
        result.add("egoworld_source_bytes", arrived.bytes)
    if arrived.newest:
        result.add("egoworld_last_arrival_timestamp_seconds", datetime.fromisoformat(arrived.newest).timestamp())
    for name in stages():
        for condition in CONDITIONS:
            result.add("egoworld_artifacts", 0, name, condition)
        amounts = view.amounts(name)
        if amounts.bytes:
            result.add("egoworld_stage_seconds", amounts.seconds, name)
            result.add("egoworld_stage_rows", amounts.rows, name)
            result.add("egoworld_stage_bytes", amounts.bytes, name)
    for group in view.groups():
        count_alike(view, result, group)


def count_alike(view: View, result: Scan, group: Group) -> None:
    """The states of videos that stand alike, and why they stopped."""
    number, video = len(group.videos), group.example
    for name, stage in stages().items():
        try:
            state = view.state(stage, video)
        except EgoworldError as error:
            result.add("egoworld_artifacts", number, name, "failed")
            result.add("egoworld_failures", number, name, type(error).__name__)
            continue
        result.add("egoworld_artifacts", number, name, state.condition)
        if state.condition == "failed":
            record = view.recorded("failures", f"{name}/{video}") or {}
            result.add("egoworld_failures", number, name, str(record.get("kind", "unknown")))
        elif state.condition == "quarantined":
            for made in view.made(name, [video]).values():
                for check in made.checks:
                    result.add("egoworld_quarantined", number, name, check)


class Exporter(Collector):
    """Collects on each scrape: runs as they are now, the rest as the last scan found it.

    Only the first scrape waits for a scan. Later ones get the last result, and start the next when it is old.
    """

    def __init__(
        self,
        look: Callable[[], Scan],
        runs: Callable[[], Iterable[Sample]],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._look, self._runs, self._clock = look, runs, clock
        self._lock = threading.Lock()
        self._last: Scan | None = None
        self._due = 0.0
        self._scanning = False

    def collect(self) -> Iterator[Metric]:
        """Every metric of METRICS."""
        found: dict[str, list[Sample]] = {name: list(samples.items()) for name, samples in self._scan().found.items()}
        found["egoworld_runs"] = list(self._runs())
        for name, (description, labels) in METRICS.items():
            family = GaugeMetricFamily(name, description, labels=labels)
            for values, value in sorted(found.get(name, ())):
                family.add_metric(values, value)
            yield family

    def _scan(self) -> Scan:
        with self._lock:
            if self._last is None:
                return self._renew()
            if self._clock() >= self._due and not self._scanning:
                self._scanning = True
                threading.Thread(target=self._renew_behind, daemon=True, name="scan").start()
            return self._last

    def _renew_behind(self) -> None:
        try:
            self._renew()
        finally:
            self._scanning = False

    def _renew(self) -> Scan:
        began = self._clock()
        self._last = self._look()
        ended = self._clock()
        self._due = ended + max(KEPT_S, SHARE * (ended - began))
        return self._last


def runs_of(instance: dg.DagsterInstance) -> list[Sample]:
    """Dagster's runs by status."""
    counts = ((status, instance.get_runs_count(dg.RunsFilter(statuses=[status]))) for status in dg.DagsterRunStatus)
    return [((status.value.lower(),), count) for status, count in counts]


class Quiet(WSGIRequestHandler):
    """No line per scrape."""

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        pass


class SocketServer(WSGIServer):
    """The same on a Unix socket that listens already."""

    address_family = socket.AF_UNIX

    def __init__(self, path: Path, answers: type[WSGIRequestHandler]) -> None:
        super().__init__(str(path), answers, bind_and_activate=False)  # pyright: ignore[reportArgumentType]
        self.socket.close()
        self.socket = listening(path)
        self.server_name, self.server_port = "localhost", 0
        self.setup_environ()

    def get_request(self) -> tuple[socket.socket, tuple[str, int]]:
        """What asks has no address on a Unix socket, and handlers want one."""
        return self.socket.accept()[0], ("localhost", 0)


def server_of(bench: Workbench, instance: dg.DagsterInstance, at: int | Path) -> WSGIServer:
    """Serves /metrics on a port of loopback, 0 for a free one, or on a Unix socket. The caller runs and closes it.

    Raises BadConfiguration when something listens there already.
    """
    registry = CollectorRegistry(auto_describe=False)
    registry.register(Exporter(lambda: scan(bench.snapshot()), lambda: runs_of(instance)))
    app = make_wsgi_app(registry)
    if isinstance(at, Path):
        server = SocketServer(at, Quiet)
        server.set_app(app)
        return server
    if at:
        free(at)
    return make_server(LOOPBACK, at, app, handler_class=Quiet)
