"""The running service under random kill -9: ``python -m tests.soak FOLDER --minutes 60`` prints a table of outcomes.

Videos come through the inbox and through backfills while processes of the service are killed at random moments and
the service is started again, as a service manager does. In the end the killing stops, what is left is waited for, and
every video must have come to the state that its kind has, with whole artifacts and nothing doubled or left behind.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import dagster as dg
import psutil

from egoworld_assets.orchestration.registry import stages
from egoworld_assets.planning.outdated import outdated
from egoworld_resources.errors import EgoworldError
from egoworld_resources.making.workbench import Workbench
from egoworld_resources.settings import Settings
from tests.faults import below, kill_pid
from tests.servers import free_port

KINDS = ("runner", "step", "code server", "daemon", "webserver", "everything")
UNFINISHED = (
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
)
BACKFILL = """
mutation($names: [String!]!, $assets: [AssetKeyInput!]!) {
  launchPartitionBackfill(backfillParams: {assetSelection: $assets, partitionNames: $names, title: "soak"}) {
    __typename ... on LaunchBackfillSuccess { backfillId } ... on PythonError { message }
  }
}
"""


STALE = """
query($partitions: [String!]!) {
  assetNodes(group: {groupName: "video_to_dataset", repositoryName: "__repository__",
                     repositoryLocationName: "egoworld"}) {
    assetKey { path } staleStatusByPartition(partitions: $partitions)
  }
}
"""
"""What Dagster itself says of each stage and partition: FRESH, STALE or MISSING."""


class Service:
    """``egoworld ui`` on a home, started again whenever it has ended."""

    def __init__(self, folder: Path, config: str) -> None:
        self.folder = folder
        self.port = free_port()
        self.environment = {n: v for n, v in os.environ.items() if not n.startswith("EGOWORLD_")}
        self.environment["EGOWORLD_CONFIG"] = config
        self.process: subprocess.Popen[bytes] | None = None
        self.starts = 0

    def command(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "egoworld_assets.cli", *arguments],
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
        )

    def keep_up(self) -> None:
        """Start it unless it runs."""
        if self.process is None or self.process.poll() is not None:
            self.starts += 1
            with (self.folder / "service.log").open("ab") as log:
                self.process = subprocess.Popen(
                    [sys.executable, "-m", "egoworld_assets.cli", "ui", "--port", str(self.port)],
                    env=self.environment,
                    stdout=log,
                    stderr=log,
                    start_new_session=True,
                )

    def processes(self, kind: str) -> list[psutil.Process]:
        """The processes of a kind that run now."""
        assert self.process is not None
        tree = below(self.process.pid)
        if kind == "everything":
            return [psutil.Process(self.process.pid), *tree]
        return [process for process in tree if kind_of(process) == kind]

    def stop(self) -> None:
        assert self.process is not None
        tree = below(self.process.pid)
        self.process.send_signal(signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(30)
        for process in [*tree, psutil.Process(self.process.pid)] if self.process.poll() is None else tree:
            kill_pid(process.pid)

    def asked(self, query: str, **variables: Any) -> Any:
        """What the webserver answers to GraphQL. Raises OSError or ValueError while it is not up."""
        body = json.dumps({"query": query, "variables": variables}).encode()
        url = f"http://127.0.0.1:{self.port}/graphql"
        request = urllib.request.Request(url, body, {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=60) as answer:
            told = json.load(answer)
        if "errors" in told:
            raise ValueError(told["errors"])
        return told["data"]

    def answered(self, query: str, **variables: Any) -> Any:
        """What the webserver answers, once it is up and has loaded the definitions."""
        end = time.monotonic() + 300
        while True:
            try:
                return self.asked(query, **variables)
            except (OSError, ValueError):
                if time.monotonic() > end:
                    raise
                time.sleep(0.2)

    def backfill(self, keys: Sequence[str], assets: Iterable[str] | None = None) -> None:
        """Ask for some stages of some videos, by default for all stages, again until the server answers."""
        paths = [{"path": [name]} for name in (stages() if assets is None else assets)]
        while True:
            self.keep_up()
            with suppress(OSError, ValueError):
                told = self.asked(BACKFILL, names=list(keys), assets=paths)["launchPartitionBackfill"]
                if told["__typename"] == "LaunchBackfillSuccess":
                    return
                print(told, file=sys.stderr)
            time.sleep(2)


def kind_of(process: psutil.Process) -> str:
    """Which part of the service a process is."""
    with suppress(psutil.Error):
        words = " ".join(process.cmdline())
        if "keeper.py" in words:
            return "keeper"
        if "egoworld_runner" in words:
            return "runner"
        if "dagster_webserver" in words or "dagster-webserver" in words:
            return "webserver"
        if "dagster._daemon" in words or "dagster-daemon" in words:
            return "daemon"
        if " api grpc" in words or "code-server" in words:
            return "code server"
        if "spawn_main" in words or "execute_run" in words:
            return "step"
    return ""


class Soak:
    """What comes in, what is killed, and what became of it."""

    def __init__(self, folder: Path, config: Path, seed: int) -> None:
        os.environ["EGOWORLD_CONFIG"] = str(config)
        self.folder = folder
        self.bench = Workbench(Settings.load())
        self.service = Service(folder, str(config))
        self.rng = random.Random(seed)
        self.kills: Counter[str] = Counter()
        self.names: dict[str, str] = {}

    def run(
        self,
        files: dict[str, list[Path]],
        minutes: float,
        every_s: tuple[float, float],
        wait_s: float,
        look_s: float,
        backfilled: float,
        kills: int = 0,
    ) -> None:
        """Bring files in, a share of them by a backfill, kill for some minutes, then wait until all is quiet.

        kills: how often at least, also when it takes longer.
        """
        waiting = [(kind, path) for kind, paths in files.items() for path in paths]
        self.rng.shuffle(waiting)
        first = round(len(waiting) * backfilled)
        by_backfill, by_inbox = waiting[:first], waiting[first:]
        self.names = {path.name: kind for kind, path in waiting}
        self.bench.settings.inbox_folder.mkdir(parents=True, exist_ok=True)
        self.service.keep_up()
        if by_backfill:
            self.ingest([path for _, path in by_backfill])
        end = time.monotonic() + 60 * minutes
        gap = 60 * minutes / 2 / max(1, len(by_inbox))
        next_drop, next_kill = time.monotonic(), time.monotonic() + self.rng.uniform(*every_s)
        while time.monotonic() < end or self.kills.total() < kills:
            self.service.keep_up()
            if by_inbox and time.monotonic() >= next_drop:
                drop(by_inbox.pop()[1], self.bench.settings.inbox_folder)
                next_drop += gap
            if time.monotonic() >= next_kill:
                hit = self.kill(min(KINDS, key=lambda kind: (self.kills[kind], self.rng.random())))
                next_kill = time.monotonic() + (self.rng.uniform(*every_s) if hit else 1.0)
            time.sleep(0.2)
        for _, path in by_inbox:
            drop(path, self.bench.settings.inbox_folder)
        self.settle(wait_s, look_s)

    def ingest(self, paths: Sequence[Path]) -> None:
        """Take files in by the command line and ask for a backfill of them."""
        self.service.command("ingest", *map(str, paths))
        self.service.backfill([key for key, _ in self.bench.store.records("videos")])

    def kill(self, kind: str) -> bool:
        """Kill all processes of a kind; whether there was any."""
        hit = [process for process in self.service.processes(kind) if kill_pid(process.pid)]
        if hit:
            self.kills[kind] += 1
            print(f"{time.strftime('%H:%M:%S')} killed {kind} ({len(hit)})", file=sys.stderr, flush=True)
        return bool(hit)

    def settle(self, wait_s: float, look_s: float) -> None:
        """Wait until Dagster has nothing more to do, three looks in a row, and stop the service."""
        until, quiet = time.monotonic() + wait_s, 0
        while quiet < 3 and time.monotonic() < until:
            self.service.keep_up()
            time.sleep(look_s)
            busy = self.unfinished()
            quiet = 0 if busy else quiet + 1
            print(f"{time.strftime('%H:%M:%S')} unfinished: {busy}", file=sys.stderr, flush=True)
        self.service.stop()

    def unfinished(self) -> int:
        """Runs and backfills in the works, and inbox files that no sensor has taken."""
        with dg.DagsterInstance.from_config(str(self.bench.layout.dagster)) as instance:
            runs = instance.get_runs_count(dg.RunsFilter(statuses=list(UNFINISHED)))
            backfills = [b for b in instance.get_backfills() if b.status.name == "REQUESTED"]
        known = {facts["name"] for kind in ("videos", "duplicates", "refusals") for _, facts in self.records(kind)}
        there = [p for p in self.bench.settings.inbox_folder.rglob("*") if p.is_file() and p.name not in known]
        return runs + len(backfills) + len(there)

    def records(self, kind: str) -> Iterator[tuple[str, dict[str, Any]]]:
        yield from self.bench.store.records(kind)

    def left(self) -> dict[str, list[str]]:
        """What a refresh would still make, by video: interrupted too often, or never asked for."""
        wanted = {key: outdated(self.bench, stages().values(), key) for key, _ in self.records("videos")}
        return {key: names for key, names in wanted.items() if names}

    def outcomes(self) -> dict[str, Counter[str]]:
        """How the files of each kind ended."""
        found: dict[str, Counter[str]] = {}
        for key, facts in self.records("videos"):
            found.setdefault(self.kind(facts), Counter())[self.outcome(key)] += 1
        for state in ("duplicates", "refusals"):
            for _, facts in self.records(state):
                found.setdefault(self.kind(facts), Counter())[state.removesuffix("s")] += 1
        return found

    def kind(self, facts: dict[str, Any]) -> str:
        return self.names.get(Path(facts["name"]).name, "?")

    def outcome(self, video: str) -> str:
        conditions: dict[str, str] = {}
        for stage in stages().values():
            try:
                conditions[stage.name] = self.bench.state(stage, video).condition
            except EgoworldError as error:
                return f"fault: {error}"
        for state in ("missing", "stale", "failed", "quarantined"):
            at = [name for name, condition in conditions.items() if condition == state]
            if at:
                return f"{state} at {', '.join(at)}"
        return "all fresh"

    def problems(self) -> list[str]:
        """Artifacts that are damaged, doubled, or unknown to Dagster; leftovers of dead writers."""
        found: list[str] = []
        with dg.DagsterInstance.from_config(str(self.bench.layout.dagster)) as instance:
            for stage in stages():
                told = instance.get_materialized_partitions(dg.AssetKey(stage))
                for video in self.bench.store.videos(stage):
                    made = self.bench.store.current(stage, video)
                    assert made is not None
                    found += self.bench.store.verify(made)
                    versions = [p for p in self.bench.store.folder(made).parent.iterdir() if p.is_dir()]
                    found += [f"{stage} of {video} is there {len(versions)} times"] if len(versions) > 1 else []
                    found += [] if video in told else [f"Dagster never heard of {stage} of {video}"]
        return found


def drop(path: Path, inbox: Path) -> None:
    """Copy a file into the inbox as a transfer program does."""
    part = inbox / f"{path.name}.part"
    shutil.copyfile(path, part)
    part.rename(inbox / path.name)


def real_files(folder: Path, count: int, shared: Path) -> dict[str, list[Path]]:
    """Samples of different seeds, the real videos of the shared data, and bad files."""
    from egoworld_resources.sample import SampleOptions, render
    from tests import bad_videos

    found = sorted(p for p in shared.rglob("*.mp4") if p.stat().st_size < 3_000_000)
    (folder / "bad").mkdir(parents=True, exist_ok=True)
    bad_videos.write_all(folder / "bad", bad_videos.contents())
    bad = sorted(p for p in (folder / "bad").iterdir() if p.is_file())
    samples: list[Path] = []
    for seed in range(100, 100 + count - len(found) - len(bad)):
        samples.append(folder / f"sample-{seed}.mp4")
        if not samples[-1].exists():
            render(samples[-1], SampleOptions(seed=seed, seconds=2.0, width=480, height=270))
    return {"real": found, "bad": bad, "sample": samples}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--videos", type=int, default=64)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--wait-minutes", type=float, default=30)
    given = parser.parse_args()
    folder = given.folder.absolute()
    folder.mkdir(parents=True, exist_ok=True)
    config = folder / "egoworld.toml"
    config.write_text(f'home = "{folder}/data"\nfiles_url = "http://127.0.0.1:{free_port()}"\nretry_delay_s = 2\n')
    files = real_files(folder / "files", given.videos, Path(__file__).resolve().parents[2] / "shared" / "data")
    soak = Soak(folder, config, given.seed)
    soak.run(files, given.minutes, (60.0, 180.0), 60 * given.wait_minutes, 20.0, backfilled=1 / 3)
    left = soak.left()
    soak.service.command("refresh")
    told = {
        "seed": given.seed,
        "kills": dict(soak.kills),
        "starts of the service": soak.service.starts,
        "left for refresh": left,
        "outcomes": {kind: dict(counts) for kind, counts in sorted(soak.outcomes().items())},
        "problems": soak.problems(),
    }
    print(json.dumps(told, indent=2))
    return 1 if told["problems"] else 0


if __name__ == "__main__":
    sys.exit(main())
