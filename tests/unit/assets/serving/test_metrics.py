"""What Prometheus is told, and that the dashboard asks for nothing else."""

from __future__ import annotations

import json
import re
import threading
import urllib.request
from datetime import UTC, datetime
from pathlib import Path

import dagster as dg
import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families
from typer.testing import CliRunner

from egoworld_assets.cli.app import app
from egoworld_assets.orchestration.registry import stages
from egoworld_assets.serving.metrics import CONDITIONS, KEPT_S, METRICS, Exporter, Scan, runs_of, scan, server_of
from egoworld_resources.making.workbench import Workbench
from egoworld_resources.server.backup.last import LastBackup, note
from egoworld_resources.settings import PROJECT
from tests.benchmarks.made_store import FAILED, NEW, QUARANTINED, STALE, add_video, unflushed
from tests.made_up import workbench

VIDEOS = 60
DASHBOARD = PROJECT / "infra" / "grafana" / "egoworld.json"

Told = dict[tuple[str, tuple[str, ...]], float]


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Workbench:
    """Some videos of which a few failed, are quarantined, stale or not begun."""
    made = workbench(tmp_path_factory.mktemp("bench"))
    with unflushed():
        for number in range(VIDEOS):
            add_video(made, number)
    made.store.record("duplicates", "twin", {"name": "twin", "duplicate_of": "made-00000"})
    return made


