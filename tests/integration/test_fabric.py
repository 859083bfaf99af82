"""Envs of workflows with the real uv, a real index and a real audit."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from egoworld_resources.environments.building.uv import Uv
from egoworld_resources.environments.building.venv import Building
from egoworld_resources.environments.policy.rules import Policy
from egoworld_resources.errors import BadConfiguration
from egoworld_resources.settings import Settings
from egoworld_resources.workflow_envs.config import FabricConfig
from egoworld_resources.workflow_envs.env_facts import EnvFacts
from egoworld_resources.workflow_envs.errors import (
    AuditFailed,
    Damaged,
    DependencyNotFound,
    EnvAlreadyExists,
    EnvLocked,
    EnvNotFound,
    IndexSilent,
    InvalidPackages,
    PolicyRefused,
    PythonNotFound,
    ResolutionFailed,
    RunTimeout,
)
from egoworld_resources.workflow_envs.fabric import Fabric
from egoworld_resources.workflow_envs.keys import EnvKey
from egoworld_resources.workflow_envs.space import refuse_two_partitions
from egoworld_resources.workflow_envs.uv_backend import UvBackend
from made_envs import made_wheel
from made_fabric import KEY, TESTER, made_fabric, made_policy, versions
from made_index import MadeIndex, made_index
from waiting import wait_for

OPERATE = """
import sys
from pathlib import Path
from made_fabric import KEY, TESTER, made_fabric
fabric = made_fabric(Path(sys.argv[1]), Path(sys.argv[2]))
getattr(fabric, sys.argv[3])(KEY, ["leaf"], TESTER)
"""

FULL_DISK = """
import json, sys
from pathlib import Path
from made_fabric import KEY, TESTER, made_fabric, versions
from egoworld_resources.workflow_envs.errors import FabricError
from tests.faults import Disk, own_mounts
if reason := own_mounts():
    sys.exit(print(f"skip: no file system of its own here: {reason}"))
small = Path(sys.argv[1]) / "small"
disk = Disk(small, 8 << 20)
fabric = made_fabric(small, Path(sys.argv[2]), f"sqlite:///{sys.argv[1]}/audit.sqlite")
before = fabric.create(KEY, TESTER)
give_back = disk.fill(4096)
try:
    fabric.add(KEY, ["leaf"], TESTER)
    code = "none"
except FabricError as error:
    code = error.code
unchanged = fabric.get(KEY) == before
give_back()
after = fabric.add(KEY, ["leaf"], TESTER)
left = [entry for entry in after.env_path.iterdir() if not entry.is_symlink()]
later = {"leaf": versions(after)["leaf"]}
print(json.dumps({"error": code, "unchanged": unchanged, "left": len(left), "later": later}))
"""

SLOW_UV = """#!/bin/sh
case "$*" in *"pip sync"*) ;; *) exec {uv} "$@" ;; esac
{uv} "$@" || exit
echo $$ > {mark}
exec sleep 60
"""

REPOSITORY = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MadeIndex]:
    with made_index(tmp_path_factory.mktemp("index")) as made:
        yield made


@pytest.fixture(autouse=True)
def _only_the_made_index(index: MadeIndex, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UV_DEFAULT_INDEX", index.url)


@pytest.fixture
def fabric(tmp_path: Path, uv: Path) -> Fabric:
    return made_fabric(tmp_path, uv)


def imported(env: EnvFacts, module: str = "tiny") -> str:
    """The version that the env's own interpreter imports."""
    program = [env.python, "-I", "-c", f"import {module}; print({module}.VERSION)"]
    return subprocess.run(program, capture_output=True, text=True, check=True).stdout.strip()


def written(fabric: Fabric) -> list[tuple[str, str]]:
    """Action and result of every operation, oldest first."""
    return [(one.action, one.result) for one in reversed(fabric.operations.history())]


def test_an_env_is_created_changed_and_removed(fabric: Fabric) -> None:
    env = fabric.create(KEY, TESTER, packages=["tiny<2"])
    assert (env.status, versions(env), imported(env)) == ("ready", {"tiny": "1.0"}, "1.0")
    assert env.env_path == fabric.config.envs_base_path / "flow_node"
    env = fabric.add(KEY, ["leaf"], TESTER)
    assert (versions(env), imported(env, "leaf")) == ({"leaf": "1.0", "tiny": "1.0"}, "1.0")
    assert env.declared.dependencies == ("leaf>=1.0", "tiny<2")
    env = fabric.remove(KEY, ["leaf"], TESTER)
    assert versions(env) == {"tiny": "1.0"}
    env = fabric.update(KEY, TESTER, packages=["tiny"], upgrade=True)
    assert (versions(env), imported(env)) == ({"tiny": "2.0"}, "2.0")
    assert fabric.list() == [env]
    fabric.delete(KEY, TESTER)
    assert fabric.list() == []
    assert not env.env_path.exists()
    with pytest.raises(EnvNotFound, match="flow/node"):
        fabric.get(KEY)
    actions = ["create", "add", "remove", "update", "delete"]
    assert written(fabric) == [(action, "ok") for action in actions]


