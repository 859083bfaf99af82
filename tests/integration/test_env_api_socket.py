"""The API on a Unix socket, as a part of a server: who may use it, what it takes from its environment, how it ends."""

from __future__ import annotations

import signal
import socket
import stat
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from egoworld_resources.server.postgres import PostgresAddress
from made_api import command, environ_of, served

SILENT = "http://127.0.0.1:9/simple"
OPERATOR, VIEWER = "an operator's token of a server, long", "a viewer's token of a server, quite long"


@pytest.fixture
def home() -> Iterator[Path]:
    """Short enough for a Unix socket."""
    with tempfile.TemporaryDirectory(prefix="ego-") as folder:
        yield Path(folder)


def refused(environ: dict[str, str], *words: str) -> str:
    done = subprocess.run(
        command("env", "serve", *words), env=environ, capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 1, done.stderr
    assert done.stderr.count("\n") == 1
    return done.stderr


def test_its_socket_is_its_owners_alone_and_gone_afterwards(home: Path, uv: Path) -> None:
    path = home / "run" / "envs.sock"
    tokens = {"ENV_OPERATOR_TOKEN": OPERATOR, "ENV_VIEWER_TOKEN": VIEWER}
    with served(home, uv, SILENT, "--socket", str(path), **tokens) as api, api.client(OPERATOR) as operator:
        assert api.said[-1] == f"serving http+unix://{path}"
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
        assert operator.get("/me").json() == {"name": "operator", "role": "writer"}
        assert operator.post("/envs", json={"workflow_id": "flow", "node_id": "node"}).status_code == 201
        (made,) = operator.get("/operations").json()["operations"]
        assert (made["actor"], made["origin"]) == ("operator", "http by its socket")
        with api.client(VIEWER) as viewer, api.client() as ann:
            assert viewer.get("/me").json()["role"] == "reader"
            assert ann.get("/me").json()["name"] == "writer"
            assert viewer.post("/envs", json={}).status_code == 403
        shown = operator.post("/envs/flow/node/run", json={"code": "import os; print(dict(os.environ))"}).json()
        assert OPERATOR not in shown["stdout"]
        assert f"another service listens on {path}" in refused(dict(api.environ), "--socket", str(path))
        assert operator.get("/health").status_code == 200, "the second one took nothing away"
    assert not path.exists()


def test_what_a_killed_service_left_is_replaced(home: Path, uv: Path) -> None:
    path = home / "run" / "envs.sock"
    path.parent.mkdir(mode=0o700)
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(path))
    with served(home, uv, SILENT, "--socket", str(path)) as api, api.client("") as nobody:
        assert nobody.get("/health").status_code == 200
        api.process.send_signal(signal.SIGINT)
        api.process.wait(60)
    assert not path.exists()


def test_a_place_for_a_socket_that_is_none_is_refused(home: Path, uv: Path) -> None:
    environ = environ_of(home, uv, SILENT)
    shared = home / "shared"
    shared.mkdir()
    shared.chmod(0o777)
    assert f"chmod 700 {shared}" in refused(environ, "--socket", str(shared / "envs.sock"))
    own = home / "own"
    own.mkdir(mode=0o700)
    (own / "file").write_text("kept")
    assert "cannot listen" in refused(environ, "--socket", str(own / "file"))
    assert (own / "file").read_text() == "kept"
    assert "longer than 107 bytes" in refused(environ, "--socket", str(own / ("x" * 120)))
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(own / "other"))
        other.listen()
        assert "cannot listen" in refused(environ, "--socket", str(own / "other"))
    assert "ENV_OPERATOR_TOKEN is shorter" in refused({**environ, "ENV_OPERATOR_TOKEN": "guess"}, "--port", "0")


def test_its_tokens_and_its_database_are_where_its_environment_says(
    home: Path, uv: Path, postgres_server: PostgresAddress
) -> None:
    at = postgres_server
    url = f"postgresql://{at.user}:{at.password}@/{at.database}?host={at.host}&port={at.port}"
    file = home / "elsewhere.json"
    environ = environ_of(home, uv, SILENT, ENV_TOKENS_FILE=str(file))
    made = subprocess.run(command("env", "token", "create", "ann"), env=environ, capture_output=True, text=True)
    with served(home, uv, SILENT, DATABASE_URL=url, ENV_TOKENS_FILE=str(file)) as api:
        assert at.password not in "".join(api.said)
        with api.client(made.stdout.strip()) as ann:
            assert ann.get("/me").json()["name"] == "ann"
            assert isinstance(ann.get("/operations").json()["operations"], list)
        with api.client() as stranger, pytest.raises(httpx.HTTPStatusError, match="401"):
            stranger.get("/me").raise_for_status()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert not (home / "env_operations.sqlite").exists()