def parsed(text: str) -> Told:
    """Samples by name and values of labels, in the order of METRICS."""
    return {
        (sample.name, tuple(sample.labels[label] for label in METRICS[sample.name][1])): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def scraped(exporter: Exporter) -> Told:
    registry = CollectorRegistry(auto_describe=False)
    registry.register(exporter)
    return parsed(generate_latest(registry).decode())


@pytest.fixture(scope="module")
def found(bench: Workbench) -> Told:
    """One scrape over HTTP."""
    with dg.DagsterInstance.ephemeral() as instance, server_of(bench, instance, 0) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        with urllib.request.urlopen(f"http://127.0.0.1:{server.server_port}/metrics") as answer:
            text = answer.read().decode()
        server.shutdown()
    return parsed(text)


def numbers(every: int, rest: int) -> int:
    return sum(number % every == rest and number % NEW != 1 for number in range(VIDEOS))


def test_arrivals_and_their_bytes_are_counted(found: Told) -> None:
    assert found["egoworld_arrivals", ("taken",)] == VIDEOS
    assert found["egoworld_arrivals", ("duplicate",)] == 1
    assert found["egoworld_arrivals", ("refused",)] == 0
    assert found["egoworld_source_bytes", ()] == sum(40_000_000 + number for number in range(VIDEOS))
    assert found["egoworld_last_arrival_timestamp_seconds", ()] > 1e9


def test_every_stage_has_every_state_and_each_video_one(bench: Workbench, found: Told) -> None:
    assert found["egoworld_artifacts", ("tracks", "failed")] == numbers(FAILED, 2) > 0
    assert found["egoworld_artifacts", ("masks", "quarantined")] == numbers(QUARANTINED, 4) > 0
    previews = [bench.state(stages()["previews"], video).condition for video, _ in bench.store.records("videos")]
    assert found["egoworld_artifacts", ("previews", "stale")] == previews.count("stale") >= numbers(STALE, 3) > 0
    assert found["egoworld_artifacts", ("videos", "missing")] == VIDEOS // NEW
    for stage in stages():
        assert sum(found["egoworld_artifacts", (stage, state)] for state in CONDITIONS) == VIDEOS


def test_seconds_rows_and_bytes_are_those_of_the_live_artifacts(bench: Workbench, found: Told) -> None:
    made = [bench.store.current("clips", video) for video in bench.store.videos("clips")]
    assert found["egoworld_stage_seconds", ("clips",)] == sum(one.seconds for one in made if one)
    assert found["egoworld_stage_rows", ("clips",)] == 550 * len(made)
    assert found["egoworld_stage_bytes", ("clips",)] == sum(f.bytes for one in made if one for f in one.files) > 0


def test_the_backlog_has_a_price(found: Told) -> None:
    assert found["egoworld_backlog_steps", ("videos", "certain")] == VIDEOS // NEW
    assert found["egoworld_backlog_steps", ("previews", "certain")] >= numbers(STALE, 3)
    at_least, at_most = (found["egoworld_backlog_seconds", (bound,)] for bound in ("at_least", "at_most"))
    assert at_most >= at_least > 0
    assert found["egoworld_backlog_unpriced_steps", ()] == 0, "every stage has run"


def test_what_never_ran_has_no_price_and_is_counted(tmp_path: Path) -> None:
    made = workbench(tmp_path)
    add_video(made, 1)
    samples = scan(made.snapshot()).found
    assert (
        samples["egoworld_backlog_unpriced_steps"][()]
        == sum(samples["egoworld_backlog_steps"].values())
        == len(stages())
    )


def test_reasons_in_words_make_no_label(bench: Workbench, tmp_path: Path) -> None:
    made = workbench(tmp_path)
    for number in range(3):
        add_video(made, number * FAILED + 2)
        key = f"tracks/made-{number * FAILED + 2:05d}"
        record = made.store.recorded("failures", key)
        assert record is not None
        made.store.record("failures", key, {**record, "reason": f"its own words {number}", "kind": "Terminal"})
    failures = scan(made.snapshot()).found["egoworld_failures"]
    assert failures == {("tracks", "Terminal"): 3}
    assert scan(bench.snapshot()).found["egoworld_quarantined"].keys() == {("masks", "finds_something")}


def test_runs_are_counted_by_status() -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        assert set(dict(runs_of(instance)).values()) == {0}

        @dg.op
        def fails() -> None:
            raise dg.Failure("as it should")

        @dg.job
        def failing() -> None:
            fails()

        failing.execute_in_process(instance=instance, raise_on_error=False)
        counts = dict(runs_of(instance))
    assert counts["failure",] == 1
    assert sum(counts.values()) == 1
    assert ("queued",) in counts


def test_only_the_first_scrape_waits_for_a_scan() -> None:
    free, second = threading.Event(), threading.Event()
    scans: list[int] = []

    def look() -> Scan:
        scans.append(len(scans))
        if len(scans) > 1:
            second.set()
            assert free.wait(60)
        result = Scan()
        result.add("egoworld_source_bytes", len(scans))
        return result

    now = 0.0
    exporter = Exporter(look, lambda: [(("queued",), 3)], clock=lambda: now)
    assert scraped(exporter)["egoworld_source_bytes", ()] == 1
    now += 2 * KEPT_S
    assert scraped(exporter)["egoworld_source_bytes", ()] == 1, "the last scan, while the next is made"
    assert second.wait(60)
    assert scraped(exporter)["egoworld_source_bytes", ()] == 1
    assert len(scans) == 2, "one at a time"
    behind = [thread for thread in threading.enumerate() if thread.name == "scan"]
    free.set()
    for thread in behind:
        thread.join(60)
    assert scraped(exporter)["egoworld_source_bytes", ()] == 2
    assert scraped(exporter)["egoworld_runs", ("queued",)] == 3
    assert len(scans) == 2, "none while the last is young"


def test_a_taken_port_is_reported(bench: Workbench) -> None:
    with dg.DagsterInstance.ephemeral() as instance, server_of(bench, instance, 0) as server:
        done = CliRunner().invoke(app, ["metrics", "--port", str(server.server_port)])
    assert done.exit_code == 1
    assert "in use" in done.output


def test_the_dashboard_asks_for_nothing_that_is_not_told() -> None:
    board = json.loads(DASHBOARD.read_text(encoding="utf-8"))
    queries = [target["expr"] for panel in board["panels"] for target in panel.get("targets", ())]
    assert len(queries) >= 10
    named: set[str] = set()
    for query in queries:
        names = set(re.findall(r"\begoworld_\w+", query))
        assert names <= METRICS.keys(), query
        named |= names
        known = {label for name in names for label in METRICS[name][1]}
        used = set(re.findall(r"(\w+)\s*=~?\s*\"", query))
        for grouped in re.findall(r"by \(([^)]*)\)", query):
            used |= {label.strip() for label in grouped.split(",")}
        assert names, query
        assert used <= known, query
    assert named == METRICS.keys(), "every metric is shown"


def test_the_panels_lie_beside_each_other() -> None:
    taken: dict[tuple[int, int], str] = {}
    for panel in json.loads(DASHBOARD.read_text(encoding="utf-8"))["panels"]:
        at = panel["gridPos"]
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert max(x for x, _ in cells) < 24
        assert not cells & taken.keys(), panel["title"]
        taken |= dict.fromkeys(cells, panel["title"])


def test_the_newest_backup_is_reported_when_there_is_one(tmp_path: Path) -> None:
    made = workbench(tmp_path)
    name = "egoworld_last_backup_timestamp_seconds"
    assert name not in scan(made.snapshot()).found
    made.layout.server.mkdir(parents=True)
    note(made.layout.server, LastBackup(folder=tmp_path, made_at=datetime(2026, 1, 2, tzinfo=UTC)))
    assert scan(made.snapshot()).found[name] == {(): datetime(2026, 1, 2, tzinfo=UTC).timestamp()}
    (made.layout.server / "last_backup.json").write_text("{")
    assert name not in scan(made.snapshot()).found