def test_the_audit_names_who_what_and_the_locks_on_both_sides(fabric: Fabric) -> None:
    first = fabric.create(KEY, TESTER)
    second = fabric.add(KEY, ["tiny"], TESTER)
    operation = fabric.operations.history(parts=KEY.parts)[0]
    assert (operation.actor, operation.origin, operation.details) == ("tester", "test", {"packages": ["tiny"]})
    assert (operation.lock_before, operation.lock_after) == (first.lock_digest, second.lock_digest)
    assert operation.ended_at is not None
    assert operation.ended_at >= operation.started_at


def test_an_upgrade_takes_the_newest_that_fits(fabric: Fabric, index: MadeIndex) -> None:
    index.add("aging", "1.0")
    fabric.create(KEY, TESTER, packages=["aging"])
    index.add("aging", "1.1")
    assert versions(fabric.add(KEY, ["tiny"], TESTER))["aging"] == "1.0", "a lock changes only where it is asked to"
    fabric.operations.close()
    assert versions(fabric.update(KEY, TESTER, upgrade=True))["aging"] == "1.1"


def test_errors_name_what_is_wrong_and_change_nothing(fabric: Fabric) -> None:
    before = fabric.create(KEY, TESTER, packages=["tiny<2"])
    with pytest.raises(EnvAlreadyExists, match="flow/node"):
        fabric.create(KEY, TESTER)
    with pytest.raises(ResolutionFailed, match="nothere was not found"):
        fabric.add(KEY, ["nothere"], TESTER)
    with pytest.raises(ResolutionFailed, match="tiny>5"):
        fabric.add(KEY, ["tiny>5"], TESTER)
    with pytest.raises(InvalidPackages, match="--index"):
        fabric.add(KEY, ["--index-url=http://elsewhere"], TESTER)
    with pytest.raises(DependencyNotFound, match="leaf"):
        fabric.remove(KEY, ["leaf"], TESTER)
    with pytest.raises(PythonNotFound, match=r"3\.9"):
        fabric.update(KEY, TESTER, python_version="3.9")
    with pytest.raises(EnvNotFound):
        fabric.add(EnvKey("other", "node"), ["tiny"], TESTER)
    assert fabric.get(KEY) == before
    results = {result for action, result in written(fabric) if action == "add"}
    assert results == {"PACKAGE_RESOLUTION_FAILED", "INVALID_PACKAGES"}


def test_a_build_for_processors_alone_is_refused_by_the_policy(fabric: Fabric, index: MadeIndex) -> None:
    index.add("torch", "9.0+cpu")
    with pytest.raises(PolicyRefused, match="CPU-only"):
        fabric.create(KEY, TESTER, packages=["torch"])
    assert fabric.list() == []


