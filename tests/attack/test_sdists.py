"""Model envs that are built from source: what a source does while its env is locked and built."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from egoworld_resources.environments.contract import runner_dependencies
from made_attacked_envs import SPY, Door, redirecting, shut_door
from made_envs import made_env
from made_git import BACKEND, PYPROJECT
from made_index import MadeIndex, made_index

SECRET = "of-the-env-file-77"
PINNED = "1!9"
"""A version that is above whatever the contract asks of its packages at least."""


@dataclass(frozen=True)
class Checkout:
    """A project with one model env, and an index with a source."""

    folder: Path
    index: MadeIndex
    door: Door
    uv: Path

    def rules(self, *, sdists: str = "sandbox") -> None:
        (self.folder / "envs" / "policy.toml").write_text(
            f"private_sources = [{self.index.url.removesuffix('/simple')!r}]\n"
            f"[builds]\nsdists = '{sdists}'\nbackends = ['madebackend']\n"
        )

    def source(self, setup: str, pyproject: str = PYPROJECT) -> Path:
        """Publish gitted 1.0 as nothing but an sdist."""
        at = self.folder / "gitted-1.0"
        at.mkdir()
        (at / "setup.py").write_text(setup)
        (at / "pyproject.toml").write_text(pyproject)
        (at / "PKG-INFO").write_text("Metadata-Version: 2.1\nName: gitted\nVersion: 1.0\n")
        file = self.index.folder / "files" / "gitted-1.0.tar.gz"
        with tarfile.open(file, "w:gz") as archive:
            archive.add(at, "gitted-1.0")
        self.page(f"/files/{file.name}", file)
        return file

    def page(self, address: str, file: Path) -> None:
        page = self.index.folder / "simple" / "gitted" / "index.html"
        page.parent.mkdir(parents=True, exist_ok=True)
        digest = hashlib.sha256(file.read_bytes()).hexdigest()
        page.write_text(f'<html><body><a href="{address}#sha256={digest}">{file.name}</a></body></html>')

    def egoworld_env(self, *words: str) -> subprocess.CompletedProcess[str]:
        environ = {
            "PATH": f"{self.uv.parent}:{os.environ['PATH']}",
            "UV_CACHE_DIR": str(self.folder / "data" / "cache"),
            "UV_DEFAULT_INDEX": self.index.url,
            "POSTGRES_PASSWORD": SECRET,
        }
        command = [sys.executable, "-m", "egoworld_resources", *words]
        return subprocess.run(command, cwd=self.folder, env=environ, capture_output=True, text=True, check=False)


@pytest.fixture
def checkout(tmp_path: Path, uv: Path) -> Iterator[Checkout]:
    tmp_path.chmod(0o755)
    made_env(tmp_path, "red", dependencies=("gitted",))
    file = tmp_path / "envs" / "red" / "pyproject.toml"
    file.write_text(file.read_text().replace('interpreter = "env"', 'interpreter = "env"\nsdists = ["gitted"]'))
    (tmp_path / ".env").write_text(SECRET)
    (tmp_path / ".env").chmod(0o600)
    with made_index(tmp_path / "index") as index, shut_door() as door:
        index.add("madebackend", "1.0", source=BACKEND)
        for needed in runner_dependencies():
            name = needed.partition(">")[0].partition("=")[0].partition("[")[0].strip()
            index.add(name, PINNED)
        made = Checkout(tmp_path, index, door, uv)
        made.rules()
        yield made


def test_what_a_source_does(checkout: Checkout, tmp_path: Path) -> None:
    """The setup.py of a model env's sdist reads a secret, writes outside and connects elsewhere"""
    marker = Path("/tmp") / f"egoworld-sdist-{os.getpid()}"
    wanted = [str(tmp_path / ".env"), "/proc/1/environ", str(tmp_path / "envs" / "policy.toml")]
    checkout.source(SPY.format(wanted=wanted, port=checkout.door.port, marker=str(marker)))
    locked = checkout.egoworld_env("lock", "red")
    assert locked.returncode == 0, locked.stderr
    assert not marker.exists(), "locking runs nothing of it"
    built = checkout.egoworld_env("build", "red")
    assert built.returncode == 0, built.stderr
    assert not marker.exists()
    assert checkout.door.opened == []
    python = built.stdout.split("\t")[1].strip()
    code = "import gitted, json; print(json.dumps(gitted.SAID))"
    output = json.loads(subprocess.run([python, "-I", "-c", code], check=True, capture_output=True, text=True).stdout)
    assert output["network"] != "open"
    assert SECRET not in str(output)
    assert "UV_CACHE_DIR" not in output["environ"]
    assert {output[name] for name in (wanted[0], wanted[2])} == {"FileNotFoundError"}
    again = checkout.egoworld_env("build", "--fresh", "red")
    assert again.returncode == 0, again.stderr


def test_what_may_not_be_built(checkout: Checkout) -> None:
    """A model env's sdist is built although the policy refuses it, or by a backend that nobody allowed"""
    checkout.source("raise SystemExit(7)", PYPROJECT.replace('backend = "madebackend"', 'backend = "other"'))
    assert checkout.egoworld_env("lock", "red").returncode == 0
    other = checkout.egoworld_env("build", "red")
    assert (other.returncode, "rule builds.backends" in other.stderr) == (1, True), other.stderr
    checkout.rules(sdists="refused")
    refused = checkout.egoworld_env("build", "red")
    assert (refused.returncode, "rule builds.sdists" in refused.stderr) == (1, True), refused.stderr
    assert not list((checkout.folder / "data" / "envs" / "red").glob("*"))


def test_a_source_that_fails_or_is_another(checkout: Checkout) -> None:
    """A model env's sdist fails to build, or is not the file that was locked"""
    file = checkout.source("raise SystemExit('no compiler here')")
    assert checkout.egoworld_env("lock", "red").returncode == 0
    failed = checkout.egoworld_env("build", "red")
    assert (failed.returncode, "could not be built in the sandbox" in failed.stderr) == (1, True), failed.stderr
    assert "no compiler here" in failed.stderr
    file.write_bytes(file.read_bytes() + b"\0")
    another = checkout.egoworld_env("build", "red")
    assert (another.returncode, "is not the file whose sha256" in another.stderr) == (1, True), another.stderr


@pytest.mark.parametrize("listed", [False, True], ids=["is not listed", "leads to one that is not"])
def test_a_source_that_is_somewhere_else(checkout: Checkout, listed: bool) -> None:
    """The address of a model env's sdist is an address of this machine that nobody listed"""
    file = checkout.source("")
    with redirecting() as (moved, door):
        checkout.page(f"{moved}/files/{file.name}", file)
        assert checkout.egoworld_env("lock", "red").returncode == 0
        if listed:
            rules = checkout.folder / "envs" / "policy.toml"
            rules.write_text(rules.read_text().replace("private_sources = [", f"private_sources = ['{moved}', "))
        refused = checkout.egoworld_env("build", "red")
        message = "which is not followed" if listed else "private_sources of envs/policy.toml"
        assert (refused.returncode, message in refused.stderr) == (1, True), refused.stderr
        assert door.opened == []
