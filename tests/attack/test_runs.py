"""Code in envs of workflows: floods of calls, runs that nobody waits for, bodies that no program wrote."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

import httpx
import pytest

from egoworld_resources.settings import PROJECT
from egoworld_resources.workflow_envs.api.tokens import Tokens
from made_api import Served, command, served
from made_envs import made_env, made_lock, made_wheel
from made_index import made_index

ENV = "/envs/flow/node"
RUN = f"{ENV}/run"
MOST_RUNS, LONGEST_S = 4, 120
SLEEP = "import time; print('begun', flush=True); time.sleep(100)"
DEEP = b"[" * 100_000
JSON = {"Content-Type": "application/json"}
FORM = {"Content-Type": "application/x-www-form-urlencoded"}
PARTS = {"Content-Type": "multipart/form-data; boundary=x"}
SETTINGS = {
    "EXECUTION_RUNS": str(MOST_RUNS),
    "EXECUTION_RUNS_MEMORY_GB": "2",
    "EXECUTION_MEMORY_GB": "0.25",
    "EXECUTION_TIMEOUT_MAX": str(LONGEST_S),
}


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory, uv: Path) -> Iterator[Served]:
    """A service that runs little at once, with a uv of its own and one env."""
    home = tmp_path_factory.mktemp("home")
    own = home / "uv"
    own.symlink_to(uv)
    with made_index(home / "index") as index, served(home, own, index.url, **SETTINGS) as running:
        with running.client() as client:
            assert client.post("/envs", json={"workflow_id": "flow", "node_id": "node"}).status_code == 201
        yield running


@pytest.fixture
def writer(api: Served) -> Iterator[httpx.Client]:
    with api.client() as client:
        yield client


def until(true: Callable[[], Any], seconds: float = 20.0) -> Any:
    """What ``true`` says once it says something."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if found := true():
            return found
        time.sleep(0.05)
    raise AssertionError("it never came to that")


def listed(client: httpx.Client) -> dict[str, dict[str, Any]]:
    """The runs that go on, by their ids."""
    return {run["run_id"]: run for run in client.get(f"{ENV}/runs").json()["runs"]}


def ended(client: httpx.Client, run_id: str) -> dict[str, Any] | None:
    """The audit's row of a run that has ended."""
    rows = client.get("/operations", params={"env": "flow/node", "limit": 200}).json()["operations"]
    own = [row for row in rows if row["action"] == "run" and row["details"]["run_id"] == run_id]
    return next((row for row in own if not row["running"]), None)


def marked(mark: str) -> list[int]:
    """Processes whose environment or command names the mark."""
    found: list[int] = []
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and mark.encode() in (entry / "cmdline").read_bytes():
                found.append(int(entry.name))
        except OSError:
            continue
    return found


def code_of(answer: httpx.Response) -> str:
    return "" if answer.is_success else answer.json()["error"]["code"]


@contextmanager
def running(api: Served, code: str = SLEEP, **more: Any) -> Iterator[tuple[str, list[httpx.Response]]]:
    """A run that goes on, by its id, and the answer to who asked for it once there is one."""
    run_id, answers = f"run-{uuid4().hex[:8]}", list[httpx.Response]()

    def ask() -> None:
        with api.client() as client:
            answers.append(client.post(RUN, json={"code": code, "run_id": run_id, "timeout": 100, **more}))

    asking = threading.Thread(target=ask)
    asking.start()
    try:
        with api.client() as client:
            until(lambda: run_id in listed(client))
            yield run_id, answers
            client.delete(f"{RUN}/{run_id}")
    finally:
        asking.join(30)


def test_a_flood_of_runs(api: Served, writer: httpx.Client) -> None:
    """A hundred and five runs at once"""

    def ask(_: int) -> httpx.Response:
        with api.client() as client:
            return client.post(RUN, json={"code": "import time; time.sleep(2)", "timeout": 60})

    with ThreadPoolExecutor(105) as pool:
        calls = [pool.submit(ask, number) for number in range(105)]
        until(lambda: listed(writer))
        assert writer.get("/health").status_code == 200
        assert writer.get(ENV).status_code == 200
        answers = [one.result() for one in calls]
    counts = Counter((answer.status_code, code_of(answer)) for answer in answers)
    assert counts.keys() == {(200, ""), (429, "TOO_MANY_RUNS")}, counts
    assert counts[200, ""] >= MOST_RUNS
    for answer in answers:
        if answer.status_code == 429:
            assert 1 <= int(answer.headers["retry-after"]) <= 60
            assert answer.json()["error"]["details"]["most"] == MOST_RUNS


