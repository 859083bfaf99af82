"""Code that runs in envs, at the command line and through a service that is killed."""

from __future__ import annotations

import json
import signal
import subprocess
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest

from egoworld_resources.workflow_envs.api.tokens import Tokens
from made_api import command, environ_of, served
from tests.waiting import wait_for

SILENT = "http://127.0.0.1:9/simple"
RUN = "/envs/flow/node/run"


def marked(mark: str) -> list[str]:
    """Processes of code whose command names the mark; neither ours nor the command that asks for it."""
    found: list[str] = []
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            words = entry.read_bytes().split(b"\0")
            if mark.encode() in words:
                found.append(entry.parent.name)
    return found


def waiting(mark: str) -> str:
    """Code whose process is known by a mark."""
    return f"import subprocess, sys; subprocess.run([sys.executable, '-c', 'import time; time.sleep(99)', '{mark}'])"


def answer_to(environ: dict[str, str], *words: str) -> Any:
    done = subprocess.run(command("env", *words, "--json"), env=environ, capture_output=True, text=True, check=False)
    return json.loads(done.stdout)


def test_a_killed_service_leaves_no_run(tmp_path: Path, uv: Path) -> None:
    mark = f"mark{uuid4().hex}"

    def ask(client: httpx.Client) -> None:
        with suppress(httpx.TransportError):
            client.post(RUN, json={"code": waiting(mark)})

    with suppress(AssertionError), served(tmp_path, uv, SILENT) as api, api.client() as client, api.client() as other:
        assert client.post("/envs", json={"workflow_id": "flow", "node_id": "node"}).status_code == 201
        asking = threading.Thread(target=ask, args=(other,))
        asking.start()
        wait_for(lambda: marked(mark))
        api.process.kill()
        asking.join()
    wait_for(lambda: not marked(mark))
    Tokens(tmp_path / "env_tokens.json").file.unlink()
    with served(tmp_path, uv, SILENT) as api, api.client() as client:
        assert client.get("/envs/flow/node/runs").json()["runs"] == []
        assert [one["result"] for one in client.get("/operations").json()["operations"]] == ["INTERRUPTED", "ok"]
        assert client.post(RUN, json={"code": "print(1)"}).json()["stdout"] == "1\n"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGHUP])
def test_ctrl_c_ends_the_code(tmp_path: Path, uv: Path, number: signal.Signals) -> None:
    environ, mark = environ_of(tmp_path, uv, SILENT), f"mark{uuid4().hex}"
    answer_to(environ, "create", "flow/node")
    words = command("env", "run", "flow/node", "-c", waiting(mark), "--run-id", "mine")
    process = subprocess.Popen(words, env=environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    wait_for(lambda: marked(mark))
    process.send_signal(number)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 128 + number
    assert f"cancelled by {number.name} at the terminal" in errors
    assert marked(mark) == []
    (run, _) = answer_to(environ, "log")["operations"]
    assert (run["action"], run["result"], run["details"]["run_id"]) == ("run", "CANCELLED", "mine")


def test_runs_of_other_processes_are_seen_counted_and_cancelled(tmp_path: Path, uv: Path) -> None:
    mark = f"mark{uuid4().hex}"
    with served(tmp_path, uv, SILENT, EXECUTION_RUNS="1") as api, api.client() as client:
        environ = dict(api.environ)
        answer_to(environ, "create", "flow/node")
        words = command("env", "run", "flow/node", "-c", waiting(mark), "--run-id", "typed", "--timeout", "300")
        typed = subprocess.Popen(words, env=environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        wait_for(lambda: marked(mark))
        (run,) = client.get("/envs/flow/node/runs").json()["runs"]
        assert (run["run_id"], run["origin"]) == ("typed", "cli")
        answer = client.post(RUN, json={"code": "print(1)"})
        assert (answer.status_code, answer.json()["error"]["code"]) == (429, "TOO_MANY_RUNS")
        assert 1 <= int(answer.headers["retry-after"]) <= 300
        assert client.delete(f"{RUN}/typed").json()["error"]["code"] == "RUN_NOT_YOURS", "a token is not a user"
        assert [one["run_id"] for one in answer_to(environ, "runs")["runs"]] == ["typed"]
        waits: list[httpx.Response] = []
        asking = threading.Thread(target=lambda: waits.append(client.post(RUN, json={"code": "print(2)", "wait": 100})))
        asking.start()
        assert answer_to(environ, "cancel", "flow/node", "typed")["status"] == "cancelled"
        assert answer_to(environ, "cancel", "flow/node", "typed")["error"]["code"] == "RUN_ALREADY_CANCELLED"
        asking.join()
        assert waits[0].json()["stdout"] == "2\n", "it waited for room"
        assert "cancelled" in typed.communicate(timeout=60)[1]
        assert typed.returncode == 137
        assert marked(mark) == []
