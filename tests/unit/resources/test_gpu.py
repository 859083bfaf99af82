"""Leases between real processes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from egoworld_resources.errors import LockBusy
from egoworld_resources.gpu import NoGpu, gpus, lease

HOLD = """
import sys, time
from pathlib import Path
from egoworld_resources.gpu import lease
with lease(Path(sys.argv[1]), [0, 1]) as held:
    print(held.gpu, flush=True)
    time.sleep(600)
"""


def holder(folder: Path) -> tuple[subprocess.Popen[str], int]:
    """Another process that holds a lease, and which GPU it got."""
    child = subprocess.Popen([sys.executable, "-c", HOLD, str(folder)], stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    return child, int(child.stdout.readline())


def end(child: subprocess.Popen[str]) -> None:
    child.send_signal(signal.SIGKILL)
    child.wait()
    if child.stdout:
        child.stdout.close()


def test_two_processes_get_two_gpus_and_a_third_waits_its_turn(tmp_path: Path) -> None:
    first, gpu = holder(tmp_path)
    with lease(tmp_path, [0, 1]) as mine:
        assert {gpu, mine.gpu} == {0, 1}
        with pytest.raises(LockBusy, match="all GPUs are leased"), lease(tmp_path, [0, 1]):
            pass
    end(first)
    with lease(tmp_path, [gpu]) as freed:
        assert freed.gpu == gpu, "the kernel frees the lease of a killed process"


def test_a_lease_lives_on_in_the_process_that_inherited_it(tmp_path: Path) -> None:
    with lease(tmp_path, [0]) as held:
        heir = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], pass_fds=[held.descriptor])
    try:
        with pytest.raises(LockBusy), lease(tmp_path, [0]):
            pass
    finally:
        heir.kill()
        heir.wait()
    with lease(tmp_path, [0]):
        pass


def test_a_machine_without_a_gpu_says_so(tmp_path: Path) -> None:
    with pytest.raises(NoGpu, match="no visible NVIDIA GPU"), lease(tmp_path, []):
        pass


def test_gpus_are_the_device_files_that_are_visible(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("nvidia0", "nvidia1", "nvidia10", "nvidiactl", "nvidia-uvm"):
        (tmp_path / name).touch()
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert gpus(tmp_path) == [0, 1, 10]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1, 10")
    assert gpus(tmp_path) == [1, 10]
    assert os.environ["CUDA_VISIBLE_DEVICES"] == "1, 10"
