"""The API of envs: a real server, the real uv, a real audit."""

from __future__ import annotations

import json
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from egoworld_resources.workflow_envs.api.tokens import Tokens
from egoworld_resources.workflow_envs.folders import Places
from egoworld_resources.workflow_envs.keys import EnvKey
from made_api import Served, served
from made_index import MadeIndex, made_index

KEY = {"workflow_id": "workflow123", "node_id": "node123"}
AT = "/envs/workflow123/node123"
OTHERS = iter(range(1000))


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MadeIndex]:
    with made_index(tmp_path_factory.mktemp("index")) as made:
        yield made


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="module")
def api(home: Path, uv: Path, index: MadeIndex) -> Iterator[Served]:
    with served(home, uv, index.url) as running:
        yield running


@pytest.fixture
def writer(api: Served) -> Iterator[httpx.Client]:
    with api.client() as client:
        yield client


@pytest.fixture
def env(writer: httpx.Client) -> str:
    """The address of a new env with tiny 1.0."""
    node = f"node{next(OTHERS)}"
    form = {"workflow_id": "flow", "node_id": node, "packages": "tiny<2"}
    assert ok(writer.post("/envs", data=form), 201)["locked_versions"] == {"tiny": "1.0"}
    return f"/envs/flow/{node}"


def ok(answer: httpx.Response, status: int = 200) -> dict[str, Any]:
    assert answer.status_code == status, answer.text
    return answer.json()


