"""Two processes never make the same artifact at once, and a dead one holds nothing."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

CLAIM = """
import sys
from pathlib import Path
from egoworld_resources.leases.claims import claimed

with claimed(Path(sys.argv[1]), sys.argv[3:]):
    with open(sys.argv[2], "a") as file:
        file.write(sys.argv[3] + "\\n")
    print("held", flush=True)
    sys.stdin.readline()
"""


def claim(folder: Path, *names: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", CLAIM, str(folder), str(folder / "order"), *names]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def said(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def waits(process: subprocess.Popen[str]) -> None:
    """Returns once the kernel lists a process among those that wait for a lock."""
    while not any("->" in line and f" {process.pid} " in line for line in Path("/proc/locks").read_text().splitlines()):
        assert process.poll() is None
        time.sleep(0.02)


def test_the_second_waits_until_the_first_is_dead(tmp_path: Path) -> None:
    (tmp_path / "order").touch()
    first = claim(tmp_path, "clips/a", "clips/b")
    assert said(first) == "held"
    second, other = claim(tmp_path, "clips/b", "clips/c"), claim(tmp_path, "clips/d")
    assert said(other) == "held", "nobody else makes it"
    waits(second)
    assert (tmp_path / "order").read_text().split() == ["clips/a", "clips/d"]
    first.kill()
    assert said(second) == "held"
    for process in (first, second, other):
        process.kill()
        process.communicate()