def test_a_flood_of_changes(api: Served, writer: httpx.Client) -> None:
    """Eighty changes of envs at once, and looks between them"""

    def ask(number: int) -> tuple[int, str]:
        with api.client() as client:
            if number % 4 == 0:
                made = client.post("/envs", json={"workflow_id": "flood", "node_id": f"n{number % 16}"})
            elif number % 4 == 1:
                made = client.post(f"{ENV}/deps", json={"packages": ["nothere>1"]})
            elif number % 4 == 2:
                made = client.delete("/envs/flood/none")
            else:
                made = client.get("/envs")
            return made.status_code, code_of(made)

    with ThreadPoolExecutor(80) as pool:
        counts = Counter(pool.map(ask, range(80)))
    known = {"", "ENV_LOCKED", "ENV_ALREADY_EXISTS", "ENV_NOT_FOUND", "PACKAGE_RESOLUTION_FAILED", "TOO_MANY_REQUESTS"}
    assert {code for _, code in counts} <= known, counts
    assert writer.get("/operations", params={"running": True}).json()["operations"] == []


def test_runs_leave_no_room_for_a_delete_of_their_env(api: Served, writer: httpx.Client) -> None:
    """An env is deleted and cleaned up while code runs in it"""
    with running(api):
        assert code_of(writer.delete(ENV)) == "ENV_LOCKED"
        cleaned = writer.post("/envs/cleanup", json={"idle_hours": 0, "dry_run": False}).json()["removed"]
        assert "node" not in {key["node_id"] for key in cleaned}
        assert writer.get(ENV).status_code == 200


def test_a_run_is_cancelled(api: Served, writer: httpx.Client) -> None:
    """A run is cancelled, twice, by its id, by an unknown id, by others, and after its end"""
    tokens = Tokens(Path(api.environ["EGOWORLD_HOME"]) / "env_tokens.json")
    other, mark = tokens.create(f"other-{uuid4().hex[:6]}", "writer"), f"mark{uuid4().hex}"
    forks = f"import subprocess, sys; subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(99)', '{mark}'])"
    with running(api, f"{forks}\n{SLEEP}") as (run_id, answers):
        until(lambda: marked(mark))
        with api.client(api.reader) as reader, api.client(other) as stranger:
            assert code_of(reader.delete(f"{RUN}/{run_id}")) == "FORBIDDEN"
            assert code_of(stranger.delete(f"{RUN}/{run_id}")) == "RUN_NOT_YOURS"
            assert listed(reader)[run_id]["actor"] == "writer"
        assert code_of(writer.post(RUN, json={"code": "1", "run_id": run_id})) == "RUN_ID_TAKEN"
        assert code_of(writer.delete(f"{RUN}/nobody")) == "RUN_NOT_FOUND"
        assert code_of(writer.delete("/envs/flow/other/run/nobody")) == "ENV_NOT_FOUND"
        done = writer.delete(f"{RUN}/{run_id}")
        assert (done.status_code, done.json()["status"]) == (200, "cancelled"), done.text
        assert marked(mark) == [], "nothing of it is left when the answer comes"
        assert code_of(writer.delete(f"{RUN}/{run_id}")) == "RUN_ALREADY_CANCELLED"
    body = answers[0].json()
    assert (body["killed_for"], body["run_id"], body["stdout"]) == ("cancelled", run_id, "begun\n"), body
    row = ended(writer, run_id)
    assert row is not None
    assert row["result"] == "CANCELLED"
    assert row["message"].startswith("cancelled by writer (http 127.0.0.1:")
    rows = writer.get("/operations", params={"env": "flow/node"}).json()["operations"]
    assert ("cancel", "ok", run_id) in {(one["action"], one["result"], one["details"].get("run_id")) for one in rows}
    short = f"run-{uuid4().hex[:8]}"
    assert writer.post(RUN, json={"code": "print(1)", "run_id": short}).json()["stdout"] == "1\n"
    assert code_of(writer.delete(f"{RUN}/{short}")) == "RUN_ENDED"


