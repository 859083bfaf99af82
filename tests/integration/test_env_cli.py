"""`egoworld env ...` on envs of workflows: the same library as the API, at the command line."""

from __future__ import annotations

import json
import os
import socket
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from typer.testing import CliRunner

from egoworld_assets.cli.app import app
from made_api import command, environ_of
from made_channel import MadeChannel
from made_index import made_index


@pytest.fixture
def environ(tmp_path: Path, uv: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, str]]:
    """Commands work below tmp_path/home, in this process and in others."""
    with made_index(tmp_path / "index") as index:
        found = environ_of(tmp_path / "home", uv, index.url)
        for name, value in found.items():
            monkeypatch.setenv(name, value)
        yield found


def ego(*words: str, status: int = 0, text: str | None = None) -> Result:
    done = CliRunner().invoke(app, ["env", *words], input=text)
    assert done.exit_code == status, done.output
    return done


def answer_to(*words: str) -> dict[str, Any]:
    return json.loads(ego(*words, "--json").stdout)


def wrong(*words: str) -> str:
    """The one line that a command says when it cannot be done."""
    message = ego(*words, status=1).stderr
    assert message.startswith("error: ")
    assert "Traceback" not in message
    return message


@pytest.mark.usefixtures("environ")
def test_an_env_from_its_creation_to_its_end(tmp_path: Path) -> None:
    assert "no envs yet" in ego("list").stdout
    requirements = tmp_path / "requirements.txt"
    requirements.write_text("leaf\n")
    made = answer_to("create", "flow/node/v1", "tiny<2", "-r", str(requirements))
    assert (made["status"], made["locked_versions"]) == ("created", {"leaf": "1.0", "tiny": "1.0"})
    assert answer_to("show", "flow/node/v1") == {**made, "status": "ready"}
    assert answer_to("verify", "flow/node/v1")["status"] == "ready"
    ego("remove", "flow/node/v1", "leaf")
    assert answer_to("update", "flow/node/v1", "tiny", "--upgrade")["locked_versions"] == {"tiny": "2.0"}
    ego("add", "flow/node/v1", "leaf")
    assert answer_to("sync", "flow/node/v1")["status"] == "synced"
    assert "  tiny==2.0" in ego("deps", "flow/node/v1").stdout.splitlines()
    ego("export", "flow/node/v1", "--to", str(tmp_path / "out"))
    assert sorted(file.name for file in (tmp_path / "out").iterdir()) == ["pylock.toml", "pyproject.toml", "uv.lock"]
    assert "flow/node/v1" in ego("list").stdout
    assert answer_to("list")["envs"][0]["packages"] == 2
    assert "would be removed" in ego("cleanup", "--idle-hours", "0").stdout
    assert ego("cleanup", "--idle-hours", "0", "--apply").stdout.startswith("flow/node/v1\n1 removed")
    actions = [(one["action"], one["result"], one["origin"]) for one in answer_to("log", "flow/node/v1")["operations"]]
    assert actions == [(one, "ok", "cli") for one in ("cleanup", "sync", "add", "update", "remove", "create")]
    assert "cleanup" in ego("log").stdout


def test_looking_makes_nothing(environ: dict[str, str]) -> None:
    home = Path(environ["EGOWORLD_HOME"])
    assert not (home / "workflow_envs").exists()
    assert answer_to("list") == {"envs": []}
    assert "nothing yet" in ego("log").stdout
    for view in ("show", "verify", "export", "deps", "licences"):
        assert "there is no env flow/node" in wrong(view, "flow/node")
    assert not (home / "workflow_envs").exists()


@pytest.mark.usefixtures("environ")
def test_the_log_tells_what_uv_said_and_an_update_of_nothing_is_reported(tmp_path: Path) -> None:
    wrong("create", "flow/bad", "tiny>5")
    assert "only tiny<=2.0 is available" in ego("log", "flow/bad").stdout
    ego("create", "flow/node", "tiny")
    assert answer_to("add", "flow/node", "tiny")["status"] == "unchanged"
    del tmp_path


