"""The one lock: alone or shared, passed on to children, freed by death, and not held up by flock(2)."""

from __future__ import annotations

import fcntl
import os
import select
import subprocess
import sys
from pathlib import Path

import pytest

from egoworld_resources.errors import LockBusy
from egoworld_resources.gpu import Device, lease
from egoworld_resources.leases.locks import locked, open_lock, try_lock, unlock
from egoworld_resources.leases.named import Leases
from egoworld_resources.leases.scratch import sweep

HOLD = """
import sys
from pathlib import Path
from egoworld_resources.leases.locks import locked
print("waiting", flush=True)
with locked(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


def holder(lock: Path) -> subprocess.Popen[str]:
    program = [sys.executable, "-c", HOLD, str(lock)]
    process = subprocess.Popen(program, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert line_of(process) == "waiting"
    return process


def line_of(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def is_free(path: Path, *, shared: bool = False) -> bool:
    """Whether the lock of a file can be had at once."""
    try:
        with locked(path, 0, shared=shared):
            return True
    except LockBusy:
        return False


def test_a_lock_is_exclusive_and_falls_with_its_process(tmp_path: Path) -> None:
    with holder(tmp_path / "env.lock") as first:
        assert line_of(first) == "held"
        with holder(tmp_path / "env.lock") as second:
            assert second.stdout is not None
            assert select.select([second.stdout], [], [], 0.5)[0] == [], "two processes held one lock"
            first.kill()
            assert line_of(second) == "held"
            second.communicate("")


def test_alone_and_shared(tmp_path: Path) -> None:
    path = tmp_path / "below" / "a.lock"
    with locked(path, shared=True):
        assert is_free(path, shared=True)
        assert not is_free(path), "in one process too"
    with locked(path):
        assert not is_free(path, shared=True)
    assert is_free(path)


def test_a_bounded_wait_ends_with_the_lock_or_without(tmp_path: Path) -> None:
    path = tmp_path / "a.lock"
    with holder(path) as other:
        assert line_of(other) == "held"
        with pytest.raises(LockBusy, match=f"{path} is held"), locked(path, 0.1):
            pass
        assert other.stdin is not None
        other.stdin.close()
        with locked(path, 60):
            assert other.wait() == 0


def test_a_child_that_has_the_descriptor_holds_the_lock_until_it_ends(tmp_path: Path) -> None:
    path = tmp_path / "a.lock"
    with locked(path) as held:
        child = subprocess.Popen(["cat"], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, pass_fds=[held])
    with child:
        assert not is_free(path)
        child.kill()
        child.wait()
        assert is_free(path)


def test_bytes_of_a_file_are_locks_of_their_own(tmp_path: Path) -> None:
    one, two = open_lock(tmp_path / "a.lock"), open_lock(tmp_path / "a.lock")
    try:
        assert try_lock(one, 7)
        assert not try_lock(two, 7)
        assert try_lock(two, 8)
        unlock(one, 7)
        assert try_lock(two, 7)
    finally:
        os.close(one)
        os.close(two)


def test_a_stranger_who_has_the_file_by_flock_holds_up_nobody(tmp_path: Path) -> None:
    """Any user who may read a file may take flock(2) of it, and keep it."""
    paths = [tmp_path / name for name in ("a.lock", "gpu0.lock", "leases", "left/owner.lock")]
    strangers: list[int] = []
    for path in paths:
        path.parent.mkdir(exist_ok=True)
        path.touch()
        strangers.append(os.open(path, os.O_RDONLY))
        fcntl.flock(strangers[-1], fcntl.LOCK_EX)
    try:
        assert is_free(tmp_path / "a.lock")
        with Leases(tmp_path / "leases") as leases:
            assert leases.try_alone("clips")
        with lease(tmp_path, [Device(0, 0)]) as leased:
            assert leased.device.minor == 0
        assert "left" in sweep(tmp_path), "the owner of this folder is gone"
    finally:
        for descriptor in strangers:
            os.close(descriptor)
