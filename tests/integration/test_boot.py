"""The systemd units booted: a container whose first process is systemd, with this checkout's code and units."""

from __future__ import annotations

import os
import secrets
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from egoworld_resources.settings import PROJECT

IMAGE = os.environ.get("EGOWORLD_BOOT_IMAGE", "localhost/egoworld-systemd")
INSIDE = "/opt/egoworld"
CODE = ("infra", "resources", "egoworld_assets", "envs", "locks", "pyproject.toml")
BOOT = (
    f"{INSIDE}/.venv/bin/python -m egoworld_resources.server units /etc/systemd/system --user egoworld >/units"
    " && systemctl enable egoworld.target && exec /sbin/init"
)
STARTED_S, STOPPED_S = 600, 200
PARTS = 11
KEEP = """
from contextlib import closing
from egoworld_resources.server.parts import Parts
from egoworld_resources.s3.objects import Objects
from egoworld_resources.settings import Settings

server = Parts(Settings.load()).server
with closing(server.postgres.connect()) as connection, connection, connection.cursor() as cursor:
    cursor.execute("CREATE TABLE kept AS SELECT 42 AS number")
uploader = server.s3_as("uploader")
Objects(uploader, uploader.bucket("inbox")).put("uploader/kept.txt", b"not a video")
"""
READ = """
from contextlib import closing
from egoworld_resources.server.parts import Parts
from egoworld_resources.s3.objects import Objects
from egoworld_resources.settings import Settings

server = Parts(Settings.load()).server
with closing(server.postgres.connect()) as connection, connection.cursor() as cursor:
    cursor.execute("SELECT number FROM kept")
    print(cursor.fetchone(), Objects(server.s3_access, server.s3_access.bucket("inbox")).get("uploader/kept.txt"))
"""


class Machine:
    """A running container; commands in it are processes of root, or of the user whom the parts run as."""

    def __init__(self, name: str) -> None:
        self.name = name

    def run(self, *command: str, user: str = "root") -> subprocess.CompletedProcess[str]:
        words = ["podman", "exec", "--user", user, "--workdir", INSIDE, self.name, *command]
        return subprocess.run(words, capture_output=True, text=True, check=False)

    def server(self, *words: str) -> subprocess.CompletedProcess[str]:
        return self.run(f"{INSIDE}/.venv/bin/python", "-m", "egoworld_resources.server", *words, user="egoworld")

    def python(self, source: str) -> str:
        done = self.run(f"{INSIDE}/.venv/bin/python", "-c", source, user="egoworld")
        assert done.returncode == 0, done.stderr
        return done.stdout

    def shown(self, unit: str, what: str) -> str:
        return self.run("systemctl", "show", "--value", "-p", what, unit).stdout.strip()

    def units(self) -> dict[str, str]:
        """Every service of ours and its state."""
        listed = self.run("systemctl", "list-units", "--all", "--plain", "--no-legend", "egoworld-*.service").stdout
        return {line.split()[0]: line.split()[2] for line in listed.splitlines()}

    def processes(self) -> str:
        """What runs as the user of the parts."""
        return self.run("sh", "-c", 'grep -l "^Uid:.*\\b$(id -u egoworld)\\b" /proc/[0-9]*/status').stdout

    def journal(self) -> str:
        """What a person would look at when something is wrong."""
        status = self.run("systemctl", "status", "--no-pager", "--lines=15", "egoworld-*").stdout
        return f"{self.server('ps').stdout}\n{status}\n{self.run('journalctl', '--no-pager', '-n', '80').stdout}"

    def wait(self, true: Callable[[], bool], seconds: float) -> None:
        end = time.monotonic() + seconds
        while not true():
            if time.monotonic() > end:
                pytest.fail(self.journal())
            time.sleep(1)

    def healthy(self) -> bool:
        return self.server("ps").returncode == 0


def podman(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["podman", *words], capture_output=True, text=True, check=False)


def left_out(folder: Path, names: list[str]) -> set[str]:
    """What of a folder of the checkout is not code."""
    return {name for name in names if name == "__pycache__" or (folder == PROJECT and name not in CODE)}


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    """This checkout's units on a machine of their own, without any network."""
    if not shutil.which("podman"):
        pytest.skip("podman is not installed: the units are not booted")
    if podman("image", "exists", IMAGE).returncode != 0:
        pytest.skip(f"there is no image {IMAGE} (infra/Containerfile.systemd makes it): the units are not booted")
    name = f"egoworld-{secrets.token_hex(4)}"
    # a copy: the checkout may be for its owner's eyes only
    shutil.copytree(PROJECT, tmp_path / "checkout", ignore=lambda folder, names: left_out(Path(folder), names))
    mounts = [f"--volume={tmp_path / 'checkout' / name}:{INSIDE}/{name}:ro" for name in CODE]
    how = ["--detach", "--name", name, "--systemd", "always", "--network", "none", "--entrypoint", "/bin/sh"]
    begun = podman("run", *how, *mounts, IMAGE, "-c", BOOT)
    try:
        if begun.returncode != 0:
            pytest.skip(f"podman runs no systemd here: the units are not booted ({begun.stderr.strip()[-300:]})")
        yield Machine(name)
    finally:
        podman("rm", "--force", "--time", "5", name)


@pytest.mark.timeout(1800)
def test_the_units_boot_keep_running_stop_and_start_again(machine: Machine) -> None:
    machine.wait(machine.healthy, STARTED_S)
    assert set(machine.units().values()) == {"active"}
    assert len(machine.units()) == PARTS
    assert machine.run("systemctl", "--failed", "--plain", "--no-legend").stdout == ""
    machine.python(KEEP)

    before = machine.shown("egoworld-daemon", "MainPID")
    assert machine.run("sh", "-c", f"kill -9 {before}").returncode == 0
    machine.wait(lambda: machine.shown("egoworld-daemon", "NRestarts") == "1" and machine.healthy(), STARTED_S)
    assert machine.shown("egoworld-daemon", "MainPID") not in ("0", before)

    machine.run("systemctl", "stop", "egoworld.target")
    machine.wait(lambda: set(machine.units().values()) <= {"inactive"}, STOPPED_S)
    assert machine.processes() == ""

    machine.run("systemctl", "start", "egoworld.target")
    machine.wait(machine.healthy, STARTED_S)
    assert machine.python(READ).strip() == "(42,) b'not a video'"