def test_a_home_that_cannot_be_is_reported_in_one_line(
    environ: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    file = Path(environ["EGOWORLD_HOME"]).with_name("a-file")
    file.write_text("")
    monkeypatch.setenv("EGOWORLD_HOME", str(file))
    monkeypatch.delenv("UV_CACHE_DIR", raising=False)
    assert "cannot be made" in wrong("create", "flow/node", "tiny")


def test_an_error_is_json_for_who_asked_for_json(environ: dict[str, str]) -> None:
    done = ego("create", "flow/node", "tiny", "--python", "2.7", "--json", status=1)
    error = json.loads(done.stdout)["error"]
    assert (error["code"], error["details"]["known"][0]) == ("PYTHON_NOT_FOUND", "3.11")
    assert error["message"] in done.stderr.replace("\n", " ")
    del environ


def test_licences_of_packages_are_reported_and_judged(environ: dict[str, str]) -> None:
    policy = Path(environ["EGOWORLD_PROJECT"]) / "envs" / "policy.toml"
    policy.parent.mkdir()
    policy.write_text('[licences]\npackages = ["MIT"]\n[licences.told]\nleaf = "MIT"\n')
    ego("create", "flow/node", "leaf", "tiny<2")
    known = answer_to("licences", "flow/node")
    assert known["packages"] == [
        {"name": "leaf", "version": "1.0", "licence": "MIT", "refused": ""},
        {"name": "tiny", "version": "1.0", "licence": "", "refused": "states no licence that can be read"},
    ]
    assert known["refused"] == 1
    assert "2 packages; 1 that the policy would not take" in ego("licences", "flow/node").stdout


@pytest.mark.usefixtures("environ")
def test_code_ends_the_command_with_its_own_status(tmp_path: Path) -> None:
    ego("create", "flow/node", "tiny")
    done = ego(
        "run", "flow/node", "-c", "import sys; print('out'); print('err', file=sys.stderr); sys.exit(3)", status=3
    )
    assert (done.stdout, done.stderr) == ("out\n", "err\n")
    program = tmp_path / "program.py"
    program.write_text("import tiny; print(tiny.VERSION)")
    assert ego("run", "flow/node", str(program)).stdout == "2.0\n"
    assert ego("run", "flow/node", "-", text="print('piped')").stdout == "piped\n"
    assert answer_to("run", "flow/node", "-c", "print(1)")["stdout"] == "1\n"
    late = ego("run", "flow/node", "-c", "print('so far', flush=True)\nwhile True: pass", "--timeout", "1", status=1)
    assert late.stdout == "so far\n"
    assert "longer than 1 s" in late.stderr
    assert "86400" in ego("run", "flow/node", "-c", "1", "--timeout", "inf", status=2).stderr
    assert answer_to("delete", "flow/node")["status"] == "deleted"


def test_an_env_of_conda_packages_goes_out_and_comes_back(environ: dict[str, str], tmp_path: Path) -> None:
    channel = MadeChannel(tmp_path / "channel")
    channel.add("tool", "1.0")
    policy = Path(environ["EGOWORLD_PROJECT"]) / "envs" / "policy.toml"
    policy.parent.mkdir()
    policy.write_text(f"channels = ['{channel.url}']\n")
    made = answer_to("create", "flow/tools", "tool", "--backend", "conda", "--python", "none")
    assert (made["backend"], made["locked_versions"]) == ("conda", {"tool": "1.0"})
    (licence,) = answer_to("licences", "flow/tools")["packages"]
    assert (licence["name"], licence["licence"]) == ("tool", "MIT")
    explicit, lock, yml = (tmp_path / name for name in ("explicit.txt", "conda-lock.yml", "environment.yml"))
    explicit.write_text(made["uv_lock"])
    yml.write_text(made["pyproject_toml"])
    ego("export", "flow/tools", "--conda-lock", "--to", str(tmp_path))
    for file in (explicit, lock, yml):
        again = answer_to("create", f"flow/{file.stem}", "--conda-file", str(file))
        assert again["lock_digest"] == made["lock_digest"], file.name
    assert "lists everything" in wrong("create", "flow/other", "tool", "--conda-file", str(lock))
    assert "has no Python" in wrong("run", "flow/tools", "-c", "1")


@pytest.mark.usefixtures("environ")
def test_what_is_wrong_is_one_line() -> None:
    assert "there is no env flow/node" in wrong("show", "flow/node")
    assert "names no env" in wrong("create", "flow")
    assert "'a b' is not allowed" in wrong("create", "a b/c")
    assert "cannot read" in wrong("create", "flow/node", "-r", "nothere.txt")
    assert "nothere was not found" in wrong("create", "flow/node", "nothere")
    assert "name a file, or give the program" in wrong("run", "flow/node")
    assert [one["result"] for one in answer_to("log")["operations"]] == ["PACKAGE_RESOLUTION_FAILED"]


def test_tokens_are_shown_once(environ: dict[str, str]) -> None:
    text = ego("token", "create", "ann", "--role", "writer").stdout.strip()
    file = Path(environ["EGOWORLD_HOME"]) / "env_tokens.json"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert text not in file.read_text()
    assert ego("token", "list").stdout.startswith("ann\twriter\t")
    assert "already" in wrong("token", "create", "ann")
    ego("token", "revoke", "ann")
    assert json.loads(ego("token", "list", "--json").stdout) == []


def test_serving_is_refused_in_one_line_when_it_cannot_be(environ: dict[str, str]) -> None:
    def serve(*words: str, **more: str) -> str:
        done = subprocess.run(
            command("env", "serve", *words), env={**environ, **more}, capture_output=True, text=True, check=False
        )
        assert done.returncode == 1, done.stderr
        assert done.stderr.startswith("error: ")
        assert done.stderr.count("\n") == 1
        return done.stderr

    assert "a proxy with TLS" in serve("--host", "0.0.0.0")
    assert "127.0.0.1" in serve("--port", "0", DATABASE_URL="postgresql://nobody@127.0.0.1:9/none")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        assert "cannot listen" in serve("--port", str(taken.getsockname()[1]))
    other = Path("/dev/shm")
    if other.is_dir() and other.stat().st_dev != Path(environ["EGOWORLD_HOME"]).stat().st_dev:
        cache = other / f"egoworld-test-{os.getpid()}"
        assert "different partitions" in serve("--port", "0", UV_CACHE_DIR=str(cache))
        cache.rmdir()
    tokens = Path(environ["EGOWORLD_HOME"]) / "env_tokens.json"
    tokens.write_text("{}")
    tokens.chmod(0o644)
    assert "chmod 600" in serve("--port", "0")
