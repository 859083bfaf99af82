"""Retention on Dagster's real storages: noise goes, and all that Dagster says of assets stays as it was."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import dagster as dg
import pytest
import sqlalchemy as sa
from typer.testing import CliRunner

from egoworld_assets.automation.event_log_retention import Pruned, event_log_retention, events, prune
from egoworld_assets.automation.quarantine import quarantine
from egoworld_assets.cli.app import app
from egoworld_assets.definitions import resources
from egoworld_assets.orchestration.batches import RANGE
from egoworld_assets.orchestration.registry import stages
from egoworld_assets.orchestration.stage_assets import stage_assets
from egoworld_resources.inbox.arrivals import Arrivals
from egoworld_resources.making.workbench import Workbench
from egoworld_resources.server import probes, schema
from egoworld_resources.server.launch import Launch
from egoworld_resources.server.postgres import PostgresAddress
from egoworld_resources.settings import PROJECT
from tests.made_up import video, workbench
from tests.servers import free_port, running

LATER = datetime.now(UTC) + timedelta(days=100)
videos, clips = "videos", "clips"
ASSETS: list[dg.AssetsDefinition] = [stage_assets([stages()[videos], stages()[clips]]), quarantine]
RUN = "query($id:ID!){runOrError(runId:$id){__typename ... on Run{status startTime endTime stats{__typename} \
assetMaterializations{assetKey{path} partition} eventConnection{events{__typename}}}}}"

DIES = """
import sys
from datetime import datetime
import dagster as dg, os, signal
from egoworld_assets.automation import event_log_retention as retention

retention.BATCH, batches, remember = 2, iter(range(9)), retention.remember
def remembers_once(instance, ended):
    if next(batches) == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    remember(instance, ended)
