"""A backup and `egoworld gc --apply` as processes of one home: neither takes away what the other one needs."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from egoworld_resources.artifacts.manifest import Manifest
from egoworld_resources.s3.access import S3Access
from egoworld_resources.server.backup.files import Backup, backups, chosen
from egoworld_resources.server.backup.last import last_backup
from egoworld_resources.server.backup.restore import verify
from egoworld_resources.server.environment import EnvFile, ServerSettings
from egoworld_resources.server.s3_servers import S3Address
from egoworld_resources.store.s3 import S3Store
from tests.made_stores import BOUND, access_to, artifact, environment
from tests.servers import lent
from tests.wire import Wire, wire

BACKUP = ("egoworld_resources.server", "backup")
GC = ("egoworld_assets.cli", "gc", "--keep", "0", "--older-than", "0")
FSCK = ("egoworld_assets.cli", "fsck")


class Lab:
    """A server whose S3 is reached through a wire, with an artifact that has an old version."""

    def __init__(self, folder: Path, s3: S3Address, postgres: ServerSettings) -> None:
        self.folder, self.home, self.to = folder, folder / "home", folder / "to"
        self.access = access_to(s3)
        self.store = S3Store(self.access, folder / "here", BOUND)
        self.old, self.live = (self._put(text) for text in ("old", "live"))
        keys = environment(self.access)
        self.env_file = EnvFile(self.home / "production" / ".env")
        given = {**keys, "S3_SERVER": "none", **lent(postgres, self.env_file.path.parent)}
        self.env_file.ensure(given)

    def _put(self, text: str) -> Manifest:
        new, manifest = artifact(self.folder / text, {"masks.parquet": text.encode()})
        self.store.put(new, manifest)
        return manifest

    def start(self, command: tuple[str, ...], between: Wire | None = None) -> subprocess.Popen[str]:
        """A command as a process of its own."""
        endpoint = f"http://127.0.0.1:{between.port}" if between else self.access.endpoint
        access = S3Access.model_validate({**self.access.model_dump(), "endpoint": endpoint})
        text = self.env_file.path.read_text(encoding="utf-8")
        lines = [f"S3_ENDPOINT={endpoint}" if line.startswith("S3_ENDPOINT=") else line for line in text.splitlines()]
        self.env_file.path.write_text("\n".join([*lines, ""]), encoding="utf-8")
        return subprocess.Popen(
            [sys.executable, "-m", *command],
            cwd=self.folder,
            env=os.environ | environment(access) | {"EGOWORLD_HOME": str(self.home)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def run(self, *command: str) -> tuple[int, str]:
        """A command and what it said."""
        done = self.start(command)
        output, _ = done.communicate()
        return done.returncode, output

    def holds(self, manifest: Manifest) -> bool:
        return self.store.version(manifest.asset, manifest.video, manifest.data_version) is not None

    def whole(self) -> Backup:
        """The newest backup, in which every object lies that its records and manifests name."""
        made = chosen(self.to)
        assert verify(made) == []
        noted = last_backup(self.env_file.path.parent)
        assert noted
        assert noted.folder == made.folder
        keys = {one.key for one in made.listing.all()}
        assert "records/live/masks/v.json" in keys
        for manifest in (self.old, self.live):
            place = f"artifacts/masks/v/{manifest.data_version}"
            assert (f"{place}/manifest.json" in keys) <= (f"{place}/masks.parquet" in keys)
        assert f"artifacts/masks/v/{self.live.data_version}/masks.parquet" in keys
        return made


@pytest.fixture
def lab(minio: S3Address, server_postgres: ServerSettings, tmp_path: Path) -> Lab:
    return Lab(tmp_path, minio, server_postgres)


@contextmanager
def held(lab: Lab, command: tuple[str, ...], at: int) -> Iterator[tuple[subprocess.Popen[str], threading.Event]]:
    """A command in the middle of its work: its ``at``-th request to S3 is held until the event is set."""
    port, there, go = int(lab.access.endpoint.rpartition(":")[2]), threading.Event(), threading.Event()

    def hold() -> None:
        there.set()
        go.wait()

    with wire(port, at, hold, lossless=True) as between, lab.start(command, between) as child:
        try:
            assert there.wait(120), child.communicate(timeout=30)
            yield child, go
        finally:
            go.set()
            child.kill()


def test_gc_removes_nothing_while_a_backup_is_made(lab: Lab) -> None:
    with held(lab, (*BACKUP, str(lab.to)), 4) as (backup, go):
        for command in ((*GC, "--apply"), (*FSCK, "--mend")):
            status, output = lab.run(*command)
            assert (status, "a backup of" in output, "run it again" in output) == (1, True, True), output
        status, output = lab.run(*GC)
        assert (status, "would be removed" in output) == (0, True), "a dry run disturbs nobody"
        assert lab.holds(lab.old)
        go.set()
        output, _ = backup.communicate()
        assert backup.returncode == 0, output
    made = lab.whole()
    assert f"artifacts/masks/v/{lab.old.data_version}/masks.parquet" in {one.key for one in made.listing.all()}
    assert lab.run(*GC, "--apply")[0] == 0
    assert (lab.holds(lab.old), lab.holds(lab.live)) == (False, True)


def test_a_killed_backup_holds_up_no_gc(lab: Lab) -> None:
    with held(lab, (*BACKUP, str(lab.to)), 4) as (backup, _):
        backup.kill()
        backup.wait()
        status, output = lab.run(*GC, "--apply")
    assert status == 0, output
    assert not lab.holds(lab.old)
    assert backups(lab.to) == []


def test_a_backup_waits_for_what_is_being_removed(lab: Lab) -> None:
    with held(lab, (*GC, "--apply"), 3) as (gc, go), lab.start((*BACKUP, str(lab.to))) as backup:
        assert backup.stdout is not None
        assert "waiting until a removal has ended" in backup.stdout.readline()
        assert backups(lab.to) == []
        go.set()
        output, _ = gc.communicate()
        assert gc.returncode == 0, output
        output, _ = backup.communicate()
        assert backup.returncode == 0, output
    made = lab.whole()
    assert not lab.holds(lab.old)
    assert not [one for one in made.listing.all() if lab.old.data_version in one.key]
