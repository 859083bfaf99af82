"""A real Prometheus scrapes our metrics and is asked every question of the dashboard."""

from __future__ import annotations

import json
import shutil
import subprocess
import threading
import urllib.parse
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import dagster as dg
import pytest

from egoworld_assets.serving.metrics import server_of
from egoworld_resources.server import probes
from egoworld_resources.server.backup.last import LastBackup, note
from egoworld_resources.server.launch import Launch
from egoworld_resources.settings import PROJECT
from tests.benchmarks.made_store import add_video, unflushed
from tests.made_up import workbench
from tests.servers import free_port, running

VIDEOS = 60
BOARD = json.loads((PROJECT / "infra" / "grafana" / "egoworld.json").read_text(encoding="utf-8"))
QUERIES = [target["expr"] for panel in BOARD["panels"] for target in panel["targets"]]
ARRIVED = {"arrived_at": "2026-01-02T03:04:05+00:00"}
CONFIG = """
global: {{scrape_interval: 1s, scrape_timeout: 1s}}
scrape_configs:
  - job_name: egoworld
    static_configs: [{{targets: ["127.0.0.1:{port}"]}}]
"""


def queried(prometheus: str, query: str) -> list[dict[str, object]]:
    """The series that Prometheus answers a question with; raises Unhealthy for a question that it does not take."""
    url = f"{prometheus}/api/v1/query?{urllib.parse.urlencode({'query': query})}"
    answer = json.loads(probes.fetch(url))
    assert answer["status"] == "success", answer
    return answer["data"]["result"]


def scraped(prometheus: str) -> str:
    """Healthy once our metrics were scraped."""
    if not queried(prometheus, "egoworld_scan_timestamp_seconds"):
        raise probes.Unhealthy("nothing was scraped yet")
    return "scraped"


@pytest.fixture(scope="module")
def prometheus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of a Prometheus that has scraped a store with something of everything in it."""
    program = shutil.which("prometheus")
    if program is None:
        pytest.skip("prometheus is not on the PATH: the dashboard's questions were asked of none")
    folder = tmp_path_factory.mktemp("prometheus")
    bench = workbench(folder)
    with unflushed():
        for number in range(VIDEOS):
            add_video(bench, number)
    bench.layout.server.mkdir(parents=True)
    bench.store.record("videos", "v", {"name": "v.mp4", "sha256": "0", "suffix": ".mp4", "bytes": 1, **ARRIVED})
    note(bench.layout.server, LastBackup.model_validate({"folder": folder, "made_at": "2026-01-02T03:04:05Z"}))
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    with dg.DagsterInstance.ephemeral() as instance, server_of(bench, instance, 0) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        config = folder / "prometheus.yml"
        config.write_text(CONFIG.format(port=server.server_port), encoding="utf-8")
        options = (f"--config.file={config}", f"--storage.tsdb.path={folder}/tsdb", "--log.level=warn")
        launch = Launch((program, *options, f"--web.listen-address=127.0.0.1:{port}"))
        with running(launch, partial(scraped, url), folder / "prometheus.log"):
            yield url
        server.shutdown()


@pytest.mark.parametrize("query", QUERIES)
def test_a_question_of_the_dashboard_has_an_answer(prometheus: str, query: str) -> None:
    assert queried(prometheus, query), query


def test_labels_are_those_that_the_legends_name(prometheus: str) -> None:
    for panel in BOARD["panels"]:
        for target in panel["targets"]:
            named = {part.split("}}")[0].strip() for part in target["legendFormat"].split("{{")[1:]}
            for series in queried(prometheus, target["expr"]):
                assert named <= dict(series["metric"]).keys(), panel["title"]


def test_promtool_takes_what_is_reported(prometheus: str, tmp_path: Path) -> None:
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("promtool is not on the PATH")
    (target,) = json.loads(probes.fetch(f"{prometheus}/api/v1/targets"))["data"]["activeTargets"]
    assert (target["health"], target["lastError"]) == ("up", "")
    metrics = probes.fetch(target["scrapeUrl"]).decode()
    done = subprocess.run([promtool, "check", "metrics"], input=metrics, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