@pytest.mark.parametrize("rudely", [False, True], ids=["closes", "resets"])
def test_a_client_that_hangs_up(api: Served, writer: httpx.Client, rudely: bool) -> None:
    """A client hangs up while its code runs"""
    run_id, mark = f"run-{uuid4().hex[:8]}", f"mark{uuid4().hex}"
    forks = (
        f"import os, sys\nif os.fork() == 0: os.execv(sys.executable, ['{mark}', '-c', 'import time; time.sleep(99)'])"
    )
    body = json.dumps({"code": f"{forks}\n{SLEEP}", "run_id": run_id, "timeout": 100}).encode()
    with socket.create_connection((urlsplit(api.url).hostname, urlsplit(api.url).port)) as raw:
        head = f"POST {RUN} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {api.writer}\r\n"
        raw.sendall(f"{head}Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body)
        until(lambda: run_id in listed(writer) and marked(mark))
        if rudely:
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    row = until(lambda: ended(writer, run_id), 10)
    assert (row["result"], row["message"]) == ("CANCELLED", "its client hung up")
    assert row["seconds"] < 60
    assert marked(mark) == []
    assert run_id not in listed(writer)


@pytest.mark.parametrize(
    "timeout", ["0", "-1", "1e-9", "NaN", "Infinity", "1e999", "1" * 400, "1" * 5000, "121", "1e10", "true", '"9"']
)
def test_a_timeout_that_cannot_be(writer: httpx.Client, timeout: str) -> None:
    """A timeout that is no time, or longer than the service allows"""
    answer = writer.post(RUN, content=f'{{"code": "print(1)", "timeout": {timeout}}}', headers=JSON)
    assert answer.status_code == 422
    assert code_of(answer) in ("INVALID_TIMEOUT", "INVALID_REQUEST"), answer.text
    if timeout in ("121", "1e10"):
        assert "at most 120 s" in answer.json()["error"]["message"]


def test_memory_is_called_memory(writer: httpx.Client) -> None:
    """Code takes more memory than it may"""
    outcome = writer.post(RUN, json={"code": "kept = [bytearray(1 << 20) for _ in range(600)]", "timeout": 60}).json()
    assert (outcome["killed_for"], outcome["exit_code"]) == ("memory", 137), outcome


BODIES: dict[str, tuple[bytes, dict[str, str]]] = {
    "nested": (DEEP, JSON),
    "nested in a field": (b'{"code": ' + DEEP + b"]" * 100_000 + b"}", JSON),
    "nested objects": (b'{"a":' * 100_000, JSON),
    "not UTF-8": (b'{"code": "\xff"}', JSON),
    "UTF-16": ('{"code": "1"}'.encode("utf-16"), JSON),
    "half a pair": (b'{"code": "\\ud800", "workflow_id": "\\ud800", "node_id": "n", "packages": ["\\udfff"]}', JSON),
    "a name twice": (b'{"code": "1", "code": "2", "packages": ["tiny"], "packages": ["leaf"]}', JSON),
    "a huge number": (b'{"code": ' + b"9" * 5000 + b"}", JSON),
    "not a number": (b'{"code": NaN}', JSON),
    "no body": (b"", JSON),
    "null": (b"null", JSON),
    "too long": (b"[" + b"1," * (1 << 20), JSON),
    "text": (b"print(1)", {"Content-Type": "text/plain"}),
    "a form without its boundary": (b"x", {"Content-Type": "multipart/form-data"}),
    "a form of an unknown charset": (b"x", {"Content-Type": "multipart/form-data; boundary=x; charset=none"}),
    "a form that is cut": (b'--x\r\nContent-Disposition: form-data; name="a"\r\n\r\nb', PARTS),
    "not a form": (b"\0\xff" * 100, PARTS),
    "empty fields": (b"workflow_id=&node_id=&packages=&python_version=&backend=", FORM),
    "an empty list of packages": (b"workflow_id=flow&node_id=odd&packages=", FORM),
    "a list that is nested": (b"workflow_id=flow&node_id=odd&packages=" + DEEP, FORM),
    "a field twice": (b"workflow_id=flow&workflow_id=flow&node_id=odd", FORM),
    "a NUL": (b"workflow_id=flow&node_id=odd&packages=%00", FORM),
}


@pytest.mark.parametrize("odd", BODIES)
def test_a_body_that_no_program_wrote(writer: httpx.Client, odd: str) -> None:
    """A body that no program wrote"""
    body, headers = BODIES[odd]
    for method, path in (("POST", "/envs"), ("POST", RUN), ("POST", f"{ENV}/deps"), ("PUT", ENV)):
        answer = writer.request(method, path, content=body, headers=headers)
        if path == ENV and answer.is_success:
            assert odd == "no body"  # nothing is asked of a PUT that says nothing
            continue
        assert answer.status_code in (400, 413, 415, 422), (method, path, answer.text)
        assert code_of(answer) != "INTERNAL_ERROR"
        assert len(answer.content) < 5000
    assert code_of(writer.get("/envs/flow/odd")) == "ENV_NOT_FOUND", "nothing half-made stays"


@pytest.mark.parametrize("how", ["removed", "not executable"])
def test_uv_is_gone(api: Served, writer: httpx.Client, how: str) -> None:
    """The program uv goes away while the service runs"""
    uv, node = Path(api.environ["EGOWORLD_UV"]), how.partition(" ")[0]
    real, late = uv.readlink(), f"/envs/flow/{node}"
    wanted = {"workflow_id": "flow", "node_id": node, "packages": ["tiny"]}
    before = writer.get(ENV).json()
    uv.unlink()
    if how != "removed":
        uv.write_bytes(b"\x7fELF")
        uv.chmod(0o644)
    try:
        changes = [
            writer.post("/envs", json=wanted),
            writer.post(f"{ENV}/deps", json={"packages": ["tiny"]}),
            writer.post(f"{ENV}/sync"),
        ]
        for answer in changes:
            assert (answer.status_code, code_of(answer)) == (500, "UV_MISSING"), answer.text
            assert re.search(r"cannot run uv at \S+/uv: .*; put it back with: make setup", answer.text), answer.text
        words = command("env", "create", f"flow/{node}", "tiny", "--json")
        done = subprocess.run(words, env={**api.environ, "PATH": "/bin"}, capture_output=True, text=True, check=False)
        assert (done.returncode, json.loads(done.stdout)["error"]["code"]) == (1, "UV_MISSING"), done.stderr
        assert writer.post(RUN, json={"code": "print(1)"}).json()["stdout"] == "1\n"
        assert writer.get(ENV).json() == before
    finally:
        uv.unlink(missing_ok=True)
        uv.symlink_to(real)
    assert code_of(writer.get(late)) == "ENV_NOT_FOUND", "nothing half-made stays"
    rows = writer.get("/operations", params={"env": f"flow/{node}"}).json()["operations"]
    assert {row["result"] for row in rows} == {"UV_MISSING"}
    assert writer.post("/envs", json=wanted).status_code == 201
    assert writer.post(f"{ENV}/sync").status_code == 200


@pytest.mark.parametrize("how", ["removed", "not executable"])
def test_uv_of_the_checkout_is_gone(tmp_path: Path, how: str) -> None:
    """The program uv goes away before model envs are built"""
    made_env(tmp_path, "red", dependencies=("tiny",))
    made_lock(tmp_path, "red", [made_wheel(tmp_path / "wheels", "tiny", "1.0", {"tiny.py": ""})])
    own = tmp_path / ".tools" / "bin" / "uv"
    own.parent.mkdir(parents=True)
    (tmp_path / ".tools" / ".ready").touch()
    if how != "removed":
        own.write_bytes(b"\x7fELF")
        own.chmod(0o644)
    environ = {"PATH": "/usr/bin:/bin", "UV_CACHE_DIR": str(tmp_path / "cache")}
    words = [sys.executable, "-m", "egoworld_resources", "build", "red"]
    done = subprocess.run(words, cwd=tmp_path, env=environ, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert re.search(r"error: (no|cannot run) uv at \S+/.tools/bin/uv.*; put it back with: make setup", done.stderr)
    assert "Traceback" not in done.stderr
    assert not list((tmp_path / "data" / "envs").glob("red/*"))
    (tmp_path / "locks" / "uv.txt").touch()
    os.utime(tmp_path / "locks" / "uv.txt", (0, 0))
    shutil.copyfile(PROJECT / "Makefile", tmp_path / "Makefile")
    planned = subprocess.run(["make", "-n", ".tools/.ready"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert "fetching uv" in planned.stdout, planned.stderr
