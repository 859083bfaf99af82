"""Envs that nobody uses are removed by the service itself; what is used stays, whatever the clock says."""

from __future__ import annotations

import json
import subprocess
import threading
import time
from dataclasses import replace
from pathlib import Path

import httpx
import pytest

from egoworld_resources.workflow_envs.fabric import Fabric
from egoworld_resources.workflow_envs.idle_time import Look
from egoworld_resources.workflow_envs.keys import EnvKey
from made_api import served
from made_fabric import KEY, TESTER, made_fabric
from tests.waiting import wait_for

SILENT = "http://127.0.0.1:9/simple"
SOON = {"CLEANUP_IDLE_HOURS": str(4 / 3600)}
OTHER = EnvKey("flow", "other")


def nodes(client: httpx.Client) -> set[str]:
    return {one["node_id"] for one in client.get("/envs").json()["envs"]}


def create(client: httpx.Client, node: str) -> None:
    assert client.post("/envs", json={"workflow_id": "flow", "node_id": node}).status_code == 201


def test_the_service_removes_what_rests_and_nothing_else(tmp_path: Path, uv: Path) -> None:
    body = {"code": "import time; time.sleep(12)", "timeout": 100}
    with served(tmp_path, uv, SILENT, **SOON) as api, api.client() as client, api.client() as other:
        create(client, "used")
        create(client, "idle")
        asking = threading.Thread(target=other.post, args=("/envs/flow/used/run",), kwargs={"json": body})
        asking.start()
        wait_for(lambda: nodes(client) == {"used"})
        rows = client.get("/operations", params={"env": "flow/idle"}).json()["operations"]
        row = rows[0]
        assert (row["action"], row["actor"], row["origin"], row["result"]) == ("cleanup", "cleanup", "by itself", "ok")
        assert row["details"]["idle_hours"] >= 4 / 3600 - 0.0001
        asking.join()
        assert nodes(client) == {"used"}, "it was in use until now"
        wait_for(lambda: not nodes(client))


def test_a_dry_run_removes_nothing_and_says_what_it_would(tmp_path: Path, uv: Path) -> None:
    with served(tmp_path, uv, SILENT, **SOON, CLEANUP_DRY_RUN="1") as api, api.client() as client:
        create(client, "idle")
        assert api.process.stdout
        line = next(line for line in api.process.stdout if line.startswith("env "))
        assert line.startswith("env flow/idle rested for")
        assert "would be removed" in line
        assert nodes(client) == {"idle"}
        assert [one["action"] for one in client.get("/operations").json()["operations"]] == ["create"]


@pytest.fixture
def fabric(tmp_path: Path, uv: Path) -> Fabric:
    """Envs that rest for two hours are removed."""
    made = made_fabric(tmp_path, uv)
    object.__setattr__(made, "config", made.config.model_copy(update={"cleanup_idle_hours": 2}))
    made.create(KEY, TESTER)
    return made


def shifted(fabric: Fabric, *, hours: float, boot: str = "") -> None:
    """As if the last look had been that long ago, or in another boot."""
    file = fabric.config.envs_base_path / ".rests.json"
    look = Look.read(file)
    assert look is not None
    replace(look, at=look.at - 3600 * hours, boot=boot or look.boot).write(file)


def test_the_machines_own_clock_counts(fabric: Fabric, monkeypatch: pytest.MonkeyPatch) -> None:
    assert fabric.tidy() == []
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + 400 * 24 * 3600)
    assert fabric.tidy() == [], "the wall clock was set forward: nothing rested for that"
    fabric.create(OTHER, TESTER)
    monkeypatch.setattr(time, "time", lambda: now + 900 * 24 * 3600)
    assert fabric.tidy() == []
    shifted(fabric, hours=1.5)
    assert fabric.tidy() == []
    fabric.run(OTHER, "print(1)", TESTER)
    shifted(fabric, hours=0.75)
    assert fabric.tidy() == [KEY], "it rested for 2.25 hours; the other was just run"
    assert [one.action for one in fabric.operations.history(parts=KEY.parts)] == ["cleanup", "create"]
    assert fabric.places.taken() == [OTHER]


def test_another_boot_and_a_damaged_record_remove_nothing(fabric: Fabric) -> None:
    assert fabric.tidy() == []
    shifted(fabric, hours=1.5)
    assert fabric.tidy() == []
    shifted(fabric, hours=100, boot="another")
    assert fabric.tidy() == [], "while the machine was off nothing rested"
    (fabric.config.envs_base_path / ".rests.json").write_text(json.dumps({"boot": 1}))
    assert fabric.tidy() == []
    shifted(fabric, hours=3)
    assert fabric.tidy() == [KEY]


def test_two_services_of_one_folder_look_one_at_a_time(fabric: Fabric, tmp_path: Path, uv: Path) -> None:
    other = made_fabric(tmp_path, uv)
    object.__setattr__(other, "config", fabric.config)
    fabric.tidy()
    shifted(fabric, hours=3)
    found: list[list[EnvKey]] = []
    threads = [threading.Thread(target=lambda one=one: found.append(one.tidy())) for one in (fabric, other) * 4]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert max(found) == [KEY]
    assert sum(map(len, found)) == 1, "removed once"
    assert [one.result for one in fabric.operations.history()] == ["ok", "ok"]


def test_what_a_process_works_in_stays(fabric: Fabric) -> None:
    fabric.tidy()
    shifted(fabric, hours=3)
    python = str(fabric.get(KEY).python)
    with subprocess.Popen([python, "-c", "input()"], stdin=subprocess.PIPE) as outside:
        assert fabric.tidy() == []
        assert fabric.cleanup(TESTER, idle_hours=0) == []
        outside.communicate(b"\n")
    assert fabric.tidy() == [KEY]