retention.remember = remembers_once
retention.prune(dg.DagsterInstance.get(), 90, apply=True, now=datetime.fromisoformat(sys.argv[1]))
"""


@dataclass(frozen=True)
class History:
    """A DAGSTER_HOME as it is shipped, with runs in it, on SQLite or in a database of a real Postgres."""

    kind: str
    bench: Workbench
    home: Path
    server: PostgresAddress | None
    database: str

    def copy(self, folder: Path) -> dict[str, str]:
        """The same again in ``folder``, and in another database; its environment."""
        shutil.copytree(self.home, folder)
        return {"DAGSTER_HOME": str(folder), **self.login(f"TEMPLATE {self.database}")}

    def login(self, like: str = "") -> dict[str, str]:
        """The environment of a new database."""
        at, database = self.server, f"t{secrets.token_hex(6)}" if like else self.database
        if at is None:
            return {}
        with closing(at.connect()) as connection:
            connection.autocommit = True
            connection.cursor().execute(f"CREATE DATABASE {database} {like}")
        made = replace(at, database=database)
        if not like:
            schema.make(made)
        return made.variables


@pytest.fixture(scope="module", params=["sqlite", "postgres"])
def history(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> History:
    """Ten runs: batches, one video asked for by key, a bad video that failed, five looks at the quarantine."""
    folder = tmp_path_factory.mktemp("history")
    (folder / "dagster").mkdir()
    on_postgres = request.param == "postgres"
    name = "dagster.production.yaml" if on_postgres else "dagster.yaml"
    shutil.copyfile(PROJECT / "infra" / name, folder / "dagster" / "dagster.yaml")
    server = request.getfixturevalue("postgres_server") if on_postgres else None
    with pytest.MonkeyPatch.context() as patch:
        for variable in [name for name in os.environ if name.startswith(("EGOWORLD_", "S3_"))]:
            patch.delenv(variable)
        bench = workbench(folder)
        made = History(request.param, bench, folder / "dagster", server, f"t{secrets.token_hex(6)}")
        for variable, value in made.login().items():
            patch.setenv(variable, value)
        fill(bench, made.home, folder)
    return made


def fill(bench: Workbench, home: Path, folder: Path) -> None:
    (folder / "bad.mp4").write_text("no pictures")
    paths = [video(folder / f"{n}.mp4", shots=(10 + n, 12)) for n in range(3)]
    keys = [Arrivals(bench.store).take(path).video for path in (*paths, folder / "bad.mp4")]
    with dg.DagsterInstance.from_config(str(home)) as instance:
        instance.add_dynamic_partitions("videos", keys)
        for asset in (videos, clips, clips):
            assert run(bench, instance, asset, dict(zip(RANGE, (keys[0], keys[2]), strict=True))).success
        by_key = {"dagster/run_key": "asked", "dagster/sensor_name": "inbox"}
        assert run(bench, instance, clips, {"dagster/partition": keys[0], **by_key}).success
        assert not run(bench, instance, videos, dict(zip(RANGE, (keys[3], keys[3]), strict=True))).success
        for _ in range(5):
            assert run(bench, instance, quarantine, {}).success


@pytest.fixture
def home(history: History, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name, value in history.copy(tmp_path / "dagster").items():
        monkeypatch.setenv(name, value)
    return tmp_path / "dagster"


@pytest.fixture
def bench(history: History) -> Workbench:
    return history.bench


@pytest.fixture
def instance(home: Path) -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.from_config(str(home)) as opened:
        yield opened


def run(bench: Workbench, instance: dg.DagsterInstance, asset: str, tags: dict[str, str]) -> dg.ExecuteInProcessResult:
    options: dict[str, Any] = {"resources": resources(bench), "tags": tags, "raise_on_error": False}
    partition = tags.get("dagster/partition")
    return dg.materialize(ASSETS, selection=[asset], instance=instance, partition_key=partition, **options)


def rows(instance: dg.DagsterInstance) -> int:
    """Rows of all event logs."""
    storage: Any = instance.event_log_storage
    shards = [run.run_id for run in instance.get_runs()] if storage.is_run_sharded else [None]
    count = sa.select(sa.func.count()).select_from(events)
    total = 0
    for shard in shards:
        with storage.run_connection(shard) as connection:
            total += connection.execute(count).scalar()
    return total


def known(instance: dg.DagsterInstance, bench: Workbench) -> dict[str, Any]:
    """All that Dagster says of the assets, and what egoworld says of them."""
    storage = instance.event_log_storage
    found: dict[str, Any] = {"keys": sorted(key.to_user_string() for key in instance.all_asset_keys())}
    for record in instance.get_asset_records([key for asset in ASSETS for key in asset.keys]):
        entry, key = record.asset_entry, record.asset_entry.asset_key
        pruned = instance.fetch_materializations(key, limit=100).records
        found[key.to_user_string()] = {
            "partitions": sorted(instance.get_materialized_partitions(key)),
            "last": (entry.last_run_id, entry.last_materialization_storage_id, entry.last_materialization),
            "latest": storage.get_latest_storage_id_by_partition(key, dg.DagsterEventType.ASSET_MATERIALIZATION),
            "materializations": [(one.storage_id, one.run_id, one.asset_materialization) for one in pruned],
            "without": storage.get_latest_asset_partition_materialization_attempts_without_materializations(key),
        }
    checks = [dg.AssetCheckKey(dg.AssetKey(asset), "valid") for asset in (videos, clips)]
    found["checks"] = [storage.get_asset_check_execution_history(key, limit=100) for key in checks]
    found["latest checks"] = storage.get_latest_asset_check_execution_by_key(checks)
    ends = (dg.DagsterEventType.RUN_SUCCESS, dg.DagsterEventType.RUN_FAILURE)
    kept = {run.run_id for run in instance.get_runs()}
    changes = [
        r.storage_id for e in ends for r in instance.fetch_run_status_changes(e, 100).records if r.run_id in kept
    ]
    found["ends"] = sorted(changes)
    shown = [
        bench.state(asset_stage, key) for asset_stage in stages().values() for key, _ in bench.store.records("videos")
    ]
    found["status"] = [(state.condition, state.why) for state in shown]
    return found


def same(before: dict[str, Any], after: dict[str, Any]) -> None:
    ends = set(before.pop("ends"))
    assert set(after.pop("ends")) <= ends
    assert after == before


def test_only_noise_goes(instance: dg.DagsterInstance, bench: Workbench, tmp_path: Path) -> None:
    before, had, runs = known(instance, bench), rows(instance), [run.run_id for run in instance.get_runs()]
    assert len(before["videos"]["partitions"]) == 3
    assert len(before["videos"]["without"]) == 1, "the failed video"

    planned = prune(instance, 90, apply=False, now=LATER)
    assert (rows(instance), runs) == (had, [run.run_id for run in instance.get_runs()]), "a dry run changes nothing"
    assert planned == prune(instance, 90, apply=False, now=LATER)
    assert (planned.looked_at, planned.whole) == (10, True)
    assert planned.deleted == 3, "of five looks at the quarantine the first told something and the last is the last"
    assert planned.thinned == 7

    assert prune(instance, 90, apply=True, now=LATER) == planned
    same(before, known(instance, bench))
    assert had - rows(instance) == planned.events > had / 3
    assert [run.run_id for run in instance.get_runs()] == [runs[0], *runs[4:]]
    assert instance.get_runs(dg.RunsFilter(tags={"dagster/run_key": "asked"}))
    assert prune(instance, 90, apply=True, now=LATER) == Pruned(), "nothing is looked at twice"

    assert run(bench, instance, quarantine, {}).success
    assert prune(instance, 90, apply=True, now=LATER).looked_at == 1


def test_a_page_of_a_pruned_run_still_answers(instance: dg.DagsterInstance, home: Path, tmp_path: Path) -> None:
    prune(instance, 90, apply=True, now=LATER)
    port = free_port()
    program = str(Path(sys.executable).with_name("dagster-webserver"))
    launch = Launch((program, "--empty-workspace", "-h", "127.0.0.1", "-p", str(port)), dict(os.environ))
    url = f"http://127.0.0.1:{port}"
    with running(launch, lambda: probes.fetch(f"{url}/server_info").decode(), tmp_path / "webserver.log"):
        for found in instance.get_runs():
            body = json.dumps({"query": RUN, "variables": {"id": found.run_id}}).encode()
            with urlopen(Request(f"{url}/graphql", body, {"Content-Type": "application/json"})) as answer:
                answered = json.load(answer)
            shown = answered["data"]["runOrError"]
            assert (shown["status"], "errors" in answered) == (found.status.value, False), answered
            kinds = {event["__typename"] for event in shown["eventConnection"]["events"]}
            assert kinds & {"RunSuccessEvent", "RunFailureEvent"}
            assert not kinds & {"LogMessageEvent", "EngineEvent", "ExecutionStepStartEvent"}
            if found.status == dg.DagsterRunStatus.FAILURE:
                assert "ExecutionStepFailureEvent" in kinds, "why it failed"


def test_killed_in_the_middle_the_next_time_finishes(instance: dg.DagsterInstance, bench: Workbench) -> None:
    before, had, planned = known(instance, bench), rows(instance), prune(instance, 90, apply=False, now=LATER)
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", DIES, LATER.isoformat()], check=False)
    assert done.returncode == -signal.SIGKILL
    left = rows(instance)
    assert had - planned.events < left < had
    same(dict(before), known(instance, bench))
    assert prune(instance, 90, apply=True, now=LATER).looked_at == 9, "the first was remembered"
    assert had - rows(instance) == planned.events
    same(before, known(instance, bench))


def test_young_and_running_runs_stay_whole_and_zero_days_keep_all(
    instance: dg.DagsterInstance, bench: Workbench
) -> None:
    had = rows(instance)
    assert prune(instance, 90, apply=True) == Pruned(), "all of them are from today"
    assert prune(instance, 0, apply=True, now=LATER) == Pruned()
    for status in (dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.NOT_STARTED):
        waiting = instance.create_run_for_job(event_log_retention, status=status)
        instance.report_engine_event("noise", waiting)
    prune(instance, 90, apply=True, now=LATER)
    for status in (dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.NOT_STARTED):
        (still,) = instance.get_runs(dg.RunsFilter(statuses=[status]))
        assert [e.message for e in instance.all_logs(still.run_id, of_type=dg.DagsterEventType.ENGINE_EVENT)]
    assert rows(instance) < had


def test_no_time_left_goes_on_the_next_night(
    instance: dg.DagsterInstance, bench: Workbench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("egoworld_assets.automation.event_log_retention.BATCH", 4)
    times = iter(range(0, 1000, 15))
    first = prune(instance, 90, apply=True, seconds=20, clock=lambda: float(next(times)), now=LATER)
    assert (first.looked_at, first.whole) == (3, False)
    assert prune(instance, 90, apply=True, now=LATER).looked_at == 7


def test_egoworld_prune_says_and_does_it(instance: dg.DagsterInstance, home: Path, tmp_path: Path) -> None:
    storage: Any = instance.run_storage
    runs = sa.table("runs", sa.column("update_timestamp"))
    with storage.connect() as connection:
        connection.execute(
            sa.update(runs).values(update_timestamp=datetime.now(UTC).replace(tzinfo=None) - timedelta(95))
        )
    server = tmp_path / "data" / "production" / "dagster"
    server.parent.mkdir(parents=True)
    home.rename(server)
    env = {"EGOWORLD_HOME": str(tmp_path / "data"), "DAGSTER_HOME": str(server)}

    def pruned(*words: str) -> dict[str, Any]:
        done = CliRunner().invoke(app, ["prune", "--json", *words], env=env)
        assert done.exit_code == 0, done.output
        return json.loads(done.stdout)

    assert pruned("--days", "100")["looked_at"] == 0
    dry, done = pruned(), pruned("--apply")
    assert (dry["days"], dry["looked_at"], dry["events"], dry["applied"]) == (90, 10, done["events"], False)
    assert pruned()["events"] == 0
