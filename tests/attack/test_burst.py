"""A hundred clients of the environment service at once, its audit in a real Postgres."""

from __future__ import annotations

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

from egoworld_resources.server.postgres import PostgresAddress
from made_api import served
from made_index import made_index

CLIENTS = 100
KNOWN = {
    (200, ""),
    (201, ""),
    (404, "ENV_NOT_FOUND"),
    (409, "ENV_ALREADY_EXISTS"),
    (422, "PACKAGE_RESOLUTION_FAILED"),
    (423, "ENV_LOCKED"),
    (429, "TOO_MANY_RUNS"),
    (429, "TOO_MANY_REQUESTS"),
}


def test_a_burst_with_its_audit_in_postgres(tmp_path: Path, uv: Path, postgres_server: PostgresAddress) -> None:
    """Runs and changes of a hundred clients at once, with the audit in Postgres"""
    more = {"DATABASE_URL": postgres_server.url, "EXECUTION_RUNS": "4", "EXECUTION_MEMORY_GB": "0.25"}
    with made_index(tmp_path / "index") as index, served(tmp_path, uv, index.url, **more) as api:
        with api.client() as client:
            made = client.post("/envs", json={"workflow_id": "burst", "node_id": "node", "packages": ["tiny"]})
            assert made.status_code == 201, made.text
        together = Barrier(CLIENTS)

        def ask(number: int) -> tuple[int, str]:
            env = f"/envs/burst/n{number % 10}"
            with api.client() as client:
                together.wait(60)
                if number % 2:
                    answer = client.post("/envs/burst/node/run", json={"code": "print(1)", "timeout": 60})
                elif number % 4:
                    answer = client.post("/envs", json={"workflow_id": "burst", "node_id": f"n{number % 10}"})
                elif number % 8:
                    answer = client.post("/envs/burst/node/deps", json={"packages": ["nothere>1"]})
                else:
                    answer = client.delete(env)
                return answer.status_code, "" if answer.is_success else answer.json()["error"]["code"]

        with ThreadPoolExecutor(CLIENTS) as pool:
            counts = Counter(pool.map(ask, range(CLIENTS)))
        assert counts.keys() <= KNOWN, counts
        assert counts[200, ""] >= 4, counts
        with api.client() as client:
            assert client.get("/health").status_code == 200
            assert client.get("/operations", params={"running": True}).json()["operations"] == []
            rows = client.get("/operations", params={"limit": 500}).json()["operations"]
            assert {row["result"] for row in rows} <= {"ok", *(code for _, code in KNOWN if code)}
            runs = client.get("/envs/burst/node/runs").json()["runs"]
            assert runs == []
