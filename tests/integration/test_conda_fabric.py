"""Envs of conda packages through the fabric: every change, a kill in the middle of one, and locks made elsewhere."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from egoworld_resources.workflow_envs.conda.backend import CondaBackend
from egoworld_resources.workflow_envs.conda.conda_lock import read_conda_lock, read_explicit_lock
from egoworld_resources.workflow_envs.conda.exchange import conda_lock_of, create_from_lock, create_from_yml
from egoworld_resources.workflow_envs.env_facts import EnvFacts
from egoworld_resources.workflow_envs.errors import Damaged, InvalidPackages, PolicyRefused, PythonNotFound
from egoworld_resources.workflow_envs.fabric import Fabric
from egoworld_resources.workflow_envs.keys import EnvKey
from made_channel import MadeChannel
from made_fabric import KEY, TESTER, made_fabric, versions

OTHER = EnvKey("flow", "other")
STOPPING = """
import sys
from pathlib import Path
from egoworld_resources.workflow_envs.conda.adapter import Rattler
from egoworld_resources.workflow_envs.conda.backend import CondaBackend
from made_fabric import KEY, TESTER, made_fabric

class Stopping(Rattler):
    def link(self, archives, prefix, *, whole):
        super().link(archives[:1], prefix, whole=whole)
        print("half", flush=True)
        sys.stdin.read()

folder, uv, channel = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]
cache = folder / "conda"
fabric = made_fabric(folder, uv, more={"conda": CondaBackend(cache, [channel], rattler=Stopping(cache))})
fabric.add(KEY, ["app"], TESTER)
"""

FULL_DISK = """
import random, sys
from pathlib import Path
from egoworld_resources.workflow_envs.conda.backend import CondaBackend
from egoworld_resources.workflow_envs.errors import FabricError
from made_channel import MadeChannel
from made_fabric import KEY, TESTER, made_fabric, versions
from tests.faults import Disk, own_mounts
if reason := own_mounts():
    sys.exit(print(f"skip: no file system of its own here: {reason}"))
folder, small = Path(sys.argv[1]), Path(sys.argv[1]) / "small"
channel = MadeChannel(folder / "channel")
channel.add("tool", "1.0")
channel.add("large", "1.0", {"share/large.txt": random.Random(0).randbytes(1 << 20).hex()})
disk = Disk(small, 16 << 20)
conda = CondaBackend(small / "conda", [channel.url])
fabric = made_fabric(small, Path(sys.argv[2]), f"sqlite:///{folder}/audit.sqlite", {"conda": conda})
before = fabric.create(KEY, TESTER, python_version="none", packages=["tool"], backend="conda")
for left in (1 << 19, 5 << 19):  # for the archive of 1 MB, for its file of 2 MB
    give_back = disk.fill(left)
    try:
        fabric.add(KEY, ["large"], TESTER)
        print("added")
    except FabricError as error:
        print(error.code, fabric.verify(KEY) == before)
    give_back()