def test_an_index_that_is_silent_is_named(fabric: Fabric, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UV_DEFAULT_INDEX", "http://127.0.0.1:9/simple")
    monkeypatch.setenv("UV_HTTP_RETRIES", "0")
    with pytest.raises(IndexSilent, match="could not be fetched"):
        fabric.create(KEY, TESTER, packages=["tiny"])


def test_a_second_env_of_the_same_lock_shares_its_files(fabric: Fabric) -> None:
    one = fabric.create(KEY, TESTER, packages=["tiny"])
    other = fabric.create(EnvKey("flow", "other"), TESTER, packages=["tiny"])
    assert one.lock_digest == other.lock_digest
    files = [next(env.python.parents[1].glob("lib/*/site-packages/tiny.py")) for env in (one, other)]
    assert files[0].stat().st_ino == files[1].stat().st_ino


def test_a_write_into_an_env_is_seen_and_repaired_by_a_sync(fabric: Fabric) -> None:
    env = fabric.create(KEY, TESTER, packages=["tiny"])
    module = next(env.python.parents[1].glob("lib/*/site-packages/tiny.py"))
    module.chmod(0o644)
    module.write_text("VERSION = 'poison'\n")
    assert fabric.get(KEY).status == "damaged"
    with pytest.raises(Damaged, match=r"tiny\.py"):
        fabric.verify(KEY)
    repaired = fabric.sync(KEY, TESTER)
    assert (repaired.status, imported(repaired), repaired.lock_digest) == ("ready", "2.0", env.lock_digest)
    assert fabric.verify(KEY) == repaired


def test_two_at_once_wait_or_are_reported(fabric: Fabric) -> None:
    fabric.create(KEY, TESTER)
    with fabric.places.changing(KEY, 0):
        with pytest.raises(EnvLocked, match="flow/node is locked"):
            fabric.add(KEY, ["tiny"], TESTER)
        waiting = threading.Thread(target=fabric.add, args=(KEY, ["tiny"], TESTER), kwargs={"wait_s": 30})
        waiting.start()
    waiting.join()
    assert versions(fabric.get(KEY)) == {"tiny": "2.0"}


def test_nothing_happens_when_it_cannot_be_written_down(fabric: Fabric, tmp_path: Path, uv: Path) -> None:
    before = fabric.create(KEY, TESTER, packages=["tiny<2"])
    audit = tmp_path / "audit.sqlite"
    fabric.operations.close()
    audit.rename(tmp_path / "away.sqlite")
    audit.mkdir()
    changes: list[Callable[[], object]] = [
        lambda: fabric.add(KEY, ["leaf"], TESTER),
        lambda: fabric.delete(KEY, TESTER),
        lambda: fabric.create(EnvKey("a", "b"), TESTER),
    ]
    for change in changes:
        with pytest.raises(AuditFailed):
            change()
    with pytest.raises(AuditFailed):
        made_fabric(tmp_path, uv)
    assert fabric.list() == [before]


@pytest.mark.parametrize("killed", ["us", "everything"])
def test_kill_9_in_the_middle_leaves_the_env_as_it_was(tmp_path: Path, uv: Path, killed: str) -> None:
    fabric = made_fabric(tmp_path, uv)
    before = fabric.create(KEY, TESTER, packages=["tiny"])
    mark, slow = tmp_path / "mark", tmp_path / "uv"
    slow.write_text(SLOW_UV.format(uv=uv, mark=mark))
    slow.chmod(0o755)
    path = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
    process = subprocess.Popen([sys.executable, "-c", OPERATE, str(tmp_path), str(slow), "add"], env=path)
    wait_for(mark.exists)
    wait_for(lambda: bool(mark.read_text().strip()))
    sleeping = int(mark.read_text())
    process.kill()
    process.wait()
    if killed == "us":
        with pytest.raises(EnvLocked):
            fabric.add(KEY, ["leaf"], TESTER)
    os.kill(sleeping, signal.SIGKILL)
    assert fabric.get(KEY) == before
    after = fabric.add(KEY, ["leaf"], TESTER, wait_s=30)
    assert imported(after, "leaf") == "1.0"
    assert written(fabric) == [("create", "ok"), ("add", "INTERRUPTED"), ("add", "ok")]
    kept = {entry.name for entry in before.env_path.iterdir()}
    assert kept == {"current", before.generation, after.generation}, "what was half made is collected"


def test_what_was_done_before_a_crash_is_written_down_as_done(fabric: Fabric) -> None:
    env = fabric.create(KEY, TESTER)
    began = fabric.operations.begin("delete", KEY.folder, KEY.parts, TESTER, {}, env.lock_digest)
    fabric.places.remove(KEY)  # and then the process dies
    fabric.open()
    assert fabric.operations.unfinished() == []
    operation = fabric.operations.history(limit=1)[0]
    assert (operation.id, operation.result) == (began.id, "ok")


def test_cleanup_removes_what_rested(fabric: Fabric) -> None:
    fabric.create(KEY, TESTER)
    busy = EnvKey("flow", "busy")
    fabric.create(busy, TESTER)
    assert fabric.cleanup(TESTER) == [], "72 hours have not passed"
    assert fabric.cleanup(TESTER, idle_hours=0, dry_run=True) == [busy, KEY]
    assert len(fabric.list()) == 2
    with fabric.places.running(busy):
        assert fabric.cleanup(TESTER, idle_hours=0) == [KEY]
        with pytest.raises(EnvLocked, match="code runs in it"):
            fabric.delete(busy, TESTER)
    assert [env.key for env in fabric.list()] == [busy]


def test_a_cache_on_another_partition_is_refused(tmp_path: Path) -> None:
    other = Path("/dev/shm")
    if not other.is_dir() or other.stat().st_dev == tmp_path.stat().st_dev:
        pytest.skip("no second partition at /dev/shm")
    with pytest.raises(BadConfiguration, match="different partitions"):
        refuse_two_partitions(tmp_path, other)


def test_code_runs_in_the_env_and_is_written_down_without_itself(fabric: Fabric) -> None:
    fabric.create(KEY, TESTER, packages=["tiny"])
    outcome = fabric.run(KEY, "import tiny; print(tiny.VERSION, 'geheim')", TESTER)
    assert (outcome.exit_code, outcome.stdout) == (0, "2.0 geheim\n")
    operation = fabric.operations.history(limit=1)[0]
    assert (operation.action, operation.result, operation.message) == ("run", "ok", "exit 0")
    assert "geheim" not in str(operation)


def test_code_that_runs_too_long_is_ended(fabric: Fabric) -> None:
    fabric.create(KEY, TESTER)
    with pytest.raises(RunTimeout, match="longer than 1 s") as ended:
        fabric.run(KEY, "print('begun', flush=True)\nwhile True: pass", TESTER, timeout_s=1)
    assert ended.value.details["stdout"] == "begun\n"
    assert written(fabric)[-1] == ("run", "EXECUTION_TIMEOUT")


def test_what_the_cache_lacks_is_unpacked_once(tmp_path: Path, uv: Path, index: MadeIndex) -> None:
    index.add("wanted", "1.0")
    fabric = made_fabric(tmp_path, uv)
    keys = [EnvKey("many", str(number)) for number in range(8)]
    with ThreadPoolExecutor(len(keys)) as pool:
        envs = list(pool.map(lambda key: fabric.create(key, TESTER, packages=["wanted"]), keys))
    assert {imported(env, "wanted") for env in envs} == {"1.0"}
    modules = [next(env.python.parents[1].glob("lib/*/site-packages/wanted.py")) for env in envs]
    assert len({module.stat().st_ino for module in modules}) == 1
    assert len(list(fabric.config.uv_cache_dir.rglob("wanted.py"))) == 1


def test_a_full_disk_changes_nothing(tmp_path: Path, uv: Path) -> None:
    path = {**os.environ, "PYTHONPATH": os.pathsep.join([str(Path(__file__).parents[1]), str(REPOSITORY)])}
    command = [sys.executable, "-c", FULL_DISK, str(tmp_path), str(uv)]
    done = subprocess.run(command, env=path, capture_output=True, text=True, check=False)
    if done.stdout.startswith("skip:"):
        pytest.skip(done.stdout)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {"error": "DISK_FULL", "unchanged": True, "left": 2, "later": {"leaf": "1.0"}}


def test_what_changes_nothing_makes_nothing(fabric: Fabric) -> None:
    env = fabric.create(KEY, TESTER, packages=["tiny"])
    assert fabric.update(KEY, TESTER) == replace(env, changed=False)
    assert fabric.operations.history(limit=1)[0].message == "nothing to change"
    assert fabric.sync(KEY, TESTER).generation != env.generation


def test_bytecode_is_compiled_for_who_wants_it(tmp_path: Path, uv: Path) -> None:
    config = FabricConfig.load(Settings.model_validate({"home": tmp_path}), {"UV_COMPILE_BYTECODE": "1"})
    assert config.bytecode
    compiling = UvBackend(Building(Uv(uv, tmp_path / "uv_cache")), made_policy(), bytecode=True)
    fabric = made_fabric(tmp_path, uv, more={"uv": compiling})
    env = fabric.create(KEY, TESTER, packages=["tiny"])
    compiled = next(env.python.parents[1].glob("lib/*/site-packages/__pycache__/tiny.*.pyc"))
    assert fabric.verify(KEY).status == "ready"
    seen = fabric.run(KEY, "import tiny; print(tiny.__cached__)", TESTER)
    assert (seen.exit_code, seen.stdout) == (0, f"{compiled}\n")


def test_no_code_runs_in_a_damaged_env(fabric: Fabric) -> None:
    env = fabric.create(KEY, TESTER, packages=["tiny"])
    module = next(env.python.parents[1].glob("lib/*/site-packages/tiny.py"))
    module.chmod(0o644)
    module.write_text("VERSION = 'poison'\n")
    with pytest.raises(Damaged, match="sync it"):
        fabric.run(KEY, "import tiny", TESTER)
    fabric.sync(KEY, TESTER)
    assert fabric.run(KEY, "import tiny; raise SystemExit(3)", TESTER).exit_code == 3
    assert written(fabric)[-1] == ("run", "CODE_FAILED")


def test_with_a_folder_of_wheels_no_index_is_asked(tmp_path: Path, uv: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UV_DEFAULT_INDEX", "http://127.0.0.1:9/simple")
    wheels = tmp_path / "kit"
    made_wheel(wheels, "tiny", "1.0", {"tiny.py": "VERSION = '1.0'\n"})
    made_wheel(wheels, "leaf", "1.0", {"leaf.py": "VERSION = '1.0'\n"}, ("tiny",))
    backend = UvBackend(
        Building(Uv(uv, tmp_path / "uv_cache"), wheels), Policy.model_validate({"indexes": [str(wheels)]})
    )
    fabric = made_fabric(tmp_path, uv, more={"uv": backend})
    env = fabric.create(KEY, TESTER, packages=["leaf"])
    assert (versions(env), imported(env)) == ({"leaf": "1.0", "tiny": "1.0"}, "1.0")
    with pytest.raises(ResolutionFailed, match="nothere"):
        fabric.add(KEY, ["nothere"], TESTER)
