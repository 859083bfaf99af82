"""Which process is which: by boot and start ticks, so that no clock has a say."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from egoworld_resources.leases.processes import Identity, start_ticks
from egoworld_resources.workflow_envs.folders import Places
from tests.waiting import wait_for


@pytest.fixture
def sleeper() -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"]) as process:
        yield process
        process.kill()


def test_a_process_lives_until_it_is_killed(sleeper: subprocess.Popen[bytes]) -> None:
    found = Identity.of(sleeper.pid)
    assert found
    assert not found.ended
    assert Identity.parse(str(found)) == found
    sleeper.kill()
    wait_for(lambda: found.ended)
    assert Path(f"/proc/{sleeper.pid}").exists(), "it has ended although nobody has waited for it"
    assert Identity.of(sleeper.pid) is None


def test_another_process_of_the_same_number_is_another() -> None:
    mine = Identity.mine()
    assert not mine.ended
    assert replace(mine, ticks=mine.ticks - 1).ended
    assert replace(mine, boot="00000000-0000-0000-0000-000000000000").ended
    elsewhere = replace(mine, host="elsewhere", pid=2**22 - 1)
    assert not elsewhere.ended, "of another machine nothing is known"


@pytest.mark.parametrize("text", ["", "vm 12 1700000000.5", "a b c d", "a b 1 2 3"])
def test_what_is_no_identity_is_none(text: str) -> None:
    assert Identity.parse(text) is None


def test_a_name_with_spaces_and_parentheses_is_read_over(tmp_path: Path) -> None:
    program = tmp_path / "a) S 1 (b"
    program.symlink_to("/bin/sleep")
    with subprocess.Popen([str(program), "60"]) as process:
        ticks = start_ticks(process.pid)
        process.kill()
    mine = start_ticks(os.getpid())
    assert ticks is not None
    assert mine is not None
    assert ticks >= mine, "it started after us"


def test_a_clock_that_is_set_forward_takes_no_scratch_from_a_living_owner(tmp_path: Path) -> None:
    places = Places(tmp_path)
    with places.scratch() as folder:
        (folder / "pylock.toml").write_text("being resolved")
        for path in (folder, folder.parent):
            os.utime(path, (0, 0))  # as old as it is for a clock that was set forward
        places.sweep()
        assert (folder / "pylock.toml").is_file()
    assert not folder.exists()
