"""Leases between real processes."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from egoworld_resources.errors import BadConfiguration, LockBusy
from egoworld_resources.gpu import Device, NoGpu, lease, visible
from egoworld_resources.gpu.nvml import by_device_files
from egoworld_resources.running.process import Process

TWO = [Device(0, 0), Device(1, 1)]
HOLD = """
import sys, time
from pathlib import Path
from egoworld_resources.gpu import Device, lease
with lease(Path(sys.argv[1]), [Device(0, 0), Device(1, 1)]) as held:
    print(held.device.index, flush=True)
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
    with lease(tmp_path, TWO) as mine:
        assert {gpu, mine.device.index} == {0, 1}
        with pytest.raises(LockBusy, match="all GPUs are leased"), lease(tmp_path, TWO):
            pass
    end(first)
    with lease(tmp_path, [Device(gpu, gpu)]) as freed:
        assert freed.device.index == gpu, "the kernel frees the lease of a killed process"


def test_a_lease_lives_on_in_the_process_that_inherited_it(tmp_path: Path) -> None:
    with lease(tmp_path, TWO[:1]) as held:
        heir = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], pass_fds=held.descriptors)
    try:
        with pytest.raises(LockBusy), lease(tmp_path, TWO[:1]):
            pass
    finally:
        heir.kill()
        heir.wait()
    with lease(tmp_path, TWO[:1]):
        pass


def test_a_machine_without_a_gpu_says_so(tmp_path: Path) -> None:
    with pytest.raises(NoGpu, match="no visible NVIDIA GPU"), lease(tmp_path, []):
        pass


def test_without_nvml_gpus_are_the_device_files_that_are_visible(tmp_path: Path) -> None:
    for name in ("nvidia0", "nvidia1", "nvidia10", "nvidiactl", "nvidia-uvm"):
        (tmp_path / name).touch()
    found = by_device_files(tmp_path)
    assert [device.index for device in visible(found, {}).devices] == [0, 1, 10]
    assert [device.cuda for device in visible(found, {"CUDA_VISIBLE_DEVICES": "1, 10"}).devices] == ["1", "10"]
    left = visible(found, {"CUDA_VISIBLE_DEVICES": "GPU-8932f937"})
    assert not left.devices
    assert "without NVML" in left.notes[0]


def test_a_runner_gets_its_gpu_by_uuid_and_no_other(tmp_path: Path) -> None:
    uuid = "GPU-8932f937-d72c-4106-c12f-20bd9faed9f6"
    given = Process(Path("python"), tmp_path, Device(1, 1, uuid).cuda).environment()
    assert (given["CUDA_VISIBLE_DEVICES"], given["CUDA_DEVICE_ORDER"]) == (uuid, "PCI_BUS_ID")
    assert Process(Path("python"), tmp_path).environment()["CUDA_VISIBLE_DEVICES"] == ""


def test_a_lease_does_not_follow_a_link(tmp_path: Path) -> None:
    (tmp_path / "theirs").touch()
    (tmp_path / "gpu0.lock").symlink_to(tmp_path / "theirs")
    with pytest.raises(BadConfiguration, match="must be a plain file"), lease(tmp_path, TWO[:1]):
        pass