after = fabric.add(KEY, ["large"], TESTER)
left = [entry for entry in after.env_path.iterdir() if not entry.is_symlink()]
print(len(left), fabric.verify(KEY) == after)
"""


@pytest.fixture
def channel(tmp_path: Path) -> MadeChannel:
    made = MadeChannel(tmp_path / "channel")
    made.add_python()
    made.add("tool", "1.0")
    made.add("app", "1.0", depends=("tool >=1",))
    return made


@pytest.fixture
def fabric(tmp_path: Path, uv: Path, channel: MadeChannel) -> Fabric:
    return opened(tmp_path, uv, channel)


def opened(folder: Path, uv: Path, *channels: MadeChannel) -> Fabric:
    backend = CondaBackend(folder / "conda", [one.url for one in channels])
    return made_fabric(folder, uv, more={backend.name: backend})


def generation(env: EnvFacts) -> Path:
    return env.env_path / env.generation


def test_an_env_is_created_changed_synced_and_removed(fabric: Fabric, channel: MadeChannel) -> None:
    env = fabric.create(KEY, TESTER, packages=["tool"], backend="conda")
    assert (env.backend, env.status, versions(env)) == ("conda", "ready", {"python": "3.11.9", "tool": "1.0"})
    assert env.declared.dependencies == ("python 3.11.*", "tool")
    channel.add("tool", "1.1")
    env = fabric.add(KEY, ["app"], TESTER)
    assert versions(env) == {"app": "1.0", "python": "3.11.9", "tool": "1.0"}
    env = fabric.update(KEY, TESTER, upgrade=True)
    assert versions(env)["tool"] == "1.1"
    env = fabric.remove(KEY, ["app"], TESTER)
    assert versions(env) == {"python": "3.11.9", "tool": "1.1"}
    again = fabric.sync(KEY, TESTER)
    assert (again.lock_digest, again.status) == (env.lock_digest, "ready")
    assert again.generation != env.generation
    assert fabric.list() == [again]
    fabric.delete(KEY, TESTER)
    done = [(one.action, one.result) for one in reversed(fabric.operations.history())]
    assert done == [(action, "ok") for action in ("create", "add", "update", "remove", "sync", "delete")]


def test_a_write_is_found_and_mended_by_a_sync(fabric: Fabric) -> None:
    env = fabric.create(KEY, TESTER, packages=["tool"], backend="conda")
    file = generation(env) / "share" / "tool.txt"
    file.chmod(0o644)
    file.write_text("altered", encoding="utf-8")
    assert fabric.get(KEY).status == "damaged"
    with pytest.raises(Damaged, match=r"share/tool\.txt changed after the installation"):
        fabric.verify(KEY)
    fabric.sync(KEY, TESTER)
    assert fabric.verify(KEY).status == "ready"


def test_a_kill_in_the_middle_of_an_installation_leaves_the_live_env(
    fabric: Fabric, channel: MadeChannel, tmp_path: Path, uv: Path
) -> None:
    before = fabric.create(KEY, TESTER, packages=["tool"], backend="conda")
    path = os.pathsep.join([str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH", "")])
    program = [sys.executable, "-c", STOPPING, tmp_path, uv, channel.url]
    pipe = subprocess.PIPE
    with subprocess.Popen(program, stdin=pipe, stdout=pipe, env={**os.environ, "PYTHONPATH": path}) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == b"half\n"
        child.send_signal(signal.SIGKILL)
    assert len([one for one in before.env_path.iterdir() if one.is_dir() and not one.is_symlink()]) == 2
    later = opened(tmp_path, uv, channel)
    assert later.verify(KEY) == before
    assert later.operations.history(parts=KEY.parts)[0].result == "INTERRUPTED"
    after = later.add(KEY, ["app"], TESTER)
    assert versions(after)["app"] == "1.0"
    assert later.verify(KEY) == after
    left = {one.name for one in after.env_path.iterdir() if one.is_dir() and not one.is_symlink()}
    assert left == {before.generation, after.generation}


def test_code_runs_in_an_env_that_has_python(fabric: Fabric) -> None:
    env = fabric.create(KEY, TESTER, backend="conda")
    outcome = fabric.run(KEY, "import sys; print(sys.executable)", TESTER)
    assert (outcome.exit_code, outcome.stdout) == (0, f"{env.python}\n")


def test_an_env_can_be_made_without_python(fabric: Fabric) -> None:
    env = fabric.create(KEY, TESTER, python_version="none", packages=["tool"], backend="conda")
    assert (versions(env), env.declared.python_version) == ({"tool": "1.0"}, "")
    assert versions(fabric.add(KEY, ["app"], TESTER)) == {"app": "1.0", "tool": "1.0"}
    assert versions(fabric.update(KEY, TESTER, upgrade=True)) == {"app": "1.0", "tool": "1.0"}
    with pytest.raises(PythonNotFound, match="has no Python"):
        fabric.run(KEY, "print(1)", TESTER)


def test_an_environment_yml_becomes_an_env(fabric: Fabric, channel: MadeChannel) -> None:
    text = f"name: mine\nchannels: [{channel.url}, nodefaults]\ndependencies: [app, python=3.11]\nprefix: /opt/mine\n"
    env = create_from_yml(fabric, KEY, TESTER, text)
    assert env.declared.dependencies == ("app", "python 3.11.*")
    assert "python" not in versions(create_from_yml(fabric, OTHER, TESTER, "dependencies: [tool]"))
    with pytest.raises(PolicyRefused, match=r"the channels conda-forge are not those of envs/policy\.toml"):
        create_from_yml(fabric, KEY, TESTER, text.replace(channel.url, "conda-forge").replace(", nodefaults", ""))


def test_a_conda_lock_goes_out_and_comes_back(fabric: Fabric) -> None:
    env = fabric.create(KEY, TESTER, packages=["app"], backend="conda")
    text = conda_lock_of(fabric, KEY)
    app = next(one for one in yaml.safe_load(text)["package"] if one["name"] == "app")
    assert (app["dependencies"], app["manager"], app["platform"]) == ({"tool": ">=1"}, "conda", "linux-64")
    assert set(app["hash"]) == {"md5", "sha256"}
    back = create_from_lock(fabric, OTHER, TESTER, read_conda_lock(text))
    assert (back.lock_digest, back.status) == (env.lock_digest, "ready")
    assert back.declared.dependencies == ("app ==1.0", "python ==3.11.9")
    assert fabric.verify(OTHER) == back


def test_an_explicit_lock_comes_back_as_it_was(fabric: Fabric, channel: MadeChannel) -> None:
    env = fabric.create(KEY, TESTER, packages=["app"], backend="conda")
    channel.add("tool", "1.1")
    back = create_from_lock(fabric, OTHER, TESTER, read_explicit_lock(env.declared.lock))
    assert (back.lock_digest, versions(back)["tool"]) == (env.lock_digest, "1.0")


def test_a_foreign_lock_must_keep_to_the_channels(
    fabric: Fabric, channel: MadeChannel, tmp_path: Path, uv: Path
) -> None:
    strange = MadeChannel(tmp_path / "strange")
    strange.add("tool", "1.0")
    text = opened(tmp_path / "elsewhere", uv, strange).create(
        KEY, TESTER, python_version="none", packages=["tool"], backend="conda"
    )
    with pytest.raises(PolicyRefused, match=r"tool-1\.0-0\.conda comes from .*/strange/"):
        create_from_lock(fabric, OTHER, TESTER, read_explicit_lock(text.declared.lock))
    assert fabric.list() == []


def test_a_fabric_without_the_backend_says_so(tmp_path: Path, uv: Path) -> None:
    bare = made_fabric(tmp_path, uv)
    locked = read_explicit_lock(f"@EXPLICIT\nfile:///c/linux-64/tool-1.0-0.conda#{'0' * 64}\n")
    with pytest.raises(InvalidPackages, match="has no conda backend"):
        create_from_lock(bare, KEY, TESTER, locked)


def test_a_conda_lock_holds_no_wheels(fabric: Fabric) -> None:
    fabric.create(KEY, TESTER)
    with pytest.raises(InvalidPackages, match="is of the backend uv"):
        conda_lock_of(fabric, KEY)


def test_a_full_disk_changes_nothing(tmp_path: Path, uv: Path) -> None:
    tests = Path(__file__).parents[1]
    path = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tests), str(tests.parent)])}
    command = [sys.executable, "-c", FULL_DISK, str(tmp_path), str(uv)]
    done = subprocess.run(command, env=path, capture_output=True, text=True, check=False)
    if done.stdout.startswith("skip:"):
        pytest.skip(done.stdout)
    assert (done.returncode, done.stdout) == (0, "DISK_FULL True\nDISK_FULL True\n2 True\n"), done.stderr
