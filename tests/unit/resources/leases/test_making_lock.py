"""Two processes never make the same artifact at once, and a dead one holds nothing."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from pathlib import Path

from egoworld_resources.leases.named import MAKING, making_lock

CLAIM = """
import sys
from pathlib import Path
from egoworld_resources.leases.named import making_lock

with making_lock(Path(sys.argv[1]), sys.argv[3:]):
    with open(sys.argv[2], "a") as file:
        file.write(sys.argv[3] + "\\n")
    print("held", flush=True)
    sys.stdin.readline()
"""


def claim(folder: Path, *names: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", CLAIM, str(folder), str(folder / "order"), *names]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def line_of(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def waits(process: subprocess.Popen[str], file: Path) -> None:
    """Returns once the kernel lists somebody who waits for a lock of a file."""
    inode = f":{file.stat().st_ino} "
    while not any("->" in line and inode in line for line in Path("/proc/locks").read_text().splitlines()):
        assert process.poll() is None
        time.sleep(0.02)


def test_the_second_waits_until_the_first_is_dead(tmp_path: Path) -> None:
    (tmp_path / "order").touch()
    first = claim(tmp_path, "clips/a", "clips/b")
    assert line_of(first) == "held"
    second, other = claim(tmp_path, "clips/b", "clips/c"), claim(tmp_path, "clips/d")
    assert line_of(other) == "held", "nobody else makes it"
    waits(second, tmp_path / MAKING)
    assert (tmp_path / "order").read_text().split() == ["clips/a", "clips/d"]
    first.kill()
    assert line_of(second) == "held"
    for process in (first, second, other):
        process.kill()
        process.communicate()


def test_threads_of_one_process_are_kept_apart(tmp_path: Path) -> None:
    entered = threading.Event()

    def second() -> None:
        with making_lock(tmp_path, ["clips/a", "clips/b"]):
            entered.set()

    with making_lock(tmp_path, ["clips/b"]):
        waiting = threading.Thread(target=second)
        waiting.start()
        assert not entered.wait(0.3)
    waiting.join(10)
    assert entered.is_set()