def refused(answer: httpx.Response, status: int, code: str) -> dict[str, Any]:
    """The error of an answer, in its one shape."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/json"
    assert answer.json().keys() == {"error"}
    error = answer.json()["error"]
    assert error.keys() == {"code", "message", "details"}
    assert error["code"] == code
    assert "Traceback" not in answer.text
    return error


def of(body: dict[str, Any], *names: str) -> dict[str, Any]:
    return {name: body[name] for name in names}


def test_the_calls_of_the_seed_give_its_fields(writer: httpx.Client, home: Path) -> None:
    form = {**KEY, "version_id": "v1", "python_version": "3.11", "packages": json.dumps(["tiny>=1.0", "leaf"])}
    made = ok(writer.post("/envs", files={name: (None, value) for name, value in form.items()}), 201)
    assert of(made, *KEY, "version_id") == {**KEY, "version_id": "v1"}
    assert (made["status"], made["python_version"]) == ("created", "3.11")
    assert made["env_path"] == str(home / "workflow_envs" / "workflow123_node123_v1")
    assert 'name = "workflow123-node123-v1"' in made["pyproject_toml"]
    which = {"version_id": "v1"}
    exported = ok(writer.get(f"{AT}/export", params=which))
    assert exported["pyproject_toml"] == made["pyproject_toml"]
    assert 'name = "leaf"' in exported["uv_lock"]
    synced = ok(writer.post(f"{AT}/sync", params=which))
    assert (synced["status"], synced["packages_installed"]) == ("synced", 2)
    removed = ok(writer.request("DELETE", f"{AT}/deps", params=which, json={"packages": ["leaf"]}))
    assert removed["dependencies"] == ["tiny>=1.0"]
    added = ok(writer.post(f"{AT}/deps", params=which, json={"packages": ["leaf==1.0"]}))
    assert added["status"] == "updated"
    listed = ok(writer.get(f"{AT}/deps", params=which))
    assert listed["dependencies"] == ["leaf==1.0", "tiny>=1.0"]
    assert listed["locked_versions"] == {"leaf": "1.0", "tiny": "2.0"}
    ran = ok(writer.post(f"{AT}/run", params=which, json={"code": "import tiny; print(tiny.VERSION)", "timeout": 60}))
    assert of(ran, "exit_code", "stdout", "stderr", "truncated") == {
        "exit_code": 0,
        "stdout": "2.0\n",
        "stderr": "",
        "truncated": False,
    }
    assert [one["version_id"] for one in ok(writer.get("/envs"))["envs"] if one["workflow_id"] == "workflow123"] == [
        "v1"
    ]
    assert ok(writer.delete(AT, params=which))["status"] == "deleted"
    refused(writer.get(f"{AT}/export", params=which), 404, "ENV_NOT_FOUND")


def test_an_env_is_made_of_a_form_a_file_or_json(writer: httpx.Client) -> None:
    text = b"# for the arm\ntiny<2  # old\nleaf\n"
    file = {"requirements_file": ("requirements.txt", text, "text/plain")}
    made = ok(writer.post("/envs", data={"workflow_id": "form", "node_id": "file"}, files=file), 201)
    assert made["locked_versions"] == {"leaf": "1.0", "tiny": "1.0"}
    both = {"workflow_id": "form", "node_id": "repeated", "packages": ["tiny", "leaf"]}
    assert ok(writer.post("/envs", data=both), 201)["locked_versions"] == {"leaf": "1.0", "tiny": "2.0"}
    made = ok(writer.post("/envs", json={"workflow_id": "form", "node_id": "json", "packages": ["tiny"]}), 201)
    assert made["version_id"] == ""
    assert ok(writer.get("/envs/form/json"))["status"] == "ready"


def test_what_is_wrong_has_a_code_of_its_own(writer: httpx.Client, env: str) -> None:
    new = {"workflow_id": "wrong", "node_id": "n"}
    assert (
        "--index"
        in refused(writer.post("/envs", data={**new, "packages": "--index-url=x"}), 400, "INVALID_PACKAGES")["message"]
    )
    refused(writer.post("/envs", data={**new, "node_id": "../up"}), 400, "INVALID_KEY")
    refused(
        writer.post("/envs", data={"workflow_id": "flow", "node_id": env.rpartition("/")[2]}), 409, "ENV_ALREADY_EXISTS"
    )
    message = refused(writer.post("/envs", data={**new, "packages": "tiny>5"}), 422, "PACKAGE_RESOLUTION_FAILED")
    assert "tiny>5" in message["message"], "the resolver's own words"
    refused(writer.post("/envs", data={**new, "python_version": "3.9"}), 422, "PYTHON_NOT_FOUND")
    refused(writer.post("/envs", data={**new, "python_version": "three"}), 422, "INVALID_REQUEST")
    refused(writer.post("/envs", data={**new, "flavour": "sweet"}), 422, "INVALID_REQUEST")
    refused(writer.post("/envs", data={**new, "packages": '["tiny"'}), 400, "INVALID_PACKAGES")
    refused(writer.post("/envs", content=b"{", headers={"content-type": "application/json"}), 422, "INVALID_REQUEST")
    refused(writer.post("/envs", content=b"x", headers={"content-type": "text/plain"}), 415, "UNSUPPORTED_MEDIA_TYPE")
    binary = {"requirements_file": ("r.txt", b"\xff\xfe", "text/plain")}
    refused(writer.post("/envs", data=new, files=binary), 422, "INVALID_REQUEST")
    refused(writer.request("DELETE", f"{env}/deps", json={"packages": ["leaf"]}), 404, "DEPENDENCY_NOT_FOUND")
    refused(writer.request("DELETE", f"{env}/deps", json={"packages": ["tiny<2"]}), 400, "INVALID_PACKAGES")
    refused(writer.post(f"{env}/deps", json={"packages": []}), 400, "INVALID_PACKAGES")
    refused(writer.post(f"{env}/run", json={"code": "while True: pass", "timeout": 0.5}), 504, "EXECUTION_TIMEOUT")
    refused(writer.post(f"{env}/run", content=b'{"code": "\\ud800"}'), 422, "INVALID_REQUEST")
    refused(writer.get("/envs/flow/nothere"), 404, "ENV_NOT_FOUND")
    refused(writer.get("/nothing"), 404, "NOT_FOUND")
    assert refused(writer.patch(env), 405, "METHOD_NOT_ALLOWED")["details"]["allowed"] == ["DELETE", "GET", "PUT"]
    assert writer.patch(env).headers["allow"] == "DELETE, GET, PUT"


@pytest.mark.parametrize("whole", [True, False], ids=["said beforehand", "in pieces"])
def test_a_body_that_is_too_long_is_refused(writer: httpx.Client, whole: bool) -> None:
    body = b"x" * (2 << 20)
    headers = {"content-type": "application/json"}
    answer = writer.post("/envs", content=body if whole else iter([body[: 1 << 20], body]), headers=headers)
    refused(answer, 413, "BODY_TOO_LARGE")


def test_licences_of_its_packages_are_reported(writer: httpx.Client, env: str) -> None:
    licences = ok(writer.get(f"{env}/licences"))
    assert licences["packages"] == [{"name": "tiny", "version": "1.0", "licence": "", "refused": ""}]
    refused(writer.get("/envs/flow/nobody/licences"), 404, "ENV_NOT_FOUND")


def test_a_token_is_needed_and_a_reader_changes_nothing(api: Served, home: Path, env: str) -> None:
    with api.client("") as nobody, api.client("ego_guess") as guess, api.client(api.reader) as reader:
        for client in (nobody, guess):
            refused(client.get("/envs"), 401, "UNAUTHORIZED")
            answer = client.post("/envs", content=b"{")
            refused(answer, 401, "UNAUTHORIZED")
            assert answer.headers["www-authenticate"] == "Bearer"
        assert ok(nobody.get("/health"))["status"] == "ok"
        assert "openapi" in ok(nobody.get("/openapi.json"))
        assert ok(reader.get("/me")) == {"name": "reader", "role": "reader"}
        assert ok(reader.get(env))["status"] == "ready"
        changes = [("POST", "/envs"), ("PUT", env), ("DELETE", env), ("POST", f"{env}/run"), ("POST", f"{env}/sync")]
        for method, path in [*changes, ("POST", f"{env}/deps"), ("DELETE", f"{env}/deps"), ("POST", "/envs/cleanup")]:
            refused(reader.request(method, path, json={}), 403, "FORBIDDEN")
    tokens = Tokens(home / "env_tokens.json")
    with api.client(tokens.create("guest", "reader")) as guest:
        assert guest.get("/envs").status_code == 200
        tokens.revoke("guest")
        refused(guest.get("/envs"), 401, "UNAUTHORIZED")


def test_an_env_that_is_taken_is_reported_at_once_or_waited_for(writer: httpx.Client, home: Path, env: str) -> None:
    places = Places(home / "workflow_envs")
    with places.changing(EnvKey(*env.split("/")[2:]), 0):
        refused(writer.post(f"{env}/deps", json={"packages": ["leaf"]}), 423, "ENV_LOCKED")
        answers: list[httpx.Response] = []
        words = {"json": {"packages": ["leaf"]}, "params": {"wait": 60}}
        waiting = threading.Thread(target=lambda: answers.append(writer.post(f"{env}/deps", **words)))
        waiting.start()
    waiting.join()
    assert ok(answers[0])["locked_versions"] == {"leaf": "1.0", "tiny": "1.0"}


def test_the_audit_names_who_from_where_and_pages(writer: httpx.Client, env: str) -> None:
    ok(writer.put(env, json={"packages": ["tiny"], "upgrade": True}))
    claim = {"X-Forwarded-For": "10.0.0.7"}
    ok(writer.post(f"{env}/run", json={"code": "raise SystemExit(3)"}, headers=claim))
    name = env.removeprefix("/envs/")
    history = ok(writer.get("/operations", params={"env": name}))
    assert [one["action"] for one in history["operations"]] == ["run", "update", "create"]
    run, update, _ = history["operations"]
    assert (run["actor"], run["result"], run["message"], run["running"]) == (
        "writer",
        "CODE_FAILED",
        "exit 3",
        False,
    )
    assert run["origin"].startswith("http 127.0.0.1:"), "what a proxy claims does not hide who asked"
    assert run["origin"].endswith(" (says: for 10.0.0.7)")
    assert update["lock_before"] != update["lock_after"]
    assert "$ uv add" in ok(writer.get(f"/operations/{update['id']}/log"))["text"]
    refused(writer.get(f"/operations/{'0' * 32}/log"), 404, "LOG_NOT_FOUND")
    first = ok(writer.get("/operations", params={"env": name, "limit": 2}))
    rest = ok(writer.get("/operations", params={"env": name, "limit": 2, "before": first["next"]}))
    assert [one["action"] for one in [*first["operations"], *rest["operations"]]] == ["run", "update", "create"]
    assert rest["next"] is None


def test_damage_is_seen_and_sizes_are_reported(writer: httpx.Client, env: str) -> None:
    made = ok(writer.get(f"{env}/verify"))
    disk = ok(writer.get(f"{env}/disk"))
    assert disk["own_bytes"] > 0
    assert disk["shared_bytes"] > 0
    module = next(Path(made["python"]).parents[1].glob("lib/*/site-packages/tiny.py"))
    module.chmod(0o644)
    module.write_text("VERSION = 'poison'\n")
    assert ok(writer.get(env))["status"] == "damaged"
    assert "tiny.py" in refused(writer.get(f"{env}/verify"), 500, "ENV_DAMAGED")["message"]
    assert ok(writer.post(f"{env}/sync"))["status"] == "synced"
    assert ok(writer.get(env))["status"] == "ready"


def test_cleanup_says_what_it_would_remove(writer: httpx.Client, env: str) -> None:
    rested = ok(writer.post("/envs/cleanup", json={"idle_hours": 0, "dry_run": True}))
    assert rested["dry_run"]
    assert env.rpartition("/")[2] in {one["node_id"] for one in rested["removed"]}
    assert ok(writer.post("/envs/cleanup", json={}))["removed"] == [], "72 hours have not passed"


def test_the_page_is_served_with_a_policy(api: Served) -> None:
    with api.client("") as nobody:
        kinds = {"/": "text/html", "/page.css": "text/css", "/page.js": "text/javascript"}
        for path, kind in kinds.items():
            answer = nobody.get(path)
            assert answer.headers["content-type"].startswith(kind)
            assert answer.headers["content-security-policy"].startswith("default-src 'none'; script-src 'self'")
            assert answer.headers["x-content-type-options"] == "nosniff"


def test_without_its_audit_nothing_is_done(tmp_path: Path, uv: Path, index: MadeIndex) -> None:
    with served(tmp_path, uv, index.url) as api, api.client() as writer:
        assert any(line.startswith("code runs apart by:") for line in api.said)
        audit = tmp_path / "env_operations.sqlite"
        audit.rename(tmp_path / "away.sqlite")
        refused(writer.post("/envs", data=KEY), 500, "DB_AUDIT_ERROR")
        refused(writer.get("/health"), 500, "DB_AUDIT_ERROR")
        (tmp_path / "away.sqlite").rename(audit)
        assert ok(writer.get("/operations"))["operations"] == []
        assert list((tmp_path / "workflow_envs").glob("workflow*")) == []


def test_an_index_that_is_silent_is_named(tmp_path: Path, uv: Path) -> None:
    silent = "http://127.0.0.1:9/simple"
    with served(tmp_path, uv, silent, UV_HTTP_RETRIES="0") as api, api.client() as writer:
        refused(writer.post("/envs", data={**KEY, "packages": "tiny"}), 502, "INDEX_UNREACHABLE")


def test_told_to_end_it_ends_what_it_does_and_takes_nothing_new(tmp_path: Path, uv: Path, index: MadeIndex) -> None:
    with served(tmp_path, uv, index.url) as api, api.client() as writer, api.client() as other:
        ok(writer.post("/envs", data=KEY), 201)
        answers: list[httpx.Response] = []
        body = {"code": "import time; time.sleep(2); print('whole')", "timeout": 100}
        asking = threading.Thread(target=lambda: answers.append(other.post(f"{AT}/run", json=body)))
        asking.start()
        while not ok(writer.get("/operations", params={"running": True}))["operations"]:
            pass
        api.process.send_signal(signal.SIGTERM)
        asking.join()
        assert ok(answers[0])["stdout"] == "whole\n"
        api.process.wait(60)
        with pytest.raises(httpx.TransportError):
            writer.get("/health")
