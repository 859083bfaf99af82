"""Folders and disks: each check seen to fail on a real mount, a real partition or a call that the kernel refuses."""

from __future__ import annotations

import errno
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from egoworld_resources.doctor import Finding
from made_doctor import elsewhere, findings, one, subject


def by_name(found: list[Finding]) -> dict[str, Finding]:
    """Findings by each of the folders that they are about."""
    return {name: finding for finding in found for name in finding.about.partition(":")[0].split(", ")}


def test_folders_that_do_not_exist_yet_are_tried_above(tmp_path: Path) -> None:
    assert {finding.state for finding in findings("writing", subject(tmp_path))} == {"ok"}
    assert not (tmp_path / "home").exists()


def test_a_home_below_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    found = by_name(findings("writing", subject(tmp_path, home=tmp_path / "file" / "home")))
    assert (found["home"].state, found["uv's cache"].state) == ("fault", "ok")
    assert found["home"].found == f"{tmp_path / 'file'}: Not a directory"


def test_one_folder_of_home_that_leads_nowhere(tmp_path: Path) -> None:
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "store").symlink_to(tmp_path / "unmounted")
    found = by_name(findings("writing", subject(tmp_path)))
    assert (found["home"].state, found["store"].state) == ("ok", "fault")


def test_a_read_only_disk(tmp_path: Path) -> None:
    found = by_name(elsewhere("writing", tmp_path, mount="mount -t tmpfs -o ro tmpfs home"))
    assert (found["home"].state, found["uv's cache"].state) == ("fault", "ok")
    assert "Read-only file system" in found["home"].found
    assert "EGOWORLD_HOME" in found["home"].fix


def test_a_full_disk(tmp_path: Path) -> None:
    fill = "mount -t tmpfs -o size=16k tmpfs home && { head -c 100000 /dev/zero > home/fill 2> home/words || true; }"
    found = by_name(elsewhere("writing", tmp_path, mount=fill))
    assert found["home"].state == "fault"
    assert "No space left on device" in found["home"].found
    assert "free some disk" in found["home"].fix


@pytest.mark.parametrize("calls", [("fsync",), ("rename", "renameat", "renameat2")])
def test_a_disk_that_does_not_flush_or_rename(tmp_path: Path, calls: tuple[str, ...]) -> None:
    found = elsewhere("writing", tmp_path, refused=dict.fromkeys(calls, errno.EIO))
    assert {finding.state for finding in found} == {"fault"}
    assert "Input/output error" in found[0].found


def test_a_rename_that_only_says_so(tmp_path: Path) -> None:
    found = elsewhere("writing", tmp_path, refused=dict.fromkeys(("rename", "renameat", "renameat2"), 0))
    assert {finding.state for finding in found} == {"fault"}


def test_locks_that_are_refused_or_hold_nobody_out(tmp_path: Path) -> None:
    assert {finding.state for finding in findings("locking", subject(tmp_path))} == {"ok"}
    [refused] = elsewhere("locking", tmp_path, refused={"lock": errno.ENOLCK})
    assert (refused.state, refused.found) == ("fault", f"{tmp_path}: No locks available")
    [lying] = elsewhere("locking", tmp_path, refused={"lock": 0})
    assert lying.state == "fault"
    assert "read as ['free', 'free']" in lying.found
    assert "local disk" in lying.fix


def test_a_home_that_is_gone_with_the_next_start(tmp_path: Path) -> None:
    [found] = elsewhere("file system", tmp_path, mount="mount -t tmpfs tmpfs home")
    assert found.state == "warning"
    assert "is on tmpfs" in found.found


def test_little_disk(tmp_path: Path) -> None:
    free = shutil.disk_usage(tmp_path).free / 1e9
    for wanted, state in ((free / 2, "ok"), (free * 2, "warning"), (free * 20, "fault")):
        found = [f for f in findings("disk", subject(tmp_path, free_gb=wanted)) if f.about.endswith("bytes")]
        assert {finding.state for finding in found} == {state}


def test_few_inodes(tmp_path: Path) -> None:
    found = elsewhere("disk", tmp_path, mount="mount -t tmpfs -o nr_inodes=50 tmpfs home", free_gb=0)
    inodes = {finding.about.partition(",")[0]: finding for finding in found if finding.about.endswith("inodes")}
    assert inodes["home"].state == "fault"
    assert "df -i" in inodes["home"].fix


@pytest.fixture
def other_partition(tmp_path: Path) -> Iterator[Path]:
    """A folder on another partition than the test's."""
    memory = Path("/dev/shm")
    if not memory.is_dir() or memory.stat().st_dev == tmp_path.stat().st_dev:
        pytest.skip("this machine has no second partition: /dev/shm is missing or the same as the test's folder")
    with tempfile.TemporaryDirectory(dir=memory) as folder:
        yield Path(folder)


def test_a_cache_on_another_partition(tmp_path: Path, other_partition: Path) -> None:
    assert one("uv's cache", subject(tmp_path)).state == "ok"
    found = one("uv's cache", subject(tmp_path, uv_cache=other_partition))
    assert found.state == "warning"
    assert "every env is copied in full" in found.found
    assert str(tmp_path / "home" / "uv-cache") in found.fix
    assert list(other_partition.iterdir()) == list(tmp_path.iterdir()) == []


def test_a_disk_without_hardlinks(tmp_path: Path) -> None:
    [found] = elsewhere("uv's cache", tmp_path, refused=dict.fromkeys(("link", "linkat"), errno.EPERM))
    assert found.state == "warning"
    assert "Operation not permitted" in found.found


def test_a_cache_that_cannot_be_written(tmp_path: Path) -> None:
    mount = "mkdir -p cache && mount -t tmpfs -o ro tmpfs cache"
    [found] = elsewhere("uv's cache", tmp_path, mount=mount)
    assert found.state == "fault"
    assert "cannot be written" in found.found


def test_an_inbox_that_is_no_folder_or_not_there(tmp_path: Path) -> None:
    assert one("inbox", subject(tmp_path)).state == "ok"
    (tmp_path / "file").touch()
    assert one("inbox", subject(tmp_path, inbox=tmp_path / "file")).state == "fault"
    missing = one("inbox", subject(tmp_path, inbox=tmp_path / "nowhere"))
    assert missing.state == "fault"
    assert f"mkdir -p {tmp_path / 'nowhere'}" in missing.fix
