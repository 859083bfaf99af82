"""Folders of the environment service that are shut to it: read-only, immutable, or another user's."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest

from made_api import Served, served
from made_envs import made_env, made_lock, made_wheel
from made_index import made_index

SHUT, STRANGER = "ENV_NOT_ACCESSIBLE", 54_321
WITHOUT_RIGHTS = ("setpriv", "--bounding-set=-dac_override,-dac_read_search,-fowner,-chown", "--")
"""root that may do what any owner may, and no more; who is not root is that already."""


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory, uv: Path) -> Iterator[Served]:
    """A service without the rights of root over files of others."""
    if os.geteuid() == 0 and not shutil.which("setpriv"):
        pytest.skip("root may write everywhere, and setpriv, which takes that right away, is not here")
    under = WITHOUT_RIGHTS if os.geteuid() == 0 else ()
    home = tmp_path_factory.mktemp("home")
    with made_index(home / "index") as index, served(home, uv, index.url, under=under) as running:
        yield running


@pytest.fixture
def writer(api: Served) -> Iterator[httpx.Client]:
    with api.client() as client:
        yield client


@contextmanager
def mode(folder: Path, bits: int) -> Iterator[None]:
    before = stat.S_IMODE(folder.stat().st_mode)
    folder.chmod(bits)
    try:
        yield
    finally:
        folder.chmod(before)


@contextmanager
def of_a_stranger(folder: Path) -> Iterator[None]:
    if os.geteuid() != 0:
        pytest.skip("only root gives a folder to another user")
    before = stat.S_IMODE(folder.stat().st_mode)
    os.chown(folder, STRANGER, STRANGER)
    folder.chmod(0o755)
    try:
        yield
    finally:
        os.chown(folder, os.geteuid(), os.getegid())
        folder.chmod(before)


@contextmanager
def as_root_does(what: str, begin: list[str], end: list[str]) -> Iterator[None]:
    done = subprocess.run(begin, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        pytest.skip(f"no {what} can be made here: {done.stderr.strip()}")
    try:
        yield
    finally:
        subprocess.run(end, check=True)


@contextmanager
def mounted_read_only(folder: Path) -> Iterator[None]:
    path = str(folder)
    with as_root_does("bind mount", ["mount", "--bind", path, path], ["umount", "--lazy", path]):
        subprocess.run(["mount", "-o", "remount,bind,ro", path], check=True)
        yield


def immutable(folder: Path) -> AbstractContextManager[None]:
    return as_root_does("immutable folder", ["chattr", "+i", str(folder)], ["chattr", "-i", str(folder)])


WAYS: dict[str, Callable[[Path], AbstractContextManager[None]]] = {
    "read-only": lambda folder: mode(folder, 0o500),
    "closed": lambda folder: mode(folder, 0),
    "another user's": of_a_stranger,
    "mounted read-only": mounted_read_only,
    "immutable": immutable,
}


def code_of(answer: httpx.Response) -> str:
    return "" if answer.is_success else answer.json()["error"]["code"]


def calls(writer: httpx.Client, node: str) -> dict[str, httpx.Response]:
    """All that is asked of an env."""
    at = f"/envs/shut/{node}"
    requests: dict[str, tuple[str, str, Any]] = {
        "create": ("POST", "/envs", {"workflow_id": "shut", "node_id": f"{node}-new", "packages": ["tiny"]}),
        "add": ("POST", f"{at}/deps", {"packages": ["leaf"]}),
        "update": ("PUT", at, {"packages": ["tiny==1.0"]}),
        "sync": ("POST", f"{at}/sync", None),
        "run": ("POST", f"{at}/run", {"code": "import tiny; print(tiny.VERSION)"}),
        "get": ("GET", at, None),
        "verify": ("GET", f"{at}/verify", None),
        "list": ("GET", "/envs", None),
        "cleanup": ("POST", "/envs/cleanup", {"idle_hours": 0, "dry_run": False}),
        "delete": ("DELETE", at, None),
    }
    return {name: writer.request(method, path, json=body) for name, (method, path, body) in requests.items()}


def checked(writer: httpx.Client, answers: dict[str, httpx.Response]) -> dict[str, str]:
    """The codes of answers, each of which says what to do; every row of the audit has its end."""
    for name, answer in answers.items():
        if code := code_of(answer):
            assert code in (SHUT, "DB_AUDIT_ERROR", "BAD_CONFIGURATION"), (name, answer.text)
            message = answer.json()["error"]["message"]
            assert any(fix in message for fix in ("chown", "chattr", "read-write", "umount", "make it writable")), (
                message
            )
    rows = writer.get("/operations", params={"limit": 500}).json()["operations"]
    wrong = [row for row in rows if row["running"] or row["result"] == "INTERNAL_ERROR"]
    assert wrong == []
    return {name: code_of(answer) for name, answer in answers.items()}


@pytest.mark.parametrize("way", WAYS)
def test_the_folder_of_an_env(api: Served, writer: httpx.Client, way: str) -> None:
    """The folder of an env is shut to the service"""
    node = f"env-{list(WAYS).index(way)}"
    made = writer.post("/envs", json={"workflow_id": "shut", "node_id": node, "packages": ["tiny"]})
    assert made.status_code == 201, made.text
    before, folder = writer.get(f"/envs/shut/{node}").json(), Path(made.json()["env_path"])
    with WAYS[way](folder):
        codes = checked(writer, calls(writer, node))
    changes = ("add", "update", "sync", "delete")
    assert {name: codes[name] for name in changes} == dict.fromkeys(changes, SHUT)
    looks = ("get", "verify", "run")
    assert {codes[name] for name in looks} == ({SHUT} if way == "closed" else {""}), codes
    assert (codes["create"], codes["list"], codes["cleanup"]) == ("", "", ""), "no other env is harmed"
    after = writer.get(f"/envs/shut/{node}").json()
    assert {name: after[name] for name in ("lock_digest", "locked_versions", "status")} == {
        name: before[name] for name in ("lock_digest", "locked_versions", "status")
    }
    assert writer.get(f"/envs/shut/{node}/verify").status_code == 200
    assert writer.post(f"/envs/shut/{node}/deps", json={"packages": ["leaf"]}).status_code == 200
    assert writer.delete(f"/envs/shut/{node}").status_code == 200


@pytest.mark.parametrize("way", WAYS)
def test_the_folder_of_all_envs(api: Served, writer: httpx.Client, way: str) -> None:
    """The folder of all envs is shut to the service"""
    node = f"all-{list(WAYS).index(way)}"
    made = writer.post("/envs", json={"workflow_id": "shut", "node_id": node, "packages": ["tiny"]})
    assert made.status_code == 201, made.text
    with WAYS[way](Path(made.json()["env_path"]).parent):
        codes = checked(writer, calls(writer, node))
    assert codes["create"] == codes["delete"] == SHUT, codes
    assert writer.get(f"/envs/shut/{node}/verify").status_code == 200
    assert code_of(writer.get(f"/envs/shut/{node}-new")) == "ENV_NOT_FOUND"
    assert writer.post(f"/envs/shut/{node}/run", json={"code": "print(1)"}).json()["stdout"] == "1\n"
    assert writer.delete(f"/envs/shut/{node}").status_code == 200


def test_an_older_generation(api: Served, writer: httpx.Client) -> None:
    """What an env was before its last change cannot be removed"""
    made = writer.post("/envs", json={"workflow_id": "shut", "node_id": "older", "packages": ["tiny"]})
    with immutable((Path(made.json()["env_path"]) / "current").resolve()):
        changed = writer.post("/envs/shut/older/deps", json={"packages": ["leaf"]})
        assert changed.status_code == 200, changed.text
        (row,) = [
            one
            for one in writer.get("/operations", params={"env": "shut/older"}).json()["operations"]
            if one["action"] == "add"
        ]
        assert row["result"] == "ok"
    assert writer.get("/envs/shut/older").json()["locked_versions"].keys() == {"tiny", "leaf"}


@pytest.mark.parametrize("way", ["read-only", "mounted read-only", "immutable"])
def test_model_envs_of_a_checkout(tmp_path: Path, uv: Path, way: str) -> None:
    """Model envs are built while their folder is shut"""
    made_env(tmp_path, "red", dependencies=("tiny",))
    made_lock(tmp_path, "red", [made_wheel(tmp_path / "wheels", "tiny", "1.0", {"tiny.py": ""})])
    folder = tmp_path / "data" / "envs"
    folder.mkdir(parents=True)
    under = WITHOUT_RIGHTS if os.geteuid() == 0 and shutil.which("setpriv") else ()
    words = [*under, sys.executable, "-m", "egoworld_resources", "build", "red"]
    environ = {"PATH": f"{uv.parent}:/usr/bin:/bin", "UV_CACHE_DIR": str(tmp_path / "cache")}
    build = partial(subprocess.run, words, cwd=tmp_path, env=environ, capture_output=True, text=True, check=False)
    with WAYS[way](folder):
        refused = build()
    assert (refused.returncode, "Traceback" in refused.stderr) == (1, False), refused.stderr
    assert f"error: env 'red' cannot be built in {folder}: " in refused.stderr
    assert "writable for user" in refused.stderr
    built = build()
    assert built.returncode == 0, built.stderr
