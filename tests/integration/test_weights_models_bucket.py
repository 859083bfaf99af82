"""Whole models in the bucket of weights: pushed, fetched on another machine, killed on the way, damaged there."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from hashlib import sha256
from pathlib import Path

import pytest
from click.testing import Result
from typer.testing import CliRunner

from egoworld_assets.cli.app import app
from egoworld_assets.definitions import build
from egoworld_resources.making.workbench import Workbench
from egoworld_resources.s3.access import S3Access
from egoworld_resources.s3.objects import PART, Objects
from egoworld_resources.settings import Settings
from egoworld_resources.weights.manifest import MANIFEST, SIGNATURE
from tests.made_dagster import dagster_in
from tests.made_models import FILES, write_model
from tests.made_stores import SERVERS, access_to, environment

LARGE = "large.safetensors"
DATA = {**FILES, LARGE: os.urandom(1000) * (PART * 5 // 2 // 1000)}


@pytest.fixture(params=["minio"])
def access(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> S3Access:
    """A server, and a machine that has the model."""
    made = access_to(request.getfixturevalue(request.param))
    for name, value in environment(made).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("EGOWORLD_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("EGOWORLD_MODEL_HOME", str(tmp_path / "here"))
    write_model(tmp_path / "here" / "tiny", DATA)
    (tmp_path / "here" / "tiny" / SIGNATURE).write_bytes(b"vouched for")
    monkeypatch.chdir(tmp_path)
    return made


@pytest.fixture
def there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, access: S3Access) -> Path:
    """The model home of another machine, in force after the model was pushed."""
    assert weights("push", "tiny").exit_code == 0
    monkeypatch.setenv("EGOWORLD_MODEL_HOME", str(tmp_path / "there"))
    return tmp_path / "there"


def weights(*arguments: str) -> Result:
    """`egoworld weights` with these arguments."""
    return CliRunner().invoke(app, ["weights", *arguments])


def objects_in(access: S3Access) -> Objects:
    """The bucket of weights."""
    return Objects(access, access.bucket("weights"))


@pytest.mark.parametrize("access", SERVERS, indirect=True)
def test_a_model_that_was_pushed_is_fetched_whole(access: S3Access, there: Path, tmp_path: Path) -> None:
    fetched = weights("fetch", "tiny")
    assert fetched.exit_code == 0, fetched.output
    assert {path: (there / "tiny" / path).read_bytes() for path in DATA} == DATA
    assert (there / "tiny" / MANIFEST).read_bytes() == (tmp_path / "here" / "tiny" / MANIFEST).read_bytes()
    assert (there / "tiny" / SIGNATURE).read_bytes() == b"vouched for"
    assert weights("verify", "tiny").exit_code == 0
    assert weights("fetch", "tiny").exit_code == 0, "a second time nothing is wrong"
    assert "it has: tiny;" in weights("fetch", "large").stderr


def test_the_supply_in_dagster_fetches_what_is_wanted(access: S3Access, there: Path, tmp_path: Path) -> None:
    job = build(Workbench(Settings.load())).resolve_job_def("supply_of_models")
    with dagster_in(tmp_path / "dagster") as instance:
        run = job.execute_in_process({"ops": {"models": {"config": {"fetch": ["tiny"]}}}}, instance=instance)
    assert run.asset_materializations_for_node("models_in_bucket")[0].metadata["names"].value == "tiny"
    assert [check.passed for check in run.get_asset_check_evaluations()] == [True]
    assert (there / "tiny" / LARGE).read_bytes() == DATA[LARGE]


def test_a_model_that_is_not_whole_is_not_in_the_bucket(access: S3Access, tmp_path: Path) -> None:
    damaged = bytearray(DATA[LARGE])
    damaged[-1] ^= 1
    (tmp_path / "here" / "tiny" / LARGE).write_bytes(damaged)
    result = weights("push", "tiny")
    assert result.exit_code == 1
    assert f"{LARGE} is damaged" in result.stderr
    (tmp_path / "here" / "tiny" / LARGE).unlink()
    assert f"missing: {LARGE}" in weights("push", "tiny").stderr
    assert "it has: none" in weights("fetch", "tiny").stderr
    assert weights("push", "nothing").exit_code == 1


def test_another_model_of_that_name_is_replaced_only_when_asked(
    access: S3Access, there: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_model(there / "tiny", {"own.txt": b"mine"})
    assert "with other files; move it away" in weights("fetch", "tiny").stderr
    refused = weights("push", "tiny")
    assert refused.exit_code == 1
    assert "--replace" in refused.stderr
    assert weights("push", "tiny", "--replace").exit_code == 0
    monkeypatch.setenv("EGOWORLD_MODEL_HOME", str(tmp_path / "third"))
    assert weights("fetch", "tiny").exit_code == 0
    assert (tmp_path / "third" / "tiny" / "own.txt").read_bytes() == b"mine"


def test_what_is_damaged_in_the_bucket_is_never_taken(access: S3Access, there: Path) -> None:
    path, digest = LARGE, sha256(DATA[LARGE]).hexdigest()
    objects_in(access).put(digest, DATA[path][:-1] + b"?")
    damaged = weights("fetch", "tiny")
    assert damaged.exit_code == 1
    assert f"damaged: {path}: s3://{access.bucket('weights')}/{digest} has sha256" in damaged.stderr
    objects_in(access).remove([digest])
    assert f"missing: {path}" in weights("fetch", "tiny").stderr
    assert not (there / "tiny").exists()
    objects_in(access).put(digest, DATA[path])
    assert weights("fetch", "tiny").exit_code == 0
    assert weights("verify", "tiny").exit_code == 0


KILLED = """
import os, signal, sys
from egoworld_assets.cli.app import app
from egoworld_resources.s3.objects import Objects, PART

verb, at = sys.argv.pop(1), int(sys.argv.pop(1))
call = getattr(Objects, verb)

def counted(self, *args, **kwargs):
    global at
    at -= 1
    if at < 0:
        os.kill(os.getpid(), signal.SIGKILL)
    return call(self, *args, **kwargs)

setattr(Objects, verb, counted)
app()
"""


def killed(verb: str, at: int, *arguments: str) -> None:
    """A command that kills itself when it calls a method of the bucket for the ``at``-th time."""
    command = [sys.executable, "-c", KILLED, verb, str(at), "weights", *arguments]
    assert subprocess.run(command, check=False, env=dict(os.environ)).returncode == -signal.SIGKILL


def test_a_killed_fetch_goes_on_inside_the_file(access: S3Access, there: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    killed("get_part", 5, "fetch", "tiny")  # three small files have a part each, the large one three
    assert not (there / "tiny").exists()
    sizes = sorted(part.stat().st_size for part in there.glob(".incoming/tiny-*/parts/*"))
    assert sizes[-1] >= PART
    asked: list[tuple[str, int]] = []
    get_part = Objects.get_part

    def noted(self: Objects, key: str, start: int, length: int) -> bytes:
        asked.append((key, start))
        return get_part(self, key, start, length)

    monkeypatch.setattr(Objects, "get_part", noted)
    assert weights("fetch", "tiny").exit_code == 0
    assert min(start for key, start in asked if key == sha256(DATA[LARGE]).hexdigest()) >= PART
    assert weights("verify", "tiny").exit_code == 0
    assert list(there.glob(".incoming/tiny-*")) == []


def test_a_killed_push_leaves_no_model_in_the_bucket(access: S3Access) -> None:
    killed("put_parts", 0, "push", "tiny")
    assert "it has: none" in weights("fetch", "tiny").stderr
    assert weights("push", "tiny").exit_code == 0
